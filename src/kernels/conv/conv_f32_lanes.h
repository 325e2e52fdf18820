/* Vectors of input pixels for vectors of output pixels, by masked AVX-512 loads.
 *
 * What one kernel position needs from its plane, the offsets of its runs of pixels and which lanes
 * exist, is the same for all channels: it is worked out once and serves them all. */
#ifndef KERNELS_CONV_CONV_F32_LANES_H
#define KERNELS_CONV_CONV_F32_LANES_H

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/conv/conv_f32.h"

enum { LANES = 16, MOST_SOURCES = 512, MOST_STRIDE = 2 };

/* Lanes that come from one run of pixels: lane i is plane[offset + i * stride]. */
typedef struct lane_source {
    int64_t offset;
    uint32_t pixels; /* of the 32 floats from `offset` on, those to load */
    uint16_t lanes;
} lane_source;

/* Lanes [first, first + count). */
static inline uint32_t lane_run(int64_t first, int64_t count)
{
    return count <= 0 ? 0 : ((1u << count) - 1) << first;
}

/* Bit i moves to bit 2 i. */
static inline uint32_t lane_spread(uint32_t lanes)
{
    lanes = (lanes | lanes << 8) & 0x00FF00FF;
    lanes = (lanes | lanes << 4) & 0x0F0F0F0F;
    lanes = (lanes | lanes << 2) & 0x33333333;
    return (lanes | lanes << 1) & 0x55555555;
}

/* First i in [0, count] with column + i * stride >= bound. */
static inline int64_t lane_at_least(int64_t column, int64_t stride, int64_t bound, int64_t count)
{
    int64_t i = column >= bound ? 0 : bound - column;

    i = stride == 1 ? i : (i + 1) / MOST_STRIDE;
    return i < count ? i : count;
}

/* Adds the source of `count` lanes from `lane` on, for output pixels from (row, column) on, to
 * sources[tap * step] of all taps. */
static inline void lane_add_run(const conv_f32_shape *s, int64_t row, int64_t column, int64_t lane,
                                int64_t count, int64_t step, lane_source *sources)
{
    int64_t in_row = row * s->stride_h - s->pad_h;

    for (int64_t x = 0; x < s->kernel_w; x++) {
        int64_t in_column = column * s->stride_w - s->pad_w + x * s->dilation_w;
        int64_t from = lane_at_least(in_column, s->stride_w, 0, count);
        int64_t until = lane_at_least(in_column, s->stride_w, s->in_w, count);
        uint32_t lanes = lane_run(lane + from, until - from);
        uint32_t pixels = s->stride_w == 1 ? lanes : lane_spread(lanes);

        for (int64_t y = 0; y < s->kernel_h; y++) {
            int64_t at_row = in_row + y * s->dilation_h;
            bool is_inside = at_row >= 0 && at_row < s->in_h;
            lane_source *at = &sources[(y * s->kernel_w + x) * step];

            at->offset = at_row * s->in_w + in_column - lane * s->stride_w;
            at->lanes |= (uint16_t)(is_inside ? lanes : 0);
            at->pixels |= is_inside ? pixels : 0;
        }
    }
}

/* True when output pixels follow each other as input pixels do, across the ends of rows too. */
static inline bool lane_is_line(const conv_f32_shape *s)
{
    return s->stride_w == 1 && s->stride_h == 1 && s->out_w == s->in_w;
}

/* The most sources that one vector has per kernel position. */
static inline int lane_most_sources(const conv_f32_shape *s)
{
    return lane_is_line(s) ? 1 : (int)((LANES - 2 + s->out_w) / s->out_w) + 1;
}

/* Fills sources[tap * step + i], i < most, for the output pixels [n0, n0 + columns) of a vector.
 * Runs that continue each other in memory become one. Returns how many are in use per tap. */
static inline int lane_find_sources(const conv_f32_shape *s, int64_t n0, int64_t columns, int most,
                                    int64_t step, lane_source *sources)
{
    int64_t taps = s->kernel_h * s->kernel_w;
    bool is_line = lane_is_line(s);
    int64_t row = n0 / s->out_w;
    int64_t column = n0 % s->out_w;
    int count = 0;

    for (int64_t tap = 0; tap < taps; tap++) {
        memset(sources + tap * step, 0, (size_t)most * sizeof *sources);
    }
    for (int64_t lane = 0; lane < columns; row++, column = 0) {
        int64_t left = s->out_w - column;
        int64_t run = left < columns - lane ? left : columns - lane;

        lane_add_run(s, row, column, lane, run, step, sources + count);
        count += !is_line;
        lane += run;
    }
    return is_line ? 1 : count;
}

static inline __attribute__((always_inline)) __m512 lane_load(const float *plane,
                                                              const lane_source *from, int count,
                                                              int64_t stride)
{
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    __m512 line = _mm512_setzero_ps();

    for (int i = 0; i < count; i++) {
        const float *at = plane + from[i].offset;
        __mmask16 lanes = from[i].lanes;

        if (stride == 1) {
            line = _mm512_mask_loadu_ps(line, lanes, at);
        } else {
            __m512 low = _mm512_maskz_loadu_ps((__mmask16)from[i].pixels, at);
            __m512 high = _mm512_maskz_loadu_ps((__mmask16)(from[i].pixels >> LANES), at + LANES);

            line = _mm512_mask_mov_ps(line, lanes, _mm512_permutex2var_ps(low, even, high));
        }
    }
    return line;
}

#endif
