/* The kernels of derivatives, compiled once per instruction set by the files that include this one.
 */
#ifndef KERNELS_ELEMENTWISE_GRADIENT_F32_BODY_H
#define KERNELS_ELEMENTWISE_GRADIENT_F32_BODY_H

#include <math.h>
#include <stddef.h>

#include "kernels/elementwise/elementwise_f32_math.h"
#include "kernels/elementwise/gradient_f32.h"

/* The first `count` lanes, all of them where that is known at compile time. */
VEC_INLINE vec_f32 load_lanes(const float *from, int64_t count)
{
    return __builtin_constant_p(count) && count == VEC_LANES ? vec_load(from)
                                                             : vec_load_part(from, count);
}

VEC_INLINE void store_lanes(float *to, vec_f32 x, int64_t count)
{
    if (__builtin_constant_p(count) && count == VEC_LANES) {
        vec_store(to, x);
    } else {
        vec_store_part(to, x, count);
    }
}

/* ---- sums over pixels ---- */

/* `vectors` neighbouring vectors of channels, of which the last has `lanes`. */
VEC_INLINE void moments_of(const gradient_f32_moments *m, int64_t c, int vectors, int64_t lanes,
                           bool has_x, bool has_dy)
{
    vec_f32 pivot[4] = {{0}};
    vec_f32 sums[4] = {{0}};
    vec_f32 squares[4] = {{0}};
    vec_f32 slopes[4] = {{0}};
    vec_f32 products[4] = {{0}};

    for (int v = 0; v < vectors && has_x; v++) {
        pivot[v] = load_lanes(m->pivot + c + v * VEC_LANES, lanes);
    }
    for (int64_t i = 0; i < m->pixels; i++) {
        int64_t at = i * m->channels + c;

#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            vec_f32 x = {0};

            if (has_x) {
                x = load_lanes(m->x + at + v * VEC_LANES, lanes) - pivot[v];
                sums[v] += x;
                squares[v] = vec_fma(x, x, squares[v]);
            }
            if (has_dy) {
                vec_f32 dy = load_lanes(m->dy + at + v * VEC_LANES, lanes);

                slopes[v] += dy;
                products[v] = vec_fma(dy, x, products[v]);
            }
        }
    }
    for (int v = 0; v < vectors; v++) {
        if (has_x) {
            store_lanes(m->sums + c + v * VEC_LANES, sums[v], lanes);
            store_lanes(m->squares + c + v * VEC_LANES, squares[v], lanes);
        }
        if (has_dy) {
            store_lanes(m->slopes + c + v * VEC_LANES, slopes[v], lanes);
        }
        if (has_x && has_dy) {
            store_lanes(m->products + c + v * VEC_LANES, products[v], lanes);
        }
    }
}

VEC_INLINE void moments_all(const gradient_f32_moments *m, bool has_x, bool has_dy)
{
    int64_t c = 0;

    for (; c + 4 * VEC_LANES <= m->channels; c += 4 * VEC_LANES) {
        moments_of(m, c, 4, VEC_LANES, has_x, has_dy);
    }
    for (; c + VEC_LANES <= m->channels; c += VEC_LANES) {
        moments_of(m, c, 1, VEC_LANES, has_x, has_dy);
    }
    if (c < m->channels) {
        moments_of(m, c, 1, m->channels - c, has_x, has_dy);
    }
}

static void run_moments(const gradient_f32_moments *m)
{
    if (m->dy == NULL) {
        moments_all(m, true, false);
    } else if (m->x == NULL) {
        moments_all(m, false, true);
    } else {
        moments_all(m, true, true);
    }
}

VEC_INLINE void blend_of(const gradient_f32_blend *b, int64_t at, int64_t c, int64_t lanes)
{
    vec_f32 distance = load_lanes(b->x + at + c, lanes) - load_lanes(b->mean + c, lanes);
    vec_f32 y = vec_fma(load_lanes(b->dy + at + c, lanes), load_lanes(b->a + c, lanes),
                        load_lanes(b->d + c, lanes));

    store_lanes(b->to + at + c, vec_fma(distance, load_lanes(b->b + c, lanes), y), lanes);
}

static void run_blend(const gradient_f32_blend *b)
{
    for (int64_t i = 0; i < b->pixels; i++) {
        int64_t c = 0;

        for (; c + VEC_LANES <= b->channels; c += VEC_LANES) {
            blend_of(b, i * b->channels, c, VEC_LANES);
        }
        if (c < b->channels) {
            blend_of(b, i * b->channels, c, b->channels - c);
        }
    }
}

VEC_INLINE void dot_of(const gradient_f32_dot *d, int64_t c, int vectors, int64_t lanes)
{
    vec_f32 sums[4];

    for (int v = 0; v < vectors; v++) {
        sums[v] = load_lanes(d->sums + c + v * VEC_LANES, lanes);
    }
    for (int64_t i = 0; i < d->pixels; i++) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            sums[v] =
                vec_fma(load_lanes(d->dy + i * d->dy_pitch + c + v * VEC_LANES, lanes),
                        load_lanes(d->x + i * d->x_pitch + c + v * VEC_LANES, lanes), sums[v]);
        }
    }
    for (int v = 0; v < vectors; v++) {
        store_lanes(d->sums + c + v * VEC_LANES, sums[v], lanes);
    }
}

static void run_dot(const gradient_f32_dot *d)
{
    int64_t c = 0;

    for (; c + 4 * VEC_LANES <= d->channels; c += 4 * VEC_LANES) {
        dot_of(d, c, 4, VEC_LANES);
    }
    for (; c + VEC_LANES <= d->channels; c += VEC_LANES) {
        dot_of(d, c, 1, VEC_LANES);
    }
    if (c < d->channels) {
        dot_of(d, c, 1, d->channels - c);
    }
}

/* ---- rows ---- */

enum { ROW_CHAINS = 4, ROW_BLOCK = 4096 };

/* What is added up along a row of up to three operands. */
typedef vec_f32 row_term(const float *const *from, int64_t at, int64_t lanes, vec_f32 a, vec_f32 b);

VEC_INLINE double row_sum_of(row_term *term, const float *const *from, int64_t n, float a, float b)
{
    const vec_f32 all_a = vec_set(a);
    const vec_f32 all_b = vec_set(b);
    double sum = 0.0;

    for (int64_t start = 0; start < n; start += ROW_BLOCK) {
        int64_t end = n - start < ROW_BLOCK ? n : start + ROW_BLOCK;
        vec_f32 sums[ROW_CHAINS] = {{0}};
        float lanes[VEC_LANES];
        float block = 0.0f;
        int64_t i = start;

        for (; i + ROW_CHAINS * VEC_LANES <= end; i += ROW_CHAINS * VEC_LANES) {
#pragma GCC unroll 4
            for (int chain = 0; chain < ROW_CHAINS; chain++) {
                sums[chain] += term(from, i + chain * VEC_LANES, VEC_LANES, all_a, all_b);
            }
        }
        for (; i + VEC_LANES <= end; i += VEC_LANES) {
            sums[0] += term(from, i, VEC_LANES, all_a, all_b);
        }
        if (i < end) {
            sums[1] += vec_keep(term(from, i, end - i, all_a, all_b), end - i);
        }
        vec_store(lanes, (sums[0] + sums[1]) + (sums[2] + sums[3]));
        for (int lane = 0; lane < VEC_LANES; lane++) {
            block += lanes[lane];
        }
        sum += (double)block;
    }
    return sum;
}

VEC_INLINE vec_f32 term_distance(const float *const *from, int64_t at, int64_t lanes, vec_f32 a,
                                 vec_f32 b)
{
    (void)b;
    return load_lanes(from[0] + at, lanes) - a;
}

VEC_INLINE vec_f32 term_square(const float *const *from, int64_t at, int64_t lanes, vec_f32 a,
                               vec_f32 b)
{
    vec_f32 distance = term_distance(from, at, lanes, a, b);

    return distance * distance;
}

VEC_INLINE vec_f32 term_product(const float *const *from, int64_t at, int64_t lanes, vec_f32 a,
                                vec_f32 b)
{
    (void)a;
    (void)b;
    return load_lanes(from[0] + at, lanes) * load_lanes(from[1] + at, lanes);
}

/* x, dy, gamma */
VEC_INLINE vec_f32 term_slope(const float *const *from, int64_t at, int64_t lanes, vec_f32 a,
                              vec_f32 b)
{
    vec_f32 dy = load_lanes(from[1] + at, lanes);

    (void)a;
    (void)b;
    return from[2] != NULL ? dy * load_lanes(from[2] + at, lanes) : dy;
}

VEC_INLINE vec_f32 term_slope_distance(const float *const *from, int64_t at, int64_t lanes,
                                       vec_f32 a, vec_f32 b)
{
    return term_slope(from, at, lanes, a, b) * (load_lanes(from[0] + at, lanes) - a);
}

/* Numbers of a row that its elements are made with. */
typedef struct row_numbers {
    vec_f32 mean, inverse, sum, product;
} row_numbers;

VEC_INLINE void norm_of(const gradient_f32_norm *row, const row_numbers *of, int64_t i,
                        int64_t lanes)
{
    vec_f32 n = (load_lanes(row->x + i, lanes) - of->mean) * of->inverse;
    vec_f32 dy = load_lanes(row->dy + i, lanes);
    vec_f32 g = row->gamma != NULL ? dy * load_lanes(row->gamma + i, lanes) : dy;

    if (row->scale_sums != NULL) {
        store_lanes(row->scale_sums + i, vec_fma(dy, n, load_lanes(row->scale_sums + i, lanes)),
                    lanes);
    }
    if (row->bias_sums != NULL) {
        store_lanes(row->bias_sums + i, dy + load_lanes(row->bias_sums + i, lanes), lanes);
    }
    if (row->dx != NULL) {
        store_lanes(row->dx + i, of->inverse * ((g - of->sum) - n * of->product), lanes);
    }
}

/* dx = inverse (g - mean(g) - n mean(g n)), g = gamma dy */
static void run_layer_norm(const gradient_f32_norm *row)
{
    const float *from[3] = {row->x, row->dy, row->gamma};
    float near = row->n > 0 ? row->x[0] : 0.0f;
    double n = (double)row->n;
    float mean = (float)((double)near + row_sum_of(term_distance, from, row->n, near, 0.0f) / n);
    double variance = row_sum_of(term_square, from, row->n, mean, 0.0f) / n;
    double inverse = 1.0 / sqrt(variance + (double)row->epsilon);
    double sum = row_sum_of(term_slope, from, row->n, mean, 0.0f) / n;
    double product = row_sum_of(term_slope_distance, from, row->n, mean, 0.0f) * inverse / n;
    const row_numbers of = {vec_set(mean), vec_set((float)inverse), vec_set((float)sum),
                            vec_set((float)product)};
    int64_t i = 0;

    for (; i + VEC_LANES <= row->n; i += VEC_LANES) {
        norm_of(row, &of, i, VEC_LANES);
    }
    if (i < row->n) {
        norm_of(row, &of, i, row->n - i);
    }
}

static void run_softmax(float *to, const float *y, const float *dy, int64_t n)
{
    const float *from[2] = {y, dy};
    const vec_f32 sum = vec_set((float)row_sum_of(term_product, from, n, 0.0f, 0.0f));
    int64_t i = 0;

    for (; i + VEC_LANES <= n; i += VEC_LANES) {
        vec_store(to + i, vec_load(y + i) * (vec_load(dy + i) - sum));
    }
    if (i < n) {
        vec_f32 rest = vec_load_part(dy + i, n - i) - sum;

        vec_store_part(to + i, vec_load_part(y + i, n - i) * rest, n - i);
    }
}

static void run_gelu(float *to, const float *x, const float *dy, int64_t n)
{
    int64_t i = 0;

    for (; i + VEC_LANES <= n; i += VEC_LANES) {
        vec_store(to + i, vec_load(dy + i) * vec_gelu_slope(vec_load(x + i)));
    }
    if (i < n) {
        vec_f32 slope = vec_gelu_slope(vec_load_part(x + i, n - i));

        vec_store_part(to + i, vec_load_part(dy + i, n - i) * slope, n - i);
    }
}

/* The variant of this instruction set, as an initialiser. */
#define GRADIENT_F32(NAME)                                                          \
    {                                                                               \
        .name = (NAME), .moments = run_moments, .blend = run_blend, .dot = run_dot, \
        .layer_norm = run_layer_norm, .softmax = run_softmax, .gelu = run_gelu      \
    }

#endif
