/* The body of the channels-last pooling kernels, compiled per instruction set by the files that
 * include it. A block of channels stays in registers while its window is walked. */
#ifndef KERNELS_POOL_POOL_NHWC_BODY_H
#define KERNELS_POOL_POOL_NHWC_BODY_H

#include <math.h>

#include "kernels/elementwise/elementwise_f32_vector.h"
#include "kernels/pool/pool_nhwc.h"

enum {
    POOL_NHWC_VECTORS = 4,   /* of a block of channels */
    POOL_NHWC_BYTES = 64,    /* channels of a block of bytes */
    POOL_NHWC_SUM_BLOCK = 64 /* pixels that are added up before their sum is added to the total */
};

typedef enum pool_nhwc_kind { POOL_NHWC_MAX, POOL_NHWC_SUM } pool_nhwc_kind;

/* The pixels of one window that exist: rows and columns in steps of the dilation. */
typedef struct pool_nhwc_window {
    int64_t rows, columns;
    int64_t row_pitch, column_pitch; /* in elements */
    int64_t first;                   /* element of the first pixel */
    float size;                      /* what an average divides by */
} pool_nhwc_window;

/* Taps of an axis inside [low, high), which are neighbours, and the first one's index. */
VEC_INLINE int64_t pool_nhwc_inside(int64_t start, int64_t step, int64_t taps, int64_t low,
                                    int64_t high, int64_t *first)
{
    int64_t skipped = start < low ? (low - start + step - 1) / step : 0;
    int64_t until = start < high ? (high - start + step - 1) / step : 0;

    until = until < taps ? until : taps;
    *first = skipped;
    return until > skipped ? until - skipped : 0;
}

VEC_INLINE pool_nhwc_window pool_nhwc_window_at(const pool_nhwc_rows *p, int64_t row,
                                                int64_t column)
{
    const conv_f32_shape *s = p->shape;
    int64_t y = row * s->stride_h - s->pad_h;
    int64_t x = column * s->stride_w - s->pad_w;
    int64_t skipped_rows;
    int64_t skipped;
    pool_nhwc_window w = {.row_pitch = s->dilation_h * s->in_w * s->channels,
                          .column_pitch = s->dilation_w * s->channels};

    w.rows = pool_nhwc_inside(y, s->dilation_h, s->kernel_h, 0, s->in_h, &skipped_rows);
    w.columns = pool_nhwc_inside(x, s->dilation_w, s->kernel_w, 0, s->in_w, &skipped);
    w.first =
        ((y + skipped_rows * s->dilation_h) * s->in_w + x + skipped * s->dilation_w) * s->channels;
    w.size = (float)(w.rows * w.columns);
    if (p->count_padding) {
        w.size = (float)(pool_nhwc_inside(y, s->dilation_h, s->kernel_h, -s->pad_h,
                                          s->in_h + p->end_h, &skipped) *
                         pool_nhwc_inside(x, s->dilation_w, s->kernel_w, -s->pad_w,
                                          s->in_w + p->end_w, &skipped));
    }
    return w;
}

VEC_INLINE vec_f32 pool_nhwc_join(pool_nhwc_kind kind, vec_f32 so_far, vec_f32 pixel)
{
    /* A NaN in the bound does not count. */
    return kind == POOL_NHWC_SUM ? so_far + pixel : vec_max(so_far, pixel);
}

VEC_INLINE vec_f32 pool_nhwc_start(pool_nhwc_kind kind)
{
    return vec_set(kind == POOL_NHWC_SUM ? 0.0f : -INFINITY);
}

/* Joins the window's pixels for `vectors` vectors of channels, or `part` < VEC_LANES channels. */
VEC_INLINE void pool_nhwc_block(pool_nhwc_kind kind, const pool_nhwc_window *w, const float *from,
                                int vectors, int64_t part, float *to)
{
    vec_f32 joined[POOL_NHWC_VECTORS];

    for (int v = 0; v < vectors; v++) {
        joined[v] = pool_nhwc_start(kind);
    }
    for (int64_t y = 0; y < w->rows; y++) {
        const float *row = from + y * w->row_pitch;

        for (int64_t x = 0; x < w->columns; x++) {
            const float *pixel = row + x * w->column_pitch;

            for (int v = 0; v < vectors; v++) {
                vec_f32 value = part > 0 ? vec_load_part(pixel, part)
                                         : vec_load(pixel + (int64_t)v * VEC_LANES);

                joined[v] = pool_nhwc_join(kind, joined[v], value);
            }
        }
    }
    for (int v = 0; v < vectors; v++) {
        vec_f32 result = kind == POOL_NHWC_SUM ? joined[v] / w->size : joined[v];

        if (part > 0) {
            vec_store_part(to, result, part);
        } else {
            vec_store(to + (int64_t)v * VEC_LANES, result);
        }
    }
}

/* One output pixel. */
VEC_INLINE void pool_nhwc_pixel(pool_nhwc_kind kind, const pool_nhwc_window *w, const float *from,
                                int64_t channels, float *to)
{
    int64_t c = 0;

    for (; c + POOL_NHWC_VECTORS * VEC_LANES <= channels; c += POOL_NHWC_VECTORS * VEC_LANES) {
        pool_nhwc_block(kind, w, from + c, POOL_NHWC_VECTORS, 0, to + c);
    }
    for (; c + VEC_LANES <= channels; c += VEC_LANES) {
        pool_nhwc_block(kind, w, from + c, 1, 0, to + c);
    }
    if (c < channels) {
        pool_nhwc_block(kind, w, from + c, 1, channels - c, to + c);
    }
}

VEC_INLINE void pool_nhwc_floats(pool_nhwc_kind kind, const pool_nhwc_rows *p)
{
    const conv_f32_shape *s = p->shape;

    for (int64_t row = p->first; row < p->first + p->count; row++) {
        const float *image =
            (const float *)p->in + row / s->out_h * s->in_h * s->in_w * s->channels;
        float *to = (float *)p->out + row * s->out_w * s->channels;

        for (int64_t x = 0; x < s->out_w; x++) {
            pool_nhwc_window w = pool_nhwc_window_at(p, row % s->out_h, x);

            pool_nhwc_pixel(kind, &w, image + w.first, s->channels, to + x * s->channels);
        }
    }
}

static void run_max_f32(const pool_nhwc_rows *p)
{
    pool_nhwc_floats(POOL_NHWC_MAX, p);
}

static void run_average_f32(const pool_nhwc_rows *p)
{
    pool_nhwc_floats(POOL_NHWC_SUM, p);
}

/* ---- bytes: signed ones are compared with their sign bit inverted ---- */

/* `count` channels, at most POOL_NHWC_BYTES. */
VEC_INLINE void pool_nhwc_bytes(const pool_nhwc_window *w, const uint8_t *from, int64_t count,
                                uint8_t flip, uint8_t *to)
{
    uint8_t most[POOL_NHWC_BYTES] = {0};

    for (int64_t y = 0; y < w->rows; y++) {
        for (int64_t x = 0; x < w->columns; x++) {
            const uint8_t *pixel = from + y * w->row_pitch + x * w->column_pitch;

            for (int64_t i = 0; i < count; i++) {
                uint8_t byte = pixel[i] ^ flip;

                most[i] = byte > most[i] ? byte : most[i];
            }
        }
    }
    for (int64_t i = 0; i < count; i++) {
        to[i] = most[i] ^ flip;
    }
}

VEC_INLINE void pool_nhwc_max_bytes(const pool_nhwc_rows *p, uint8_t flip)
{
    const conv_f32_shape *s = p->shape;

    for (int64_t row = p->first; row < p->first + p->count; row++) {
        const uint8_t *image =
            (const uint8_t *)p->in + row / s->out_h * s->in_h * s->in_w * s->channels;
        uint8_t *to = (uint8_t *)p->out + row * s->out_w * s->channels;

        for (int64_t x = 0; x < s->out_w; x++, to += s->channels) {
            pool_nhwc_window w = pool_nhwc_window_at(p, row % s->out_h, x);
            int64_t c = 0;

            for (; c + POOL_NHWC_BYTES <= s->channels; c += POOL_NHWC_BYTES) {
                pool_nhwc_bytes(&w, image + w.first + c, POOL_NHWC_BYTES, flip, to + c);
            }
            if (c < s->channels) {
                pool_nhwc_bytes(&w, image + w.first + c, s->channels - c, flip, to + c);
            }
        }
    }
}

static void run_max_u8(const pool_nhwc_rows *p)
{
    pool_nhwc_max_bytes(p, 0);
}

static void run_max_s8(const pool_nhwc_rows *p)
{
    pool_nhwc_max_bytes(p, 0x80);
}

/* ---- averages of bytes ---- */

/* Pixels that are added at a time, and bytes of which the sum fits 16 bits. */
enum { POOL_NHWC_FOUR = 4, POOL_NHWC_MOST_SUMS = 252 };

/* Adds `pixels` neighbours of `count` channels, at most POOL_NHWC_MOST_SUMS. */
VEC_INLINE void pool_nhwc_add_run(const uint8_t *from, int64_t pitch, int64_t pixels, int64_t count,
                                  uint8_t flip, uint16_t *restrict sums)
{
    int64_t x = 0;

    for (; x + POOL_NHWC_FOUR <= pixels; x += POOL_NHWC_FOUR, from += POOL_NHWC_FOUR * pitch) {
        for (int64_t i = 0; i < count; i++) {
            sums[i] = (uint16_t)(sums[i] + (from[i] ^ flip) + (from[pitch + i] ^ flip) +
                                 (from[2 * pitch + i] ^ flip) + (from[3 * pitch + i] ^ flip));
        }
    }
    for (; x < pixels; x++, from += pitch) {
        for (int64_t i = 0; i < count; i++) {
            sums[i] = (uint16_t)(sums[i] + (from[i] ^ flip));
        }
    }
}

/* `count` channels, at most POOL_NHWC_BYTES. */
VEC_INLINE void pool_nhwc_average_block(const pool_nhwc_rows *p, const pool_nhwc_window *w,
                                        const uint8_t *from, int64_t count, float *to)
{
    double factor = (double)p->scale / (double)w->size;
    int64_t nothing = w->rows * w->columns * p->zero;
    uint32_t totals[POOL_NHWC_BYTES] = {0};
    uint16_t sums[POOL_NHWC_BYTES] = {0};
    int64_t held = 0; /* pixels in `sums` */

    for (int64_t y = 0; y < w->rows; y++) {
        for (int64_t x = 0; x < w->columns; x += POOL_NHWC_MOST_SUMS) {
            int64_t left = w->columns - x;
            int64_t pixels = left < POOL_NHWC_MOST_SUMS ? left : POOL_NHWC_MOST_SUMS;

            if (held + pixels > POOL_NHWC_MOST_SUMS) {
                for (int64_t i = 0; i < count; i++) {
                    totals[i] += sums[i];
                    sums[i] = 0;
                }
                held = 0;
            }
            pool_nhwc_add_run(from + y * w->row_pitch + x * w->column_pitch, w->column_pitch,
                              pixels, count, p->flip, sums);
            held += pixels;
        }
    }
    for (int64_t i = 0; i < count; i++) {
        to[i] = (float)((double)((int64_t)totals[i] + sums[i] - nothing) * factor);
    }
}

static void run_average_bytes(const pool_nhwc_rows *p)
{
    const conv_f32_shape *s = p->shape;

    for (int64_t row = p->first; row < p->first + p->count; row++) {
        const uint8_t *image =
            (const uint8_t *)p->in + row / s->out_h * s->in_h * s->in_w * s->channels;
        float *to = (float *)p->out + row * s->out_w * s->channels;

        for (int64_t x = 0; x < s->out_w; x++, to += s->channels) {
            pool_nhwc_window w = pool_nhwc_window_at(p, row % s->out_h, x);
            const uint8_t *from = image + w.first;
            int64_t c = 0;

            for (; c + POOL_NHWC_BYTES <= s->channels; c += POOL_NHWC_BYTES) {
                pool_nhwc_average_block(p, &w, from + c, POOL_NHWC_BYTES, to + c);
            }
            if (c < s->channels) {
                pool_nhwc_average_block(p, &w, from + c, s->channels - c, to + c);
            }
        }
    }
}

/* ---- all pixels ---- */

/* Joins pixels [start, end) into what the results of `vectors` vectors of channels from `first` on
 * have become so far, or of `part` < VEC_LANES channels. */
VEC_INLINE void pool_nhwc_global_block(pool_nhwc_kind kind, const pool_nhwc_image *p, int64_t start,
                                       int64_t end, int64_t first, int vectors, int64_t part)
{
    const float divisor = end == p->pixels && kind == POOL_NHWC_SUM ? (float)p->divisor : 1.0f;
    vec_f32 joined[POOL_NHWC_VECTORS];

    for (int v = 0; v < vectors; v++) {
        joined[v] = pool_nhwc_start(kind);
    }
    for (int64_t i = start; i < end; i++) {
        const float *pixel = p->in + i * p->channels + first;

        for (int v = 0; v < vectors; v++) {
            vec_f32 value =
                part > 0 ? vec_load_part(pixel, part) : vec_load(pixel + (int64_t)v * VEC_LANES);

            joined[v] = pool_nhwc_join(kind, joined[v], value);
        }
    }
    for (int v = 0; v < vectors; v++) {
        float *to = p->out + first + (int64_t)v * VEC_LANES;

        if (start > 0) {
            joined[v] =
                pool_nhwc_join(kind, part > 0 ? vec_load_part(to, part) : vec_load(to), joined[v]);
        }
        if (part > 0) {
            vec_store_part(to, joined[v] / divisor, part);
        } else {
            vec_store(to, joined[v] / divisor);
        }
    }
}

/* Block by block of pixels, so that the image is read once from end to end. */
VEC_INLINE void pool_nhwc_global(pool_nhwc_kind kind, const pool_nhwc_image *p)
{
    enum { STEP = POOL_NHWC_VECTORS * VEC_LANES };

    for (int64_t start = 0; start < p->pixels; start += POOL_NHWC_SUM_BLOCK) {
        int64_t left = p->pixels - start;
        int64_t end = left < POOL_NHWC_SUM_BLOCK ? p->pixels : start + POOL_NHWC_SUM_BLOCK;
        int64_t c = 0;

        for (; c + STEP <= p->count; c += STEP) {
            pool_nhwc_global_block(kind, p, start, end, c, POOL_NHWC_VECTORS, 0);
        }
        for (; c + VEC_LANES <= p->count; c += VEC_LANES) {
            pool_nhwc_global_block(kind, p, start, end, c, 1, 0);
        }
        if (c < p->count) {
            pool_nhwc_global_block(kind, p, start, end, c, 1, p->count - c);
        }
    }
}

static void run_global_max(const pool_nhwc_image *p)
{
    pool_nhwc_global(POOL_NHWC_MAX, p);
}

static void run_global_average(const pool_nhwc_image *p)
{
    pool_nhwc_global(POOL_NHWC_SUM, p);
}

/* The variant of this instruction set, as an initialiser. */
#define POOL_NHWC(NAME)                                                                 \
    {                                                                                   \
        .name = (NAME), .max_f32 = run_max_f32, .average_f32 = run_average_f32,         \
        .average_bytes = run_average_bytes, .max_u8 = run_max_u8, .max_s8 = run_max_s8, \
        .global_max = run_global_max, .global_average = run_global_average              \
    }

#endif
