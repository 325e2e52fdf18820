/* Providers against the reference kernels of the operators they take over, over random geometries.
 *
 * A plan made as that of a body uses reference kernels only, so the same one-node graph is planned
 * both ways and run on the same input. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/infer.h"
#include "spry/random.h"
#include "support/net_run.h"

enum { ROUNDS = 150 };

typedef struct trial {
    net n;
    spry_random r;
    int64_t shape[SPRY_TENSOR_MAX_RANK]; /* of the input x */
    int rank;
    int32_t node;
    double scale;     /* of rounding errors: how many products make one result */
    bool varies;      /* weights are inputs, as in training, not constants */
    value weights[2]; /* which then are these */
    int weight_count;
} trial;

static int64_t between(trial *t, int64_t low, int64_t high)
{
    return low + (int64_t)spry_random_below(&t->r, (uint64_t)(high - low + 1));
}

static float *random_floats(spry_random *r, int rank, const int64_t *shape, int64_t *count)
{
    float *values;

    *count = 1;
    for (int i = 0; i < rank; i++) {
        *count *= shape[i];
    }
    values = malloc((size_t)(*count + 1) * sizeof *values);
    assert_non_null(values);
    spry_random_fill_uniform(r, values, (size_t)*count, -1.0f, 1.0f);
    return values;
}

static void random_weights(trial *t, const char *name, int rank, const int64_t *shape)
{
    int64_t count;
    float *values = random_floats(&t->r, rank, shape, &count);
    value *given = &t->weights[t->weight_count];

    if (t->varies) {
        (void)net_input(&t->n, name, SPRY_DTYPE_F32, rank, shape);
        *given = net_floats(rank, shape, values);
        t->weight_count++;
        return;
    }
    (void)net_constant(&t->n, name, SPRY_DTYPE_F32, rank, shape, values);
    free(values);
}

static void set_ints(trial *t, const char *name, int count, const int64_t *numbers)
{
    assert_int_equal(graph_set_ints(t->n.g, t->node, name, count, numbers, NULL), SPRY_OK);
}

static void set_int(trial *t, const char *name, int64_t number)
{
    assert_int_equal(graph_set_int(t->n.g, t->node, name, number, NULL), SPRY_OK);
}

static void check_same(const trial *t, const value *got, const value *wanted)
{
    const float *a = got->tensor.data;
    const float *b = wanted->tensor.data;

    assert_true(tensor_same_shape(&got->tensor, &wanted->tensor));
    for (int64_t i = 0; i < tensor_count(&wanted->tensor); i++) {
        double tolerance = 3e-7 * (4 + t->scale);

        if (!(fabs((double)a[i] - (double)b[i]) <= tolerance)) {
            fail_msg("element %lld is %g, the reference says %g", (long long)i, (double)a[i],
                     (double)b[i]);
        }
    }
}

/* Infers, runs both ways, compares. Trials whose geometry makes no sense are passed over. */
static void finish_trial(trial *t, const char *wanted)
{
    int64_t count;
    float *values = random_floats(&t->r, t->rank, t->shape, &count);
    value x = net_floats(t->rank, t->shape, values);
    const value *inputs[] = {&x, &t->weights[0], &t->weights[1]};
    value fast;
    value reference;

    net_output(&t->n, "y");
    value_init(&fast, NULL);
    value_init(&reference, NULL);
    if (infer_graph(t->n.g, NULL) == SPRY_OK) {
        net_run(&t->n, true, wanted, 1 + t->weight_count, inputs, &fast);
        net_run(&t->n, false, NULL, 1 + t->weight_count, inputs, &reference);
        check_same(t, &fast, &reference);
    }
    for (int i = 0; i < t->weight_count; i++) {
        free(t->weights[i].tensor.data);
    }
    value_fini(&fast);
    value_fini(&reference);
    net_fini(&t->n);
    free(values);
}

/* The graph points into the trial, which therefore is filled where it stays. */
static void begin_trial(trial *t, uint64_t stream)
{
    *t = (trial){.r = spry_random_stream(21, stream), .scale = 1};
    net_init(&t->n, 13);
}

static void set_window(trial *t, int axes, const int64_t *kernel, bool dilated)
{
    int64_t strides[2];
    int64_t dilations[2];
    int64_t pads[4];

    for (int i = 0; i < axes; i++) {
        strides[i] = between(t, 1, 3);
        dilations[i] = dilated ? between(t, 1, 2) : 1;
        pads[i] = between(t, 0, kernel[i] - 1);
        pads[axes + i] = between(t, 0, kernel[i] - 1);
    }
    set_ints(t, "strides", axes, strides);
    set_ints(t, "pads", 2 * axes, pads);
    if (dilated) {
        set_ints(t, "dilations", axes, dilations);
    }
}

static void try_conv(trial *t, uint64_t round)
{
    int axes = (int)between(t, 1, 2);
    bool depthwise = between(t, 0, 2) == 0;
    int64_t groups = depthwise ? between(t, 2, 20) : between(t, 1, 3);
    int64_t per_group = depthwise ? 1 : between(t, 1, 20);
    int64_t weights[4] = {groups * between(t, 1, depthwise ? 2 : 20), per_group};
    int64_t bias = weights[0];

    t->rank = axes + 2;
    t->shape[0] = between(t, 1, 3);
    t->shape[1] = groups * per_group;
    for (int i = 0; i < axes; i++) {
        weights[2 + i] = between(t, 1, 5);
        t->shape[2 + i] = between(t, 6, 40);
    }
    (void)net_input(&t->n, "x", SPRY_DTYPE_F32, t->rank, t->shape);
    random_weights(t, "w", t->rank, weights);
    random_weights(t, "b", 1, &bias);
    t->node = net_node(&t->n, "Conv", round % 2 == 0 ? "x w b" : "x w", "y");
    set_int(t, "group", groups);
    set_window(t, axes, weights + 2, true);
    t->scale = (double)(per_group * weights[2] * (axes > 1 ? weights[3] : 1));
    finish_trial(t, NULL);
}

static void test_conv(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        trial t;

        begin_trial(&t, round);
        t.varies = round % 4 > 1;
        try_conv(&t, round);
    }
}

static void try_transposed(trial *t)
{
    int axes = (int)between(t, 1, 2);
    bool depthwise = between(t, 0, 3) == 0;
    int64_t groups = depthwise ? between(t, 2, 20) : between(t, 1, 3);
    int64_t per_group = depthwise ? 1 : between(t, 1, 20);
    int64_t weights[4] = {groups * per_group, between(t, 1, depthwise ? 2 : 20)};
    int64_t bias = groups * weights[1];
    int64_t strides[2];
    int64_t dilations[2];
    int64_t pads[4];
    int64_t more[2];
    bool is_empty = false;

    t->rank = axes + 2;
    t->shape[0] = between(t, 1, 3);
    t->shape[1] = groups * per_group;
    for (int i = 0; i < axes; i++) {
        weights[2 + i] = between(t, 1, 5);
        t->shape[2 + i] = between(t, 1, 20);
        strides[i] = between(t, 1, 4);
        dilations[i] = strides[i] == 1 ? between(t, 1, 2) : 1;
        pads[i] = between(t, 0, weights[2 + i] - 1);
        pads[axes + i] = between(t, 0, weights[2 + i] - 1);
        more[i] = strides[i] > 1 ? between(t, 0, strides[i] - 1) : 0;
        is_empty = is_empty || (t->shape[2 + i] - 1) * strides[i] +
                                       (weights[2 + i] - 1) * dilations[i] + 1 + more[i] <=
                                   pads[i] + pads[axes + i];
    }
    (void)net_input(&t->n, "x", SPRY_DTYPE_F32, t->rank, t->shape);
    random_weights(t, "w", t->rank, weights);
    random_weights(t, "b", 1, &bias);
    t->node = net_node(&t->n, "ConvTranspose", between(t, 0, 1) == 0 ? "x w b" : "x w", "y");
    set_int(t, "group", groups);
    set_ints(t, "strides", axes, strides);
    set_ints(t, "dilations", axes, dilations);
    set_ints(t, "pads", 2 * axes, pads);
    set_ints(t, "output_padding", axes, more);
    t->scale = (double)(per_group * weights[2] * (axes > 1 ? weights[3] : 1));
    finish_trial(t, is_empty ? NULL : "conv_transpose");
}

static void test_transposed(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        trial t;

        begin_trial(&t, 4000 + round);
        t.varies = round % 2 == 1;
        try_transposed(&t);
    }
}

static void try_conv_3d(trial *t)
{
    int64_t groups = between(t, 1, 3);
    int64_t weights[5] = {groups * between(t, 1, 20), between(t, 1, 9)};
    int64_t strides[3];
    int64_t dilations[3];
    int64_t pads[6];
    bool is_empty = false;

    t->rank = 5;
    t->shape[0] = between(t, 1, 2);
    t->shape[1] = groups * weights[1];
    for (int i = 0; i < 3; i++) {
        weights[2 + i] = between(t, 1, 3);
        t->shape[2 + i] = between(t, 1, 9);
        strides[i] = between(t, 1, 2);
        dilations[i] = between(t, 1, 2);
        pads[i] = between(t, 0, 2);
        pads[3 + i] = between(t, 0, 2);
        is_empty = is_empty ||
                   t->shape[2 + i] + pads[i] + pads[3 + i] <= (weights[2 + i] - 1) * dilations[i];
    }
    (void)net_input(&t->n, "x", SPRY_DTYPE_F32, t->rank, t->shape);
    random_weights(t, "w", t->rank, weights);
    random_weights(t, "b", 1, weights);
    t->node = net_node(&t->n, "Conv", between(t, 0, 1) == 0 ? "x w b" : "x w", "y");
    set_int(t, "group", groups);
    set_ints(t, "strides", 3, strides);
    set_ints(t, "dilations", 3, dilations);
    set_ints(t, "pads", 6, pads);
    t->scale = (double)(weights[1] * weights[2] * weights[3] * weights[4]);
    finish_trial(t, is_empty ? NULL : "conv_3d");
}

static void test_conv_3d(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        trial t;

        begin_trial(&t, 5000 + round);
        try_conv_3d(&t);
    }
}

static void try_pool(trial *t, uint64_t round)
{
    bool is_max = round % 2 == 0;
    int axes = (int)between(t, 1, 2);
    int64_t kernel[2] = {between(t, 1, 5), between(t, 1, 5)};

    t->rank = axes + 2;
    t->shape[0] = between(t, 1, 3);
    t->shape[1] = between(t, 1, 9);
    for (int i = 0; i < axes; i++) {
        t->shape[2 + i] = between(t, 1, 80);
    }
    (void)net_input(&t->n, "x", SPRY_DTYPE_F32, t->rank, t->shape);
    t->node = net_node(&t->n, is_max ? "MaxPool" : "AveragePool", "x", "y");
    set_ints(t, "kernel_shape", axes, kernel);
    set_window(t, axes, kernel, false);
    set_int(t, "ceil_mode", between(t, 0, 1));
    if (!is_max) {
        set_int(t, "count_include_pad", between(t, 0, 1));
    }
    finish_trial(t, NULL);
}

static void test_pool(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        trial t;

        begin_trial(&t, 1000 + round);
        try_pool(&t, round);
    }
}

static int64_t rows_of(const trial *t)
{
    int64_t rows = 1;

    for (int i = 0; i + 1 < t->rank; i++) {
        rows *= t->shape[i];
    }
    return rows;
}

static void try_matmul(trial *t, uint64_t round)
{
    int64_t n = between(t, 1, 90);
    int64_t weights[3];
    int rank = 2;

    t->rank = (int)between(t, 2, 4);
    for (int i = 0; i < t->rank; i++) {
        t->shape[i] = between(t, 1, i + 2 < t->rank ? 4 : 70);
    }
    weights[0] = t->shape[t->rank - 1];
    weights[1] = n;
    if (t->rank == 3 && round % 2 == 0) { /* a matrix per product */
        rank = 3;
        weights[0] = t->shape[0];
        weights[1] = t->shape[2];
        weights[2] = n;
    }
    (void)net_input(&t->n, "x", SPRY_DTYPE_F32, t->rank, t->shape);
    random_weights(t, "w", rank, weights);
    t->node = net_node(&t->n, "MatMul", "x w", "y");
    t->scale = (double)t->shape[t->rank - 1];
    finish_trial(t, rank > 2          ? "matmul_f32"
                    : !t->varies      ? "dense"
                    : rows_of(t) >= 4 ? "product"
                                      : "matmul_f32");
}

static void test_matmul(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        trial t;

        begin_trial(&t, 2000 + round);
        t.varies = round % 4 > 1;
        try_matmul(&t, round);
    }
}

static void try_gemm(trial *t, uint64_t round)
{
    int64_t k = between(t, 1, 400);
    int64_t m = between(t, 1, 40);
    int64_t n = between(t, 1, 90);
    bool turn_a = between(t, 0, 1) == 1;
    bool turn_b = between(t, 0, 1) == 1;
    int64_t weights[2] = {turn_b ? n : k, turn_b ? k : n};

    t->rank = 2;
    t->shape[0] = turn_a ? k : m;
    t->shape[1] = turn_a ? m : k;
    (void)net_input(&t->n, "x", SPRY_DTYPE_F32, 2, t->shape);
    random_weights(t, "w", 2, weights);
    random_weights(t, "c", 1, &n);
    t->node = net_node(&t->n, "Gemm", round % 3 == 0 ? "x w" : "x w c", "y");
    set_int(t, "transA", turn_a);
    set_int(t, "transB", turn_b);
    t->scale = (double)k;
    finish_trial(t, !t->varies                            ? "dense"
                    : turn_a && !turn_b && round % 3 == 0 ? "outer"
                    : !turn_a && m >= 4                   ? "product"
                                                          : "matmul_f32");
}

static void test_gemm(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        trial t;

        begin_trial(&t, 3000 + round);
        t.varies = round % 2 == 1;
        try_gemm(&t, round);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv),    cmocka_unit_test(test_transposed),
        cmocka_unit_test(test_conv_3d), cmocka_unit_test(test_pool),
        cmocka_unit_test(test_matmul),  cmocka_unit_test(test_gemm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
