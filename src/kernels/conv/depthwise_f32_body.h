/* The body of the depthwise kernels, compiled once per instruction set by the files that include
 * it: a vectorising compiler does the rest. */
#ifndef KERNELS_CONV_DEPTHWISE_F32_BODY_H
#define KERNELS_CONV_DEPTHWISE_F32_BODY_H

#include <stddef.h>

#include "kernels/conv/conv_f32.h"

/* One plane of conv_f32_planes. */
typedef struct depthwise_plane {
    const conv_f32_shape *shape;
    const float *in;
    const float *weights;
    float bias;
    const float *residual; /* NULL: none */
    float lower;
    float upper;
    float *out;
} depthwise_plane;

static inline depthwise_plane depthwise_plane_at(const conv_f32_planes *p, int64_t i)
{
    const conv_f32_shape *s = p->shape;
    int64_t channel = i % p->channels;
    int64_t size = s->out_h * s->out_w;

    return (depthwise_plane){
        .shape = s,
        .in = p->in + i / p->multiplier * s->in_h * s->in_w,
        .weights = p->weights + channel * s->kernel_h * s->kernel_w,
        .bias = p->bias != NULL ? p->bias[channel] : 0.0f,
        .residual = p->residual != NULL ? p->residual + i * size : NULL,
        .lower = p->lower,
        .upper = p->upper,
        .out = p->out + i * size,
    };
}

enum { DEPTHWISE_STRIP = 64 }; /* output pixels whose sums stay in registers or the first cache */

/* sums[i] += weight * row[column + i * stride] for the i in [0, count) whose pixel exists. */
static inline __attribute__((always_inline)) void depthwise_add_tap(const float *row, int64_t width,
                                                                    int64_t column, int64_t stride,
                                                                    float weight, int64_t count,
                                                                    float *sums)
{
    int64_t from = column >= 0 ? 0 : (-column + stride - 1) / stride;
    int64_t until = column >= width ? 0 : (width - column + stride - 1) / stride;

    until = until < count ? until : count;
    if (stride == 1) {
        for (int64_t i = from; i < until; i++) {
            sums[i] += weight * row[column + i];
        }
    } else if (stride == 2) {
        for (int64_t i = from; i < until; i++) {
            sums[i] += weight * row[column + 2 * i];
        }
    } else {
        for (int64_t i = from; i < until; i++) {
            sums[i] += weight * row[column + i * stride];
        }
    }
}

static inline __attribute__((always_inline)) void depthwise_strip(const depthwise_plane *p,
                                                                  int64_t out_row, int64_t first,
                                                                  int64_t count)
{
    const conv_f32_shape *s = p->shape;
    float sums[DEPTHWISE_STRIP];
    float *out = p->out + out_row * s->out_w + first;

    for (int64_t i = 0; i < count; i++) {
        sums[i] = p->bias;
    }
    for (int64_t y = 0; y < s->kernel_h; y++) {
        int64_t row = out_row * s->stride_h - s->pad_h + y * s->dilation_h;

        if (row < 0 || row >= s->in_h) {
            continue;
        }
        for (int64_t x = 0; x < s->kernel_w; x++) {
            depthwise_add_tap(p->in + row * s->in_w, s->in_w,
                              first * s->stride_w - s->pad_w + x * s->dilation_w, s->stride_w,
                              p->weights[y * s->kernel_w + x], count, sums);
        }
    }
    if (p->residual != NULL) {
        for (int64_t i = 0; i < count; i++) {
            sums[i] += p->residual[out_row * s->out_w + first + i];
        }
    }
    for (int64_t i = 0; i < count; i++) {
        float sum = sums[i] < p->lower ? p->lower : sums[i];

        out[i] = sum > p->upper ? p->upper : sum;
    }
}

static inline __attribute__((always_inline)) void depthwise_planes(const conv_f32_planes *planes)
{
    for (int64_t i = planes->first; i < planes->first + planes->count; i++) {
        depthwise_plane p = depthwise_plane_at(planes, i);

        for (int64_t row = 0; row < p.shape->out_h; row++) {
            for (int64_t first = 0; first < p.shape->out_w; first += DEPTHWISE_STRIP) {
                int64_t left = p.shape->out_w - first;

                depthwise_strip(&p, row, first, left < DEPTHWISE_STRIP ? left : DEPTHWISE_STRIP);
            }
        }
    }
}

#endif
