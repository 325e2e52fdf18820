/* Packing of bytes while a product runs, where one of the two strides is 1. */
#include "kernels/brgemm/brgemm.h"

enum { GROUP = 4 };

/* Steps [first, first + count) of columns whose bytes lie side by side in rows of k. */
static void pack_rows(const brgemm_source *s, const uint8_t *b, int count, int64_t columns,
                      uint8_t *to)
{
    static const uint8_t zeros[BRGEMM_MOST_NR];
    const uint8_t *row[GROUP];
    uint32_t flips = 0;

    for (int i = 0; i < GROUP; i++) {
        row[i] = i < count ? b + i * s->k_stride : zeros;
        flips |= i < count ? (uint32_t)s->flip << 8 * i : 0;
    }
    for (int64_t j = 0; j < columns; j++) {
        uint32_t four = row[0][j] | (uint32_t)row[1][j] << 8 | (uint32_t)row[2][j] << 16 |
                        (uint32_t)row[3][j] << 24;

        four ^= flips;
        to[GROUP * j] = (uint8_t)four;
        to[GROUP * j + 1] = (uint8_t)(four >> 8);
        to[GROUP * j + 2] = (uint8_t)(four >> 16);
        to[GROUP * j + 3] = (uint8_t)(four >> 24);
    }
}

/* The same of columns whose steps lie side by side. */
static void pack_columns(const brgemm_source *s, const uint8_t *b, int count, int64_t columns,
                         uint8_t *to)
{
    uint32_t flips = s->flip * UINT32_C(0x01010101);

    for (int64_t j = 0; j < columns; j++) {
        const uint8_t *from = b + j * s->column_stride;
        uint32_t four = 0;

        if (count == GROUP) {
            memcpy(&four, from, sizeof four);
            four ^= flips;
            memcpy(to + GROUP * j, &four, sizeof four);
            continue;
        }
        for (int i = 0; i < GROUP; i++) {
            to[GROUP * j + i] = i < count ? from[i] ^ s->flip : 0;
        }
    }
}

void brgemm_s8_pack_panel(const brgemm_kernel *kernel, const brgemm_source *source, int64_t k,
                          int64_t columns, uint8_t *packed)
{
    const uint8_t *b = source->data;
    int64_t line = (int64_t)kernel->nr * GROUP;

    if (source->k_stride != 1 && source->column_stride != 1) {
        brgemm_pack(kernel, source, 1, k, columns, packed);
        return;
    }
    for (int64_t step = 0; step < k; step += GROUP) {
        int count = (int)(k - step < GROUP ? k - step : GROUP);

        if (source->column_stride == 1) {
            pack_rows(source, b + step * source->k_stride, count, columns, packed);
        } else {
            pack_columns(source, b + step, count, columns, packed);
        }
        memset(packed + columns * GROUP, 0, (size_t)(line - columns * GROUP));
        packed += line;
    }
}
