/* The body of the pooling kernels, compiled per instruction set by the files that include it. */
#ifndef KERNELS_POOL_POOL_F32_BODY_H
#define KERNELS_POOL_POOL_F32_BODY_H

#include <math.h>

#include "kernels/pool/pool_f32.h"

enum { POOL_STRIP = 64 }; /* output pixels held in the first cache */

/* What a tap does with a pixel. */
typedef enum pool_f32_kind { POOL_F32_MAX, POOL_F32_SUM } pool_f32_kind;

static inline __attribute__((always_inline)) float pool_f32_join(pool_f32_kind kind, float so_far,
                                                                 float pixel)
{
    if (kind == POOL_F32_SUM) {
        return so_far + pixel;
    }
    return pixel > so_far ? pixel : so_far;
}

/* Joins row[column + i * stride] into so_far[i] for the i in [0, count) whose pixel exists. */
static inline __attribute__((always_inline)) void pool_f32_add_tap(pool_f32_kind kind,
                                                                   const float *row, int64_t width,
                                                                   int64_t column, int64_t stride,
                                                                   int64_t count, float *so_far)
{
    int64_t from = column >= 0 ? 0 : (-column + stride - 1) / stride;
    int64_t until = column >= width ? 0 : (width - column + stride - 1) / stride;

    until = until < count ? until : count;
    if (stride == 1) {
        for (int64_t i = from; i < until; i++) {
            so_far[i] = pool_f32_join(kind, so_far[i], row[column + i]);
        }
    } else if (stride == 2) {
        for (int64_t i = from; i < until; i++) {
            so_far[i] = pool_f32_join(kind, so_far[i], row[column + 2 * i]);
        }
    } else {
        for (int64_t i = from; i < until; i++) {
            so_far[i] = pool_f32_join(kind, so_far[i], row[column + i * stride]);
        }
    }
}

/* Positions of a window from `first` on, `step` apart, that lie in [low, high). */
static inline __attribute__((always_inline)) int64_t pool_f32_inside(int64_t first, int64_t step,
                                                                     int64_t taps, int64_t low,
                                                                     int64_t high)
{
    int64_t count = 0;

    for (int64_t t = 0; t < taps; t++) {
        count += first + t * step >= low && first + t * step < high;
    }
    return count;
}

static inline __attribute__((always_inline)) void pool_f32_divide(const pool_f32_planes *p,
                                                                  int64_t in_row, int64_t first,
                                                                  int64_t count, float *sums)
{
    const conv_f32_shape *s = p->shape;
    int64_t low = p->count_padding ? -s->pad_h : 0;
    int64_t high = p->count_padding ? s->in_h + p->end_h : s->in_h;
    int64_t left = p->count_padding ? -s->pad_w : 0;
    int64_t right = p->count_padding ? s->in_w + p->end_w : s->in_w;
    int64_t rows = pool_f32_inside(in_row, s->dilation_h, s->kernel_h, low, high);

    for (int64_t i = 0; i < count; i++) {
        int64_t column = (first + i) * s->stride_w - s->pad_w;

        sums[i] /= (float)(rows * pool_f32_inside(column, s->dilation_w, s->kernel_w, left, right));
    }
}

static inline __attribute__((always_inline)) void pool_f32_strip(pool_f32_kind kind,
                                                                 const pool_f32_planes *p,
                                                                 int64_t out_row, int64_t first,
                                                                 int64_t count)
{
    const conv_f32_shape *s = p->shape;
    int64_t in_row = out_row * s->stride_h - s->pad_h;
    float joined[POOL_STRIP];

    for (int64_t i = 0; i < count; i++) {
        joined[i] = kind == POOL_F32_MAX ? -INFINITY : 0.0f;
    }
    for (int64_t y = 0; y < s->kernel_h; y++) {
        int64_t row = in_row + y * s->dilation_h;

        if (row < 0 || row >= s->in_h) {
            continue;
        }
        for (int64_t x = 0; x < s->kernel_w; x++) {
            pool_f32_add_tap(kind, p->in + row * s->in_w, s->in_w,
                             first * s->stride_w - s->pad_w + x * s->dilation_w, s->stride_w, count,
                             joined);
        }
    }
    if (kind == POOL_F32_SUM) {
        pool_f32_divide(p, in_row, first, count, joined);
    }
    for (int64_t i = 0; i < count; i++) {
        p->out[out_row * s->out_w + first + i] = joined[i];
    }
}

static inline __attribute__((always_inline)) void pool_f32_run(pool_f32_kind kind,
                                                               const pool_f32_planes *planes)
{
    const conv_f32_shape *s = planes->shape;

    for (int64_t i = 0; i < planes->count; i++) {
        pool_f32_planes p = *planes;

        p.in += i * s->in_h * s->in_w;
        p.out += i * s->out_h * s->out_w;
        for (int64_t row = 0; row < s->out_h; row++) {
            for (int64_t first = 0; first < s->out_w; first += POOL_STRIP) {
                int64_t left = s->out_w - first;

                pool_f32_strip(kind, &p, row, first, left < POOL_STRIP ? left : POOL_STRIP);
            }
        }
    }
}

#endif
