/* HeadPolicy in all its ways: as the function that files have, as an operator, and inside of the
 * attention kernel; and how its windows are chosen and written. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "adapt/head_policy.h"
#include "inspect/heads_policy.h"
#include "model/head_policy_function.h"
#include "model/insert.h"
#include "model/model.h"
#include "ops/head_policy.h"
#include "spry/spry.h"

enum { HEADS = 3, TOKENS = 40, SIZE = 4, COUNT = HEADS * TOKENS * SIZE };

static int32_t add(graph *g, const char *type, const char *name, int32_t a, int32_t b)
{
    insert_node_of what = {.type = type,
                           .opset = 13,
                           .base = name,
                           .suffix = "node",
                           .inputs = {a, b},
                           .input_count = b == GRAPH_NONE ? 1 : 2};
    int32_t node;
    int32_t result;

    assert_int_equal(insert_node(g, &what, &node, &result, NULL), SPRY_OK);
    return result;
}

/* Attention over [1, HEADS, TOKENS, SIZE]; the weights are an output too if `shows`. */
static spry_model *make_attention(bool shows)
{
    static const int64_t perm[] = {0, 1, 3, 2};
    static const int64_t shape[] = {1, HEADS, TOKENS, SIZE};
    spry_model *m = NULL;
    graph *g;
    int32_t *ports;
    int32_t k;
    int32_t weights;

    assert_int_equal(model_create(NULL, SIZE_MAX, &m, NULL), SPRY_OK);
    assert_int_equal(graph_create(&m->memory, NULL, &m->main, NULL), SPRY_OK);
    g = m->main;
    m->path = "attention";
    m->ir_version = 8;
    m->opsets = arena_array(&m->memory, 1, sizeof *m->opsets);
    m->opsets[0] = (model_opset){"", 13};
    m->opset_count = 1;
    ports = arena_array(&m->memory, 5, sizeof *ports);
    for (int i = 0; i < 3; i++) {
        static const char *const names[] = {"q", "k", "v"};

        assert_int_equal(graph_add_value(g, names[i], &ports[i], NULL), SPRY_OK);
        g->values[ports[i]].type = graph_type_tensor(SPRY_DTYPE_F32, 4, shape);
        g->values[ports[i]].is_input = g->values[ports[i]].is_declared = true;
    }
    k = add(g, "Transpose", "turned", ports[1], GRAPH_NONE);
    assert_int_equal(graph_set_ints(g, g->values[k].producer, "perm", 4, perm, NULL), SPRY_OK);
    weights = add(g, "Softmax", "weights", add(g, "MatMul", "scores", ports[0], k), GRAPH_NONE);
    assert_int_equal(graph_set_int(g, g->values[weights].producer, "axis", -1, NULL), SPRY_OK);
    ports[3] = add(g, "MatMul", "mixed", weights, ports[2]);
    ports[4] = weights;
    g->inputs = ports;
    g->input_count = 3;
    g->outputs = ports + 3;
    g->output_count = shows ? 2 : 1;
    for (int i = 3; i < 3 + g->output_count; i++) {
        g->values[ports[i]].type = graph_type_tensor(SPRY_DTYPE_F32, 0, NULL);
        g->values[ports[i]].type.has_rank = false;
        g->values[ports[i]].is_output = g->values[ports[i]].is_declared = true;
    }
    return m;
}

static void write_policies(spry_model *m, const attention_policy *policies)
{
    graph *g = m->main;
    head_policy_layer layer = {g->values[g->outputs[0]].name, HEADS, policies};

    assert_int_equal(head_policy_write(m, &layer, 1, NULL), SPRY_OK);
}

/* Runs with the same numbers each time. */
static void run(const spry_model *m, bool keep_order, float *result)
{
    static const char *const names[] = {"q", "k", "v"};
    static const int64_t shape[] = {1, HEADS, TOKENS, SIZE};
    spry_random r = spry_random_stream(3, 0);
    spry_session_options how = spry_session_options_default();
    spry_session *session = NULL;
    spry_value *inputs[3] = {NULL};
    spry_value *outputs[2] = {NULL};
    spry_error error;

    how.threads = 1;
    how.keep_order = keep_order;
    assert_int_equal(spry_session_create(m, &how, &session, &error), SPRY_OK);
    for (int i = 0; i < 3; i++) {
        spry_tensor *t = NULL;

        assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_F32, 4, shape, &t, NULL), SPRY_OK);
        spry_random_fill_uniform(&r, spry_tensor_data(t), COUNT, -2.0f, 2.0f);
        assert_int_equal(spry_value_from_tensor(NULL, t, &inputs[i], NULL), SPRY_OK);
    }
    assert_int_equal(spry_session_run(session, 3, names, (const spry_value *const *)inputs,
                                      m->main->output_count, outputs, &error),
                     SPRY_OK);
    memcpy(result, spry_value_tensor(outputs[0])->data, COUNT * sizeof *result);
    for (int i = 0; i < 3; i++) {
        spry_value_destroy(inputs[i]);
        spry_value_destroy(i < 2 ? outputs[i] : NULL);
    }
    spry_session_destroy(session);
}

static void test_ways(void **state)
{
    static const attention_policy policies[HEADS] = {
        {.before = 3, .after = 1, .sink_count = 2, .sinks = {0, 17}},
        {.is_dense = true},
        {.before = 0, .after = 0, .sink_count = 1, .sinks = {5}}};
    static const attention_policy all[HEADS] = {
        {.is_dense = true}, {.is_dense = true}, {.is_dense = true}};
    float results[4][COUNT];
    spry_model *dense = make_attention(false);
    spry_model *kernel = make_attention(false);
    spry_model *shown = make_attention(true);
    double moved = 0;

    (void)state;
    write_policies(kernel, policies);
    write_policies(shown, policies);
    run(dense, false, results[0]);
    run(kernel, false, results[1]); /* by the attention kernel */
    run(shown, false, results[2]);  /* by the operator: the weights are wanted */
    run(kernel, true, results[3]);  /* by the function's body */
    for (int i = 0; i < COUNT; i++) {
        assert_true(fabs((double)results[1][i] - (double)results[2][i]) < 1e-6);
        assert_true(fabs((double)results[1][i] - (double)results[3][i]) < 1e-6);
        moved = fmax(moved, fabs((double)results[1][i] - (double)results[0][i]));
    }
    assert_true(moved > 0.1);
    for (int i = TOKENS * SIZE; i < 2 * TOKENS * SIZE; i++) { /* the dense head */
        assert_true(fabs((double)results[1][i] - (double)results[0][i]) < 1e-6);
    }
    /* Nothing to restrict: nothing is written. A second time is refused. */
    write_policies(dense, all);
    assert_int_equal(dense->function_count, 0);
    assert_int_equal(kernel->function_count, 1);
    assert_true(head_policy_function_is(&kernel->functions[0]));
    head_policy_layer layer = {kernel->main->values[kernel->main->outputs[0]].name, HEADS,
                               policies};
    assert_int_equal(head_policy_write(kernel, &layer, 1, NULL), SPRY_UNSUPPORTED);
    spry_model_destroy(dense);
    spry_model_destroy(kernel);
    spry_model_destroy(shown);
}

/* Something else that is called so is expanded like any function. */
static void test_another_function(void **state)
{
    spry_model *m = make_attention(false);
    model_function *f;

    (void)state;
    assert_int_equal(head_policy_function_add(m, 13, NULL), SPRY_OK);
    f = &m->functions[0];
    assert_true(head_policy_function_is(f));
    f->body->nodes[f->body->node_count - 1].type = "Mul";
    assert_false(head_policy_function_is(f));
    assert_int_equal(head_policy_function_add(m, 13, NULL), SPRY_USAGE);
    spry_model_destroy(m);
}

/* ---- the choice ---- */

static void test_choice(void **state)
{
    enum { T = 64, RANKS = SPRY_HEAD_POLICY_SINKS + 1 };
    double reach[RANKS * T] = {0};
    int64_t sinks[SPRY_HEAD_POLICY_SINKS] = {-1, -1, -1, -1};
    attention_policy policy;
    double kept;

    (void)state;
    /* A band of three to both sides. */
    for (int w = 0; w <= 3; w++) {
        reach[(RANKS - 1) * T + w] = w == 0 ? 1.0 / 7 : 2.0 / 7;
    }
    heads_choose_policy(reach, T, sinks, 0.05, false, &policy, &kept);
    assert_true(!policy.is_dense && policy.before == 3 && policy.after == 3);
    assert_int_equal(policy.sink_count, 0);
    /* 0.95 on one key, the rest alike. */
    memset(reach, 0, sizeof reach);
    sinks[0] = 0;
    for (int w = 0; w < T; w++) {
        reach[w] = 0.95 / T;
        reach[(RANKS - 1) * T + w] = 0.05 / T;
    }
    heads_choose_policy(reach, T, sinks, 0.05, false, &policy, &kept);
    assert_true(!policy.is_dense && policy.before == 0 && policy.sink_count == 1);
    assert_true(policy.sinks[0] == 0 && kept >= 0.95);
    /* All keys alike: nothing is gained. */
    memset(reach, 0, sizeof reach);
    sinks[0] = -1;
    for (int w = 0; w < T; w++) {
        reach[(RANKS - 1) * T + w] = 1.0 / T;
    }
    heads_choose_policy(reach, T, sinks, 0.05, false, &policy, &kept);
    assert_true(policy.is_dense && kept == 1.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ways),
        cmocka_unit_test(test_another_function),
        cmocka_unit_test(test_choice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
