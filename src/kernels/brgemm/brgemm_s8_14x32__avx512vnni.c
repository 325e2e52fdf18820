/* AVX-512 VNNI tile of bytes, with all registers in use: the finish of whole tiles alone is in
 * registers, as that of others would cost the loop over products some of its own. */
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
    return rows == BRGEMM_ROWS;
}

#include "kernels/brgemm/brgemm_s8_avx512_body.h"

const brgemm_kernel brgemm_s8_14x32__avx512vnni = {
    "brgemm_s8_14x32__avx512vnni", BRGEMM_S8, MR, NR, 4, tile, NULL};
