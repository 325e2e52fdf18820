/* Strips, windows and pieces of work of a block. */
#include <string.h>

#include "runtime/block/state.h"
#include "runtime/provider/providers.h"

enum {
    WINDOW_BYTES = 1 << 19, /* of all windows, where the caller does not say: half of a core's own
                               second-level cache */
    PIECES_PER_WORKER = 4,
    STRIPS_PER_PIECE = 2 /* at least, where there are several pieces */
};

/* ---- reading ---- */

static int64_t row_bytes(const graph_type *t)
{
    return t->dims[2].size * t->dims[3].size * (int64_t)(spry_dtype_bits(t->dtype) / 8);
}

/* The layer among the first `end` that makes the value. */
static int maker_of(const block_state *s, int32_t id, int end)
{
    for (int i = 0; i < end; i++) {
        if (s->layers[i].view.output == id) {
            return i;
        }
    }
    return BLOCK_NOWHERE;
}

static bool read_layer(const provider_site *site, int i, block_state *s)
{
    block_layer *l = &s->layers[i];
    provider_site of = *site;
    int other;

    block_read_layer(site->node, i, &l->view);
    of.node = &l->view.node;
    l->strips = provider_strips_find(&of, &l->shape);
    if (l->strips == NULL) {
        return false;
    }
    other = block_other_port(&l->view.node);
    l->first_port = l->view.first_port;
    l->in = maker_of(s, l->view.inputs[0], i);
    l->in_port = (int)l->first_port;
    l->other = BLOCK_NOWHERE;
    l->other_port = -1;
    if (other >= 0 && other < l->view.node.input_count && l->view.inputs[other] != GRAPH_NONE) {
        l->other = maker_of(s, l->view.inputs[other], i);
        l->other_port = (int)l->first_port + other;
    }
    l->macs = l->view.macs;
    l->in_row = row_bytes(provider_input_type(&of, 0));
    l->out_row = row_bytes(provider_output_type(&of, 0));
    return true;
}

bool block_read(const provider_site *site, block_state *s)
{
    const graph_type *y = provider_output_type(site, 0);

    memset(s, 0, sizeof *s);
    s->layer_count = block_layer_count(site->node);
    if (s->layer_count == 0 || y == NULL || op_work_count(y) == 0) {
        return false;
    }
    for (int i = 0; i < s->layer_count; i++) {
        if (!read_layer(site, i, s)) {
            return false;
        }
    }
    s->batch = y->dims[0].size;
    s->dtype = y->dtype;
    return true;
}

/* ---- rows ---- */

static int64_t clip(int64_t row, int64_t rows)
{
    return row < 0 ? 0 : row < rows ? row : rows;
}

void block_reads(const conv_f32_shape *shape, int64_t row, int64_t end, int64_t *first,
                 int64_t *until)
{
    int64_t top = row * shape->stride_h - shape->pad_h;

    *first = clip(top, shape->in_h);
    *until = end > row ? clip(top + strips_reach(shape, end - row), shape->in_h) : 0;
}

/* Widens what is kept and made of layer `i`'s result. */
static void want(block_rows *r, int i, int64_t keep, int64_t end)
{
    if (i != BLOCK_NOWHERE) {
        r->keep[i] = provider_least(r->keep[i], keep);
        r->end[i] = r->end[i] > end ? r->end[i] : end;
    }
}

void block_rows_of(const block_state *s, int64_t row, int64_t end, const int64_t *made,
                   block_rows *r)
{
    for (int i = 0; i < s->layer_count; i++) {
        r->keep[i] = INT64_MAX;
        r->end[i] = 0;
    }
    want(r, s->layer_count - 1, row, end);
    for (int i = s->layer_count - 1; i >= 0; i--) {
        const conv_f32_shape *shape = &s->layers[i].shape;
        int64_t start = r->keep[i];
        int64_t first;
        int64_t until;

        if (made != NULL && made[i] > start) {
            start = made[i];
        }
        r->start[i] = start;
        block_reads(shape, start, r->end[i], &first, &until);
        want(r, s->layers[i].in, first, until);
        want(r, s->layers[i].other, start, r->end[i] > start ? r->end[i] : 0);
    }
}

/* Calls for every strip as it is when nothing has been made: it has the most rows then. */
static int64_t rows_of_layer(const block_state *s, int layer)
{
    int64_t out_h = s->layers[s->layer_count - 1].shape.out_h;
    int64_t most = 1;

    for (int64_t row = 0; row < out_h; row += s->piece) {
        int64_t last = provider_least(row + s->piece, out_h);

        for (int64_t at = row; at < last; at += s->strip) {
            block_rows r;

            block_rows_of(s, at, provider_least(at + s->strip, last), NULL, &r);
            most = most > r.end[layer] - r.keep[layer] ? most : r.end[layer] - r.keep[layer];
        }
    }
    return most;
}

bool block_fits(const block_state *s)
{
    for (int i = 0; i < s->layer_count; i++) {
        if (rows_of_layer(s, i) > s->layers[i].rows) {
            return false;
        }
    }
    return true;
}

/* ---- choices ---- */

static int64_t set_rows(block_state *s)
{
    int64_t bytes = 0;

    for (int i = 0; i < s->layer_count; i++) {
        s->layers[i].rows = rows_of_layer(s, i);
        bytes += i + 1 < s->layer_count ? s->layers[i].rows * s->layers[i].out_row : 0;
    }
    return bytes;
}

/* Rows at a time, of at most `most`: as many as windows have room for, cut evenly. */
static void choose_strip(block_state *s, int64_t asked, int64_t most)
{
    int64_t strip = 1;

    if (asked > 0) {
        s->strip = provider_least(asked, most);
        return;
    }
    for (s->strip = 2; s->strip <= most; s->strip++) {
        if (set_rows(s) > WINDOW_BYTES) {
            break;
        }
        strip = s->strip;
    }
    s->strip = provider_pieces(most, provider_pieces(most, strip));
}

/* Rows that are one piece of work: fewer pieces per worker where seams would cost more. A worker's
 * pieces are neighbours, so that it goes on with the rows that it has; another one that takes a
 * piece over makes the rows above it anew. */
static int64_t piece_rows(const block_state *s, int64_t share)
{
    int64_t pieces = share / (STRIPS_PER_PIECE * s->strip);

    pieces = provider_least(pieces, PIECES_PER_WORKER);
    return pieces > 1 ? provider_pieces(provider_pieces(share, pieces), s->strip) * s->strip
                      : share;
}

/* Multiplications of rows [row, end) of the result, strip by strip. */
static double work_of_rows(const block_state *s, int64_t row, int64_t end, int64_t *made)
{
    double work = 0;

    for (; row < end; row += s->strip) {
        block_rows r;

        block_rows_of(s, row, provider_least(row + s->strip, end), made, &r);
        for (int k = 0; k < s->layer_count; k++) {
            const block_layer *l = &s->layers[k];

            if (r.end[k] > r.start[k]) {
                work += (double)(l->macs + 1) / (double)l->shape.out_h *
                        (double)(r.end[k] - r.start[k]);
                made[k] = r.end[k];
            }
        }
    }
    return work;
}

/* Multiplications when pieces are shared by `workers`. Neighbouring pieces are one worker's, which
 * makes the rows that it needs itself: those at the seams are made twice. */
static double work_of(const block_state *s, int64_t workers)
{
    int64_t out_h = s->layers[s->layer_count - 1].shape.out_h;
    int64_t per_image = provider_pieces(out_h, s->piece);
    int64_t pieces = s->batch * per_image;
    int64_t shares = provider_least(workers, pieces);
    double work = 0;
    int64_t end = 0;

    for (int64_t i = 0; i < shares; i++) {
        int64_t made[BLOCK_MOST_LAYERS] = {0};
        int64_t piece = end;

        end += pieces / shares + (i < pieces % shares);
        for (; piece < end; piece++) {
            int64_t row = piece % per_image * s->piece;

            if (row == 0) {
                memset(made, 0, sizeof made);
            }
            work += work_of_rows(s, row, provider_least(row + s->piece, out_h), made);
        }
    }
    return work;
}

void block_plan(const provider_site *site, block_state *s)
{
    int64_t out_h = s->layers[s->layer_count - 1].shape.out_h;
    int64_t share;

    s->workers = threads_count(site->team);
    share = provider_least(provider_pieces(s->batch * out_h, s->workers), out_h);
    s->piece = out_h;
    choose_strip(s, graph_attribute_int(site->node, BLOCK_STRIP, 0), share);
    s->piece = s->workers > 1 ? provider_least(piece_rows(s, share), out_h) : out_h;
    s->traffic = (provider_traffic){.windows = set_rows(s),
                                    .redundancy = work_of(s, s->workers) / work_of(s, 1)};
    for (int i = 0; i + 1 < s->layer_count; i++) {
        s->traffic.images += s->batch * s->layers[i].shape.out_h * s->layers[i].out_row;
    }
}
