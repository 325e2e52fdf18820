/* Depthwise convolution of up to 64 output pixels at a time: sums stay in four registers while the
 * kernel positions pass by, and rows or channels share the table of what to load. */
#include "kernels/conv/conv_f32_lanes.h"
#include "kernels/conv/depthwise_f32_body.h"
#include "kernels/conv/depthwise_f32_variants.h"

enum { VECTORS = 4 };

/* Output pixels [n0, n0 + columns) and what to load for them: [tap][VECTORS][most] sources, of
 * which `count` are in use, relative to in[shift]. */
typedef struct pixels {
    int64_t n0;
    int64_t columns;
    int64_t first_tap; /* the others see no pixels */
    int64_t end_tap;
    int64_t shift;
    int most;
    int count;
    const lane_source *sources;
} pixels;

static inline __attribute__((always_inline)) void run_counted(const depthwise_plane *p,
                                                              const pixels *at, int count,
                                                              int64_t stride)
{
    const lane_source *from = at->sources + at->first_tap * at->most * VECTORS;
    const float *in = p->in + at->shift;
    __m512 sum[VECTORS];

#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) {
        sum[v] = _mm512_set1_ps(p->bias);
    }
    for (int64_t tap = at->first_tap; tap < at->end_tap; tap++) {
        __m512 weight = _mm512_set1_ps(p->weights[tap]);

#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) {
            sum[v] = _mm512_fmadd_ps(weight, lane_load(in, from, count, stride), sum[v]);
            from += at->most;
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

static void run_pixels(const depthwise_plane *p, const pixels *at)
{
    if (p->shape->stride_w == 1 && at->count == 1) {
        run_counted(p, at, 1, 1);
    } else if (p->shape->stride_w == 1) {
        run_counted(p, at, at->count, 1);
    } else if (at->count == 1) {
        run_counted(p, at, 1, MOST_STRIDE);
    } else {
        run_counted(p, at, at->count, MOST_STRIDE);
    }
}

static void find_pixels(const conv_f32_shape *s, int64_t n0, int64_t end, int most,
                        lane_source *sources, pixels *at)
{
    int64_t columns = end - n0 < VECTORS * LANES ? end - n0 : VECTORS * LANES;

    *at = (pixels){.n0 = n0,
                   .columns = columns,
                   .end_tap = s->kernel_h * s->kernel_w,
                   .most = most,
                   .count = 1,
                   .sources = sources};
    for (int v = 0; v < VECTORS; v++) {
        int64_t left = columns - v * LANES;
        int count = lane_find_sources(s, n0 + v * LANES, left < LANES ? left : LANES, most,
                                      (int64_t)most * VECTORS, sources + v * most);

        at->count = count > at->count ? count : at->count;
    }
}

/* The kernel rows whose pixels exist for an output row, as taps, and where its pixels begin. */
static void place_row(const conv_f32_shape *s, int64_t row, pixels *at)
{
    int64_t in_row = row * s->stride_h - s->pad_h;
    int64_t first = 0;
    int64_t end = s->kernel_h;

    while (first < end && in_row + first * s->dilation_h < 0) {
        first++;
    }
    while (end > first && in_row + (end - 1) * s->dilation_h >= s->in_h) {
        end--;
    }
    at->first_tap = first * s->kernel_w;
    at->end_tap = end * s->kernel_w;
    at->shift = in_row * s->in_w;
}

/* Wide planes, one after the other and row by row: what to load is the same for every row. */
static void run_rows(const conv_f32_planes *planes, lane_source *sources)
{
    const conv_f32_shape *s = planes->shape;
    conv_f32_shape endless = *s;
    pixels strips[MOST_SOURCES / VECTORS];
    int64_t step = s->kernel_h * s->kernel_w * VECTORS;
    int64_t count = 0;

    endless.in_h = INT32_MAX;
    endless.pad_h = 0;
    for (int64_t n0 = 0; n0 < s->out_w; n0 += VECTORS * LANES) {
        find_pixels(&endless, n0, s->out_w, 1, sources + count * step, &strips[count]);
        count++;
    }
    for (int64_t i = planes->first; i < planes->first + planes->count; i++) {
        depthwise_plane p = depthwise_plane_at(planes, i);

        for (int64_t row = 0; row < s->out_h; row++) {
            for (int64_t strip = 0; strip < count; strip++) {
                pixels at = strips[strip];

                place_row(s, row, &at);
                at.n0 += row * s->out_w;
                run_pixels(&p, &at);
            }
        }
    }
}

/* Small planes side by side, whatever the length of their rows. */
static void run_blocks(const conv_f32_planes *planes, lane_source *sources)
{
    const conv_f32_shape *s = planes->shape;
    int64_t size = s->out_h * s->out_w;

    for (int64_t n0 = 0; n0 < size; n0 += VECTORS * LANES) {
        pixels at;

        find_pixels(s, n0, size, lane_most_sources(s), sources, &at);
        for (int64_t i = planes->first; i < planes->first + planes->count; i++) {
            depthwise_plane p = depthwise_plane_at(planes, i);

            run_pixels(&p, &at);
        }
    }
}

static void run(const conv_f32_planes *planes)
{
    enum { WIDE = 48 };
    const conv_f32_shape *s = planes->shape;
    int64_t taps = s->kernel_h * s->kernel_w;
    int64_t strips = (s->out_w + VECTORS * LANES - 1) / (VECTORS * LANES);
    lane_source sources[MOST_SOURCES];

    if (s->stride_w > MOST_STRIDE) {
        depthwise_planes(planes);
    } else if (s->out_w >= WIDE && strips * VECTORS * taps <= MOST_SOURCES) {
        run_rows(planes, sources);
    } else if (lane_most_sources(s) * VECTORS * taps <= MOST_SOURCES) {
        run_blocks(planes, sources);
    } else {
        depthwise_planes(planes);
    }
}

const conv_f32_depthwise_kernel depthwise_f32__avx512 = {"depthwise_f32__avx512", run};
