#include "simulate/dual_side/tile_code.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "tensor/dtype.h"

static float as_f16(float x)
{
    return dtype_f16_to_f32(dtype_f16_from_f32(x));
}

static spry_status no_memory(const tile_code *c, spry_error *error)
{
    return spry_fail(error, SPRY_LIMIT, "bitmaps", NULL, "no memory for %lld x %lld",
                     (long long)c->lanes, (long long)c->depth);
}

static spry_status open_code(tile_code *c, int64_t lanes, int64_t depth, spry_error *error)
{
    *c = (tile_code){.lanes = lanes,
                     .depth = depth,
                     .tiles = (lanes + TILE_LANES - 1) / TILE_LANES,
                     .slices = (depth + TILE_STEPS - 1) / TILE_STEPS};
    arena_init(&c->memory, NULL, SIZE_MAX);
    c->bits =
        arena_array(&c->memory, (size_t)(c->tiles * c->slices * TILE_STEPS) + 1, sizeof *c->bits);
    c->begin = arena_array(&c->memory, (size_t)(c->tiles * (c->slices + 1)) + 1, sizeof *c->begin);
    c->occupied = arena_array(&c->memory, (size_t)(c->tiles * c->slices) + 1, sizeof *c->occupied);
    if (c->bits == NULL || c->begin == NULL || c->occupied == NULL) {
        return no_memory(c, error);
    }
    memset(c->bits, 0, (size_t)(c->tiles * c->slices * TILE_STEPS) * sizeof *c->bits);
    return SPRY_OK;
}

static uint32_t *bits_at(const tile_code *c, int64_t tile, int64_t step)
{
    return c->bits + tile * c->slices * TILE_STEPS + step;
}

/* With all bits there: where values go, and room for them. */
static spry_status place_values(tile_code *c, spry_error *error)
{
    int64_t count = 0;

    for (int64_t t = 0; t < c->tiles; t++) {
        for (int64_t s = 0; s < c->slices; s++) {
            const uint32_t *bits = c->bits + (t * c->slices + s) * TILE_STEPS;
            int64_t before = count;

            c->begin[t * (c->slices + 1) + s] = count;
            for (int i = 0; i < TILE_STEPS; i++) {
                count += __builtin_popcount(bits[i]);
            }
            c->occupied[t * c->slices + s] = count > before;
        }
        c->begin[t * (c->slices + 1) + c->slices] = count;
    }
    c->value_count = count;
    c->values = arena_array(&c->memory, (size_t)count + 1, sizeof *c->values);
    return c->values != NULL ? SPRY_OK : no_memory(c, error);
}

/* ---- of a matrix ---- */

/* What f16 does not round to zero, NaN among it, and what it does not hold. */
static bool is_value(float x)
{
    return !(fabsf(x) <= 0x1p-25F);
}

static bool is_odd(float x)
{
    return !(fabsf(x) < 65520.0F);
}

/* Elements are read in the order in which they lie. */
static void find_bits(tile_code *c, const float *x, int64_t tile, int64_t lane_pitch,
                      int64_t step_pitch)
{
    int64_t first = tile * TILE_LANES;
    int64_t end = first + TILE_LANES < c->lanes ? first + TILE_LANES : c->lanes;
    uint32_t *bits = bits_at(c, tile, 0);
    uint32_t odd = 0;

    if (lane_pitch < step_pitch) {
        for (int64_t k = 0; k < c->depth; k++) {
            const float *row = x + k * step_pitch;
            uint32_t found = 0;

            for (int64_t lane = first; lane < end; lane++) {
                found |= (uint32_t)is_value(row[lane * lane_pitch]) << (lane - first);
                odd |= is_odd(row[lane * lane_pitch]);
            }
            bits[k] = found;
        }
    } else {
        for (int64_t lane = first; lane < end; lane++) {
            const float *column = x + lane * lane_pitch;

            for (int64_t k = 0; k < c->depth; k++) {
                bits[k] |= (uint32_t)is_value(column[k * step_pitch]) << (lane - first);
                odd |= is_odd(column[k * step_pitch]);
            }
        }
    }
    c->has_odd = c->has_odd || odd != 0;
}

spry_status tile_code_matrix(tile_code *c, const float *x, int64_t lanes, int64_t depth,
                             int64_t lane_pitch, int64_t step_pitch, spry_error *error)
{
    spry_status status = open_code(c, lanes, depth, error);

    for (int64_t t = 0; t < c->tiles && status == SPRY_OK; t++) {
        find_bits(c, x, t, lane_pitch, step_pitch);
    }
    if (status == SPRY_OK) {
        status = place_values(c, error);
    }
    for (int64_t t = 0; t < c->tiles && status == SPRY_OK; t++) {
        float *to = c->values + c->begin[t * (c->slices + 1)];

        for (int64_t k = 0; k < depth; k++) {
            for (uint32_t b = *bits_at(c, t, k); b != 0; b &= b - 1) {
                int64_t lane = t * TILE_LANES + __builtin_ctz(b);

                *to++ = as_f16(x[lane * lane_pitch + k * step_pitch]);
            }
        }
    }
    return status;
}

void tile_code_decode(const tile_code *c, float *x, int64_t lane_pitch, int64_t step_pitch)
{
    for (int64_t lane = 0; lane < c->lanes; lane++) {
        for (int64_t k = 0; k < c->depth; k++) {
            x[lane * lane_pitch + k * step_pitch] = 0.0F;
        }
    }
    for (int64_t t = 0; t < c->tiles; t++) {
        const float *from = c->values + c->begin[t * (c->slices + 1)];

        for (int64_t k = 0; k < c->depth; k++) {
            for (uint32_t b = *bits_at(c, t, k); b != 0; b &= b - 1) {
                int64_t lane = t * TILE_LANES + __builtin_ctz(b);

                x[lane * lane_pitch + k * step_pitch] = *from++;
            }
        }
    }
}

/* ---- of a convolution's patches ---- */

/* A feature map coded by rows: bits, packed values, and how many values lie before each word of 64
 * bits, so that counting those before a place is one popcount. */
typedef struct row_code {
    int64_t width;
    int64_t words; /* of a row, one spare */
    uint64_t *bits;
    int64_t *before;
    float *values;
} row_code;

static spry_status code_rows(tile_code *c, const float *x, int64_t rows, int64_t width, row_code *r,
                             spry_error *error)
{
    int64_t count = 0;

    *r = (row_code){.width = width, .words = width / 64 + 2};
    r->bits = arena_array(&c->memory, (size_t)(rows * r->words), sizeof *r->bits);
    r->before = arena_array(&c->memory, (size_t)(rows * r->words), sizeof *r->before);
    r->values = arena_array(&c->memory, (size_t)(rows * width) + 1, sizeof *r->values);
    if (r->bits == NULL || r->before == NULL || r->values == NULL) {
        return no_memory(c, error);
    }
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t w = 0; w < r->words; w++) {
            uint64_t bits = 0;

            r->before[row * r->words + w] = count;
            for (int64_t i = 64 * w; i < width && i < 64 * w + 64; i++) {
                float v = x[row * width + i];

                if (is_value(v)) {
                    bits |= (uint64_t)1 << i % 64;
                    r->values[count++] = as_f16(v);
                    c->has_odd = c->has_odd || is_odd(v);
                }
            }
            r->bits[row * r->words + w] = bits;
        }
    }
    return SPRY_OK;
}

/* Up to 64 places of a row from `at` on, which may lie before or behind it. */
static uint64_t row_bits(const row_code *r, int64_t row, int64_t at, int count)
{
    const uint64_t *bits = r->bits + row * r->words;
    int64_t from = at < 0 ? 0 : at;
    int lost = (int)(from - at); /* places before the row */
    uint64_t low;
    uint64_t high;

    if (from >= r->width || lost >= count) {
        return 0;
    }
    low = bits[from / 64] >> from % 64;
    high = from % 64 != 0 ? bits[from / 64 + 1] << (64 - from % 64) : 0;
    return (low | high) << lost & (count < 64 ? ((uint64_t)1 << count) - 1 : UINT64_MAX);
}

/* Values of the row that lie before place `at` >= 0. */
static int64_t row_before(const row_code *r, int64_t row, int64_t at)
{
    int64_t word = row * r->words + at / 64;

    return r->before[word] + __builtin_popcountll(r->bits[word] & (((uint64_t)1 << at % 64) - 1));
}

/* A run of lanes whose patches lie in one input row. */
typedef struct lane_run {
    int64_t row_base; /* image and its first output row's input row: y * stride - pad */
    int64_t image;
    int64_t column; /* input column of its first lane at kernel column 0 */
    int first, count;
} lane_run;

static int cut_runs(const simulate_layer *l, int64_t tile, lane_run *runs)
{
    int64_t pixels = simulate_layer_pixels(l);
    int count = 0;

    for (int lane = 0; lane < TILE_LANES && tile * TILE_LANES + lane < pixels;) {
        int64_t pixel = tile * TILE_LANES + lane;
        int64_t column = pixel % l->out_width;
        int64_t row = pixel / l->out_width % l->out_height;
        int64_t run = l->out_width - column;

        run = run < TILE_LANES - lane ? run : TILE_LANES - lane;
        runs[count++] = (lane_run){.row_base = row * l->stride_height - l->pad_top,
                                   .image = pixel / l->out_width / l->out_height,
                                   .column = column * l->stride_width - l->pad_left,
                                   .first = lane,
                                   .count = (int)run};
        lane += (int)run;
    }
    return count;
}

/* A step of the depth: one channel and place of the kernel. */
typedef struct patch_step {
    int64_t channel, dy, dx;
} patch_step;

static patch_step *make_steps(tile_code *c, const simulate_layer *l, int64_t group)
{
    int64_t taps = l->kernel_height * l->kernel_width;
    patch_step *steps = arena_array(&c->memory, (size_t)c->depth + 1, sizeof *steps);

    for (int64_t k = 0; steps != NULL && k < c->depth; k++) {
        steps[k] = (patch_step){.channel = group * (l->channels / l->groups) + k / taps,
                                .dy = k % taps / l->kernel_width * l->dilation_height,
                                .dx = k % l->kernel_width * l->dilation_width};
    }
    return steps;
}

/* `count` places of a row, `stride` apart. */
static uint32_t every(const row_code *r, int64_t row, int64_t at, int count, int64_t stride)
{
    uint32_t bits = 0;
    int together = stride < 64 ? (int)(63 / stride) + 1 : 1; /* places that 64 bits hold */

    if (stride == 1) {
        return (uint32_t)row_bits(r, row, at, count);
    }
    for (int i = 0; i < count; i += together) {
        uint64_t word = row_bits(r, row, at + i * stride, 64);

        for (int n = 0; n < together && i + n < count; n++) {
            bits |= (uint32_t)(word >> n * stride & 1) << (i + n);
        }
    }
    return bits;
}

static int64_t source_row(const simulate_layer *l, const lane_run *run, const patch_step *s)
{
    int64_t y = run->row_base + s->dy;

    return y < 0 || y >= l->in_height ? -1
                                      : (run->image * l->channels + s->channel) * l->in_height + y;
}

static uint32_t step_bits(const simulate_layer *l, const row_code *r, const lane_run *runs,
                          int run_count, const patch_step *s)
{
    uint32_t bits = 0;

    for (int i = 0; i < run_count; i++) {
        int64_t row = source_row(l, &runs[i], s);

        if (row >= 0) {
            bits |= every(r, row, runs[i].column + s->dx, runs[i].count, l->stride_width)
                    << runs[i].first;
        }
    }
    return bits;
}

/* Values of the lanes that `bits` has. At stride 1 those of a run lie together. */
static float *step_values(const simulate_layer *l, const row_code *r, const lane_run *runs,
                          int run_count, const patch_step *s, uint32_t bits, float *to)
{
    for (int i = 0; i < run_count; i++) {
        uint64_t mask = (((uint64_t)1 << runs[i].count) - 1) << runs[i].first;
        uint32_t own = bits & (uint32_t)mask;
        int64_t row = source_row(l, &runs[i], s);
        int64_t at = runs[i].column + s->dx;

        if (own != 0 && l->stride_width == 1) {
            int count = __builtin_popcount(own);

            memcpy(to, r->values + row_before(r, row, at < 0 ? 0 : at), (size_t)count * sizeof *to);
            to += count;
            continue;
        }
        for (; own != 0; own &= own - 1) {
            int64_t lane = __builtin_ctz(own) - runs[i].first;

            *to++ = r->values[row_before(r, row, at + lane * l->stride_width)];
        }
    }
    return to;
}

spry_status tile_code_patches(tile_code *c, const simulate_layer *l, int64_t group, const float *x,
                              spry_error *error)
{
    int64_t depth = l->channels / l->groups * l->kernel_height * l->kernel_width;
    lane_run runs[TILE_LANES];
    row_code r = {0};
    patch_step *steps = NULL;
    spry_status status = open_code(c, simulate_layer_pixels(l), depth, error);

    if (status == SPRY_OK) {
        steps = make_steps(c, l, group);
        status = steps != NULL ? SPRY_OK : no_memory(c, error);
    }
    if (status == SPRY_OK) {
        status = code_rows(c, x, l->images * l->channels * l->in_height, l->in_width, &r, error);
    }
    for (int64_t t = 0; t < c->tiles && status == SPRY_OK; t++) {
        int run_count = cut_runs(l, t, runs);

        for (int64_t k = 0; k < depth; k++) {
            *bits_at(c, t, k) = step_bits(l, &r, runs, run_count, &steps[k]);
        }
    }
    if (status == SPRY_OK) {
        status = place_values(c, error);
    }
    for (int64_t t = 0; t < c->tiles && status == SPRY_OK; t++) {
        float *to = c->values + c->begin[t * (c->slices + 1)];
        int run_count = cut_runs(l, t, runs);

        for (int64_t k = 0; k < depth; k++) {
            to = step_values(l, &r, runs, run_count, &steps[k], *bits_at(c, t, k), to);
        }
    }
    return status;
}

void tile_code_fini(tile_code *c)
{
    arena_fini(&c->memory);
    c->tiles = 0;
}

int64_t tile_code_bytes(const tile_code *c)
{
    int64_t occupied = 0;

    for (int64_t i = 0; i < c->tiles * c->slices; i++) {
        occupied += c->occupied[i];
    }
    return (c->tiles * c->slices + 7) / 8 + occupied * (4 + TILE_LANES * TILE_STEPS / 8) +
           2 * c->value_count;
}

double tile_code_density(const tile_code *c)
{
    return c->lanes > 0 && c->depth > 0
               ? (double)c->value_count / ((double)c->lanes * (double)c->depth)
               : 0.0;
}
