/* When plans use Winograd convolution, and that results stay those of the reference. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/infer.h"
#include "runtime/execute.h"
#include "runtime/fuse.h"
#include "runtime/layout/layout.h"
#include "runtime/plan.h"
#include "runtime/provider/providers.h"
#include "spry/random.h"
#include "support/net.h"

enum { SIDE = 13, CHANNELS = 35, FILTERS = 70, BATCH = 2, OPSET = 13 };

static spry_error error;

static void weights(net *n, spry_random *r, const char *name, int rank, const int64_t *shape,
                    float first)
{
    static float values[FILTERS * FILTERS * 9];
    int64_t count = 1;

    for (int i = 0; i < rank; i++) {
        count *= shape[i];
    }
    spry_random_fill_uniform(r, values, (size_t)count, -0.1f, 0.1f);
    values[0] = first;
    (void)net_constant(n, name, SPRY_DTYPE_F32, rank, shape, values);
}

/* A convolution by single pixels, then one of 3 x 3, whose first weight is given, with a residual
 * and an activation. */
static void build(net *n, float first, const char *activation)
{
    static const int64_t in[] = {BATCH, CHANNELS, SIDE, SIDE};
    static const int64_t narrow[] = {FILTERS, CHANNELS, 1, 1};
    static const int64_t wide[] = {FILTERS, FILTERS, 3, 3};
    static const int64_t filters = FILTERS;
    static const int64_t pads[] = {1, 0, 1, 2};
    spry_random r = spry_random_stream(23, 0);

    net_init(n, OPSET + 1);
    (void)net_input(n, "x", SPRY_DTYPE_F32, 4, in);
    weights(n, &r, "w1", 4, narrow, 0.1f);
    weights(n, &r, "w2", 4, wide, first);
    weights(n, &r, "b2", 1, &filters, 0.1f);
    (void)net_node(n, "Conv", "x w1", "c1");
    assert_int_equal(
        graph_set_ints(n->g, net_node(n, "Conv", "c1 w2 b2", "c2"), "pads", 4, pads, &error),
        SPRY_OK);
    (void)net_node(n, "Add", "c2 c1", "sum");
    (void)net_node(n, activation, "sum", "y");
    net_output(n, "y");
    assert_int_equal(infer_graph(n->g, &error), SPRY_OK);
}

/* Runs the graph and says how the convolution of 3 x 3 was planned; the caller frees the result. */
static const char *run(const graph *g, bool is_body, int workers, float magnitude, value *y)
{
    spry_session_options options = spry_session_options_default();
    spry_random r = spry_random_stream(24, 0);
    static const int64_t shape[] = {BATCH, CHANNELS, SIDE, SIDE};
    value x;
    const value *inputs[] = {&x};
    value *outputs[] = {y};
    threads *team = NULL;
    arena scratch;
    arena text;
    plan *p = NULL;
    executor e = {.scratch = &scratch, .text = &text, .error = &error};
    const char *way = "";

    value_init(&x, NULL);
    value_init(y, NULL);
    assert_int_equal(tensor_init_owned(&x.tensor, NULL, SPRY_DTYPE_F32, 4, shape, NULL), SPRY_OK);
    x.kind = SPRY_VALUE_TENSOR;
    x.dtype = SPRY_DTYPE_F32;
    spry_random_fill_uniform(&r, x.tensor.data, (size_t)tensor_count(&x.tensor), -magnitude,
                             magnitude);
    assert_int_equal(threads_create(NULL, workers, &team, NULL), SPRY_OK);
    e.team = team;
    arena_init(&scratch, NULL, SIZE_MAX);
    arena_init(&text, NULL, SIZE_MAX);
    assert_int_equal(plan_create(g, &options, team, is_body, &p, &error), SPRY_OK);
    for (int32_t i = 0; i < p->step_count; i++) {
        if (p->steps[i].provider == &provider_conv_winograd) {
            way = p->steps[i].provided.plan != NULL ? p->steps[i].provided.plan : "another";
        }
    }
    assert_int_equal(execute_plan(&e, p, NULL, inputs, 1, outputs, 1), SPRY_OK);
    plan_destroy(p);
    arena_fini(&text);
    arena_fini(&scratch);
    threads_destroy(team);
    value_fini(&x);
    return way;
}

static void compare(const tensor *got, const tensor *wanted)
{
    const float *a = got->data;
    const float *b = wanted->data;
    double most = 0;

    assert_true(tensor_same_shape(got, wanted));
    for (int64_t i = 0; i < tensor_count(wanted); i++) {
        most = fmax(most, fabs((double)b[i]));
    }
    for (int64_t i = 0; i < tensor_count(wanted); i++) {
        assert_true(fabs((double)a[i] - (double)b[i]) <= 1e-5 * most);
    }
}

/* The moved and fused graph against the plain one, by one and by three threads; returns the plan
 * of the convolution of 3 x 3. */
static const char *check(float first, float magnitude, const char *activation)
{
    spry_session_options options = spry_session_options_default();
    net n;
    graph *moved;
    value wanted;
    value got;
    value by_three;
    const char *way;

    build(&n, first, activation);
    assert_int_equal(graph_copy(n.g, &n.memory, NULL, &moved, NULL), SPRY_OK);
    assert_int_equal(fuse_graph(moved, &options, &error), SPRY_OK);
    assert_int_equal(layout_graph(moved, &options, &error), SPRY_OK);
    assert_int_equal(fuse_activations(moved, &options, &error), SPRY_OK);
    (void)run(n.g, true, 1, magnitude, &wanted);
    way = run(moved, false, 1, magnitude, &got);
    /* Whether it is Winograd's must not depend on the threads; other ways give the same bits. */
    assert_int_equal(strncmp(run(moved, false, 3, magnitude, &by_three), "winograd", 8) == 0,
                     strncmp(way, "winograd", 8) == 0);
    compare(&got.tensor, &wanted.tensor);
    assert_memory_equal(got.tensor.data, by_three.tensor.data,
                        (size_t)tensor_count(&got.tensor) * sizeof(float));
    value_fini(&wanted);
    value_fini(&got);
    value_fini(&by_three);
    net_fini(&n);
    return way;
}

static void test_plan(void **state)
{
    (void)state;
    assert_non_null(strstr(check(0.1f, 1, "Relu"), "winograd"));
    assert_non_null(strstr(check(0.1f, 1, "HardSwish"), "winograd"));
}

/* A weight whose transform is infinite: another provider does the work. */
static void test_refused_weights(void **state)
{
    const char *way = check(3.2e38f, 1e-3f, "Relu");

    (void)state;
    assert_string_not_equal(way, "");
    assert_null(strstr(way, "winograd"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_refused_weights),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
