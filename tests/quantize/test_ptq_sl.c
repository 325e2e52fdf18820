/* The method ptq-sl as a whole: what the file says is what was decided. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "model/pass.h"
#include "quantize/format/format.h"
#include "quantize/method/blocks.h"
#include "quantize/method/method.h"
#include "support/quantizing.h"

enum { NODE = 1, INPUT = 11, OUTPUT = 12, SAMPLES = 8 };

static proto make_network(void)
{
    proto g = {0};
    proto a = {0};

    proto_text(&g, 2, "net");
    quantizing_weights(&g, "w0", 4, (int64_t[]){10, 3, 3, 3}, 1);
    proto_node(&g, NODE, "Conv", "x w0", "y0"); /* [10][6][6] */
    quantizing_weights(&g, "w1", 4, (int64_t[]){6, 5, 1, 1}, 2);
    proto_attribute_int(&a, "group", 2);
    proto_node_with(&g, NODE, "Conv", "y0 w1", "y1", &a); /* [6][6][6] */
    quantizing_weights(&g, "w2", 4, (int64_t[]){6, 7, 2, 2}, 3);
    proto_node(&g, NODE, "ConvTranspose", "y1 w2", "y2"); /* [7][7][7] */
    quantizing_weights(&g, "w3", 2, (int64_t[]){7, 9}, 4);
    proto_node(&g, NODE, "MatMul", "y2 w3", "y3"); /* [7][7][9] */
    proto_node(&g, NODE, "Flatten", "y3", "flat");
    quantizing_weights(&g, "w4", 2, (int64_t[]){5, 441}, 5);
    a = (proto){0};
    proto_attribute_int(&a, "transB", 1);
    proto_node_with(&g, NODE, "Gemm", "flat w4", "y", &a);
    proto_value_info(&g, INPUT, "x", SPRY_DTYPE_F32, 4, (int64_t[]){-1, 3, 8, 8});
    proto_value_info(&g, OUTPUT, "y", SPRY_DTYPE_F32, 2, (int64_t[]){-1, 5});
    return g;
}

static void expect(spry_status status, const spry_error *error)
{
    if (status != SPRY_OK) {
        fail_msg("%s: %s", error->where, error->what);
    }
}

/* Steps and codes of all weights; their values go to values[i]. */
static void decide(quantizing *q, float **values)
{
    spry_error error = {0};

    quantizing_by(q, &method_ptq_sl);
    q->job.metric = q->options.metric != NULL ? q->options.metric : q->job.metric;
    q->job.format = &format_qdq;
    q->job.stages = SQUANT_EKC;
    expect(method_ptq_sl.search(&q->job, &error), &error);
    for (int32_t i = 0; i < q->job.weight_count; i++) {
        weight_record *r = &q->job.weights[i];
        squant_report report = {0};
        float *dense = calloc((size_t)weight_count(&r->w), sizeof *dense);
        method_call call = {dense, r, &q->job, &report};

        assert_non_null(dense);
        weight_gather(&r->w, dense);
        expect(method_ptq_sl.round(&call, &error), &error);
        assert_null(format_qdq.refuses(&q->job, r));
        values[i] = dense;
        blocks_values(r, dense);
        assert_true(r->story->order_after <= r->story->order_sorted);
        assert_true(r->story->order_sorted <= r->story->order_before);
        assert_true(r->story->error_after <= r->story->error_before * (1.0 + 1e-6));
    }
}

/* The weights that operators read, once constants are folded. */
static void check_file(quantizing *q, float **values)
{
    spry_error error = {0};
    pass_context context = {.m = q->job.m, .fold_dequantize = true};
    graph *g = q->job.m->main;
    int32_t nodes[8];
    weight layouts[8];
    int32_t count = q->job.weight_count;

    for (int32_t i = 0; i < count; i++) {
        layouts[i] = q->job.weights[i].w;
        nodes[i] = q->job.weights[i].w.node;
    }
    expect(format_qdq.write(&q->job, &error), &error);
    for (int32_t i = 0; i < count; i++) {
        nodes[i] = g->nodes[nodes[i]].inputs[WEIGHTS_PORT]; /* the value, which no sorting moves */
    }
    expect(graph_sort(g, &error), &error);
    for (int pass = 0; pass < 3; pass++) {
        expect(pass_fold(g, &context, &error), &error);
    }
    for (int32_t i = 0; i < count; i++) {
        const tensor *t = graph_constant(g, nodes[i]);
        float *dense = calloc((size_t)weight_count(&layouts[i]), sizeof *dense);

        assert_non_null(t);
        assert_int_equal(t->dtype, SPRY_DTYPE_F32);
        assert_int_equal(t->rank, layouts[i].source->rank);
        assert_memory_equal(t->shape, layouts[i].source->shape, (size_t)t->rank * sizeof *t->shape);
        layouts[i].source = t;
        weight_gather(&layouts[i], dense);
        assert_memory_equal(dense, values[i], (size_t)weight_count(&layouts[i]) * sizeof *dense);
        free(dense);
    }
}

static void files_say_what_was_decided(void **state)
{
    static const int64_t sizes[][2] = {{1, 0}, {0, 0}, {1, 2}, {4, 2}, {3, 3}, {2, 1}, {100, 4}};
    static const char *const efforts[] = {"off", "sort", "search", "graph"};

    (void)state;
    for (int trial = 0; trial < 28; trial++) {
        float *values[8] = {NULL};
        proto g = make_network();
        quantizing q;

        quantizing_init(&q, &g, 4, (int64_t[]){SAMPLES, 3, 8, 8}, 0);
        q.options.block_outputs = sizes[trial / 4][0];
        q.options.block_inputs = sizes[trial / 4][1];
        q.options.reorder = efforts[trial % 4];
        for (int32_t i = 0; i < q.job.weight_count; i++) {
            q.job.weights[i].bits = trial / 4 % 2 == 0 ? 4 : 8;
        }
        decide(&q, values);
        check_file(&q, values);
        for (int i = 0; i < 8; i++) {
            free(values[i]);
        }
        quantizing_fini(&q);
    }
}

/* Importance counts in the search, and no metric leaves errors larger than they were. */
static void metrics_of_the_answer(void **state)
{
    static const char *const names[] = {"fisher", "perturb", "label"};

    (void)state;
    for (int trial = 0; trial < 3; trial++) {
        float *values[8] = {NULL};
        proto g = make_network();
        quantizing q;

        quantizing_init(&q, &g, 4, (int64_t[]){SAMPLES, 3, 8, 8}, 0);
        q.options.block_outputs = 2;
        q.options.block_inputs = 2;
        q.options.metric = names[trial];
        q.options.samples = 3;
        q.options.reorder = "off";
        for (int32_t i = 0; i < q.job.weight_count; i++) {
            q.job.weights[i].bits = 4;
        }
        decide(&q, values);
        for (int32_t i = 0; i < q.job.weight_count; i++) {
            const block_story *story = q.job.weights[i].story;

            assert_true(story->searched);
            /* Scores that all move alike change no answer. */
            assert_int_equal(story->remark != NULL, trial == 1 && i == 4);
            free(values[i]);
        }
        quantizing_fini(&q);
    }
}

static void impossible_blocks_are_refused(void **state)
{
    spry_error error = {0};
    proto g = make_network();
    quantizing q;

    (void)state;
    quantizing_init(&q, &g, 4, (int64_t[]){SAMPLES, 3, 8, 8}, 0);
    quantizing_by(&q, &method_ptq_sl);
    q.options.blocks_across = 4; /* of 3 input channels */
    assert_int_equal(method_ptq_sl.search(&q.job, &error), SPRY_USAGE);
    q.options.blocks_across = 2;
    q.job.metric = "l3";
    assert_int_equal(method_ptq_sl.search(&q.job, &error), SPRY_USAGE);
    q.job.metric = "cosine";
    q.options.reorder = "shuffle";
    assert_int_equal(method_ptq_sl.search(&q.job, &error), SPRY_USAGE);
    quantizing_fini(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_say_what_was_decided),
        cmocka_unit_test(metrics_of_the_answer),
        cmocka_unit_test(impossible_blocks_are_refused),
    };

    return cmocka_run_group_tests_name("quantize/ptq_sl", tests, NULL, NULL);
}
