/* Pooling for AVX-512: maxima by masked loads, averages by the common body. */
#include "kernels/conv/conv_f32_lanes.h"
#include "kernels/pool/pool_f32_body.h"
#include "kernels/pool/pool_f32_variants.h"

/* The maxima of one vector of windows, whose pixels `from` tells per kernel position. */
static inline __attribute__((always_inline)) __m512 max_of(const float *plane,
                                                           const lane_source *from, int64_t taps,
                                                           int most, int count, int64_t stride)
{
    __m512 most_so_far = _mm512_set1_ps(-INFINITY);

    for (int64_t tap = 0; tap < taps; tap++) {
        for (int i = 0; i < count; i++) {
            __m512 pixels = lane_load(plane, &from[tap * most + i], 1, stride);

            /* The second operand comes back when one is NaN. */
            most_so_far =
                _mm512_mask_max_ps(most_so_far, from[tap * most + i].lanes, pixels, most_so_far);
        }
    }
    return most_so_far;
}

static void max_vector(const pool_f32_planes *p, int64_t n0, lane_source *sources)
{
    const conv_f32_shape *s = p->shape;
    int64_t size = s->out_h * s->out_w;
    int64_t taps = s->kernel_h * s->kernel_w;
    int64_t columns = size - n0 < LANES ? size - n0 : LANES;
    __mmask16 lanes = (__mmask16)lane_run(0, columns);
    int most = lane_most_sources(s);
    int count = lane_find_sources(s, n0, columns, most, most, sources);

    for (int64_t i = 0; i < p->count; i++) {
        const float *plane = p->in + i * s->in_h * s->in_w;
        __m512 top;

        if (s->stride_w == 1) {
            top = max_of(plane, sources, taps, most, count, 1);
        } else if (count == 1) {
            top = max_of(plane, sources, taps, most, 1, MOST_STRIDE);
        } else {
            top = max_of(plane, sources, taps, most, count, MOST_STRIDE);
        }
        _mm512_mask_storeu_ps(p->out + i * size + n0, lanes, top);
    }
}

static void run_max(const pool_f32_planes *p)
{
    const conv_f32_shape *s = p->shape;
    lane_source sources[MOST_SOURCES];

    if (s->stride_w > MOST_STRIDE ||
        lane_most_sources(s) * s->kernel_h * s->kernel_w > MOST_SOURCES) {
        pool_f32_run(POOL_F32_MAX, p);
        return;
    }
    for (int64_t n0 = 0; n0 < s->out_h * s->out_w; n0 += LANES) {
        max_vector(p, n0, sources);
    }
}

static void run_average(const pool_f32_planes *p)
{
    pool_f32_run(POOL_F32_SUM, p);
}

const pool_f32_kernel pool_f32__avx512 = {"pool_f32__avx512", run_max, run_average};
