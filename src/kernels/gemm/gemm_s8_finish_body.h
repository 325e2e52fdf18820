/* The finish of integer products, compiled once per instruction set by the files that include it: a
 * vectorising compiler does the rest. */
#ifndef KERNELS_GEMM_GEMM_S8_FINISH_BODY_H
#define KERNELS_GEMM_GEMM_S8_FINISH_BODY_H

#include <math.h>
#include <string.h>

#include "kernels/gemm/gemm_s8.h"
#include "tensor/quantize.h"

/* One row of at most GEMM_S8_MOST_NR sums, which become the scaled floats. */
static inline __attribute__((always_inline)) void gemm_s8_scale_row(const gemm_s8_finish *f,
                                                                    int row, const int32_t *sums,
                                                                    int count, float *scaled)
{
    float factor = f->row_factor != NULL ? f->row_factor[row] : 1.0f;

    if (f->column_factor != NULL) {
        for (int j = 0; j < count; j++) {
            scaled[j] = (float)sums[j] * factor * f->column_factor[j];
        }
    } else {
        for (int j = 0; j < count; j++) {
            scaled[j] = (float)sums[j] * factor;
        }
    }
}

/* Finishes and stores one row of a tile. `sums` is overwritten. */
static inline __attribute__((always_inline)) void gemm_s8_finish_row(const gemm_s8_tile *t, int row,
                                                                     int32_t *sums)
{
    const gemm_s8_finish *f = t->finish;
    quantize_target target = {f->low, f->high, f->zero};
    uint32_t offset = f->row_offset != NULL ? (uint32_t)f->row_offset[row] : 0;
    int64_t place = row * t->c_stride;
    float scaled[GEMM_S8_MOST_NR];
    int count = t->columns;

    for (int j = 0; j < count; j++) {
        uint32_t more = f->column_offset != NULL ? (uint32_t)f->column_offset[j] : 0;

        sums[j] = (int32_t)((uint32_t)sums[j] + offset + more);
    }
    if (f->result == GEMM_S8_SUMS) {
        memcpy((int32_t *)t->c + place, sums, (size_t)count * sizeof *sums);
        return;
    }
    gemm_s8_scale_row(f, row, sums, count, scaled);
    if (f->result == GEMM_S8_BYTES) {
        uint8_t *bytes = (uint8_t *)t->c + place;

        for (int j = 0; j < count; j++) {
            bytes[j] = (uint8_t)quantize_scaled(scaled[j], target);
        }
        return;
    }
    for (int j = 0; j < count; j++) {
        float y = scaled[j] < f->lower ? f->lower : scaled[j];

        ((float *)t->c)[place + j] = y > f->upper ? f->upper : y;
    }
}

#endif
