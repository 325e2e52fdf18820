/* The loops of tile_error, compiled once per instruction set by the files that include them: a
 * vectorising compiler does the rest. */
#ifndef KERNELS_QUANTIZE_TILE_ERROR_BODY_H
#define KERNELS_QUANTIZE_TILE_ERROR_BODY_H

#include <stddef.h>

#include "kernels/quantize/tile_error.h"

static void tile_error_numbers(const tile_error_sums *s, int64_t rows, int64_t columns,
                               float *restrict to)
{
    int32_t zero = s->zero;
    float first = s->scales[0];
    float second = s->scales[1];
    const float *restrict steps = s->steps;
    const int32_t *restrict codes = s->codes;

    for (int64_t i = 0; i < rows; i++) {
        const int32_t *restrict a = s->sums[0] + i * s->pitch;
        float *restrict y = to + i * s->pitch;

        for (int64_t j = 0; j < columns; j++) {
            y[j] = (float)(a[j] - zero * codes[j]) * (first * steps[j]);
        }
    }
    for (int64_t i = 0; s->sums[1] != NULL && i < rows; i++) {
        const int32_t *restrict b = s->sums[1] + i * s->pitch;
        float *restrict y = to + i * s->pitch;

        for (int64_t j = 0; j < columns; j++) {
            y[j] += (float)b[j] * (second * steps[j]);
        }
    }
}

static void tile_error_add_squares(const float *numbers, int64_t pitch, const float *exact,
                                   const float *importance, int64_t stride, int64_t rows,
                                   int64_t columns, float *restrict errors)
{
    for (int64_t i = 0; i < rows; i++) {
        const float *restrict found = numbers + i * pitch;
        const float *restrict right = exact + i * stride;

        if (importance != NULL) {
            const float *restrict weight = importance + i * stride;

            for (int64_t j = 0; j < columns; j++) {
                float d = found[j] - right[j];

                errors[j] += weight[j] * (d * d);
            }
        } else {
            for (int64_t j = 0; j < columns; j++) {
                float d = found[j] - right[j];

                errors[j] += d * d;
            }
        }
    }
}

#define TILE_ERROR_KERNEL(NAME)                          \
    {                                                    \
        NAME, tile_error_numbers, tile_error_add_squares \
    }

#endif
