/* Loops, branches and sequences, with a host whose bodies are C functions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/op_harness.h"
#include "tensor/convert.h"

/* A graph with so many inputs and outputs of unknown type; its name says what it does. */
static graph *body(op_harness *h, const char *name, int32_t inputs, int32_t outputs)
{
    graph *g = arena_zeroed(&h->memory, sizeof *g);

    assert_non_null(g);
    g->name = name;
    g->input_count = inputs;
    g->output_count = outputs;
    g->values = arena_array(&h->memory, 8, sizeof *g->values);
    g->outputs = arena_array(&h->memory, 8, sizeof *g->outputs);
    assert_non_null(g->values);
    assert_non_null(g->outputs);
    return g;
}

static void set_number(value *v, spry_dtype dtype, double number)
{
    assert_int_equal(tensor_init_owned(&v->tensor, NULL, dtype, 0, NULL, NULL), SPRY_OK);
    convert_write_f64(&v->tensor, 0, 1, &number);
    v->kind = SPRY_VALUE_TENSOR;
    v->dtype = dtype;
}

static double number_of(const value *v)
{
    return convert_get_f64(&v->tensor, 0);
}

/* "then": 1. "else": 2. "double": x -> 2x. "sum": (i, go, s) -> (s < 10, s + i, s). "running":
 * (s, x) -> (s + x, s + x).*/
static spry_status run_graph(void *context, const graph *g, const value *inputs,
                             int32_t input_count, value *outputs, int32_t output_count,
                             spry_error *error)
{
    (void)context;
    (void)error;
    assert_int_equal(input_count, g->input_count);
    assert_int_equal(output_count, g->output_count);
    if (strcmp(g->name, "then") == 0 || strcmp(g->name, "else") == 0) {
        set_number(&outputs[0], SPRY_DTYPE_F32, g->name[0] == 't' ? 1 : 2);
    } else if (strcmp(g->name, "double") == 0) {
        set_number(&outputs[0], SPRY_DTYPE_F32, 2 * number_of(&inputs[0]));
    } else if (strcmp(g->name, "sum") == 0) {
        double sum = number_of(&inputs[2]);

        set_number(&outputs[0], SPRY_DTYPE_BOOL, sum < 10);
        set_number(&outputs[1], SPRY_DTYPE_F32, sum + number_of(&inputs[0]));
        set_number(&outputs[2], SPRY_DTYPE_F32, sum);
    } else {
        double sum = number_of(&inputs[0]) + number_of(&inputs[1]);

        set_number(&outputs[0], SPRY_DTYPE_F32, sum);
        set_number(&outputs[1], SPRY_DTYPE_F32, sum);
    }
    return SPRY_OK;
}

static void test_if(void **unused)
{
    (void)unused;
    for (int64_t condition = 0; condition < 2; condition++) {
        op_harness h;

        op_harness_init(&h, "", "If", 13);
        h.host.run_graph = run_graph;
        op_harness_graph(&h, "then_branch", body(&h, "then", 0, 1));
        op_harness_graph(&h, "else_branch", body(&h, "else", 0, 1));
        op_harness_i64s(&h, SPRY_DTYPE_BOOL, 0, NULL, &condition);
        op_harness_run(&h, 1);
        assert_int_equal(op_harness_i64_at(&h, 0, 0), condition != 0 ? 1 : 2);
        op_harness_fini(&h);
    }
}

static void loop(int64_t limit, int64_t go, bool has_limit, op_harness *h)
{
    const float start = 0;

    op_harness_init(h, "", "Loop", 13);
    h->host.run_graph = run_graph;
    op_harness_graph(h, "body", body(h, "sum", 3, 3));
    h->node.attributes[0].as.graphs[0]->outputs[2] = 2;
    h->node.attributes[0].as.graphs[0]->values[2].type = graph_type_tensor(SPRY_DTYPE_F32, 0, NULL);
    if (has_limit) {
        op_harness_i64s(h, SPRY_DTYPE_I64, 0, NULL, &limit);
    } else {
        op_harness_omit(h);
    }
    op_harness_i64s(h, SPRY_DTYPE_BOOL, 0, NULL, &go);
    op_harness_f32(h, 0, NULL, &start);
    op_harness_run(h, 2);
}

static void test_loop(void **unused)
{
    const double sums[4] = {0, 0, 1, 3};
    const int64_t four = 4;
    const int64_t none = 0;
    op_harness h;

    (void)unused;
    loop(4, 1, true, &h); /* ends by count */
    op_harness_expect(&h, 1, SPRY_DTYPE_F32, 1, &four);
    op_harness_expect_f64(&h, 1, sums, 0);
    assert_int_equal(op_harness_i64_at(&h, 0, 0), 6);
    op_harness_fini(&h);
    loop(0, 1, false, &h); /* ends by condition: at 10, tested before the last addition */
    assert_int_equal(op_harness_i64_at(&h, 0, 0), 15);
    op_harness_fini(&h);
    loop(4, 0, true, &h); /* never starts */
    op_harness_expect(&h, 1, SPRY_DTYPE_F32, 1, &none);
    op_harness_fini(&h);
}

static void test_scan(void **unused)
{
    const float start = 10;
    const float items[4] = {1, 2, 3, 4};
    const double forward[4] = {11, 13, 16, 20};
    const double backward[4] = {20, 19, 17, 14};
    const int64_t four = 4;
    const int64_t one = 1;

    (void)unused;
    for (int back = 0; back < 2; back++) {
        op_harness h;

        op_harness_init(&h, "", "Scan", 11);
        h.host.run_graph = run_graph;
        op_harness_graph(&h, "body", body(&h, "running", 2, 2));
        op_harness_int(&h, "num_scan_inputs", 1);
        if (back != 0) {
            op_harness_ints(&h, "scan_input_directions", 1, &one);
            op_harness_ints(&h, "scan_output_directions", 1, &one);
        }
        op_harness_f32(&h, 0, NULL, &start);
        op_harness_f32(&h, 1, &four, items);
        op_harness_run(&h, 2);
        assert_int_equal(op_harness_i64_at(&h, 0, 0), 20);
        op_harness_expect_f64(&h, 1, back != 0 ? backward : forward, 0);
        op_harness_fini(&h);
    }
}

static void add_items(value *sequence, int count)
{
    sequence->kind = SPRY_VALUE_SEQUENCE;
    sequence->dtype = SPRY_DTYPE_F32;
    for (int i = 0; i < count; i++) {
        value *item;

        assert_int_equal(spry_value_none(NULL, &item, NULL), SPRY_OK);
        set_number(item, SPRY_DTYPE_F32, i);
        assert_int_equal(spry_value_append(sequence, item, NULL), SPRY_OK);
    }
}

static void test_sequence_map(void **unused)
{
    op_harness h;

    (void)unused;
    op_harness_init(&h, "", "SequenceMap", 17);
    h.host.run_graph = run_graph;
    op_harness_graph(&h, "body", body(&h, "double", 1, 1));
    add_items(op_harness_value(&h), 3);
    op_harness_run(&h, 1);
    assert_int_equal(h.outputs[0].count, 3);
    for (int i = 0; i < 3; i++) {
        assert_true(number_of(h.outputs[0].items[i]) == 2 * i);
    }
    op_harness_fini(&h);
}

static void test_sequence_positions(void **unused)
{
    static const struct {
        const char *name;
        int64_t at;
        int64_t count; /* items after, -1: refused */
    } cases[] = {{"SequenceErase", -1, 2}, {"SequenceErase", 3, -1},  {"SequenceErase", -4, -1},
                 {"SequenceInsert", 3, 4}, {"SequenceInsert", 4, -1}, {"SequenceAt", 3, -1}};

    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        op_harness h;
        spry_status status;

        op_harness_init(&h, "", cases[i].name, 13);
        add_items(op_harness_value(&h), 3);
        if (strcmp(cases[i].name, "SequenceInsert") == 0) {
            op_harness_input(&h, SPRY_DTYPE_F32, 0, NULL);
        }
        op_harness_i64s(&h, SPRY_DTYPE_I64, 0, NULL, &cases[i].at);
        status = op_harness_try(&h, 1);
        assert_int_equal(status, cases[i].count < 0 ? SPRY_BAD_INPUT : SPRY_OK);
        if (status == SPRY_OK) {
            assert_int_equal(h.outputs[0].count, cases[i].count);
        }
        op_harness_fini(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_if),
        cmocka_unit_test(test_loop),
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_sequence_map),
        cmocka_unit_test(test_sequence_positions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
