/* Depthwise convolution of up to 64 output pixels at a time: sums stay in four registers while the
 * kernel positions pass by, and channels share the table of what to load. */
#include "kernels/conv/conv_f32_lanes.h"
#include "kernels/conv/depthwise_f32_body.h"
#include "kernels/conv/depthwise_f32_variants.h"

enum { VECTORS = 4 };

/* Output pixels [n0, n0 + columns), and what to load for them: [tap][VECTORS][most] sources. */
typedef struct pixels {
    int64_t n0;
    int64_t columns;
    int most;
    const lane_source *sources;
} pixels;

static inline __attribute__((always_inline)) void run_pixels(const depthwise_plane *p,
                                                             const pixels *at, int most,
                                                             int64_t stride)
{
    int64_t taps = p->shape->kernel_h * p->shape->kernel_w;
    const lane_source *from = at->sources;
    __m512 sum[VECTORS];

#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) {
        sum[v] = _mm512_set1_ps(p->bias);
    }
    for (int64_t tap = 0; tap < taps; tap++) {
        __m512 weight = _mm512_set1_ps(p->weights[tap]);

#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) {
            sum[v] = _mm512_fmadd_ps(weight, lane_load(p->in, from, most, stride), sum[v]);
            from += most;
        }
    }
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) {
        int64_t left = at->columns - v * LANES;
        __mmask16 lanes = (__mmask16)lane_run(0, left < LANES ? left : LANES);

        if (p->residual != NULL) {
            const float *r = p->residual + at->n0 + v * LANES;

            sum[v] = _mm512_add_ps(sum[v], _mm512_maskz_loadu_ps(lanes, r));
        }
        /* The second operand comes back when one is NaN. */
        sum[v] = _mm512_max_ps(_mm512_set1_ps(p->lower), sum[v]);
        sum[v] = _mm512_min_ps(_mm512_set1_ps(p->upper), sum[v]);
        _mm512_mask_storeu_ps(p->out + at->n0 + v * LANES, lanes, sum[v]);
    }
}

static void run(const conv_f32_planes *planes)
{
    const conv_f32_shape *s = planes->shape;
    int64_t count = s->out_h * s->out_w;
    int most = lane_most_sources(s);
    int64_t per_tap = (int64_t)most * VECTORS;
    lane_source sources[MOST_SOURCES];

    if (s->stride_w > MOST_STRIDE || per_tap * s->kernel_h * s->kernel_w > MOST_SOURCES) {
        depthwise_planes(planes);
        return;
    }
    for (int64_t n0 = 0; n0 < count; n0 += VECTORS * LANES) {
        int64_t columns = count - n0 < VECTORS * LANES ? count - n0 : VECTORS * LANES;
        pixels at = {n0, columns, most, sources};

        for (int v = 0; v < VECTORS; v++) {
            int64_t left = columns - v * LANES;

            lane_find_sources(s, n0 + v * LANES, left < LANES ? left : LANES, most, per_tap,
                              sources + v * most);
        }
        for (int64_t i = planes->first; i < planes->first + planes->count; i++) {
            depthwise_plane p = depthwise_plane_at(planes, i);

            if (s->stride_w == 1 && most == 1) {
                run_pixels(&p, &at, 1, 1);
            } else if (s->stride_w == 1) {
                run_pixels(&p, &at, most, 1);
            } else {
                run_pixels(&p, &at, most, MOST_STRIDE);
            }
        }
    }
}

const conv_f32_depthwise_kernel depthwise_f32__avx512 = {"depthwise_f32__avx512", run};
