/* How columns of a patch matrix lie in the image, for elements of every type. */
#ifndef KERNELS_CONV_CONV_SEGMENTS_H
#define KERNELS_CONV_CONV_SEGMENTS_H

#include "kernels/conv/conv_f32.h"

/* A run of panel columns that lie in one output row. */
typedef struct conv_segment {
    int first; /* column within the panel */
    int count;
    int64_t in_row; /* input row and column of the first patch's corner; may lie outside */
    int64_t in_column;
} conv_segment;

/* Splits panel columns [n0, n0 + columns) at the ends of output rows. Returns their number. */
static inline int conv_segments_find(const conv_f32_shape *s, int64_t n0, int columns,
                                     conv_segment *segments)
{
    int count = 0;
    int done = 0;

    while (done < columns) {
        int64_t row = (n0 + done) / s->out_w;
        int64_t column = (n0 + done) % s->out_w;
        int64_t left = s->out_w - column;
        int run = (int)(left < columns - done ? left : columns - done);

        segments[count++] = (conv_segment){.first = done,
                                           .count = run,
                                           .in_row = row * s->stride_h - s->pad_h,
                                           .in_column = column * s->stride_w - s->pad_w};
        done += run;
    }
    return count;
}

/* First index i in [0, count] with column + i * stride >= bound. */
static inline int64_t conv_segments_reach(int64_t column, int64_t stride, int64_t bound,
                                          int64_t count)
{
    int64_t i = column >= bound ? 0 : (bound - column + stride - 1) / stride;

    return i < count ? i : count;
}

#endif
