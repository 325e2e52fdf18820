/* Gathers blocks of the patch matrix for the matrix product. */
#include <string.h>

#include "kernels/conv/conv_f32_pack_variants.h"
#include "kernels/conv/conv_segments.h"
#include "kernels/gemm/gemm_f32.h"

/* Copies `count` pixels of an input row from `column` on, `stride` apart; zeros outside. */
static void gather_row(const float *row, int64_t width, int64_t column, int64_t stride,
                       int64_t count, float *to)
{
    int64_t from = conv_segments_reach(column, stride, 0, count);
    int64_t until = conv_segments_reach(column, stride, width, count);

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
                        int64_t kernel_column, const conv_segment *segments, int count, float *line)
{
    for (int i = 0; i < count; i++) {
        const conv_segment *at = &segments[i];
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
    conv_segment segments[GEMM_F32_MOST_NR];

    for (int64_t first = 0; first < n; first += width) {
        int columns = (int)(n - first < width ? n - first : width);
        int count = conv_segments_find(s, n0 + first, columns, segments);
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

static const conv_f32_packer conv_f32_pack__generic = {"conv_f32_pack__generic", conv_f32_pack};

const isa_variant conv_f32_pack_variants[] = {
    {"conv_f32_pack__generic", ISA_GENERIC, &conv_f32_pack__generic},
#ifdef SPRY_HAVE_AVX512
    {"conv_f32_pack__avx512", ISA_AVX512, &conv_f32_pack__avx512},
#endif
};
const int conv_f32_pack_variant_count =
    sizeof conv_f32_pack_variants / sizeof *conv_f32_pack_variants;

const conv_f32_packer *conv_f32_pack_select(void)
{
    return isa_select(conv_f32_pack_variants, conv_f32_pack_variant_count);
}
