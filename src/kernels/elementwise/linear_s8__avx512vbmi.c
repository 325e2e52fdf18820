/* As for AVX-512, and tables by two instructions that look 64 bytes up among 128. */
#include "kernels/elementwise/linear_s8_avx512_body.h"

static void look_up(uint8_t *to, const uint8_t *from, int64_t n, const uint8_t table[256])
{
    __m512i parts[4];
    int64_t i = 0;

    for (int part = 0; part < 4; part++) {
        parts[part] = _mm512_loadu_si512(table + (ptrdiff_t)part * BYTES);
    }
    for (; i + BYTES <= n; i += BYTES) {
        __m512i bytes = _mm512_loadu_si512(from + i);
        __m512i low = _mm512_permutex2var_epi8(parts[0], bytes, parts[1]);
        __m512i high = _mm512_permutex2var_epi8(parts[2], bytes, parts[3]);

        _mm512_storeu_si512(to + i, _mm512_mask_blend_epi8(_mm512_movepi8_mask(bytes), low, high));
    }
    linear_s8_look_up(to + i, from + i, n - i, table);
}

const linear_s8_kernel linear_s8__avx512vbmi = {
    "linear_s8__avx512vbmi", linear_s8_quantize, linear_s8_dequantize, look_up, add, isa_has_vbmi};
