/* The key stream and the normal numbers, compiled once per instruction set by the files that
 * include this one. Blocks lie side by side in the lanes. Products and sums are rounded one by one
 * and in the same order everywhere, so the bits do not depend on the width. */
#ifndef KERNELS_RANDOM_NORMAL_F64_BODY_H
#define KERNELS_RANDOM_NORMAL_F64_BODY_H

#include <math.h>
#include <string.h>

#include "kernels/random/normal_f64.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
enum { NORMAL_BYTES = 64 };
#elif defined(__AVX2__)
enum { NORMAL_BYTES = 32 };
#else
enum { NORMAL_BYTES = 16 };
#endif
enum { WORD_LANES = NORMAL_BYTES / 4, REAL_LANES = NORMAL_BYTES / 8, DOUBLE_ROUNDS = 10 };

typedef uint32_t vec_word __attribute__((vector_size(NORMAL_BYTES)));
typedef uint64_t vec_long __attribute__((vector_size(NORMAL_BYTES)));
typedef int64_t vec_index __attribute__((vector_size(NORMAL_BYTES)));
typedef double vec_real __attribute__((vector_size(NORMAL_BYTES)));
typedef uint32_t vec_half __attribute__((vector_size(NORMAL_BYTES / 2)));

#define INLINE static inline __attribute__((always_inline))

/* ---- the key stream ---- */

INLINE vec_word turn(vec_word x, int by)
{
    return x << by | x >> (32 - by);
}

INLINE void quarter_round(vec_word *s, int a, int b, int c, int d)
{
    s[a] += s[b];
    s[d] = turn(s[d] ^ s[a], 16);
    s[c] += s[d];
    s[b] = turn(s[b] ^ s[c], 12);
    s[a] += s[b];
    s[d] = turn(s[d] ^ s[a], 8);
    s[c] += s[d];
    s[b] = turn(s[b] ^ s[c], 7);
}

/* Blocks `first` to first + WORD_LANES - 1, into column `column` on. */
INLINE void make_blocks(const uint32_t *key, uint64_t first, const uint32_t *tail, int column,
                        uint32_t (*to)[NORMAL_F64_BLOCKS])
{
    static const uint32_t constants[4] = {0x61707865, 0x3320646E, 0x79622D32, 0x6B206574};
    vec_word start[NORMAL_F64_STATE];
    vec_word s[NORMAL_F64_STATE];

    for (int lane = 0; lane < WORD_LANES; lane++) {
        for (int i = 0; i < 4; i++) {
            start[i][lane] = constants[i];
        }
        for (int i = 0; i < NORMAL_F64_KEY; i++) {
            start[4 + i][lane] = key[i];
        }
        start[12][lane] = (uint32_t)(first + (uint64_t)lane);
        start[13][lane] = (uint32_t)((first + (uint64_t)lane) >> 32);
        start[14][lane] = tail[0];
        start[15][lane] = tail[1];
    }
    memcpy(s, start, sizeof s);
    for (int i = 0; i < DOUBLE_ROUNDS; i++) {
        quarter_round(s, 0, 4, 8, 12);
        quarter_round(s, 1, 5, 9, 13);
        quarter_round(s, 2, 6, 10, 14);
        quarter_round(s, 3, 7, 11, 15);
        quarter_round(s, 0, 5, 10, 15);
        quarter_round(s, 1, 6, 11, 12);
        quarter_round(s, 2, 7, 8, 13);
        quarter_round(s, 3, 4, 9, 14);
    }
    for (int i = 0; i < NORMAL_F64_STATE; i++) {
        s[i] += start[i];
        memcpy(to[i] + column, &s[i], sizeof s[i]);
    }
}

static void make_words(const uint32_t key[NORMAL_F64_KEY], uint64_t first, const uint32_t tail[2],
                       uint32_t to[NORMAL_F64_STATE][NORMAL_F64_BLOCKS])
{
    for (int column = 0; column < NORMAL_F64_BLOCKS; column += WORD_LANES) {
        make_blocks(key, first + (uint64_t)column, tail, column, to);
    }
}

/* ---- normal numbers ---- */

INLINE vec_real set(double x)
{
    return x - (vec_real){0};
}

INLINE vec_real root(vec_real x)
{
#if defined(__AVX512F__)
    return (vec_real)_mm512_sqrt_pd((__m512d)x);
#elif defined(__AVX2__)
    return (vec_real)_mm256_sqrt_pd((__m256d)x);
#else
    for (int i = 0; i < REAL_LANES; i++) {
        x[i] = sqrt(x[i]);
    }
    return x;
#endif
}

/* c[0] + x (c[1] + x (... c[count - 1])). */
INLINE vec_real polynomial(vec_real x, const double *c, int count)
{
    vec_real y = set(c[count - 1]);

    for (int i = count - 2; i >= 0; i--) {
        y = y * x + set(c[i]);
    }
    return y;
}

/* 1 + (52 random bits) 2^-52, in [1, 2). */
INLINE vec_real mantissa(const uint32_t *low, const uint32_t *high)
{
    vec_half halves[2];
    vec_long bits;

    memcpy(&halves[0], low, sizeof halves[0]);
    memcpy(&halves[1], high, sizeof halves[1]);
    bits = __builtin_convertvector(halves[1], vec_long) << 32 |
           __builtin_convertvector(halves[0], vec_long);
    return (vec_real)((bits >> 12) | ((vec_long){0} + UINT64_C(0x3FF0000000000000)));
}

/* log x for normal x in (0, 1): x = 2^k m with m within a factor of sqrt(2) of 1, log m = 2 atanh s
 * with s = (m - 1) / (m + 1), as a series. Within 2e-16 of the range. */
INLINE vec_real logarithm(vec_real x)
{
    static const double odd[] = {1.0,      1.0 / 3,  1.0 / 5,  1.0 / 7,  1.0 / 9, 1.0 / 11,
                                 1.0 / 13, 1.0 / 15, 1.0 / 17, 1.0 / 19, 1.0 / 21};
    const uint64_t below_root = UINT64_C(0x3FE6A09E667F3BCD); /* sqrt(1/2) */
    vec_long bits = (vec_long)x + (UINT64_C(0x3FF0000000000000) - below_root);
    vec_index k = (vec_index)(bits >> 52) - 0x3FF;
    vec_real m = (vec_real)((bits & UINT64_C(0x000FFFFFFFFFFFFF)) + below_root);
    vec_real s = (m - 1.0) / (m + 1.0);
    /* k is small: 1.5 2^52 + k holds it in its last bits */
    vec_real whole = (vec_real)(k + INT64_C(0x4338000000000000)) - 0x1.8p52;

    return whole * 0x1.62e42fefa39efp-1 + 2.0 * s * polynomial(s * s, odd, 11);
}

/* sin(pi x) for |x| <= 1/2. */
INLINE vec_real sine(vec_real x)
{
    static const double c[] = {
        0x1.921fb54442d18p+1,   -0x1.4abbce625be53p+2,  0x1.466bc6775aae2p+1,
        -0x1.32d2cce62bd86p-1,  0x1.50783487ee782p-4,   -0x1.e3074fde8871fp-8,
        0x1.e8f434d018d63p-12,  -0x1.6fadb9f155744p-16, 0x1.aaec32af93359p-21,
        -0x1.8a404211f9547p-26, 0x1.2877020d52cf0p-31};

    return x * polynomial(x * x, c, 11);
}

static void make_sums(uint32_t words[NORMAL_F64_STATE][NORMAL_F64_BLOCKS],
                      double sums[NORMAL_F64_BATCH])
{
    for (int column = 0; column < NORMAL_F64_BATCH; column += REAL_LANES) {
        vec_real sum = {0};

        for (int k = 0; k < NORMAL_F64_TERMS; k++) {
            uint32_t(*w)[NORMAL_F64_BLOCKS] = words + (size_t)4 * (size_t)k;
            /* (bits + 1/2) 2^-52: neither 0 nor 1 */
            vec_real u = mantissa(w[0] + column, w[1] + column) - (1.0 - 0x1p-53);
            vec_real v = mantissa(w[2] + column, w[3] + column) - (1.0 - 0x1p-53);
            vec_real far = v - 0.5;
            /* cos(2 pi v) = -cos(2 pi |v - 1/2|) = sin(pi (2 |v - 1/2| - 1/2)) */
            vec_real angle = (vec_real)((vec_long)far & UINT64_C(0x7FFFFFFFFFFFFFFF)) * 2.0 - 0.5;

            sum += root(-2.0 * logarithm(u)) * sine(angle);
        }
        sum *= 0.5; /* four variances of 1 */
        memcpy(sums + column, &sum, sizeof sum);
    }
}

#define NORMAL_F64(NAME)              \
    {                                 \
        (NAME), make_words, make_sums \
    }

#endif
