/* The body of the channels-last depthwise kernels for bytes, compiled once per instruction set by
 * the files that include it, which say how a register of bytes is multiplied.
 *
 * Kernel rows are interleaved, so that a 32-bit lane holds those that one instruction sums: a column
 * is interleaved once and multiplied for every output that sees it, while the sums of these outputs
 * take turns in registers along the row.
 *
 * Before the inclusion: DS_GROUP (rows that an instruction sums, 4 or 2), and
 *     __m256i ds_add_products(__m256i sums, __m256i column, __m256i weights)
 *     void ds_interleave(__m256i rows[DS_GROUP], __m256i to[4])
 *     __m256i ds_load_first(const uint8_t *from, int count)      the others are zero
 *     void ds_store_first(uint8_t *to, __m256i x, int count) */
#ifndef KERNELS_CONV_DEPTHWISE_NHWC_S8_BODY_H
#define KERNELS_CONV_DEPTHWISE_NHWC_S8_BODY_H

#include <immintrin.h>
#include <math.h>

#include "kernels/conv/depthwise_nhwc_s8_finish.h"

#define DS_INLINE static inline __attribute__((always_inline))

enum {
    DS_VECTORS = 4,   /* registers of sums per block */
    DS_MOST_ROWS = 5, /* of kernels of known size */
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
    __m256i flip;
    __m256i padding;
    __m256i spread; /* where repeated channels come from */
    __m256i zero;   /* of the result less its lowest, 16 bits */
    __m256i range, lowest;
    uint8_t absent[DS_LANES]; /* stands for rows outside the image, flipped */
} ds_work;

static void ds_begin(const depthwise_nhwc_band *band, int64_t index, ds_work *w)
{
    const brgemm_finish *f = band->finish;
    uint8_t spread[DS_LANES];

    w->block = ds_block_of(band, index, DS_GROUP);
    w->is_quick = f->result == BRGEMM_BYTES;
    for (int i = 0; i < DS_LANES; i++) {
        bool exists = i < w->block.lanes;
        float factor = exists && f->factor != NULL ? f->factor[w->block.channel + i] : 1.0f;

        w->offset[depthwise_nhwc_s8_place(i)] =
            exists && f->offset != NULL ? f->offset[w->block.channel + i] : 0;
        w->factor[depthwise_nhwc_s8_place(i)] = exists ? factor : 0.0f;
        w->is_quick = w->is_quick && (!exists || fabsf(factor) < 0.5f);
        spread[i] = (uint8_t)((w->block.phase + i) / w->block.multiplier);
    }
    w->flip = _mm256_set1_epi8((char)band->flip);
    w->padding = _mm256_set1_epi8((char)band->zero);
    w->spread = _mm256_loadu_si256((const __m256i *)(const void *)spread);
    w->zero = _mm256_set1_epi16((int16_t)(f->zero - f->low));
    w->range = _mm256_set1_epi8((char)(f->high - f->low));
    w->lowest = _mm256_set1_epi8((char)f->low);
    memset(w->absent, band->zero ^ band->flip, sizeof w->absent);
}

/* A pixel's channels, flipped. */
DS_INLINE __m256i ds_load(const ds_work *w, const uint8_t *from, __m256i flip, bool is_whole)
{
    __m256i x;

    if (is_whole) {
        x = _mm256_loadu_si256((const __m256i *)(const void *)from);
    } else if (w->block.multiplier > 1) {
        x = ds_load_first(from, w->block.in_lanes < 16 ? w->block.in_lanes : 16);
        x = _mm256_shuffle_epi8(_mm256_permute2x128_si256(x, x, 0), w->spread);
    } else {
        x = ds_load_first(from, w->block.lanes);
    }
    return _mm256_xor_si256(x, flip);
}

static __attribute__((noinline)) void ds_finish_slowly(const ds_work *w, const __m256i *sums,
                                                       int64_t pixel)
{
    int32_t placed[DS_LANES];
    int32_t natural[DS_LANES];

    memcpy(placed, sums, sizeof placed);
    for (int i = 0; i < DS_LANES; i++) {
        natural[i] = placed[depthwise_nhwc_s8_place(i)];
    }
    ds_finish(&w->block, natural, pixel);
}

/* Where finishing is. Constants stay in memory: registers hold sums and weights. */
typedef struct ds_ending {
    const ds_work *work;
    bool is_quick;
    uint8_t *y; /* the block's first byte of the next pixel */
    int64_t pitch;
    int64_t pixel;
} ds_ending;

DS_INLINE ds_ending ds_ending_of(const ds_work *w, int64_t pixel)
{
    const depthwise_nhwc_band *band = w->block.band;

    return (ds_ending){w, w->is_quick,
                       (uint8_t *)band->y + pixel * band->y_pitch + w->block.channel, band->y_pitch,
                       pixel};
}

/* Finishes the sums of the next pixel and stores them. Bytes are rounded by the conversion and
 * saturated by the packing. */
DS_INLINE void ds_finish_next(ds_ending *e, const __m256i sums[DS_VECTORS], bool is_whole)
{
    __m256i v[DS_VECTORS];

    if (__builtin_expect(!e->is_quick, 0)) {
        memcpy(v, sums, sizeof v);
        ds_finish_slowly(e->work, v, e->pixel++);
        return;
    }
#pragma GCC unroll 4
    for (int k = 0; k < DS_VECTORS; k++) {
        v[k] = _mm256_cvtps_epi32(
            _mm256_mul_ps(_mm256_cvtepi32_ps(sums[k]), _mm256_loadu_ps(e->work->factor + k * 8)));
    }
    v[0] = _mm256_adds_epi16(_mm256_packs_epi32(v[0], v[1]), e->work->zero);
    v[2] = _mm256_adds_epi16(_mm256_packs_epi32(v[2], v[3]), e->work->zero);
    v[0] = _mm256_min_epu8(_mm256_packus_epi16(v[0], v[2]), e->work->range);
    v[0] = _mm256_add_epi8(v[0], e->work->lowest);
    if (is_whole) {
        _mm256_storeu_si256((__m256i *)(void *)e->y, v[0]);
    } else {
        ds_store_first(e->y, v[0], e->work->block.lanes);
    }
    e->y += e->pitch;
    e->pixel++;
}

DS_INLINE __m256i ds_weights(const uint8_t *packed, int64_t group, int k)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)(packed + group * DS_COLUMN_BYTES) +
                              k);
}

/* Adds one column to the sums of one pixel. */
DS_INLINE void ds_add_column(const __m256i column[DS_VECTORS], const __m256i weights[DS_VECTORS],
                             __m256i sums[DS_VECTORS])
{
#pragma GCC unroll 4
    for (int k = 0; k < DS_VECTORS; k++) {
        sums[k] = ds_add_products(sums[k], column[k], weights[k]);
    }
}

/* Keeps a kernel's weights in registers: the compiler would load them again for each use. */
DS_INLINE void ds_hold(__m256i *weights, int count)
{
#if defined(__AVX512VL__)
#pragma GCC unroll 16
    for (int i = 0; i < count; i++) {
        __asm__("" : "+v"(weights[i]));
    }
#else
    (void)weights;
    (void)count;
#endif
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
    __m256i sums[DS_MOST_SLOTS][DS_VECTORS];
    __m256i weights[DS_MOST_ROWS * DS_MOST_GROUPS][DS_VECTORS];
    const __m256i flip = w->flip;
    const __m256i padding = w->padding;
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
            sums[slot][k] = _mm256_setzero_si256();
        }
    }
#pragma GCC unroll 16
    for (int g = 0; g < size * groups; g++) {
#pragma GCC unroll 4
        for (int k = 0; k < DS_VECTORS; k++) {
            weights[g][k] = ds_weights(w->block.packed, g, k);
        }
        if (size * groups <= DS_MOST_HELD) {
            ds_hold(weights[g], DS_VECTORS);
        }
    }
    for (int64_t first = 0; first < columns; first += slots * stride) {
#pragma GCC unroll 8
        for (int u = 0; u < slots * stride; u++) {
            int64_t at = first + u;
            __m256i column[DS_MOST_GROUPS][DS_VECTORS];

            if (at >= columns) {
                return;
            }
            if (at >= pad && at < pad + in_w) {
                __m256i x[DS_MOST_GROUPS * DS_GROUP];

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
                __m256i x[DS_GROUP];

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
                        sums[slot][k] =
                            _mm256_loadu_si256((const __m256i *)(const void *)(w->offset + k * 8));
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
        __m256i sums[DS_VECTORS];

        for (int k = 0; k < DS_VECTORS; k++) {
            sums[k] = _mm256_loadu_si256((const __m256i *)(const void *)(w->offset + k * 8));
        }
        for (int64_t tap = 0; tap < s->kernel_w * w->block.groups; tap++) {
            int64_t row = tap % w->block.groups * DS_GROUP;
            __m256i rows[DS_GROUP];
            __m256i column[DS_VECTORS];
            __m256i weights[DS_VECTORS];

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
