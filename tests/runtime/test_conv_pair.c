/* Blocks that nobody asked for and pools of whole images give the same bits for any number of
 * threads, and again when the next image comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "spry/spry.h"
#include "support/proto.h"

enum {
    BATCH = 3,
    NARROW = 24,
    WIDE = 144,
    HEIGHT = 36,
    WIDTH = 37,
    IMAGE = NARROW * HEIGHT * WIDTH,
    MOST_THREADS = 5
};

/* What a network gives: an image and its mean. */
typedef struct results {
    float image[BATCH * IMAGE];
    float mean[BATCH * NARROW];
} results;

static void add_random(proto *graph, const char *name, uint64_t stream, const int64_t *shape)
{
    spry_random r = spry_random_stream(21, stream);
    size_t count = (size_t)(shape[0] * shape[1] * shape[2] * shape[3]);
    float *values = malloc(count * sizeof *values);

    assert_non_null(values);
    spry_random_fill_uniform(&r, values, count, -0.3f, 0.3f);
    proto_tensor(graph, 5, name, SPRY_DTYPE_F32, 4, shape, values, count * sizeof *values);
    free(values);
}

static void add_ints(proto *attributes, const char *name, int64_t count, int64_t number)
{
    enum { INTS = 7 };
    proto attribute = {0};

    proto_text(&attribute, 1, name);
    for (int64_t i = 0; i < count; i++) {
        proto_int(&attribute, 8, (uint64_t)number);
    }
    proto_int(&attribute, 20, INTS);
    proto_message(attributes, 5, &attribute);
}

/* Pixels, made wide; a depthwise convolution of these; pixels again; their mean. */
static proto make_network(int64_t stride)
{
    proto graph = {0};
    proto file = {0};
    proto depthwise = {0};

    add_ints(&depthwise, "strides", 2, stride);
    add_ints(&depthwise, "pads", 4, 1);
    proto_attribute_int(&depthwise, "group", WIDE);
    proto_node(&graph, 1, "Conv", "x w1", "wide");
    proto_node(&graph, 1, "Relu", "wide", "positive");
    proto_node_with(&graph, 1, "Conv", "positive w2", "depth", &depthwise);
    proto_node(&graph, 1, "Relu", "depth", "active");
    proto_node(&graph, 1, "Conv", "active w3", "y");
    proto_node(&graph, 1, "GlobalAveragePool", "y", "mean");
    proto_text(&graph, 2, "network");
    add_random(&graph, "w1", 1, (const int64_t[]){WIDE, NARROW, 1, 1});
    add_random(&graph, "w2", 2, (const int64_t[]){WIDE, 1, 3, 3});
    add_random(&graph, "w3", 3, (const int64_t[]){NARROW, WIDE, 1, 1});
    proto_value_info(&graph, 11, "x", SPRY_DTYPE_F32, 4,
                     (const int64_t[]){BATCH, NARROW, HEIGHT, WIDTH});
    proto_value_info(
        &graph, 12, "y", SPRY_DTYPE_F32, 4,
        (const int64_t[]){BATCH, NARROW, (HEIGHT - 1) / stride + 1, (WIDTH - 1) / stride + 1});
    proto_value_info(&graph, 12, "mean", SPRY_DTYPE_F32, 4, (const int64_t[]){BATCH, NARROW, 1, 1});
    proto_model(&file, 8, 13, &graph);
    return file;
}

static void copy_result(float *to, size_t most, const spry_value *value)
{
    const spry_tensor *t = spry_value_tensor(value);

    assert_true(spry_tensor_bytes(t) <= most);
    memcpy(to, spry_tensor_const_data(t), spry_tensor_bytes(t));
}

static void run(spry_session *session, uint64_t stream, results *found)
{
    const int64_t shape[] = {BATCH, NARROW, HEIGHT, WIDTH};
    const char *name = "x";
    spry_random r = spry_random_stream(22, stream);
    spry_tensor *t = NULL;
    spry_value *in = NULL;
    spry_value *out[2] = {NULL, NULL};
    spry_error error = {0};

    memset(found, 0, sizeof *found);
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_F32, 4, shape, &t, NULL), SPRY_OK);
    spry_random_fill_uniform(&r, spry_tensor_data(t), (size_t)BATCH * IMAGE, -1.0f, 1.0f);
    assert_int_equal(spry_value_from_tensor(NULL, t, &in, NULL), SPRY_OK);
    if (spry_session_run(session, 1, &name, (const spry_value *const *)&in, 2, out, &error) !=
        SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    copy_result(found->image, sizeof found->image, out[0]);
    copy_result(found->mean, sizeof found->mean, out[1]);
    spry_value_destroy(out[0]);
    spry_value_destroy(out[1]);
    spry_value_destroy(in);
}

static spry_session *open_session(const spry_model *m, int threads, bool keep_order)
{
    spry_session_options options = spry_session_options_default();
    spry_session *session = NULL;

    options.threads = threads;
    options.keep_order = keep_order;
    assert_int_equal(spry_session_create(m, &options, &session, NULL), SPRY_OK);
    return session;
}

static void check_near(const float *a, const float *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_true(a[i] - b[i] < 1e-4f && b[i] - a[i] < 1e-4f);
    }
}

static void check_threads(const spry_model *m)
{
    static results expected[2], found;
    spry_session *session = open_session(m, 1, false);

    for (uint64_t image = 0; image < 2; image++) {
        run(session, image, &expected[image]);
    }
    spry_session_destroy(session);
    session = open_session(m, 1, true);
    run(session, 0, &found);
    check_near(found.image, expected[0].image, BATCH * IMAGE);
    check_near(found.mean, expected[0].mean, BATCH * NARROW);
    spry_session_destroy(session);
    for (int threads = 2; threads <= MOST_THREADS; threads++) {
        session = open_session(m, threads, false);
        for (uint64_t i = 0; i < 6; i++) {
            run(session, i % 2, &found);
            assert_memory_equal(&found, &expected[i % 2], sizeof found);
        }
        spry_session_destroy(session);
    }
}

static void threads_give_the_same_bits(void **state)
{
    (void)state;
    for (int64_t stride = 1; stride <= 2; stride++) {
        proto file = make_network(stride);
        spry_model *m = NULL;

        assert_int_equal(spry_model_parse(NULL, file.data, file.size, NULL, &m, NULL), SPRY_OK);
        check_threads(m);
        spry_model_destroy(m);
        proto_fini(&file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_give_the_same_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
