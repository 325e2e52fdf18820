/* The array: counted cycles against closed forms, results against the convolution, and the passes
 * that hands can count. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "simulate/array/lowering_compute.h"
#include "simulate/array/lowering_target.h"
#include "spry/random.h"

enum { LAYERS = 60 };

static spry_random numbers = {.seed = 5};

static int64_t between(int64_t low, int64_t high)
{
    return low + (int64_t)(spry_random_u32(&numbers) % (uint32_t)(high - low + 1));
}

/* Whole numbers: sums are exact in any order. */
static float *make(int64_t count)
{
    float *x = malloc((size_t)count * sizeof *x);

    assert_non_null(x);
    for (int64_t i = 0; i < count; i++) {
        x[i] = (float)between(-8, 8);
    }
    return x;
}

static simulate_layer conv(int64_t size, int64_t channels, int64_t filters, int64_t kernel,
                           int64_t stride)
{
    /* Padded so that an even stride divides the map. */
    int64_t in = (size - 1) * stride + kernel;

    return (simulate_layer){.name = "conv",
                            .images = 1,
                            .in_height = in,
                            .in_width = in,
                            .channels = channels,
                            .out_height = size,
                            .out_width = size,
                            .filters = filters,
                            .kernel_height = kernel,
                            .kernel_width = kernel,
                            .stride_height = stride,
                            .stride_width = stride,
                            .dilation_height = 1,
                            .dilation_width = 1,
                            .groups = 1};
}

static lowering_machine machine_of(int side)
{
    return (lowering_machine){.shape = {side, side},
                              .arrays = 1,
                              .period = 1000000,
                              .element_bytes = 2,
                              .scratch_bytes = 32 << 20,
                              .bandwidth = 700e9};
}

static void test_hand(void **state)
{
    const float a[] = {1, 2, 3, 4}; /* 2 x 2 */
    const float b[] = {5, 6, 7, 8};
    const systolic_shape one = {1, 1};
    float sums[4] = {0};
    uint64_t cycles;
    spry_error error = {0};

    (void)state;
    assert_int_equal(
        systolic_run_outputs(NULL, (systolic_shape){2, 2}, a, b, 2, sums, &cycles, &error),
        SPRY_OK);
    assert_int_equal(cycles, 2 * 2 + 2 + 2 - 2);
    assert_true(sums[0] == 19 && sums[1] == 22 && sums[2] == 43 && sums[3] == 50);
    assert_int_equal(systolic_run_outputs(NULL, one, a, b, 3, sums, &cycles, &error), SPRY_OK);
    assert_int_equal(cycles, 3 + 1);
    assert_true(sums[0] == 1 * 5 + 2 * 6 + 3 * 7);
    memset(sums, 0, sizeof sums);
    {
        const systolic_pass pass = {.a = a,
                                    .w = b,
                                    .sums = sums,
                                    .a_pitch = 2,
                                    .w_pitch = 2,
                                    .sums_pitch = 2,
                                    .depth = 2,
                                    .width = 2};

        assert_int_equal(
            systolic_run_weights(NULL, (systolic_shape){2, 2}, &pass, 1, 2, &cycles, &error),
            SPRY_OK);
        assert_int_equal(cycles, 2 + 2 + 2 + 2 - 2);
        assert_true(sums[0] == 19 && sums[1] == 22 && sums[2] == 43 && sums[3] == 50);
    }
}

static void test_outputs(void **state)
{
    spry_error error = {0};

    (void)state;
    for (int round = 0; round < 40; round++) {
        systolic_shape shape = {(int)between(1, 9), (int)between(1, 9)};
        int64_t k = between(1, 20);
        float *a = make(shape.rows * k);
        float *b = make(k * shape.columns);
        float *y = make((int64_t)shape.rows * shape.columns);
        uint64_t cycles;

        assert_int_equal(systolic_run_outputs(NULL, shape, a, b, k, y, &cycles, &error), SPRY_OK);
        assert_int_equal(cycles, systolic_cycles_outputs(shape, (uint64_t)k));
        for (int i = 0; i < shape.rows; i++) {
            for (int j = 0; j < shape.columns; j++) {
                float sum = 0;

                for (int64_t s = 0; s < k; s++) {
                    sum += a[i * k + s] * b[s * shape.columns + j];
                }
                assert_true(sum == y[i * shape.columns + j]);
            }
        }
        free(a);
        free(b);
        free(y);
    }
}

static void naive(const simulate_layer *l, const float *x, const float *w, float *y)
{
    int64_t channels = l->channels / l->groups;
    int64_t filters = l->filters / l->groups;

    for (int64_t m = 0; m < simulate_layer_pixels(l); m++) {
        int64_t image = m / l->out_width / l->out_height;
        int64_t row = m / l->out_width % l->out_height;

        for (int64_t o = 0; o < l->filters; o++) {
            float sum = 0;

            for (int64_t tap = 0; tap < l->kernel_height * l->kernel_width; tap++) {
                int64_t r = tap / l->kernel_width * l->dilation_height + row * l->stride_height;
                int64_t q =
                    tap % l->kernel_width * l->dilation_width + m % l->out_width * l->stride_width;
                const float *at = x + ((image * l->in_height + r) * l->in_width + q) * l->channels +
                                  o / filters * channels;

                for (int64_t c = 0; c < channels; c++) {
                    sum += at[c] * w[(tap * channels + c) * l->filters + o];
                }
            }
            y[m * l->filters + o] = sum;
        }
    }
}

static simulate_layer random_layer(void)
{
    simulate_layer l = {.name = "random",
                        .images = between(1, 2),
                        .out_height = between(1, 4),
                        .out_width = between(1, 5),
                        .kernel_height = between(1, 3),
                        .kernel_width = between(1, 4),
                        .stride_height = between(1, 3),
                        .stride_width = between(1, 3),
                        .dilation_height = between(1, 2),
                        .dilation_width = between(1, 2),
                        .groups = between(1, 2)};

    l.channels = l.groups * between(1, 11);
    l.filters = l.groups * between(1, 11);
    l.in_height =
        (l.out_height - 1) * l.stride_height + (l.kernel_height - 1) * l.dilation_height + 1;
    l.in_width = (l.out_width - 1) * l.stride_width + (l.kernel_width - 1) * l.dilation_width + 1;
    return l;
}

/* Every way, element by element on a small array: the result is the convolution, and the closed
 * form's cycles are those counted. */
static void test_layers(void **state)
{
    lowering_machine m = machine_of(8);
    spry_error error = {0};

    (void)state;
    for (int round = 0; round < LAYERS; round++) {
        simulate_layer l = random_layer();
        int64_t weights = l.kernel_height * l.kernel_width * l.channels / l.groups * l.filters;
        int64_t results = simulate_layer_pixels(&l) * l.filters;
        float *x = make(l.images * l.in_height * l.in_width * l.channels);
        float *w = make(weights);
        float *wanted = make(results);
        float *y = make(results);
        lowering_way way = (lowering_way)(round % LOWERING_WAYS);
        lowering_multi multi = (lowering_multi)(round / LOWERING_WAYS % LOWERING_MULTIS);
        lowering_cost cost;
        uint64_t cycles = 0;

        naive(&l, x, w, wanted);
        assert_int_equal(lowering_compute(NULL, m.shape, &l, way, multi, x, w, y, &cycles, &error),
                         SPRY_OK);
        assert_memory_equal(y, wanted, (size_t)results * sizeof *y);
        lowering_estimate(&m, &l, way, multi, &cost);
        assert_int_equal(cycles, cost.compute - cost.fetch);
        free(x);
        free(w);
        free(wanted);
        free(y);
    }
}

typedef struct expected {
    simulate_layer layer;
    lowering_multi multi;
    int64_t together, passes;
    uint64_t streamed;
} expected;

/* 56 x 56, 64 to 64 channels; 112 x 112, 3 to 64, 7 x 7; 14 x 14, 256 to 256. */
static void test_passes(void **state)
{
    const expected rows[] = {
        {conv(56, 64, 64, 3, 1), LOWERING_MULTI_OFF, 1, 9, 28224},
        {conv(56, 64, 64, 3, 1), LOWERING_MULTI_ROW, 2, 6, 18816},
        {conv(112, 3, 64, 7, 2), LOWERING_MULTI_OFF, 1, 49, 614656},
        {conv(112, 3, 64, 7, 2), LOWERING_MULTI_ROW, 7, 7, 87808},
        {conv(14, 256, 256, 3, 1), LOWERING_MULTI_ROW, 1, 36, 7056},
    };
    lowering_machine m = machine_of(128);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lowering_cost cost;
        double share;

        lowering_estimate(&m, &rows[i].layer, LOWERING_CHANNEL_FIRST, rows[i].multi, &cost);
        assert_int_equal(cost.taps_together, rows[i].together);
        assert_int_equal(cost.passes, rows[i].passes);
        assert_int_equal(cost.streamed, rows[i].streamed);
        share = cost.macs / ((double)cost.streamed * 128.0 * 128.0);
        if (i == 0 || i == 1 || i == 4) {
            assert_true(fabs(share - (i == 0 ? 0.25 : i == 1 ? 0.375 : 1.0)) < 1e-12);
        }
    }
}

/* What a multiply-add costs to load does not depend on the stride when channels come first, and
 * grows with it when they come last. */
static void test_stride(void **state)
{
    lowering_machine m = machine_of(128);
    double first[3];
    double last[3];

    (void)state;
    for (int i = 0; i < 3; i++) {
        simulate_layer l = conv(32, 128, 128, 3, 1 << i);
        lowering_cost cost;

        lowering_estimate(&m, &l, LOWERING_CHANNEL_FIRST, LOWERING_MULTI_OFF, &cost);
        first[i] = cost.macs_per_loaded;
        lowering_estimate(&m, &l, LOWERING_CHANNEL_LAST, LOWERING_MULTI_OFF, &cost);
        last[i] = cost.macs_per_loaded;
    }
    assert_true(first[0] == first[1] && first[1] == first[2]);
    assert_true(last[0] / last[1] > 1.8 && last[1] / last[2] > 1.7);
}

/* Closed form and simulated memory agree; less bandwidth takes longer. */
static void test_memory(void **state)
{
    static const char *const names[] = {"tpuv2", "tpuv3", "edge32"};
    const simulate_layer layers[] = {conv(56, 64, 64, 3, 1), conv(7, 512, 512, 3, 1),
                                     conv(28, 256, 512, 1, 1)};

    (void)state;
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        lowering_machine m;
        lowering_prices prices;
        spry_error error = {0};
        target *t = NULL;

        assert_int_equal(target_load(NULL, names[n], &t, &error), SPRY_OK);
        assert_int_equal(lowering_machine_read(t, &m, &error), SPRY_OK);
        assert_int_equal(lowering_prices_read(t, &prices, &error), SPRY_OK);
        if (target_finish(t, &error) != SPRY_OK) {
            fail_msg("%s: %s", error.where, error.what);
        }
        assert_true(m.has_dram && prices.are_known);
        for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
            lowering_cost fast;
            lowering_cost cycle;
            lowering_cost again;
            lowering_machine slow = m;

            lowering_estimate(&m, &layers[i], LOWERING_CHANNEL_FIRST, LOWERING_MULTI_ROW, &fast);
            assert_int_equal(lowering_simulate(NULL, &m, &layers[i], LOWERING_CHANNEL_FIRST,
                                               LOWERING_MULTI_ROW, &cycle, &error),
                             SPRY_OK);
            assert_int_equal(lowering_simulate(NULL, &m, &layers[i], LOWERING_CHANNEL_FIRST,
                                               LOWERING_MULTI_ROW, &again, &error),
                             SPRY_OK);
            assert_memory_equal(&cycle, &again, sizeof cycle);
            assert_true(cycle.cycles >= cycle.compute);
            assert_true(fabs((double)fast.cycles / (double)cycle.cycles - 1.0) < 0.05);
            slow.bandwidth /= 8;
            lowering_estimate(&slow, &layers[i], LOWERING_CHANNEL_FIRST, LOWERING_MULTI_ROW,
                              &again);
            assert_true(again.cycles > fast.cycles);
            assert_true(lowering_energy(&m, &prices, &fast) > 0.0);
        }
        target_destroy(t);
    }
}

static void test_refusals(void **state)
{
    spry_error error = {0};
    float x[4] = {0};
    uint64_t cycles;

    (void)state;
    assert_int_equal(
        systolic_run_outputs(NULL, (systolic_shape){0, 1}, x, x, 1, x, &cycles, &error),
        SPRY_USAGE);
    assert_int_equal(systolic_run_weights(NULL, (systolic_shape){1, SYSTOLIC_SIDE_MOST + 1}, NULL,
                                          0, 1, &cycles, &error),
                     SPRY_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hand),     cmocka_unit_test(test_outputs),
        cmocka_unit_test(test_layers),   cmocka_unit_test(test_passes),
        cmocka_unit_test(test_stride),   cmocka_unit_test(test_memory),
        cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
