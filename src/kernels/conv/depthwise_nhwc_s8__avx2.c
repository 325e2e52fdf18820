/* The channels-last depthwise kernel for bytes with AVX2: bytes are widened to 16 bits and two
 * kernel rows summed per instruction, so that weights with a zero point fit too. */
#include "kernels/conv/depthwise_nhwc_variants.h"

#include <string.h>

#include "kernels/conv/depthwise_nhwc_s8_ymm.h"

enum { DS_GROUP = 2, DS_HOLDS_WEIGHTS = 0 };

DS_INLINE ds_vector ds_add_products(ds_vector sums, ds_vector column, ds_vector weights)
{
    return _mm256_add_epi32(sums, _mm256_madd_epi16(column, weights));
}

DS_INLINE void ds_interleave(const ds_vector *rows, ds_vector *to)
{
    ds_vector low = _mm256_unpacklo_epi8(rows[0], rows[1]);
    ds_vector high = _mm256_unpackhi_epi8(rows[0], rows[1]);
    ds_vector none = _mm256_setzero_si256();

    to[0] = _mm256_unpacklo_epi8(low, none);
    to[1] = _mm256_unpackhi_epi8(low, none);
    to[2] = _mm256_unpacklo_epi8(high, none);
    to[3] = _mm256_unpackhi_epi8(high, none);
}

static inline ds_vector ds_load_first(const uint8_t *from, int count)
{
    uint8_t bytes[32] = {0};

    memcpy(bytes, from, (size_t)count);
    return _mm256_loadu_si256((const ds_vector *)(const void *)bytes);
}

static inline void ds_store_first(uint8_t *to, ds_vector x, int count)
{
    uint8_t bytes[32];

    _mm256_storeu_si256((ds_vector *)(void *)bytes, x);
    memcpy(to, bytes, (size_t)count);
}

#include "kernels/conv/depthwise_nhwc_s8_body.h"

static void run(const depthwise_nhwc_band *b)
{
    ds_band(b);
}

const depthwise_nhwc_kernel depthwise_nhwc_s8__avx2 = {
    "depthwise_nhwc_s8__avx2", BRGEMM_S8, DS_LANES, DS_GROUP, 1, run};
