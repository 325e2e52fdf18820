/* Runs a block: every worker walks down rows of the result, strip by strip. */
#include <string.h>

#include "runtime/block/state.h"
#include "runtime/provider/providers.h"

enum { CANARY = 0xA5 };

typedef struct block_pass {
    block_state *s;
    op_call *call;
    char *shared;
    char *own; /* memory of worker 0 */
    char *y;
} block_pass;

/* A worker's memory begins with this; windows follow, then what kernels want. */
typedef struct block_worker {
    int64_t image; /* that windows are of; -1: none */
    int64_t next;  /* row of the result that follows what has been made */
    block_window windows[BLOCK_MOST_LAYERS];
    provider_traffic traffic;
} block_worker;

size_t block_worker_header(void)
{
    return strips_padded(sizeof(block_worker));
}

static block_worker *worker_of(const block_pass *p, int worker)
{
    return (block_worker *)(void *)(p->own + worker * p->s->worker_bytes);
}

static char *window_of(const block_pass *p, const block_worker *w, int layer)
{
    (void)p;
    return (char *)(uintptr_t)w + p->s->layers[layer].window;
}

/* The image outside that enters at a port. */
static const char *outside(const block_pass *p, int port, int64_t image, int64_t row,
                           int64_t row_bytes, int64_t rows)
{
    const char *data = op_call_input(p->call, port)->data;

    return data + (image * rows + row) * row_bytes;
}

/* Drops the rows before `keep` of what the worker has of layer i's result. */
static void drop_rows(const block_pass *p, block_worker *w, int i, int64_t keep)
{
    block_window *has = &w->windows[i];
    int64_t row = p->s->layers[i].out_row;
    char *rows = window_of(p, w, i);

    if (keep >= has->end) {
        *has = (block_window){keep, keep};
    } else if (keep > has->first) {
        memmove(rows, rows + (keep - has->first) * row, (size_t)((has->end - keep) * row));
        has->first = keep;
    }
}

/* Rows [row, end) of layer i's result, to `to`. */
static void make_rows(const block_pass *p, block_worker *w, int i, int64_t row, int64_t end,
                      char *to)
{
    const block_layer *l = &p->s->layers[i];
    const conv_f32_shape *shape = &l->shape;
    int64_t until;
    strip_rows r = {.shared = p->shared + l->shared,
                    .workspace = (char *)w + p->s->workspace,
                    .y = to,
                    .row = row,
                    .rows = end - row};

    block_reads(shape, row, end, &r.x_row, &until);
    r.x_rows = until > r.x_row ? until - r.x_row : 0;
    if (l->in == BLOCK_NOWHERE) {
        r.x = outside(p, l->in_port, w->image, r.x_row, l->in_row, shape->in_h);
    } else {
        r.x = window_of(p, w, l->in) + (r.x_row - w->windows[l->in].first) * l->in_row;
    }
    if (l->other != BLOCK_NOWHERE) {
        r.other = window_of(p, w, l->other) + (row - w->windows[l->other].first) * l->out_row;
    } else if (l->other_port >= 0) {
        r.other = outside(p, l->other_port, w->image, row, l->out_row, shape->out_h);
    }
    l->strips->run(l->state, &r);
}

/* Counts what layer i has written, by where that lies. */
static void count_bytes(const block_pass *p, block_worker *w, int i, const char *to, int64_t bytes)
{
    const block_layer *l = &p->s->layers[i];
    const char *rows = window_of(p, w, i);

    if (i + 1 == p->s->layer_count) {
        return;
    }
    if (to >= rows && to + bytes <= rows + l->rows * l->out_row) {
        w->traffic.inside += bytes;
    } else {
        w->traffic.outside += bytes;
    }
}

static void run_strip(const block_pass *p, block_worker *w, int64_t row, int64_t end)
{
    const block_state *s = p->s;
    int last = s->layer_count - 1;
    int64_t made[BLOCK_MOST_LAYERS];
    block_rows r;

    for (int i = 0; i < s->layer_count; i++) {
        made[i] = w->windows[i].end;
    }
    block_rows_of(s, row, end, made, &r);
    for (int i = 0; i < last; i++) {
        char *to;

        drop_rows(p, w, i, r.keep[i]);
        if (r.end[i] <= r.start[i]) {
            continue;
        }
        to = window_of(p, w, i) + (r.start[i] - w->windows[i].first) * s->layers[i].out_row;
        make_rows(p, w, i, r.start[i], r.end[i], to);
        count_bytes(p, w, i, to, (r.end[i] - r.start[i]) * s->layers[i].out_row);
        w->windows[i].end = r.end[i];
    }
    make_rows(p, w, last, row, end,
              p->y + (w->image * s->layers[last].shape.out_h + row) * s->layers[last].out_row);
    w->windows[last] = (block_window){end, end};
}

static void forget(const block_state *s, block_worker *w)
{
    w->image = -1;
    for (int i = 0; i < s->layer_count; i++) {
        w->windows[i] = (block_window){0, 0};
    }
}

/* A piece is a run of rows of one image. */
static void run_pieces(void *context, int64_t begin, int64_t end, int worker)
{
    const block_pass *p = context;
    const block_state *s = p->s;
    int64_t out_h = s->layers[s->layer_count - 1].shape.out_h;
    int64_t pieces = provider_pieces(out_h, s->piece);
    block_worker *w = worker_of(p, worker);

    for (int64_t piece = begin; piece < end; piece++) {
        int64_t image = piece / pieces;
        int64_t row = piece % pieces * s->piece;
        int64_t until = provider_least(row + s->piece, out_h);

        if (w->image != image || w->next != row) {
            forget(s, w);
            w->image = image;
        }
        for (; row < until; row += s->strip) {
            run_strip(p, w, row, provider_least(row + s->strip, until));
        }
        w->next = until;
    }
}

/* ---- guards ---- */

static bool guards_hold(const block_pass *p, const block_worker *w)
{
    char canary[BLOCK_GUARD];

    memset(canary, CANARY, sizeof canary);
    for (int i = 0; i + 1 < p->s->layer_count; i++) {
        const block_layer *l = &p->s->layers[i];
        const char *rows = window_of(p, w, i);
        int64_t bytes = (int64_t)strips_padded((size_t)(l->rows * l->out_row));

        if (memcmp(rows - BLOCK_GUARD, canary, BLOCK_GUARD) != 0 ||
            memcmp(rows + bytes, canary, BLOCK_GUARD) != 0) {
            return false;
        }
    }
    return true;
}

static void start_worker(const block_pass *p, block_worker *w)
{
    forget(p->s, w);
    w->traffic = (provider_traffic){0};
    for (int i = 0; i + 1 < p->s->layer_count; i++) {
        const block_layer *l = &p->s->layers[i];
        char *rows = window_of(p, w, i);
        int64_t bytes = (int64_t)strips_padded((size_t)(l->rows * l->out_row));

        memset(rows - BLOCK_GUARD, CANARY, BLOCK_GUARD);
        memset(rows + bytes, CANARY, BLOCK_GUARD);
    }
}

/* ---- the run ---- */

/* Layers read their constants among the block's ports. */
static void begin_layers(const block_pass *p)
{
    for (int i = 0; i < p->s->layer_count; i++) {
        const block_layer *l = &p->s->layers[i];
        op_call c = *p->call;

        c.node = &l->view.node;
        c.inputs = p->call->inputs + l->first_port;
        c.input_count = l->view.node.input_count;
        l->strips->begin(l->state, &c, p->shared + l->shared);
    }
}

spry_status block_run(block_state *s, op_call *call, void *workspace)
{
    const block_layer *last = &s->layers[s->layer_count - 1];
    block_pass p = {.s = s, .call = call, .shared = workspace};
    int64_t pieces = s->batch * provider_pieces(last->shape.out_h, s->piece);
    provider_traffic sum = s->traffic;
    tensor *y;
    spry_status status = provider_output(call, s->dtype, &y);

    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    p.own = p.shared + s->shared_bytes;
    p.y = y->data;
    begin_layers(&p);
    for (int i = 0; i < s->workers; i++) {
        start_worker(&p, worker_of(&p, i));
    }
    threads_for(call->team, pieces, 1, run_pieces, &p);
    sum.inside = sum.outside = 0;
    for (int i = 0; i < s->workers; i++) {
        const block_worker *w = worker_of(&p, i);

        sum.inside += w->traffic.inside;
        sum.outside += w->traffic.outside;
        if (!guards_hold(&p, w)) {
            return op_call_fail(call, SPRY_INTERNAL, "a layer has written beyond its rows");
        }
    }
    s->traffic = sum;
    return SPRY_OK;
}
