/* The loops around sums over pixels. */
#include "kernels/conv/depthwise_gradient.h"

#include <stddef.h>
#include <string.h>

enum {
    CHANNELS = 64, /* of a piece */
    MOST_SLICES = 16,
    LEAST_PIXELS = 1024 /* of a slice */
};

static int64_t pieces_of(int64_t extent, int64_t slice)
{
    return (extent + slice - 1) / slice;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t slices_of(const depthwise_gradient *d)
{
    return pieces_of(d->batch * d->shape.out_h, d->line_slice);
}

void depthwise_gradient_plan(const conv_f32_shape *shape, int64_t batch,
                             const gradient_f32_kernel *kernel, depthwise_gradient *d)
{
    int64_t lines = batch * shape->out_h;
    int64_t slices = least(lines * shape->out_w / LEAST_PIXELS, MOST_SLICES);

    *d = (depthwise_gradient){.shape = *shape, .batch = batch, .kernel = kernel};
    d->line_slice = pieces_of(lines, most(slices, 1));
    slices = slices_of(d);
    d->pieces = slices * pieces_of(shape->channels, CHANNELS);
    d->shared_bytes =
        slices * shape->channels * shape->kernel_h * shape->kernel_w * (int64_t)sizeof(float);
}

/* One row of pixels and one kernel row: adds to the sums of its positions, `channels` apart. */
static void add_row(const depthwise_gradient *d, const float *dy, const float *row,
                    int64_t channels, float *sums)
{
    const conv_f32_shape *s = &d->shape;

    for (int64_t q = 0; q < s->kernel_w; q++) {
        int64_t from = q * s->dilation_w - s->pad_w;
        int64_t begin = from < 0 ? pieces_of(-from, s->stride_w) : 0;
        int64_t end = s->in_w > from ? pieces_of(s->in_w - from, s->stride_w) : 0;
        gradient_f32_dot dot = {.dy = dy + begin * s->channels,
                                .x = row + (begin * s->stride_w + from) * s->channels,
                                .dy_pitch = s->channels,
                                .x_pitch = s->stride_w * s->channels,
                                .pixels = least(end, s->out_w) - begin,
                                .channels = channels,
                                .sums = sums + q * channels};

        if (dot.pixels > 0) {
            d->kernel->dot(&dot);
        }
    }
}

void depthwise_gradient_run(void *context, int64_t begin, int64_t end, int worker)
{
    const depthwise_gradient_call *call = context;
    const depthwise_gradient *d = call->d;
    const conv_f32_shape *s = &d->shape;
    int64_t blocks = pieces_of(s->channels, CHANNELS);
    int64_t positions = s->kernel_h * s->kernel_w;

    (void)worker;
    for (int64_t piece = begin; piece < end; piece++) {
        int64_t channel = piece % blocks * CHANNELS;
        int64_t channels = least(s->channels - channel, CHANNELS);
        int64_t slice = piece / blocks;
        int64_t last = least((slice + 1) * d->line_slice, d->batch * s->out_h);
        float *sums = call->sums + (slice * s->channels + channel) * positions;

        memset(sums, 0, (size_t)(channels * positions) * sizeof *sums);
        for (int64_t line = slice * d->line_slice; line < last; line++) {
            const float *dy = call->dy + line * s->out_w * s->channels + channel;
            int64_t top = line % s->out_h * s->stride_h - s->pad_h;

            for (int64_t r = 0; r < s->kernel_h; r++) {
                int64_t row = top + r * s->dilation_h;

                if (row >= 0 && row < s->in_h) {
                    add_row(d, dy,
                            call->x + (line / s->out_h * s->in_h + row) * s->in_w * s->channels +
                                channel,
                            channels, sums + r * s->kernel_w * channels);
                }
            }
        }
    }
}

void depthwise_gradient_finish(void *context, int64_t begin, int64_t end, int worker)
{
    const depthwise_gradient_call *call = context;
    const conv_f32_shape *s = &call->d->shape;
    int64_t positions = s->kernel_h * s->kernel_w;
    int64_t slices = slices_of(call->d);

    (void)worker;
    for (int64_t c = begin; c < end; c++) {
        int64_t first = c / CHANNELS * CHANNELS;
        int64_t channels = least(s->channels - first, CHANNELS);

        for (int64_t k = 0; k < positions; k++) {
            const float *sums = call->sums + first * positions + k * channels + c - first;
            double sum = 0.0;

            for (int64_t slice = 0; slice < slices; slice++) {
                sum += (double)sums[slice * s->channels * positions];
            }
            call->dw[c * positions + k] = (float)sum;
        }
    }
}
