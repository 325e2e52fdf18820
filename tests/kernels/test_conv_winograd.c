/* Winograd convolution against the direct sum in double precision, on every variant. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/conv/conv_winograd.h"
#include "spry/random.h"
#include "support/guarded.h"

enum { TAPS = 9, SHAPES = 60, MOST_WORK = 3000000, GAP = 5 };

static guarded guard(int64_t floats, bool at_end)
{
    return guarded_make((size_t)floats * sizeof(float), at_end);
}

static float *floats_of(const guarded *g)
{
    return (float *)(void *)g->data;
}

/* A problem with its data and the truth. */
typedef struct sample {
    conv_winograd_problem problem;
    guarded x;
    float *weights;
    float *bias;
    float *residual;
    double *truth;
    int64_t results;
    double scale; /* the largest sum of magnitudes: what errors are relative to */
} sample;

static int64_t between(spry_random *r, int64_t low, int64_t high)
{
    return low + (int64_t)spry_random_below(r, (uint64_t)(high - low + 1));
}

static float *random_floats(spry_random *r, int64_t count)
{
    float *values = malloc((size_t)count * sizeof *values);

    assert_non_null(values);
    spry_random_fill_uniform(r, values, (size_t)count, -1.0f, 1.0f);
    return values;
}

/* The direct sum at one output pixel and filter; adds magnitudes to `scale`. */
static double sum_directly(const sample *s, int64_t pixel, int64_t filter, double *scale)
{
    const conv_f32_shape *p = &s->problem.shape;
    int64_t image = pixel / (p->out_h * p->out_w);
    int64_t row = pixel / p->out_w % p->out_h - p->pad_h;
    int64_t column = pixel % p->out_w - p->pad_w;
    double sum = 0;

    for (int64_t tap = 0; tap < TAPS; tap++) {
        int64_t y = row + tap / 3;
        int64_t x = column + tap % 3;
        const float *from = floats_of(&s->x) + ((image * p->in_h + y) * p->in_w + x) * p->channels;
        const float *weight = s->weights + filter * p->channels * TAPS + tap;

        for (int64_t k = 0; y >= 0 && y < p->in_h && x >= 0 && x < p->in_w && k < p->channels;
             k++) {
            sum += (double)from[k] * (double)weight[k * TAPS];
            *scale += fabs((double)from[k] * (double)weight[k * TAPS]);
        }
    }
    return sum;
}

static void fill_sample(spry_random *r, sample *s)
{
    const conv_f32_shape *p = &s->problem.shape;
    int64_t floats = s->problem.batch * p->in_h * p->in_w * p->channels;

    s->results = s->problem.batch * p->out_h * p->out_w * s->problem.filters;
    s->x = guard(floats, spry_random_below(r, 2) == 0);
    spry_random_fill_uniform(r, floats_of(&s->x), (size_t)floats, -1.0f, 1.0f);
    s->weights = random_floats(r, s->problem.filters * p->channels * TAPS);
    s->bias = random_floats(r, s->problem.filters);
    s->residual = random_floats(r, s->results);
    s->truth = malloc((size_t)s->results * sizeof *s->truth);
    assert_non_null(s->truth);
    s->scale = 0;
    for (int64_t i = 0; i < s->results; i++) {
        double scale = 0;

        s->truth[i] = sum_directly(s, i / s->problem.filters, i % s->problem.filters, &scale);
        s->scale = scale > s->scale ? scale : s->scale;
    }
}

static void free_sample(sample *s)
{
    guarded_free(&s->x);
    free(s->weights);
    free(s->bias);
    free(s->residual);
    free(s->truth);
}

static void make_sample(spry_random *r, int64_t h, int64_t w, int64_t channels, int64_t filters,
                        int64_t batch, sample *s)
{
    conv_f32_shape *p = &s->problem.shape;
    int64_t pad_h = between(r, 0, 2);
    int64_t pad_w = between(r, 0, 2);

    *p = (conv_f32_shape){.channels = channels,
                          .in_h = h,
                          .in_w = w,
                          .kernel_h = 3,
                          .kernel_w = 3,
                          .stride_h = 1,
                          .stride_w = 1,
                          .dilation_h = 1,
                          .dilation_w = 1};
    /* Output sizes need pads of 2 and 3 in all where the image is small. */
    p->pad_h = h < 3 ? 1 : pad_h;
    p->pad_w = w < 3 ? 1 : pad_w;
    p->out_h = h + p->pad_h + (h < 3 ? 1 : between(r, 0, 2)) - 2;
    p->out_w = w + p->pad_w + (w < 3 ? 1 : between(r, 0, 2)) - 2;
    s->problem.batch = batch;
    s->problem.filters = filters;
    fill_sample(r, s);
}

static void random_sample(spry_random *r, sample *s)
{
    static const int64_t counts[] = {1, 3, 16, 17, 64, 65};
    int64_t h, w, channels, filters, batch;

    do {
        h = between(r, 1, 40);
        w = between(r, 1, 40);
        channels = counts[between(r, 0, 5)];
        filters = counts[between(r, 0, 5)];
        batch = between(r, 1, 3);
    } while (h * w * channels * filters * batch * TAPS > MOST_WORK);
    make_sample(r, h, w, channels, filters, batch, s);
}

/* A plan with packed weights. */
typedef struct packed {
    conv_winograd plan;
    void *weights;
} packed;

static void *aligned(int64_t bytes)
{
    void *memory = aligned_alloc(64, ((size_t)bytes + 63) / 64 * 64);

    assert_non_null(memory);
    memset(memory, 0xFF, (size_t)bytes); /* NaN: nothing is read that was not written */
    return memory;
}

static packed pack_sample(const sample *s, const brgemm_kernel *kernel,
                          const conv_winograd_transforms *transforms, int size, int workers)
{
    packed p;

    conv_winograd_plan(&s->problem, kernel, transforms, size, workers, &p.plan);
    p.weights = aligned(p.plan.packed_bytes);
    for (int64_t i = conv_winograd_panels(&p.plan) - 1; i >= 0; i--) {
        conv_winograd_pack(&p.plan, s->weights, i, i + 1, p.weights);
    }
    return p;
}

/* Runs the pieces from the last to the first, worker by turns. */
static void run_backwards(const packed *p, conv_winograd_call *call, int workers)
{
    call->c = &p->plan;
    call->packed = p->weights;
    call->workspace = aligned(p->plan.shared_bytes + workers * p->plan.worker_bytes);
    for (int64_t i = p->plan.gathers - 1; i >= 0; i--) {
        conv_winograd_gather(call, i, i + 1, (int)(i % workers));
    }
    for (int64_t i = p->plan.pieces - 1; i >= 0; i--) {
        conv_winograd_run(call, i, i + 1, (int)(i % workers));
    }
    free(call->workspace);
}

static double error_bound(int size)
{
    return size == 2 ? 5e-7 : 2e-6;
}

static void check_plain(const sample *s, const packed *p, int workers, float *y)
{
    conv_winograd_call call = {.x = floats_of(&s->x),
                               .y = y,
                               .y_pitch = s->problem.filters * (int64_t)sizeof *y,
                               .finish = {.lower = -INFINITY, .upper = INFINITY}};

    run_backwards(p, &call, workers);
    for (int64_t i = 0; i < s->results; i++) {
        double error = fabs((double)y[i] - s->truth[i]);

        if (!(error <= error_bound(p->plan.size) * s->scale)) {
            fail_msg("F(%d): result %lld is off by %g, scale %g", p->plan.size, (long long)i, error,
                     s->scale);
        }
    }
}

static void halve(float *to, const float *from, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        to[i] = from[i] * 0.5f;
    }
}

/* Everything that may follow, into a slice of wider pixels. */
static void check_finish(const sample *s, const packed *p, bool activate)
{
    int64_t filters = s->problem.filters;
    int64_t pixels = s->results / filters;
    guarded y = guard(pixels * (filters + GAP) - GAP, true);
    conv_winograd_call call = {.x = floats_of(&s->x),
                               .y = floats_of(&y),
                               .y_pitch = (filters + GAP) * (int64_t)sizeof(float),
                               .finish = {.bias = s->bias,
                                          .residual = s->residual,
                                          .activate = activate ? halve : NULL,
                                          .lower = -0.5f,
                                          .upper = 2.0f}};

    run_backwards(p, &call, 2);
    for (int64_t i = 0; i < s->results; i++) {
        double wanted = s->truth[i] + (double)s->bias[i % filters] + (double)s->residual[i];
        float got = floats_of(&y)[i / filters * (filters + GAP) + i % filters];

        wanted = activate ? wanted / 2 : fmin(fmax(wanted, -0.5), 2.0);
        assert_true(fabs((double)got - wanted) <= error_bound(p->plan.size) * s->scale + 1e-6);
    }
    for (int64_t pixel = 0; pixel + 1 < pixels; pixel++) {
        for (int64_t i = 0; i < GAP; i++) {
            assert_true(floats_of(&y)[pixel * (filters + GAP) + filters + i] == 0.0f);
        }
    }
    guarded_free(&y);
}

/* One variant of transforms with one kernel: both sizes, two teams. */
static void check_variant(const sample *s, const brgemm_kernel *kernel,
                          const conv_winograd_transforms *transforms)
{
    guarded alone = guard(s->results, true);
    guarded team = guard(s->results, false);

    for (int size = 2; size <= 4; size += 2) {
        packed one = pack_sample(s, kernel, transforms, size, 1);
        packed three = pack_sample(s, kernel, transforms, size, 3);

        assert_true(one.plan.predicted_cost == three.plan.predicted_cost);
        check_plain(s, &one, 1, floats_of(&alone));
        check_plain(s, &three, 3, floats_of(&team));
        assert_memory_equal(floats_of(&alone), floats_of(&team),
                            (size_t)s->results * sizeof(float));
        check_finish(s, &one, false);
        check_finish(s, &three, true);
        free(one.weights);
        free(three.weights);
    }
    guarded_free(&alone);
    guarded_free(&team);
}

static void check_sample(sample *s)
{
    brgemm_variants kernels = brgemm_variants_of(BRGEMM_F32);

    for (int v = 0; v < conv_winograd_variant_count; v++) {
        const brgemm_kernel *kernel = kernels.list[v < kernels.count ? v : 0].table;

        if (isa_usable(conv_winograd_variants[v].level)) {
            check_variant(s, kernel, conv_winograd_variants[v].table);
        }
    }
    free_sample(s);
}

static void test_random_shapes(void **state)
{
    spry_random r = spry_random_stream(17, 0);

    (void)state;
    for (int i = 0; i < SHAPES; i++) {
        sample s;

        random_sample(&r, &s);
        check_sample(&s);
    }
}

/* Plans with several blocks of tiles and of filters. */
static void test_large_shapes(void **state)
{
    spry_random r = spry_random_stream(18, 0);
    sample s;

    (void)state;
    make_sample(&r, 37, 67, 70, 65, 1, &s);
    check_sample(&s);
    make_sample(&r, 7, 9, 130, 200, 1, &s);
    check_sample(&s);
}

/* 0..15 as a 4 x 4 image, all weights 1. */
static void test_by_hand(void **state)
{
    static const float wanted[] = {45, 54, 81, 90};
    conv_winograd_problem problem = {.shape = {.channels = 1,
                                               .in_h = 4,
                                               .in_w = 4,
                                               .out_h = 2,
                                               .out_w = 2,
                                               .kernel_h = 3,
                                               .kernel_w = 3,
                                               .stride_h = 1,
                                               .stride_w = 1,
                                               .dilation_h = 1,
                                               .dilation_w = 1},
                                     .batch = 1,
                                     .filters = 1};
    sample s = {.problem = problem};
    float x[16];
    float weights[TAPS];

    (void)state;
    s.x.data = (uint8_t *)(void *)x;
    s.weights = weights;
    for (int i = 0; i < 16; i++) {
        x[i] = (float)i;
        weights[i % TAPS] = 1;
    }
    for (int size = 2; size <= 4; size += 2) {
        packed p = pack_sample(&s, brgemm_select(BRGEMM_F32), conv_winograd_select(), size, 1);
        float y[4];
        conv_winograd_call call = {.x = x,
                                   .y = y,
                                   .y_pitch = sizeof *y,
                                   .finish = {.lower = -INFINITY, .upper = INFINITY}};

        run_backwards(&p, &call, 1);
        for (int i = 0; i < 4; i++) {
            assert_true(fabsf(y[i] - wanted[i]) < 1e-4f);
        }
        free(p.weights);
    }
}

/* The gate finds ordinary weights harmless, and weights whose sums cancel harmful. */
static void test_error(void **state)
{
    spry_random r = spry_random_stream(19, 0);

    (void)state;
    for (int size = 2; size <= 4; size += 2) {
        sample s;
        packed p;
        void *scratch;

        make_sample(&r, 9, 9, 65, 70, 1, &s);
        p = pack_sample(&s, brgemm_select(BRGEMM_F32), conv_winograd_select(), size, 1);
        scratch = aligned(conv_winograd_error_bytes(&p.plan));
        assert_true(conv_winograd_error(&p.plan, s.weights, p.weights, scratch) < 3e-6);
        assert_true(conv_winograd_error(&p.plan, s.weights, p.weights, scratch) > 0);
        free(p.weights);
        s.weights[0] = NAN;
        p = pack_sample(&s, brgemm_select(BRGEMM_F32), conv_winograd_select(), size, 1);
        assert_true(isnan(conv_winograd_error(&p.plan, s.weights, p.weights, scratch)));
        free(p.weights);
        free(scratch);
        free_sample(&s);
    }
}

static void test_can(void **state)
{
    conv_f32_shape s = {.kernel_h = 3,
                        .kernel_w = 3,
                        .stride_h = 1,
                        .stride_w = 1,
                        .dilation_h = 1,
                        .dilation_w = 1};

    (void)state;
    assert_true(conv_winograd_can(&s));
    s.stride_w = 2;
    assert_false(conv_winograd_can(&s));
    s.stride_w = 1;
    s.kernel_h = 5;
    assert_false(conv_winograd_can(&s));
    s.kernel_h = 3;
    s.dilation_h = 2;
    assert_false(conv_winograd_can(&s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_shapes), cmocka_unit_test(test_large_shapes),
        cmocka_unit_test(test_by_hand),       cmocka_unit_test(test_error),
        cmocka_unit_test(test_can),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
