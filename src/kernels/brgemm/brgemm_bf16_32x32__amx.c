/* AMX tile of bf16. */
#include "kernels/brgemm/brgemm_amx_body.h"
#include "kernels/brgemm/brgemm_floats_avx512.h"

/* Finishes and stores row by row. */
static void store(const brgemm_tile *t, uint32_t sums[MR][NR])
{
    brgemm_finish finish;
    brgemm_tile row = *t;
    int vectors = t->columns > SIDE ? 2 : 1;

    row.rows = 1;
    for (int i = 0; i < t->rows; i++) {
        __m512 parts[] = {_mm512_castsi512_ps(_mm512_loadu_si512(sums[i])),
                          _mm512_castsi512_ps(_mm512_loadu_si512(&sums[i][SIDE]))};

        row.c = brgemm_c_row(t, i, MR);
        if (t->finish != NULL) {
            finish = *t->finish;
            finish.residual =
                finish.residual != NULL ? brgemm_residual_row(t->finish, i, MR) : NULL;
            row.finish = &finish;
            brgemm_finish_floats_avx512(&row, 0, 1, vectors, MR, parts);
        }
        brgemm_store_floats_avx512(&row, 0, 1, vectors, MR, parts);
    }
}

static void tile(const brgemm_tile *t)
{
    uint32_t sums[MR][NR];

    amx_sum(t, sums, AMX_BF16);
    store(t, sums);
}

const brgemm_kernel brgemm_bf16_32x32__amx = {
    "brgemm_bf16_32x32__amx", BRGEMM_BF16, MR, NR, 2, tile, NULL};
