/* The finish of integer products in AVX-512 registers: sixteen sums of one row at a time. */
#ifndef KERNELS_GEMM_GEMM_S8_FINISH_AVX512_H
#define KERNELS_GEMM_GEMM_S8_FINISH_AVX512_H

#include <immintrin.h>

#include "kernels/gemm/gemm_s8.h"

/* The first `count` of sixteen lanes. */
static inline __attribute__((always_inline)) __mmask16 gemm_s8_mask_avx512(int count)
{
    return (__mmask16)(count >= 16 ? 0xFFFF : (1u << (count > 0 ? count : 0)) - 1);
}

static inline __attribute__((always_inline)) __m128i gemm_s8_bytes_avx512(const gemm_s8_finish *f,
                                                                          __m512 scaled)
{
    __m512 rounded = _mm512_roundscale_ps(scaled, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __mmask16 is_number;
    __m512i whole;

    /* The second operand comes back when one is NaN, which then becomes 0. */
    rounded = _mm512_max_ps(_mm512_set1_ps((float)(f->low - f->zero)), rounded);
    rounded = _mm512_min_ps(_mm512_set1_ps((float)(f->high - f->zero)), rounded);
    is_number = _mm512_cmp_ps_mask(rounded, rounded, _CMP_ORD_Q);
    whole = _mm512_maskz_cvttps_epi32(is_number, rounded);
    return _mm512_cvtepi32_epi8(_mm512_add_epi32(whole, _mm512_set1_epi32(f->zero)));
}

/* Finishes the columns [column, column + 16) of row `row` that `mask` names; `c` is the row. */
static inline __attribute__((always_inline)) void gemm_s8_finish_avx512(const gemm_s8_finish *f,
                                                                        int row, int column,
                                                                        __mmask16 mask, __m512i sum,
                                                                        void *c)
{
    __m512 scaled;

    if (f->row_offset != NULL) {
        sum = _mm512_add_epi32(sum, _mm512_set1_epi32(f->row_offset[row]));
    }
    if (f->column_offset != NULL) {
        sum = _mm512_add_epi32(sum, _mm512_maskz_loadu_epi32(mask, f->column_offset + column));
    }
    if (f->result == GEMM_S8_SUMS) {
        _mm512_mask_storeu_epi32((int32_t *)c + column, mask, sum);
        return;
    }
    scaled = _mm512_cvtepi32_ps(sum);
    if (f->row_factor != NULL) {
        scaled = _mm512_mul_ps(scaled, _mm512_set1_ps(f->row_factor[row]));
    }
    if (f->column_factor != NULL) {
        scaled = _mm512_mul_ps(scaled, _mm512_maskz_loadu_ps(mask, f->column_factor + column));
    }
    if (f->result == GEMM_S8_BYTES) {
        _mm_mask_storeu_epi8((uint8_t *)c + column, mask, gemm_s8_bytes_avx512(f, scaled));
        return;
    }
    scaled = _mm512_max_ps(_mm512_set1_ps(f->lower), scaled);
    scaled = _mm512_min_ps(_mm512_set1_ps(f->upper), scaled);
    _mm512_mask_storeu_ps((float *)c + column, mask, scaled);
}

#endif
