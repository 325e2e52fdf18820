/* The loops of linear_s8, compiled once per instruction set by the files that include them: a
 * vectorising compiler does the rest. */
#ifndef KERNELS_ELEMENTWISE_LINEAR_S8_BODY_H
#define KERNELS_ELEMENTWISE_LINEAR_S8_BODY_H

#include "kernels/elementwise/linear_s8.h"

/* XOR that makes the bytes unsigned, and their zero point then. */
static inline uint8_t linear_s8_flip(linear_s8_grid g)
{
    return g.is_signed ? 0x80 : 0;
}

static inline int32_t linear_s8_zero(linear_s8_grid g)
{
    return g.is_signed ? g.zero + 128 : g.zero;
}

static void linear_s8_quantize(uint8_t *restrict to, const float *restrict from, int64_t n,
                               float scale, quantize_target target)
{
    for (int64_t i = 0; i < n; i++) {
        to[i] = (uint8_t)quantize_f32(from[i], scale, target);
    }
}

static void linear_s8_dequantize(float *restrict to, const uint8_t *restrict from, int64_t n,
                                 linear_s8_grid grid)
{
    uint8_t flip = linear_s8_flip(grid);
    int32_t zero = linear_s8_zero(grid);

    for (int64_t i = 0; i < n; i++) {
        to[i] = quantize_back((uint8_t)(from[i] ^ flip), grid.scale, zero);
    }
}

static void linear_s8_look_up(uint8_t *to, const uint8_t *from, int64_t n, const uint8_t table[256])
{
    for (int64_t i = 0; i < n; i++) {
        to[i] = table[from[i]];
    }
}

static void linear_s8_add(uint8_t *to, const uint8_t *a, linear_s8_grid a_grid, const uint8_t *b,
                          linear_s8_grid b_grid, int64_t n, float scale, quantize_target target)
{
    uint8_t a_flip = linear_s8_flip(a_grid);
    uint8_t b_flip = linear_s8_flip(b_grid);
    int32_t a_zero = linear_s8_zero(a_grid);
    int32_t b_zero = linear_s8_zero(b_grid);
    float a_ratio = a_grid.scale / scale;
    float b_ratio = b_grid.scale / scale;

    for (int64_t i = 0; i < n; i++) {
        float x = quantize_back((uint8_t)(a[i] ^ a_flip), a_ratio, a_zero);
        float y = quantize_back((uint8_t)(b[i] ^ b_flip), b_ratio, b_zero);

        to[i] = (uint8_t)quantize_scaled(x + y, target);
    }
}

#endif
