/* Portable tiles: the oracle. */
#include "kernels/brgemm/brgemm_variants.h"
#include "tensor/quantize.h"

enum { MR = 4, NR = 16 };

/* ---- finish ---- */

static void finish_floats(const brgemm_finish *f, int row, int columns, const float *values,
                          float *c)
{
    const float *residual = f->residual != NULL ? brgemm_residual_row(f, row, MR) : NULL;

    for (int j = 0; j < columns; j++) {
        float v = values[j];

        v += f->bias != NULL ? f->bias[j] : 0.0f;
        v += residual != NULL ? residual[j] : 0.0f;
        if (f->activate == NULL) { /* written so that NaN stays NaN */
            v = v < f->lower ? f->lower : v;
            v = v > f->upper ? f->upper : v;
        }
        c[j] = v;
    }
    if (f->activate != NULL) {
        f->activate(c, c, columns);
    }
}

static void store_floats(const brgemm_tile *t, float sums[MR][NR])
{
    for (int i = 0; i < t->rows; i++) {
        float *c = (float *)brgemm_c_row(t, i, MR);

        if (t->finish != NULL) {
            finish_floats(t->finish, i, t->columns, sums[i], c);
        } else {
            memcpy(c, sums[i], (size_t)t->columns * sizeof *c);
        }
    }
}

static void finish_sums(const brgemm_finish *f, int row, int columns, int32_t *sums, void *c)
{
    quantize_target target = {f->low, f->high, f->zero};
    uint32_t row_offset = f->row_offset != NULL ? (uint32_t)f->row_offset[row] : 0;
    float scaled[NR];
    uint8_t *bytes = c;

    for (int j = 0; j < columns; j++) {
        uint32_t offset = f->offset != NULL ? (uint32_t)f->offset[j] : 0;

        sums[j] = (int32_t)((uint32_t)sums[j] + offset + row_offset);
        scaled[j] = (float)sums[j] * (f->factor != NULL ? f->factor[j] : 1.0f);
    }
    if (f->result == BRGEMM_SUMS) {
        memcpy(c, sums, (size_t)columns * sizeof *sums);
    } else if (f->result == BRGEMM_FLOATS) {
        finish_floats(f, row, columns, scaled, c);
    } else {
        for (int j = 0; j < columns; j++) {
            bytes[j] = (uint8_t)quantize_scaled(scaled[j], target);
        }
    }
}

static void store_sums(const brgemm_tile *t, int32_t sums[MR][NR])
{
    for (int i = 0; i < t->rows; i++) {
        char *c = brgemm_c_row(t, i, MR);

        if (t->finish != NULL) {
            finish_sums(t->finish, i, t->columns, sums[i], c);
        } else {
            memcpy(c, sums[i], (size_t)t->columns * sizeof **sums);
        }
    }
}

/* Fills the sums that the tile starts from: elements of four bytes. */
static void start(const brgemm_tile *t, void *sums)
{
    memset(sums, 0, (size_t)MR * NR * 4);
    for (int i = 0; t->accumulate && i < t->rows; i++) {
        memcpy((char *)sums + (size_t)i * NR * 4, brgemm_c_row(t, i, MR), (size_t)t->columns * 4);
    }
}

/* ---- tiles ---- */

static void tile_f32(const brgemm_tile *t)
{
    float sums[MR][NR];
    const float *b = t->b;

    start(t, sums);
    for (int tap = 0; tap < t->taps; tap++) {
        for (int64_t k = 0; k < t->steps; k++) {
            for (int i = 0; i < t->rows; i++) {
                float a = ((const float *)(brgemm_a_row(t, i, MR) + t->tap_offsets[tap]))[k];

                for (int j = 0; j < NR; j++) {
                    sums[i][j] += a * b[j];
                }
            }
            b += NR;
        }
    }
    store_floats(t, sums);
}

static inline float widen(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

static void tile_bf16(const brgemm_tile *t)
{
    float sums[MR][NR];
    const uint16_t *b = t->b;

    start(t, sums);
    for (int tap = 0; tap < t->taps; tap++) {
        for (int64_t k = 0; k < t->steps; k++) {
            for (int i = 0; i < t->rows; i++) {
                const uint16_t *a =
                    (const uint16_t *)(brgemm_a_row(t, i, MR) + t->tap_offsets[tap]) + 2 * k;
                float a0 = widen(a[0]);
                float a1 = widen(a[1]);

                for (int j = 0; j < NR; j++) {
                    sums[i][j] += a0 * widen(b[2 * j]);
                    sums[i][j] += a1 * widen(b[2 * j + 1]);
                }
            }
            b += 2 * NR;
        }
    }
    store_floats(t, sums);
}

static void tile_s8(const brgemm_tile *t)
{
    int32_t sums[MR][NR];
    const int8_t *b = t->b;

    start(t, sums);
    for (int tap = 0; tap < t->taps; tap++) {
        for (int64_t k = 0; k < t->steps; k++) {
            for (int i = 0; i < t->rows; i++) {
                const uint8_t *a =
                    (const uint8_t *)(brgemm_a_row(t, i, MR) + t->tap_offsets[tap]) + 4 * k;

                for (int j = 0; j < NR; j++) {
                    int32_t sum = 0; /* of four products: far from overflow */

                    for (int part = 0; part < 4; part++) {
                        sum += (a[part] ^ t->flip) * b[4 * j + part];
                    }
                    sums[i][j] = (int32_t)((uint32_t)sums[i][j] + (uint32_t)sum);
                }
            }
            b += 4 * NR;
        }
    }
    store_sums(t, sums);
}

const brgemm_kernel brgemm_f32_4x16__generic = {
    "brgemm_f32_4x16__generic", BRGEMM_F32, MR, NR, 1, tile_f32, NULL};
const brgemm_kernel brgemm_bf16_4x16__generic = {
    "brgemm_bf16_4x16__generic", BRGEMM_BF16, MR, NR, 2, tile_bf16, NULL};
const brgemm_kernel brgemm_s8_4x16__generic = {
    "brgemm_s8_4x16__generic", BRGEMM_S8, MR, NR, 4, tile_s8, NULL};
