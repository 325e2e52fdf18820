/* Random operators, Dropout, losses and optimisers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/op_harness.h"
#include "tensor/convert.h"

static void moments(const tensor *t, double *mean, double *deviation)
{
    double n = (double)tensor_count(t);
    double sum = 0;
    double squares = 0;

    for (int64_t i = 0; i < tensor_count(t); i++) {
        double x = convert_get_f64(t, i);

        sum += x;
        squares += x * x;
    }
    *mean = sum / n;
    *deviation = sqrt(squares / n - *mean * *mean);
}

static void draws_have_their_moments(void **state)
{
    int64_t shape[] = {100, 301};
    double mean;
    double deviation;

    (void)state;
    for (int like = 0; like < 2; like++) {
        for (int normal = 0; normal < 2; normal++) {
            op_harness h;

            op_harness_init(&h, "",
                            normal && like ? "RandomNormalLike"
                            : normal       ? "RandomNormal"
                            : like         ? "RandomUniformLike"
                                           : "RandomUniform",
                            1);
            op_harness_float(&h, normal ? "mean" : "low", 2.0f);
            op_harness_float(&h, normal ? "scale" : "high", 4.0f);
            if (like) {
                (void)op_harness_input(&h, SPRY_DTYPE_F64, 2, shape);
            } else {
                op_harness_ints(&h, "shape", 2, shape);
            }
            op_harness_run(&h, 1);
            op_harness_expect(&h, 0, like ? SPRY_DTYPE_F64 : SPRY_DTYPE_F32, 2, shape);
            moments(op_harness_output(&h, 0), &mean, &deviation);
            assert_true(fabs(mean - (normal ? 2 : 3)) < 0.1);
            assert_true(fabs(deviation - (normal ? 4 : 0.57735)) < 0.1);
            op_harness_fini(&h);
        }
    }
}

static void seeds_decide(void **state)
{
    int64_t shape[] = {5};
    float first[3];

    (void)state;
    for (int i = 0; i < 3; i++) { /* the run's seed; the node's own, over two of the run's */
        op_harness h;

        op_harness_init(&h, "", "RandomUniform", 1);
        h.seed = (uint64_t)i;
        op_harness_ints(&h, "shape", 1, shape);
        if (i > 0) {
            op_harness_float(&h, "seed", 7.0f);
        }
        op_harness_run(&h, 1);
        first[i] = op_harness_f32_at(&h, 0, 0);
        op_harness_fini(&h);
    }
    assert_true(first[0] != first[1]);
    assert_true(first[1] == first[2]);
}

static void bernoulli_and_multinomial_follow_their_chances(void **state)
{
    int64_t shape[] = {20000};
    int64_t rows[] = {2, 3};
    double mean;
    double deviation;
    op_harness h;
    tensor *chances;

    (void)state;
    op_harness_init(&h, "", "Bernoulli", 15);
    op_harness_int(&h, "dtype", SPRY_DTYPE_BOOL);
    chances = op_harness_input(&h, SPRY_DTYPE_F32, 1, shape);
    for (int64_t i = 0; i < shape[0]; i++) {
        ((float *)chances->data)[i] = 0.3f;
    }
    op_harness_run(&h, 1);
    op_harness_expect(&h, 0, SPRY_DTYPE_BOOL, 1, shape);
    moments(op_harness_output(&h, 0), &mean, &deviation);
    assert_true(fabs(mean - 0.3) < 0.02);
    op_harness_fini(&h);

    op_harness_init(&h, "", "Multinomial", 7);
    op_harness_int(&h, "sample_size", 9000);
    (void)op_harness_f32(&h, 2, rows, (float[]){0, logf(3), -INFINITY, -INFINITY, -INFINITY, 5});
    op_harness_run(&h, 1);
    mean = 0;
    for (int64_t i = 0; i < 9000; i++) {
        mean += op_harness_f64_at(&h, 0, i) / 9000;
        assert_int_equal(op_harness_i64_at(&h, 0, 9000 + i), 2);
    }
    assert_true(fabs(mean - 0.75) < 0.03);
    op_harness_fini(&h);
}

static void dropout_drops_only_in_training(void **state)
{
    static const int opsets[] = {7, 10, 13};
    int64_t shape[] = {3, 3001};
    float half = 0.5f;
    uint8_t yes = 1;

    (void)state;
    for (int i = 0; i < 3; i++) {
        op_harness h;

        op_harness_init(&h, "", "Dropout", opsets[i]);
        (void)op_harness_any(&h, SPRY_DTYPE_F32, 2, shape, false);
        op_harness_run(&h, 2);
        assert_memory_equal(op_harness_output(&h, 0)->data, h.inputs[0].tensor.data,
                            h.inputs[0].tensor.bytes);
        op_harness_expect(&h, 1, opsets[i] == 7 ? SPRY_DTYPE_F32 : SPRY_DTYPE_BOOL, 2, shape);
        assert_true(op_harness_f64_at(&h, 1, 0) == 1);
        op_harness_fini(&h);
    }
    for (int seeded = 0; seeded < 2; seeded++) {
        double kept = 0;
        op_harness h;

        op_harness_init(&h, "", "Dropout", 12);
        if (seeded) {
            op_harness_int(&h, "seed", 5);
        }
        (void)op_harness_any(&h, SPRY_DTYPE_F32, 2, shape, false);
        (void)op_harness_f32(&h, 0, NULL, &half);
        *(uint8_t *)op_harness_input(&h, SPRY_DTYPE_BOOL, 0, NULL)->data = yes;
        op_harness_run(&h, 2);
        for (int64_t k = 0; k < 9003; k++) {
            double mask = op_harness_f64_at(&h, 1, k);

            kept += mask;
            assert_true(op_harness_f64_at(&h, 0, k) ==
                        convert_get_f64(&h.inputs[0].tensor, k) * mask * 2);
        }
        assert_true(fabs(kept / 9003 - 0.5) < 0.03);
        op_harness_fini(&h);
    }
}

static void losses_follow_their_definition(void **state)
{
    static const char *const reductions[] = {"mean", "sum", "none"};
    int64_t shape[] = {4, 5, 3};
    int64_t places[] = {4, 3};
    int64_t classes[] = {5};

    (void)state;
    for (int form = 0; form < 24; form++) {
        bool softmax = form % 2 != 0;
        bool weighted = form / 2 % 2 != 0;
        bool ignores = form / 4 % 2 != 0;
        int reduction = form / 8;
        double sum = 0;
        double weight_sum = 0;
        double each[12];
        const tensor *x;
        tensor *targets;
        const tensor *weights = NULL;
        op_harness h;

        op_harness_init(&h, "", softmax ? "SoftmaxCrossEntropyLoss" : "NegativeLogLikelihoodLoss",
                        13);
        h.state = (uint64_t)form;
        op_harness_string(&h, "reduction", reductions[reduction]);
        if (ignores) {
            op_harness_int(&h, "ignore_index", -1);
        }
        x = op_harness_any(&h, SPRY_DTYPE_F32, 3, shape, false);
        targets = op_harness_input(&h, SPRY_DTYPE_I64, 2, places);
        for (int i = 0; i < 12; i++) {
            ((int64_t *)targets->data)[i] = op_harness_next(&h, ignores ? 6 : 5) - ignores;
        }
        if (weighted) {
            weights = op_harness_f32(&h, 1, classes, (float[]){1, 0.5f, 2, 3, 0.25f});
        }
        op_harness_run(&h, softmax ? 2 : 1);
        for (int i = 0; i < 12; i++) {
            int64_t start = i / 3 * 15 + i % 3;
            int64_t t = ((int64_t *)targets->data)[i];
            double exponentials = 0;
            double w = t < 0 ? 0 : weighted ? convert_get_f64(weights, t) : 1;

            for (int64_t c = 0; c < 5; c++) {
                exponentials += exp(convert_get_f64(x, start + c * 3));
            }
            each[i] = 0;
            if (t >= 0) {
                each[i] =
                    -w * (convert_get_f64(x, start + t * 3) - (softmax ? log(exponentials) : 0));
            }
            sum += each[i];
            weight_sum += w;
            if (softmax) {
                assert_true(fabs(op_harness_f64_at(&h, 1, start) -
                                 (convert_get_f64(x, start) - log(exponentials))) < 1e-5);
            }
        }
        sum = reduction == 0 ? sum / weight_sum : sum;
        op_harness_expect_f64(&h, 0, reduction == 2 ? each : &sum, 1e-5);
        op_harness_fini(&h);
    }
}

static void targets_outside_the_classes_are_refused(void **state)
{
    int64_t shape[] = {1, 2};
    int64_t one[] = {1};
    op_harness h;

    (void)state;
    op_harness_init(&h, "", "NegativeLogLikelihoodLoss", 13);
    (void)op_harness_any(&h, SPRY_DTYPE_F32, 2, shape, false);
    (void)op_harness_i64s(&h, SPRY_DTYPE_I64, 1, one, (int64_t[]){2});
    assert_int_equal(op_harness_try(&h, 1), SPRY_BAD_INPUT);
    op_harness_fini(&h);
}

static void start_step(op_harness *h, const char *name, float rate, int64_t count)
{
    op_harness_init(h, "ai.onnx.preview.training", name, 1);
    (void)op_harness_f32(h, 0, NULL, &rate);
    (void)op_harness_i64s(h, SPRY_DTYPE_I64, 0, NULL, &count);
}

static void optimisers_take_their_step(void **state)
{
    int64_t one[] = {1};
    int64_t two[] = {2};
    op_harness h;

    (void)state;
    start_step(&h, "Adagrad", 0.1f, 0); /* two tensors at once */
    op_harness_float(&h, "epsilon", 0.0f);
    (void)op_harness_f32(&h, 1, one, (float[]){1});
    (void)op_harness_f32(&h, 1, two, (float[]){1, 2});
    (void)op_harness_f32(&h, 1, one, (float[]){-1});
    (void)op_harness_f32(&h, 1, two, (float[]){3, -4});
    (void)op_harness_f32(&h, 1, one, (float[]){3});
    (void)op_harness_f32(&h, 1, two, (float[]){16, 9});
    op_harness_run(&h, 4);
    op_harness_expect_f64(&h, 0, (double[]){1 + 0.1 / 2}, 1e-6);
    op_harness_expect_f64(&h, 1, (double[]){1 - 0.3 / 5, 2 + 0.4 / 5}, 1e-6);
    op_harness_expect_f64(&h, 2, (double[]){4}, 0);
    op_harness_expect_f64(&h, 3, (double[]){25, 25}, 0);
    op_harness_fini(&h);

    for (int nesterov = 0; nesterov < 2; nesterov++) {
        start_step(&h, "Momentum", 0.5f, 1);
        op_harness_string(&h, "mode", nesterov ? "nesterov" : "standard");
        op_harness_float(&h, "alpha", 0.5f);
        op_harness_float(&h, "beta", 0.25f);
        (void)op_harness_f32(&h, 1, one, (float[]){1});
        (void)op_harness_f32(&h, 1, one, (float[]){4});
        (void)op_harness_f32(&h, 1, one, (float[]){2});
        op_harness_run(&h, 2);
        op_harness_expect_f64(&h, 0, (double[]){nesterov ? 1 - 0.5 * 5 : 0}, 1e-6);
        op_harness_expect_f64(&h, 1, (double[]){2}, 1e-6);
        op_harness_fini(&h);
    }

    start_step(&h, "Adam", 0.1f, 1);
    op_harness_float(&h, "epsilon", 0.0f);
    (void)op_harness_f32(&h, 1, one, (float[]){1});
    (void)op_harness_f32(&h, 1, one, (float[]){4});
    (void)op_harness_f32(&h, 1, one, (float[]){0});
    (void)op_harness_f32(&h, 1, one, (float[]){0});
    op_harness_run(&h, 3);
    op_harness_expect_f64(&h, 0, (double[]){0.9}, 1e-6); /* the first step is the rate */
    op_harness_fini(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_have_their_moments),
        cmocka_unit_test(seeds_decide),
        cmocka_unit_test(bernoulli_and_multinomial_follow_their_chances),
        cmocka_unit_test(dropout_drops_only_in_training),
        cmocka_unit_test(losses_follow_their_definition),
        cmocka_unit_test(targets_outside_the_classes_are_refused),
        cmocka_unit_test(optimisers_take_their_step),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
