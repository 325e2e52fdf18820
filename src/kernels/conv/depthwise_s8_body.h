/* The body of the integer depthwise kernels, compiled once per instruction set by the files that
 * include it: a vectorising compiler does the rest. */
#ifndef KERNELS_CONV_DEPTHWISE_S8_BODY_H
#define KERNELS_CONV_DEPTHWISE_S8_BODY_H

#include "kernels/conv/conv_s8.h"
#include "kernels/gemm/gemm_s8_finish_body.h"

enum { DEPTHWISE_S8_STRIP = 32 }; /* output pixels summed together, also where fewer are left */

static inline __attribute__((always_inline)) void depthwise_s8_sum(const conv_s8_plane *p,
                                                                   const uint8_t *corner,
                                                                   int32_t *restrict sums)
{
    const conv_f32_shape *s = p->shape;
    const int16_t *weight = p->weights;

    for (int64_t y = 0; y < s->kernel_h; y++) {
        const uint8_t *row = corner + y * s->dilation_h * p->halo->pitch;
        conv_s8_place at = {0, 0};

        for (int64_t x = 0; x < s->kernel_w; x++) {
            const uint8_t *from = row + at.phase * p->halo->phase + at.index;
            int32_t factor = *weight++;

            for (int i = 0; i < DEPTHWISE_S8_STRIP; i++) {
                sums[i] += factor * from[i];
            }
            conv_s8_move(p->halo, &at);
        }
    }
}

static inline __attribute__((always_inline)) void depthwise_s8_plane(const conv_s8_plane *p)
{
    const conv_f32_shape *s = p->shape;
    size_t size = p->finish->result == GEMM_S8_BYTES ? sizeof(uint8_t) : sizeof(int32_t);
    gemm_s8_tile tile = {.rows = 1, .finish = p->finish};

    for (int64_t row = 0; row < s->out_h; row++) {
        for (int64_t first = 0; first < s->out_w; first += DEPTHWISE_S8_STRIP) {
            int32_t sums[DEPTHWISE_S8_STRIP] = {0};
            int64_t left = s->out_w - first;

            depthwise_s8_sum(p, p->in + row * s->stride_h * p->halo->pitch + first, sums);
            tile.columns = (int)(left < DEPTHWISE_S8_STRIP ? left : DEPTHWISE_S8_STRIP);
            gemm_s8_finish_row(&tile, p->row, sums,
                               (uint8_t *)p->out + (size_t)(row * s->out_w + first) * size);
        }
    }
}

#endif
