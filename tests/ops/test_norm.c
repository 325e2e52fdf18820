/* Normalisations against their formulas, statistic by statistic. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/op_harness.h"
#include "tensor/convert.h"

enum { ROUNDS = 40, MOST = 20000 };

static const spry_dtype float_types[] = {SPRY_DTYPE_F32, SPRY_DTYPE_F64, SPRY_DTYPE_F16,
                                         SPRY_DTYPE_BF16};
static const double tolerances[] = {1e-5, 1e-9, 5e-3, 2e-2};
static double expected[MOST];

static double input_at(const op_harness *h, int input, int64_t i)
{
    return convert_get_f64(&h->inputs[input].tensor, i);
}

/* Fills expected[i] = (x - mean) / sqrt(variance + epsilon) over the elements that share key[i]. */
static void normalize(const op_harness *h, const int64_t *key, double epsilon)
{
    static double sums[MOST];
    static double squares[MOST];
    static double counts[MOST];
    int64_t count = tensor_count(&h->inputs[0].tensor);

    for (int64_t i = 0; i < count; i++) {
        sums[key[i]] = squares[key[i]] = counts[key[i]] = 0.0;
    }
    for (int64_t i = 0; i < count; i++) {
        sums[key[i]] += input_at(h, 0, i);
        counts[key[i]] += 1.0;
    }
    for (int64_t i = 0; i < count; i++) {
        double d = input_at(h, 0, i) - sums[key[i]] / counts[key[i]];

        squares[key[i]] += d * d;
    }
    for (int64_t i = 0; i < count; i++) {
        double d = input_at(h, 0, i) - sums[key[i]] / counts[key[i]];

        expected[i] = d / sqrt(squares[key[i]] / counts[key[i]] + epsilon);
    }
}

typedef struct sizes {
    int rank;
    int64_t shape[5], plane;
} sizes;

/* [images, channels, ...] with `groups` dividing the channels. */
static void draw_sizes(op_harness *h, int64_t groups, sizes *s)
{
    s->rank = 3 + (int)op_harness_next(h, 2);
    s->shape[0] = 1 + op_harness_next(h, 3);
    s->shape[1] = groups * (1 + op_harness_next(h, 4));
    s->plane = 1;
    for (int i = 2; i < s->rank; i++) {
        s->shape[i] = 1 + op_harness_next(h, 9);
        s->plane *= s->shape[i];
    }
}

static void test_batch_norm(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        bool training = round % 3 == 0;
        static int64_t key[MOST];
        sizes s;
        op_harness h;
        tensor *variance;

        op_harness_init(&h, "", "BatchNormalization", 15);
        h.state = (uint64_t)round;
        draw_sizes(&h, 1, &s);
        op_harness_float(&h, "epsilon", 0.25f);
        op_harness_int(&h, "training_mode", training);
        op_harness_any(&h, float_types[round % 4], s.rank, s.shape, false);
        for (int i = 0; i < 3; i++) {
            op_harness_any(&h, SPRY_DTYPE_F32, 1, &s.shape[1], false);
        }
        variance = op_harness_input(&h, SPRY_DTYPE_F32, 1, &s.shape[1]);
        for (int64_t i = 0; i < s.shape[1]; i++) {
            ((float *)variance->data)[i] = 1.0f + (float)i;
        }
        op_harness_run(&h, training ? 3 : 1);
        for (int64_t i = 0; i < tensor_count(op_harness_output(&h, 0)); i++) {
            key[i] = i / s.plane % s.shape[1];
            expected[i] =
                (input_at(&h, 0, i) - input_at(&h, 3, key[i])) / sqrt(0.25 + 1.0 + (double)key[i]);
        }
        if (training) {
            normalize(&h, key, 0.25);
        }
        for (int64_t i = 0; i < tensor_count(op_harness_output(&h, 0)); i++) {
            expected[i] = expected[i] * input_at(&h, 1, key[i]) + input_at(&h, 2, key[i]);
        }
        op_harness_expect_f64(&h, 0, expected, tolerances[round % 4]);
        op_harness_fini(&h);
    }
}

/* Groups of channels: by version 18 (scale per group), 21 (per channel), or one channel each. */
static void test_group_norm(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        bool instance = round % 3 == 0;
        bool per_group = !instance && round % 3 == 1;
        int64_t groups = 1 + round % 4;
        static int64_t key[MOST];
        int64_t parameters;
        sizes s;
        op_harness h;

        op_harness_init(&h, "", instance ? "InstanceNormalization" : "GroupNormalization",
                        per_group ? 18 : 21);
        h.state = (uint64_t)round;
        draw_sizes(&h, groups, &s);
        groups = instance ? s.shape[1] : groups;
        if (!instance) {
            op_harness_int(&h, "num_groups", groups);
        }
        op_harness_float(&h, "epsilon", 0.25f);
        op_harness_any(&h, float_types[round % 4], s.rank, s.shape, false);
        parameters = per_group ? groups : s.shape[1];
        op_harness_any(&h, float_types[round % 4], 1, &parameters, false);
        op_harness_any(&h, float_types[round % 4], 1, &parameters, false);
        op_harness_run(&h, 1);
        for (int64_t i = 0; i < tensor_count(op_harness_output(&h, 0)); i++) {
            key[i] = i / (s.plane * (s.shape[1] / groups));
        }
        normalize(&h, key, 0.25);
        for (int64_t i = 0; i < tensor_count(op_harness_output(&h, 0)); i++) {
            int64_t at = per_group ? key[i] % groups : i / s.plane % s.shape[1];

            expected[i] = expected[i] * input_at(&h, 1, at) + input_at(&h, 2, at);
        }
        op_harness_expect_f64(&h, 0, expected, tolerances[round % 4]);
        op_harness_fini(&h);
    }
}

static void test_layer_norm(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        bool rms = round % 2 == 1;
        int axis = 1 + round % 2;
        int64_t size = 1;
        static int64_t key[MOST];
        sizes s;
        op_harness h;

        op_harness_init(&h, "", rms ? "RMSNormalization" : "LayerNormalization", 23);
        h.state = (uint64_t)round;
        draw_sizes(&h, 1, &s);
        for (int i = axis; i < s.rank; i++) {
            size *= s.shape[i];
        }
        op_harness_int(&h, "axis", round % 3 == 0 ? axis : axis - s.rank);
        op_harness_float(&h, "epsilon", 0.25f);
        op_harness_any(&h, float_types[round % 4], s.rank, s.shape, false);
        op_harness_any(&h, float_types[round % 4], s.rank - axis, s.shape + axis, false);
        op_harness_run(&h, 1);
        for (int64_t i = 0; i < tensor_count(op_harness_output(&h, 0)); i++) {
            key[i] = i / size;
        }
        normalize(&h, key, 0.25);
        for (int64_t i = 0; i < tensor_count(op_harness_output(&h, 0)) && rms; i++) {
            double squares = 0.0;

            for (int64_t k = 0; k < size; k++) {
                squares += pow(input_at(&h, 0, key[i] * size + k), 2.0);
            }
            expected[i] = input_at(&h, 0, i) / sqrt(squares / (double)size + 0.25);
        }
        for (int64_t i = 0; i < tensor_count(op_harness_output(&h, 0)); i++) {
            expected[i] *= input_at(&h, 1, i % size);
        }
        op_harness_expect_f64(&h, 0, expected, tolerances[round % 4]);
        op_harness_fini(&h);
    }
}

static void test_lrn(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t size = 1 + round % 6;
        sizes s;
        op_harness h;

        op_harness_init(&h, "", "LRN", 13);
        h.state = (uint64_t)round;
        draw_sizes(&h, 1, &s);
        op_harness_int(&h, "size", size);
        op_harness_float(&h, "alpha", 0.5f);
        op_harness_float(&h, "bias", 2.0f);
        op_harness_any(&h, SPRY_DTYPE_F32, s.rank, s.shape, false);
        op_harness_run(&h, 1);
        for (int64_t i = 0; i < tensor_count(op_harness_output(&h, 0)); i++) {
            int64_t c = i / s.plane % s.shape[1];
            double squares = 0.0;

            for (int64_t k = c - (size - 1) / 2; k <= c + size / 2; k++) {
                if (k >= 0 && k < s.shape[1]) {
                    squares += pow(input_at(&h, 0, i + (k - c) * s.plane), 2.0);
                }
            }
            expected[i] = input_at(&h, 0, i) / pow(2.0 + 0.5 / (double)size * squares, 0.75);
        }
        op_harness_expect_f64(&h, 0, expected, 1e-5);
        op_harness_fini(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_norm),
        cmocka_unit_test(test_group_norm),
        cmocka_unit_test(test_layer_norm),
        cmocka_unit_test(test_lrn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
