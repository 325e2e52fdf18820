/* The channels-last depthwise kernel for bytes with AVX-512 VNNI: four kernel rows per instruction,
 * in registers of 256 bits: for channels that are no multiple of 64. */
#include "kernels/conv/depthwise_nhwc_variants.h"

#include "kernels/conv/depthwise_nhwc_s8_ymm.h"

enum { DS_GROUP = 4, DS_HOLDS_WEIGHTS = 1 };

DS_INLINE ds_vector ds_add_products(ds_vector sums, ds_vector column, ds_vector weights)
{
    return _mm256_dpbusd_epi32(sums, column, weights);
}

DS_INLINE void ds_interleave(const ds_vector *rows, ds_vector *to)
{
    ds_vector low01 = _mm256_unpacklo_epi8(rows[0], rows[1]);
    ds_vector high01 = _mm256_unpackhi_epi8(rows[0], rows[1]);
    ds_vector low23 = _mm256_unpacklo_epi8(rows[2], rows[3]);
    ds_vector high23 = _mm256_unpackhi_epi8(rows[2], rows[3]);

    to[0] = _mm256_unpacklo_epi16(low01, low23);
    to[1] = _mm256_unpackhi_epi16(low01, low23);
    to[2] = _mm256_unpacklo_epi16(high01, high23);
    to[3] = _mm256_unpackhi_epi16(high01, high23);
}

DS_INLINE __mmask32 first(int count)
{
    return (__mmask32)(((uint64_t)1 << count) - 1);
}

DS_INLINE ds_vector ds_load_first(const uint8_t *from, int count)
{
    return _mm256_maskz_loadu_epi8(first(count), from);
}

DS_INLINE void ds_store_first(uint8_t *to, ds_vector x, int count)
{
    _mm256_mask_storeu_epi8(to, first(count), x);
}

#include "kernels/conv/depthwise_nhwc_s8_body.h"

static void run(const depthwise_nhwc_band *b)
{
    ds_band(b);
}

const depthwise_nhwc_kernel depthwise_nhwc_s8_32__avx512vnni = {
    "depthwise_nhwc_s8_32__avx512vnni", BRGEMM_S8, DS_LANES, DS_GROUP, 1, run};
