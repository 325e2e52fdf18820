/* The loops over tiles of pixels and panels of filters of one piece of work. */
#include <string.h>

#include "kernels/conv/conv_nhwc_parts.h"

/* The pixels of a piece, or of a block of its patches, as lines of equal pitch. A line holds `line`
 * pixels from output row to output row, of which the first out_w are results. */
typedef struct grid {
    const conv_nhwc_piece *piece;
    const char *a;      /* pixel 0 */
    int64_t pitch;      /* bytes of A from pixel to pixel in a line */
    int64_t line_pitch; /* and from line to line */
    int64_t second;     /* as in brgemm_tile */
    int64_t lines;
    int64_t pixels; /* per line */
    int64_t last;   /* pixels of the last line, where it is shorter */
    int64_t tiles;  /* per line */
    int64_t line;   /* pixels from output row to output row */
    bool skips;     /* lines are output rows; kernel rows on padding are left out */
    int64_t first;  /* output pixel of pixel 0, counted through all images */
    char *scratch;  /* the worker's */
    conv_nhwc_scratch at;
} grid;

/* Everything of a tile that depends on the panel alone. */
typedef struct panel {
    brgemm_tile tile;
    brgemm_finish finish;
    const float *residual; /* of output pixel 0 of the batch */
    char *y;
    const char *b; /* of tap 0 */
} panel;

static void start_panel(const grid *g, int64_t filter, panel *p)
{
    const conv_nhwc_piece *piece = g->piece;
    const conv_nhwc_call *call = piece->call;
    const conv_nhwc *c = call->c;
    int64_t nr = c->kernel->nr;
    int64_t panels = conv_nhwc_pieces(c->problem.filters, nr);
    int64_t channel = piece->group * c->problem.filters + filter;
    int64_t channels = c->problem.groups * c->problem.filters;

    p->finish = call->finish;
    p->finish.bias = p->finish.bias != NULL ? p->finish.bias + channel : NULL;
    p->finish.offset = p->finish.offset != NULL ? p->finish.offset + channel : NULL;
    p->finish.factor = p->finish.factor != NULL ? p->finish.factor + channel : NULL;
    p->finish.residual_pitch = channels;
    p->finish.residual_second = channels * (c->kernel->mr / 2);
    p->residual = p->finish.residual != NULL ? p->finish.residual + channel : NULL;
    p->y = (char *)call->y + channel * (int64_t)c->problem.result_size;
    p->tile = (brgemm_tile){
        .a_pitch = g->pitch,
        .a_second = g->second,
        .tap_offsets = (const int64_t *)(const void *)(g->scratch + g->at.offsets),
        .taps = c->taps,
        .steps = conv_nhwc_pieces(c->k, c->kernel->group),
        .b = (const char *)call->packed + (piece->group * panels + filter / nr) * c->panel_bytes,
        .flip = call->flip,
        .c_pitch = call->y_pitch,
        .c_second = call->y_pitch * (c->kernel->mr / 2),
        .columns = (int)conv_nhwc_least(piece->filter + piece->filters - filter, nr),
    };
    p->tile.finish = &p->finish;
    p->b = p->tile.b;
}

/* Kernel rows that lie on padding add nothing. */
static void skip_padding(const grid *g, panel *p, int64_t line)
{
    const conv_nhwc *c = g->piece->call->c;
    const conv_f32_shape *s = &c->shape;
    int64_t row = (g->piece->row + line) * s->stride_h - s->pad_h;
    int64_t first = row < 0 ? conv_nhwc_pieces(-row, s->dilation_h) : 0;
    int64_t end = row < s->in_h ? conv_nhwc_pieces(s->in_h - row, s->dilation_h) : 0;
    int64_t per_row = c->taps / s->kernel_h;

    end = conv_nhwc_least(end, s->kernel_h);
    first = conv_nhwc_least(first, end);
    p->tile.taps = (int)((end - first) * per_row);
    p->tile.tap_offsets =
        (const int64_t *)(const void *)(g->scratch + g->at.offsets) + first * per_row;
    p->tile.b = p->b + first * per_row * (c->panel_bytes / c->taps);
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

/* Tile `t` of the grid: lines are cut into tiles of equal size, give or take one pixel. */
static void run_tile(const grid *g, panel *p, int64_t t)
{
    int64_t out_w = g->piece->call->c->shape.out_w;
    int64_t line = t / g->tiles;
    int64_t pixels = line + 1 < g->lines ? g->pixels : g->last;
    int64_t begin = t % g->tiles * pixels / g->tiles;
    int64_t end = (t % g->tiles + 1) * pixels / g->tiles;

    if (g->line != out_w) { /* pixels that are no results at either end are left out */
        begin = begin % g->line < out_w ? begin : (begin / g->line + 1) * g->line;
        end = (end - 1) % g->line < out_w ? end : (end - 1) / g->line * g->line + out_w;
    }
    if (end <= begin) {
        return;
    }
    if (g->skips) {
        skip_padding(g, p, line);
    }
    p->tile.a = g->a + line * g->line_pitch + begin * g->pitch;
    p->tile.rows = (int)(end - begin);
    if (g->line != out_w && begin / g->line != (end - 1) / g->line) {
        run_torn(g, p, begin);
    } else {
        int64_t skipped = g->line != out_w ? begin / g->line * (g->line - out_w) : 0;

        run_dense(g, p, g->first + line * g->pixels + begin - skipped);
    }
}

static void run_grid(const grid *g)
{
    const conv_nhwc *c = g->piece->call->c;
    int64_t last = g->piece->filter + g->piece->filters;
    int64_t tiles = g->lines * g->tiles;
    panel p;

    if (c->pixels_outer) {
        for (int64_t t = 0; t < tiles; t++) {
            for (int64_t filter = g->piece->filter; filter < last; filter += c->kernel->nr) {
                start_panel(g, filter, &p);
                run_tile(g, &p, t);
            }
        }
    } else {
        for (int64_t filter = g->piece->filter; filter < last; filter += c->kernel->nr) {
            start_panel(g, filter, &p);
            for (int64_t t = 0; t < tiles; t++) {
                run_tile(g, &p, t);
            }
        }
    }
}

/* ---- what the pixels of each way are ---- */

static grid grid_of(const conv_nhwc_piece *p)
{
    const conv_nhwc *c = p->call->c;
    int64_t image = p->image * c->shape.out_h * c->shape.out_w;

    return (grid){.piece = p,
                  .line = c->line,
                  .first = image + p->row * c->shape.out_w,
                  .scratch = p->worker,
                  .at = conv_nhwc_scratch_of(c)};
}

/* One line of `pixels` pixels. */
static void set_line(grid *g, int64_t pixels)
{
    int64_t mr = g->piece->call->c->kernel->mr;

    g->second = mr / 2 * g->pitch;
    g->lines = 1;
    g->pixels = pixels;
    g->last = pixels;
    g->tiles = conv_nhwc_pieces(pixels, mr);
}

/* A line per output row or, where a row is half a tile, per two of them. */
static void set_rows(grid *g, int64_t rows, int64_t row_pitch)
{
    const conv_nhwc *c = g->piece->call->c;
    int64_t mr = c->kernel->mr;
    int64_t together = c->shape.out_w == mr / 2 ? 2 : 1;

    g->second = together == 2 ? row_pitch : mr / 2 * g->pitch;
    g->line_pitch = together * row_pitch;
    g->lines = conv_nhwc_pieces(rows, together);
    g->pixels = together * c->shape.out_w;
    g->last = (rows - (g->lines - 1) * together) * c->shape.out_w;
    g->skips = c->is_copied && together == 1 && c->shape.kernel_h > 1 &&
               (c->problem.type != BRGEMM_S8 || g->piece->call->zero == g->piece->call->flip);
    g->tiles = conv_nhwc_pieces(g->pixels, mr);
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
    grid g = grid_of(p);

    set_offsets(c, (int64_t *)(void *)(p->worker + g.at.offsets));
    if (c->is_copied) {
        g.a = p->worker + g.at.a;
        conv_nhwc_copy_band(&source, p->row, p->rows, p->worker + g.at.a);
    } else {
        g.a = source.x + p->row * s->stride_h * c->line_pitch;
    }
    g.pitch = s->stride_w * c->pixel_pitch;
    if (c->way == CONV_NHWC_FLAT || c->way == CONV_NHWC_PHASE) {
        set_line(&g, (p->rows - 1) * c->line + s->out_w);
    } else {
        set_rows(&g, p->rows, s->stride_h * c->line_pitch);
    }
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
        int64_t count = conv_nhwc_least(pixels - done, c->block);

        conv_nhwc_copy_patches(&source, first + done, count, c->pixel_pitch, p->worker + g.at.a);
        set_line(&g, count);
        run_grid(&g);
        g.first += count;
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
    set_line(&g, p->rows * c->shape.out_w);
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
    g.second = 0;
    g.lines = 1;
    g.tiles = 1;
    g.pixels = 1;
    g.last = 1;
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
