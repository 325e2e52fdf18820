/* The portable transposition and the list of variants. */
#include "kernels/transpose/transpose.h"

#include <string.h>

#include "kernels/transpose/transpose_variants.h"

void transpose_words_singly(const transpose_matrix *m)
{
    for (int64_t row = 0; row < m->rows; row++) {
        const char *from = (const char *)m->from + row * m->from_pitch;

        for (int64_t column = 0; column < m->columns; column++) {
            memcpy((char *)m->to + column * m->to_pitch + row * 4, from + column * 4, 4);
        }
    }
}

void transpose_bytes_singly(const transpose_matrix *m)
{
    for (int64_t row = 0; row < m->rows; row++) {
        const uint8_t *from = (const uint8_t *)m->from + row * m->from_pitch;

        for (int64_t column = 0; column < m->columns; column++) {
            ((uint8_t *)m->to)[column * m->to_pitch + row] = from[column];
        }
    }
}

/* Tiles keep the cache lines of both sides until they have been used whole. */
static void by_tiles(const transpose_matrix *m, int64_t size, transpose_run *tile)
{
    const int64_t side = 64 / size;

    for (int64_t column = 0; column < m->columns; column += side) {
        int64_t width = m->columns - column < side ? m->columns - column : side;

        for (int64_t row = 0; row < m->rows; row += side) {
            int64_t height = m->rows - row < side ? m->rows - row : side;
            transpose_matrix part = transpose_part(m, size, row, height, column, width);

            tile(&part);
        }
    }
}

static void run_words(const transpose_matrix *m)
{
    by_tiles(m, 4, transpose_words_singly);
}

static void run_bytes(const transpose_matrix *m)
{
    by_tiles(m, 1, transpose_bytes_singly);
}

static const transpose_kernel transpose__generic = {"transpose__generic", run_words, run_bytes};

const isa_variant transpose_variants[] = {
    {"transpose__generic", ISA_GENERIC, &transpose__generic},
#ifdef SPRY_HAVE_AVX2
    {"transpose__avx2", ISA_AVX2, &transpose__avx2},
#endif
#ifdef SPRY_HAVE_AVX512
    {"transpose__avx512", ISA_AVX512, &transpose__avx512},
#endif
};
const int transpose_variant_count = sizeof transpose_variants / sizeof *transpose_variants;

const transpose_kernel *transpose_select(void)
{
    return isa_select(transpose_variants, transpose_variant_count);
}
