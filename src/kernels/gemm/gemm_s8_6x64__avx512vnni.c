/* AVX-512 VNNI tile of 6 rows x 64 columns: 24 accumulators, 4 registers of B, 1 broadcast of A.
 * One instruction multiplies 64 pairs of bytes and adds them to 16 sums, exactly. */
#include <string.h>

#include "kernels/gemm/gemm_s8_finish_avx512.h"
#include "kernels/gemm/gemm_s8_variants.h"

enum { MR = 6, NR = 64, LANES = 16, VECTORS = NR / LANES };

/* `rows`, `vectors` and `a_is_unsigned` are constants at every call, so that the accumulators
 * become registers. */
static inline __attribute__((always_inline)) void tile_of(const gemm_s8_tile *t, int rows,
                                                          int vectors, bool a_is_unsigned)
{
    __m512i sum[MR][VECTORS];
    __m512i sums[MR][VECTORS]; /* in memory, so that finishing can loop */
    size_t size = t->finish->result == GEMM_S8_BYTES ? sizeof(uint8_t) : sizeof(int32_t);
    const uint8_t *a = t->a;
    const uint8_t *b = t->b;

#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            sum[i][v] = _mm512_setzero_si512();
        }
    }
    for (int64_t step = 0; step < t->steps; step++) {
        __m512i right[VECTORS];

#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            right[v] = _mm512_loadu_si512(b + v * LANES * GEMM_S8_STEP);
        }
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            int32_t four;
            __m512i left;

            memcpy(&four, a + i * GEMM_S8_STEP, sizeof four);
            left = _mm512_set1_epi32(four);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) {
                sum[i][v] = a_is_unsigned ? _mm512_dpbusd_epi32(sum[i][v], left, right[v])
                                          : _mm512_dpbusd_epi32(sum[i][v], right[v], left);
            }
        }
        a += MR * GEMM_S8_STEP;
        b += NR * GEMM_S8_STEP;
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            _mm512_store_si512(&sums[i][v], sum[i][v]);
        }
    }
    for (int i = 0; i < rows; i++) {
        void *c = (uint8_t *)t->c + (size_t)(i * t->c_stride) * size;

        for (int v = 0; v < vectors; v++) {
            gemm_s8_finish_avx512(t->finish, i, v * LANES,
                                  gemm_s8_mask_avx512(t->columns - v * LANES), sums[i][v], c);
        }
    }
}

static inline __attribute__((always_inline)) void tile_rows(const gemm_s8_tile *t, int vectors,
                                                            bool a_is_unsigned)
{
    switch (t->rows) {
    case 6: tile_of(t, 6, vectors, a_is_unsigned); break;
    case 5: tile_of(t, 5, vectors, a_is_unsigned); break;
    case 4: tile_of(t, 4, vectors, a_is_unsigned); break;
    case 3: tile_of(t, 3, vectors, a_is_unsigned); break;
    case 2: tile_of(t, 2, vectors, a_is_unsigned); break;
    default: tile_of(t, 1, vectors, a_is_unsigned); break;
    }
}

static inline __attribute__((always_inline)) void tile_columns(const gemm_s8_tile *t,
                                                               bool a_is_unsigned)
{
    switch ((t->columns + LANES - 1) / LANES) {
    case 4: tile_rows(t, 4, a_is_unsigned); break;
    case 3: tile_rows(t, 3, a_is_unsigned); break;
    case 2: tile_rows(t, 2, a_is_unsigned); break;
    default: tile_rows(t, 1, a_is_unsigned); break;
    }
}

static void tile(const gemm_s8_tile *t)
{
    if (t->a_is_unsigned) {
        tile_columns(t, true);
    } else {
        tile_columns(t, false);
    }
}

const gemm_s8_kernel gemm_s8_6x64__avx512vnni = {"gemm_s8_6x64__avx512vnni", MR, NR, tile, NULL};
