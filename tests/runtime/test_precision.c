/* options.precision: what bf16 changes, what it leaves alone, and what is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/isa.h"
#include "spry/spry.h"
#include "support/proto.h"

enum { SIDE = 9, INNER = 48, HIDDEN = 70, CLASSES = 40, BATCH = 3 };

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
    spry_random_fill_uniform(&r, values, count, -0.1f, 0.1f);
    proto_tensor(graph, 5, name, SPRY_DTYPE_F32, rank, shape, values, count * sizeof *values);
    free(values);
}

/* Two convolutions, a product between, and one that gives the scores. */
static proto make_network(void)
{
    proto graph = {0};
    proto file = {0};

    proto_node(&graph, 1, "Conv", "x w1", "c1");
    proto_node(&graph, 1, "Relu", "c1", "r1");
    proto_node(&graph, 1, "Conv", "r1 w2", "c2");
    proto_node(&graph, 1, "Relu", "c2", "r2");
    proto_node(&graph, 1, "GlobalAveragePool", "r2", "mean");
    proto_node(&graph, 1, "Flatten", "mean", "flat");
    proto_node(&graph, 1, "Gemm", "flat w3 b3", "hidden");
    proto_node(&graph, 1, "Relu", "hidden", "r3");
    proto_node(&graph, 1, "MatMul", "r3 w4", "scores");
    proto_node(&graph, 1, "Softmax", "scores", "y");
    add_random(&graph, "w1", 1, 4, (const int64_t[]){INNER, 3, 3, 3}); /* 27 products: too few */
    add_random(&graph, "w2", 2, 4, (const int64_t[]){INNER, INNER, 3, 3});
    add_random(&graph, "w3", 3, 2, (const int64_t[]){INNER, HIDDEN});
    add_random(&graph, "b3", 4, 1, (const int64_t[]){HIDDEN});
    add_random(&graph, "w4", 5, 2, (const int64_t[]){HIDDEN, CLASSES});
    proto_value_info(&graph, 11, "x", SPRY_DTYPE_F32, 4, (const int64_t[]){-1, 3, SIDE, SIDE});
    proto_value_info(&graph, 12, "y", SPRY_DTYPE_F32, 2, (const int64_t[]){-1, CLASSES});
    proto_model(&file, 8, 13, &graph);
    return file;
}

static spry_value *make_input(void)
{
    const int64_t shape[] = {BATCH, 3, SIDE, SIDE};
    spry_random r = spry_random_stream(9, 0);
    spry_tensor *t = NULL;
    spry_value *v = NULL;

    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_F32, 4, shape, &t, NULL), SPRY_OK);
    spry_random_fill_uniform(&r, spry_tensor_data(t), (size_t)spry_tensor_count(t), -1.0f, 1.0f);
    assert_int_equal(spry_value_from_tensor(NULL, t, &v, NULL), SPRY_OK);
    return v;
}

/* How many nodes of that type ran in a kernel of bf16. */
static int count_bf16(const spry_session *session, const char *type)
{
    const spry_profile_row *rows;
    int32_t count = spry_session_profile(session, &rows);
    int found = 0;

    for (int32_t i = 0; i < count; i++) {
        found += strcmp(rows[i].type, type) == 0 && strstr(rows[i].kernel, "bf16") != NULL;
    }
    return found;
}

/* Runs the network; the number of nodes in bf16 goes to counts[] by type. */
static void run_network(spry_precision precision, int threads, float *y, int counts[3])
{
    static const char *const types[] = {"Conv", "Gemm", "MatMul"};
    const char *name = "x";
    spry_session_options options = spry_session_options_default();
    proto file = make_network();
    spry_value *in = make_input();
    spry_value *out = NULL;
    spry_model *model = NULL;
    spry_session *session = NULL;

    options.precision = precision;
    options.threads = threads;
    options.profile = true;
    assert_int_equal(spry_model_parse(NULL, file.data, file.size, NULL, &model, NULL), SPRY_OK);
    assert_int_equal(spry_session_create(model, &options, &session, NULL), SPRY_OK);
    assert_int_equal(
        spry_session_run(session, 1, &name, (const spry_value *const *)&in, 1, &out, NULL),
        SPRY_OK);
    assert_int_equal(spry_tensor_dtype(spry_value_tensor(out)), SPRY_DTYPE_F32);
    memcpy(y, spry_tensor_const_data(spry_value_tensor(out)), BATCH * CLASSES * sizeof *y);
    for (int i = 0; i < 3; i++) {
        counts[i] = count_bf16(session, types[i]);
    }
    spry_value_destroy(out);
    spry_value_destroy(in);
    spry_session_destroy(session);
    spry_model_destroy(model);
    proto_fini(&file);
}

static void test_bf16(void **state)
{
    float exact[BATCH * CLASSES];
    float rounded[BATCH * CLASSES];
    float again[BATCH * CLASSES];
    int counts[3];

    (void)state;
    run_network(SPRY_PRECISION_F32, 1, exact, counts);
    assert_true(counts[0] == 0 && counts[1] == 0 && counts[2] == 0);
    run_network(SPRY_PRECISION_BF16, 1, rounded, counts);
    if (isa_has_bf16()) {
        assert_int_equal(counts[0], 1); /* the second convolution */
        assert_int_equal(counts[1], 1);
        assert_int_equal(counts[2], 0); /* the scores */
        assert_memory_not_equal(exact, rounded, sizeof exact);
    } else {
        assert_memory_equal(exact, rounded, sizeof exact);
    }
    for (int i = 0; i < BATCH * CLASSES; i++) {
        assert_true(fabsf(exact[i] - rounded[i]) <= 0.02f * exact[i]);
    }
    run_network(SPRY_PRECISION_BF16, 3, again, counts);
    assert_memory_equal(rounded, again, sizeof again);
}

static spry_status create(spry_precision precision, spry_error *error)
{
    spry_session_options options = spry_session_options_default();
    proto file = make_network();
    spry_model *model = NULL;
    spry_session *session = NULL;
    spry_status status;

    options.precision = precision;
    assert_int_equal(spry_model_parse(NULL, file.data, file.size, NULL, &model, NULL), SPRY_OK);
    status = spry_session_create(model, &options, &session, error);
    spry_session_destroy(session);
    spry_model_destroy(model);
    proto_fini(&file);
    return status;
}

static void test_refused(void **state)
{
    spry_error error = {0};

    (void)state;
    assert_int_equal(create(SPRY_PRECISION_INT8, &error), SPRY_UNSUPPORTED);
    assert_non_null(strstr(error.remedy, "quantize"));
    assert_int_equal(create((spry_precision)3, &error), SPRY_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
