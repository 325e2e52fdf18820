/* Transposition in tiles of 8 x 8 words or 16 x 32 bytes; edges singly. */
#include <immintrin.h>

#include "kernels/transpose/transpose_variants.h"

enum { WORDS = 8, BYTE_ROWS = 16, BYTE_COLUMNS = 32 };

static inline __attribute__((always_inline)) void words_tile(const transpose_matrix *m)
{
    __m256 x[WORDS];
    __m256 b[WORDS];

    for (int i = 0; i < WORDS; i++) {
        x[i] = _mm256_loadu_ps((const float *)((const char *)m->from + i * m->from_pitch));
    }
    for (int i = 0; i < 2; i++) { /* lane l of b[4 i + j]: column 4 l + j of four rows */
        __m256 low = _mm256_unpacklo_ps(x[4 * i], x[4 * i + 1]);
        __m256 high = _mm256_unpackhi_ps(x[4 * i], x[4 * i + 1]);
        __m256 low2 = _mm256_unpacklo_ps(x[4 * i + 2], x[4 * i + 3]);
        __m256 high2 = _mm256_unpackhi_ps(x[4 * i + 2], x[4 * i + 3]);

        b[4 * i] = _mm256_shuffle_ps(low, low2, 0x44);
        b[4 * i + 1] = _mm256_shuffle_ps(low, low2, 0xEE);
        b[4 * i + 2] = _mm256_shuffle_ps(high, high2, 0x44);
        b[4 * i + 3] = _mm256_shuffle_ps(high, high2, 0xEE);
    }
    for (int j = 0; j < 4; j++) {
        x[j] = _mm256_permute2f128_ps(b[j], b[4 + j], 0x20);
        x[4 + j] = _mm256_permute2f128_ps(b[j], b[4 + j], 0x31);
    }
    for (int i = 0; i < WORDS; i++) {
        _mm256_storeu_ps((float *)((char *)m->to + i * m->to_pitch), x[i]);
    }
}

static void run_words(const transpose_matrix *m)
{
    for (int64_t column = 0; column < m->columns; column += WORDS) {
        int64_t width = m->columns - column < WORDS ? m->columns - column : WORDS;

        for (int64_t row = 0; row < m->rows; row += WORDS) {
            int64_t height = m->rows - row < WORDS ? m->rows - row : WORDS;
            transpose_matrix part = transpose_part(m, 4, row, height, column, width);

            if (height == WORDS && width == WORDS) {
                words_tile(&part);
            } else {
                transpose_words_singly(&part);
            }
        }
    }
}

/* The bits of (register, byte) rotate by one place: after four times they have changed sides. */
static inline __attribute__((always_inline)) void rotate(const __m256i *x, __m256i *y)
{
    for (int i = 0; i < BYTE_ROWS / 2; i++) {
        y[2 * i] = _mm256_unpacklo_epi8(x[i], x[i + BYTE_ROWS / 2]);
        y[2 * i + 1] = _mm256_unpackhi_epi8(x[i], x[i + BYTE_ROWS / 2]);
    }
}

/* Lane l of register i ends up as column 16 l + i. */
static inline __attribute__((always_inline)) void bytes_tile(const transpose_matrix *m)
{
    __m256i x[BYTE_ROWS];
    __m256i y[BYTE_ROWS];

    for (int i = 0; i < BYTE_ROWS; i++) {
        x[i] = _mm256_loadu_si256((const __m256i *)((const char *)m->from + i * m->from_pitch));
    }
    rotate(x, y);
    rotate(y, x);
    rotate(x, y);
    rotate(y, x);
    for (int i = 0; i < BYTE_ROWS; i++) {
        _mm_storeu_si128((__m128i *)((char *)m->to + i * m->to_pitch),
                         _mm256_castsi256_si128(x[i]));
        _mm_storeu_si128((__m128i *)((char *)m->to + (BYTE_ROWS + i) * m->to_pitch),
                         _mm256_extracti128_si256(x[i], 1));
    }
}

static void run_bytes(const transpose_matrix *m)
{
    for (int64_t column = 0; column < m->columns; column += BYTE_COLUMNS) {
        int64_t left = m->columns - column;
        int64_t width = left < BYTE_COLUMNS ? left : BYTE_COLUMNS;

        for (int64_t row = 0; row < m->rows; row += BYTE_ROWS) {
            int64_t height = m->rows - row < BYTE_ROWS ? m->rows - row : BYTE_ROWS;
            transpose_matrix part = transpose_part(m, 1, row, height, column, width);

            if (height == BYTE_ROWS && width == BYTE_COLUMNS) {
                bytes_tile(&part);
            } else {
                transpose_bytes_singly(&part);
            }
        }
    }
}

const transpose_kernel transpose__avx2 = {"transpose__avx2", run_words, run_bytes};
