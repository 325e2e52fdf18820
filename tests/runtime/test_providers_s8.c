/* Integer providers against the reference kernels of the operators they take over, over random
 * geometries, types, zero points and teams of threads: bit for bit.
 *
 * A plan made as that of a body uses reference kernels only, so the same one-node graph is planned
 * both ways and run on the same inputs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "model/infer.h"
#include "runtime/execute.h"
#include "runtime/integer/integer.h"
#include "runtime/plan.h"
#include "support/cases.h"
#include "support/net.h"
#include "support/sample.h"

enum {
    LARGE = 100, /* one case of so many has large tensors */
    MOST_INPUTS = 2,
    MOST_BYTES = 1 << 16,
    MOST_CHANNELS = 64,
    MOST_WORKERS = 4
};

/* Teams of 1, 2, ... members. */
static threads *teams[MOST_WORKERS];

typedef struct trial {
    net n;
    spry_random r;
    int32_t node;
    int inputs;
    bool is_large;
    value given[MOST_INPUTS];
} trial;

static uint8_t given_bytes[MOST_INPUTS][MOST_BYTES];

static int64_t between(trial *t, int64_t low, int64_t high)
{
    return low + (int64_t)spry_random_below(&t->r, (uint64_t)(high - low + 1));
}

static spry_dtype any_byte(trial *t)
{
    return between(t, 0, 1) == 0 ? SPRY_DTYPE_U8 : SPRY_DTYPE_I8;
}

/* Up to the first number, in large cases the second. */
static int64_t up_to(trial *t, int64_t most, int64_t most_of_large)
{
    return between(t, 1, t->is_large ? most_of_large : most);
}

static int64_t count_of(int rank, const int64_t *shape)
{
    int64_t count = 1;

    for (int i = 0; i < rank; i++) {
        count *= shape[i];
    }
    assert_true(count <= MOST_BYTES);
    return count;
}

static void begin(trial *t, uint64_t stream)
{
    *t = (trial){.r = spry_random_stream(31, stream), .is_large = stream % LARGE == 0};
    net_init(&t->n, 13);
}

static void add_input(trial *t, const char *name, spry_dtype dtype, int rank, const int64_t *shape)
{
    value *v = &t->given[t->inputs];

    sample_bytes(&t->r, given_bytes[t->inputs], (size_t)count_of(rank, shape));
    (void)net_input(&t->n, name, dtype, rank, shape);
    value_init(v, NULL);
    assert_int_equal(tensor_init(&v->tensor, dtype, rank, shape, given_bytes[t->inputs], NULL),
                     SPRY_OK);
    v->kind = SPRY_VALUE_TENSOR;
    v->dtype = dtype;
    t->inputs++;
}

static void add_weights(trial *t, const char *name, spry_dtype dtype, int rank,
                        const int64_t *shape)
{
    uint8_t bytes[MOST_BYTES];

    sample_bytes(&t->r, bytes, (size_t)count_of(rank, shape));
    (void)net_constant(&t->n, name, dtype, rank, shape, bytes);
}

/* The zero point of the middle is common, and so is any other. */
static void add_zero(trial *t, const char *name, spry_dtype dtype)
{
    uint8_t middle = dtype == SPRY_DTYPE_U8 ? 128 : 0;
    uint8_t zero = between(t, 0, 1) == 0 ? middle : (uint8_t)between(t, 0, 255);

    (void)net_constant(&t->n, name, dtype, 0, NULL, &zero);
}

static void add_scales(trial *t, const char *name, int64_t count)
{
    float scales[MOST_CHANNELS];

    for (int64_t i = 0; i < count; i++) {
        scales[i] = 0.01f + 0.02f * spry_random_f32(&t->r);
    }
    (void)net_constant(&t->n, name, SPRY_DTYPE_F32, count > 1 ? 1 : 0, &count, scales);
}

static void add_bias(trial *t, int64_t count)
{
    int32_t bias[MOST_CHANNELS];

    for (int64_t i = 0; i < count; i++) {
        bias[i] = (int32_t)between(t, -20000, 20000);
    }
    (void)net_constant(&t->n, "bias", SPRY_DTYPE_I32, 1, &count, bias);
}

/* ---- both ways ---- */

static bool uses(const plan *p, const char *wanted)
{
    bool found = false;

    for (int32_t i = 0; i < p->step_count; i++) {
        const provider *by = p->steps[i].provider;

        found = found || (by != NULL && strcmp(by->name, wanted) == 0);
    }
    return found;
}

static void run_graph(trial *t, threads *team, bool with_providers, const char *wanted, value *y)
{
    spry_session_options options = spry_session_options_default();
    const value *inputs[MOST_INPUTS] = {&t->given[0], &t->given[1]};
    value *outputs[] = {y};
    spry_error error = {0};
    arena scratch;
    arena text;
    plan *p = NULL;
    executor e = {.scratch = &scratch, .text = &text, .error = &error, .team = team};

    value_init(y, NULL);
    arena_init(&scratch, NULL, SIZE_MAX);
    arena_init(&text, NULL, SIZE_MAX);
    if (plan_create(t->n.g, &options, team, !with_providers, &p, &error) != SPRY_OK ||
        execute_plan(&e, p, NULL, inputs, t->inputs, outputs, 1) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    assert_true(!with_providers || uses(p, wanted));
    plan_destroy(p);
    arena_fini(&text);
    arena_fini(&scratch);
}

static threads *any_team(trial *t)
{
    return teams[between(t, 0, MOST_WORKERS - 1)];
}

static bool finish(trial *t, const char *wanted)
{
    bool is_valid;
    value fast;
    value reference;

    net_output(&t->n, "y");
    is_valid = infer_graph(t->n.g, NULL) == SPRY_OK;
    if (is_valid) {
        run_graph(t, any_team(t), true, wanted, &fast);
        run_graph(t, teams[0], false, wanted, &reference);
        assert_true(tensor_same_shape(&fast.tensor, &reference.tensor));
        assert_memory_equal(fast.tensor.data, reference.tensor.data, reference.tensor.bytes);
        value_fini(&fast);
        value_fini(&reference);
    }
    net_fini(&t->n);
    return is_valid;
}

/* ---- convolutions ---- */

static void set_window(trial *t)
{
    int64_t strides[] = {between(t, 1, 3), between(t, 1, 3)};
    int64_t dilations[] = {between(t, 1, 2), between(t, 1, 2)};
    int64_t pads[] = {between(t, 0, 2), between(t, 0, 2), between(t, 0, 2), between(t, 0, 2)};

    assert_int_equal(graph_set_ints(t->n.g, t->node, "strides", 2, strides, NULL), SPRY_OK);
    assert_int_equal(graph_set_ints(t->n.g, t->node, "dilations", 2, dilations, NULL), SPRY_OK);
    assert_int_equal(graph_set_ints(t->n.g, t->node, "pads", 4, pads, NULL), SPRY_OK);
}

static bool try_conv(trial *t, uint64_t round)
{
    spry_dtype x_dtype;
    spry_dtype w_dtype;
    int64_t groups;
    int64_t channels;
    int64_t filters;
    bool is_linear;

    begin(t, round);
    is_linear = between(t, 0, 2) != 0;
    x_dtype = any_byte(t);
    w_dtype = any_byte(t);
    groups = between(t, 0, 2) == 0 ? between(t, 1, 3) : 1;
    channels = 1 + up_to(t, 3, 8); /* one of each group is depthwise */
    filters = up_to(t, 4, 20) * groups;
    {
        const int64_t x_shape[] = {between(t, 1, 2), channels * groups, 2 + up_to(t, 3, 10),
                                   2 + up_to(t, 3, 10)};
        const int64_t w_shape[] = {filters, channels, between(t, 1, 3), between(t, 1, 3)};

        add_input(t, "x", x_dtype, 4, x_shape);
        add_weights(t, "w", w_dtype, 4, w_shape);
    }
    add_zero(t, "xz", x_dtype);
    add_zero(t, "wz", w_dtype);
    if (is_linear) {
        spry_dtype y_dtype = any_byte(t);

        add_scales(t, "xs", 1);
        add_scales(t, "ws", between(t, 0, 1) == 0 ? 1 : filters);
        add_scales(t, "ys", 1);
        add_zero(t, "yz", y_dtype);
        add_bias(t, filters);
        t->node = net_node(&t->n, "QLinearConv", "x xs xz w ws wz ys yz bias", "y");
    } else {
        t->node = net_node(&t->n, "ConvInteger", "x w xz wz", "y");
    }
    set_window(t);
    assert_int_equal(graph_set_int(t->n.g, t->node, "group", groups, NULL), SPRY_OK);
    return finish(t, "conv_s8");
}

/* Geometries without an output do not count. */
static void test_conv(void **state)
{
    int64_t cases = cases_of("convolutions of bytes in plans, teams of 1 to 4");
    trial t;

    (void)state;
    for (uint64_t i = 0; cases > 0; i++) {
        cases -= try_conv(&t, i);
    }
}

/* ---- products ---- */

static bool try_product(trial *t, uint64_t round)
{
    spry_dtype x_dtype;
    spry_dtype w_dtype;
    bool is_linear;
    bool is_computed;
    int64_t n;

    begin(t, round);
    is_linear = between(t, 0, 2) != 0;
    is_computed = between(t, 0, 1) == 0;
    x_dtype = any_byte(t);
    w_dtype = any_byte(t);
    n = up_to(t, 5, 50);
    {
        int64_t batch = between(t, 1, 3);
        int64_t k = up_to(t, 9, 70);
        const int64_t x_shape[] = {batch, up_to(t, 5, 40), k};
        const int64_t w_shape[] = {batch, k, n};

        add_input(t, "x", x_dtype, 3, x_shape);
        if (is_computed) {
            add_input(t, "w", w_dtype, 3, w_shape);
        } else {
            add_weights(t, "w", w_dtype, 2, w_shape + 1);
        }
    }
    add_zero(t, "xz", x_dtype);
    add_zero(t, "wz", w_dtype);
    if (is_linear) {
        spry_dtype y_dtype = any_byte(t);

        add_scales(t, "xs", 1);
        add_scales(t, "ws", 1);
        add_scales(t, "ys", 1);
        add_zero(t, "yz", y_dtype);
        t->node = net_node(&t->n, "QLinearMatMul", "x xs xz w ws wz ys yz", "y");
    } else {
        t->node = net_node(&t->n, "MatMulInteger", "x w xz wz", "y");
    }
    return finish(t, "matmul_s8");
}

static void test_product(void **state)
{
    int64_t cases = cases_of("products of bytes in plans, teams of 1 to 4");
    trial t;

    (void)state;
    for (int64_t i = 0; i < cases; i++) {
        assert_true(try_product(&t, 1000000000 + (uint64_t)i));
    }
}

/* ---- rows ---- */

/* What the operators give in real numbers, before they are quantised: softmax of `x`, or its norm.
 */
static void normalise(bool is_softmax, double epsilon, const double *x, int64_t n, double *y)
{
    double most = -INFINITY;
    double sum = 0.0;
    double mean = 0.0;
    double squares = 0.0;

    for (int64_t i = 0; i < n; i++) {
        most = x[i] > most ? x[i] : most;
        mean += x[i] / (double)n;
    }
    for (int64_t i = 0; i < n; i++) {
        sum += exp(x[i] - most);
        squares += (x[i] - mean) * (x[i] - mean) / (double)n;
    }
    for (int64_t i = 0; i < n; i++) {
        y[i] = is_softmax ? exp(x[i] - most) / sum : (x[i] - mean) / sqrt(squares + epsilon);
    }
}

/* Half a step and what f32 adds to it. */
static void check_rows(const value *x, const value *y, bool is_softmax, const float *scales,
                       const int32_t *zeros)
{
    bool is_signed = x->dtype == SPRY_DTYPE_I8;
    int64_t n = x->tensor.shape[1];
    const uint8_t *from = x->tensor.data;
    const uint8_t *to = y->tensor.data;
    double real[256];
    double wanted[256];

    for (int64_t row = 0; row < x->tensor.shape[0]; row++) {
        for (int64_t i = 0; i < n; i++) {
            int32_t byte = is_signed ? (int8_t)from[row * n + i] : from[row * n + i];

            real[i] = (double)scales[0] * (byte - zeros[0]);
        }
        normalise(is_softmax, 1e-5, real, n, wanted);
        for (int64_t i = 0; i < n; i++) {
            int32_t byte = is_signed ? (int8_t)to[row * n + i] : to[row * n + i];
            double step = wanted[i] / (double)scales[1] + zeros[1];
            double low = is_signed ? -128 : 0;

            step = step < low ? low : step > low + 255 ? low + 255 : step;
            assert_true(fabs(byte - step) <= 0.501);
        }
    }
}

static void try_rows(trial *t, uint64_t round)
{
    const float scales[2] = {0.01f + 0.1f * (float)(round % 7),
                             0.004f + 0.01f * (float)(round % 3)};
    bool is_softmax;
    int32_t zeros[2];
    uint8_t bytes[2];
    value first;
    value other;

    begin(t, round);
    is_softmax = between(t, 0, 1) == 0;
    spry_dtype dtype = any_byte(t);
    const int64_t shape[] = {up_to(t, 4, 300), up_to(t, 9, 200)};
    float ones[200];

    t->n.opset = 17;
    for (int i = 0; i < 200; i++) {
        ones[i] = 1.0f;
    }
    for (int i = 0; i < 2; i++) {
        zeros[i] = (int32_t)between(t, 0, 255) - (dtype == SPRY_DTYPE_I8 ? 128 : 0);
        bytes[i] = (uint8_t)zeros[i];
    }
    add_input(t, "xq", dtype, 2, shape);
    (void)net_constant(&t->n, "xs", SPRY_DTYPE_F32, 0, NULL, &scales[0]);
    (void)net_constant(&t->n, "ys", SPRY_DTYPE_F32, 0, NULL, &scales[1]);
    (void)net_constant(&t->n, "xz", dtype, 0, NULL, &bytes[0]);
    (void)net_constant(&t->n, "yz", dtype, 0, NULL, &bytes[1]);
    (void)net_constant(&t->n, "gamma", SPRY_DTYPE_F32, 1, shape + 1, ones);
    (void)net_node(&t->n, "DequantizeLinear", "xq xs xz", "x");
    (void)net_node(&t->n, is_softmax ? "Softmax" : "LayerNormalization",
                   is_softmax ? "x" : "x gamma", "real");
    (void)net_node(&t->n, "QuantizeLinear", "real ys yz", "y");
    net_output(&t->n, "y");
    spry_session_options options = spry_session_options_default();

    assert_int_equal(infer_graph(t->n.g, NULL), SPRY_OK);
    assert_int_equal(integer_graph(t->n.g, &options, NULL), SPRY_OK);
    run_graph(t, teams[0], true, "rows_s8", &first);
    run_graph(t, any_team(t), true, "rows_s8", &other);
    assert_memory_equal(first.tensor.data, other.tensor.data, first.tensor.bytes);
    check_rows(&t->given[0], &first, is_softmax, scales, zeros);
    value_fini(&first);
    value_fini(&other);
    net_fini(&t->n);
}

static void test_rows(void **state)
{
    int64_t cases = cases_of("rows of bytes in plans, teams of 1 to 4");
    trial t;

    (void)state;
    for (int64_t i = 0; i < cases; i++) {
        try_rows(&t, 2000000000 + (uint64_t)i);
    }
}

static int make_teams(void **state)
{
    (void)state;
    for (int i = 0; i < MOST_WORKERS; i++) {
        assert_int_equal(threads_create(NULL, i + 1, &teams[i], NULL), SPRY_OK);
    }
    return 0;
}

static int end_teams(void **state)
{
    (void)state;
    for (int i = 0; i < MOST_WORKERS; i++) {
        threads_destroy(teams[i]);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv),
        cmocka_unit_test(test_product),
        cmocka_unit_test(test_rows),
    };

    return cmocka_run_group_tests(tests, make_teams, end_teams);
}
