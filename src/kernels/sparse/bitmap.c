/* Encoding, decoding and counting. */
#include "kernels/sparse/bitmap.h"

#include <string.h>

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Is an element other than zero? The sign of a zero is in the topmost bit of floats; a byte has no
 * negative zero. */
static bool is_number(const void *element, int bytes)
{
    uint32_t word = 0;

    memcpy(&word, element, (size_t)bytes);
    return bytes == 1 ? word != 0 : (word & ((1u << (bytes * 8 - 1)) - 1)) != 0;
}

static char *element_of(const bitmap_matrix *m, int64_t row, int64_t column)
{
    return (char *)m->data + (row * m->row_stride + column * m->column_stride) * m->element_bytes;
}

/* Up to 64 columns of a row as a word; their values to `values`, where not NULL. */
static uint64_t encode_word(const bitmap_matrix *m, int64_t row, int64_t column, int64_t columns,
                            char *values)
{
    uint64_t word = 0;

    for (int64_t c = 0; c < columns; c++) {
        const char *element = element_of(m, row, column + c);

        if (is_number(element, m->element_bytes)) {
            word |= (uint64_t)1 << c;
            if (values != NULL) {
                memcpy(values, element, (size_t)m->element_bytes);
                values += m->element_bytes;
            }
        }
    }
    return word;
}

/* The other way; returns the first value that was not used. */
static const char *decode_word(uint64_t word, const char *values, int64_t row, int64_t column,
                               int64_t columns, const bitmap_matrix *m)
{
    for (int64_t c = 0; c < columns; c++) {
        if ((word >> c & 1) != 0) {
            memcpy(element_of(m, row, column + c), values, (size_t)m->element_bytes);
            values += m->element_bytes;
        } else {
            memset(element_of(m, row, column + c), 0, (size_t)m->element_bytes);
        }
    }
    return values;
}

/* Has the word bits beyond `columns`? */
static bool overflows(uint64_t word, int64_t columns)
{
    return columns < 64 && word >> columns != 0;
}

int64_t bitmap_count(const bitmap_matrix *m)
{
    int64_t count = 0;

    for (int64_t row = 0; row < m->rows; row++) {
        for (int64_t column = 0; column < m->columns; column++) {
            count += is_number(element_of(m, row, column), m->element_bytes);
        }
    }
    return count;
}

int64_t bitmap_encode(const bitmap_matrix *m, uint64_t *bits, void *values)
{
    int64_t count = 0;

    for (int64_t row = 0; row < m->rows; row++) {
        for (int64_t column = 0; column < m->columns; column += 64) {
            *bits = encode_word(m, row, column, least(m->columns - column, 64),
                                (char *)values + count * m->element_bytes);
            count += __builtin_popcountll(*bits++);
        }
    }
    return count;
}

bool bitmap_decode(const uint64_t *bits, const void *values, int64_t count, const bitmap_matrix *m)
{
    const char *from = values;

    for (int64_t row = 0; row < m->rows; row++) {
        for (int64_t column = 0; column < m->columns; column += 64) {
            int64_t columns = least(m->columns - column, 64);
            uint64_t word = *bits++;

            count -= __builtin_popcountll(word);
            if (count < 0 || overflows(word, columns)) {
                return false;
            }
            from = decode_word(word, from, row, column, columns, m);
        }
    }
    return count == 0;
}

/* ---- two levels ---- */

int64_t bitmap_tiles_across(const bitmap_tiles *t)
{
    return (t->columns + t->tile_columns - 1) / t->tile_columns;
}

int64_t bitmap_tiles_in_all(const bitmap_tiles *t)
{
    return (t->rows + t->tile_rows - 1) / t->tile_rows * bitmap_tiles_across(t);
}

/* One tile: its words, zeros beyond the matrix, and its values, where not NULL. Returns how
 * many. */
static int64_t encode_tile(const bitmap_matrix *m, const bitmap_tiles *t, int64_t tile,
                           uint64_t *words, char *values)
{
    int64_t across = bitmap_tiles_across(t);
    int64_t row = tile / across * t->tile_rows;
    int64_t column = tile % across * t->tile_columns;
    int64_t columns = least(t->columns - column, t->tile_columns);
    int64_t count = 0;

    for (int i = 0; i < t->tile_rows; i++) {
        char *to = values != NULL ? values + count * t->element_bytes : NULL;

        words[i] = row + i < t->rows ? encode_word(m, row + i, column, columns, to) : 0;
        count += __builtin_popcountll(words[i]);
    }
    return count;
}

enum { MOST_TILE_ROWS = 64 };

void bitmap_tiles_measure(const bitmap_matrix *m, bitmap_tiles *t)
{
    int64_t tiles = bitmap_tiles_in_all(t);
    uint64_t words[MOST_TILE_ROWS];

    t->kept = 0;
    t->count = 0;
    for (int64_t tile = 0; tile < tiles; tile++) {
        int64_t count = encode_tile(m, t, tile, words, NULL);

        t->kept += count > 0;
        t->count += count;
    }
}

void bitmap_tiles_encode(const bitmap_matrix *m, bitmap_tiles *t)
{
    int64_t tiles = bitmap_tiles_in_all(t);
    int64_t kept = 0;
    int64_t at = 0;
    uint64_t words[MOST_TILE_ROWS];

    memset(t->full, 0, (size_t)bitmap_words(tiles) * sizeof *t->full);
    for (int64_t tile = 0; tile < tiles; tile++) {
        int64_t count = encode_tile(m, t, tile, words, (char *)t->values + at * t->element_bytes);

        if (count > 0) {
            t->full[tile / 64] |= (uint64_t)1 << tile % 64;
            memcpy(t->bits + kept * t->tile_rows, words, (size_t)t->tile_rows * sizeof *words);
            t->offset[kept++] = at;
            at += count;
        }
    }
}

static bool is_full(const bitmap_tiles *t, int64_t tile)
{
    return (t->full[tile / 64] >> tile % 64 & 1) != 0;
}

/* Do the words of a tile stand for values within the array, and for columns that exist? */
static bool tile_is_sound(const bitmap_tiles *t, const uint64_t *words, int64_t offset,
                          int64_t rows, int64_t columns)
{
    int64_t count = 0;

    for (int i = 0; i < t->tile_rows; i++) {
        if (overflows(words[i], columns) || (i >= rows && words[i] != 0)) {
            return false;
        }
        count += __builtin_popcountll(words[i]);
    }
    return count > 0 && offset >= 0 && offset <= t->count - count;
}

bool bitmap_tiles_decode(const bitmap_tiles *t, const bitmap_matrix *m)
{
    int64_t across = bitmap_tiles_across(t);
    int64_t tiles = bitmap_tiles_in_all(t);
    int64_t kept = 0;

    for (int64_t tile = 0; tile < tiles; tile++) {
        int64_t row = tile / across * t->tile_rows;
        int64_t column = tile % across * t->tile_columns;
        int64_t rows = least(t->rows - row, t->tile_rows);
        int64_t columns = least(t->columns - column, t->tile_columns);
        const uint64_t *words = NULL;
        const char *from = NULL;

        if (is_full(t, tile)) {
            words = t->bits + kept * t->tile_rows;
            if (kept == t->kept || !tile_is_sound(t, words, t->offset[kept], rows, columns)) {
                return false;
            }
            from = (const char *)t->values + t->offset[kept++] * t->element_bytes;
        }
        for (int64_t i = 0; i < rows; i++) {
            from = decode_word(words != NULL ? words[i] : 0, from, row + i, column, columns, m);
        }
    }
    return kept == t->kept;
}

/* ---- counting ---- */

/* The number among the kept tiles of the next tile at or after `*tile` in row `k` of tiles, which
 * becomes its column; `*kept` counts tiles passed. False at the end of the row. */
static bool next_full(const bitmap_tiles *t, int64_t first, int64_t end, int64_t *tile,
                      int64_t *kept)
{
    for (; *tile < end - first; (*tile)++) {
        if (is_full(t, first + *tile)) {
            (*kept)++;
            return true;
        }
    }
    return false;
}

/* Steps and products of a pair of tiles. */
static void count_pair(const bitmap_tiles *a, int64_t kept_a, const bitmap_tiles *b, int64_t kept_b,
                       bitmap_work *w)
{
    for (int k = 0; k < a->tile_rows; k++) {
        int left = __builtin_popcountll(a->bits[kept_a * a->tile_rows + k]);
        int right = __builtin_popcountll(b->bits[kept_b * b->tile_rows + k]);

        w->steps += bitmap_steps(left, right);
        w->multiplies += (int64_t)left * right;
    }
}

bitmap_work bitmap_product_work(const bitmap_tiles *a, const bitmap_tiles *b)
{
    int64_t across_a = bitmap_tiles_across(a);
    int64_t across_b = bitmap_tiles_across(b);
    int64_t deep = across_a > 0 ? bitmap_tiles_in_all(a) / across_a : 0;
    int64_t first_a = 0;
    int64_t first_b = 0;
    bitmap_work w = {0};

    w.dense_steps = across_a * across_b * deep * a->tile_rows * bitmap_steps(32, 32);
    for (int64_t k = 0; k < deep; k++) {
        int64_t kept_a = first_a;
        int64_t kept_b = first_b;

        for (int64_t i = 0; next_full(a, k * across_a, (k + 1) * across_a, &i, &kept_a); i++) {
            kept_b = first_b;
            for (int64_t j = 0; next_full(b, k * across_b, (k + 1) * across_b, &j, &kept_b); j++) {
                count_pair(a, kept_a - 1, b, kept_b - 1, &w);
            }
        }
        for (int64_t j = 0; kept_a == first_a && j < across_b; j++) { /* B's were not passed */
            kept_b += is_full(b, k * across_b + j);
        }
        first_a = kept_a;
        first_b = kept_b;
    }
    return w;
}
