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

static spry_status whole_life(const spry_allocator *allocator, void *context, spry_error *error)
{
    const proto *file = context;
    spry_session_options options = spry_session_options_default();
    const char *name = "x";
    spry_model *m = NULL;
    spry_session *session = NULL;
    spry_value *in = make_input(NULL, 2);
    spry_value *out = NULL;
    spry_status status = spry_model_parse(allocator, file->data, file->size, NULL, &m, error);

    options.threads = 1;
    options.allocator = allocator;
    if (status == SPRY_OK) {
        status = spry_session_create(m, &options, &session, error);
    }
    if (status == SPRY_OK) {
        status =
            spry_session_run(session, 1, &name, (const spry_value *const *)&in, 1, &out, error);
    }
    spry_value_destroy(out);
    spry_value_destroy(in);
    spry_session_destroy(session);
    spry_model_destroy(m);
    return status;
}

static void test_memory_runs_out(void **state)
{
    proto file = make_network();

    (void)state;
    assert_true(fault_sweep(whole_life, &file) > 10);
    proto_fini(&file);
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
