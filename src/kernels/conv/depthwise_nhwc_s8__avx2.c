/* The channels-last depthwise kernel for bytes with AVX2: bytes are widened to 16 bits and two kernel
 * rows summed per instruction, so that weights with a zero point fit too. */
#include "kernels/conv/depthwise_nhwc_variants.h"

#include <immintrin.h>
#include <string.h>

enum { DS_GROUP = 2 };

static inline __attribute__((always_inline)) __m256i ds_add_products(__m256i sums, __m256i column,
                                                                     __m256i weights)
{
    return _mm256_add_epi32(sums, _mm256_madd_epi16(column, weights));
}

static inline __attribute__((always_inline)) void ds_interleave(const __m256i *rows, __m256i *to)
{
    __m256i low = _mm256_unpacklo_epi8(rows[0], rows[1]);
    __m256i high = _mm256_unpackhi_epi8(rows[0], rows[1]);
    __m256i none = _mm256_setzero_si256();

    to[0] = _mm256_unpacklo_epi8(low, none);
    to[1] = _mm256_unpackhi_epi8(low, none);
    to[2] = _mm256_unpacklo_epi8(high, none);
    to[3] = _mm256_unpackhi_epi8(high, none);
}

static inline __m256i ds_load_first(const uint8_t *from, int count)
{
    uint8_t bytes[32] = {0};

    memcpy(bytes, from, (size_t)count);
    return _mm256_loadu_si256((const __m256i *)(const void *)bytes);
}

static inline void ds_store_first(uint8_t *to, __m256i x, int count)
{
    uint8_t bytes[32];

    _mm256_storeu_si256((__m256i *)(void *)bytes, x);
    memcpy(to, bytes, (size_t)count);
}

#include "kernels/conv/depthwise_nhwc_s8_body.h"

static void run(const depthwise_nhwc_band *b)
{
    ds_band(b);
}

const depthwise_nhwc_kernel depthwise_nhwc_s8__avx2 = {
    "depthwise_nhwc_s8__avx2", BRGEMM_S8, DS_LANES, DS_GROUP, 1, run};
