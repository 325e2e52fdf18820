/* The channels-last depthwise kernel for bytes with AVX-512 VNNI: four kernel rows per instruction,
 * in registers of 256 bits, whose 32 channels fit more networks than 64 do. */
#include "kernels/conv/depthwise_nhwc_variants.h"

#include <immintrin.h>

enum { DS_GROUP = 4 };

static inline __attribute__((always_inline)) __m256i ds_add_products(__m256i sums, __m256i column,
                                                                     __m256i weights)
{
    return _mm256_dpbusd_epi32(sums, column, weights);
}

static inline __attribute__((always_inline)) void ds_interleave(const __m256i *rows, __m256i *to)
{
    __m256i low01 = _mm256_unpacklo_epi8(rows[0], rows[1]);
    __m256i high01 = _mm256_unpackhi_epi8(rows[0], rows[1]);
    __m256i low23 = _mm256_unpacklo_epi8(rows[2], rows[3]);
    __m256i high23 = _mm256_unpackhi_epi8(rows[2], rows[3]);

    to[0] = _mm256_unpacklo_epi16(low01, low23);
    to[1] = _mm256_unpackhi_epi16(low01, low23);
    to[2] = _mm256_unpacklo_epi16(high01, high23);
    to[3] = _mm256_unpackhi_epi16(high01, high23);
}

static inline __attribute__((always_inline)) __mmask32 first(int count)
{
    return (__mmask32)(((uint64_t)1 << count) - 1);
}

static inline __attribute__((always_inline)) __m256i ds_load_first(const uint8_t *from, int count)
{
    return _mm256_maskz_loadu_epi8(first(count), from);
}

static inline __attribute__((always_inline)) void ds_store_first(uint8_t *to, __m256i x, int count)
{
    _mm256_mask_storeu_epi8(to, first(count), x);
}

#include "kernels/conv/depthwise_nhwc_s8_body.h"

static void run(const depthwise_nhwc_band *b)
{
    ds_band(b);
}

const depthwise_nhwc_kernel depthwise_nhwc_s8__avx512vnni = {
    "depthwise_nhwc_s8__avx512vnni", BRGEMM_S8, DS_LANES, DS_GROUP, 1, run};
