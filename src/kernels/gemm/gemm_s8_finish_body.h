/* The finish of integer products, compiled once per instruction set by the files that include it: a
 * vectorising compiler does the rest. */
#ifndef KERNELS_GEMM_GEMM_S8_FINISH_BODY_H
#define KERNELS_GEMM_GEMM_S8_FINISH_BODY_H

#include <math.h>
#include <string.h>

#include "kernels/gemm/gemm_s8.h"
#include "tensor/quantize.h"

enum { GEMM_S8_LANES = 16 }; /* numbers finished together: whole vectors of every width */

/* Offsets and factors of columns, for the first `count` of at most GEMM_S8_MOST_NR sums. */
static inline __attribute__((always_inline)) void
gemm_s8_finish_columns(const gemm_s8_finish *f, int count, int32_t *sums, float *factors)
{
    if (f->column_offset != NULL) {
        for (int j = 0; j < count; j++) {
            sums[j] = (int32_t)((uint32_t)sums[j] + (uint32_t)f->column_offset[j]);
        }
    }
    if (f->column_factor != NULL) {
        memcpy(factors, f->column_factor, (size_t)count * sizeof *factors);
    } else {
        for (int j = 0; j < GEMM_S8_MOST_NR; j++) {
            factors[j] = 1.0f;
        }
    }
}

static inline __attribute__((always_inline)) void gemm_s8_to_bytes(const gemm_s8_finish *f,
                                                                   const float *scaled, int count,
                                                                   uint8_t *to)
{
    quantize_target target = {f->low, f->high, f->zero};
    uint8_t bytes[GEMM_S8_MOST_NR];

    for (int j = 0; j < count; j += GEMM_S8_LANES) {
        for (int i = 0; i < GEMM_S8_LANES; i++) {
            bytes[j + i] = (uint8_t)quantize_scaled(scaled[j + i], target);
        }
    }
    memcpy(to, bytes, (size_t)count);
}

static inline __attribute__((always_inline)) void gemm_s8_to_floats(const gemm_s8_finish *f,
                                                                    float *scaled, int count,
                                                                    float *to)
{
    for (int j = 0; j < count; j += GEMM_S8_LANES) {
        for (int i = 0; i < GEMM_S8_LANES; i++) {
            float y = scaled[j + i] < f->lower ? f->lower : scaled[j + i];

            scaled[j + i] = y > f->upper ? f->upper : y;
        }
    }
    memcpy(to, scaled, (size_t)count * sizeof *to);
}

/* Finishes row `row` of a tile, of GEMM_S8_MOST_NR `sums` of which the tile's columns count, and
 * stores it at `c`. The sums are overwritten. */
static inline __attribute__((always_inline)) void gemm_s8_finish_row(const gemm_s8_tile *t, int row,
                                                                     int32_t *sums, void *c)
{
    const gemm_s8_finish *f = t->finish;
    uint32_t offset = f->row_offset != NULL ? (uint32_t)f->row_offset[row] : 0;
    float factor = f->row_factor != NULL ? f->row_factor[row] : 1.0f;
    float factors[GEMM_S8_MOST_NR] = {0};
    float scaled[GEMM_S8_MOST_NR];
    bool by_column = f->column_offset != NULL || f->column_factor != NULL;
    int count = t->columns;

    if (by_column) {
        gemm_s8_finish_columns(f, count, sums, factors);
    }
    for (int j = 0; j < count; j += GEMM_S8_LANES) {
        for (int i = 0; i < GEMM_S8_LANES; i++) {
            sums[j + i] = (int32_t)((uint32_t)sums[j + i] + offset);
            scaled[j + i] = (float)sums[j + i] * factor;
        }
    }
    if (f->result == GEMM_S8_SUMS) {
        memcpy(c, sums, (size_t)count * sizeof *sums);
        return;
    }
    for (int j = 0; by_column && j < count; j += GEMM_S8_LANES) {
        for (int i = 0; i < GEMM_S8_LANES; i++) {
            scaled[j + i] *= factors[j + i];
        }
    }
    if (f->result == GEMM_S8_BYTES) {
        gemm_s8_to_bytes(f, scaled, count, c);
    } else {
        gemm_s8_to_floats(f, scaled, count, c);
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
