/* Tile of 8 rows x 8 columns with the dot products of signed bytes of Armv8.2: 16 accumulators.
 *
 * A comes as unsigned bytes, a = s + 128, so that the sum of a x b is that of s x b and 128 times
 * the sum of b, which each tile adds up beside its rows. */
#include <arm_neon.h>

#include "kernels/brgemm/brgemm_s8_finish_body.h"

enum { MR = 8, NR = 8, HALF_BYTES = 16, STEP_BYTES = NR * 4 };

/* Rows that the tile lacks repeat its first. */
static void tile(const brgemm_tile *t)
{
    const int8x16_t flip = vdupq_n_s8((int8_t)(t->flip ^ 0x80));
    const int8x16_t one = vdupq_n_s8(1);
    const int8_t *rows[MR];
    const int8_t *b = t->b;
    int32x4_t sums[MR][2];
    int32x4_t ones[2] = {vdupq_n_s32(0), vdupq_n_s32(0)}; /* sums of b */

#pragma GCC unroll 8
    for (int i = 0; i < MR; i++) {
        rows[i] = (const int8_t *)brgemm_a_row(t, i < t->rows ? i : 0, MR);
        sums[i][0] = vdupq_n_s32(0);
        sums[i][1] = vdupq_n_s32(0);
    }
    for (int tap = 0; tap < t->taps; tap++) {
        int64_t offset = t->tap_offsets[tap];

        for (int64_t step = 0; step < t->steps; step++) {
            int8x16_t b0 = vld1q_s8(b);
            int8x16_t b1 = vld1q_s8(b + HALF_BYTES);

            ones[0] = vdotq_s32(ones[0], b0, one);
            ones[1] = vdotq_s32(ones[1], b1, one);
#pragma GCC unroll 8
            for (int i = 0; i < MR; i++) {
                int32_t four;
                int8x16_t x;

                memcpy(&four, rows[i] + offset + 4 * step, sizeof four);
                x = veorq_s8(vreinterpretq_s8_s32(vdupq_n_s32(four)), flip);
                sums[i][0] = vdotq_s32(sums[i][0], x, b0);
                sums[i][1] = vdotq_s32(sums[i][1], x, b1);
            }
            b += STEP_BYTES;
        }
    }
    for (int i = 0; i < t->rows; i++) {
        int32_t row[NR];

        vst1q_s32(row, vaddq_s32(sums[i][0], vshlq_n_s32(ones[0], 7)));
        vst1q_s32(row + 4, vaddq_s32(sums[i][1], vshlq_n_s32(ones[1], 7)));
        brgemm_s8_store_row(t, i, MR, row);
    }
}

const brgemm_kernel brgemm_s8_8x8__neondot = {
    "brgemm_s8_8x8__neondot", BRGEMM_S8, MR, NR, 4, tile, isa_has_dot};
