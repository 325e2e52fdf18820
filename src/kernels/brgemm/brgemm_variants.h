/* The variants of brgemm that live in files of their own. */
#ifndef KERNELS_BRGEMM_BRGEMM_VARIANTS_H
#define KERNELS_BRGEMM_BRGEMM_VARIANTS_H

#include "kernels/brgemm/brgemm.h"

extern const brgemm_kernel brgemm_f32_4x16__generic;
extern const brgemm_kernel brgemm_bf16_4x16__generic;
extern const brgemm_kernel brgemm_s8_4x16__generic;
extern const brgemm_kernel brgemm_s8_4x8__avx2;
extern const brgemm_kernel brgemm_s8_6x16__avxvnni;
extern const brgemm_kernel brgemm_s8_16x16__avx512vnni;
extern const brgemm_kernel brgemm_s8_14x32__avx512vnni;
extern const brgemm_kernel brgemm_f32_6x16__avx2;
extern const brgemm_kernel brgemm_f32_14x32__avx512;
extern const brgemm_kernel brgemm_bf16_14x32__avx512bf16;
extern const brgemm_kernel brgemm_bf16_32x32__amx;
extern const brgemm_kernel brgemm_s8_32x32__amx;
extern const brgemm_kernel brgemm_f32_6x16__neon;
extern const brgemm_kernel brgemm_s8_4x8__neon;
extern const brgemm_kernel brgemm_s8_8x8__neondot;

/* Where row `row` of a tile begins. */
static inline const char *brgemm_a_row(const brgemm_tile *t, int row, int mr)
{
    return (const char *)t->a +
           (row < mr / 2 ? row * t->a_pitch : t->a_second + (row - mr / 2) * t->a_pitch);
}

static inline char *brgemm_c_row(const brgemm_tile *t, int row, int mr)
{
    return (char *)t->c +
           (row < mr / 2 ? row * t->c_pitch : t->c_second + (row - mr / 2) * t->c_pitch);
}

/* The row's residual, which must be there. */
static inline const float *brgemm_residual_row(const brgemm_finish *f, int row, int mr)
{
    return f->residual + (row < mr / 2 ? row * f->residual_pitch
                                       : f->residual_second + (row - mr / 2) * f->residual_pitch);
}

#endif
