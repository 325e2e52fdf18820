/* The body of the channels-last depthwise kernels for bytes, compiled once per instruction set and
 * width of registers by the files that include it.
 *
 * Kernel rows are interleaved, so that a 32-bit lane holds those that one instruction sums: a
 * column is interleaved once and multiplied for every output that sees it, while the sums of these
 * outputs take turns in registers along the row.
 *
 * Before the inclusion: DS_GROUP (rows that an instruction sums, 4 or 2), DS_HOLDS_WEIGHTS (there
 * are registers for those of small kernels), the type ds_vector with the operations of
 * depthwise_nhwc_s8_ymm.h, and
 *     ds_vector ds_add_products(ds_vector sums, ds_vector column, ds_vector weights)
 *     void ds_interleave(const ds_vector rows[DS_GROUP], ds_vector to[4])
 *     ds_vector ds_load_first(const uint8_t *from, int count)      the others are zero
 *     void ds_store_first(uint8_t *to, ds_vector x, int count) */
#ifndef KERNELS_CONV_DEPTHWISE_NHWC_S8_BODY_H
#define KERNELS_CONV_DEPTHWISE_NHWC_S8_BODY_H

#include <math.h>

#include "kernels/conv/depthwise_nhwc_s8_finish.h"

enum {
    DS_LANES = (int)sizeof(ds_vector),
    DS_COLUMN_BYTES = DS_LANES * DS_GROUP_BYTES,
    DS_SUMS = DS_LANES / 4, /* in a register */
    DS_VECTORS = 4,         /* registers of sums per block */
    DS_MOST_ROWS = 5,       /* of kernels of known size */
    DS_MOST_GROUPS = (DS_MOST_ROWS + DS_GROUP - 1) / DS_GROUP,
    DS_MOST_SLOTS = 5, /* outputs that see a column */
    DS_MOST_HELD = 3   /* columns and groups whose weights stay in registers */
};

/* A block with its numbers in the order of the registers. */
typedef struct ds_work {
    ds_block block;
    int32_t offset[DS_LANES];
    float factor[DS_LANES];
    bool is_quick; /* bytes that no conversion can overflow */
    ds_vector flip;
    ds_vector padding;
    ds_vector spread; /* where repeated channels come from */
    ds_vector zero;   /* of the result less its lowest, 16 bits */
    ds_vector range, lowest;
    uint8_t absent[DS_LANES]; /* stands for rows outside the image, flipped */
} ds_work;

static void ds_begin(const depthwise_nhwc_band *band, int64_t index, ds_work *w)
{
    const brgemm_finish *f = band->finish;
    uint8_t spread[DS_LANES];

    w->block = ds_block_of(band, index, DS_LANES, DS_GROUP);
    w->is_quick = f->result == BRGEMM_BYTES;
    for (int i = 0; i < DS_LANES; i++) {
        bool exists = i < w->block.lanes;
        float factor = exists && f->factor != NULL ? f->factor[w->block.channel + i] : 1.0f;

        w->offset[depthwise_nhwc_s8_place(i, DS_LANES)] =
            exists && f->offset != NULL ? f->offset[w->block.channel + i] : 0;
        w->factor[depthwise_nhwc_s8_place(i, DS_LANES)] = exists ? factor : 0.0f;
        w->is_quick = w->is_quick && (!exists || fabsf(factor) < 0.5f);
        spread[i] = (uint8_t)((w->block.phase + i) / w->block.multiplier);
    }
    w->flip = ds_set_bytes((char)band->flip);
    w->padding = ds_set_bytes((char)band->zero);
    w->spread = ds_load_all(spread);
    w->zero = ds_set_words((int16_t)(f->zero - f->low));
    w->range = ds_set_bytes((char)(f->high - f->low));
    w->lowest = ds_set_bytes((char)f->low);
    memset(w->absent, band->zero ^ band->flip, sizeof w->absent);
}

/* A pixel's channels, flipped. */
DS_INLINE ds_vector ds_load(const ds_work *w, const uint8_t *from, ds_vector flip, bool is_whole)
{
    ds_vector x;

    if (is_whole) {
        x = ds_load_all(from);
    } else if (w->block.multiplier > 1) {
        x = ds_spread(ds_load_first(from, w->block.in_lanes), w->spread);
    } else {
        x = ds_load_first(from, w->block.lanes);
    }
    return ds_flip(x, flip);
}

static __attribute__((noinline)) void ds_finish_slowly(const ds_work *w, const ds_vector *sums,
                                                       int64_t pixel)
{
    int32_t placed[DS_LANES];
    int32_t natural[DS_LANES];

    memcpy(placed, sums, sizeof placed);
    for (int i = 0; i < DS_LANES; i++) {
        natural[i] = placed[depthwise_nhwc_s8_place(i, DS_LANES)];
    }
    ds_finish(&w->block, natural, pixel);
}

/* Where finishing is. Constants stay in memory: registers hold sums and weights. */
typedef struct ds_ending {
    const ds_work *work;
    bool is_quick, is_clamped;
    uint8_t *y; /* the block's first byte of the next pixel */
    int64_t pitch;
    int64_t pixel;
} ds_ending;

DS_INLINE ds_ending ds_ending_of(const ds_work *w, int64_t pixel)
{
    const depthwise_nhwc_band *band = w->block.band;

    return (ds_ending){w,
                       w->is_quick,
                       band->finish->high - band->finish->low < UINT8_MAX,
                       (uint8_t *)band->y + pixel * band->y_pitch + w->block.channel,
                       band->y_pitch,
                       pixel};
}

/* Finishes the sums of the next pixel and stores them. Bytes are rounded by the conversion and
 * saturated by the packing. */
DS_INLINE void ds_finish_next(ds_ending *e, const ds_vector sums[DS_VECTORS], bool is_whole)
{
    ds_vector v[DS_VECTORS];

    if (__builtin_expect(!e->is_quick, 0)) {
        memcpy(v, sums, sizeof v);
        ds_finish_slowly(e->work, v, e->pixel++);
        return;
    }
#pragma GCC unroll 4
    for (int k = 0; k < DS_VECTORS; k++) {
        v[k] = ds_round(sums[k], e->work->factor + k * DS_SUMS);
    }
    v[0] = ds_add_words(ds_pack_sums(v[0], v[1]), e->work->zero);
    v[2] = ds_add_words(ds_pack_sums(v[2], v[3]), e->work->zero);
    v[0] = ds_pack_words(v[0], v[2]);
    if (e->is_clamped) {
        v[0] = ds_least_bytes(v[0], e->work->range);
    }
    v[0] = ds_add_bytes(v[0], e->work->lowest);
    if (is_whole) {
        ds_store_all(e->y, v[0]);
    } else {
        ds_store_first(e->y, v[0], e->work->block.lanes);
    }
    e->y += e->pitch;
    e->pixel++;
}

DS_INLINE ds_vector ds_weights(const uint8_t *packed, int64_t group, int k)
{
    return ds_load_all(packed + group * DS_COLUMN_BYTES + k * DS_LANES);
}

/* Adds one column to the sums of one pixel. */
DS_INLINE void ds_add_column(const ds_vector column[DS_VECTORS],
                             const ds_vector weights[DS_VECTORS], ds_vector sums[DS_VECTORS])
{
#pragma GCC unroll 4
    for (int k = 0; k < DS_VECTORS; k++) {
        sums[k] = ds_add_products(sums[k], column[k], weights[k]);
    }
}

/* A row of output whose kernel and stride the compiler knows. */
DS_INLINE void ds_known(const ds_work *w, int64_t y, int size, int stride, bool is_whole)
{
    const conv_f32_shape *s = &w->block.shape;
    const int groups = (size + DS_GROUP - 1) / DS_GROUP;
    const int slots = (size + stride - 1) / stride;
    const int64_t columns = (s->out_w - 1) * stride + size;
    const int64_t in_w = s->in_w;
    const int64_t pad = s->pad_w;
    const uint8_t *rows[DS_MOST_ROWS];
    int64_t steps[DS_MOST_ROWS];
    ds_vector sums[DS_MOST_SLOTS][DS_VECTORS];
    ds_vector weights[DS_MOST_ROWS * DS_MOST_GROUPS][DS_VECTORS];
    const ds_vector flip = w->flip;
    const ds_vector padding = w->padding;
    ds_ending ending = ds_ending_of(w, y * s->out_w);

#pragma GCC unroll 5
    for (int r = 0; r < size; r++) {
        int64_t row = y * s->stride_h - s->pad_h + r * s->dilation_h;
        bool exists = row >= 0 && row < s->in_h;

        rows[r] = exists ? w->block.in + row * in_w * s->channels : w->absent;
        steps[r] = exists ? s->channels : 0;
    }
#pragma GCC unroll 5
    for (int slot = 0; slot < slots; slot++) {
#pragma GCC unroll 4
        for (int k = 0; k < DS_VECTORS; k++) {
            sums[slot][k] = ds_set_bytes(0);
        }
    }
#pragma GCC unroll 16
    for (int g = 0; g < size * groups; g++) {
#pragma GCC unroll 4
        for (int k = 0; k < DS_VECTORS; k++) {
            weights[g][k] = ds_weights(w->block.packed, g, k);
            if (DS_HOLDS_WEIGHTS && size * groups <= DS_MOST_HELD) {
                __asm__("" : "+v"(weights[g][k])); /* or it is loaded again for each use */
            }
        }
    }
    for (int64_t first = 0; first < columns; first += slots * stride) {
#pragma GCC unroll 8
        for (int u = 0; u < slots * stride; u++) {
            int64_t at = first + u;
            ds_vector column[DS_MOST_GROUPS][DS_VECTORS];

            if (at >= columns) {
                return;
            }
            if (at >= pad && at < pad + in_w) {
                ds_vector x[DS_MOST_GROUPS * DS_GROUP];

#pragma GCC unroll 8
                for (int r = 0; r < groups * DS_GROUP; r++) {
                    x[r] = r < size ? ds_load(w, rows[r], flip, is_whole) : x[r - 1];
                }
#pragma GCC unroll 5
                for (int r = 0; r < size; r++) {
                    rows[r] += steps[r];
                }
#pragma GCC unroll 3
                for (int g = 0; g < groups; g++) {
                    ds_interleave(x + g * DS_GROUP, column[g]);
                }
            } else {
                ds_vector x[DS_GROUP];

#pragma GCC unroll 4
                for (int r = 0; r < DS_GROUP; r++) {
                    x[r] = padding;
                }
#pragma GCC unroll 3
                for (int g = 0; g < groups; g++) {
                    ds_interleave(x, column[g]);
                }
            }
#pragma GCC unroll 5
            for (int q = 0; q < size; q++) {
                int back = u - q + slots * stride;
                int slot = back / stride % slots;

                if (back % stride != 0) {
                    continue;
                }
                if (q == 0) {
#pragma GCC unroll 4
                    for (int k = 0; k < DS_VECTORS; k++) {
                        sums[slot][k] = ds_load_all(w->offset + k * DS_SUMS);
                    }
                }
#pragma GCC unroll 3
                for (int g = 0; g < groups; g++) {
                    ds_add_column(column[g], weights[q * groups + g], sums[slot]);
                }
                if (q == size - 1 && at >= size - 1) {
                    ds_finish_next(&ending, sums[slot], is_whole);
                }
            }
        }
    }
}

/* A row of output of any kernel. */
static void ds_any(const ds_work *w, int64_t y)
{
    const conv_f32_shape *s = &w->block.shape;
    ds_ending ending = ds_ending_of(w, y * s->out_w);

    for (int64_t x = 0; x < s->out_w; x++) {
        ds_vector sums[DS_VECTORS];

        for (int k = 0; k < DS_VECTORS; k++) {
            sums[k] = ds_load_all(w->offset + k * DS_SUMS);
        }
        for (int64_t tap = 0; tap < s->kernel_w * w->block.groups; tap++) {
            int64_t row = tap % w->block.groups * DS_GROUP;
            ds_vector rows[DS_GROUP];
            ds_vector column[DS_VECTORS];
            ds_vector weights[DS_VECTORS];

            for (int r = 0; r < DS_GROUP; r++) {
                const uint8_t *from = NULL;

                if (row + r < s->kernel_h) {
                    from = ds_pixel(&w->block, y, x, row + r, tap / w->block.groups);
                }
                rows[r] = from != NULL ? ds_load(w, from, w->flip, false) : w->padding;
            }
            ds_interleave(rows, column);
            for (int k = 0; k < DS_VECTORS; k++) {
                weights[k] = ds_weights(w->block.packed, tap, k);
            }
            ds_add_column(column, weights, sums);
        }
        ds_finish_next(&ending, sums, false);
    }
}

/* clang-format off */
static void ds_3x1_whole(const ds_work *w, int64_t y) { ds_known(w, y, 3, 1, true); }
static void ds_3x2_whole(const ds_work *w, int64_t y) { ds_known(w, y, 3, 2, true); }
static void ds_5x1_whole(const ds_work *w, int64_t y) { ds_known(w, y, 5, 1, true); }
static void ds_5x2_whole(const ds_work *w, int64_t y) { ds_known(w, y, 5, 2, true); }
static void ds_3x1_part(const ds_work *w, int64_t y) { ds_known(w, y, 3, 1, false); }
static void ds_3x2_part(const ds_work *w, int64_t y) { ds_known(w, y, 3, 2, false); }
static void ds_5x1_part(const ds_work *w, int64_t y) { ds_known(w, y, 5, 1, false); }
static void ds_5x2_part(const ds_work *w, int64_t y) { ds_known(w, y, 5, 2, false); }
/* clang-format on */

typedef void ds_function(const ds_work *w, int64_t y);

static inline ds_function *ds_choose(const ds_work *w)
{
    static const struct {
        int64_t size, stride;
        ds_function *whole, *part;
    } known[] = {
        {3, 1, ds_3x1_whole, ds_3x1_part},
        {3, 2, ds_3x2_whole, ds_3x2_part},
        {5, 1, ds_5x1_whole, ds_5x1_part},
        {5, 2, ds_5x2_whole, ds_5x2_part},
    };
    const conv_f32_shape *s = &w->block.shape;
    bool is_whole = w->block.multiplier == 1 && w->block.lanes == DS_LANES;

    for (size_t i = 0; s->dilation_w == 1 && i < sizeof known / sizeof *known; i++) {
        if (s->kernel_h == known[i].size && s->kernel_w == known[i].size &&
            s->stride_w == known[i].stride) {
            return is_whole ? known[i].whole : known[i].part;
        }
    }
    return ds_any;
}

static inline void ds_band(const depthwise_nhwc_band *b)
{
    for (int64_t block = b->block; block < b->block + b->blocks; block++) {
        ds_function *row;
        ds_work w;

        ds_begin(b, block, &w);
        row = ds_choose(&w);
        for (int64_t y = b->row; y < b->row + b->rows; y++) {
            row(&w, y);
        }
    }
}

#endif
