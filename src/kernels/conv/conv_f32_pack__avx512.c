/* Gathers blocks of the patch matrix with masked loads, straight into the panels. */
#include "kernels/conv/conv_f32_lanes.h"
#include "kernels/conv/conv_f32_pack_variants.h"

/* Writes one vector of columns of a panel; `to` advances by `width` per step. */
static inline __attribute__((always_inline)) void pack_vector(const conv_f32_image *image,
                                                              int64_t k0, int64_t k,
                                                              const lane_source *sources, int most,
                                                              int count, int64_t stride, int width,
                                                              float *to)
{
    const conv_f32_shape *s = image->shape;
    int64_t taps = s->kernel_h * s->kernel_w;
    int64_t size = s->in_h * s->in_w;
    const float *plane = image->data + k0 / taps * size;
    int64_t tap = k0 % taps;

    for (int64_t step = 0; step < k; step++) {
        _mm512_storeu_ps(to, lane_load(plane, sources + tap * most, count, stride));
        to += width;
        if (++tap == taps) {
            tap = 0;
            plane += size;
        }
    }
}

static void pack(const void *context, int64_t k0, int64_t k, int64_t n0, int64_t n, int width,
                 float *to)
{
    const conv_f32_image *image = context;
    const conv_f32_shape *s = image->shape;
    lane_source sources[MOST_SOURCES];
    int most = lane_most_sources(s);

    if (width % LANES != 0 || s->stride_w > MOST_STRIDE ||
        most * s->kernel_h * s->kernel_w > MOST_SOURCES) {
        conv_f32_pack(context, k0, k, n0, n, width, to);
        return;
    }
    for (int64_t first = 0; first < (n + width - 1) / width * width; first += LANES) {
        float *line = to + first / width * width * k + first % width;
        int64_t columns = n - first < LANES ? n - first : LANES;

        int count = lane_find_sources(s, n0 + first, columns, most, most, sources);

        if (s->stride_w == 1 && count == 1) {
            pack_vector(image, k0, k, sources, most, 1, 1, width, line);
        } else if (s->stride_w == 1) {
            pack_vector(image, k0, k, sources, most, count, 1, width, line);
        } else if (count == 1) {
            pack_vector(image, k0, k, sources, most, 1, MOST_STRIDE, width, line);
        } else {
            pack_vector(image, k0, k, sources, most, count, MOST_STRIDE, width, line);
        }
    }
}

const conv_f32_packer conv_f32_pack__avx512 = {"conv_f32_pack__avx512", pack};
