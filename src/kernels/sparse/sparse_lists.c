/* Listing weights. */
#include "kernels/sparse/sparse_lists.h"

#include <math.h>
#include <string.h>

enum { ALIGNMENT = 64 };

/* Where a block begins. */
typedef struct block_start {
    int64_t row, entry;
} block_start;

static int64_t blocks_of(int64_t extent, int64_t block)
{
    return (extent + block - 1) / block;
}

static int64_t padded(int64_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* The four bytes of entry number `entry` of a row: `group` elements of k that lie `inner` apart.
 * False when they are all zero. */
static bool read_entry(const sparse_source *s, brgemm_type type, int group, int64_t inner,
                       int64_t row, int64_t entry, void *four)
{
    int64_t k = entry / inner * group * inner + entry % inner;
    int64_t at = row * s->row_stride + k * s->k_stride;
    uint32_t word = 0;
    bool is_number = false;

    for (int i = 0; i < group && k + i * inner < s->k; i++, at += inner * s->k_stride) {
        if (type == BRGEMM_S8) {
            word |= (uint32_t)((const uint8_t *)s->data)[at] << (8 * i);
        } else if (type == BRGEMM_BF16) {
            word |= (uint32_t)brgemm_bf16(((const float *)s->data)[at]) << (16 * i);
        } else {
            memcpy(&word, (const float *)s->data + at, sizeof word);
        }
    }
    switch (type) { /* the sign of a zero does not count */
    case BRGEMM_F32: is_number = (word & 0x7FFFFFFFu) != 0; break;
    case BRGEMM_BF16: is_number = (word & 0x7FFF7FFFu) != 0; break;
    default: is_number = word != 0; break;
    }
    memcpy(four, &word, sizeof word);
    return is_number;
}

static int64_t entries_of_row(int64_t k, int group, int64_t inner)
{
    return blocks_of(k, group * inner) * inner;
}

/* Numbers of a row that are not zero, and infinite ones. */
static void count_numbers(const sparse_source *s, brgemm_type type, int64_t row, sparse_facts *f)
{
    int64_t at = row * s->row_stride;

    for (int64_t k = 0; k < s->k; k++, at += s->k_stride) {
        if (type == BRGEMM_S8) {
            f->numbers += ((const int8_t *)s->data)[at] != 0;
        } else {
            float x = ((const float *)s->data)[at];

            f->numbers += x != 0.0f;
            f->infinite += !isfinite(x);
        }
    }
}

sparse_facts sparse_facts_of(const sparse_source *source, int group, brgemm_type type,
                             int64_t inner)
{
    int64_t entries = entries_of_row(source->k, group, inner);
    sparse_facts f = {0};
    uint32_t word;

    for (int64_t row = 0; row < source->rows; row++) {
        count_numbers(source, type, row, &f);
        for (int64_t i = 0; i < entries; i++) {
            f.entries += read_entry(source, type, group, inner, row, i, &word);
        }
    }
    return f;
}

/* ---- memory: starts of blocks, rows, places, values ---- */

static int64_t rows_at(const sparse_lists *l)
{
    return padded((l->row_blocks * l->k_blocks + 1) * (int64_t)sizeof(block_start));
}

static int64_t places_at(const sparse_lists *l)
{
    return rows_at(l) + padded(l->rows * l->k_blocks * (int64_t)sizeof(sparse_row));
}

static int64_t values_at(const sparse_lists *l)
{
    return places_at(l) + padded(l->entries * (int64_t)sizeof(uint32_t));
}

void sparse_lists_plan(sparse_lists *l)
{
    l->row_blocks = blocks_of(l->rows, l->row_block);
    l->k_blocks = blocks_of(l->k, l->k_block);
    l->bytes = values_at(l) + padded(l->entries * 4);
}

/* A block being listed. */
typedef struct listing {
    const sparse_lists *l;
    const sparse_source *source;
    const uint32_t *at;
    int64_t first_entry, entries; /* of a row, in this block */
} listing;

static uint32_t count_row(const listing *b, int64_t row)
{
    uint32_t count = 0;
    uint32_t word;

    for (int64_t i = 0; i < b->entries; i++) {
        count += read_entry(b->source, b->l->type, b->l->group, b->l->inner, row,
                            b->first_entry + i, &word);
    }
    return count;
}

/* The rows of a block with their counts, fewest first; rows of equal counts in ascending order.
 * Rows without entries only when `all`. Returns how many. */
static int64_t sort_rows(const listing *b, int64_t first, int64_t rows, bool all, sparse_row *to)
{
    int64_t count = 0;

    for (int64_t i = 0; i < rows; i++) {
        sparse_row row = {(uint32_t)i, count_row(b, first + i)};
        int64_t place;

        if (row.count == 0 && !all) {
            continue;
        }
        for (place = count++; place > 0 && to[place - 1].count > row.count; place--) {
            to[place] = to[place - 1];
        }
        to[place] = row;
    }
    return count;
}

/* The entries of a row. Returns how many. */
static int64_t list_row(const listing *b, int64_t row, uint32_t *places, char *values)
{
    const sparse_lists *l = b->l;
    int64_t count = 0;
    uint32_t word;

    for (int64_t i = 0; i < b->entries; i++) {
        if (read_entry(b->source, l->type, l->group, l->inner, row, b->first_entry + i, &word)) {
            memcpy(values + count * 4, &word, sizeof word);
            places[count++] = b->at[i];
        }
    }
    return count;
}

void sparse_lists_pack(const sparse_lists *l, const sparse_source *source, const uint32_t *at,
                       void *memory)
{
    block_start *starts = memory;
    sparse_row *rows = (sparse_row *)(void *)((char *)memory + rows_at(l));
    uint32_t *places = (uint32_t *)(void *)((char *)memory + places_at(l));
    char *values = (char *)memory + values_at(l);
    int64_t most = entries_of_row(l->k, l->group, l->inner);
    block_start here = {0, 0};

    memset(memory, 0, (size_t)l->bytes);
    for (int64_t i = 0; i < l->row_blocks; i++) {
        int64_t first = i * l->row_block;
        int64_t count = l->rows - first < l->row_block ? l->rows - first : l->row_block;

        for (int64_t j = 0; j < l->k_blocks; j++) {
            listing b = {l, source, at, j * l->k_block / l->group, l->k_block / l->group};
            int64_t kept;

            b.entries = most - b.first_entry < b.entries ? most - b.first_entry : b.entries;
            *starts++ = here;
            kept = sort_rows(&b, first, count, j == 0, rows + here.row);
            for (int64_t r = 0; r < kept; r++) {
                int64_t row = first + rows[here.row + r].row;

                here.entry += list_row(&b, row, places + here.entry, values + here.entry * 4);
            }
            here.row += kept;
        }
    }
    *starts = here;
}

sparse_block sparse_lists_block(const sparse_lists *l, const void *memory, int64_t row_block,
                                int64_t k_block)
{
    const block_start *start = (const block_start *)memory + row_block * l->k_blocks + k_block;
    const char *bytes = memory;

    return (sparse_block){
        .rows = (const sparse_row *)(const void *)(bytes + rows_at(l)) + start->row,
        .row_count = start[1].row - start->row,
        .at = (const uint32_t *)(const void *)(bytes + places_at(l)) + start->entry,
        .value = bytes + values_at(l) + start->entry * 4};
}
