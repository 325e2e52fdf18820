/* How far Winograd convolution with given weights is from the direct sum. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "kernels/conv/conv_winograd.h"
#include "spry/random.h"

enum {
    SAMPLES = 2, /* tiles: one of inputs around zero, one of positive ones, as after Relu */
    PANELS = 2,  /* of filters: the first and the last */
    TAPS = 9,
    MOST_PIXELS = WINOGRAD_MOST_SIZE * WINOGRAD_MOST_SIZE
};

static int64_t round_to_line(int64_t floats)
{
    return (floats + WINOGRAD_LANES - 1) / WINOGRAD_LANES * WINOGRAD_LANES;
}

/* The convolution of SAMPLES windows, one tile each, by the filters of panel number `panel`. */
static void plan_sample(const conv_winograd *c, int64_t panel, conv_winograd *sample)
{
    int64_t nr = c->kernel->nr;
    int64_t left = c->problem.filters - panel * nr;
    int64_t side = c->size + 2;
    conv_winograd_problem problem = {.shape = {.channels = c->problem.shape.channels,
                                               .in_h = side,
                                               .in_w = side,
                                               .out_h = c->size,
                                               .out_w = c->size,
                                               .kernel_h = 3,
                                               .kernel_w = 3,
                                               .stride_h = 1,
                                               .stride_w = 1,
                                               .dilation_h = 1,
                                               .dilation_w = 1},
                                     .batch = SAMPLES,
                                     .filters = left < nr ? left : nr};

    conv_winograd_plan(&problem, c->kernel, c->transforms, c->size, 1, sample);
}

static int64_t input_floats(const conv_winograd *c)
{
    return round_to_line((int64_t)SAMPLES * c->positions * c->problem.shape.channels);
}

static int64_t output_floats(const conv_winograd *c)
{
    return round_to_line((int64_t)SAMPLES * c->size * c->size * c->kernel->nr);
}

int64_t conv_winograd_error_bytes(const conv_winograd *c)
{
    conv_winograd sample;

    plan_sample(c, 0, &sample);
    return (input_floats(c) + output_floats(c)) * (int64_t)sizeof(float) + sample.shared_bytes +
           sample.worker_bytes;
}

/* Adds one channel of one tile to the sums of `filters` filters. `size` is a constant at every
 * call. */
static inline __attribute__((always_inline)) void add_channel(int size, int64_t channels,
                                                              const float *x, const float *weights,
                                                              int64_t filters,
                                                              double (*sums)[MOST_PIXELS])
{
    const int side = size + 2;
    double window[WINOGRAD_MOST_WINDOW * WINOGRAD_MOST_WINDOW];

    for (int i = 0; i < side * side; i++) {
        window[i] = (double)x[i * channels];
    }
    for (int64_t f = 0; f < filters; f++) {
        for (int tap = 0; tap < TAPS; tap++) {
            const double *from = window + (ptrdiff_t)(tap / 3) * side + tap % 3;
            double weight = (double)weights[f * channels * TAPS + tap];

            for (int i = 0; i < size; i++) {
                for (int j = 0; j < size; j++) {
                    sums[f][i * size + j] += weight * from[i * side + j];
                }
            }
        }
    }
}

/* All pixels of one tile and a panel of filters, in double precision. */
static void sum_directly(int size, int64_t channels, const float *x, const float *weights,
                         int64_t filters, double (*sums)[MOST_PIXELS])
{
    memset(sums, 0, (size_t)filters * sizeof *sums);
    for (int64_t k = 0; k < channels; k++) {
        if (size == 2) {
            add_channel(2, channels, x + k, weights + k * TAPS, filters, sums);
        } else {
            add_channel(4, channels, x + k, weights + k * TAPS, filters, sums);
        }
    }
}

/* What has been seen so far. */
typedef struct extremes {
    double low, high; /* of the truth */
    double error;     /* NaN stays */
} extremes;

static void compare_filter(int size, const double *truth, const float *y, int64_t filters,
                           extremes *seen)
{
    for (int p = 0; p < size * size; p++) {
        double error = fabs((double)y[p * filters] - truth[p]);

        seen->low = truth[p] < seen->low ? truth[p] : seen->low;
        seen->high = truth[p] > seen->high ? truth[p] : seen->high;
        seen->error = error <= seen->error ? seen->error : error;
        if (isnan(seen->error)) {
            return;
        }
    }
}

static void compare_panel(const conv_winograd *sample, const float *x, const float *y,
                          const float *weights, extremes *seen)
{
    int64_t channels = sample->problem.shape.channels;
    int64_t filters = sample->problem.filters;
    int pixels = sample->size * sample->size;
    double truth[BRGEMM_MOST_NR][MOST_PIXELS];

    for (int64_t n = 0; n < SAMPLES; n++) {
        sum_directly(sample->size, channels, x + n * sample->positions * channels, weights, filters,
                     truth);
        for (int64_t f = 0; f < filters && !isnan(seen->error); f++) {
            compare_filter(sample->size, truth[f], y + n * pixels * filters + f, filters, seen);
        }
    }
}

double conv_winograd_error(const conv_winograd *c, const float *weights, const void *packed,
                           void *scratch)
{
    spry_random random = spry_random_stream(9, 0);
    int64_t panels = conv_winograd_panels(c);
    int64_t half = (int64_t)c->positions * c->problem.shape.channels;
    float *x = scratch;
    float *y = x + input_floats(c);
    conv_winograd_call call = {
        .x = x,
        .y = y,
        .finish = {.lower = -INFINITY, .upper = INFINITY},
        .workspace = y + output_floats(c),
    };
    extremes seen = {INFINITY, -INFINITY, 0};

    spry_random_fill_uniform(&random, x, (size_t)half, -1.0f, 1.0f);
    spry_random_fill_uniform(&random, x + half, (size_t)half, 0.0f, 1.0f);
    for (int64_t i = 0; i < PANELS && i < panels; i++) {
        int64_t panel = i == 0 ? 0 : panels - 1;
        conv_winograd sample;

        plan_sample(c, panel, &sample);
        call.c = &sample;
        call.packed = (const char *)packed + panel * (c->packed_bytes / panels);
        call.y_pitch = sample.problem.filters * (int64_t)sizeof(float);
        if (sample.shared) {
            conv_winograd_gather(&call, 0, sample.gathers, 0);
        }
        conv_winograd_run(&call, 0, sample.pieces, 0);
        compare_panel(&sample, x, y,
                      weights + panel * c->kernel->nr * c->problem.shape.channels * TAPS, &seen);
    }
    return seen.error == 0 ? 0 : seen.error / (seen.high - seen.low);
}
