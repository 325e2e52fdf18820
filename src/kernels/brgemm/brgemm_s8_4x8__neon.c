/* NEON tile of 4 rows x 8 columns, of signed bytes: smull gives products of 16 bits, sadalp adds
 * them exactly, in pairs, to 32 bits.
 *
 * A comes as unsigned bytes, a = s + 128, so that the sum of a x b is that of s x b and 128 times
 * the sum of b, which each tile adds up beside its rows. */
#include <arm_neon.h>

#include "kernels/brgemm/brgemm_s8_finish_body.h"

enum { MR = 4, NR = 8, PARTS = 4, PART_BYTES = 8, STEP_BYTES = NR * 4 };

/* sums[part] holds two partial sums for each of two columns. */
static inline __attribute__((always_inline)) void combine(const int32x4_t sums[PARTS],
                                                          int32x4_t to[2])
{
    to[0] = vpaddq_s32(sums[0], sums[1]);
    to[1] = vpaddq_s32(sums[2], sums[3]);
}

/* Rows that the tile lacks repeat its first. */
static void tile(const brgemm_tile *t)
{
    const int8x8_t flip = vdup_n_s8((int8_t)(t->flip ^ 0x80));
    const int8_t *rows[MR];
    const int8_t *b = t->b;
    int32x4_t sums[MR][PARTS];
    int32x4_t ones[PARTS]; /* sums of b */
    int32x4_t all[2];

#pragma GCC unroll 4
    for (int part = 0; part < PARTS; part++) {
        ones[part] = vdupq_n_s32(0);
    }
#pragma GCC unroll 4
    for (int i = 0; i < MR; i++) {
        rows[i] = (const int8_t *)brgemm_a_row(t, i < t->rows ? i : 0, MR);
#pragma GCC unroll 4
        for (int part = 0; part < PARTS; part++) {
            sums[i][part] = vdupq_n_s32(0);
        }
    }
    for (int tap = 0; tap < t->taps; tap++) {
        int64_t offset = t->tap_offsets[tap];

        for (int64_t step = 0; step < t->steps; step++) {
            int8x8_t columns[PARTS];

#pragma GCC unroll 4
            for (int part = 0; part < PARTS; part++) {
                columns[part] = vld1_s8(b + part * PART_BYTES);
                ones[part] = vpadalq_s16(ones[part], vmovl_s8(columns[part]));
            }
#pragma GCC unroll 4
            for (int i = 0; i < MR; i++) {
                int32_t four;
                int8x8_t x;

                memcpy(&four, rows[i] + offset + 4 * step, sizeof four);
                x = veor_s8(vreinterpret_s8_s32(vdup_n_s32(four)), flip);
#pragma GCC unroll 4
                for (int part = 0; part < PARTS; part++) {
                    sums[i][part] = vpadalq_s16(sums[i][part], vmull_s8(x, columns[part]));
                }
            }
            b += STEP_BYTES;
        }
    }
    combine(ones, all);
    for (int i = 0; i < t->rows; i++) {
        int32_t row[NR];
        int32x4_t own[2];

        combine(sums[i], own);
        vst1q_s32(row, vaddq_s32(own[0], vshlq_n_s32(all[0], 7)));
        vst1q_s32(row + 4, vaddq_s32(own[1], vshlq_n_s32(all[1], 7)));
        brgemm_s8_store_row(t, i, MR, row);
    }
}

const brgemm_kernel brgemm_s8_4x8__neon = {"brgemm_s8_4x8__neon", BRGEMM_S8, MR, NR, 4, tile, NULL};
