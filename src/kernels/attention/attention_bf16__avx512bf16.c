/* Attention whose products are taken of bf16 pairs (AVX512-BF16), two products per lane and
 * instruction; scores, softmax and sums are f32.
 *
 *   queries, weights: rows of bf16, pairs of neighbours broadcast as one lane
 *   keys:    panels of 32 keys, [pair of elements][key][2]
 *   values:  panels of 32 elements, [pair of keys][element][2] */
#include <immintrin.h>
#include <string.h>

#define TILE_ROWS 14
#include "kernels/attention/attention_exchange_avx512.h"
#include "kernels/attention/attention_f32_softmax.h"
#include "kernels/attention/attention_f32_variants.h"

enum { NR = TILE_COLUMNS, LANES = VEC_LANES };

/* ---- packing ---- */

static inline __mmask16 first_lanes(int64_t count)
{
    return count >= LANES ? 0xFFFF : (__mmask16)((1u << (count > 0 ? count : 0)) - 1);
}

/* Floats [at, at + 32) of a row with n, as bf16; zeros beyond. */
static inline __m512i narrow(const float *row, int64_t at, int64_t n, __m512 factor)
{
    __m512 low = _mm512_maskz_loadu_ps(first_lanes(n - at), row + at);
    __m512 high = _mm512_maskz_loadu_ps(first_lanes(n - at - LANES), row + at + LANES);

    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_mul_ps(high, factor), _mm512_mul_ps(low, factor));
}

static void pack_queries(const float *const *q, int rows, int64_t size, float factor, float *to)
{
    for (int r = 0; r < rows; r++, to += ATTENTION_PITCH) {
        for (int64_t i = 0; i < size; i += 2 * LANES) {
            _mm512_storeu_si512(to + i / 2, narrow(q[r], i, size, _mm512_set1_ps(factor)));
        }
    }
}

/* Elements [0, 32) of 16 keys as pairs, as far as both go; `is_whole` where both do. Steps that do
 * not exist are not stored. */
static inline __attribute__((always_inline)) void pack_square(const float *k, int64_t token,
                                                              int64_t keys, int64_t elements,
                                                              float *to, bool is_whole)
{
    __m512i x[LANES];

#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) {
        const float *row = k + i * token;

        if (is_whole) {
            x[i] = (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(row + LANES), _mm512_loadu_ps(row));
        } else {
            x[i] =
                i < keys ? narrow(row, 0, elements, _mm512_set1_ps(1.0f)) : _mm512_setzero_si512();
        }
    }
    attention_exchange(x);
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) {
        if (is_whole || 2 * i < elements) {
            _mm512_storeu_si512(to + i * NR, x[i]);
        }
    }
}

static void pack_keys(const float *k, int64_t token, int64_t n, int64_t size, float *to)
{
    int64_t pairs = (size + 1) / 2;

    for (int64_t key = 0; key < (n + NR - 1) / NR * NR; key += LANES) {
        float *panel = to + key / NR * NR * pairs + key % NR;

        for (int64_t at = 0; at < size; at += 2 * LANES) {
            const float *from = k + key * token + at;

            if (n - key >= LANES && size - at >= 2 * LANES) {
                pack_square(from, token, LANES, 2 * LANES, panel + at / 2 * NR, true);
            } else {
                pack_square(from, token, n - key, size - at, panel + at / 2 * NR, false);
            }
        }
    }
}

static void pack_values(const float *v, int64_t token, int64_t n, int64_t size, float *to)
{
    /* Word 2 i of the result from element i of the first row, 2 i + 1 from that of the second. */
    const __m512i order = _mm512_set_epi32(
        0x1F000F, 0x1E000E, 0x1D000D, 0x1C000C, 0x1B000B, 0x1A000A, 0x190009, 0x180008, 0x170007,
        0x160006, 0x150005, 0x140004, 0x130003, 0x120002, 0x110001, 0x100000);

    for (int64_t first = 0; first < size; first += NR) {
        for (int64_t key = 0; key < n; key += 2) {
            const float *row = v + key * token + first;

            for (int i = 0; i < NR; i += LANES) {
                __mmask16 mask = first_lanes(size - first - i);
                __m512 low = _mm512_maskz_loadu_ps(mask, row + i);
                __m512 high = _mm512_maskz_loadu_ps(key + 1 < n ? mask : 0, row + token + i);

                _mm512_storeu_si512(
                    to, _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(high, low)));
                to += LANES;
            }
        }
    }
}

/* ---- products ---- */

VEC_INLINE void attention_multiply(const float *a, const float *b, int64_t n, int first, int rows,
                                   int vectors, vec_f32 sum[TILE_ROWS][TILE_VECTORS])
{
#pragma GCC unroll 1
    for (int64_t k = 0; k < n; k++) {
        __m512bh column[TILE_VECTORS];

#pragma GCC unroll 2
        for (int i = 0; i < vectors; i++) {
            column[i] = (__m512bh)_mm512_loadu_ps(b + i * LANES);
        }
#pragma GCC unroll 16
        for (int r = first; r < rows; r++) {
            __m512bh x = (__m512bh)_mm512_set1_ps(a[r * ATTENTION_PITCH]);

#pragma GCC unroll 2
            for (int i = 0; i < vectors; i++) {
                sum[r][i] = (vec_f32)_mm512_dpbf16_ps((__m512)sum[r][i], x, column[i]);
            }
        }
        a++;
        b += NR;
    }
}

#include "kernels/attention/attention_f32_tiles.h"

static void scores(const float *q, const float *k, int rows, int64_t n, int64_t size, float *s)
{
    int64_t pairs = (size + 1) / 2;
    attention_operands o = {.a = q,
                            .b = k,
                            .n = pairs,
                            .b_panel = pairs * NR,
                            .c = s,
                            .c_pitch = ATTENTION_PITCH,
                            .columns = n};

    attention_tile_rows(&o, rows);
}

static void combine(const float *weights, const float *v, int rows, int64_t n, int64_t packed,
                    int64_t size, const attention_rows *state, float *o, int64_t pitch)
{
    attention_operands p = {.a = weights,
                            .b = v,
                            .n = (n + 1) / 2,
                            .b_panel = (packed + 1) / 2 * NR,
                            .decay = state != NULL ? state->decay : NULL,
                            .c = o,
                            .c_pitch = pitch,
                            .columns = size};

    attention_tile_rows(&p, rows);
}

/* As attention_exp2, to 9e-5 of the result: weights keep 8 bits, and the sum that they are divided
 * by is of the same ones. Coefficients: tools/vecmath/derive.py. */
VEC_INLINE vec_f32 exp2_short(vec_f32 x)
{
    vec_f32 f = (vec_f32)_mm512_reduce_ps((__m512)x, _MM_FROUND_TO_NEG_INF);
    vec_f32 p = vec_fma(vec_set(0.077067107f), f, vec_set(0.227644891f));

    p = vec_fma(p, f, vec_set(0.695116818f));
    return (vec_f32)_mm512_scalef_ps((__m512)vec_fma(p, f, vec_set(1.0f)), (__m512)x);
}

/* Weights take half the room of the scores that they replace. */
VEC_INLINE void store_bf16(float *row, int64_t at, vec_f32 first, vec_f32 second)
{
    _mm512_storeu_si512((uint16_t *)(void *)row + at,
                        (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first));
}

static const attention_weights weighing = {exp2_short, store_bf16};

static void weigh(float *s, int rows, int64_t n, attention_rows *state)
{
    attention_weigh(s, rows, n, state, &weighing, false);
}

static void normalise(float *s, int rows, int64_t n, const attention_rows *state)
{
    attention_normalise(s, rows, n, state, &weighing);
}

const attention_kernel attention_bf16_14x32__avx512bf16 = {.name =
                                                               "attention_bf16_14x32__avx512bf16",
                                                           .mr = TILE_ROWS,
                                                           .nr = NR,
                                                           .pack_queries = pack_queries,
                                                           .pack_keys = pack_keys,
                                                           .pack_values = pack_values,
                                                           .scores = scores,
                                                           .add = attention_add,
                                                           .weigh = weigh,
                                                           .combine = combine,
                                                           .finish = attention_finish,
                                                           .normalise = normalise};
