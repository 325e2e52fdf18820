/* AVX-512 VNNI tile of bytes, with all registers in use. Bytes are made in registers for whole
 * tiles and for those of eight rows, of which images of a power of two consist: with more of them
 * the compiler leaves too few to the loop over products. */
#include "kernels/brgemm/brgemm_floats_avx512.h"

#define BRGEMM_ROWS 14
#define BRGEMM_COLUMNS 32

/* Flipping costs nothing: the instruction goes where no product can. */
BRGEMM_INLINE bool brgemm_flips(const brgemm_tile *t)
{
    (void)t;
    return true;
}

BRGEMM_INLINE bool brgemm_keeps(int rows)
{
    return rows == BRGEMM_ROWS || rows == 8;
}

#include "kernels/brgemm/brgemm_s8_avx512_body.h"

const brgemm_kernel brgemm_s8_14x32__avx512vnni = {
    "brgemm_s8_14x32__avx512vnni", BRGEMM_S8, MR, NR, 4, tile, NULL};
