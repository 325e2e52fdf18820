/* The finish of integer products, compiled once per instruction set by the files that include it: a
 * vectorising compiler does the rest. */
#ifndef KERNELS_GEMM_GEMM_S8_FINISH_BODY_H
#define KERNELS_GEMM_GEMM_S8_FINISH_BODY_H

#include <math.h>
#include <string.h>

#include "kernels/gemm/gemm_s8.h"
#include "tensor/quantize.h"

/* The sums with their offsets, scaled to floats. */
static inline __attribute__((always_inline)) void gemm_s8_scale_row(const gemm_s8_finish *f,
                                                                    int row, int32_t *sums,
                                                                    int count, float *scaled)
{
    uint32_t offset = f->row_offset != NULL ? (uint32_t)f->row_offset[row] : 0;
    float factor = f->row_factor != NULL ? f->row_factor[row] : 1.0f;

    for (int j = 0; j < count; j++) {
        sums[j] = (int32_t)((uint32_t)sums[j] + offset);
    }
    if (f->column_offset != NULL) {
        for (int j = 0; j < count; j++) {
            sums[j] = (int32_t)((uint32_t)sums[j] + (uint32_t)f->column_offset[j]);
        }
    }
    for (int j = 0; j < count; j++) {
        scaled[j] = (float)sums[j] * factor;
    }
    if (f->column_factor != NULL) {
        for (int j = 0; j < count; j++) {
            scaled[j] *= f->column_factor[j];
        }
    }
}

/* Finishes row `row` of a tile, whose sums are overwritten, and stores it at `c`. */
static inline __attribute__((always_inline)) void gemm_s8_finish_row(const gemm_s8_tile *t, int row,
                                                                     int32_t *restrict sums,
                                                                     void *restrict c)
{
    const gemm_s8_finish *f = t->finish;
    quantize_target target = {f->low, f->high, f->zero};
    float lower = f->lower;
    float upper = f->upper;
    float scaled[GEMM_S8_MOST_NR];
    uint8_t *bytes = c;
    float *floats = c;
    int count = t->columns;

    gemm_s8_scale_row(f, row, sums, count, scaled);
    if (f->result == GEMM_S8_SUMS) {
        memcpy(c, sums, (size_t)count * sizeof *sums);
    } else if (f->result == GEMM_S8_BYTES) {
        for (int j = 0; j < count; j++) {
            bytes[j] = (uint8_t)quantize_scaled(scaled[j], target);
        }
    } else {
        for (int j = 0; j < count; j++) {
            float y = scaled[j] < lower ? lower : scaled[j];

            floats[j] = y > upper ? upper : y;
        }
    }
}

/* The same for row `row` of a tile's own result. */
static inline __attribute__((always_inline)) void gemm_s8_store_row(const gemm_s8_tile *t, int row,
                                                                    int32_t *sums)
{
    size_t size = t->finish->result == GEMM_S8_BYTES ? sizeof(uint8_t) : sizeof(int32_t);

    gemm_s8_finish_row(t, row, sums, (uint8_t *)t->c + (size_t)(row * t->c_stride) * size);
}

#endif
