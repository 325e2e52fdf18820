/* Weights in blocks, in integers: the same results as operators as written, and a kernel for
 * them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "model/graph.h"
#include "model/model.h"
#include "spry/session.h"
#include "support/quantizing.h"

enum { NODE = 1, INPUT = 11, OUTPUT = 12, SAMPLES = 5, GROUPED = 10 };

static void put_ints(proto *attributes, const char *name, int count, const int64_t *ints)
{
    proto attribute = {0};

    proto_text(&attribute, 1, name);
    for (int i = 0; i < count; i++) {
        proto_int(&attribute, 8, (uint64_t)ints[i]);
    }
    proto_int(&attribute, 20, 7);
    proto_message(attributes, 5, &attribute);
}

/* One operator on x [N][12][7][6], or on its last axis. */
static proto make_network(int kind)
{
    static const int64_t results[][4] = {
        {-1, 33, 4, 5}, {-1, 33, 7, 6}, {-1, 12, 7, 33}, {-1, 33}, {-1, 33}};
    proto g = {0};
    proto a = {0};

    proto_text(&g, 2, "net");
    quantizing_weights(&g, "bias", 1, (int64_t[]){33}, 9);
    switch (kind) {
    case 0:
        quantizing_weights(&g, "w", 4, (int64_t[]){33, 12, 3, 2}, 1);
        put_ints(&a, "pads", 4, (int64_t[]){1, 0, 2, 1});
        put_ints(&a, "strides", 2, (int64_t[]){2, 1});
        put_ints(&a, "dilations", 2, (int64_t[]){1, 2});
        proto_node_with(&g, NODE, "Conv", "x w bias", "y", &a);
        break;
    case 1:
        quantizing_weights(&g, "w", 4, (int64_t[]){33, 12, 1, 1}, 1);
        proto_node(&g, NODE, "Conv", "x w", "y");
        break;
    case 2:
        quantizing_weights(&g, "w", 2, (int64_t[]){6, 33}, 1);
        proto_node(&g, NODE, "MatMul", "x w", "y");
        break;
    case 3:
        quantizing_weights(&g, "w", 2, (int64_t[]){504, 33}, 1);
        proto_node(&g, NODE, "Flatten", "x", "flat");
        proto_node(&g, NODE, "MatMul", "flat w", "y");
        break;
    default:
        quantizing_weights(&g, "w", 2, (int64_t[]){33, 504}, 1);
        proto_node(&g, NODE, "Flatten", "x", "flat");
        proto_attribute_int(&a, "transB", 1);
        proto_node_with(&g, NODE, "Gemm", "flat w bias", "y", &a);
    }
    proto_value_info(&g, INPUT, "x", SPRY_DTYPE_F32, 4, (int64_t[]){-1, 12, 7, 6});
    proto_value_info(&g, OUTPUT, "y", SPRY_DTYPE_F32, kind >= 3 ? 2 : 4, results[kind]);
    return g;
}

static bool uses_kernel(const spry_session *session, const char *name)
{
    const spry_profile_row *rows;
    int32_t count = spry_session_profile(session, &rows);
    bool found = false;

    for (int32_t i = 0; i < count; i++) {
        found = found || strstr(rows[i].kernel, name) != NULL;
    }
    return found;
}

static spry_value *run(const spry_model *m, const spry_value *input, bool as_written, int workers)
{
    static const char *const name = "x";
    spry_session_options options = spry_session_options_default();
    spry_session *session = NULL;
    spry_value *output = NULL;

    options.keep_order = as_written;
    options.threads = workers;
    options.profile = true;
    assert_int_equal(spry_session_create(m, &options, &session, NULL), SPRY_OK);
    assert_int_equal(spry_session_run(session, 1, &name, &input, 1, &output, NULL), SPRY_OK);
    assert_true(uses_kernel(session, "blocks_s8") == !as_written);
    spry_session_destroy(session);
    return output;
}

static spry_value *make_input(const quantizing *q)
{
    static const int64_t target[] = {-1, 12, 7, 6};
    spry_preprocess recipe = spry_preprocess_default();
    spry_tensor *t = NULL;
    spry_value *v = NULL;
    int64_t labels[SAMPLES];

    assert_int_equal(spry_dataset_batch(q->options.calibration, 0, SAMPLES, &recipe, SPRY_DTYPE_F32,
                                        4, target, &t, labels, NULL),
                     SPRY_OK);
    assert_int_equal(spry_value_from_tensor(NULL, t, &v, NULL), SPRY_OK);
    return v;
}

/* Other runtimes take a MatMul right behind a DequantizeLinear for one with a step per output. */
static void check_apart(const spry_model *m)
{
    const graph *g = m->main;

    for (int32_t i = 0; i < g->node_count; i++) {
        const graph_node *n = &g->nodes[i];

        if (strcmp(n->type, "MatMul") == 0) {
            const graph_node *from = &g->nodes[g->values[n->inputs[1]].producer];

            assert_true(graph_attribute_int(from, "block_size", 0) == 0);
        }
    }
}

/* ptq-sl; its trial GROUPED is groups instead. */
static void check_case(int kind, int trial)
{
    static const int64_t sizes[][2] = {{1, 4}, {8, 3}, {4, 1}, {33, 2}, {2, 5}};
    static const char *const efforts[] = {"off", "sort"};
    proto g = make_network(kind);
    spry_error error = {0};
    spry_model *made = NULL;
    spry_quantization *facts = NULL;
    quantizing q;

    quantizing_init(&q, &g, 4, (int64_t[]){SAMPLES, 12, 7, 6}, 8);
    q.options.method = "ptq-sl";
    q.options.weight_bits = trial % 2 == 0 ? 8 : 4;
    if (trial == GROUPED) {
        q.options.method = "nearest";
        q.options.group = 16;
    } else {
        q.options.block_outputs = sizes[trial / 2][0];
        q.options.block_inputs = sizes[trial / 2][1];
        q.options.reorder = efforts[trial % 2];
    }
    if (spry_quantize(q.model, &q.options, &made, &facts, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    check_apart(made);
    spry_value *x = make_input(&q);
    spry_value *expected = run(made, x, true, 1);
    spry_value *got = run(made, x, false, 1);
    spry_value *shared = run(made, x, false, 3);
    const spry_tensor *a = spry_value_tensor(expected);
    const spry_tensor *b = spry_value_tensor(got);
    const float *right = spry_tensor_const_data(a);
    const float *mine = spry_tensor_const_data(b);
    double most = 0.0;

    assert_int_equal(spry_tensor_count(a), spry_tensor_count(b));
    for (int64_t i = 0; i < spry_tensor_count(a); i++) {
        most = fmax(most, fabs((double)right[i]));
    }
    for (int64_t i = 0; i < spry_tensor_count(a); i++) {
        assert_true(fabs((double)right[i] - (double)mine[i]) <= 2e-5 * most);
    }
    assert_memory_equal(mine, spry_tensor_const_data(spry_value_tensor(shared)),
                        (size_t)spry_tensor_count(b) * sizeof *mine);
    spry_value_destroy(x);
    spry_value_destroy(expected);
    spry_value_destroy(got);
    spry_value_destroy(shared);
    spry_quantization_destroy(facts);
    spry_model_destroy(made);
    quantizing_fini(&q);
}

static void integers_give_the_same(void **state)
{
    (void)state;
    for (int kind = 0; kind < 5; kind++) {
        int first = kind == 3 ? GROUPED - 2 : 0; /* as kind 2, with groups */

        for (int trial = first; trial < GROUPED + (kind >= 3); trial++) {
            check_case(kind, trial);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_give_the_same),
    };

    return cmocka_run_group_tests_name("runtime/blocks", tests, NULL, NULL);
}
