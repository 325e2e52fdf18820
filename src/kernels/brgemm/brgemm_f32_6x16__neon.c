/* NEON tile of 6 rows x 16 columns: 24 accumulators, 4 registers of B, a scalar of A. */
#include <arm_neon.h>
#include <math.h>

#include "kernels/brgemm/brgemm_variants.h"

#define INLINE static inline __attribute__((always_inline))

enum { MR = 6, NR = 16, LANES = 4, PARTS = NR / LANES };

/* The first `columns` numbers of a row of C or of what is added to it; zeros beyond. */
INLINE void load_row(const float *from, int columns, float32x4_t to[PARTS])
{
    float room[NR] = {0};

    if (columns < NR) {
        memcpy(room, from, (size_t)columns * sizeof *from);
        from = room;
    }
#pragma GCC unroll 4
    for (int part = 0; part < PARTS; part++) {
        to[part] = vld1q_f32(from + part * LANES);
    }
}

INLINE void store_row(float *to, int columns, const float32x4_t from[PARTS])
{
    float room[NR];
    float *place = columns < NR ? room : to;

#pragma GCC unroll 4
    for (int part = 0; part < PARTS; part++) {
        vst1q_f32(place + part * LANES, from[part]);
    }
    if (columns < NR) {
        memcpy(to, room, (size_t)columns * sizeof *to);
    }
}

/* Bias, residual and clamp or activation of one row. A number that is not one passes through:
 * comparisons with it are false. */
INLINE void finish_row(const brgemm_tile *t, int row, float32x4_t sums[PARTS])
{
    const brgemm_finish *f = t->finish;
    float32x4_t more[PARTS];

    if (f->bias != NULL) {
        load_row(f->bias, t->columns, more);
#pragma GCC unroll 4
        for (int part = 0; part < PARTS; part++) {
            sums[part] = vaddq_f32(sums[part], more[part]);
        }
    }
    if (f->residual != NULL) {
        load_row(brgemm_residual_row(f, row, MR), t->columns, more);
#pragma GCC unroll 4
        for (int part = 0; part < PARTS; part++) {
            sums[part] = vaddq_f32(sums[part], more[part]);
        }
    }
    if (f->activate == NULL) {
        float32x4_t lower = vdupq_n_f32(f->lower);
        float32x4_t upper = vdupq_n_f32(f->upper);

#pragma GCC unroll 4
        for (int part = 0; part < PARTS; part++) {
            sums[part] = vbslq_f32(vcltq_f32(sums[part], lower), lower, sums[part]);
            sums[part] = vbslq_f32(vcgtq_f32(sums[part], upper), upper, sums[part]);
        }
    }
}

INLINE void finish(const brgemm_tile *t, int rows, float32x4_t sums[MR][PARTS])
{
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        float *c = (float *)(void *)brgemm_c_row(t, i, MR);

        if (t->finish != NULL) {
            finish_row(t, i, sums[i]);
        }
        store_row(c, t->columns, sums[i]);
        if (t->finish != NULL && t->finish->activate != NULL) {
            t->finish->activate(c, c, t->columns);
        }
    }
}

/* `rows` is a constant at every call, so that the accumulators become registers. */
INLINE void tile_of(const brgemm_tile *t, int rows)
{
    float32x4_t sums[MR][PARTS];
    const float *b = t->b;

#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        if (t->accumulate) {
            load_row((const float *)(void *)brgemm_c_row(t, i, MR), t->columns, sums[i]);
        } else {
            sums[i][0] = sums[i][1] = sums[i][2] = sums[i][3] = vdupq_n_f32(0.0f);
        }
    }
    for (int tap = 0; tap < t->taps; tap++) {
        int64_t offset = t->tap_offsets[tap];

        for (int64_t k = 0; k < t->steps; k++) {
            float32x4_t b0 = vld1q_f32(b);
            float32x4_t b1 = vld1q_f32(b + LANES);
            float32x4_t b2 = vld1q_f32(b + 2 * LANES);
            float32x4_t b3 = vld1q_f32(b + 3 * LANES);

#pragma GCC unroll 6
            for (int i = 0; i < rows; i++) {
                float a = ((const float *)(const void *)(brgemm_a_row(t, i, MR) + offset))[k];

                sums[i][0] = vfmaq_n_f32(sums[i][0], b0, a);
                sums[i][1] = vfmaq_n_f32(sums[i][1], b1, a);
                sums[i][2] = vfmaq_n_f32(sums[i][2], b2, a);
                sums[i][3] = vfmaq_n_f32(sums[i][3], b3, a);
            }
            b += NR;
        }
    }
    finish(t, rows, sums);
}

static void tile(const brgemm_tile *t)
{
    switch (t->rows) {
    case 6: tile_of(t, 6); break;
    case 5: tile_of(t, 5); break;
    case 4: tile_of(t, 4); break;
    case 3: tile_of(t, 3); break;
    case 2: tile_of(t, 2); break;
    default: tile_of(t, 1); break;
    }
}

const brgemm_kernel brgemm_f32_6x16__neon = {
    "brgemm_f32_6x16__neon", BRGEMM_F32, MR, NR, 1, tile, NULL};
