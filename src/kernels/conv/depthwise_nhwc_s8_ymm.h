/* What depthwise_nhwc_s8_body.h does with registers of 256 bits. */
#ifndef KERNELS_CONV_DEPTHWISE_NHWC_S8_YMM_H
#define KERNELS_CONV_DEPTHWISE_NHWC_S8_YMM_H

#include <immintrin.h>
#include <stdint.h>

#define DS_INLINE static inline __attribute__((always_inline))

typedef __m256i ds_vector;

DS_INLINE ds_vector ds_set_bytes(char x)
{
    return _mm256_set1_epi8(x);
}

DS_INLINE ds_vector ds_set_words(int16_t x)
{
    return _mm256_set1_epi16(x);
}

DS_INLINE ds_vector ds_load_all(const void *from)
{
    return _mm256_loadu_si256((const __m256i *)from);
}

DS_INLINE void ds_store_all(void *to, ds_vector x)
{
    _mm256_storeu_si256((__m256i *)to, x);
}

DS_INLINE ds_vector ds_flip(ds_vector x, ds_vector flip)
{
    return _mm256_xor_si256(x, flip);
}

/* Byte i of the result is byte where[i] < 16 of x. */
DS_INLINE ds_vector ds_spread(ds_vector x, ds_vector where)
{
    return _mm256_shuffle_epi8(_mm256_permute2x128_si256(x, x, 0), where);
}

/* Sums times factors, rounded half to even. */
DS_INLINE ds_vector ds_round(ds_vector sums, const float *factor)
{
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_loadu_ps(factor)));
}

/* Saturated to signed words, within each 128 bits. */
DS_INLINE ds_vector ds_pack_sums(ds_vector a, ds_vector b)
{
    return _mm256_packs_epi32(a, b);
}

/* Saturated to unsigned bytes, within each 128 bits. */
DS_INLINE ds_vector ds_pack_words(ds_vector a, ds_vector b)
{
    return _mm256_packus_epi16(a, b);
}

/* Saturating. */
DS_INLINE ds_vector ds_add_words(ds_vector a, ds_vector b)
{
    return _mm256_adds_epi16(a, b);
}

DS_INLINE ds_vector ds_least_bytes(ds_vector a, ds_vector b)
{
    return _mm256_min_epu8(a, b);
}

DS_INLINE ds_vector ds_add_bytes(ds_vector a, ds_vector b)
{
    return _mm256_add_epi8(a, b);
}

#endif
