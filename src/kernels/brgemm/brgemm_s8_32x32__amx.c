/* AMX tile of bytes.
 *
 * Signed A counts as unsigned, a + 128: its products are made of the signed bytes where they lie,
 * and 128 times the sum of each column of B is added at the end. */
#include "kernels/brgemm/brgemm_amx_body.h"
#include "kernels/brgemm/brgemm_s8_finish_body.h"

/* Sums of the columns of B: each step has four bytes of every column. Bytes of B count as unsigned
 * here, 128 too many each. */
static void sum_columns(const brgemm_tile *t, uint32_t totals[NR])
{
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    const __m512i one = _mm512_set1_epi8(1);
    const __m512i pairs = _mm512_set1_epi16(1);
    __m512i sum[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    const char *b = t->b;
    int64_t steps = t->taps * t->steps;

    for (int64_t step = 0; step < steps; step++) {
        for (int half = 0; half < 2; half++) {
            __m512i x = _mm512_xor_si512(_mm512_loadu_si512(b + half * LINE), flip);
            __m512i two = _mm512_maddubs_epi16(x, one); /* 510 at most */

            sum[half] = _mm512_add_epi32(sum[half], _mm512_madd_epi16(two, pairs));
        }
        b += PANEL_LINE;
    }
    for (int half = 0; half < 2; half++) {
        __m512i excess = _mm512_set1_epi32((int32_t)((uint32_t)steps * STEP * 128U));

        _mm512_storeu_si512(totals + half * SIDE, _mm512_sub_epi32(sum[half], excess));
    }
}

static void tile(const brgemm_tile *t)
{
    uint32_t sums[MR][NR];
    uint32_t totals[NR] = {0};
    brgemm_tile plain = *t;

    if (t->flip != 0) {
        sum_columns(t, totals);
        amx_sum(t, sums, AMX_SIGNED);
    } else {
        amx_sum(t, sums, AMX_UNSIGNED);
    }
    plain.accumulate = false; /* that is in the sums already */
    for (int i = 0; i < t->rows; i++) {
        int32_t row[NR];

        for (int j = 0; j < NR; j++) {
            row[j] = (int32_t)(sums[i][j] + (totals[j] << 7));
        }
        brgemm_s8_store_row(&plain, i, MR, row);
    }
}

const brgemm_kernel brgemm_s8_32x32__amx = {
    "brgemm_s8_32x32__amx", BRGEMM_S8, MR, NR, 4, tile, NULL};
