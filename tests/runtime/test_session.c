/* Sessions: plans for every input shape, the same bits for any number of threads, the same numbers
 * with and without optimisation, and clear refusals. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "spry/spry.h"
#include "support/fault.h"
#include "support/proto.h"

enum { CHANNELS = 24, SIDE = 11, INNER = 9, CLASSES = 5, IMAGE = 3 * SIDE * SIDE };

static void add_random(proto *graph, const char *name, uint64_t stream, int rank,
                       const int64_t *shape)
{
    spry_random r = spry_random_stream(5, stream);
    size_t count = 1;
    float *values;

    for (int i = 0; i < rank; i++) {
        count *= (size_t)shape[i];
    }
    values = malloc(count * sizeof *values);
    assert_non_null(values);
    spry_random_fill_uniform(&r, values, count, -0.5f, 0.5f);
    proto_tensor(graph, 5, name, SPRY_DTYPE_F32, rank, shape, values, count * sizeof *values);
    free(values);
}

/* Conv, Relu, Conv, Add, Clip, GlobalAveragePool, Flatten, Gemm: what fusion has to do with. */
static proto make_network(void)
{
    proto graph = {0};
    proto file = {0};
    const float bounds[] = {-0.75f, 0.75f};

    proto_node(&graph, 1, "Conv", "x w1 b1", "c1");
    proto_node(&graph, 1, "Relu", "c1", "r1");
    proto_node(&graph, 1, "Conv", "r1 w2", "c2");
    proto_node(&graph, 1, "Add", "c2 r1", "sum");
    proto_node(&graph, 1, "Clip", "sum low high", "clipped");
    proto_node(&graph, 1, "GlobalAveragePool", "clipped", "mean");
    proto_node(&graph, 1, "Flatten", "mean", "flat");
    proto_node(&graph, 1, "Gemm", "flat wg bg", "y");
    proto_text(&graph, 2, "network");
    add_random(&graph, "w1", 1, 4, (const int64_t[]){CHANNELS, 3, 3, 3});
    add_random(&graph, "b1", 2, 1, (const int64_t[]){CHANNELS});
    add_random(&graph, "w2", 3, 4, (const int64_t[]){CHANNELS, CHANNELS, 1, 1});
    add_random(&graph, "wg", 4, 2, (const int64_t[]){CHANNELS, CLASSES});
    add_random(&graph, "bg", 5, 1, (const int64_t[]){CLASSES});
    proto_tensor(&graph, 5, "low", SPRY_DTYPE_F32, 0, NULL, &bounds[0], sizeof bounds[0]);
    proto_tensor(&graph, 5, "high", SPRY_DTYPE_F32, 0, NULL, &bounds[1], sizeof bounds[1]);
    proto_value_info(&graph, 11, "x", SPRY_DTYPE_F32, 4, (const int64_t[]){-1, 3, SIDE, SIDE});
    proto_value_info(&graph, 12, "y", SPRY_DTYPE_F32, 2, (const int64_t[]){-1, CLASSES});
    proto_model(&file, 8, 13, &graph);
    return file;
}

typedef struct subject {
    proto file;
    spry_model *model;
    spry_session *session;
} subject;

static subject open_subject(const spry_session_options *options)
{
    subject s = {.file = make_network()};

    assert_int_equal(spry_model_parse(NULL, s.file.data, s.file.size, NULL, &s.model, NULL),
                     SPRY_OK);
    assert_int_equal(spry_session_create(s.model, options, &s.session, NULL), SPRY_OK);
    return s;
}

static void close_subject(subject *s)
{
    spry_session_destroy(s->session);
    spry_model_destroy(s->model);
    proto_fini(&s->file);
}

static spry_value *make_input(const spry_allocator *allocator, int64_t batch)
{
    const int64_t shape[] = {batch, 3, SIDE, SIDE};
    spry_random r = spry_random_stream(9, 0);
    spry_tensor *t = NULL;
    spry_value *v = NULL;

    if (spry_tensor_create(allocator, SPRY_DTYPE_F32, 4, shape, &t, NULL) != SPRY_OK) {
        return NULL;
    }
    spry_random_fill_uniform(&r, spry_tensor_data(t), (size_t)(batch * IMAGE), -1.0f, 1.0f);
    return spry_value_from_tensor(allocator, t, &v, NULL) == SPRY_OK ? v : NULL;
}

/* Runs a batch and copies the scores into y[batch][CLASSES]. */
static void run_batch(spry_session *session, int64_t batch, float *y)
{
    const char *name = "x";
    spry_value *in = make_input(NULL, batch);
    spry_value *out = NULL;
    spry_error error = {0};

    assert_non_null(in);
    if (spry_session_run(session, 1, &name, (const spry_value *const *)&in, 1, &out, &error) !=
        SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    assert_int_equal(spry_tensor_count(spry_value_tensor(out)), batch * CLASSES);
    memcpy(y, spry_tensor_const_data(spry_value_tensor(out)),
           (size_t)(batch * CLASSES) * sizeof *y);
    spry_value_destroy(in);
    spry_value_destroy(out);
}

static void test_threads_give_the_same_bits(void **state)
{
    float expected[7 * CLASSES];

    (void)state;
    for (int threads = 1; threads <= 5; threads++) {
        spry_session_options options = spry_session_options_default();
        float y[7 * CLASSES];
        subject s;

        options.threads = threads;
        s = open_subject(&options);
        run_batch(s.session, 7, threads == 1 ? expected : y);
        if (threads > 1) {
            assert_memory_equal(expected, y, sizeof y);
        }
        close_subject(&s);
    }
}

static void test_optimised_equals_plain(void **state)
{
    spry_session_options options = spry_session_options_default();
    float plain[3 * CLASSES];
    float fast[3 * CLASSES];
    subject s;

    (void)state;
    options.keep_order = true;
    s = open_subject(&options);
    run_batch(s.session, 3, plain);
    close_subject(&s);
    options.keep_order = false;
    s = open_subject(&options);
    run_batch(s.session, 3, fast);
    close_subject(&s);
    for (int i = 0; i < 3 * CLASSES; i++) {
        assert_true(fabsf(plain[i] - fast[i]) <= 2e-6f * (1 + fabsf(plain[i])));
    }
}

/* More shapes than plans are kept, in a changing order: each run gives what the first one gave. */
static void test_many_shapes(void **state)
{
    spry_session_options options = spry_session_options_default();
    float first[CLASSES];
    subject s = open_subject(&options);

    (void)state;
    run_batch(s.session, 1, first);
    for (int round = 0; round < 3; round++) {
        for (int64_t batch = 12; batch > 0; batch--) {
            float y[12 * CLASSES];

            run_batch(s.session, batch, y);
            assert_memory_equal(first, y, sizeof first); /* image 0 is the same in every batch */
        }
    }
    close_subject(&s);
}

static void test_profile(void **state)
{
    spry_session_options options = spry_session_options_default();
    const spry_profile_row *rows;
    float y[2 * CLASSES];
    int32_t count;
    int64_t macs = 0;
    subject s;

    (void)state;
    options.profile = true;
    s = open_subject(&options);
    run_batch(s.session, 2, y);
    run_batch(s.session, 2, y);
    count = spry_session_profile(s.session, &rows);
    assert_true(count > 0);
    for (int32_t i = 0; i < count; i++) {
        assert_true(rows[i].calls == 0 || rows[i].calls == 2);
        macs += rows[i].macs;
    }
    assert_int_equal(macs, 2 * (INNER * INNER * CHANNELS * (27 + CHANNELS) + CHANNELS * CLASSES));
    spry_session_profile_reset(s.session);
    (void)spry_session_profile(s.session, &rows);
    assert_int_equal(rows[0].calls, 0);
    assert_true(spry_session_arena_bytes(s.session) > 0);
    close_subject(&s);
}

/* ---- refusals ---- */

static spry_status run_with(spry_session *session, int32_t count, const char *name, spry_value *in,
                            spry_error *error)
{
    spry_value *out = NULL;
    spry_status status =
        spry_session_run(session, count, &name, (const spry_value *const *)&in, 1, &out, error);

    assert_true(status != SPRY_OK ? out == NULL : out != NULL);
    spry_value_destroy(out);
    return status;
}

static void test_wrong_inputs(void **state)
{
    spry_session_options options = spry_session_options_default();
    const int64_t flat[] = {1, 3, SIDE};
    spry_error error = {0};
    spry_tensor *t = NULL;
    spry_value *in = make_input(NULL, 1);
    spry_value *wrong = NULL;
    subject s = open_subject(&options);

    (void)state;
    assert_int_equal(run_with(s.session, 1, "nobody", in, &error), SPRY_USAGE);
    assert_string_equal(error.where, "nobody");
    assert_int_equal(run_with(s.session, 0, "x", in, &error), SPRY_USAGE);
    assert_non_null(strstr(error.what, "missing"));
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_F32, 3, flat, &t, NULL), SPRY_OK);
    assert_int_equal(spry_value_from_tensor(NULL, t, &wrong, NULL), SPRY_OK);
    assert_int_equal(run_with(s.session, 1, "x", wrong, &error), SPRY_USAGE);
    assert_non_null(strstr(error.what, "f32[1,3,11]"));
    /* A refused run leaves the session usable. */
    assert_int_equal(run_with(s.session, 1, "x", in, &error), SPRY_OK);
    spry_value_destroy(wrong);
    spry_value_destroy(in);
    close_subject(&s);
}

static void test_memory_ceiling(void **state)
{
    spry_session_options options = spry_session_options_default();
    spry_error error = {0};
    spry_value *in = make_input(NULL, 4);
    subject s;

    (void)state;
    options.memory_ceiling = 4096;
    s = open_subject(&options);
    assert_int_equal(run_with(s.session, 1, "x", in, &error), SPRY_LIMIT);
    assert_non_null(strstr(error.what, "4096"));
    spry_value_destroy(in);
    close_subject(&s);
}

static void test_unsupported_is_refused_at_once(void **state)
{
    proto graph = {0};
    proto file = {0};
    spry_model *m = NULL;
    spry_session *session = NULL;
    spry_error error = {0};

    (void)state;
    proto_node(&graph, 1, "Relu", "x", "a");
    proto_node(&graph, 1, "Teleport", "a", "b");
    proto_node(&graph, 1, "Levitate", "b", "y");
    proto_value_info(&graph, 11, "x", SPRY_DTYPE_F32, 1, (const int64_t[]){2});
    proto_value_info(&graph, 12, "y", SPRY_DTYPE_F32, 1, (const int64_t[]){2});
    proto_model(&file, 8, 13, &graph);
    assert_int_equal(spry_model_parse(NULL, file.data, file.size, NULL, &m, NULL), SPRY_OK);
    assert_int_equal(spry_session_create(m, NULL, &session, &error), SPRY_UNSUPPORTED);
    assert_null(session);
    assert_non_null(strstr(error.what, "Teleport"));
    assert_non_null(strstr(error.what, "Levitate"));
    spry_model_destroy(m);
    proto_fini(&file);
}

/* ---- memory running out ---- */

/* A model whose input is "x", and what goes in at the first and at the second run. */
typedef struct life {
    proto file;
    spry_value *inputs[2];
    int32_t output_count;
    bool keep_order;
} life;

static spry_status run_once(const life *l, spry_session *session, const spry_value *in,
                            spry_error *error)
{
    const char *name = "x";
    spry_value *outputs[2] = {NULL, NULL};
    spry_status status = spry_session_run(session, 1, &name, &in, l->output_count, outputs, error);

    for (int i = 0; i < 2; i++) {
        assert_true(status == SPRY_OK || outputs[i] == NULL);
        spry_value_destroy(outputs[i]);
    }
    return status;
}

/* Memory that was lacking in a run is there again in the next, which must then succeed. */
static spry_status run_twice(const life *l, spry_session *session, spry_error *error)
{
    spry_status first = SPRY_OK;

    for (int i = 0; i < 2; i++) {
        spry_status status = run_once(l, session, l->inputs[i], error);

        if (status == SPRY_LIMIT) {
            first = status;
            assert_int_equal(run_once(l, session, l->inputs[i], NULL), SPRY_OK);
        } else if (status != SPRY_OK) {
            return status;
        }
    }
    return first;
}

static spry_status whole_life(const spry_allocator *allocator, void *context, spry_error *error)
{
    const life *l = context;
    spry_session_options options = spry_session_options_default();
    const spry_profile_row *rows = NULL;
    spry_model *m = NULL;
    spry_session *session = NULL;
    spry_trace *trace = NULL;
    spry_status status = spry_model_parse(allocator, l->file.data, l->file.size, NULL, &m, error);

    options.threads = 1;
    options.profile = true;
    options.keep_order = l->keep_order;
    options.allocator = allocator;
    if (status == SPRY_OK) {
        status = spry_trace_create(allocator, &trace, error);
    }
    options.trace = trace;
    if (status == SPRY_OK) {
        status = spry_session_create(m, &options, &session, error);
    }
    if (status == SPRY_OK) {
        status = run_twice(l, session, error);
    }
    if (status == SPRY_OK) {
        assert_true(spry_session_profile(session, &rows) > 0);
    }
    spry_session_destroy(session);
    spry_trace_destroy(trace);
    spry_model_destroy(m);
    return status;
}

static void sweep_life(proto file, spry_value *first, spry_value *second, int32_t output_count)
{
    life l = {.file = file, .inputs = {first, second}, .output_count = output_count};

    assert_true(fault_sweep(whole_life, &l) > 10);
    l.keep_order = true;
    assert_true(fault_sweep(whole_life, &l) > 10);
    spry_value_destroy(first);
    spry_value_destroy(second);
    proto_fini(&l.file);
}

static void test_memory_runs_out(void **state)
{
    (void)state;
    sweep_life(make_network(), make_input(NULL, 2), make_input(NULL, 3), 1);
}

static spry_value *line_of(int64_t count)
{
    spry_tensor *t = NULL;
    spry_value *v = NULL;

    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_F32, 1, &count, &t, NULL), SPRY_OK);
    for (int64_t i = 0; i < count; i++) {
        ((float *)spry_tensor_data(t))[i] = (float)i - 1;
    }
    assert_int_equal(spry_value_from_tensor(NULL, t, &v, NULL), SPRY_OK);
    return v;
}

/* y = 4 x, by a loop; z = its partial sums, negated where x is long. */
static void put_control_flow(proto *graph)
{
    const int64_t three = 3;
    proto loop = {0};
    proto plain = {0};
    proto negated = {0};
    proto attributes = {0};

    proto_node(&loop, 1, "Identity", "go", "on");
    proto_node(&loop, 1, "Add", "sum x", "more");
    proto_node(&loop, 1, "Neg", "more", "each");
    proto_value_info(&loop, 11, "i", SPRY_DTYPE_I64, 0, NULL);
    proto_value_info(&loop, 11, "go", SPRY_DTYPE_BOOL, 0, NULL);
    proto_value_info(&loop, 11, "sum", SPRY_DTYPE_F32, 1, (const int64_t[]){-1});
    proto_value_info(&loop, 12, "on", SPRY_DTYPE_BOOL, 0, NULL);
    proto_value_info(&loop, 12, "more", SPRY_DTYPE_F32, 1, (const int64_t[]){-1});
    proto_value_info(&loop, 12, "each", SPRY_DTYPE_F32, 1, (const int64_t[]){-1});
    proto_attribute_graph(&attributes, "body", &loop);
    proto_tensor(graph, 5, "three", SPRY_DTYPE_I64, 0, NULL, &three, sizeof three);
    proto_node_with(graph, 1, "Loop", "three  x", "y sums", &attributes);

    proto_node(&plain, 1, "Identity", "sums", "kept");
    proto_value_info(&plain, 12, "kept", SPRY_DTYPE_F32, 2, (const int64_t[]){3, -1});
    proto_node(&negated, 1, "Neg", "sums", "turned");
    proto_value_info(&negated, 12, "turned", SPRY_DTYPE_F32, 2, (const int64_t[]){3, -1});
    proto_attribute_graph(&attributes, "then_branch", &plain);
    proto_attribute_graph(&attributes, "else_branch", &negated);
    proto_node(graph, 1, "Size", "x", "size");
    proto_node(graph, 1, "Greater", "size three", "long");
    proto_node_with(graph, 1, "If", "long", "z", &attributes);
    proto_value_info(graph, 12, "y", SPRY_DTYPE_F32, 1, (const int64_t[]){-1});
    proto_value_info(graph, 12, "z", SPRY_DTYPE_F32, 2, (const int64_t[]){3, -1});
}

static void put_sequences(proto *graph)
{
    const int64_t one = 1;
    proto attributes = {0};

    proto_tensor(graph, 5, "one", SPRY_DTYPE_I64, 0, NULL, &one, sizeof one);
    proto_node(graph, 1, "SplitToSequence", "x one", "parts");
    proto_node(graph, 1, "SequenceAt", "parts one", "second");
    proto_node(graph, 1, "SequenceInsert", "parts second", "more");
    proto_node(graph, 1, "SequenceErase", "more one", "fewer");
    proto_attribute_int(&attributes, "axis", 0);
    proto_node_with(graph, 1, "ConcatFromSequence", "fewer", "y", &attributes);
    proto_node(graph, 1, "SequenceLength", "fewer", "z");
    proto_value_info(graph, 12, "y", SPRY_DTYPE_F32, 1, (const int64_t[]){-1});
    proto_value_info(graph, 12, "z", SPRY_DTYPE_I64, 0, NULL);
}

/* Shapes that only the run knows. */
static void put_dynamic_shapes(proto *graph)
{
    const int64_t pair[] = {2, -1};

    proto_tensor(graph, 5, "pair", SPRY_DTYPE_I64, 1, (const int64_t[]){2}, pair, sizeof pair);
    proto_node(graph, 1, "NonZero", "x", "places");
    proto_node(graph, 1, "Shape", "places", "shape");
    proto_node(graph, 1, "ConstantOfShape", "shape", "y");
    proto_node(graph, 1, "Reshape", "x pair", "rows");
    proto_node(graph, 1, "Unique", "rows", "z");
    proto_value_info(graph, 12, "y", SPRY_DTYPE_F32, 2, (const int64_t[]){-1, -1});
    proto_value_info(graph, 12, "z", SPRY_DTYPE_F32, 1, (const int64_t[]){-1});
}

static void test_memory_runs_out_in_unusual_graphs(void **state)
{
    static void (*const makers[])(proto *) = {put_control_flow, put_sequences, put_dynamic_shapes};

    (void)state;
    for (size_t i = 0; i < sizeof makers / sizeof makers[0]; i++) {
        proto graph = {0};
        proto file = {0};

        makers[i](&graph);
        proto_value_info(&graph, 11, "x", SPRY_DTYPE_F32, 1, (const int64_t[]){-1});
        proto_model(&file, 8, 13, &graph);
        sweep_life(file, line_of(2), line_of(4), 2);
    }
}

/* Text in, joined text and its length out: strings belong to the tensors that hold them. */
static void test_memory_runs_out_amid_text(void **state)
{
    static spry_text words[] = {{"one", 3}, {"", 0}, {"three", 5}};
    const int64_t shape[] = {3};
    spry_value *inputs[2] = {NULL, NULL};
    proto graph = {0};
    proto file = {0};

    (void)state;
    for (int i = 0; i < 2; i++) {
        spry_tensor *t = NULL;

        assert_int_equal(
            spry_tensor_wrap(NULL, SPRY_DTYPE_STRING, 1, shape, words, sizeof words, &t, NULL),
            SPRY_OK);
        assert_int_equal(spry_value_from_tensor(NULL, t, &inputs[i], NULL), SPRY_OK);
    }
    proto_node(&graph, 1, "StringConcat", "x x", "twice");
    proto_node(&graph, 1, "StringSplit", "twice", "y z");
    proto_value_info(&graph, 11, "x", SPRY_DTYPE_STRING, 1, (const int64_t[]){-1});
    proto_value_info(&graph, 12, "y", SPRY_DTYPE_STRING, 2, (const int64_t[]){-1, -1});
    proto_value_info(&graph, 12, "z", SPRY_DTYPE_I64, 1, (const int64_t[]){-1});
    proto_model(&file, 9, 20, &graph);
    sweep_life(file, inputs[0], inputs[1], 2);
}

/* Quantised Conv + Relu and Gemm, which become integer operators with packed weights. */
static void test_memory_runs_out_in_integers(void **state)
{
    static const int8_t weights[CHANNELS * CHANNELS] = {1, -2, 3, -4, 5};
    const float scale = 0.05f;
    const int8_t zero = 0;
    proto graph = {0};
    proto file = {0};

    (void)state;
    proto_tensor(&graph, 5, "scale", SPRY_DTYPE_F32, 0, NULL, &scale, sizeof scale);
    proto_tensor(&graph, 5, "zero", SPRY_DTYPE_I8, 0, NULL, &zero, sizeof zero);
    proto_tensor(&graph, 5, "w1", SPRY_DTYPE_I8, 4, (const int64_t[]){8, 3, 3, 3}, weights, 216);
    proto_tensor(&graph, 5, "w2", SPRY_DTYPE_I8, 2, (const int64_t[]){8, CLASSES}, weights, 40);
    proto_node(&graph, 1, "QuantizeLinear", "x scale zero", "xq");
    proto_node(&graph, 1, "DequantizeLinear", "xq scale zero", "xd");
    proto_node(&graph, 1, "DequantizeLinear", "w1 scale zero", "w1d");
    proto_node(&graph, 1, "DequantizeLinear", "w2 scale zero", "w2d");
    proto_node(&graph, 1, "Conv", "xd w1d", "c");
    proto_node(&graph, 1, "Relu", "c", "r");
    proto_node(&graph, 1, "QuantizeLinear", "r scale zero", "rq");
    proto_node(&graph, 1, "DequantizeLinear", "rq scale zero", "rd");
    proto_node(&graph, 1, "GlobalAveragePool", "rd", "mean");
    proto_node(&graph, 1, "QuantizeLinear", "mean scale zero", "mq");
    proto_node(&graph, 1, "DequantizeLinear", "mq scale zero", "md");
    proto_node(&graph, 1, "Flatten", "md", "flat");
    proto_node(&graph, 1, "MatMul", "flat w2d", "m");
    proto_node(&graph, 1, "QuantizeLinear", "m scale zero", "yq");
    proto_node(&graph, 1, "DequantizeLinear", "yq scale zero", "y");
    proto_value_info(&graph, 11, "x", SPRY_DTYPE_F32, 4, (const int64_t[]){-1, 3, SIDE, SIDE});
    proto_value_info(&graph, 12, "y", SPRY_DTYPE_F32, 2, (const int64_t[]){-1, CLASSES});
    proto_model(&file, 8, 13, &graph);
    sweep_life(file, make_input(NULL, 2), make_input(NULL, 3), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_give_the_same_bits),
        cmocka_unit_test(test_optimised_equals_plain),
        cmocka_unit_test(test_many_shapes),
        cmocka_unit_test(test_profile),
        cmocka_unit_test(test_wrong_inputs),
        cmocka_unit_test(test_memory_ceiling),
        cmocka_unit_test(test_unsupported_is_refused_at_once),
        cmocka_unit_test(test_memory_runs_out),
        cmocka_unit_test(test_memory_runs_out_in_unusual_graphs),
        cmocka_unit_test(test_memory_runs_out_amid_text),
        cmocka_unit_test(test_memory_runs_out_in_integers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
