/* Filtered attention for AVX2: keys are the unsigned operand of products of bytes. */
#include <immintrin.h>

#include "kernels/filter/filter_attend_body.h"
#include "kernels/filter/filter_variants.h"

enum { KEYS = 8, ROW = FILTER_ROW_BYTES };

static inline __m128i load_row(const void *from)
{
    return _mm_loadu_si128((const __m128i *)from);
}

/* Sums of products of the 8 keys, in order. */
static inline __m256i products(const filter_scoring *p, const int32_t *keys)
{
    const __m256i three = _mm256_set1_epi8(3);
    __m256i sum[4];

#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const uint8_t *low = p->plane + keys[i] * p->row_bytes;
        const uint8_t *high = p->plane + keys[i + 4] * p->row_bytes;
        __m256i words = _mm256_setzero_si256();

        /* At most 1024 / 8 pairs of products of 2 * 3 * 8 add up to 6144. */
        for (int64_t at = 0; at < p->row_bytes; at += ROW) {
            __m256i x = _mm256_set_m128i(load_row(high + at), load_row(low + at));

#pragma GCC unroll 4
            for (int part = 0; part < 4; part++) {
                __m256i q = _mm256_broadcastsi128_si256(load_row(p->q + at + part * p->row_bytes));
                __m256i codes = _mm256_and_si256(_mm256_srli_epi16(x, 2 * part), three);

                words = _mm256_add_epi16(words, _mm256_maddubs_epi16(codes, q));
            }
        }
        sum[i] = _mm256_madd_epi16(words, _mm256_set1_epi16(1));
    }
    return _mm256_hadd_epi32(_mm256_hadd_epi32(sum[0], sum[1]), _mm256_hadd_epi32(sum[2], sum[3]));
}

static void score(const filter_scoring *p, filter_stats *stats)
{
    for (int64_t i = 0; i < p->n; i += KEYS) {
        int64_t n = p->n - i < KEYS ? p->n - i : KEYS;
        int32_t keys[KEYS], s[KEYS];

        for (int64_t r = 0; r < KEYS; r++) {
            int64_t k = i + (r < n ? r : n - 1);

            keys[r] = p->index != NULL ? p->index[k] : p->first + (int32_t)k;
        }
        _mm256_storeu_si256((__m256i *)(void *)s, products(p, keys));
        for (int64_t r = 0; r < n; r++) {
            int32_t x = s[r] + p->bias + (p->again ? 4 * p->s[i + r] : 0);

            p->s[i + r] = x;
            stats->most = x > stats->most ? x : stats->most;
            stats->least = x < stats->least ? x : stats->least;
            stats->sum += x;
        }
    }
    stats->count += p->n;
}

const filter_kernel filter__avx2 = {"filter__avx2", score, filter_select_keys, filter_attend};
