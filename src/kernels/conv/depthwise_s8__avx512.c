/* The integer depthwise kernel in AVX-512 registers: sixteen outputs of a row at a time. */
#include "kernels/conv/depthwise_s8_variants.h"
#include "kernels/gemm/gemm_s8_finish_avx512.h"

enum { LANES = 16, VECTORS = 2 };

/* Adds one kernel row to the sums. A 32-bit lane holds one byte, so the pairwise product of 16-bit
 * halves is byte times weight. */
static inline __attribute__((always_inline)) void add_row(const conv_s8_plane *p,
                                                          const uint8_t *row,
                                                          const int16_t *weights,
                                                          __m512i sum[VECTORS])
{
    conv_s8_place at = {0, 0};

    for (int64_t x = 0; x < p->shape->kernel_w; x++) {
        const uint8_t *from = row + at.phase * p->halo->phase + at.index;
        __m512i weight = _mm512_set1_epi32((uint16_t)weights[x]);

#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; v++) {
            __m128i bytes = _mm_loadu_si128((const __m128i *)(from + v * LANES));
            __m512i wide = _mm512_cvtepu8_epi32(bytes);

            sum[v] = _mm512_add_epi32(sum[v], _mm512_madd_epi16(wide, weight));
        }
        conv_s8_move(p->halo, &at);
    }
}

static void run(const conv_s8_plane *p)
{
    const conv_f32_shape *s = p->shape;
    size_t size = p->finish->result == GEMM_S8_BYTES ? sizeof(uint8_t) : sizeof(int32_t);

    for (int64_t y = 0; y < s->out_h; y++) {
        for (int64_t first = 0; first < s->out_w; first += VECTORS * LANES) {
            const uint8_t *corner = p->in + y * s->stride_h * p->halo->pitch + first;
            void *c = (uint8_t *)p->out + (size_t)(y * s->out_w + first) * size;
            int64_t left = s->out_w - first;
            int count = (int)(left < VECTORS * LANES ? left : VECTORS * LANES);
            __m512i sum[VECTORS] = {_mm512_setzero_si512(), _mm512_setzero_si512()};

            for (int64_t k = 0; k < s->kernel_h; k++) {
                add_row(p, corner + k * s->dilation_h * p->halo->pitch,
                        p->weights + k * s->kernel_w, sum);
            }
            for (int v = 0; v * LANES < count; v++) {
                gemm_s8_finish_avx512(p->finish, p->row, v * LANES,
                                      gemm_s8_mask_avx512(count - v * LANES), sum[v], c);
            }
        }
    }
}

const conv_s8_depthwise_kernel depthwise_s8__avx512 = {"depthwise_s8__avx512", run};
