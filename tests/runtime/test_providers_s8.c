/* Integer providers against the reference kernels of the operators they take over, over random
 * geometries, types and zero points: bit for bit.
 *
 * A plan made as that of a body uses reference kernels only, so the same one-node graph is planned
 * both ways and run on the same inputs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/infer.h"
#include "runtime/execute.h"
#include "runtime/plan.h"
#include "spry/random.h"
#include "support/net.h"

enum { ROUNDS = 200, MOST_INPUTS = 2, MOST_BYTES = 1 << 16, MOST_CHANNELS = 64 };

typedef struct trial {
    net n;
    spry_random r;
    int32_t node;
    int inputs;
    value given[MOST_INPUTS];
    uint8_t bytes[MOST_INPUTS][MOST_BYTES];
} trial;

static int64_t between(trial *t, int64_t low, int64_t high)
{
    return low + (int64_t)spry_random_below(&t->r, (uint64_t)(high - low + 1));
}

static spry_dtype any_byte(trial *t)
{
    return between(t, 0, 1) == 0 ? SPRY_DTYPE_U8 : SPRY_DTYPE_I8;
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

static void fill(trial *t, uint8_t *bytes, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        bytes[i] = (uint8_t)between(t, 0, 255);
    }
}

static void begin(trial *t, uint64_t stream)
{
    *t = (trial){.r = spry_random_stream(31, stream)};
    net_init(&t->n, 13);
}

static void add_input(trial *t, const char *name, spry_dtype dtype, int rank, const int64_t *shape)
{
    value *v = &t->given[t->inputs];

    fill(t, t->bytes[t->inputs], count_of(rank, shape));
    (void)net_input(&t->n, name, dtype, rank, shape);
    value_init(v, NULL);
    assert_int_equal(tensor_init(&v->tensor, dtype, rank, shape, t->bytes[t->inputs], NULL),
                     SPRY_OK);
    v->kind = SPRY_VALUE_TENSOR;
    v->dtype = dtype;
    t->inputs++;
}

static void add_weights(trial *t, const char *name, spry_dtype dtype, int rank,
                        const int64_t *shape)
{
    uint8_t bytes[MOST_BYTES];

    fill(t, bytes, count_of(rank, shape));
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

static void run_graph(trial *t, bool with_providers, const char *wanted, value *y)
{
    spry_session_options options = spry_session_options_default();
    const value *inputs[MOST_INPUTS] = {&t->given[0], &t->given[1]};
    value *outputs[] = {y};
    spry_error error = {0};
    threads *team = NULL;
    arena scratch;
    arena text;
    plan *p = NULL;
    executor e = {.scratch = &scratch, .text = &text, .error = &error};

    assert_int_equal(threads_create(NULL, 3, &team, NULL), SPRY_OK);
    e.team = team;
    arena_init(&scratch, NULL, SIZE_MAX);
    arena_init(&text, NULL, SIZE_MAX);
    if (plan_create(t->n.g, &options, team, !with_providers, &p, &error) != SPRY_OK ||
        execute_plan(&e, p, NULL, inputs, t->inputs, outputs, 1) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    if (with_providers) {
        assert_non_null(p->steps[0].provider);
        assert_string_equal(p->steps[0].provider->name, wanted);
    }
    plan_destroy(p);
    arena_fini(&text);
    arena_fini(&scratch);
    threads_destroy(team);
}

static void finish(trial *t, const char *wanted)
{
    value fast;
    value reference;

    net_output(&t->n, "y");
    value_init(&fast, NULL);
    value_init(&reference, NULL);
    if (infer_graph(t->n.g, NULL) == SPRY_OK) {
        run_graph(t, true, wanted, &fast);
        run_graph(t, false, wanted, &reference);
        assert_true(tensor_same_shape(&fast.tensor, &reference.tensor));
        assert_memory_equal(fast.tensor.data, reference.tensor.data, reference.tensor.bytes);
    }
    value_fini(&fast);
    value_fini(&reference);
    net_fini(&t->n);
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

static void try_conv(trial *t, uint64_t round)
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
    channels = between(t, 2, 9); /* one of each group is depthwise */
    filters = between(t, 1, 20) * groups;
    {
        const int64_t x_shape[] = {between(t, 1, 2), channels * groups, between(t, 3, 12),
                                   between(t, 3, 12)};
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
    finish(t, "conv_s8");
}

static void test_conv(void **state)
{
    trial *t = malloc(sizeof *t);

    (void)state;
    assert_non_null(t);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        try_conv(t, i);
    }
    free(t);
}

/* ---- products ---- */

static void try_product(trial *t, uint64_t round)
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
    n = between(t, 1, 50);
    {
        int64_t batch = between(t, 1, 3);
        int64_t k = between(t, 1, 70);
        const int64_t x_shape[] = {batch, between(t, 1, 40), k};
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
    finish(t, "matmul_s8");
}

static void test_product(void **state)
{
    trial *t = malloc(sizeof *t);

    (void)state;
    assert_non_null(t);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        try_product(t, 1000 + i);
    }
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv),
        cmocka_unit_test(test_product),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
