/* The loops over tiles of pixels and panels of filters of one piece of work. */
#include <string.h>

#include "kernels/conv/conv_nhwc_parts.h"

/* The pixels of a piece, or of a block of its patches, as lines of equal pitch. */
typedef struct grid {
    const conv_nhwc_piece *piece;
    const char *a;     /* pixel 0 */
    int64_t pitch;     /* bytes of A from pixel to pixel in a line */
    int64_t row_pitch; /* and from output row to output row, where lines are rows */
    int64_t rows;      /* 0: one line of `pixels` */
    int64_t pixels;    /* of one line, those between output rows included */
    int64_t line;      /* pixels of a line from output row to output row */
    bool asks;         /* for the next tile of A ahead of time */
    bool skips;        /* kernel rows on padding are left out */
    int64_t row_taps;  /* of one kernel row, where they are */
    int64_t first;     /* output pixel of pixel 0, counted through all images */
    const int64_t *offsets;
    char *scratch; /* the worker's */
    conv_nhwc_scratch at;
} grid;

/* Pixels as tiles: full ones or, where that would leave few pixels for the last, equal ones. */
typedef struct cut {
    int64_t pixels;
    int64_t tiles;
    int64_t rows;   /* of a tile */
    int64_t larger; /* tiles of one more */
} cut;

/* Pixels that tiles are cut from: a run at one pitch, or half a tile each from two output rows. */
typedef struct run {
    const char *a;
    int64_t second; /* as in brgemm_tile */
    cut cut;
    int64_t first; /* output pixel */
    int64_t tap;   /* taps [tap, tap + taps) */
    int taps;
} run;

/* Panels of filters, one at a time. */
typedef struct panel {
    brgemm_tile tile;
    brgemm_finish finish;
    const float *residual; /* of output pixel 0 of the batch */
    char *y;
    const char *b;      /* of tap 0 */
    const char *next_b; /* of the panel that comes when all pixels are done, or NULL */
    int64_t tap_bytes;
    int64_t bytes;
    int64_t index; /* within the piece; -1: none yet */
    int64_t tiles; /* computed since it was set */
} panel;

/* What all panels have in common. */
static void start_panels(const grid *g, panel *p)
{
    const conv_nhwc_piece *piece = g->piece;
    const conv_nhwc_call *call = piece->call;
    const conv_nhwc *c = call->c;
    int64_t channels = c->problem.groups * c->problem.filters;

    p->finish = call->finish;
    p->finish.residual_pitch = channels;
    p->finish.residual_second = channels * (c->kernel->mr / 2);
    p->tile = (brgemm_tile){.a_pitch = g->pitch,
                            .steps = conv_nhwc_pieces(c->k, c->kernel->group),
                            .flip = call->flip,
                            .c_pitch = call->y_pitch,
                            .c_second = call->y_pitch * (c->kernel->mr / 2),
                            .finish = &p->finish};
    p->index = -1;
    p->bytes = c->panel_bytes;
    p->tap_bytes = c->panel_bytes / c->taps;
}

/* Panels asked for early share the second-level cache with the one in use. */
enum { EARLY_BYTES = 256 << 10 };

/* Panel `index` of the piece; the next one follows when `is_alone` with all pixels. */
static void set_panel(const grid *g, int64_t index, bool is_alone, panel *p)
{
    const conv_nhwc_piece *piece = g->piece;
    const conv_nhwc_call *call = piece->call;
    const conv_nhwc *c = call->c;
    const brgemm_finish *f = &call->finish;
    int64_t done = index * c->kernel->nr;
    int64_t channel = piece->group * c->problem.filters + piece->filter + done;

    p->finish.bias = f->bias != NULL ? f->bias + channel : NULL;
    p->finish.offset = f->offset != NULL ? f->offset + channel : NULL;
    p->finish.factor = f->factor != NULL ? f->factor + channel : NULL;
    p->residual = f->residual != NULL ? f->residual + channel : NULL;
    p->y = (char *)call->y + channel * (int64_t)c->problem.result_size;
    p->b = piece->packed + index * c->panel_bytes;
    p->next_b = is_alone && done + c->kernel->nr < piece->filters && p->bytes <= EARLY_BYTES
                    ? p->b + p->bytes
                    : NULL;
    p->index = index;
    p->tiles = 0;
    p->tile.columns = (int)conv_nhwc_least(piece->filters - done, c->kernel->nr);
}

/* A tile whose pixels are all results, next to each other: output pixel `pixel` on. */
static void run_dense(const grid *g, panel *p, int64_t pixel)
{
    p->finish.residual =
        p->residual != NULL ? p->residual + pixel * p->finish.residual_pitch : NULL;
    p->tile.c = p->y + pixel * g->piece->call->y_pitch;
    g->piece->call->c->kernel->tile(&p->tile);
}

/* A tile across the end of an output row: it goes through a scratch tile, so that the pixels in
 * between are never stored. */
static void run_torn(const grid *g, const panel *p, int64_t begin)
{
    const conv_nhwc *c = g->piece->call->c;
    size_t columns = (size_t)p->tile.columns;
    size_t result_bytes = columns * c->problem.result_size;
    char *results = g->scratch + g->at.tile;
    float *residuals = (float *)(void *)(g->scratch + g->at.residual);
    panel torn = *p;
    int64_t pixels[BRGEMM_MOST_MR];

    torn.tile.finish = &torn.finish;
    torn.tile.c = results;
    torn.tile.c_pitch = (int64_t)result_bytes;
    torn.tile.c_second = (int64_t)result_bytes * (c->kernel->mr / 2);
    torn.finish.residual = p->residual != NULL ? residuals : NULL;
    torn.finish.residual_pitch = (int64_t)columns;
    torn.finish.residual_second = (int64_t)columns * (c->kernel->mr / 2);
    for (int i = 0; i < p->tile.rows; i++) {
        int64_t row = (begin + i) / g->line;
        int64_t column = (begin + i) % g->line;

        pixels[i] = column < c->shape.out_w ? g->first + row * c->shape.out_w + column : -1;
        if (pixels[i] >= 0 && p->residual != NULL) {
            memcpy(residuals + (size_t)i * columns,
                   p->residual + pixels[i] * p->finish.residual_pitch, columns * sizeof *residuals);
        } else if (p->residual != NULL) {
            memset(residuals + (size_t)i * columns, 0, columns * sizeof *residuals);
        }
    }
    c->kernel->tile(&torn.tile);
    for (int i = 0; i < p->tile.rows; i++) {
        if (pixels[i] >= 0) {
            memcpy(p->y + pixels[i] * g->piece->call->y_pitch, results + (size_t)i * result_bytes,
                   result_bytes);
        }
    }
}

/* Pixels [begin, end) of a run. */
static void run_tile(const grid *g, const run *r, int64_t begin, int64_t end, panel *p)
{
    p->tile.a = r->a + begin * g->pitch;
    p->tile.a_second = r->second;
    p->tile.rows = (int)(end - begin);
    p->tile.tap_offsets = g->offsets + r->tap;
    p->tile.taps = r->taps;
    p->tile.b = p->b + r->tap * p->tap_bytes;
    if (g->line == g->piece->call->c->shape.out_w) {
        run_dense(g, p, r->first + begin);
    } else if (begin / g->line == (end - 1) / g->line) {
        run_dense(g, p,
                  r->first + begin - begin / g->line * (g->line - g->piece->call->c->shape.out_w));
    } else {
        run_torn(g, p, begin);
    }
}

/* Leaves out pixels at either end of [*begin, *end) that are no results. */
static void trim(const grid *g, int64_t *begin, int64_t *end)
{
    int64_t out_w = g->piece->call->c->shape.out_w;

    if (g->line != out_w) {
        *begin = *begin % g->line < out_w ? *begin : (*begin / g->line + 1) * g->line;
        *end = (*end - 1) % g->line < out_w ? *end : (*end - 1) / g->line * g->line + out_w;
    }
}

/* What is wanted soon, while the tile that ends at pixel `end` is computed: the next panel's
 * weights, half of them during each of two tiles, or pixels that no tile has read yet. */
static const void *soon(const grid *g, const run *r, const panel *p, int64_t end)
{
    if (p->tiles < 2 && p->next_b != NULL) {
        return p->next_b + p->tiles * p->bytes / 2;
    }
    return g->asks && p->index == 0 && end < r->cut.pixels ? r->a + end * g->pitch : NULL;
}

static cut cut_of(const grid *g, int64_t pixels)
{
    int64_t mr = g->piece->call->c->kernel->mr;
    int64_t tiles = conv_nhwc_pieces(pixels, mr);
    int64_t rest = pixels % mr;
    bool is_even = rest > 0 && rest < mr / 2;

    return (cut){.pixels = pixels,
                 .tiles = tiles,
                 .rows = is_even ? pixels / tiles : mr,
                 .larger = is_even ? pixels % tiles : 0};
}

/* Panels [first, last). */
static void run_pixels(const grid *g, const run *r, int64_t first, int64_t last, panel *p)
{
    int64_t done = 0;

    for (int64_t t = 0; t < r->cut.tiles; t++) {
        int64_t begin = done;
        int64_t end =
            conv_nhwc_least(begin + r->cut.rows + (t < r->cut.larger ? 1 : 0), r->cut.pixels);

        done = end;
        trim(g, &begin, &end);
        for (int64_t i = first; i < last && begin < end; i++) {
            if (i != p->index) {
                set_panel(g, i, last - first == 1, p);
            }
            p->tile.next = soon(g, r, p, end);
            run_tile(g, r, begin, end, p);
            p->tiles++;
        }
    }
}

/* Chooses the taps of output row `row` of the piece: kernel rows that lie on padding add nothing.
 * Returns true when some are left out. */
static bool choose_taps(const grid *g, int64_t row, run *r)
{
    const conv_nhwc *c = g->piece->call->c;
    const conv_f32_shape *s = &c->shape;
    int64_t in_row = (g->piece->row + row) * s->stride_h - s->pad_h;
    int64_t begin = 0;
    int64_t end = s->kernel_h;

    if (in_row < 0) {
        begin = conv_nhwc_least(conv_nhwc_pieces(-in_row, s->dilation_h), end);
    }
    if (in_row + (s->kernel_h - 1) * s->dilation_h >= s->in_h) {
        end = in_row < s->in_h ? conv_nhwc_pieces(s->in_h - in_row, s->dilation_h) : 0;
        end = end < begin ? begin : end;
    }
    r->tap = begin * g->row_taps;
    r->taps = (int)((end - begin) * g->row_taps);
    return end - begin < s->kernel_h;
}

/* Output rows, two at a time where one is half a tile. */
static void run_rows(const grid *g, int64_t first, int64_t last, panel *p)
{
    const conv_nhwc *c = g->piece->call->c;
    int64_t half = c->kernel->mr / 2;
    cut one = cut_of(g, c->shape.out_w);
    cut two = cut_of(g, 2 * half);
    run r = {.taps = c->taps};
    run next = r;

    for (int64_t row = 0; row < g->rows;) {
        bool is_alone = g->skips && choose_taps(g, row, &r);
        bool are_two = c->shape.out_w == half && row + 1 < g->rows && !is_alone &&
                       !(g->skips && choose_taps(g, row + 1, &next));

        r.a = g->a + row * g->row_pitch;
        r.second = are_two ? g->row_pitch : half * g->pitch;
        r.cut = are_two ? two : one;
        r.first = g->first + row * c->shape.out_w;
        run_pixels(g, &r, first, last, p);
        row += are_two ? 2 : 1;
    }
}

static void run_panels(const grid *g, int64_t first, int64_t last, panel *p)
{
    const conv_nhwc *c = g->piece->call->c;
    run r = {.a = g->a,
             .second = c->kernel->mr / 2 * g->pitch,
             .cut = cut_of(g, g->pixels),
             .first = g->first,
             .taps = c->taps};

    if (g->rows > 0) {
        run_rows(g, first, last, p);
    } else {
        run_pixels(g, &r, first, last, p);
    }
}

static void run_grid(const grid *g)
{
    const conv_nhwc *c = g->piece->call->c;
    int64_t panels = conv_nhwc_pieces(g->piece->filters, c->kernel->nr);
    int64_t together = c->pixels_outer ? panels : 1;
    panel p;

    start_panels(g, &p);
    for (int64_t i = 0; i < panels; i += together) {
        run_panels(g, i, i + together, &p);
    }
}

/* ---- what the pixels of each way are ---- */

static grid grid_of(const conv_nhwc_piece *p)
{
    const conv_nhwc *c = p->call->c;
    conv_nhwc_scratch at = conv_nhwc_scratch_of(c);

    return (grid){.piece = p,
                  .line = c->line,
                  .first = (p->image * c->shape.out_h + p->row) * c->shape.out_w,
                  .offsets = (const int64_t *)(const void *)(p->worker + at.offsets),
                  .scratch = p->worker,
                  .at = at};
}

/* Tap offsets of the ways that keep taps apart, or kernel rows. */
static void set_offsets(const conv_nhwc *c, int64_t *offsets)
{
    const conv_f32_shape *s = &c->shape;
    int64_t per_row = c->taps / s->kernel_h;

    for (int64_t r = 0; r < s->kernel_h; r++) {
        int64_t line = r * s->dilation_h;
        int64_t offset = line % c->phases * c->phase_pitch + line / c->phases * c->line_pitch;

        for (int64_t q = 0; q < per_row; q++) {
            offsets[r * per_row + q] = offset + q * s->dilation_w * c->pixel_pitch;
        }
    }
}

/* ROW, FLAT, PHASE, KWMERGE. */
static void run_lines(const conv_nhwc_piece *p)
{
    const conv_nhwc *c = p->call->c;
    const conv_f32_shape *s = &c->shape;
    conv_nhwc_source source = conv_nhwc_source_of(p->call, p->image, p->group);
    bool is_one_line = c->way == CONV_NHWC_FLAT || c->way == CONV_NHWC_PHASE;
    grid g = grid_of(p);

    set_offsets(c, (int64_t *)(void *)(p->worker + g.at.offsets));
    if (c->is_copied) {
        g.a = p->worker + g.at.a;
        conv_nhwc_copy_band(&source, p->row, p->rows, p->worker + g.at.a);
    } else {
        g.a = source.x + p->row * s->stride_h * c->line_pitch;
    }
    g.pitch = s->stride_w * c->pixel_pitch;
    g.row_pitch = s->stride_h * c->line_pitch;
    g.rows = is_one_line ? 0 : p->rows;
    g.pixels = (p->rows - 1) * c->line + s->out_w;
    g.skips = c->is_copied && !is_one_line && s->kernel_h > 1 &&
              (c->problem.type != BRGEMM_S8 || p->call->zero == p->call->flip);
    g.row_taps = c->taps / s->kernel_h;
    g.asks = c->taps == 1 && !c->is_copied;
    run_grid(&g);
}

/* WHMERGE, COMPACT, PANEL: blocks of patches. */
static void run_patches(const conv_nhwc_piece *p)
{
    const conv_nhwc *c = p->call->c;
    conv_nhwc_source source = conv_nhwc_source_of(p->call, p->image, p->group);
    int64_t first = p->row * c->shape.out_w;
    int64_t pixels = p->rows * c->shape.out_w;
    grid g = grid_of(p);

    *(int64_t *)(void *)(p->worker + g.at.offsets) = 0;
    g.a = p->worker + g.at.a;
    g.pitch = c->pixel_pitch;
    for (int64_t done = 0; done < pixels; done += c->block) {
        g.pixels = conv_nhwc_least(pixels - done, c->block);
        conv_nhwc_copy_patches(&source, first + done, g.pixels, p->worker + g.at.a);
        run_grid(&g);
        g.first += g.pixels;
    }
}

static void run_explicit(const conv_nhwc_piece *p)
{
    const conv_nhwc *c = p->call->c;
    int64_t all = c->batch * c->shape.out_h * c->shape.out_w;
    grid g = grid_of(p);

    *(int64_t *)(void *)(p->worker + g.at.offsets) = 0;
    g.a = (const char *)p->call->workspace + (p->group * all + g.first) * c->pixel_pitch;
    g.pitch = c->pixel_pitch;
    g.pixels = p->rows * c->shape.out_w;
    run_grid(&g);
}

/* The addresses of one pixel's taps, as offsets from `x`. */
static void set_addresses(const conv_nhwc *c, const char *x, const char *padding, int64_t pixel,
                          int64_t *offsets)
{
    const conv_f32_shape *s = &c->shape;
    int64_t row = pixel / s->out_w * s->stride_h - s->pad_h;
    int64_t column = pixel % s->out_w * s->stride_w - s->pad_w;

    for (int64_t r = 0; r < s->kernel_h; r++) {
        for (int64_t q = 0; q < s->kernel_w; q++) {
            int64_t y = row + r * s->dilation_h;
            int64_t z = column + q * s->dilation_w;
            bool is_inside = y >= 0 && y < s->in_h && z >= 0 && z < s->in_w;

            offsets[r * s->kernel_w + q] = is_inside ? y * c->line_pitch + z * c->pixel_pitch
                                                     : (int64_t)((intptr_t)padding - (intptr_t)x);
        }
    }
}

static void run_indirect(const conv_nhwc_piece *p)
{
    const conv_nhwc *c = p->call->c;
    conv_nhwc_source source = conv_nhwc_source_of(p->call, p->image, p->group);
    int64_t first = p->row * c->shape.out_w;
    grid g = grid_of(p);

    g.a = source.x;
    g.pixels = 1;
    memset(p->worker + g.at.pixel, source.zero, (size_t)(g.at.a - g.at.pixel));
    for (int64_t i = 0; i < p->rows * c->shape.out_w; i++) {
        set_addresses(c, source.x, p->worker + g.at.pixel, first + i,
                      (int64_t *)(void *)(p->worker + g.at.offsets));
        run_grid(&g);
        g.first++;
    }
}

void conv_nhwc_run_piece(const conv_nhwc_piece *p)
{
    switch (p->call->c->way) {
    case CONV_NHWC_WHMERGE:
    case CONV_NHWC_COMPACT:
    case CONV_NHWC_PANEL: run_patches(p); break;
    case CONV_NHWC_EXPLICIT: run_explicit(p); break;
    case CONV_NHWC_INDIRECT: run_indirect(p); break;
    default: run_lines(p); break;
    }
}
