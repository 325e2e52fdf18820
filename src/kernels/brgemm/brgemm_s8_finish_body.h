/* The finish of integer sums a row at a time, compiled once per instruction set by the files that
 * include it: a vectorising compiler does the rest. */
#ifndef KERNELS_BRGEMM_BRGEMM_S8_FINISH_BODY_H
#define KERNELS_BRGEMM_BRGEMM_S8_FINISH_BODY_H

#include "kernels/brgemm/brgemm_variants.h"
#include "tensor/quantize.h"

/* Floats from scaled sums. */
static inline __attribute__((always_inline)) void brgemm_s8_finish_floats(const brgemm_tile *t,
                                                                          int row, int mr,
                                                                          float *restrict v)
{
    const brgemm_finish *f = t->finish;
    float lower = f->lower;
    float upper = f->upper;
    int columns = t->columns;

    if (f->bias != NULL) {
        for (int j = 0; j < columns; j++) {
            v[j] += f->bias[j];
        }
    }
    if (f->residual != NULL) {
        const float *residual = brgemm_residual_row(f, row, mr);

        for (int j = 0; j < columns; j++) {
            v[j] += residual[j];
        }
    }
    for (int j = 0; f->activate == NULL && j < columns; j++) { /* written so that NaN stays NaN */
        float low = v[j] < lower ? lower : v[j];

        v[j] = low > upper ? upper : low;
    }
    memcpy(brgemm_c_row(t, row, mr), v, (size_t)columns * sizeof *v);
    if (f->activate != NULL) {
        float *c = (float *)(void *)brgemm_c_row(t, row, mr);

        f->activate(c, c, columns);
    }
}

/* Finishes row `row` of a tile, whose sums are overwritten, and stores it. */
static inline __attribute__((always_inline)) void brgemm_s8_store_row(const brgemm_tile *t, int row,
                                                                      int mr,
                                                                      int32_t *restrict sums)
{
    const brgemm_finish *f = t->finish;
    int columns = t->columns;
    char *c = brgemm_c_row(t, row, mr);
    uint8_t bytes[BRGEMM_MOST_NR];
    float scaled[BRGEMM_MOST_NR];

    if (t->accumulate) {
        int32_t before[BRGEMM_MOST_NR];

        memcpy(before, c, (size_t)columns * sizeof *before);
        for (int j = 0; j < columns; j++) {
            sums[j] = (int32_t)((uint32_t)sums[j] + (uint32_t)before[j]);
        }
    }
    for (int j = 0; f != NULL && f->offset != NULL && j < columns; j++) {
        sums[j] = (int32_t)((uint32_t)sums[j] + (uint32_t)f->offset[j]);
    }
    for (int j = 0; f != NULL && f->row_offset != NULL && j < columns; j++) {
        sums[j] = (int32_t)((uint32_t)sums[j] + (uint32_t)f->row_offset[row]);
    }
    if (f == NULL || f->result == BRGEMM_SUMS) {
        memcpy(c, sums, (size_t)columns * sizeof *sums);
        return;
    }
    for (int j = 0; j < columns; j++) {
        scaled[j] = (float)sums[j];
    }
    for (int j = 0; f->factor != NULL && j < columns; j++) {
        scaled[j] *= f->factor[j];
    }
    if (f->result == BRGEMM_FLOATS) {
        brgemm_s8_finish_floats(t, row, mr, scaled);
        return;
    }
    for (int j = 0; j < columns; j++) {
        quantize_target target = {f->low, f->high, f->zero};

        bytes[j] = (uint8_t)quantize_scaled(scaled[j], target);
    }
    memcpy(c, bytes, (size_t)columns);
}

#endif
