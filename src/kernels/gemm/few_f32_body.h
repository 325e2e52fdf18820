/* The dot products of few_f32, compiled per instruction set by the files that include this. */
#ifndef KERNELS_GEMM_FEW_F32_BODY_H
#define KERNELS_GEMM_FEW_F32_BODY_H

#include "kernels/elementwise/elementwise_f32_vector.h"
#include "kernels/gemm/few_f32.h"

enum { FEW_F32_CHAINS = 2 }; /* sums of a result that are under way together */

VEC_INLINE float few_f32_total(vec_f32 sums)
{
    float lanes[VEC_LANES];

    vec_store(lanes, sums);
    for (int half = VEC_LANES / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            lanes[i] += lanes[i + half];
        }
    }
    return lanes[0];
}

/* One row; `columns` is a constant at every call. */
VEC_INLINE void few_f32_row(const few_f32_product *p, const float *a, int columns, float *c)
{
    enum { STEP = FEW_F32_CHAINS * VEC_LANES };
    vec_f32 sums[FEW_F32_COLUMNS][FEW_F32_CHAINS];
    int64_t k = 0;

    for (int j = 0; j < columns; j++) {
        for (int chain = 0; chain < FEW_F32_CHAINS; chain++) {
            sums[j][chain] = vec_set(0.0f);
        }
    }
    for (; k + STEP <= p->k; k += STEP) {
        for (int chain = 0; chain < FEW_F32_CHAINS; chain++) {
            int64_t at = k + (int64_t)chain * VEC_LANES;
            vec_f32 row = vec_load(a + at);

            for (int j = 0; j < columns; j++) {
                sums[j][chain] = vec_fma(row, vec_load(p->b + j * p->k + at), sums[j][chain]);
            }
        }
    }
    for (; k < p->k; k += VEC_LANES) {
        int64_t left = p->k - k;

        for (int j = 0; j < columns; j++) {
            const float *b = p->b + j * p->k + k;

            sums[j][0] = left < VEC_LANES ? vec_fma(vec_load_part(a + k, left),
                                                    vec_load_part(b, left), sums[j][0])
                                          : vec_fma(vec_load(a + k), vec_load(b), sums[j][0]);
        }
    }
    for (int j = 0; j < columns; j++) {
        float v = few_f32_total(sums[j][0] + sums[j][1]) + (p->bias != NULL ? p->bias[j] : 0.0f);

        v = v < p->lower ? p->lower : v; /* written so that NaN stays NaN */
        c[j] = v > p->upper ? p->upper : v;
    }
}

VEC_INLINE void few_f32_rows(const few_f32_product *p, int columns)
{
    for (int64_t row = 0; row < p->rows; row++) {
        few_f32_row(p, p->a + row * p->k, columns, p->c + row * columns);
    }
}

static void run_few(const few_f32_product *p)
{
    switch (p->columns) {
    case 1: few_f32_rows(p, 1); break;
    case 2: few_f32_rows(p, 2); break;
    case 3: few_f32_rows(p, 3); break;
    default: few_f32_rows(p, 4); break;
    }
}

#endif
