/* The channels-last depthwise kernel for bytes with AVX-512 VNNI: four kernel rows per instruction,
 * in registers of 512 bits. */
#include "kernels/conv/depthwise_nhwc_variants.h"

#include <immintrin.h>

#define DS_INLINE static inline __attribute__((always_inline))

enum { DS_GROUP = 4, DS_HOLDS_WEIGHTS = 1 };

typedef __m512i ds_vector;

DS_INLINE ds_vector ds_set_bytes(char x)
{
    return _mm512_set1_epi8(x);
}

DS_INLINE ds_vector ds_set_words(int16_t x)
{
    return _mm512_set1_epi16(x);
}

DS_INLINE ds_vector ds_load_all(const void *from)
{
    return _mm512_loadu_si512(from);
}

DS_INLINE void ds_store_all(void *to, ds_vector x)
{
    _mm512_storeu_si512(to, x);
}

DS_INLINE ds_vector ds_flip(ds_vector x, ds_vector flip)
{
    return _mm512_xor_si512(x, flip);
}

/* Never needed: repeated channels are left to narrower blocks, whose sources fit 16 bytes. */
DS_INLINE ds_vector ds_spread(ds_vector x, ds_vector where)
{
    (void)where;
    return x;
}

/* Sums times factors, rounded half to even. */
DS_INLINE ds_vector ds_round(ds_vector sums, const float *factor)
{
    return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), _mm512_loadu_ps(factor)));
}

/* Saturated to signed words, within each 128 bits. */
DS_INLINE ds_vector ds_pack_sums(ds_vector a, ds_vector b)
{
    return _mm512_packs_epi32(a, b);
}

/* Saturated to unsigned bytes, within each 128 bits. */
DS_INLINE ds_vector ds_pack_words(ds_vector a, ds_vector b)
{
    return _mm512_packus_epi16(a, b);
}

/* Saturating. */
DS_INLINE ds_vector ds_add_words(ds_vector a, ds_vector b)
{
    return _mm512_adds_epi16(a, b);
}

DS_INLINE ds_vector ds_least_bytes(ds_vector a, ds_vector b)
{
    return _mm512_min_epu8(a, b);
}

DS_INLINE ds_vector ds_add_bytes(ds_vector a, ds_vector b)
{
    return _mm512_add_epi8(a, b);
}

DS_INLINE ds_vector ds_add_products(ds_vector sums, ds_vector column, ds_vector weights)
{
    return _mm512_dpbusd_epi32(sums, column, weights);
}

DS_INLINE void ds_interleave(const ds_vector *rows, ds_vector *to)
{
    ds_vector low01 = _mm512_unpacklo_epi8(rows[0], rows[1]);
    ds_vector high01 = _mm512_unpackhi_epi8(rows[0], rows[1]);
    ds_vector low23 = _mm512_unpacklo_epi8(rows[2], rows[3]);
    ds_vector high23 = _mm512_unpackhi_epi8(rows[2], rows[3]);

    to[0] = _mm512_unpacklo_epi16(low01, low23);
    to[1] = _mm512_unpackhi_epi16(low01, low23);
    to[2] = _mm512_unpacklo_epi16(high01, high23);
    to[3] = _mm512_unpackhi_epi16(high01, high23);
}

DS_INLINE __mmask64 first(int count)
{
    return (__mmask64)(count == 64 ? ~(uint64_t)0 : ((uint64_t)1 << count) - 1);
}

DS_INLINE ds_vector ds_load_first(const uint8_t *from, int count)
{
    return _mm512_maskz_loadu_epi8(first(count), from);
}

DS_INLINE void ds_store_first(uint8_t *to, ds_vector x, int count)
{
    _mm512_mask_storeu_epi8(to, first(count), x);
}

#include "kernels/conv/depthwise_nhwc_s8_body.h"

static void run(const depthwise_nhwc_band *b)
{
    ds_band(b);
}

const depthwise_nhwc_kernel depthwise_nhwc_s8_64__avx512vnni = {
    "depthwise_nhwc_s8_64__avx512vnni", BRGEMM_S8, DS_LANES, DS_GROUP, 1, run};
