/* Weights give the same results wherever they lie in a file: those that lie misaligned are copied
 * when they are read, and again when they are read again. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/weights.h"
#include "spry/spry.h"
#include "support/proto.h"

enum { CHANNELS = 48, SIDE = 6, WIDE = 360, IMAGE = CHANNELS * SIDE * SIDE, MOST_BATCH = 3 };

static void add_random(proto *net, const char *name, uint64_t stream, int rank,
                       const int64_t *shape, float low, float high)
{
    spry_random r = spry_random_stream(11, stream);
    size_t count = 1;
    float *values;

    for (int i = 0; i < rank; i++) {
        count *= (size_t)shape[i];
    }
    values = malloc(count * sizeof *values);
    assert_non_null(values);
    spry_random_fill_uniform(&r, values, count, low, high);
    proto_tensor(net, 5, name, SPRY_DTYPE_F32, rank, shape, values, count * sizeof *values);
    free(values);
}

/* Convolutions, one of them with a normalization that changes its weights; products; weights that
 * are read twice, as a product's and as numbers; a table that is only read as numbers. */
static proto make_network(void)
{
    static const char *const norm[] = {"scale", "shift", "mean", "variance"};
    const int64_t kernel[] = {CHANNELS, CHANNELS, 3, 3};
    const int64_t channels[] = {CHANNELS};
    proto net = {0};
    proto file = {0};

    proto_node(&net, 1, "Conv", "x w1", "c1");
    proto_node(&net, 1, "BatchNormalization", "c1 scale shift mean variance", "n1");
    proto_node(&net, 1, "Relu", "n1", "r1");
    proto_node(&net, 1, "Conv", "r1 w2", "c2");
    proto_node(&net, 1, "GlobalAveragePool", "c2", "mean2");
    proto_node(&net, 1, "Flatten", "mean2", "flat");
    proto_node(&net, 1, "MatMul", "flat up", "wide");
    proto_node(&net, 1, "MatMul", "flat both", "other");
    proto_node(&net, 1, "ReduceMean", "both", "average");
    proto_node(&net, 1, "Add", "wide average", "sum");
    proto_node(&net, 1, "Add", "sum other", "y");
    proto_text(&net, 2, "network");
    add_random(&net, "w1", 1, 4, kernel, -0.1f, 0.1f);
    add_random(&net, "w2", 2, 4, kernel, -0.1f, 0.1f);
    for (uint64_t i = 0; i < 4; i++) {
        add_random(&net, norm[i], 3 + i, 1, channels, 0.5f, 1.5f);
    }
    add_random(&net, "up", 7, 2, (const int64_t[]){CHANNELS, WIDE}, -0.5f, 0.5f);
    add_random(&net, "both", 8, 2, (const int64_t[]){CHANNELS, WIDE}, -0.5f, 0.5f);
    proto_value_info(&net, 11, "x", SPRY_DTYPE_F32, 4, (const int64_t[]){-1, CHANNELS, SIDE, SIDE});
    proto_value_info(&net, 12, "y", SPRY_DTYPE_F32, 2, (const int64_t[]){-1, WIDE});
    proto_model(&file, 8, 13, &net);
    return file;
}

/* The file at an address that leaves `shift` when divided by 16. */
typedef struct shifted {
    uint8_t *memory;
    spry_model *model;
} shifted;

static shifted parse_at(const proto *file, size_t shift)
{
    shifted s = {.memory = aligned_alloc(16, (file->size + shift + 15) / 16 * 16)};

    assert_non_null(s.memory);
    memcpy(s.memory + shift, file->data, file->size);
    assert_int_equal(spry_model_parse(NULL, s.memory + shift, file->size, NULL, &s.model, NULL),
                     SPRY_OK);
    return s;
}

static void close_shifted(shifted *s)
{
    spry_model_destroy(s->model);
    free(s->memory);
}

static spry_status run_batch(spry_session *session, int64_t batch, float *y)
{
    const int64_t shape[] = {batch, CHANNELS, SIDE, SIDE};
    const char *name = "x";
    spry_random r = spry_random_stream(12, 0);
    spry_tensor *t = NULL;
    spry_value *in = NULL;
    spry_value *out = NULL;
    spry_status status;

    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_F32, 4, shape, &t, NULL), SPRY_OK);
    spry_random_fill_uniform(&r, spry_tensor_data(t), (size_t)(batch * IMAGE), -1.0f, 1.0f);
    assert_int_equal(spry_value_from_tensor(NULL, t, &in, NULL), SPRY_OK);
    status = spry_session_run(session, 1, &name, (const spry_value *const *)&in, 1, &out, NULL);
    if (status == SPRY_OK) {
        memcpy(y, spry_value_tensor(out)->data, (size_t)(batch * WIDE) * sizeof(float));
    }
    spry_value_destroy(out);
    spry_value_destroy(in);
    return status;
}

/* What a model gives for batches of 1, 2, ...: their bits may differ. */
typedef float results[MOST_BATCH][MOST_BATCH * WIDE];

static void run_batches(const spry_model *m, results expected)
{
    spry_session *session = NULL;

    assert_int_equal(spry_session_create(m, NULL, &session, NULL), SPRY_OK);
    for (int64_t batch = 1; batch <= MOST_BATCH; batch++) {
        assert_int_equal(run_batch(session, batch, expected[batch - 1]), SPRY_OK);
    }
    spry_session_destroy(session);
}

/* Two sessions of one model, each with plans for several batches: weights are packed again. */
static void check_sessions(const spry_model *m, results expected)
{
    static float y[MOST_BATCH * WIDE];
    spry_session *sessions[2];

    for (int i = 0; i < 2; i++) {
        spry_session_options options = spry_session_options_default();

        options.threads = i + 1;
        options.keep_order = expected == NULL;
        assert_int_equal(spry_session_create(m, &options, &sessions[i], NULL), SPRY_OK);
    }
    for (int64_t batch = MOST_BATCH; batch >= 1; batch--) {
        for (int i = 0; i < 2; i++) {
            assert_int_equal(run_batch(sessions[i], batch, y), SPRY_OK);
            if (expected != NULL) {
                assert_memory_equal(y, expected[batch - 1], (size_t)(batch * WIDE) * sizeof(float));
            }
        }
    }
    spry_session_destroy(sessions[0]);
    spry_session_destroy(sessions[1]);
}

static void any_place_gives_the_same(void **state)
{
    static results expected;
    proto file = make_network();

    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        shifted s = parse_at(&file, shift);

        if (shift == 0) {
            run_batches(s.model, expected);
        }
        check_sessions(s.model, expected);
        check_sessions(s.model, NULL); /* operators as written read weights where they lie */
        close_shifted(&s);
    }
    proto_fini(&file);
}

/* What is written after a session has packed the weights is the model that was read. */
static void saving_reads_weights_again(void **state)
{
    static results expected;
    char path[] = "/tmp/spry_weights_XXXXXX";
    int descriptor = mkstemp(path);
    proto file = make_network();

    (void)state;
    assert_true(descriptor >= 0);
    (void)close(descriptor);
    for (size_t shift = 0; shift < 4; shift++) {
        shifted s = parse_at(&file, shift);
        spry_model *read = NULL;

        run_batches(s.model, expected);
        assert_int_equal(spry_model_save(s.model, path, NULL), SPRY_OK);
        assert_int_equal(spry_model_load(NULL, path, &read, NULL), SPRY_OK);
        check_sessions(read, expected);
        spry_model_destroy(read);
        close_shifted(&s);
    }
    (void)unlink(path);
    proto_fini(&file);
}

static const tensor *constant_of(const spry_model *m, const char *name)
{
    for (int32_t i = 0; i < m->main->value_count; i++) {
        if (strcmp(m->main->values[i].name, name) == 0) {
            return m->main->values[i].constant;
        }
    }
    return NULL;
}

static void check_weights(const spry_model *m, const char *name, const proto *file)
{
    const tensor *t = constant_of(m, name);

    assert_non_null(t);
    assert_int_equal((uintptr_t)t->data % sizeof(float), 0);
    assert_non_null(memmem(file->data, file->size, t->data, t->bytes));
}

static void holders_are_counted(void **state)
{
    proto file = make_network();

    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        shifted s = parse_at(&file, shift);
        const tensor *t = constant_of(s.model, "w2");
        tensor foreign = *t;
        spry_model *copy = NULL;

        check_weights(s.model, "both", &file); /* held since it was read */
        for (int round = 0; round < 2; round++) {
            assert_int_equal(model_weights_hold(s.model, t, NULL), SPRY_OK);
            assert_int_equal(model_weights_hold(s.model, t, NULL), SPRY_OK);
            model_weights_drop(s.model, t);
            check_weights(s.model, "w2", &file);
            model_weights_drop(s.model, t);
        }
        foreign.data = &foreign;
        assert_int_equal(model_weights_hold(s.model, &foreign, NULL), SPRY_OK);
        model_weights_drop(s.model, &foreign);
        assert_int_equal(model_weights_hold(NULL, t, NULL), SPRY_OK);
        assert_int_equal(model_copy(s.model, &copy, NULL), SPRY_OK);
        check_weights(copy, "w1", &file);
        check_weights(copy, "up", &file);
        spry_model_destroy(copy);
        check_weights(s.model, "w1", &file);
        close_shifted(&s);
    }
    proto_fini(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_place_gives_the_same),
        cmocka_unit_test(saving_reads_weights_again),
        cmocka_unit_test(holders_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
