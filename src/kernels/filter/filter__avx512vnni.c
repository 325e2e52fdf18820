/* Filtered attention for AVX-512 with VNNI: keys are the unsigned operand. */
#include <immintrin.h>

#include "kernels/filter/filter_attend_body.h"
#include "kernels/filter/filter_variants.h"

enum { KEYS = 16, ROW = FILTER_ROW_BYTES };

/* 16 bytes of each of four rows. */
static inline __m512i four_rows(const uint8_t *from, int64_t row_bytes, const int32_t *keys)
{
    __m512i x = _mm512_castsi128_si512(
        _mm_loadu_si128((const __m128i *)(const void *)(from + keys[0] * row_bytes)));

    x = _mm512_inserti32x4(
        x, _mm_loadu_si128((const __m128i *)(const void *)(from + keys[1] * row_bytes)), 1);
    x = _mm512_inserti32x4(
        x, _mm_loadu_si128((const __m128i *)(const void *)(from + keys[2] * row_bytes)), 2);
    return _mm512_inserti32x4(
        x, _mm_loadu_si128((const __m128i *)(const void *)(from + keys[3] * row_bytes)), 3);
}

static inline __m512i broadcast_row(const int8_t *q)
{
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)q));
}

/* Sums of 16 keys in order, of which `sum[i]` holds keys 4 i to 4 i + 3, four words each. */
static inline __m512i in_order(const __m512i sum[4])
{
    const __m512i order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    __m512i low = _mm512_add_epi32(_mm512_unpacklo_epi32(sum[0], sum[1]),
                                   _mm512_unpackhi_epi32(sum[0], sum[1]));
    __m512i high = _mm512_add_epi32(_mm512_unpacklo_epi32(sum[2], sum[3]),
                                    _mm512_unpackhi_epi32(sum[2], sum[3]));

    return _mm512_permutexvar_epi32(order, _mm512_add_epi32(_mm512_unpacklo_epi64(low, high),
                                                            _mm512_unpackhi_epi64(low, high)));
}

/* Products of the 16 keys from `from` on, or of the 16 in `keys` where that is not NULL. */
static inline __m512i products(const filter_scoring *p, const uint8_t *from, const int32_t *keys)
{
    const __m512i three = _mm512_set1_epi8(3);
    __m512i sum[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                      _mm512_setzero_si512()};

    for (int64_t at = 0; at < p->row_bytes; at += ROW) {
        const int8_t *q = p->q + at;
        __m512i q0 = broadcast_row(q);
        __m512i q1 = broadcast_row(q + p->row_bytes);
        __m512i q2 = broadcast_row(q + 2 * p->row_bytes);
        __m512i q3 = broadcast_row(q + 3 * p->row_bytes);

#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            __m512i x = keys == NULL ? _mm512_loadu_si512(from + (int64_t)4 * ROW * i)
                                     : four_rows(from + at, p->row_bytes, keys + (int64_t)4 * i);

            sum[i] = _mm512_dpbusd_epi32(sum[i], _mm512_and_si512(x, three), q0);
            sum[i] =
                _mm512_dpbusd_epi32(sum[i], _mm512_and_si512(_mm512_srli_epi16(x, 2), three), q1);
            sum[i] =
                _mm512_dpbusd_epi32(sum[i], _mm512_and_si512(_mm512_srli_epi16(x, 4), three), q2);
            sum[i] =
                _mm512_dpbusd_epi32(sum[i], _mm512_and_si512(_mm512_srli_epi16(x, 6), three), q3);
        }
    }
    return in_order(sum);
}

static void score(const filter_scoring *p, filter_stats *stats)
{
    __m512i most = _mm512_set1_epi32(stats->most);
    __m512i least = _mm512_set1_epi32(stats->least);
    __m512i total = _mm512_setzero_si512();

    for (int64_t i = 0; i < p->n; i += KEYS) {
        int32_t keys[KEYS];
        int64_t rest = p->n - i;
        __mmask16 mask = (__mmask16)(rest >= KEYS ? 0xFFFF : (1 << rest) - 1);
        const int32_t *listed = p->index != NULL ? p->index + i : NULL;
        __m512i s = _mm512_set1_epi32(p->bias);

        if (rest < KEYS || (listed == NULL && p->row_bytes != ROW)) {
            for (int64_t r = 0; r < KEYS; r++) {
                int64_t k = r < rest ? r : rest - 1;

                keys[r] = listed != NULL ? listed[k] : p->first + (int32_t)(i + k);
            }
            listed = keys;
        }
        if (p->again) {
            s = _mm512_add_epi32(s, _mm512_slli_epi32(_mm512_maskz_loadu_epi32(mask, p->s + i), 2));
        }
        if (listed == NULL) {
            s = _mm512_add_epi32(s, products(p, p->plane + (p->first + i) * ROW, NULL));
        } else {
            s = _mm512_add_epi32(s, products(p, p->plane, listed));
        }
        _mm512_mask_storeu_epi32(p->s + i, mask, s);
        most = _mm512_mask_max_epi32(most, mask, most, s);
        least = _mm512_mask_min_epi32(least, mask, least, s);
        /* 128 sums of at most 2^20 in a lane */
        total = _mm512_mask_add_epi32(total, mask, total, s);
    }
    stats->most = _mm512_reduce_max_epi32(most);
    stats->least = _mm512_reduce_min_epi32(least);
    stats->sum += _mm512_reduce_add_epi64(
        _mm512_add_epi64(_mm512_cvtepi32_epi64(_mm512_castsi512_si256(total)),
                         _mm512_cvtepi32_epi64(_mm512_extracti32x8_epi32(total, 1))));
    stats->count += p->n;
}

static int64_t select_keys(const int32_t *s, const int32_t *index, int32_t first, int64_t n,
                           int32_t least, int32_t *to_s, int32_t *to_index)
{
    const __m512i bound = _mm512_set1_epi32(least);
    const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    int64_t kept = 0;
    int64_t i = 0;

    /* Whole vectors are stored: what lies behind survivors has been read already, or is the
     * target's own room. Compressing to memory takes many times as long. */
    for (; i + KEYS <= n; i += KEYS) {
        __m512i x = _mm512_loadu_si512(s + i);
        __m512i key = index != NULL
                          ? _mm512_loadu_si512(index + i)
                          : _mm512_add_epi32(lanes, _mm512_set1_epi32(first + (int32_t)i));
        __mmask16 mask = _mm512_cmpge_epi32_mask(x, bound);

        _mm512_storeu_si512(to_s + kept, _mm512_maskz_compress_epi32(mask, x));
        _mm512_storeu_si512(to_index + kept, _mm512_maskz_compress_epi32(mask, key));
        kept += __builtin_popcount(mask);
    }
    return kept + filter_select_keys(s + i, index != NULL ? index + i : NULL, first + (int32_t)i,
                                     n - i, least, to_s + kept, to_index + kept);
}

const filter_kernel filter__avx512vnni = {"filter__avx512vnni", score, select_keys, filter_attend};
