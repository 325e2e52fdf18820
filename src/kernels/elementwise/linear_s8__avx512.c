/* The loops over quantised bytes compiled for AVX-512, sums and tables written for it. */
#include "kernels/elementwise/linear_s8_avx512_body.h"

typedef struct byte_table {
    __m512i words[4]; /* of two entries each */
} byte_table;

/* Entries of the bytes that are the low halves of words; the high halves are 0. */
ALWAYS_INLINE __m512i look_up_words(const byte_table *t, __m512i bytes)
{
    const __m512i one = _mm512_set1_epi16(1);
    __m512i index = _mm512_srli_epi16(bytes, 1);
    __m512i low = _mm512_permutex2var_epi16(t->words[0], index, t->words[1]);
    __m512i high = _mm512_permutex2var_epi16(t->words[2], index, t->words[3]);
    __mmask32 is_high = _mm512_test_epi16_mask(bytes, _mm512_set1_epi16(0x80));
    __m512i pair = _mm512_mask_blend_epi16(is_high, low, high);
    __m512i shift = _mm512_slli_epi16(_mm512_and_si512(bytes, one), 3);

    return _mm512_and_si512(_mm512_srlv_epi16(pair, shift), _mm512_set1_epi16(0xFF));
}

ALWAYS_INLINE __m512i look_up_bytes(const byte_table *t, __m512i bytes)
{
    __m512i even = look_up_words(t, _mm512_and_si512(bytes, _mm512_set1_epi16(0xFF)));
    __m512i odd = look_up_words(t, _mm512_srli_epi16(bytes, 8));

    return _mm512_or_si512(even, _mm512_slli_epi16(odd, 8));
}

static void look_up(uint8_t *to, const uint8_t *from, int64_t n, const uint8_t table[256])
{
    byte_table t;
    int64_t i = 0;

    for (int part = 0; part < 4; part++) {
        t.words[part] = _mm512_loadu_si512(table + (ptrdiff_t)part * BYTES);
    }
    for (; i + BYTES <= n; i += BYTES) {
        _mm512_storeu_si512(to + i, look_up_bytes(&t, _mm512_loadu_si512(from + i)));
    }
    linear_s8_look_up(to + i, from + i, n - i, table);
}

const linear_s8_kernel linear_s8__avx512 = {
    "linear_s8__avx512", linear_s8_quantize, linear_s8_dequantize, look_up, add, NULL};
