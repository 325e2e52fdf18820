/* Bands of padded rows, and patches. */
#include <string.h>

#include "kernels/conv/conv_nhwc_parts.h"

conv_nhwc_source conv_nhwc_source_of(const conv_nhwc_call *call, int64_t image, int64_t group)
{
    const conv_nhwc *c = call->c;
    const conv_f32_shape *s = &c->shape;
    int64_t size = conv_nhwc_x_size(c->problem.type);
    int64_t pixel = c->problem.groups * s->channels * size;

    return (conv_nhwc_source){.c = c,
                              .x = (const char *)call->x + image * s->in_h * s->in_w * pixel +
                                   group * s->channels * size,
                              .pixel = pixel,
                              .zero = c->problem.type == BRGEMM_S8 ? call->zero : 0,
                              .is_planar = c->problem.input_is_planar};
}

/* ---- pixels ---- */

/* Numbers `pitch` bytes apart, narrowed a part at a time: a call for each would cost more. */
static void spread_narrow(const conv_nhwc_source *s, const float *from, int64_t count,
                          int64_t pitch, char *to)
{
    enum { PART = 256 };
    uint16_t part[PART];

    for (int64_t done = 0; done < count; done += PART) {
        int64_t n = conv_nhwc_least(count - done, PART);

        s->c->narrow(part, from + done, n);
        for (int64_t i = 0; i < n; i++) {
            *(uint16_t *)(void *)(to + (done + i) * pitch) = part[i];
        }
    }
}

/* Pixels of one input row whose channels lie in planes. */
static void copy_planes(const conv_nhwc_source *s, int64_t row, int64_t column, int64_t count,
                        int64_t pitch, char *to)
{
    const conv_f32_shape *shape = &s->c->shape;
    const float *from = (const float *)s->x + row * shape->in_w + column;
    bool is_narrow = s->c->problem.type == BRGEMM_BF16;

    for (int64_t channel = 0; channel < shape->channels; channel++) {
        if (is_narrow) {
            spread_narrow(s, from, count, pitch, to + channel * (int64_t)sizeof(uint16_t));
        } else {
            for (int64_t i = 0; i < count; i++) {
                ((float *)(void *)(to + i * pitch))[channel] = from[i];
            }
        }
        from += shape->in_h * shape->in_w;
    }
}

/* `count` > 0 adjacent pixels of input row `row`, to places `pitch` bytes apart. */
static void copy_pixels(const conv_nhwc_source *s, int64_t row, int64_t column, int64_t count,
                        int64_t pitch, char *to)
{
    const conv_f32_shape *shape = &s->c->shape;
    const char *from = s->x + (row * shape->in_w + column) * s->pixel;
    int64_t channels = shape->channels;
    brgemm_type type = s->c->problem.type;
    int64_t bytes = channels * brgemm_size(type);

    if (s->is_planar) {
        copy_planes(s, row, column, count, pitch, to);
        return;
    }
    if (pitch == bytes && s->pixel == channels * conv_nhwc_x_size(type)) { /* as one long pixel */
        bytes *= count;
        channels *= count;
        count = 1;
    }
    for (int64_t i = 0; i < count; i++) {
        if (type == BRGEMM_BF16) {
            s->c->narrow((uint16_t *)to, (const float *)from, channels);
        } else {
            memcpy(to, from, (size_t)bytes);
        }
        from += s->pixel;
        to += pitch;
    }
}

/* Padding beside a line is one pixel as a rule: too little to call for. */
static void fill_padding(const conv_nhwc_source *s, int64_t bytes, char *to)
{
    enum { PART = 16, FEW = 4 };
    char part[PART];

    if (bytes % PART != 0 || bytes > FEW * PART) {
        memset(to, s->zero, (size_t)bytes);
        return;
    }
    memset(part, s->zero, sizeof part);
    for (int64_t i = 0; i < bytes; i += PART) {
        memcpy(to + i, part, sizeof part);
    }
}

/* Pixels [column, column + count) of input row `row`, of which any part may lie outside. */
static void copy_padded(const conv_nhwc_source *s, int64_t row, int64_t column, int64_t count,
                        int64_t pitch, char *to)
{
    const conv_f32_shape *shape = &s->c->shape;
    int64_t begin = column < 0 ? conv_nhwc_least(-column, count) : 0;
    int64_t end = conv_nhwc_least(shape->in_w - column, count);

    if (row < 0 || row >= shape->in_h || end <= begin) {
        memset(to, s->zero, (size_t)(count * pitch));
        return;
    }
    fill_padding(s, begin * pitch, to);
    copy_pixels(s, row, column + begin, end - begin, pitch, to + begin * pitch);
    fill_padding(s, (count - end) * pitch, to + end * pitch);
}

/* ---- bands ---- */

/* An odd last element of bf16 is multiplied with its neighbour by zero: it must not be a NaN. */
static void clear_tails(const conv_nhwc *c, int64_t count, char *to)
{
    if (c->problem.type != BRGEMM_BF16 || c->k % 2 == 0) {
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        ((uint16_t *)(to + i * c->pixel_pitch))[c->k] = 0;
    }
}

void conv_nhwc_copy_band(const conv_nhwc_source *s, int64_t row, int64_t rows, void *to)
{
    const conv_nhwc *c = s->c;
    const conv_f32_shape *shape = &c->shape;
    int64_t columns = c->line_pitch / c->pixel_pitch;
    int64_t first = row * shape->stride_h - shape->pad_h;
    int64_t count = conv_nhwc_band_rows(shape, rows);

    if (columns == shape->in_w && shape->pad_w == 0 && c->phases == 1 && first >= 0 &&
        first + count <= shape->in_h) { /* as one long row */
        copy_pixels(s, first, 0, count * columns, c->pixel_pitch, to);
        clear_tails(c, count * columns, to);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        char *line = (char *)to + i % c->phases * c->phase_pitch + i / c->phases * c->line_pitch;

        copy_padded(s, first + i, -shape->pad_w, columns, c->pixel_pitch, line);
        clear_tails(c, columns, line);
    }
}

/* ---- patches ---- */

static void copy_patch(const conv_nhwc_source *s, int64_t row, int64_t column, int64_t bytes,
                       char *to)
{
    const conv_f32_shape *shape = &s->c->shape;
    int64_t runs = shape->dilation_w == 1 ? 1 : shape->kernel_w; /* of adjacent pixels */
    int64_t count = shape->dilation_w == 1 ? shape->kernel_w : 1;

    for (int64_t r = 0; r < shape->kernel_h; r++) {
        for (int64_t q = 0; q < runs; q++) {
            copy_padded(s, row + r * shape->dilation_h, column + q * shape->dilation_w, count,
                        bytes, to);
            to += count * bytes;
        }
    }
}

void conv_nhwc_copy_patches(const conv_nhwc_source *s, int64_t pixel, int64_t count, char *to)
{
    const conv_f32_shape *shape = &s->c->shape;
    int64_t bytes = shape->channels * brgemm_size(s->c->problem.type);
    int64_t pitch = s->c->pixel_pitch;
    int64_t row = pixel / shape->out_w;
    int64_t column = pixel % shape->out_w;

    if (conv_nhwc_is_product(shape)) { /* the pixels themselves */
        copy_pixels(s, row, column, count, pitch, to);
        clear_tails(s->c, count, to);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        copy_patch(s, row * shape->stride_h - shape->pad_h, column * shape->stride_w - shape->pad_w,
                   bytes, to + i * pitch);
        column++;
        if (column == shape->out_w) {
            column = 0;
            row++;
        }
    }
    clear_tails(s->c, count, to);
}
