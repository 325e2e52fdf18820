/* Convolution at listed pixels: copies single ones, and loops over tiles and panels of filters. */
#include "kernels/conv/conv_listed.h"

#include <string.h>

#include "kernels/conv/conv_nhwc_parts.h"

enum {
    ALIAS = 4096,  /* rows of a tile at such a pitch share a set of the first-level cache */
    LEAST_RUN = 4, /* shorter runs leave a tile waiting for its own sums */
    WEIGHT_BYTES = 400 << 10, /* that stay in a second-level cache beside the pixels */
    BLOCK_BYTES = 480 << 10,  /* of pixels that are read again for each panel */
    COPY_BYTES = 1 << 20,     /* of copied ones */
    EARLY_BYTES = 256 << 10,  /* of a panel that is asked for while the one before is in use */
    BLOCK_TILES = 16,
    PIECES_PER_WORKER = 4
};

/* ---- planning ---- */

static int64_t positions_of(const conv_f32_shape *s)
{
    return s->kernel_h * s->kernel_w;
}

static void set_costs(conv_listed *c)
{
    enum { LANES = 16, PER_TAP = 12, PER_TILE = 90 };
    const conv_nhwc *d = &c->dense;
    int64_t half = d->kernel->nr / 2;
    double vectors = (double)conv_nhwc_round_up(d->problem.filters, half) / LANES;
    double steps = (double)(d->taps * conv_nhwc_pieces(d->k, d->kernel->group));

    c->sum_cost = (double)d->problem.groups * steps * vectors;
    c->tile_cost = (double)(d->problem.groups * (d->taps * PER_TAP + PER_TILE) *
                            conv_nhwc_pieces(d->problem.filters, d->kernel->nr));
    c->pixel_cost = c->sum_cost + c->tile_cost / (double)d->kernel->mr;
}

bool conv_listed_prefers(const conv_listed *c, const conv_winograd *winograd)
{
    const conv_nhwc_problem *p = &c->dense.problem;

    return winograd->predicted_cost <
           c->pixel_cost * (double)(p->batch * p->shape.out_h * p->shape.out_w);
}

static void set_blocks(conv_listed *c)
{
    const conv_nhwc *d = &c->dense;
    int64_t mr = d->kernel->mr;
    int64_t copied = COPY_BYTES / (mr * c->patch_bytes);
    int64_t read = BLOCK_BYTES / (mr * c->pixel_bytes);
    int64_t held = c->panels_outer ? conv_nhwc_least(copied, read) : BLOCK_TILES;
    int64_t columns = c->panels_outer ? d->kernel->nr : c->columns;

    c->block = held < 1 ? 1 : conv_nhwc_least(held, 4 * BLOCK_TILES);
    copied = (c->panels_outer ? c->block : 1) * mr * c->patch_bytes + CONV_NHWC_ALIGN;
    c->worker_bytes =
        conv_nhwc_round_up(2 * d->taps * (int64_t)sizeof(int64_t), CONV_NHWC_ALIGN) +
        2 * conv_nhwc_round_up(mr * columns * (int64_t)sizeof(float), CONV_NHWC_ALIGN) +
        conv_nhwc_round_up(copied, CONV_NHWC_ALIGN);
}

void conv_listed_plan(const conv_nhwc_problem *problem, const brgemm_kernel *kernel, conv_listed *c)
{
    *c = (conv_listed){0};
    conv_nhwc_plan(problem, kernel, CONV_NHWC_ROW, 1, &c->dense);
    c->columns = problem->groups * problem->filters;
    c->panels = problem->groups * conv_nhwc_pieces(problem->filters, kernel->nr);
    c->pixel_bytes = problem->groups * problem->shape.channels * brgemm_size(problem->type);
    c->patch_bytes = conv_nhwc_round_up(positions_of(&problem->shape) * c->pixel_bytes, 4);
    c->patch_bytes += c->patch_bytes % ALIAS == 0 ? CONV_NHWC_ALIGN : 0;
    c->tiling = (pixel_tiling){kernel->mr, (int)conv_nhwc_least(LEAST_RUN, kernel->mr / 2)};
    c->panels_outer = c->dense.packed_bytes > WEIGHT_BYTES;
    set_costs(c);
    set_blocks(c);
}

/* Must all pixels be copied? */
static bool conv_listed_copies(const conv_listed_call *call)
{
    enum { WAYS = 8 }; /* of the first-level cache */
    const conv_listed *c = call->c;
    int64_t pitch = c->pixel_bytes * c->dense.problem.shape.stride_w;

    return call->is_wide || (call->is_tight && c->dense.k % c->dense.kernel->group != 0) ||
           (pitch % ALIAS == 0 && c->tiling.mr > WAYS);
}

/* ---- pieces ---- */

static int64_t blocks_of(const conv_listed_call *call)
{
    return conv_nhwc_pieces(call->list->tile_count, call->c->block);
}

/* Slices of the panels: where tiles are too few to go round. */
static int64_t slices_of(const conv_listed_call *call)
{
    int64_t blocks = blocks_of(call);
    int64_t wanted = (int64_t)call->workers * PIECES_PER_WORKER;

    if (call->workers == 1 || blocks == 0 || blocks >= wanted) {
        return 1;
    }
    return conv_nhwc_least(conv_nhwc_pieces(wanted, blocks), call->c->panels);
}

int64_t conv_listed_pieces(const conv_listed_call *call)
{
    return blocks_of(call) * slices_of(call);
}

/* ---- one piece ---- */

/* What a worker has in hand. */
typedef struct piece {
    const conv_listed_call *call;
    int64_t *in_place; /* offsets of taps */
    int64_t *copied;
    char *results; /* a tile of them, */
    float *residuals;
    char *panel;             /* copied pixels */
    bool copies;             /* all pixels, not only single ones */
    brgemm_tile tile;        /* of neighbours where they lie, */
    brgemm_tile copied_tile; /* and of copied pixels */
    brgemm_finish finish;
    const char *next; /* of the weights, read soon; or NULL */
} piece;

static char *address(const conv_listed_image *m, const conv_f32_shape *s, bool is_input,
                     pixel_spot at)
{
    int64_t row = at.line % s->out_h * (is_input ? s->stride_h : 1);
    int64_t column = at.column * (is_input ? s->stride_w : 1);

    return m->data + at.line / s->out_h * m->image + row * m->row + column * m->pixel;
}

static const char *source_of(const piece *p, pixel_spot at)
{
    return address(&p->call->x, &p->call->c->dense.problem.shape, true, at);
}

char *conv_listed_target(const conv_listed_call *call, pixel_spot at)
{
    return address(&call->y, &call->c->dense.problem.shape, false, at);
}

static char *target_of(const piece *p, pixel_spot at)
{
    return conv_listed_target(p->call, at);
}

static const float *residual_of(const piece *p, pixel_spot at)
{
    return p->call->finish.residual + (at.line * p->call->width + at.column) * p->call->c->columns;
}

/* Taps whose elements follow each other, in the image and among the weights, are one. */
static void set_taps(piece *p)
{
    const conv_listed *c = p->call->c;
    const conv_nhwc *d = &c->dense;
    const conv_f32_shape *s = &d->problem.shape;
    bool is_whole = d->problem.groups == 1 && d->k % d->kernel->group == 0;
    int64_t steps = conv_nhwc_pieces(d->k, d->kernel->group);

    for (int64_t i = 0; i < positions_of(s); i++) {
        p->in_place[i] = i / s->kernel_w * s->dilation_h * p->call->x.row +
                         i % s->kernel_w * s->dilation_w * p->call->x.pixel;
        p->copied[i] = i * c->pixel_bytes;
    }
    p->tile.taps = p->copied_tile.taps = d->taps;
    p->tile.steps = p->copied_tile.steps = steps;
    p->tile.tap_offsets = p->in_place;
    p->copied_tile.tap_offsets = p->copied;
    if (is_whole) {
        p->copied_tile.taps = 1;
        p->copied_tile.steps = positions_of(s) * steps;
    }
    if (is_whole && s->dilation_w == 1 && p->call->x.pixel == c->pixel_bytes) {
        p->tile.taps = (int)s->kernel_h;
        p->tile.steps = s->kernel_w * steps;
        for (int64_t i = 0; i < s->kernel_h; i++) {
            p->in_place[i] = p->in_place[i * s->kernel_w];
        }
    }
}

static void start(const conv_listed_call *call, int worker, piece *p)
{
    const conv_listed *c = call->c;
    const conv_nhwc *d = &c->dense;
    int64_t columns = c->panels_outer ? d->kernel->nr : c->columns;
    int64_t rows =
        conv_nhwc_round_up(d->kernel->mr * columns * (int64_t)sizeof(float), CONV_NHWC_ALIGN);
    char *own = (char *)call->workspace + worker * c->worker_bytes;

    *p = (piece){.call = call, .in_place = (int64_t *)(void *)own, .finish = call->finish};
    p->copied = p->in_place + d->taps;
    p->results = own + conv_nhwc_round_up(2 * d->taps * (int64_t)sizeof(int64_t), CONV_NHWC_ALIGN);
    p->residuals = (float *)(void *)(p->results + rows);
    p->panel = p->results + 2 * rows;
    p->copies = conv_listed_copies(call);
    p->tile = p->copied_tile = (brgemm_tile){.flip = call->flip, .finish = &p->finish};
    set_taps(p);
}

/* ---- copying pixels together ---- */

/* The patch of one pixel; runs of kernel columns are neighbours where nothing is dilated. */
static void copy_patch(const piece *p, pixel_spot at, char *to)
{
    const conv_listed *c = p->call->c;
    const conv_f32_shape *s = &c->dense.problem.shape;
    int64_t channels = c->dense.problem.groups * s->channels;
    bool is_dense = !p->call->is_wide && s->dilation_w == 1 && p->call->x.pixel == c->pixel_bytes;
    int64_t runs = is_dense ? 1 : s->kernel_w;
    int64_t bytes = is_dense ? s->kernel_w * c->pixel_bytes : c->pixel_bytes;
    const char *from = source_of(p, at);

    for (int64_t r = 0; r < s->kernel_h; r++) {
        for (int64_t q = 0; q < runs; q++, to += bytes) {
            const char *pixel =
                from + r * s->dilation_h * p->call->x.row + q * s->dilation_w * p->call->x.pixel;

            if (p->call->is_wide) {
                c->dense.narrow((uint16_t *)(void *)to, (const float *)(const void *)pixel,
                                channels);
            } else {
                memcpy(to, pixel, (size_t)bytes);
            }
        }
    }
}

/* Spot i of a tile of single pixels, or of one whose pixels are copied all the same. */
static pixel_spot spot_of(const piece *p, const pixel_tile *t, int64_t i)
{
    return p->call->list->spots[t->start + i];
}

/* ---- tiles ---- */

/* Panels [first, end) of all groups. */
typedef struct panel_range {
    int64_t first, end;
    int64_t channel; /* of the first */
    int64_t columns;
} panel_range;

static int64_t channel_of(const conv_listed *c, int64_t panel)
{
    int64_t per_group = c->panels / c->dense.problem.groups;

    return panel / per_group * c->dense.problem.filters + panel % per_group * c->dense.kernel->nr;
}

static panel_range range_of(const conv_listed *c, int64_t first, int64_t end)
{
    int64_t channel = channel_of(c, first);

    return (panel_range){first, end, channel, channel_of(c, end) - channel};
}

/* The tile by one panel. `c` and its pitches are set for channel range->channel. */
static void run_panel(piece *p, const brgemm_tile *tile, const panel_range *range, int64_t panel)
{
    const conv_listed *c = p->call->c;
    const brgemm_finish *f = &p->call->finish;
    const conv_nhwc *d = &c->dense;
    int64_t per_group = c->panels / d->problem.groups;
    int64_t group = panel / per_group;
    int64_t filter = panel % per_group * d->kernel->nr;
    int64_t channel = group * d->problem.filters + filter;
    brgemm_tile t = *tile;

    t.a = (const char *)t.a + group * d->problem.shape.channels * brgemm_size(d->problem.type);
    t.b = (const char *)p->call->packed + panel * d->panel_bytes;
    t.c = (char *)t.c + (channel - range->channel) * (int64_t)d->problem.result_size;
    t.columns = (int)conv_nhwc_least(d->problem.filters - filter, d->kernel->nr);
    t.next = p->next;
    if (p->finish.residual != NULL) {
        p->finish.residual += channel - range->channel;
    }
    p->finish.bias = f->bias != NULL ? f->bias + channel : NULL;
    p->finish.offset = f->offset != NULL ? f->offset + channel : NULL;
    p->finish.factor = f->factor != NULL ? f->factor + channel : NULL;
    d->kernel->tile(&t);
    if (p->finish.residual != NULL) {
        p->finish.residual -= channel - range->channel;
    }
}

static void run_panels(piece *p, const brgemm_tile *tile, const panel_range *range)
{
    for (int64_t panel = range->first; panel < range->end; panel++) {
        run_panel(p, tile, range, panel);
    }
}

/* Where a tile of neighbours is read from. */
static void set_source(piece *p, const pixel_tile *t)
{
    int64_t half = p->call->c->dense.kernel->mr / 2;

    p->tile.a = source_of(p, t->first);
    p->tile.a_pitch = p->call->x.pixel * p->call->c->dense.problem.shape.stride_w;
    p->tile.a_second = t->kind == PIXEL_TILE_PAIR
                           ? source_of(p, t->second) - (const char *)p->tile.a
                           : half * p->tile.a_pitch;
    p->tile.rows = t->count;
}

/* Neighbours whose results go where they belong. */
static void run_direct(piece *p, const pixel_tile *t, brgemm_tile *tile, const panel_range *range)
{
    const conv_listed *c = p->call->c;
    int64_t half = c->dense.kernel->mr / 2;
    bool is_pair = t->kind == PIXEL_TILE_PAIR;
    char *y = target_of(p, t->first);

    tile->c = y + range->channel * (int64_t)c->dense.problem.result_size;
    tile->c_pitch = p->call->y.pixel;
    tile->c_second = is_pair ? target_of(p, t->second) - y : half * p->call->y.pixel;
    if (p->call->finish.residual != NULL) {
        const float *residual = residual_of(p, t->first);

        p->finish.residual = residual + range->channel;
        p->finish.residual_pitch = c->columns;
        p->finish.residual_second =
            is_pair ? residual_of(p, t->second) - residual : half * c->columns;
    }
    run_panels(p, tile, range);
}

/* Pixel i of a tile. */
static pixel_spot pixel_of(const piece *p, const pixel_tile *t, int64_t i)
{
    int64_t half = p->call->c->dense.kernel->mr / 2;

    if (t->kind == PIXEL_TILE_SINGLES) {
        return spot_of(p, t, i);
    }
    if (t->kind == PIXEL_TILE_PAIR && i >= half) {
        return (pixel_spot){t->second.line, (int32_t)(t->second.column + i - half)};
    }
    return (pixel_spot){t->first.line, (int32_t)(t->first.column + i)};
}

/* Neighbours from pixel `i` of the tile on. */
static int64_t run_length(const piece *p, const pixel_tile *t, int64_t i)
{
    int64_t half = p->call->c->dense.kernel->mr / 2;
    int64_t count = 1;

    if (t->kind != PIXEL_TILE_SINGLES) {
        return t->kind == PIXEL_TILE_PAIR && i < half ? half - i : t->count - i;
    }
    while (i + count < t->count) {
        pixel_spot before = spot_of(p, t, i + count - 1);
        pixel_spot next = spot_of(p, t, i + count);

        if (next.line != before.line || next.column != before.column + 1) {
            break;
        }
        count++;
    }
    return count;
}

/* Results by way of a tile of their own. */
static void run_spread(piece *p, const pixel_tile *t, brgemm_tile *tile, const panel_range *range)
{
    const conv_listed *c = p->call->c;
    int64_t half = c->dense.kernel->mr / 2;
    int64_t size = (int64_t)c->dense.problem.result_size;
    int64_t bytes = range->columns * size;

    tile->c = p->results;
    tile->c_pitch = bytes;
    tile->c_second = half * bytes;
    if (p->call->finish.residual != NULL) {
        for (int64_t i = 0; i < t->count; i++) {
            memcpy(p->residuals + i * range->columns,
                   residual_of(p, pixel_of(p, t, i)) + range->channel,
                   (size_t)range->columns * sizeof *p->residuals);
        }
        p->finish.residual = p->residuals;
        p->finish.residual_pitch = range->columns;
        p->finish.residual_second = half * range->columns;
    }
    run_panels(p, tile, range);
    for (int64_t i = 0; i < t->count;) {
        pixel_spot at = pixel_of(p, t, i);
        int64_t count = run_length(p, t, i);

        if (p->call->put != NULL) {
            p->call->put(p->call, at, count, range->channel, range->columns,
                         p->results + i * bytes);
        } else {
            for (int64_t n = 0; n < count; n++) {
                memcpy(target_of(p, at) + n * p->call->y.pixel + range->channel * size,
                       p->results + (i + n) * bytes, (size_t)bytes);
            }
        }
        i += count;
    }
}

static bool is_copied(const piece *p, const pixel_tile *t)
{
    return p->copies || t->kind == PIXEL_TILE_SINGLES;
}

/* Panels of a tile, whose copied pixels are at `panel`. */
static void run_tile(piece *p, const pixel_tile *t, const char *panel, const panel_range *range)
{
    const conv_listed *c = p->call->c;
    brgemm_tile *tile = is_copied(p, t) ? &p->copied_tile : &p->tile;

    if (is_copied(p, t)) {
        tile->a = panel;
        tile->a_pitch = c->patch_bytes;
        tile->a_second = c->dense.kernel->mr / 2 * c->patch_bytes;
        tile->rows = t->count;
    } else {
        set_source(p, t);
    }
    if (t->kind == PIXEL_TILE_SINGLES || p->call->put != NULL) {
        run_spread(p, t, tile, range);
    } else {
        run_direct(p, t, tile, range);
    }
}

/* Copies what a tile reads, if it must be; a run of whole pixels at one time. */
static void copy_tile(const piece *p, const pixel_tile *t, char *to)
{
    const conv_listed *c = p->call->c;
    const conv_f32_shape *s = &c->dense.problem.shape;
    int64_t channels = c->dense.problem.groups * s->channels;

    if (!is_copied(p, t)) {
        return;
    }
    if (t->kind == PIXEL_TILE_RUN && p->call->is_wide && positions_of(s) == 1 && s->stride_w == 1 &&
        p->call->x.pixel == channels * (int64_t)sizeof(float) && c->patch_bytes == c->pixel_bytes) {
        c->dense.narrow((uint16_t *)(void *)to, (const float *)(const void *)source_of(p, t->first),
                        t->count * channels);
        return;
    }
    for (int64_t i = 0; i < t->count; i++) {
        copy_patch(p, pixel_of(p, t, i), to + i * c->patch_bytes);
    }
}

/* Asks for the pixels of a tile that comes soon: those of the layers before lie far away. */
static void ask_for(const piece *p, const pixel_tile *t)
{
    if (p->call->is_tight && t->kind == PIXEL_TILE_RUN) {
        brgemm_prefetch(source_of(p, t->first), t->count * p->call->x.pixel);
    }
}

/* Tiles [begin, end) and panels [first, last): few weights stay in the cache for all tiles; of many
 * a panel at a time does, while pixels do. */
static void run_block(piece *p, int64_t begin, int64_t end, int64_t first, int64_t last)
{
    const conv_listed *c = p->call->c;
    const pixel_tile *tiles = p->call->list->tiles;
    int64_t tile_bytes = c->dense.kernel->mr * c->patch_bytes;

    if (!c->panels_outer) {
        panel_range range = range_of(c, first, last);

        for (int64_t i = begin; i < end; i++) {
            if (i + 1 < end) {
                ask_for(p, &tiles[i + 1]);
            }
            copy_tile(p, &tiles[i], p->panel);
            run_tile(p, &tiles[i], p->panel, &range);
        }
        return;
    }
    for (int64_t i = begin; i < end; i++) {
        copy_tile(p, &tiles[i], p->panel + (i - begin) * tile_bytes);
    }
    for (int64_t panel = first; panel < last; panel++) {
        panel_range range = range_of(c, panel, panel + 1);
        int64_t bytes = c->dense.panel_bytes;
        bool asks = panel + 1 < last && bytes <= EARLY_BYTES;

        for (int64_t i = begin; i < end; i++) { /* half of the next panel during each of two */
            p->next = asks && i - begin < 2 ? (const char *)p->call->packed + (panel + 1) * bytes +
                                                  (i - begin) * bytes / 2
                                            : NULL;
            run_tile(p, &tiles[i], p->panel + (i - begin) * tile_bytes, &range);
        }
    }
}

void conv_listed_run(void *context, int64_t begin, int64_t end, int worker)
{
    const conv_listed_call *call = context;
    const conv_listed *c = call->c;
    int64_t slices = slices_of(call);
    piece p;

    start(call, worker, &p);
    for (int64_t i = begin; i < end; i++) {
        int64_t tile = i / slices * c->block;
        int64_t slice = i % slices;

        run_block(&p, tile, conv_nhwc_least(tile + c->block, call->list->tile_count),
                  c->panels * slice / slices, c->panels * (slice + 1) / slices);
    }
}
