/* Plan, packing and run of convolutions by permuted lanes. */
#include <string.h>

#include "kernels/sparse/sparse_lanes.h"

enum {
    LINE = 64,
    BAND_BYTES = 96 * 1024, /* of a band: what a piece copies is soon read again */
    LINE_PIXELS = 96        /* of a piece of a line */
};

/* Cycles. */
static const double slot_cost = 1.36;  /* a permutation and a multiply-add of a pixel */
static const double slot_start = 3.0;  /* of a tile: places and factors */
static const double finish_cost = 8.0; /* of a pixel and panel */
static const double tile_cost = 60.0;  /* of a tile and panel */
static const double copy_cost = 3.0;   /* of 16 channels of a pixel */
static const double row_cost = 80.0;   /* of a row of a band */

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t parts_of(int64_t extent, int64_t part)
{
    return (extent + part - 1) / part;
}

static int64_t padded(int64_t bytes)
{
    return parts_of(bytes, LINE) * LINE;
}

/* Is every pixel read once, and where it lies? */
static bool is_line(const conv_f32_shape *s)
{
    return s->kernel_h == 1 && s->kernel_w == 1 && s->stride_h == 1 && s->stride_w == 1 &&
           s->pad_h == 0 && s->pad_w == 0 && s->out_h == s->in_h && s->out_w == s->in_w;
}

bool sparse_lanes_can(const conv_f32_shape *shape)
{
    return shape->channels >= SPARSE_LANES &&
           (!is_line(shape) || shape->in_h * shape->in_w >= SPARSE_LANES_PIXELS);
}

/* ---- weights ---- */

/* A panel of filters, a window of channels and a position of the kernel. */
typedef struct lanes_cell {
    const sparse_source *source;
    int64_t taps;
    int64_t filter, filters;
    int64_t channel, channels;
    int64_t tap;
} lanes_cell;

static const float *weights_of(const lanes_cell *cell, int64_t filter)
{
    const sparse_source *s = cell->source;

    return (const float *)s->data + (cell->filter + filter) * s->row_stride +
           (cell->channel * cell->taps + cell->tap) * s->k_stride;
}

/* What the filter with the most numbers has. */
static int64_t slots_of(const lanes_cell *cell)
{
    int64_t step = cell->taps * cell->source->k_stride;
    int64_t slots = 0;

    for (int64_t f = 0; f < cell->filters; f++) {
        const float *w = weights_of(cell, f);
        int64_t count = 0;

        for (int64_t c = 0; c < cell->channels; c++) {
            count += w[c * step] != 0.0f;
        }
        slots = most(slots, count);
    }
    return slots;
}

/* Calls `visit` for every cell: panels, then taps, then windows. */
static void visit_cells(const sparse_source *source, int64_t taps,
                        void (*visit)(void *context, const lanes_cell *cell), void *context)
{
    int64_t channels = source->k / taps;
    lanes_cell cell = {.source = source, .taps = taps};

    for (cell.filter = 0; cell.filter < source->rows; cell.filter += SPARSE_LANES) {
        cell.filters = least(source->rows - cell.filter, SPARSE_LANES);
        for (cell.tap = 0; cell.tap < taps; cell.tap++) {
            for (cell.channel = 0; cell.channel < channels; cell.channel += SPARSE_LANES) {
                cell.channels = least(channels - cell.channel, SPARSE_LANES);
                visit(context, &cell);
            }
        }
    }
}

static void count_cell(void *context, const lanes_cell *cell)
{
    *(int64_t *)context += slots_of(cell);
}

int64_t sparse_lanes_count(const sparse_source *source, int64_t taps)
{
    int64_t slots = 0;

    visit_cells(source, taps, count_cell, &slots);
    return slots;
}

/* Packed: where each panel's slots begin, and one more; at; value; lane. */
typedef struct lanes_parts {
    uint32_t *begin;
    uint32_t *at;
    float *value;
    uint8_t *lane;
} lanes_parts;

static lanes_parts parts_at(const sparse_lanes_conv *c, void *packed)
{
    char *to = packed;
    int64_t slots = c->problem.slots;
    lanes_parts p = {.begin = packed};

    to += padded((c->panels + 1) * (int64_t)sizeof *p.begin);
    p.at = (uint32_t *)(void *)to;
    to += padded(slots * (int64_t)sizeof *p.at);
    p.value = (float *)(void *)to;
    p.lane = (uint8_t *)(to + padded(slots * SPARSE_LANES * (int64_t)sizeof *p.value));
    return p;
}

typedef struct lanes_packing {
    const sparse_lanes_conv *c;
    lanes_parts to;
    int64_t slot;
} lanes_packing;

/* A window begins at its first channel, or earlier where it would reach beyond the last. */
static int64_t window_of(const conv_f32_shape *s, int64_t channel)
{
    return least(channel, s->channels - SPARSE_LANES);
}

static void pack_cell(void *context, const lanes_cell *cell)
{
    lanes_packing *p = context;
    const conv_f32_shape *s = &p->c->problem.shape;
    int64_t slots = slots_of(cell);
    int64_t window = window_of(s, cell->channel);
    int64_t step = cell->taps * cell->source->k_stride;
    int64_t row = cell->tap / s->kernel_w * s->dilation_h;
    int64_t column = cell->tap % s->kernel_w * s->dilation_w;
    uint32_t at = (uint32_t)(row * p->c->line + column * s->channels + window);

    for (int64_t i = 0; i < slots; i++) {
        p->to.at[p->slot + i] = at;
    }
    for (int64_t f = 0; f < cell->filters; f++) {
        const float *w = weights_of(cell, f);
        int64_t slot = p->slot;

        for (int64_t c = 0; c < cell->channels; c++) {
            if (w[c * step] != 0.0f) {
                p->to.value[slot * SPARSE_LANES + f] = w[c * step];
                p->to.lane[slot * SPARSE_LANES + f] = (uint8_t)(cell->channel + c - window);
                slot++;
            }
        }
    }
    p->slot += slots;
    p->to.begin[cell->filter / SPARSE_LANES + 1] = (uint32_t)p->slot;
}

void sparse_lanes_pack(const sparse_lanes_conv *c, const sparse_source *source, void *packed)
{
    const conv_f32_shape *s = &c->problem.shape;
    lanes_packing p = {.c = c, .to = parts_at(c, packed)};

    memset(packed, 0, (size_t)c->packed_bytes);
    visit_cells(source, s->kernel_h * s->kernel_w, pack_cell, &p);
}

/* ---- the plan ---- */

/* Input rows that so many output rows read. */
static int64_t rows_read(const conv_f32_shape *s, int64_t rows)
{
    return (rows - 1) * s->stride_h + (s->kernel_h - 1) * s->dilation_h + 1;
}

/* Floats of a band, with what the last run may read beyond it. */
static int64_t band_floats(const sparse_lanes_conv *c, int64_t rows)
{
    const conv_f32_shape *s = &c->problem.shape;

    return rows_read(s, rows) * c->line + SPARSE_LANES_PIXELS * s->stride_w * s->channels;
}

static void plan_bands(sparse_lanes_conv *c)
{
    const conv_f32_shape *s = &c->problem.shape;
    int64_t rows = s->out_h;

    if (c->is_line) {
        c->line = 0;
        c->band_rows = LINE_PIXELS;
        c->bands = parts_of(c->problem.batch * s->in_h * s->in_w, LINE_PIXELS);
        return;
    }
    c->line = ((s->out_w - 1) * s->stride_w + (s->kernel_w - 1) * s->dilation_w + 1) * s->channels;
    while (rows > 1 && band_floats(c, rows) * 4 > BAND_BYTES) {
        rows--;
    }
    c->bands = parts_of(s->out_h, rows);
    c->band_rows = parts_of(s->out_h, c->bands);
    c->worker_bytes = padded(band_floats(c, c->band_rows) * 4);
}

static void foretell(sparse_lanes_conv *c)
{
    const conv_f32_shape *s = &c->problem.shape;
    double rows = (double)(c->problem.batch * s->out_h);
    double runs =
        (double)parts_of(c->is_line ? s->out_h * s->out_w : s->out_w, SPARSE_LANES_PIXELS) *
        (c->is_line ? (double)c->problem.batch : rows);
    double tiles = runs / SPARSE_LANES_MOST_RUNS;
    double pixels = runs * SPARSE_LANES_PIXELS;
    double cost = (double)c->problem.slots * (pixels * slot_cost + tiles * slot_start) +
                  (double)c->panels * (pixels * finish_cost + tiles * tile_cost);

    if (!c->is_line) {
        double copied =
            (double)(c->problem.batch * c->bands * c->slices) * (double)rows_read(s, c->band_rows);

        cost += copied * (row_cost + (double)c->line / SPARSE_LANES * copy_cost);
    }
    c->predicted_cost = cost;
}

void sparse_lanes_plan(const sparse_lanes_problem *problem, const sparse_lanes_kernel *kernel,
                       int workers, sparse_lanes_conv *c)
{
    int64_t places;

    *c = (sparse_lanes_conv){.problem = *problem,
                             .kernel = kernel,
                             .panels = parts_of(problem->filters, SPARSE_LANES),
                             .is_line = is_line(&problem->shape)};
    plan_bands(c);
    places = c->is_line ? c->bands : c->bands * problem->batch;
    c->slices = least(c->panels, parts_of(workers, places));
    c->slice = parts_of(c->panels, c->slices);
    c->slices = parts_of(c->panels, c->slice);
    c->pieces = places * c->slices;
    c->packed_bytes = padded((c->panels + 1) * 4) + padded(problem->slots * 4) +
                      padded(problem->slots * SPARSE_LANES * 4) +
                      padded(problem->slots * SPARSE_LANES);
    foretell(c);
}

/* ---- the run ---- */

/* Input rows from `row` on, padded, to `to`. */
static void copy_band(const sparse_lanes_call *call, int64_t image, int64_t row, int64_t rows,
                      float *to)
{
    const sparse_lanes_conv *c = call->c;
    const conv_f32_shape *s = &c->problem.shape;
    int64_t columns = c->line / s->channels;
    int64_t before = least(s->pad_w, columns);
    int64_t inside = most(least(s->in_w, columns - before), 0);
    int64_t after = columns - before - inside;

    for (int64_t i = 0; i < rows; i++, to += c->line) {
        int64_t from = row + i - s->pad_h;

        if (from < 0 || from >= s->in_h) {
            memset(to, 0, (size_t)c->line * sizeof *to);
            continue;
        }
        memset(to, 0, (size_t)(before * s->channels) * sizeof *to);
        memcpy(to + before * s->channels,
               call->x + (image * s->in_h + from) * s->in_w * s->channels,
               (size_t)(inside * s->channels) * sizeof *to);
        memset(to + (before + inside) * s->channels, 0, (size_t)(after * s->channels) * sizeof *to);
    }
}

/* Tiles under construction. */
typedef struct lanes_work {
    const sparse_lanes_call *call;
    lanes_parts packed;
    int64_t panel, panel_end;
    sparse_lanes_tile tile;
    brgemm_finish finish; /* of the tile */
} lanes_work;

/* All panels of the piece for the runs that there are. */
static void flush(lanes_work *w)
{
    const sparse_lanes_call *call = w->call;
    const sparse_lanes_conv *c = call->c;
    sparse_lanes_tile *t = &w->tile;

    for (int64_t panel = w->panel; panel < w->panel_end && t->count > 0; panel++) {
        int64_t filter = panel * SPARSE_LANES;
        uint32_t slot = w->packed.begin[panel];

        w->finish.bias = call->finish.bias != NULL ? call->finish.bias + filter : NULL;
        t->at = w->packed.at + slot;
        t->value = w->packed.value + (size_t)slot * SPARSE_LANES;
        t->lane = w->packed.lane + (size_t)slot * SPARSE_LANES;
        t->slots = w->packed.begin[panel + 1] - slot;
        t->lanes = (int)least(c->problem.filters - filter, SPARSE_LANES);
        c->kernel->tile(t);
        for (int r = 0; r < t->count; r++) { /* on to the next panel */
            t->runs[r].y += SPARSE_LANES;
            if (t->runs[r].residual != NULL) {
                t->runs[r].residual += SPARSE_LANES;
            }
        }
    }
    t->count = 0;
}

/* `pixels` neighbours that lie at `x`, the first of which is pixel `y` of the output. Where
 * `is_exact` nothing may be read beyond them: the last run begins earlier then. */
static void add_pixels(lanes_work *w, const float *x, int64_t y, int64_t pixels, bool is_exact)
{
    const sparse_lanes_call *call = w->call;
    int64_t pitch = w->tile.y_pitch;

    for (int64_t i = 0; i < pixels; i += SPARSE_LANES_PIXELS) {
        int64_t back =
            i + SPARSE_LANES_PIXELS > pixels && is_exact ? i + SPARSE_LANES_PIXELS - pixels : 0;
        int64_t at = (y + i - back) * pitch + w->panel * SPARSE_LANES;

        w->tile.runs[w->tile.count++] = (sparse_lanes_pixels){
            .x = x + (i - back) * w->tile.x_pitch,
            .y = call->y + at,
            .residual = call->finish.residual != NULL ? call->finish.residual + at : NULL,
            .first = (int)back,
            .end = (int)least(pixels - i + back, SPARSE_LANES_PIXELS)};
        if (w->tile.count == SPARSE_LANES_MOST_RUNS) {
            flush(w);
        }
    }
}

/* Where a piece of a line has fewer pixels than a run, it takes some of the one before. */
static void run_line(lanes_work *w, int64_t band)
{
    const sparse_lanes_conv *c = w->call->c;
    const conv_f32_shape *s = &c->problem.shape;
    int64_t all = c->problem.batch * s->in_h * s->in_w;
    int64_t first = band * c->band_rows;
    int64_t pixels = least(all - first, c->band_rows);

    if (pixels < SPARSE_LANES_PIXELS) {
        int64_t back = SPARSE_LANES_PIXELS - pixels;
        sparse_lanes_pixels *run = &w->tile.runs[w->tile.count];

        add_pixels(w, w->call->x + (first - back) * s->channels, first - back, SPARSE_LANES_PIXELS,
                   true);
        run->first = (int)back;
    } else {
        add_pixels(w, w->call->x + first * s->channels, first, pixels, true);
    }
    flush(w);
}

static void run_band(lanes_work *w, int64_t image, int64_t band, float *room)
{
    const sparse_lanes_conv *c = w->call->c;
    const conv_f32_shape *s = &c->problem.shape;
    int64_t row = band * c->band_rows;
    int64_t rows = least(s->out_h - row, c->band_rows);

    if (rows <= 0) {
        return;
    }
    copy_band(w->call, image, row * s->stride_h, rows_read(s, rows), room);
    for (int64_t i = 0; i < rows; i++) {
        add_pixels(w, room + i * s->stride_h * c->line, (image * s->out_h + row + i) * s->out_w,
                   s->out_w, s->out_w >= SPARSE_LANES_PIXELS);
    }
    flush(w);
}

void sparse_lanes_run(void *context, int64_t begin, int64_t end, int worker)
{
    const sparse_lanes_call *call = context;
    const sparse_lanes_conv *c = call->c;
    const conv_f32_shape *s = &c->problem.shape;
    float *room = (float *)(void *)((char *)call->workspace + worker * c->worker_bytes);

    for (int64_t piece = begin; piece < end; piece++) {
        int64_t place = piece / c->slices;
        int64_t panel = piece % c->slices * c->slice;
        lanes_work w = {
            .call = call,
            .packed = parts_at(c, (void *)call->packed),
            .panel = panel,
            .panel_end = least(panel + c->slice, c->panels),
            .tile = {.x_pitch = s->stride_w * s->channels, .y_pitch = c->problem.filters},
            .finish = call->finish};

        w.tile.finish = &w.finish;
        if (c->is_line) {
            run_line(&w, place);
        } else {
            run_band(&w, place / c->bands, place % c->bands, room);
        }
    }
}
