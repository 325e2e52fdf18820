/* The choice of a way, of slices and of the order of loops, by a model of what they cost. */
#include "kernels/brgemm/bf16.h"
#include "kernels/conv/conv_nhwc_parts.h"

/* ---- geometry ---- */

/* True when every pixel that a kernel reads is there, as the tiles read it. */
static bool reads_in_place(const conv_nhwc *c)
{
    const conv_nhwc_problem *p = &c->problem;
    const conv_f32_shape *s = &c->shape;
    bool is_inside = s->pad_h == 0 && s->pad_w == 0 &&
                     (s->out_h - 1) * s->stride_h + (s->kernel_h - 1) * s->dilation_h < s->in_h &&
                     (s->out_w - 1) * s->stride_w + (s->kernel_w - 1) * s->dilation_w < s->in_w;
    bool is_whole = c->k % c->kernel->group == 0; /* no step reads beyond a tap */
    bool is_dense = c->way != CONV_NHWC_KWMERGE || s->kernel_w == 1 || p->groups == 1;

    return is_inside && is_whole && is_dense && c->way != CONV_NHWC_PHASE &&
           p->type != BRGEMM_BF16 && !p->input_is_planar;
}

/* Rows of a tile at a pitch that is a multiple of this fall in one set of a first-level cache,
 * which holds fewer lines than a tile has rows. */
enum { ALIAS = 4096, WAYS = 8 };

static int64_t avoid_alias(int64_t pitch, int64_t step)
{
    return pitch * step % ALIAS == 0 ? pitch + CONV_NHWC_ALIGN : pitch;
}

/* Pitches of a band in the workspace: sizes that do not depend on how many rows it has. */
static void set_band(conv_nhwc *c)
{
    const conv_f32_shape *s = &c->shape;
    int64_t size = brgemm_size(c->problem.type);
    int64_t columns = (s->out_w - 1) * s->stride_w + (s->kernel_w - 1) * s->dilation_w + 1;
    bool is_line = c->way == CONV_NHWC_FLAT || c->way == CONV_NHWC_PHASE;

    c->phases = c->way == CONV_NHWC_PHASE ? s->stride_h : 1;
    if (c->way == CONV_NHWC_KWMERGE) {
        c->pixel_pitch = s->channels * size;
    } else {
        int64_t channels =
            c->problem.type == BRGEMM_BF16 ? conv_nhwc_round_up(s->channels, 2) : s->channels;

        c->pixel_pitch = avoid_alias(channels * size, s->stride_w);
    }
    if (is_line) {
        c->line = conv_nhwc_pieces(columns, s->stride_w);
        columns = c->line * s->stride_w;
    }
    c->line_pitch = columns * c->pixel_pitch;
}

/* Everything that the way alone decides. */
static void set_way(const conv_nhwc_problem *problem, const brgemm_kernel *kernel,
                    conv_nhwc_way way, conv_nhwc *c)
{
    conv_f32_shape *s = &c->shape;
    int64_t positions = problem->shape.kernel_h * problem->shape.kernel_w;

    *c = (conv_nhwc){.problem = *problem,
                     .kernel = kernel,
                     .way = way,
                     .shape = problem->shape,
                     .batch = problem->batch,
                     .phases = 1,
                     .line = problem->shape.out_w,
                     .narrow = problem->type == BRGEMM_BF16 ? bf16_select()->narrow : NULL};
    /* The images of a product are one column of pixels. */
    if (conv_nhwc_is_product(s) && !problem->input_is_planar &&
        (way == CONV_NHWC_FLAT || conv_nhwc_copies_patches(way))) {
        s->in_h = s->out_h = problem->batch * s->in_h * s->in_w;
        s->in_w = s->out_w = 1;
        c->batch = 1;
        c->line = 1;
    }
    c->taps = way == CONV_NHWC_KWMERGE        ? (int)s->kernel_h
              : conv_nhwc_copies_patches(way) ? 1
                                              : (int)positions;
    c->k = positions / c->taps * s->channels;
    c->panel_bytes = brgemm_packed_size(kernel, c->taps, c->k, kernel->nr);
    c->packed_bytes =
        c->panel_bytes * conv_nhwc_pieces(problem->filters, kernel->nr) * problem->groups;
    if (conv_nhwc_copies_patches(way)) {
        int64_t patch = conv_nhwc_round_up(c->k, kernel->group) * brgemm_size(problem->type);

        c->pixel_pitch = avoid_alias(patch, 1);
    } else if (way == CONV_NHWC_INDIRECT || reads_in_place(c)) {
        c->pixel_pitch = problem->groups * s->channels * conv_nhwc_x_size(problem->type);
        c->line_pitch = s->in_w * c->pixel_pitch;
        c->line = way == CONV_NHWC_FLAT ? s->in_w : s->out_w;
    } else {
        c->is_copied = true;
        set_band(c);
    }
}

/* Pixels of a piece of `rows` output rows, those between lines included. */
static int64_t pixels_of(const conv_nhwc *c, int64_t rows)
{
    return (rows - 1) * c->line + c->shape.out_w;
}

/* Bytes of A that a piece reads. */
static int64_t a_bytes_of(const conv_nhwc *c, int64_t rows)
{
    if (conv_nhwc_copies_patches(c->way)) {
        return pixels_of(c, rows) * c->pixel_pitch;
    }
    return conv_nhwc_round_up(conv_nhwc_band_rows(&c->shape, rows), c->phases) * c->line_pitch;
}

/* Patches copied at one time: PANEL's stay in the first-level cache if they can. */
static int64_t block_of(const conv_nhwc *c, int64_t rows)
{
    enum { PATCH_BYTES = 128 << 10, MOST_TILES = 8 };
    int64_t mr = c->kernel->mr;
    int64_t pixels = pixels_of(c, rows);
    int64_t block = PATCH_BYTES / c->pixel_pitch / mr * mr;

    if (c->way == CONV_NHWC_COMPACT) {
        return pixels;
    }
    block = block < mr ? mr : conv_nhwc_least(block, MOST_TILES * mr);
    return conv_nhwc_least(block, pixels);
}

static void set_slices(conv_nhwc *c, int64_t row_slice, int64_t filter_slice)
{
    int64_t a_bytes = 0;

    c->row_slice = row_slice;
    c->filter_slice = filter_slice;
    c->pieces = c->batch * c->problem.groups * conv_nhwc_pieces(c->shape.out_h, row_slice) *
                conv_nhwc_pieces(c->problem.filters, filter_slice);
    c->phase_pitch =
        conv_nhwc_pieces(conv_nhwc_band_rows(&c->shape, row_slice), c->phases) * c->line_pitch;
    c->block = block_of(c, row_slice);
    if (c->way == CONV_NHWC_EXPLICIT) {
        c->shared_bytes = conv_nhwc_round_up(c->problem.groups * c->batch * c->shape.out_h *
                                                 c->shape.out_w * c->pixel_pitch,
                                             CONV_NHWC_ALIGN);
    } else if (conv_nhwc_copies_patches(c->way)) {
        a_bytes = c->block * c->pixel_pitch;
    } else if (c->is_copied) { /* the last step may read beyond its tap */
        a_bytes = c->phases * c->phase_pitch + CONV_NHWC_ALIGN;
    }
    c->worker_bytes = conv_nhwc_scratch_of(c).a + conv_nhwc_round_up(a_bytes, CONV_NHWC_ALIGN);
}

/* ---- costs, in cycles of one core ---- */

/* Multiply-adds of one tile, for a machine that does one of 64 bytes per cycle. */
static double tile_cost(const conv_nhwc *c, double rows, int64_t columns)
{
    enum { LANES = 16, LATENCY = 4, PER_TAP = 12, PER_TILE = 100 };
    int64_t half = c->kernel->nr <= LANES ? c->kernel->nr : c->kernel->nr / 2;
    double vectors = (double)(conv_nhwc_round_up(columns, half)) / LANES;
    double step = rows * vectors < LATENCY ? LATENCY : rows * vectors;
    int64_t stride = conv_nhwc_copies_patches(c->way) ? 1 : c->shape.stride_w;

    if (rows >= WAYS && c->pixel_pitch * stride % ALIAS == 0) {
        step *= 1.25;
    }

    return (double)c->taps * (step * (double)conv_nhwc_pieces(c->k, c->kernel->group) + PER_TAP) +
           PER_TILE;
}

/* Cycles per byte of pixels that are read again and again, `bytes` in use at one time. Weights come
 * in one long run, which hides most of it from the second level. */
static double byte_cost(double bytes)
{
    enum { FIRST = 28 << 10, SECOND = 768 << 10 };

    return bytes <= FIRST ? 0 : bytes <= SECOND ? 0.012 : 0.04;
}

static double weight_cost(double bytes)
{
    enum { SECOND = 768 << 10 };

    return bytes <= SECOND ? 0.001 : 0.04;
}

/* The copies of a piece: so much per byte, or number of a plane, and per run copied in one go. */
static double piece_copy_cost(const conv_nhwc *c, int64_t rows)
{
    enum { PER_ADDRESS = 4, PER_NUMBER = 2 };
    const conv_f32_shape *s = &c->shape;
    bool is_narrow = c->problem.type == BRGEMM_BF16;
    bool is_planar = c->problem.input_is_planar;
    int64_t size = brgemm_size(c->problem.type);
    const double per_byte = is_planar ? PER_NUMBER / (double)size : is_narrow ? 0.3 : 0.2;
    const double per_run = is_narrow ? 40 : 12;
    double pixels = (double)pixels_of(c, rows);
    double bytes = (double)a_bytes_of(c, rows);
    bool is_dense = c->problem.groups == 1 && !is_planar && c->pixel_pitch == s->channels * size;
    double runs;

    if (conv_nhwc_copies_patches(c->way)) {
        runs = is_dense && conv_nhwc_is_product(s)
                   ? 1
                   : pixels * (double)(s->kernel_h * (s->dilation_w == 1 ? 1 : s->kernel_w));
    } else if (!c->is_copied) {
        return c->way == CONV_NHWC_INDIRECT ? pixels * c->taps * PER_ADDRESS : 0;
    } else {
        runs =
            is_dense || is_planar ? bytes / (double)c->line_pitch : bytes / (double)c->pixel_pitch;
        runs = is_dense && conv_nhwc_is_product(s) ? 1 : runs;
    }
    runs *= is_planar ? (double)s->channels : 1;
    return bytes * per_byte + runs * per_run;
}

/* Tiles of a piece. */
static double tiles_of(const conv_nhwc *c, int64_t rows)
{
    int64_t mr = c->kernel->mr;
    int64_t pixels = pixels_of(c, rows);
    int64_t out_w = c->shape.out_w;

    if (c->way == CONV_NHWC_INDIRECT) {
        return (double)pixels;
    }
    if (c->way == CONV_NHWC_ROW || c->way == CONV_NHWC_KWMERGE) {
        return out_w == mr / 2 ? (double)conv_nhwc_pieces(rows, 2)
                               : (double)(rows * conv_nhwc_pieces(out_w, mr));
    }
    if (c->way == CONV_NHWC_PANEL || c->way == CONV_NHWC_WHMERGE) {
        int64_t block = block_of(c, rows);

        return (double)(pixels / block * conv_nhwc_pieces(block, mr) +
                        conv_nhwc_pieces(pixels % block, mr));
    }
    return (double)conv_nhwc_pieces(pixels, mr);
}

static double piece_cost(const conv_nhwc *c, int64_t rows, int64_t filters)
{
    enum { PER_PIECE = 500, PER_ROW = 20 };
    const double far = 0.04; /* per byte read for the first time */
    int64_t nr = c->kernel->nr;
    double tiles = tiles_of(c, rows);
    double pixels = (double)pixels_of(c, rows);
    double panels = (double)conv_nhwc_pieces(filters, nr);
    double a_bytes = (double)a_bytes_of(c, rows);
    double panel_bytes = (double)c->panel_bytes;
    double tile_bytes = a_bytes / tiles;
    bool has_rows = c->way == CONV_NHWC_ROW || c->way == CONV_NHWC_KWMERGE;
    double cost = piece_copy_cost(c, rows) + PER_PIECE + (has_rows ? (double)rows * PER_ROW : 0);

    cost += tiles * ((double)(filters / nr) * tile_cost(c, pixels / tiles, nr) +
                     (filters % nr != 0 ? tile_cost(c, pixels / tiles, filters % nr) : 0));
    cost += far * (a_bytes + panels * panel_bytes);
    if (conv_nhwc_copies_patches(c->way) && c->way != CONV_NHWC_EXPLICIT) {
        double blocks = pixels / (double)block_of(c, rows);

        a_bytes /= blocks;
        cost += (blocks - 1) * panels * panel_bytes * weight_cost(panels * panel_bytes + a_bytes);
        tiles /= blocks;
    }
    if (c->is_copied) { /* what was copied is read once more */
        cost += a_bytes * byte_cost(a_bytes);
    }
    if (c->pixels_outer) {
        cost += (tiles - 1) * panels * panel_bytes * weight_cost(panels * panel_bytes + tile_bytes);
    } else {
        cost += (panels - 1) * a_bytes * byte_cost(a_bytes + panel_bytes);
        cost += panels * (tiles - 1) * panel_bytes * weight_cost(panel_bytes + tile_bytes);
    }
    return cost;
}

/* ---- search ---- */

static void consider(conv_nhwc *c, int workers, int64_t row_slice, int64_t filter_slice,
                     conv_nhwc *best)
{
    double lower = 0;

    for (int order = 0; order < 2; order++) {
        c->pixels_outer = order == 1;
        set_slices(c, row_slice, filter_slice);
        c->predicted_cost =
            piece_cost(c, row_slice, filter_slice) * (double)conv_nhwc_pieces(c->pieces, workers);
        if (c->way == CONV_NHWC_EXPLICIT) {
            lower = piece_copy_cost(c, c->shape.out_h) * (double)(c->batch * c->problem.groups);
            c->predicted_cost += lower / workers;
        }
        if (best->pieces < 0 || c->predicted_cost < best->predicted_cost) {
            *best = *c;
        }
    }
}

/* Slices 1, 2, 3, 4, 6, 8, 12, 16, ... of an extent, in multiples of `unit`. */
static int64_t slice_of(int64_t extent, int64_t count, int64_t unit)
{
    int64_t slice = conv_nhwc_round_up(conv_nhwc_pieces(extent, count), unit);

    return slice < extent ? slice : extent;
}

static int64_t next_count(int64_t count)
{
    return count < 2 ? count + 1 : (count & (count - 1)) == 0 ? count + count / 2 : count / 3 * 4;
}

static void search_slices(conv_nhwc *c, int workers, conv_nhwc *best)
{
    int64_t row_unit = c->shape.out_w == 1 ? c->kernel->mr : 1;
    int64_t most_rows = conv_nhwc_pieces(c->shape.out_h, row_unit);
    int64_t most_filters = conv_nhwc_pieces(c->problem.filters, c->kernel->nr);

    for (int64_t r = 1; r <= most_rows; r = next_count(r)) {
        for (int64_t f = 1; f <= most_filters && (f == 1 || f <= 4 * (int64_t)workers);
             f = next_count(f)) {
            consider(c, workers, slice_of(c->shape.out_h, r, row_unit),
                     slice_of(c->problem.filters, f, c->kernel->nr), best);
        }
    }
}

void conv_nhwc_plan(const conv_nhwc_problem *problem, const brgemm_kernel *kernel,
                    conv_nhwc_way way, int workers, conv_nhwc *c)
{
    conv_nhwc trial;

    c->pieces = -1; /* none yet */
    for (int w = CONV_NHWC_ROW; w < CONV_NHWC_WAYS; w++) {
        bool is_asked = way == CONV_NHWC_AUTO ? w != CONV_NHWC_EXPLICIT : w == (int)way;

        if (is_asked && conv_nhwc_can(problem, (conv_nhwc_way)w)) {
            set_way(problem, kernel, (conv_nhwc_way)w, &trial);
            search_slices(&trial, workers, c);
        }
    }
}
