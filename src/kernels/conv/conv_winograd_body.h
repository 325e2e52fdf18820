/* The body of the Winograd transforms, compiled per instruction set by the files that include it.
 *
 * F(4 x 4) interpolates at 0, +-A, +-B and infinity, A = 5/8 and B = 3/2: rows of the transforms of
 * opposite points share their even and odd parts. */
#ifndef KERNELS_CONV_CONV_WINOGRAD_BODY_H
#define KERNELS_CONV_CONV_WINOGRAD_BODY_H

#include "kernels/conv/conv_winograd_transforms.h"
#include "kernels/elementwise/elementwise_f32_vector.h"

static const float winograd_a = 0.625f, winograd_a2 = 0.390625f, winograd_a3 = 0.244140625f;
static const float winograd_b = 1.5f, winograd_b2 = 2.25f, winograd_b3 = 3.375f;
static const float winograd_product = 0.87890625f; /* A^2 B^2 */
static const float winograd_sum = 2.640625f;       /* A^2 + B^2 */

/* A whole vector, or its first `count` lanes and zeros. */
VEC_INLINE vec_f32 winograd_load(const float *from, int64_t count)
{
    return count >= VEC_LANES ? vec_load(from) : vec_load_part(from, count);
}

VEC_INLINE void winograd_store(float *to, vec_f32 x, int64_t count)
{
    if (count >= VEC_LANES) {
        vec_store(to, x);
    } else {
        vec_store_part(to, x, count);
    }
}

/* Points 0 and infinity of six numbers. */
VEC_INLINE void winograd_window4_ends(const vec_f32 *d, vec_f32 *t)
{
    t[0] = vec_fma(vec_set(-winograd_sum), d[2], vec_fma(vec_set(winograd_product), d[0], d[4]));
    t[1] = vec_fma(vec_set(-winograd_sum), d[3], vec_fma(vec_set(winograd_product), d[1], d[5]));
}

/* Points A, -A, B and -B of six numbers; d[0] and d[5] are not read. */
VEC_INLINE void winograd_window4_inner(const vec_f32 *d, vec_f32 *t)
{
    vec_f32 even_a = vec_fma(vec_set(-winograd_b2), d[2], d[4]);
    vec_f32 odd_a = vec_fma(vec_set(-winograd_b2), d[1], d[3]);
    vec_f32 even_b = vec_fma(vec_set(-winograd_a2), d[2], d[4]);
    vec_f32 odd_b = vec_fma(vec_set(-winograd_a2), d[1], d[3]);

    t[0] = vec_fma(vec_set(winograd_a), odd_a, even_a);
    t[1] = vec_fma(vec_set(-winograd_a), odd_a, even_a);
    t[2] = vec_fma(vec_set(winograd_b), odd_b, even_b);
    t[3] = vec_fma(vec_set(-winograd_b), odd_b, even_b);
}

/* Transforms column `j` and stores it. */
VEC_INLINE void winograd_window4_column(const winograd_window *w, int64_t c, int j,
                                        const vec_f32 *d)
{
    vec_f32 ends[2];
    vec_f32 inner[4];
    float *to = w->to + c + j * w->step;

    winograd_window4_ends(d, ends);
    winograd_window4_inner(d, inner);
    vec_store(to, ends[0]);
    vec_store(to + 6 * w->step, inner[0]);
    vec_store(to + 12 * w->step, inner[1]);
    vec_store(to + 18 * w->step, inner[2]);
    vec_store(to + 24 * w->step, inner[3]);
    vec_store(to + 30 * w->step, ends[1]);
}

/* Pixels are loaded twice, so that what is between the two directions fits into registers. */
VEC_INLINE void winograd_window4_vector(const winograd_window *w, int64_t c, int64_t count)
{
    vec_f32 inner[4][6];
    vec_f32 ends[2][6];

#pragma GCC unroll 6
    for (int i = 0; i < 6; i++) {
        const float *const *row = w->pixels + i * 6;
        vec_f32 d[6] = {{0},
                        winograd_load(row[1] + c, count),
                        winograd_load(row[2] + c, count),
                        winograd_load(row[3] + c, count),
                        winograd_load(row[4] + c, count)};
        vec_f32 t[4];

        winograd_window4_inner(d, t);
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            inner[j][i] = t[j];
        }
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        winograd_window4_column(w, c, j + 1, inner[j]);
    }
#pragma GCC unroll 6
    for (int i = 0; i < 6; i++) {
        const float *const *row = w->pixels + i * 6;
        vec_f32 d[6];
        vec_f32 t[2];

#pragma GCC unroll 6
        for (int j = 0; j < 6; j++) {
            d[j] = winograd_load(row[j] + c, count);
        }
        winograd_window4_ends(d, t);
        ends[0][i] = t[0];
        ends[1][i] = t[1];
    }
    winograd_window4_column(w, c, 0, ends[0]);
    winograd_window4_column(w, c, 5, ends[1]);
}

/* Points 0, 1, -1 and infinity of four numbers. */
VEC_INLINE void winograd_window2_line(const vec_f32 *d, vec_f32 *t)
{
    t[0] = d[2] - d[0];
    t[1] = d[2] + d[1];
    t[2] = d[2] - d[1];
    t[3] = d[3] - d[1];
}

VEC_INLINE void winograd_window2_vector(const winograd_window *w, int64_t c, int64_t count)
{
    vec_f32 between[4][4];

#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        vec_f32 d[4];
        vec_f32 t[4];

#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            d[j] = winograd_load(w->pixels[i * 4 + j] + c, count);
        }
        winograd_window2_line(d, t);
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            between[j][i] = t[j];
        }
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        vec_f32 t[4];

        winograd_window2_line(between[j], t);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            vec_store(w->to + c + (i * 4 + j) * w->step, t[i]);
        }
    }
}

/* Bias, residual and clamp of one pixel's vector of channels; those that do not exist are left
 * out. */
VEC_INLINE void winograd_finish(const winograd_tile *t, int i, int j, int64_t c, int64_t count,
                                vec_f32 x)
{
    if (i >= t->rows || j >= t->columns) {
        return;
    }
    if (t->bias != NULL) {
        x += winograd_load(t->bias + c, count);
    }
    if (t->residual != NULL) {
        x += winograd_load(t->residual + i * t->residual_row + j * t->residual_pixel + c, count);
    }
    x = vec_min(vec_max(x, vec_set(t->lower)), vec_set(t->upper));
    winograd_store(t->y + i * t->row_pitch + j * t->pixel_pitch + c, x, count);
}

VEC_INLINE void winograd_tile4_line(const vec_f32 *m, vec_f32 *y)
{
    vec_f32 even_a = m[1] + m[2];
    vec_f32 odd_a = m[1] - m[2];
    vec_f32 even_b = m[3] + m[4];
    vec_f32 odd_b = m[3] - m[4];

    y[0] = (m[0] + even_a) + even_b;
    y[1] = vec_fma(vec_set(winograd_a), odd_a, vec_set(winograd_b) * odd_b);
    y[2] = vec_fma(vec_set(winograd_a2), even_a, vec_set(winograd_b2) * even_b);
    y[3] = vec_fma(vec_set(winograd_a3), odd_a, vec_fma(vec_set(winograd_b3), odd_b, m[5]));
}

VEC_INLINE void winograd_tile4_vector(const winograd_tile *t, int64_t c, int64_t count)
{
    vec_f32 between[4][6];

#pragma GCC unroll 6
    for (int i = 0; i < 6; i++) {
        vec_f32 m[6];
        vec_f32 y[4];

#pragma GCC unroll 6
        for (int j = 0; j < 6; j++) {
            m[j] = winograd_load(t->from + (i * 6 + j) * t->step + c, count);
        }
        winograd_tile4_line(m, y);
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            between[j][i] = y[j];
        }
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        vec_f32 y[4];

        winograd_tile4_line(between[j], y);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            winograd_finish(t, i, j, c, count, y[i]);
        }
    }
}

VEC_INLINE void winograd_tile2_line(const vec_f32 *m, vec_f32 *y)
{
    y[0] = (m[0] + m[1]) + m[2];
    y[1] = (m[1] - m[2]) + m[3];
}

VEC_INLINE void winograd_tile2_vector(const winograd_tile *t, int64_t c, int64_t count)
{
    vec_f32 between[2][4];

#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        vec_f32 m[4];
        vec_f32 y[2];

#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            m[j] = winograd_load(t->from + (i * 4 + j) * t->step + c, count);
        }
        winograd_tile2_line(m, y);
        between[0][i] = y[0];
        between[1][i] = y[1];
    }
#pragma GCC unroll 2
    for (int j = 0; j < 2; j++) {
        vec_f32 y[2];

        winograd_tile2_line(between[j], y);
        winograd_finish(t, 0, j, c, count, y[0]);
        winograd_finish(t, 1, j, c, count, y[1]);
    }
}

/* ---- weights ---- */

enum { WINOGRAD_TAPS = 9, WINOGRAD_FILTERS = 8 }; /* filters at a time */

typedef double winograd_f64 __attribute__((vector_size(WINOGRAD_FILTERS * 8)));
typedef float winograd_f32 __attribute__((vector_size(WINOGRAD_FILTERS * 4)));

/* Three numbers at the points of F(2, 3) or F(4, 3). */
VEC_INLINE void winograd_kernel_line(int size, const winograd_f64 *g, winograd_f64 *u)
{
    if (size == 2) {
        winograd_f64 ends = (g[0] + g[2]) * 0.5;
        winograd_f64 middle = g[1] * 0.5;

        u[0] = -g[0];
        u[1] = ends + middle;
        u[2] = ends - middle;
        u[3] = g[2];
    } else {
        const double a = 0.625;
        const double b = 1.5;
        const double over_a = 1 / (2 * a * a * (a * a - b * b));
        const double over_b = 1 / (2 * b * b * (b * b - a * a));
        winograd_f64 even_a = (g[0] + g[2] * (a * a)) * over_a;
        winograd_f64 odd_a = g[1] * (a * over_a);
        winograd_f64 even_b = (g[0] + g[2] * (b * b)) * over_b;
        winograd_f64 odd_b = g[1] * (b * over_b);

        u[0] = g[0] * (1 / (a * a * b * b));
        u[1] = even_a + odd_a;
        u[2] = even_a - odd_a;
        u[3] = even_b + odd_b;
        u[4] = even_b - odd_b;
        u[5] = g[2];
    }
}

/* The kernels of one channel and WINOGRAD_FILTERS filters: `w` holds where they are. */
VEC_INLINE void winograd_kernel_block(int size, const float *const *w, int64_t step, float *to)
{
    const int side = size + 2;
    winograd_f64 half[3][6];

#pragma GCC unroll 3
    for (int j = 0; j < 3; j++) {
        winograd_f64 g[3];

#pragma GCC unroll 3
        for (int i = 0; i < 3; i++) {
            int t = i * 3 + j;
            winograd_f32 taps = {w[0][t], w[1][t], w[2][t], w[3][t],
                                 w[4][t], w[5][t], w[6][t], w[7][t]};

            g[i] = __builtin_convertvector(taps, winograd_f64);
        }
        winograd_kernel_line(size, g, half[j]);
    }
#pragma GCC unroll 6
    for (int i = 0; i < side; i++) {
        winograd_f64 g[3] = {half[0][i], half[1][i], half[2][i]};
        winograd_f64 u[6];

        winograd_kernel_line(size, g, u);
#pragma GCC unroll 6
        for (int j = 0; j < side; j++, to += step) {
            winograd_f32 rounded = __builtin_convertvector(u[j], winograd_f32);

            memcpy(to, &rounded, sizeof rounded);
        }
    }
}

/* Positions are far apart in the panel, so what belongs to a channel is gathered first. */
VEC_INLINE void winograd_kernels_of(int size, const winograd_kernels *k)
{
    static const float zeros[WINOGRAD_TAPS];
    const int side = size + 2;
    float points[WINOGRAD_MOST_WINDOW * WINOGRAD_MOST_WINDOW * WINOGRAD_MOST_PANEL];

    for (int64_t c = 0; c < k->channels; c++) {
        for (int64_t f = 0; f < k->nr; f += WINOGRAD_FILTERS) {
            const float *w[WINOGRAD_FILTERS];

            for (int64_t i = 0; i < WINOGRAD_FILTERS; i++) {
                w[i] = f + i < k->filters ? k->weights + ((f + i) * k->channels + c) * WINOGRAD_TAPS
                                          : zeros;
            }
            winograd_kernel_block(size, w, k->nr, points + f);
        }
        for (int p = 0; p < side * side; p++) {
            float *to = k->to + (p * k->channels + c) * k->nr;

            for (int64_t f = 0; f < k->nr; f += WINOGRAD_FILTERS) {
                memcpy(to + f, points + p * k->nr + f, sizeof(winograd_f32));
            }
        }
    }
}

static void winograd_kernels2(const winograd_kernels *k)
{
    winograd_kernels_of(2, k);
}

static void winograd_kernels4(const winograd_kernels *k)
{
    winograd_kernels_of(4, k);
}

/* ---- one tile ---- */

static void winograd_window4(const winograd_window *w)
{
    int64_t c = 0;

    for (; c + VEC_LANES <= w->channels; c += VEC_LANES) {
        winograd_window4_vector(w, c, VEC_LANES);
    }
    if (c < w->channels) {
        winograd_window4_vector(w, c, w->channels - c);
    }
}

static void winograd_window2(const winograd_window *w)
{
    int64_t c = 0;

    for (; c + VEC_LANES <= w->channels; c += VEC_LANES) {
        winograd_window2_vector(w, c, VEC_LANES);
    }
    if (c < w->channels) {
        winograd_window2_vector(w, c, w->channels - c);
    }
}

static void winograd_tile4(const winograd_tile *t)
{
    int64_t c = 0;

    for (; c + VEC_LANES <= t->channels; c += VEC_LANES) {
        winograd_tile4_vector(t, c, VEC_LANES);
    }
    if (c < t->channels) {
        winograd_tile4_vector(t, c, t->channels - c);
    }
}

static void winograd_tile2(const winograd_tile *t)
{
    int64_t c = 0;

    for (; c + VEC_LANES <= t->channels; c += VEC_LANES) {
        winograd_tile2_vector(t, c, VEC_LANES);
    }
    if (c < t->channels) {
        winograd_tile2_vector(t, c, t->channels - c);
    }
}

#endif
