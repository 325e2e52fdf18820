/* Transposition in tiles of 16 x 16 words or 16 x 64 bytes. Edges are masked. */
#include <immintrin.h>

#include "kernels/transpose/transpose_variants.h"

enum { SIDE = 16, BYTE_COLUMNS = 64 };

/* Lane l of b[4 i + j] becomes column 4 l + j of rows 4 i to 4 i + 3. */
static inline __attribute__((always_inline)) void transpose_quads(const __m512 *rows, __m512 *b)
{
    for (int i = 0; i < 4; i++) {
        __m512 low = _mm512_unpacklo_ps(rows[4 * i], rows[4 * i + 1]);
        __m512 high = _mm512_unpackhi_ps(rows[4 * i], rows[4 * i + 1]);
        __m512 low2 = _mm512_unpacklo_ps(rows[4 * i + 2], rows[4 * i + 3]);
        __m512 high2 = _mm512_unpackhi_ps(rows[4 * i + 2], rows[4 * i + 3]);

        b[4 * i] =
            _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(low), _mm512_castps_pd(low2)));
        b[4 * i + 1] =
            _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(low), _mm512_castps_pd(low2)));
        b[4 * i + 2] =
            _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(high), _mm512_castps_pd(high2)));
        b[4 * i + 3] =
            _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(high), _mm512_castps_pd(high2)));
    }
}

/* Even and odd lanes of both: 0x88 and 0xDD. */
static inline __attribute__((always_inline)) void transpose_lanes(const __m512 *b, __m512 *columns)
{
    for (int j = 0; j < 4; j++) {
        __m512 even = _mm512_shuffle_f32x4(b[j], b[4 + j], 0x88);
        __m512 odd = _mm512_shuffle_f32x4(b[j], b[4 + j], 0xDD);
        __m512 even2 = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0x88);
        __m512 odd2 = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0xDD);

        columns[j] = _mm512_shuffle_f32x4(even, even2, 0x88);
        columns[4 + j] = _mm512_shuffle_f32x4(odd, odd2, 0x88);
        columns[8 + j] = _mm512_shuffle_f32x4(even, even2, 0xDD);
        columns[12 + j] = _mm512_shuffle_f32x4(odd, odd2, 0xDD);
    }
}

static inline __attribute__((always_inline)) void words_tile(const transpose_matrix *m, int rows,
                                                             int columns)
{
    __mmask16 load = (__mmask16)((1u << columns) - 1);
    __mmask16 store = (__mmask16)((1u << rows) - 1);
    __m512 x[SIDE];
    __m512 b[SIDE];

    for (int i = 0; i < SIDE; i++) {
        x[i] = i < rows ? _mm512_maskz_loadu_ps(load, (const char *)m->from + i * m->from_pitch)
                        : _mm512_setzero_ps();
    }
    transpose_quads(x, b);
    transpose_lanes(b, x);
    for (int i = 0; i < SIDE; i++) {
        if (i < columns) {
            _mm512_mask_storeu_ps((char *)m->to + i * m->to_pitch, store, x[i]);
        }
    }
}

static void run_words(const transpose_matrix *m)
{
    for (int64_t column = 0; column < m->columns; column += SIDE) {
        int64_t width = m->columns - column < SIDE ? m->columns - column : SIDE;

        for (int64_t row = 0; row < m->rows; row += SIDE) {
            int64_t height = m->rows - row < SIDE ? m->rows - row : SIDE;
            transpose_matrix part = transpose_part(m, 4, row, height, column, width);

            if (height == SIDE && width == SIDE) {
                words_tile(&part, SIDE, SIDE);
            } else {
                words_tile(&part, (int)height, (int)width);
            }
        }
    }
}

/* The bits of (register, byte) rotate by one place: after four times they have changed sides. */
static inline __attribute__((always_inline)) void rotate(const __m512i *x, __m512i *y)
{
    for (int i = 0; i < SIDE / 2; i++) {
        y[2 * i] = _mm512_unpacklo_epi8(x[i], x[i + SIDE / 2]);
        y[2 * i + 1] = _mm512_unpackhi_epi8(x[i], x[i + SIDE / 2]);
    }
}

/* Lane l of register i ends up as column 16 l + i. */
static inline __attribute__((always_inline)) void bytes_tile(const transpose_matrix *m, int rows,
                                                             int columns)
{
    __mmask64 load = UINT64_MAX >> (BYTE_COLUMNS - columns);
    __mmask16 store = (__mmask16)((1u << rows) - 1);
    __m512i x[SIDE];
    __m512i y[SIDE];

    for (int i = 0; i < SIDE; i++) {
        x[i] = i < rows ? _mm512_maskz_loadu_epi8(load, (const char *)m->from + i * m->from_pitch)
                        : _mm512_setzero_si512();
    }
    rotate(x, y);
    rotate(y, x);
    rotate(x, y);
    rotate(y, x);
    for (int i = 0; i < SIDE; i++) {
        const __m128i lanes[4] = {_mm512_castsi512_si128(x[i]), _mm512_extracti32x4_epi32(x[i], 1),
                                  _mm512_extracti32x4_epi32(x[i], 2),
                                  _mm512_extracti32x4_epi32(x[i], 3)};

        for (int l = 0; l < 4; l++) {
            if (SIDE * l + i < columns) {
                _mm_mask_storeu_epi8((char *)m->to + (SIDE * l + i) * m->to_pitch, store, lanes[l]);
            }
        }
    }
}

static void run_bytes(const transpose_matrix *m)
{
    for (int64_t column = 0; column < m->columns; column += BYTE_COLUMNS) {
        int64_t left = m->columns - column;
        int64_t width = left < BYTE_COLUMNS ? left : BYTE_COLUMNS;

        for (int64_t row = 0; row < m->rows; row += SIDE) {
            int64_t height = m->rows - row < SIDE ? m->rows - row : SIDE;
            transpose_matrix part = transpose_part(m, 1, row, height, column, width);

            if (height == SIDE && width == BYTE_COLUMNS) {
                bytes_tile(&part, SIDE, BYTE_COLUMNS);
            } else {
                bytes_tile(&part, (int)height, (int)width);
            }
        }
    }
}

const transpose_kernel transpose__avx512 = {"transpose__avx512", run_words, run_bytes};
