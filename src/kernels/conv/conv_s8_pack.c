/* Gathers blocks of the patch matrix of bytes for the integer product. */
#include <string.h>

#include "kernels/conv/conv_s8.h"
#include "kernels/conv/conv_segments.h"

enum { MOST = GEMM_S8_MOST_NR };

/* What packing one panel needs: its columns and where they lie. */
typedef struct panel {
    const conv_s8_image *image;
    int64_t column; /* of the patch matrix */
    int columns;
    int width;
    conv_segment segments[MOST];
    int segment_count;
} panel;

static void flip_bytes(uint8_t *bytes, int64_t count, uint8_t flip)
{
    for (int64_t i = 0; i < count; i++) {
        bytes[i] = (uint8_t)(bytes[i] ^ flip);
    }
}

/* Copies `count` pixels of an input row from `column` on, `stride` apart; the zero point outside. */
static void gather_row(const conv_s8_image *image, const uint8_t *row, int64_t column,
                       int64_t count, uint8_t *to)
{
    int64_t width = image->shape->in_w;
    int64_t stride = image->shape->stride_w;
    int64_t from = conv_segments_reach(column, stride, 0, count);
    int64_t until = conv_segments_reach(column, stride, width, count);

    until = until < from ? from : until;
    if (from > 0) {
        memset(to, image->zero, (size_t)from);
    }
    if (stride == 1) {
        memcpy(to + from, row + column + from, (size_t)(until - from));
    } else {
        for (int64_t i = from; i < until; i++) {
            to[i] = row[column + i * stride];
        }
    }
    if (until < count) {
        memset(to + until, image->zero, (size_t)(count - until));
    }
}

/* One step of the panel: the same channel and kernel position for all its columns. */
static void gather_line(const panel *p, const uint8_t *plane, int64_t kernel_row,
                        int64_t kernel_column, uint8_t *line)
{
    const conv_f32_shape *s = p->image->shape;

    for (int i = 0; i < p->segment_count; i++) {
        const conv_segment *at = &p->segments[i];
        int64_t row = at->in_row + kernel_row * s->dilation_h;

        if (row < 0 || row >= s->in_h) {
            memset(line + at->first, p->image->zero, (size_t)at->count);
        } else {
            gather_row(p->image, plane + row * s->in_w,
                       at->in_column + kernel_column * s->dilation_w, at->count,
                       line + at->first);
        }
    }
}

/* True when the patches are the image's own pixels in order, so that lines need no gathering. */
static bool is_pointwise(const conv_f32_shape *s)
{
    return s->kernel_h == 1 && s->kernel_w == 1 && s->stride_h == 1 && s->stride_w == 1 &&
           s->pad_h == 0 && s->pad_w == 0 && s->in_h == s->out_h && s->in_w == s->out_w;
}

static void pack_panel(const panel *p, uint8_t *to)
{
    static const uint8_t no_line[MOST]; /* stands for steps beyond the last: weights are 0 there */
    const conv_f32_shape *s = p->image->shape;
    int64_t taps = s->kernel_h * s->kernel_w;
    int64_t steps = s->channels * taps;
    int64_t pixels = s->in_h * s->in_w;
    bool direct = is_pointwise(s);
    uint8_t gathered[GEMM_S8_STEP][MOST];
    const uint8_t *lines[GEMM_S8_STEP];
    int64_t channel = 0;
    int64_t tap = 0;

    for (int64_t k = 0; k < steps; k += GEMM_S8_STEP) {
        for (int j = 0; j < GEMM_S8_STEP; j++) {
            const uint8_t *plane = p->image->data + channel * pixels;

            if (k + j >= steps) {
                lines[j] = no_line;
                continue;
            }
            if (direct) {
                lines[j] = plane + p->column;
            } else {
                gather_line(p, plane, tap / s->kernel_w, tap % s->kernel_w, gathered[j]);
                lines[j] = gathered[j];
            }
            if (++tap == taps) {
                tap = 0;
                channel++;
            }
        }
        gemm_s8_interleave(lines, p->columns, to);
        if (p->image->flip != 0) {
            flip_bytes(to, p->columns * GEMM_S8_STEP, p->image->flip);
        }
        memset(to + p->columns * GEMM_S8_STEP, 0,
               (size_t)(p->width - p->columns) * GEMM_S8_STEP);
        to += p->width * GEMM_S8_STEP;
    }
}

void conv_s8_pack(const void *context, int64_t first, int64_t count, int width, uint8_t *to)
{
    const conv_s8_image *image = context;
    const conv_f32_shape *s = image->shape;
    int64_t k = gemm_s8_padded(s->channels * s->kernel_h * s->kernel_w);
    panel p = {.image = image, .width = width};

    for (int64_t n = 0; n < count; n += width) {
        p.column = first + n;
        p.columns = (int)(count - n < width ? count - n : width);
        p.segment_count = conv_segments_find(s, p.column, p.columns, p.segments);
        pack_panel(&p, to + n * k);
    }
}
