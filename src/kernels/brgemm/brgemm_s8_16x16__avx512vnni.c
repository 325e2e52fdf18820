/* AVX-512 VNNI tile of bytes for few columns. Its steps are short, so what stands between two tiles
 * counts: whole tiles that need no flip have a loop without, which leaves the queue of instructions
 * to more products, and tiles of any size are finished in registers. */
#include "kernels/brgemm/brgemm_floats_avx512.h"

#define BRGEMM_ROWS 16
#define BRGEMM_COLUMNS 16

BRGEMM_INLINE bool brgemm_flips(const brgemm_tile *t)
{
    return t->flip != 0;
}

BRGEMM_INLINE bool brgemm_keeps(int rows)
{
    (void)rows;
    return true;
}

#include "kernels/brgemm/brgemm_s8_avx512_body.h"

const brgemm_kernel brgemm_s8_16x16__avx512vnni = {
    "brgemm_s8_16x16__avx512vnni", BRGEMM_S8, MR, NR, 4, tile, NULL};
