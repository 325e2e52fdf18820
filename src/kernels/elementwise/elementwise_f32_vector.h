/* A vector of floats of the width that this file is compiled for, and what the elementwise kernels
 * do with it. Arithmetic and comparisons are the compiler's own vector operators; here are only the
 * operations that they lack. */
#ifndef KERNELS_ELEMENTWISE_ELEMENTWISE_F32_VECTOR_H
#define KERNELS_ELEMENTWISE_ELEMENTWISE_F32_VECTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
enum { VEC_LANES = 16 };
#elif defined(__AVX2__)
enum { VEC_LANES = 8 };
#else
enum { VEC_LANES = 4 };
#endif

typedef float vec_f32 __attribute__((vector_size(VEC_LANES * 4)));
typedef int32_t vec_i32 __attribute__((vector_size(VEC_LANES * 4)));
typedef uint32_t vec_u32 __attribute__((vector_size(VEC_LANES * 4)));

#define VEC_INLINE static inline __attribute__((always_inline))

VEC_INLINE vec_f32 vec_set(float x)
{
    return x - (vec_f32){0};
}

VEC_INLINE vec_i32 vec_set_i32(int32_t x)
{
    return x - (vec_i32){0};
}

VEC_INLINE vec_f32 vec_load(const float *from)
{
    vec_f32 x;

    memcpy(&x, from, sizeof x);
    return x;
}

VEC_INLINE void vec_store(float *to, vec_f32 x)
{
    memcpy(to, &x, sizeof x);
}

/* mask ? a : b, lane by lane; the lanes of a mask are 0 or -1, as comparisons give them. */
VEC_INLINE vec_f32 vec_select(vec_i32 mask, vec_f32 a, vec_f32 b)
{
    return (vec_f32)((mask & (vec_i32)a) | (~mask & (vec_i32)b));
}

VEC_INLINE vec_f32 vec_abs(vec_f32 x)
{
    return (vec_f32)((vec_i32)x & vec_set_i32(0x7FFFFFFF));
}

/* The sign of `sign` set on an x that is positive or has it already. */
VEC_INLINE vec_f32 vec_with_sign(vec_f32 x, vec_f32 sign)
{
    return (vec_f32)((vec_i32)x | ((vec_i32)sign & vec_set_i32(INT32_MIN)));
}

#if defined(__AVX512F__)

VEC_INLINE __mmask16 vec_first(int64_t count)
{
    return (__mmask16)((1u << count) - 1);
}

/* The first `count` < VEC_LANES floats; the other lanes are zero. */
VEC_INLINE vec_f32 vec_load_part(const float *from, int64_t count)
{
    return (vec_f32)_mm512_maskz_loadu_ps(vec_first(count), from);
}

VEC_INLINE void vec_store_part(float *to, vec_f32 x, int64_t count)
{
    _mm512_mask_storeu_ps(to, vec_first(count), (__m512)x);
}

/* x with the lanes from `count` on made zero. */
VEC_INLINE vec_f32 vec_keep(vec_f32 x, int64_t count)
{
    return (vec_f32)_mm512_maskz_mov_ps(vec_first(count), (__m512)x);
}

/* a * b + c: rounded once where the instruction set can, else twice. */
VEC_INLINE vec_f32 vec_fma(vec_f32 a, vec_f32 b, vec_f32 c)
{
    return (vec_f32)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}

/* The smaller or larger of x and bound; a NaN in x stays. */
VEC_INLINE vec_f32 vec_min(vec_f32 x, vec_f32 bound)
{
    return (vec_f32)_mm512_min_ps((__m512)bound, (__m512)x);
}

VEC_INLINE vec_f32 vec_max(vec_f32 x, vec_f32 bound)
{
    return (vec_f32)_mm512_max_ps((__m512)bound, (__m512)x);
}

/* Is every lane nearer to zero than the bound? Not where one is NaN. */
VEC_INLINE bool vec_within(vec_f32 x, float bound)
{
    return _mm512_cmp_ps_mask((__m512)vec_abs(x), _mm512_set1_ps(bound), _CMP_LT_OQ) == 0xFFFF;
}

#elif defined(__AVX2__)

VEC_INLINE __m256i vec_first(int64_t count)
{
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);

    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), lanes);
}

VEC_INLINE vec_f32 vec_load_part(const float *from, int64_t count)
{
    return (vec_f32)_mm256_maskload_ps(from, vec_first(count));
}

VEC_INLINE void vec_store_part(float *to, vec_f32 x, int64_t count)
{
    _mm256_maskstore_ps(to, vec_first(count), (__m256)x);
}

VEC_INLINE vec_f32 vec_keep(vec_f32 x, int64_t count)
{
    return (vec_f32)((vec_i32)x & (vec_i32)vec_first(count));
}

VEC_INLINE vec_f32 vec_fma(vec_f32 a, vec_f32 b, vec_f32 c)
{
    return (vec_f32)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}

VEC_INLINE vec_f32 vec_min(vec_f32 x, vec_f32 bound)
{
    return (vec_f32)_mm256_min_ps((__m256)bound, (__m256)x);
}

VEC_INLINE vec_f32 vec_max(vec_f32 x, vec_f32 bound)
{
    return (vec_f32)_mm256_max_ps((__m256)bound, (__m256)x);
}

VEC_INLINE bool vec_within(vec_f32 x, float bound)
{
    __m256 near = _mm256_cmp_ps((__m256)vec_abs(x), _mm256_set1_ps(bound), _CMP_LT_OQ);

    return _mm256_movemask_ps(near) == 0xFF;
}

#else

VEC_INLINE vec_f32 vec_load_part(const float *from, int64_t count)
{
    vec_f32 x = {0};

    memcpy(&x, from, (size_t)count * sizeof *from);
    return x;
}

VEC_INLINE void vec_store_part(float *to, vec_f32 x, int64_t count)
{
    memcpy(to, &x, (size_t)count * sizeof *to);
}

VEC_INLINE vec_f32 vec_keep(vec_f32 x, int64_t count)
{
    const vec_i32 lanes = {0, 1, 2, 3};

    return (vec_f32)((vec_i32)x & (lanes < vec_set_i32((int32_t)count)));
}

VEC_INLINE vec_f32 vec_fma(vec_f32 a, vec_f32 b, vec_f32 c)
{
    return a * b + c;
}

VEC_INLINE vec_f32 vec_min(vec_f32 x, vec_f32 bound)
{
    return vec_select(x > bound, bound, x);
}

VEC_INLINE vec_f32 vec_max(vec_f32 x, vec_f32 bound)
{
    return vec_select(x < bound, bound, x);
}

VEC_INLINE bool vec_within(vec_f32 x, float bound)
{
    vec_i32 near = vec_abs(x) < bound;

    return (near[0] & near[1] & near[2] & near[3]) != 0;
}

#endif

#if defined(__AVX512F__)

/* x + VEC_SIXTEENTHS is x rounded to sixteenths; its lowest bits are their number. */
#define VEC_SIXTEENTHS 786432.0f

/* For such a sum, what 2^x is when the sum's bits << 19 are added: four of these bits choose from a
 * table of 2^(i / 16), whose bits lack what adding those four to the exponent as well brings in.
 * Permuting costs as much as one step of a polynomial, and spares three. */
VEC_INLINE vec_u32 vec_power_entry(vec_f32 sum)
{
    const __m512i powers =
        _mm512_set_epi32(0x3F7D257D, 0x3F7AC0C7, 0x3F78CCDF, 0x3F7744FD, 0x3F76248C, 0x3F75672A,
                         0x3F7508A4, 0x3F7504F3, 0x3F75583F, 0x3F75FED7, 0x3F76F532, 0x3F7837F0,
                         0x3F79C3D3, 0x3F7B95C2, 0x3F7DAAC3, 0x3F800000);

    return (vec_u32)_mm512_permutexvar_epi32((__m512i)sum, powers);
}

#endif

/* What a * b lost when it was rounded to `product`. The portable form cuts both factors into halves
 * whose products are exact. */
VEC_INLINE vec_f32 vec_product_rest(vec_f32 a, vec_f32 b, vec_f32 product)
{
#if defined(__AVX2__)
    return vec_fma(a, b, -product);
#else
    const vec_i32 upper = vec_set_i32(-4096);
    vec_f32 a_high = (vec_f32)((vec_i32)a & upper);
    vec_f32 b_high = (vec_f32)((vec_i32)b & upper);
    vec_f32 a_low = a - a_high;
    vec_f32 b_low = b - b_high;

    return ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low;
#endif
}

/* 2^n as a float, for lanes in [-126, 127]. */
VEC_INLINE vec_f32 vec_power(vec_i32 n)
{
    return (vec_f32)((vec_u32)(n + 127) << 23);
}

/* x * 2^n rounded once, for whole n in [-250, 128] and 2^-20 < |x| < 2^20. */
VEC_INLINE vec_f32 vec_scale(vec_f32 x, vec_f32 n)
{
#if defined(__AVX512F__)
    return (vec_f32)_mm512_scalef_ps((__m512)x, (__m512)n);
#else
    /* The lowest bits of n + 1.5 * 2^23 are n. Of two steps only the last may leave the normals. */
    vec_i32 whole = (vec_i32)((vec_u32)(n + 12582912.0f) - 0x4B400000u);
    vec_i32 half = whole >> 1;

    return x * vec_power(half) * vec_power(whole - half);
#endif
}

/* x * 2^n for whole n in [-400, 0] and any x: where the result is subnormal, two roundings. */
VEC_INLINE vec_f32 vec_scale_far(vec_f32 x, vec_f32 n)
{
#if defined(__AVX512F__)
    return vec_scale(x, n);
#else
    vec_f32 first = vec_max(n, vec_set(-150.0f));

    return vec_scale(vec_scale(x, first), n - first);
#endif
}

#endif
