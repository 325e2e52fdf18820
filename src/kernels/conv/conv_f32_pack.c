/* Gathers blocks of the patch matrix for the matrix product. */
#include <string.h>

#include "kernels/conv/conv_f32.h"
#include "kernels/gemm/gemm_f32.h"

/* A run of panel columns that lie in one output row. */
typedef struct segment {
    int first; /* column within the panel */
    int count;
    int64_t in_row; /* input row and column of the first patch's corner; may lie outside */
    int64_t in_column;
} segment;

/* Splits panel columns [n0, n0 + columns) at the ends of output rows. Returns their number. */
static int find_segments(const conv_f32_shape *s, int64_t n0, int columns, segment *segments)
{
    int count = 0;
    int done = 0;

    while (done < columns) {
        int64_t row = (n0 + done) / s->out_w;
        int64_t column = (n0 + done) % s->out_w;
        int64_t left = s->out_w - column;
        int run = (int)(left < columns - done ? left : columns - done);

        segments[count++] = (segment){.first = done,
                                      .count = run,
                                      .in_row = row * s->stride_h - s->pad_h,
                                      .in_column = column * s->stride_w - s->pad_w};
        done += run;
    }
    return count;
}

/* First index i in [0, count] with column + i * stride >= bound. */
static int64_t first_at_least(int64_t column, int64_t stride, int64_t bound, int64_t count)
{
    int64_t i = column >= bound ? 0 : (bound - column + stride - 1) / stride;

    return i < count ? i : count;
}

/* Copies `count` pixels of an input row from `column` on, `stride` apart; zeros outside. */
static void gather_row(const float *row, int64_t width, int64_t column, int64_t stride,
                       int64_t count, float *to)
{
    int64_t from = first_at_least(column, stride, 0, count);
    int64_t until = first_at_least(column, stride, width, count);

    memset(to, 0, (size_t)from * sizeof *to);
    if (stride == 1 && until > from) {
        memcpy(to + from, row + column + from, (size_t)(until - from) * sizeof *to);
    } else {
        for (int64_t i = from; i < until; i++) {
            to[i] = row[column + i * stride];
        }
    }
    if (until < from) {
        until = from;
    }
    memset(to + until, 0, (size_t)(count - until) * sizeof *to);
}

/* One line of a panel: the same kernel position for all its columns. */
static void gather_line(const conv_f32_shape *s, const float *plane, int64_t kernel_row,
                        int64_t kernel_column, const segment *segments, int count, float *line)
{
    for (int i = 0; i < count; i++) {
        const segment *at = &segments[i];
        int64_t row = at->in_row + kernel_row * s->dilation_h;

        if (row < 0 || row >= s->in_h) {
            memset(line + at->first, 0, (size_t)at->count * sizeof *line);
        } else {
            gather_row(plane + row * s->in_w, s->in_w,
                       at->in_column + kernel_column * s->dilation_w, s->stride_w, at->count,
                       line + at->first);
        }
    }
}

void conv_f32_pack(const void *context, int64_t k0, int64_t k, int64_t n0, int64_t n, int width,
                   float *to)
{
    const conv_f32_image *image = context;
    const conv_f32_shape *s = image->shape;
    int64_t taps = s->kernel_h * s->kernel_w;
    segment segments[GEMM_F32_MOST_NR];

    for (int64_t first = 0; first < n; first += width) {
        int columns = (int)(n - first < width ? n - first : width);
        int count = find_segments(s, n0 + first, columns, segments);
        int64_t channel = k0 / taps;
        int64_t tap = k0 % taps;

        for (int64_t step = 0; step < k; step++) {
            gather_line(s, image->data + channel * s->in_h * s->in_w, tap / s->kernel_w,
                        tap % s->kernel_w, segments, count, to);
            memset(to + columns, 0, (size_t)(width - columns) * sizeof *to);
            to += width;
            if (++tap == taps) {
                tap = 0;
                channel++;
            }
        }
    }
}
