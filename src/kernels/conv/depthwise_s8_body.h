/* The body of the integer depthwise kernels, compiled once per instruction set by the files that
 * include it: a vectorising compiler does the rest. */
#ifndef KERNELS_CONV_DEPTHWISE_S8_BODY_H
#define KERNELS_CONV_DEPTHWISE_S8_BODY_H

#include "kernels/conv/conv_s8.h"
#include "kernels/conv/conv_segments.h"
#include "kernels/gemm/gemm_s8_finish_body.h"

/* `count` pixels of an input row from `column` on, `stride` apart, less the zero point: 0 outside.
 * `flip` (0x80 for s8) and `zero` turn bytes into numbers. */
static inline __attribute__((always_inline)) void
depthwise_s8_add_tap(const uint8_t *row, int64_t width, int64_t column, int64_t stride,
                     int32_t weight, uint8_t flip, int32_t zero, int64_t count, int32_t *sums)
{
    int64_t from = conv_segments_reach(column, stride, 0, count);
    int64_t until = conv_segments_reach(column, stride, width, count);

    if (stride == 1) {
        for (int64_t i = from; i < until; i++) {
            sums[i] += weight * ((int32_t)(uint8_t)(row[column + i] ^ flip) - zero);
        }
    } else if (stride == 2) {
        for (int64_t i = from; i < until; i++) {
            sums[i] += weight * ((int32_t)(uint8_t)(row[column + 2 * i] ^ flip) - zero);
        }
    } else {
        for (int64_t i = from; i < until; i++) {
            sums[i] += weight * ((int32_t)(uint8_t)(row[column + i * stride] ^ flip) - zero);
        }
    }
}

static inline __attribute__((always_inline)) void
depthwise_s8_strip(const conv_s8_plane *p, int64_t out_row, int64_t first, int count)
{
    const conv_f32_shape *s = p->shape;
    int32_t sums[GEMM_S8_MOST_NR] = {0};
    uint8_t flip = p->is_signed ? 0x80 : 0;
    int32_t zero = p->is_signed ? p->zero + 128 : p->zero;
    size_t size = p->finish->result == GEMM_S8_BYTES ? 1 : sizeof(int32_t);
    gemm_s8_tile tile = {.rows = 1, .columns = count, .finish = p->finish};

    for (int64_t y = 0; y < s->kernel_h; y++) {
        int64_t row = out_row * s->stride_h - s->pad_h + y * s->dilation_h;

        if (row < 0 || row >= s->in_h) {
            continue;
        }
        for (int64_t x = 0; x < s->kernel_w; x++) {
            depthwise_s8_add_tap(p->in + row * s->in_w, s->in_w,
                                 first * s->stride_w - s->pad_w + x * s->dilation_w, s->stride_w,
                                 p->weights[y * s->kernel_w + x], flip, zero, count, sums);
        }
    }
    tile.c = (uint8_t *)p->out + (size_t)(out_row * s->out_w + first) * size;
    gemm_s8_finish_row(&tile, p->row, sums);
}

static inline __attribute__((always_inline)) void depthwise_s8_plane(const conv_s8_plane *p)
{
    for (int64_t row = 0; row < p->shape->out_h; row++) {
        for (int64_t first = 0; first < p->shape->out_w; first += GEMM_S8_MOST_NR) {
            int64_t left = p->shape->out_w - first;

            depthwise_s8_strip(p, row, first,
                               (int)(left < GEMM_S8_MOST_NR ? left : GEMM_S8_MOST_NR));
        }
    }
}

#endif
