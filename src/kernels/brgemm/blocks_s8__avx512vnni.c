/* AVX-512 VNNI: six rows leave room for the sums of a block and the results so far, both in
 * registers. A block costs a conversion, a product and a sum per vector of results beside one
 * instruction per four k. */
#include <immintrin.h>

#include "kernels/brgemm/blocks_s8.h"
#include "kernels/brgemm/brgemm_variants.h"

enum { MR = 6, NR = 32, LANES = 16, PARTS = 2 };

static inline __attribute__((always_inline)) __m512i four_bytes(const uint8_t *a, __m512i flip)
{
    int32_t word;

    memcpy(&word, a, sizeof word);
    return _mm512_xor_si512(_mm512_set1_epi32(word), flip);
}

static inline __attribute__((always_inline)) __mmask16 lanes_of(int columns, int part)
{
    int left = columns - part * LANES;

    return (__mmask16)(left >= LANES ? 0xFFFF : (1u << (left > 0 ? left : 0)) - 1);
}

/* Sums of the steps [begin, end), which start from the offsets. */
static inline __attribute__((always_inline)) void sum_block(const blocks_s8_tile *t, int rows,
                                                            int64_t begin, int64_t end,
                                                            __m512i sums[MR][PARTS])
{
    const uint8_t *b = t->b + begin * 4 * NR;
    const uint8_t *a = t->a + begin * 4;
    __m512i flip = _mm512_set1_epi8((char)t->flip);

    for (int64_t step = begin; step < end; step++) {
        __m512i left = _mm512_loadu_si512(b);
        __m512i right = _mm512_loadu_si512(b + 64);

#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            __m512i x = four_bytes(a + i * t->a_pitch, flip);

            sums[i][0] = _mm512_dpbusd_epi32(sums[i][0], x, left);
            sums[i][1] = _mm512_dpbusd_epi32(sums[i][1], x, right);
        }
        a += 4;
        b += 4 * NR;
    }
}

static inline __attribute__((always_inline)) void store(const blocks_s8_tile *t, int rows,
                                                        const __mmask16 *lanes,
                                                        __m512 results[MR][PARTS])
{
#pragma GCC unroll 2
    for (int part = 0; part < PARTS; part++) {
        __m512 lower = _mm512_set1_ps(t->lower);
        __m512 upper = _mm512_set1_ps(t->upper);
        __m512 bias = t->bias != NULL ? _mm512_maskz_loadu_ps(lanes[part], t->bias + part * LANES)
                                      : _mm512_setzero_ps();

#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            /* The second operand comes back when one is NaN. */
            __m512 v = _mm512_add_ps(results[i][part], bias);

            v = _mm512_min_ps(upper, _mm512_max_ps(lower, v));
            _mm512_mask_storeu_ps(t->c + i * t->c_pitch + part * LANES, lanes[part], v);
        }
    }
}

static inline __attribute__((always_inline)) void run(const blocks_s8_tile *t, int rows)
{
    const __mmask16 lanes[PARTS] = {lanes_of(t->columns, 0), lanes_of(t->columns, 1)};
    __m512 results[MR][PARTS];
    __m512i sums[MR][PARTS];

#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        results[i][0] = _mm512_setzero_ps();
        results[i][1] = _mm512_setzero_ps();
    }
    for (int64_t step = 0, block = 0; step < t->steps; step += t->block, block++) {
        const int32_t *offsets = t->offsets + block * t->pitch;
        const float *factors = t->factors + block * t->pitch;
        int64_t end = t->steps - step < t->block ? t->steps : step + t->block;

#pragma GCC unroll 2
        for (int part = 0; part < PARTS; part++) {
            __m512i offset = _mm512_maskz_loadu_epi32(lanes[part], offsets + part * LANES);

#pragma GCC unroll 6
            for (int i = 0; i < rows; i++) {
                sums[i][part] = offset;
            }
        }
        sum_block(t, rows, step, end, sums);
#pragma GCC unroll 2
        for (int part = 0; part < PARTS; part++) {
            __m512 factor = _mm512_maskz_loadu_ps(lanes[part], factors + part * LANES);

#pragma GCC unroll 6
            for (int i = 0; i < rows; i++) {
                results[i][part] = _mm512_add_ps(
                    results[i][part], _mm512_mul_ps(_mm512_cvtepi32_ps(sums[i][part]), factor));
            }
        }
    }
    store(t, rows, lanes, results);
}

static void tile(const blocks_s8_kernel *kernel, const blocks_s8_tile *t)
{
    (void)kernel;
    switch (t->rows) {
    case 1: run(t, 1); break;
    case 2: run(t, 2); break;
    case 3: run(t, 3); break;
    case 4: run(t, 4); break;
    case 5: run(t, 5); break;
    default: run(t, MR); break;
    }
}

const blocks_s8_kernel blocks_s8_6x32__avx512vnni = {"blocks_s8_6x32__avx512vnni", MR,
                                                     &brgemm_s8_14x32__avx512vnni, tile};
