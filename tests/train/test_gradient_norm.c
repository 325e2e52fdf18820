/* Normalisation, softmax and losses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "support/gradient_check.h"

typedef struct norm {
    const char *type;
    int32_t opset;
    int rank;
    int64_t x[4];
    int parameter_rank;
    int64_t parameter[4];
    int64_t axis, groups;
    bool bias, training;
} norm;

static void build_norm(gradient_check *c)
{
    const norm *v = c->detail;
    bool batch = strcmp(v->type, "BatchNormalization") == 0;
    int32_t node;

    c->f32_tolerance = 1e-4;
    (void)gradient_check_input(c, "x", v->rank, v->x);
    (void)gradient_check_input(c, "scale", v->parameter_rank, v->parameter);
    if (v->bias) {
        (void)gradient_check_input(c, "bias", v->parameter_rank, v->parameter);
    }
    if (batch) {
        (void)gradient_check_input(c, "mean", v->parameter_rank, v->parameter);
        (void)gradient_check_uniform(c, "variance", v->parameter_rank, v->parameter, 0.5, 2.0);
    }
    node = net_node(&c->n, v->type,
                    batch     ? "x scale bias mean variance"
                    : v->bias ? "x scale bias"
                              : "x scale",
                    v->training ? "y running_mean running_variance" : "y");
    gradient_check_set_float(c, node, "epsilon", 1e-3f);
    if (v->training) {
        gradient_check_set_int(c, node, "training_mode", 1);
    }
    if (v->groups > 0) {
        gradient_check_set_int(c, node, "num_groups", v->groups);
    }
    if (v->axis != 0) {
        gradient_check_set_int(c, node, "axis", v->axis);
    }
}

static void test_norms(void **state)
{
    static const norm cases[] = {
        {"LayerNormalization", 17, 2, {3, 5}, 1, {5}, -1, 0, true, false},
        {"LayerNormalization", 17, 2, {3, 5}, 1, {5}, -1, 0, false, false},
        {"LayerNormalization", 17, 3, {2, 3, 4}, 2, {3, 4}, 1, 0, true, false},
        {"LayerNormalization", 17, 3, {2, 3, 4}, 1, {4}, -2, 0, true, false},
        {"LayerNormalization", 17, 3, {2, 1, 1}, 1, {1}, -1, 0, true, false},
        {"RMSNormalization", 23, 2, {3, 5}, 1, {5}, -1, 0, false, false},
        {"RMSNormalization", 23, 3, {2, 3, 2}, 2, {3, 2}, 1, 0, false, false},
        {"InstanceNormalization", 17, 3, {2, 3, 5}, 1, {3}, 0, 0, true, false},
        {"InstanceNormalization", 17, 4, {2, 3, 2, 3}, 1, {3}, 0, 0, true, false},
        {"GroupNormalization", 18, 4, {2, 6, 2, 2}, 1, {3}, 0, 3, true, false},
        {"GroupNormalization", 21, 4, {2, 6, 2, 2}, 1, {6}, 0, 3, true, false},
        {"GroupNormalization", 21, 3, {1, 4, 3}, 1, {4}, 0, 1, true, false},
        {"BatchNormalization", 15, 4, {2, 3, 2, 2}, 1, {3}, 0, 0, true, false},
        {"BatchNormalization", 15, 2, {4, 3}, 1, {3}, 0, 0, true, false},
        {"BatchNormalization", 15, 4, {2, 3, 2, 2}, 1, {3}, 0, 0, true, true},
        {"BatchNormalization", 15, 2, {5, 2}, 1, {2}, 0, 0, true, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gradient_check_run(build_norm, &cases[i], cases[i].opset);
    }
}

/* The derivative by x of a normalised row is at right angles to 1 and to the row. */
static void test_norm_angles(void **state)
{
    static const norm layer = {"LayerNormalization", 17, 2, {3, 8}, 1, {8}, -1, 0, true, false};
    gradient_check c;

    (void)state;
    gradient_check_start(&c, build_norm, &layer, 17);
    for (int r = 0; r < 3; r++) {
        const double *x = c.inputs[0].numbers + (ptrdiff_t)r * 8;
        const double *dx = c.inputs[0].gradient + (ptrdiff_t)r * 8;
        double mean = 0.0;
        double variance = 0.0;
        double sum = 0.0;
        double along = 0.0;
        double inner = 0.0;

        for (int i = 0; i < 8; i++) {
            mean += x[i] / 8;
        }
        for (int i = 0; i < 8; i++) {
            variance += (x[i] - mean) * (x[i] - mean) / 8;
            sum += dx[i];
            along += dx[i] * (x[i] - mean);
            inner += dx[i] * dx[i];
        }
        assert_true(inner > 1e-3);
        assert_true(fabs(sum) < 1e-12);
        /* Exactly so for epsilon 0: what is left is epsilon / (variance + epsilon) of it. */
        assert_true(fabs(along) < 8.0 * 1e-3 / variance * sqrt(inner));
    }
    gradient_check_fini(&c);
}

typedef struct line {
    const char *type;
    int32_t opset;
    int rank;
    int64_t x[4];
    int64_t axis, p;
} line;

static void build_line(gradient_check *c)
{
    const line *v = c->detail;
    int32_t node;

    c->f32_tolerance = 1e-4;
    (void)gradient_check_input(c, "x", v->rank, v->x);
    node = net_node(&c->n, v->type, "x", "y");
    gradient_check_set_int(c, node, "axis", v->axis);
    if (v->p > 0) {
        gradient_check_set_int(c, node, "p", v->p);
    }
}

static void test_lines(void **state)
{
    static const line cases[] = {
        {"Softmax", 13, 2, {3, 5}, -1, 0},       {"Softmax", 13, 3, {2, 3, 4}, 1, 0},
        {"Softmax", 13, 1, {4}, 0, 0},           {"Softmax", 13, 2, {3, 1}, -1, 0},
        {"Softmax", 11, 3, {2, 3, 2}, 1, 0},     {"Softmax", 11, 3, {2, 3, 2}, 0, 0},
        {"LogSoftmax", 13, 2, {3, 5}, -1, 0},    {"LogSoftmax", 13, 3, {2, 3, 4}, 0, 0},
        {"LogSoftmax", 11, 3, {2, 3, 2}, 1, 0},  {"LpNormalization", 1, 2, {3, 5}, -1, 2},
        {"LpNormalization", 1, 2, {3, 5}, 0, 2}, {"LpNormalization", 1, 2, {3, 5}, -1, 1},
        {"LpNormalization", 1, 1, {1}, 0, 2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gradient_check c;

        gradient_check_start(&c, build_line, &cases[i], cases[i].opset);
        if (i == 0) { /* probabilities add up to 1 */
            for (int r = 0; r < 3; r++) {
                double sum = 0.0;

                for (int k = 0; k < 5; k++) {
                    sum += c.inputs[0].gradient[r * 5 + k];
                }
                assert_true(fabs(sum) < 1e-15);
            }
        }
        gradient_check_fini(&c);
    }
}

/* ---- losses ---- */

typedef struct loss {
    const char *type, *reduction;
    bool weights, logarithms; /* the second output is used too */
    int ignore;               /* 1: a class; 2: a number outside */
    int rank;
    int64_t shape[4];
} loss;

static void build_loss(gradient_check *c)
{
    static const int64_t targets[] = {2, 0, 1, 1, 2, 0, 0, 1, 2, 1, 0, 2};
    static const int64_t outside[] = {2, -7, 1, 1, 2, 0, -7, 1, 2, 1, 0, 2};
    const loss *v = c->detail;
    int64_t places[4] = {v->shape[0], v->shape[2], v->shape[3]};
    int32_t node;

    (void)gradient_check_input(c, "x", v->rank, v->shape);
    (void)net_constant(&c->n, "t", SPRY_DTYPE_I64, v->rank - 1, places,
                       v->ignore == 2 ? outside : targets);
    if (v->weights) {
        (void)gradient_check_constant(c, "w", 1, (const int64_t[]){3});
    }
    node = net_node(&c->n, v->type, v->weights ? "x t w" : "x t", v->logarithms ? "l logs" : "l");
    gradient_check_set_string(c, node, "reduction", v->reduction);
    if (v->ignore > 0) {
        gradient_check_set_int(c, node, "ignore_index", v->ignore == 1 ? 2 : -7);
    }
    if (v->logarithms) {
        (void)net_node(&c->n, "Exp", "logs", "p");
        (void)net_node(&c->n, "ReduceSumSquare", "p", "square");
        (void)net_node(&c->n, "Mul", "l square", "y");
    } else {
        (void)net_node(&c->n, "Identity", "l", "y");
    }
}

static void test_losses(void **state)
{
    static const char *const reductions[] = {"mean", "sum", "none"};
    static const loss forms[] = {
        {NULL, NULL, false, false, 0, 2, {4, 3}},      {NULL, NULL, true, false, 0, 2, {4, 3}},
        {NULL, NULL, true, false, 1, 2, {4, 3}},       {NULL, NULL, false, false, 2, 2, {4, 3}},
        {NULL, NULL, true, false, 2, 4, {2, 3, 2, 3}}, {NULL, NULL, false, true, 0, 3, {2, 3, 2}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        for (int r = 0; r < 3; r++) {
            loss l = forms[i];

            l.reduction = reductions[r];
            l.type = "SoftmaxCrossEntropyLoss";
            if (!l.logarithms || r < 2) {
                gradient_check_run(build_loss, &l, 13);
            }
            l.type = "NegativeLogLikelihoodLoss";
            if (!l.logarithms) {
                gradient_check_run(build_loss, &l, 13);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norms),
        cmocka_unit_test(test_norm_angles),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_losses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
