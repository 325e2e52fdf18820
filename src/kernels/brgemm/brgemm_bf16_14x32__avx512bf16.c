/* AVX-512 tile of bf16: 32 products per instruction, two for each sum. */
#include "kernels/brgemm/brgemm_floats_avx512.h"

typedef __m512 brgemm_sums;

#define BRGEMM_ROWS 14
#define BRGEMM_COLUMNS 32

enum { BRGEMM_C_PARTS = 1 };

BRGEMM_INLINE brgemm_sums brgemm_start(const brgemm_tile *t, int part)
{
    (void)t;
    (void)part;
    return _mm512_setzero_ps();
}

BRGEMM_INLINE bool brgemm_flips(const brgemm_tile *t)
{
    (void)t;
    return false;
}

BRGEMM_INLINE brgemm_sums brgemm_dot(brgemm_sums sum, __m512i a, __m512i b, const brgemm_tile *t,
                                     bool flips)
{
    (void)t;
    (void)flips;
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

BRGEMM_INLINE void brgemm_load(const brgemm_tile *t, int rows, int parts, int mr, brgemm_sums *sums)
{
    brgemm_load_floats_avx512(t, rows, parts, mr, sums);
}

BRGEMM_INLINE int brgemm_early(int rows)
{
    return rows > 8 ? 7 : 0;
}

BRGEMM_INLINE bool brgemm_splits(const brgemm_tile *t)
{
    (void)t;
    return true;
}

BRGEMM_INLINE void brgemm_store_part(const brgemm_tile *t, int first, int rows, int parts, int mr,
                                     brgemm_sums *sums)
{
    if (t->finish != NULL) {
        brgemm_finish_floats_avx512(t, first, rows, parts, mr, sums);
    }
    brgemm_store_floats_avx512(t, first, rows, parts, mr, sums);
}

BRGEMM_INLINE void brgemm_store(const brgemm_tile *t, int rows, int parts, int mr,
                                brgemm_sums *sums)
{
    brgemm_store_part(t, 0, rows, parts, mr, sums);
}

#include "kernels/brgemm/brgemm_tile_avx512_body.h"

const brgemm_kernel brgemm_bf16_14x32__avx512bf16 = {
    "brgemm_bf16_14x32__avx512bf16", BRGEMM_BF16, MR, NR, 2, tile, isa_has_bf16};
