/* The body of the channels-last depthwise kernels, compiled once per width of vectors by the files
 * that include it.
 *
 * A strip is a few columns of the output by a block of channels; the sums of one of its rows stay
 * in registers. A pixel of the input is loaded once per kernel row and multiplied for each output
 * that sees it, and going down a strip its rows stay in the first cache. */
#ifndef KERNELS_CONV_DEPTHWISE_NHWC_BODY_H
#define KERNELS_CONV_DEPTHWISE_NHWC_BODY_H

#include "kernels/conv/depthwise_nhwc.h"
#include "kernels/elementwise/elementwise_f32_vector.h"

enum {
    DW_LANES = VEC_LANES,                 /* channels of a block */
    DW_VECTORS = VEC_LANES == 16 ? 2 : 1, /* blocks of a strip */
    DW_PIXELS = 7,                        /* columns of a strip, which divides many images */
    DW_PART_PIXELS = DW_PIXELS * DW_VECTORS,
    DW_MOST_WIDTH = 7, /* of kernels of known width */
    DW_MOST_HELD = 5   /* kernel columns whose weights stay in registers */
};

/* What a strip asks for. */
typedef enum dw_care {
    DW_WHOLE, /* all columns and channels exist */
    DW_EDGE,  /* all channels exist */
    DW_PART   /* one block */
} dw_care;

VEC_INLINE int dw_vectors(dw_care care)
{
    return care == DW_PART ? 1 : DW_VECTORS;
}

VEC_INLINE int dw_pixels(dw_care care)
{
    return care == DW_PART ? DW_PART_PIXELS : DW_PIXELS;
}

/* One strip. */
typedef struct dw_strip {
    const depthwise_nhwc_band *band;
    const float *in;      /* the first channel of the image */
    const float *weights; /* of the first block */
    int64_t column;       /* of the first pixel's first tap; columns outside the image are zeros */
    int64_t begin, end;   /* columns [begin, end) after it exist and are of use */
    int pixels;
    int lanes;             /* channels */
    int in_lanes;          /* input channels that they read */
    vec_i32 spread;        /* which of these each lane reads */
    int64_t channels;      /* of the output */
    const float *bias;     /* of the block, or NULL */
    const float *residual; /* of the strip's first row and the block, or NULL */
    float *out;            /* likewise */
} dw_strip;

typedef vec_f32 dw_sums[DW_PART_PIXELS][DW_VECTORS]; /* as many as the strip has */

/* The rows of the input that an output row sees. */
typedef struct dw_rows {
    const float *in;      /* the first one's column 0 */
    const float *weights; /* of that kernel row */
    int64_t count;
} dw_rows;

VEC_INLINE int64_t dw_largest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

VEC_INLINE int64_t dw_least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

VEC_INLINE dw_rows dw_rows_of(const dw_strip *s, const conv_f32_shape *shape, int64_t y)
{
    int64_t dilation = shape->dilation_h;
    int64_t top = y * shape->stride_h - shape->pad_h;
    int64_t first = dw_largest(-top, 0);
    int64_t end = dw_largest(shape->in_h - top, 0);

    if (dilation > 1) {
        first = (first + dilation - 1) / dilation;
        end = (end + dilation - 1) / dilation;
    }
    end = dw_least(end, shape->kernel_h);
    first = dw_least(first, end);
    top = end > first ? top + first * dilation : 0;
    return (dw_rows){s->in + top * shape->in_w * shape->channels,
                     s->weights + first * shape->kernel_w * s->band->problem->depth * DW_LANES,
                     end - first};
}

/* Vector `v` of a pixel, or of its channels' numbers. */
VEC_INLINE vec_f32 dw_load(const float *from, int lanes, int v, dw_care care)
{
    return care == DW_PART ? vec_load_part(from, lanes) : vec_load(from + v * VEC_LANES);
}

/* A pixel whose channels are spread over the lanes: lane i reads channel where[i]. */
VEC_INLINE vec_f32 dw_spread(const dw_strip *s, const float *from, vec_i32 where)
{
    vec_f32 x = vec_load_part(from, s->in_lanes);
#if defined(__AVX512F__)
    return (vec_f32)_mm512_permutexvar_ps((__m512i)where, (__m512)x);
#elif defined(__AVX2__)
    return (vec_f32)_mm256_permutevar8x32_ps((__m256)x, (__m256i)where);
#else
    vec_f32 y;

    for (int i = 0; i < VEC_LANES; i++) {
        y[i] = x[where[i]];
    }
    return y;
#endif
}

VEC_INLINE void dw_store(float *to, vec_f32 x, int lanes, int v, dw_care care)
{
    if (care == DW_PART) {
        vec_store_part(to, x, lanes);
    } else {
        vec_store(to + v * VEC_LANES, x);
    }
}

/* What becomes of a strip's sums: the finish, where the compiler sees that nobody writes it. */
typedef struct dw_ending {
    vec_f32 bias[DW_VECTORS];
    vec_f32 lower, upper;
    brgemm_activation *activate;
    const float *residual; /* or NULL */
    int64_t residual_pitch;
    float *out;
    int64_t pitch;
    int64_t width; /* pixels from row to row */
    int pixels, lanes;
} dw_ending;

VEC_INLINE dw_ending dw_ending_of(const dw_strip *s, dw_care care)
{
    const depthwise_nhwc_band *b = s->band;
    dw_ending e = {.lower = vec_set(b->finish->lower),
                   .upper = vec_set(b->finish->upper),
                   .activate = b->finish->activate,
                   .residual = s->residual,
                   .residual_pitch = s->channels,
                   .out = s->out,
                   .pitch = b->y_pitch / (int64_t)sizeof(float),
                   .width = b->problem->shape.out_w,
                   .pixels = s->pixels,
                   .lanes = s->lanes};

    for (int v = 0; v < dw_vectors(care); v++) {
        e.bias[v] = s->bias != NULL ? dw_load(s->bias, s->lanes, v, care) : vec_set(0.0f);
    }
    return e;
}

/* Adds bias and residual. */
VEC_INLINE void dw_add(const dw_ending *e, const float *residual, dw_care care, dw_sums sum)
{
#pragma GCC unroll 64
    for (int p = 0; p < dw_pixels(care); p++) {
        if (care != DW_WHOLE && p >= e->pixels) {
            break;
        }
#pragma GCC unroll 4
        for (int v = 0; v < dw_vectors(care); v++) {
            sum[p][v] += e->bias[v];
            if (residual != NULL) {
                sum[p][v] += dw_load(residual + p * e->residual_pitch, e->lanes, v, care);
            }
        }
    }
}

/* Clamps and stores. */
VEC_INLINE void dw_clamp(const dw_ending *e, float *out, dw_care care, dw_sums sum)
{
#pragma GCC unroll 64
    for (int p = 0; p < dw_pixels(care); p++, out += e->pitch) {
        if (care != DW_WHOLE && p >= e->pixels) {
            break;
        }
#pragma GCC unroll 4
        for (int v = 0; v < dw_vectors(care); v++) {
            dw_store(out, vec_min(vec_max(sum[p][v], e->lower), e->upper), e->lanes, v, care);
        }
    }
}

/* Activates and stores. */
VEC_INLINE void dw_activate(const dw_ending *e, float *out, dw_care care, dw_sums sum)
{
    const int lanes = dw_vectors(care) * VEC_LANES;
    float row[DW_PART_PIXELS * DW_VECTORS * VEC_LANES];

#pragma GCC unroll 64
    for (int p = 0; p < dw_pixels(care); p++) {
#pragma GCC unroll 4
        for (int v = 0; v < dw_vectors(care); v++) {
            vec_store(row + p * lanes + v * VEC_LANES, sum[p][v]);
        }
    }
    e->activate(row, row, (int64_t)e->pixels * lanes);
    for (int p = 0; p < e->pixels; p++) {
#pragma GCC unroll 4
        for (int v = 0; v < dw_vectors(care); v++) {
            dw_store(out + p * e->pitch, vec_load(row + p * lanes + v * VEC_LANES), e->lanes, v,
                     care);
        }
    }
}

VEC_INLINE void dw_finish(const dw_ending *e, int64_t row, dw_care care, dw_sums sum)
{
    float *out = e->out + row * e->width * e->pitch;

    if (__builtin_expect(e->residual != NULL, 0)) {
        dw_add(e, e->residual + row * e->width * e->residual_pitch, care, sum);
    } else {
        dw_add(e, NULL, care, sum);
    }
    if (__builtin_expect(e->activate != NULL, 0)) {
        dw_activate(e, out, care, sum);
    } else {
        dw_clamp(e, out, care, sum);
    }
}

VEC_INLINE void dw_clear(dw_care care, dw_sums sum)
{
#pragma GCC unroll 64
    for (int p = 0; p < dw_pixels(care); p++) {
#pragma GCC unroll 4
        for (int v = 0; v < dw_vectors(care); v++) {
            sum[p][v] = vec_set(0.0f);
        }
    }
}

/* Keeps a number in a register: the compiler would load it again for each use. */
VEC_INLINE vec_f32 dw_hold(vec_f32 x)
{
#if defined(__AVX512F__)
    __asm__("" : "+v"(x));
#elif defined(__AVX2__)
    __asm__("" : "+x"(x));
#endif
    return x;
}

/* A kernel row of known width, as far as lanes see it. */
typedef struct dw_taps {
    const float *weights;
    int64_t tap;   /* floats from kernel column to kernel column */
    int64_t block; /* and from block to block */
    bool spread;
    vec_i32 where; /* channels that the lanes read, when they are spread */
} dw_taps;

/* Adds a kernel row of known width and stride; `in` is the first pixel's first column, and at most
 * `width` columns after it do not exist. */
VEC_INLINE void dw_add_row(const dw_strip *s, const float *in, int64_t pixel, const dw_taps *taps,
                           int width, int stride, dw_care care, dw_sums sum)
{
    const int64_t begin = s->begin;
    const int64_t end = s->end;
    vec_f32 weight[DW_MOST_WIDTH][DW_VECTORS];

#pragma GCC unroll 64
    for (int q = 0; q < width; q++) {
#pragma GCC unroll 4
        for (int v = 0; v < dw_vectors(care); v++) {
            weight[q][v] = vec_load(taps->weights + q * taps->tap + v * taps->block);
            if (width <= DW_MOST_HELD) {
                weight[q][v] = dw_hold(weight[q][v]);
            }
        }
    }
#pragma GCC unroll 64
    for (int c = 0; c < (dw_pixels(care) - 1) * stride + width; c++, in += pixel) {
        vec_f32 x[DW_VECTORS];

        if (care != DW_WHOLE && c >= end) {
            break;
        }
        if (care != DW_WHOLE && c < width && c < begin) {
            continue;
        }
#pragma GCC unroll 4
        for (int v = 0; v < dw_vectors(care); v++) {
            x[v] = dw_hold(taps->spread ? dw_spread(s, in, taps->where)
                                        : dw_load(in, s->lanes, v, care));
        }
#pragma GCC unroll 64
        for (int q = 0; q < width; q++) {
            int p = (c - q) / stride;

            if (c >= q && (c - q) % stride == 0 && p < dw_pixels(care)) {
#pragma GCC unroll 4
                for (int v = 0; v < dw_vectors(care); v++) {
                    sum[p][v] = vec_fma(x[v], weight[q][v], sum[p][v]);
                }
            }
        }
    }
}

VEC_INLINE void dw_known(const dw_strip *s, int width, int stride, dw_care care, bool spread)
{
    const conv_f32_shape shape = s->band->problem->shape;
    const int64_t pixel = shape.channels;
    const int64_t pitch = shape.dilation_h * shape.in_w * pixel;
    const int64_t depth = spread ? s->band->problem->depth : 1;
    const dw_ending ending = dw_ending_of(s, care);

    for (int64_t row = 0; row < s->band->rows; row++) {
        dw_rows rows = dw_rows_of(s, &shape, s->band->row + row);
        const float *in = rows.in + s->column * pixel;
        dw_taps taps = {rows.weights, depth * DW_LANES, shape.kernel_h * width * DW_LANES, spread,
                        s->spread};
        dw_sums sum;

        dw_clear(care, sum);
        for (int64_t r = 0; r < rows.count; r++) {
            if (spread) {
                taps.weights = rows.weights + r * width * taps.tap;
                taps.where = s->spread;
                for (int64_t channel = 0; channel < depth; channel++) {
                    dw_add_row(s, in, pixel, &taps, width, stride, care, sum);
                    taps.weights += DW_LANES;
                    taps.where += vec_set_i32(1);
                }
            } else {
                dw_add_row(s, in, pixel, &taps, width, stride, care, sum);
                taps.weights += width * DW_LANES;
            }
            in += pitch;
        }
        dw_finish(&ending, row, care, sum);
    }
}

/* Adds one kernel position; `column` is that of the first pixel. */
VEC_INLINE void dw_add_tap(const dw_strip *s, const float *in, int64_t column, const float *weights,
                           dw_care care, dw_sums sum)
{
    const conv_f32_shape *shape = &s->band->problem->shape;
    const int64_t block = shape->kernel_h * shape->kernel_w * DW_LANES;
    vec_f32 weight[DW_VECTORS];

#pragma GCC unroll 4
    for (int v = 0; v < dw_vectors(care); v++) {
        weight[v] = vec_load(weights + v * block);
    }
#pragma GCC unroll 64
    for (int p = 0; p < dw_pixels(care); p++) {
        int64_t at = column + p * shape->stride_w;
        const float *from = in + at * shape->channels;

        if (care != DW_WHOLE && (p >= s->pixels || at < 0 || at >= shape->in_w)) {
            continue;
        }
#pragma GCC unroll 4
        for (int v = 0; v < dw_vectors(care); v++) {
            sum[p][v] = vec_fma(dw_load(from, s->lanes, v, care), weight[v], sum[p][v]);
        }
    }
}

/* The same of one block whose lanes read channels s->spread + channel. */
VEC_INLINE void dw_add_spread(const dw_strip *s, const float *in, int64_t column, int64_t channel,
                              const float *weights, bool is_inside, dw_sums sum)
{
    const conv_f32_shape *shape = &s->band->problem->shape;
    const int64_t step = shape->stride_w * shape->channels;
    const vec_i32 where = s->spread + vec_set_i32((int32_t)channel);
    const vec_f32 weight = vec_load(weights);

    in += column * shape->channels;
#pragma GCC unroll 64
    for (int p = 0; p < DW_PART_PIXELS; p++) {
        int64_t at = column + p * shape->stride_w;

        if (is_inside || (p < s->pixels && at >= 0 && at < shape->in_w)) {
            sum[p][0] = vec_fma(dw_spread(s, in + p * step, where), weight, sum[p][0]);
        }
    }
}

VEC_INLINE void dw_any(const dw_strip *s, dw_care care, bool spread, bool is_inside)
{
    const conv_f32_shape shape = s->band->problem->shape;
    const int64_t pitch = shape.dilation_h * shape.in_w * shape.channels;
    const int64_t depth = s->band->problem->depth;
    const dw_ending ending = dw_ending_of(s, care);

    for (int64_t row = 0; row < s->band->rows; row++) {
        dw_rows rows = dw_rows_of(s, &shape, s->band->row + row);
        const float *weights = rows.weights;
        dw_sums sum;

        dw_clear(care, sum);
        for (int64_t tap = 0; tap < rows.count * shape.kernel_w; tap++) {
            const float *in = rows.in + tap / shape.kernel_w * pitch;
            int64_t column = s->column + tap % shape.kernel_w * shape.dilation_w;

            if (spread) {
                for (int64_t channel = 0; channel < depth; channel++) {
                    dw_add_spread(s, in, column, channel, weights, is_inside, sum);
                    weights += DW_LANES;
                }
            } else {
                dw_add_tap(s, in, column, weights, care, sum);
                weights += DW_LANES;
            }
        }
        dw_finish(&ending, row, care, sum);
    }
}

/* ---- instances ---- */

/* How to do a strip, by what it asks for. */
typedef struct dw_functions {
    void (*strip[DW_PART + 1])(const dw_strip *s);
    void (*inside)(const dw_strip *s); /* DW_PART, when all columns exist */
} dw_functions;

/* clang-format off */
static void dw_3x1_whole(const dw_strip *s) { dw_known(s, 3, 1, DW_WHOLE, false); }
static void dw_3x2_whole(const dw_strip *s) { dw_known(s, 3, 2, DW_WHOLE, false); }
static void dw_5x1_whole(const dw_strip *s) { dw_known(s, 5, 1, DW_WHOLE, false); }
static void dw_5x2_whole(const dw_strip *s) { dw_known(s, 5, 2, DW_WHOLE, false); }
static void dw_7x1_whole(const dw_strip *s) { dw_known(s, 7, 1, DW_WHOLE, false); }
static void dw_3x1_edge(const dw_strip *s) { dw_known(s, 3, 1, DW_EDGE, false); }
static void dw_3x2_edge(const dw_strip *s) { dw_known(s, 3, 2, DW_EDGE, false); }
static void dw_5x1_edge(const dw_strip *s) { dw_known(s, 5, 1, DW_EDGE, false); }
static void dw_5x2_edge(const dw_strip *s) { dw_known(s, 5, 2, DW_EDGE, false); }
static void dw_7x1_edge(const dw_strip *s) { dw_known(s, 7, 1, DW_EDGE, false); }
static void dw_3x1_part(const dw_strip *s) { dw_known(s, 3, 1, DW_PART, false); }
static void dw_3x2_part(const dw_strip *s) { dw_known(s, 3, 2, DW_PART, false); }
static void dw_5x1_part(const dw_strip *s) { dw_known(s, 5, 1, DW_PART, false); }
static void dw_5x2_part(const dw_strip *s) { dw_known(s, 5, 2, DW_PART, false); }
static void dw_7x1_part(const dw_strip *s) { dw_known(s, 7, 1, DW_PART, false); }
static void dw_3x1_spread(const dw_strip *s) { dw_known(s, 3, 1, DW_PART, true); }
static void dw_3x2_spread(const dw_strip *s) { dw_known(s, 3, 2, DW_PART, true); }
static void dw_any_whole(const dw_strip *s) { dw_any(s, DW_WHOLE, false, true); }
static void dw_any_edge(const dw_strip *s) { dw_any(s, DW_EDGE, false, false); }
static void dw_any_part(const dw_strip *s) { dw_any(s, DW_PART, false, false); }
static void dw_spread_inside(const dw_strip *s) { dw_any(s, DW_PART, true, true); }
static void dw_spread_edge(const dw_strip *s) { dw_any(s, DW_PART, true, false); }
/* clang-format on */

/* True when lanes and input channels are not the same. */
static inline bool dw_spreads(const depthwise_nhwc_problem *p)
{
    return p->multiplier > 1 || p->depth > 1;
}

static inline dw_functions dw_choose(const depthwise_nhwc_problem *p)
{
    static const struct {
        int64_t width, stride;
        dw_functions functions;
    } known[] = {
        {3, 1, {{dw_3x1_whole, dw_3x1_edge, dw_3x1_part}, dw_3x1_part}},
        {3, 2, {{dw_3x2_whole, dw_3x2_edge, dw_3x2_part}, dw_3x2_part}},
        {5, 1, {{dw_5x1_whole, dw_5x1_edge, dw_5x1_part}, dw_5x1_part}},
        {5, 2, {{dw_5x2_whole, dw_5x2_edge, dw_5x2_part}, dw_5x2_part}},
        {7, 1, {{dw_7x1_whole, dw_7x1_edge, dw_7x1_part}, dw_7x1_part}},
    };

    bool is_plain = p->shape.dilation_w == 1 && p->shape.pad_w <= p->shape.kernel_w;

    if (dw_spreads(p) && is_plain && p->shape.kernel_w == 3 && p->shape.stride_w <= 2) {
        void (*strip)(const dw_strip *) = p->shape.stride_w == 1 ? dw_3x1_spread : dw_3x2_spread;

        return (dw_functions){{NULL, NULL, strip}, strip};
    }
    if (dw_spreads(p)) {
        return (dw_functions){{NULL, NULL, dw_spread_edge}, dw_spread_inside};
    }
    for (size_t i = 0; is_plain && i < sizeof known / sizeof *known; i++) {
        if (p->shape.kernel_w == known[i].width && p->shape.stride_w == known[i].stride) {
            return known[i].functions;
        }
    }
    return (dw_functions){{dw_any_whole, dw_any_edge, dw_any_part}, dw_any_part};
}

/* All strips of some channels; `s` is filled as far as these say. */
static inline void dw_strips(const dw_functions *functions, bool is_part, dw_strip *s)
{
    const depthwise_nhwc_band *b = s->band;
    const conv_f32_shape *shape = &b->problem->shape;
    const float *residual = s->residual;
    const int64_t most = dw_pixels(is_part ? DW_PART : DW_EDGE);
    float *out = s->out;

    for (int64_t first = 0; first < shape->out_w; first += most) {
        bool is_inside;
        int64_t reach;

        s->pixels = (int)dw_least(shape->out_w - first, most);
        s->column = first * shape->stride_w - shape->pad_w;
        reach = (s->pixels - 1) * shape->stride_w + (shape->kernel_w - 1) * shape->dilation_w + 1;
        s->begin = dw_largest(-s->column, 0);
        s->end = dw_least(shape->in_w - s->column, reach);
        s->out = out + first * (b->y_pitch / (int64_t)sizeof *out);
        s->residual = residual != NULL ? residual + first * s->channels : NULL;
        is_inside = s->pixels == most && s->begin == 0 && s->end == reach;
        if (is_part) {
            (is_inside ? functions->inside : functions->strip[DW_PART])(s);
        } else {
            functions->strip[is_inside ? DW_WHOLE : DW_EDGE](s);
        }
    }
}

static inline void dw_band(const depthwise_nhwc_band *b)
{
    const conv_f32_shape *shape = &b->problem->shape;
    const int64_t multiplier = b->problem->multiplier;
    const int64_t depth = b->problem->depth;
    const int64_t channels = depthwise_nhwc_outputs(b->problem);
    const int64_t end = dw_least((b->block + b->blocks) * DW_LANES, channels);
    const dw_functions functions = dw_choose(b->problem);
    const brgemm_finish *f = b->finish;
    const int64_t pixel = b->row * shape->out_w;
    int64_t lanes;

    for (int64_t channel = b->block * DW_LANES; channel < end; channel += lanes) {
        bool is_part = dw_spreads(b->problem) || end - channel < DW_LANES * DW_VECTORS;
        int64_t in_channel = channel / multiplier * depth;
        dw_strip s;

        lanes = dw_least(end - channel, is_part ? DW_LANES : DW_LANES * DW_VECTORS);
        s = (dw_strip){.band = b,
                       .in = (const float *)b->x + in_channel,
                       .weights = (const float *)b->packed +
                                  channel * shape->kernel_h * shape->kernel_w * depth,
                       .lanes = (int)lanes,
                       .in_lanes = (int)dw_least(shape->channels - in_channel, VEC_LANES),
                       .channels = channels,
                       .bias = f->bias != NULL ? f->bias + channel : NULL,
                       .residual =
                           f->residual != NULL ? f->residual + pixel * channels + channel : NULL,
                       .out = (float *)(void *)((uint8_t *)b->y + pixel * b->y_pitch) + channel};
        for (int i = 0; i < VEC_LANES; i++) {
            s.spread[i] = (int32_t)((channel + i) / multiplier * depth - in_channel);
        }
        dw_strips(&functions, is_part, &s);
    }
}

#endif
