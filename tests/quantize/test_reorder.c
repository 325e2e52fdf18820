/* Orders of channels: the worked example, bijections, prices by the definition. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "quantize/method/reorder.h"
#include "spry/random.h"

enum { MOST = 8192, MOST_CHANNELS = 64 };

static void check_near(double got, double expected, double tolerance)
{
    if (!(fabs(got - expected) <= tolerance)) {
        fail_msg("%.12g is not %.12g", got, expected);
    }
}

static const int32_t identity[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                   16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};

/* 36 + 49 before, 0.5625 + 49 after: the squares of the blocks' largest weights. */
static void worked_example(void **state)
{
    static const float w[] = {0.75f, -0.5f, 6.0f, -4.0f, 0.5f, 0.2f, 5.0f, -7.0f};
    static const double scale = 4.0 / 12.0 / 7.5 / 7.5;
    reorder_weights weights = {w, 4, 2, 1, 2, 2, 4};
    reorder_options options = {REORDER_SORT, REORDER_RANGE, 0};
    spry_allocator allocator = alloc_resolve(NULL);
    int32_t outputs[4];
    int32_t inputs[2];
    reorder_report report;
    double price;

    (void)state;
    for (int effort = REORDER_SORT; effort <= REORDER_SEARCH; effort++) {
        options.effort = (reorder_effort)effort;
        assert_int_equal(
            reorder_channels(&weights, &options, &allocator, outputs, inputs, &report, NULL),
            SPRY_OK);
        check_near(report.identity, 85.0 * scale, 1e-9);
        check_near(report.searched, 49.5625 * scale, 1e-9);
        assert_true(outputs[0] + outputs[1] == 2 || outputs[2] + outputs[3] == 2);
    }
    assert_int_equal(reorder_price(&weights, REORDER_RANGE, (int32_t[]){0, 2, 1, 3}, identity,
                                   &allocator, &price, NULL),
                     SPRY_OK);
    check_near(price, 49.5625 * scale, 1e-9);
}

static double naive_price(const reorder_weights *w, reorder_objective objective,
                          const int32_t *outputs, const int32_t *inputs)
{
    double reach = (double)(1 << (w->bits - 1)) - 0.5;
    double total = 0.0;

    for (int64_t row = 0; row < w->outputs; row += w->row_block) {
        for (int64_t column = 0; column < w->inputs; column += w->column_block) {
            double largest = 0.0;
            double best = INFINITY;
            int64_t count = 0;

            for (int pass = 0; pass <= 20; pass++) {
                float step =
                    (float)((double)(float)largest / reach * (1.0 - 0.5 * (pass - 1) / 19));
                double sum = 0.0;

                for (int64_t i = row; i < row + w->row_block && i < w->outputs; i++) {
                    for (int64_t j = column; j < column + w->column_block && j < w->inputs; j++) {
                        for (int64_t t = 0; t < w->taps; t++) {
                            float x = w->dense[(outputs[i] * w->inputs + inputs[j]) * w->taps + t];
                            double code =
                                fmin(fmax(rint((double)(x / step)), -reach - 0.5), reach - 0.5);
                            double d = (double)((float)code * step) - (double)x;

                            if (pass == 0) {
                                largest = fmax(largest, fabs((double)x));
                                count++;
                            }
                            sum += d * d;
                        }
                    }
                }
                best = pass > 0 ? fmin(best, sum) : best;
            }
            total += objective == REORDER_MSE
                         ? best
                         : largest * largest / reach / reach / 12.0 * (double)count;
        }
    }
    return total;
}

static void check_bijection(const int32_t *order, int64_t count)
{
    bool seen[MOST_CHANNELS] = {false};

    for (int64_t i = 0; i < count; i++) {
        assert_in_range(order[i], 0, count - 1);
        assert_false(seen[order[i]]);
        seen[order[i]] = true;
    }
}

static void draw(spry_random *random, float *dense, reorder_weights *w)
{
    static const int64_t channels[] = {1, 2, 5, 8, 13, 32};

    *w = (reorder_weights){.dense = dense,
                           .outputs = channels[spry_random_below(random, 6)],
                           .inputs = channels[spry_random_below(random, 6)],
                           .taps = 1 + 2 * (int64_t)spry_random_below(random, 2),
                           .bits = 2 + (int)spry_random_below(random, 4)};
    w->row_block = 1 + (int64_t)spry_random_below(random, (uint64_t)w->outputs);
    w->column_block = 1 + (int64_t)spry_random_below(random, (uint64_t)w->inputs);
    for (int64_t i = 0; i < w->outputs * w->inputs * w->taps; i++) {
        dense[i] = (float)spry_random_normal(random);
    }
    for (int64_t m = 0; m < w->outputs; m++) { /* sizes differ by channel */
        float size = expf((float)spry_random_normal(random));

        for (int64_t i = 0; i < w->inputs * w->taps; i++) {
            dense[m * w->inputs * w->taps + i] *= size;
        }
    }
}

static void orders_are_never_worse(void **state)
{
    static float dense[MOST];
    spry_random random = spry_random_stream(8, 0);
    spry_allocator allocator = alloc_resolve(NULL);

    (void)state;
    for (int trial = 0; trial < 40; trial++) {
        reorder_objective objective = trial % 8 == 0 ? REORDER_MSE : REORDER_RANGE;
        reorder_options options = {trial % 3 == 0 ? REORDER_SORT : REORDER_SEARCH, objective,
                                   (uint64_t)trial};
        int32_t outputs[2][MOST_CHANNELS];
        int32_t inputs[2][MOST_CHANNELS];
        reorder_weights w;
        reorder_report report;
        double price;

        draw(&random, dense, &w);
        if (objective == REORDER_MSE) {
            w.outputs = w.outputs < 8 ? w.outputs : 8;
            w.row_block = w.row_block < w.outputs ? w.row_block : w.outputs;
        }
        for (int i = 0; i < 2; i++) {
            assert_int_equal(
                reorder_channels(&w, &options, &allocator, outputs[i], inputs[i], &report, NULL),
                SPRY_OK);
            check_bijection(outputs[i], w.outputs);
            check_bijection(inputs[i], w.inputs);
        }
        assert_memory_equal(outputs[0], outputs[1], (size_t)w.outputs * sizeof **outputs);
        assert_memory_equal(inputs[0], inputs[1], (size_t)w.inputs * sizeof **inputs);
        price = naive_price(&w, objective, outputs[0], inputs[0]);
        check_near(price / report.searched, 1.0, 1e-6);
        check_near(naive_price(&w, objective, identity, identity) / report.identity, 1.0, 1e-6);
        assert_true(report.searched <= report.sorted * (1.0 + 1e-9));
        assert_true(report.sorted <= report.identity);
        assert_int_equal(
            reorder_price(&w, objective, outputs[0], inputs[0], &allocator, &price, NULL), SPRY_OK);
        check_near(price / report.searched, 1.0, 1e-9);
    }
}

/* Two channels of one block may change places, at any price the same. */
static void places_in_a_block_are_alike(void **state)
{
    static float dense[MOST];
    spry_random random = spry_random_stream(12, 0);
    spry_allocator allocator = alloc_resolve(NULL);

    (void)state;
    for (int trial = 0; trial < 60; trial++) {
        int32_t outputs[MOST_CHANNELS];
        reorder_weights w;
        double before;
        double after;

        draw(&random, dense, &w);
        memcpy(outputs, identity, sizeof identity);
        assert_int_equal(
            reorder_price(&w, REORDER_RANGE, outputs, identity, &allocator, &before, NULL),
            SPRY_OK);
        for (int32_t i = 0; i + 1 < w.outputs; i += 2) {
            if (i / w.row_block == (i + 1) / w.row_block) {
                outputs[i] = i + 1;
                outputs[i + 1] = i;
            }
        }
        assert_int_equal(
            reorder_price(&w, REORDER_RANGE, outputs, identity, &allocator, &after, NULL), SPRY_OK);
        assert_true(before == after);
    }
}

/* Rows of two sizes, interleaved: the search finds what sorting finds. */
static void mixed_sizes_are_parted(void **state)
{
    static float dense[MOST];
    reorder_weights w = {dense, 32, 32, 1, 8, 8, 4};
    reorder_options options = {REORDER_SEARCH, REORDER_RANGE, 0};
    spry_allocator allocator = alloc_resolve(NULL);
    int32_t outputs[32];
    int32_t inputs[32];
    reorder_report report;

    (void)state;
    for (int i = 0; i < 32 * 32; i++) {
        dense[i] = (i / 32 % 2 == 0 ? 1.0f : 0.01f) * (i % 2 == 0 ? 1.0f : 0.1f);
    }
    assert_int_equal(reorder_channels(&w, &options, &allocator, outputs, inputs, &report, NULL),
                     SPRY_OK);
    assert_true(report.searched < 0.26 * report.identity);
    for (int i = 0; i < 32; i++) {
        assert_int_equal(outputs[i] % 2, outputs[i / 8 * 8] % 2);
        assert_int_equal(inputs[i] % 2, inputs[i / 8 * 8] % 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_example),
        cmocka_unit_test(orders_are_never_worse),
        cmocka_unit_test(places_in_a_block_are_alike),
        cmocka_unit_test(mixed_sizes_are_parted),
    };

    return cmocka_run_group_tests_name("quantize/reorder", tests, NULL, NULL);
}
