/* Plan caches: with one, a session's results have the same bits, whatever is or is not in its
 * folder.
 * */
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/files.h"
#include "runtime/cache/plan_file.h"
#include "spry/session.h"
#include "support/fault.h"
#include "support/proto.h"
#include "support/sample.h"

enum { NODE = 1, INITIALIZER = 5, INPUT = 11, OUTPUT = 12, CHANNELS = 64, SIDE = 10, SCORES = 64 };

static char folder[64];
static char model_path[96];

/* ---- the model ---- */

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

static void put_weights(proto *g, const char *name, int rank, const int64_t *shape, uint64_t seed,
                        float first)
{
    spry_random r = spry_random_stream(seed, 5);
    int64_t count = 1;
    float *w;

    for (int i = 0; i < rank; i++) {
        count *= shape[i];
    }
    w = malloc((size_t)count * sizeof *w);
    assert_non_null(w);
    spry_random_fill_normal(&r, w, (size_t)count, 0, 0.05f);
    w[0] = first;
    proto_tensor(g, INITIALIZER, name, SPRY_DTYPE_F32, rank, shape, w, (size_t)count * sizeof *w);
    free(w);
}

static void put_bytes(proto *g, const char *name, int rank, const int64_t *shape, int8_t byte,
                      size_t count)
{
    int8_t bytes[SCORES * SCORES];

    for (size_t i = 0; i < count; i++) {
        bytes[i] = (int8_t)(byte + (int8_t)(i % 23));
    }
    proto_tensor(g, INITIALIZER, name, SPRY_DTYPE_I8, rank, shape, bytes, count);
}

/* Convolutions of 3 x 3, by channel, of single pixels; a product of floats and one of bytes. Large
 * weights lie misaligned. A `first` weight that is huge does not suit Winograd's method. */
static void write_model(uint64_t seed, float first)
{
    const float scale = 0.05f;
    proto g = {0};
    proto depthwise = {0};
    proto file = {0};

    proto_text(&g, 2, "net");
    put_weights(&g, "w0", 4, (int64_t[]){CHANNELS, CHANNELS, 1, 1}, seed + 9, 0);
    put_weights(&g, "w1", 4, (int64_t[]){CHANNELS, CHANNELS, 3, 3}, seed, first);
    put_weights(&g, "w2", 4, (int64_t[]){CHANNELS, 1, 3, 3}, seed + 1, 0);
    put_weights(&g, "w3", 4, (int64_t[]){512, CHANNELS, 1, 1}, seed + 2, 0);
    put_weights(&g, "w4", 2, (int64_t[]){512, SCORES}, seed + 3, 0);
    put_bytes(&g, "w5", 2, (int64_t[]){SCORES, SCORES}, (int8_t)(seed % 100), SCORES * SCORES);
    proto_tensor(&g, INITIALIZER, "scale", SPRY_DTYPE_F32, 0, NULL, &scale, sizeof scale);
    put_bytes(&g, "zero", 0, NULL, 0, 1);
    proto_node(&g, NODE, "Conv", "x w0", "start");
    proto_node(&g, NODE, "Conv", "start w1", "a");
    proto_node(&g, NODE, "Relu", "a", "b");
    put_ints(&depthwise, "pads", 4, (int64_t[]){1, 1, 1, 1});
    proto_attribute_int(&depthwise, "group", CHANNELS);
    proto_node_with(&g, NODE, "Conv", "b w2", "c", &depthwise);
    proto_node(&g, NODE, "Conv", "c w3", "d");
    proto_node(&g, NODE, "GlobalAveragePool", "d", "e");
    proto_node(&g, NODE, "Flatten", "e", "f");
    proto_node(&g, NODE, "MatMul", "f w4", "h");
    proto_node(&g, NODE, "QuantizeLinear", "h scale zero", "i");
    proto_node(&g, NODE, "QLinearMatMul", "i scale zero w5 scale zero scale zero", "j");
    proto_node(&g, NODE, "DequantizeLinear", "j scale zero", "y");
    proto_value_info(&g, INPUT, "x", SPRY_DTYPE_F32, 4, (int64_t[]){-1, CHANNELS, SIDE, SIDE});
    proto_value_info(&g, OUTPUT, "y", SPRY_DTYPE_F32, 2, (int64_t[]){-1, SCORES});
    proto_value_info(&g, OUTPUT, "h", SPRY_DTYPE_F32, 2, (int64_t[]){-1, SCORES});
    proto_model(&file, 8, 13, &g);
    assert_int_equal(file_replace(model_path, file.data, file.size, NULL), SPRY_OK);
    proto_fini(&file);
}

/* ---- running ---- */

typedef struct result {
    float y[2][2 * SCORES];
    char report[512];
} result;

/* One run of a session of its own; `cache` may be NULL. */
static spry_status run_once(const spry_model *m, const char *cache, int workers, int64_t batch,
                            const spry_allocator *allocator, result *r, spry_error *error)
{
    static const char *const name = "x";
    spry_session_options options = spry_session_options_default();
    const int64_t shape[] = {batch, CHANNELS, SIDE, SIDE};
    spry_random random = spry_random_stream(1, 0);
    spry_session *session = NULL;
    spry_tensor *x = NULL;
    spry_value *input = NULL;
    spry_value *outputs[2] = {NULL, NULL};
    spry_status status = spry_tensor_create(NULL, SPRY_DTYPE_F32, 4, shape, &x, NULL);

    assert_int_equal(status, SPRY_OK);
    spry_random_fill_normal(&random, spry_tensor_data(x), (size_t)spry_tensor_count(x), 0, 1);
    assert_int_equal(spry_value_from_tensor(NULL, x, &input, NULL), SPRY_OK);
    options.threads = workers;
    options.plan_cache = cache;
    options.allocator = allocator;
    status = spry_session_create(m, &options, &session, error);
    if (status == SPRY_OK) {
        const spry_value *inputs[] = {input};

        status = spry_session_run(session, 1, &name, inputs, 2, outputs, error);
    }
    for (int i = 0; i < 2 && status == SPRY_OK; i++) {
        memcpy(r->y[i], spry_tensor_const_data(spry_value_tensor(outputs[i])),
               (size_t)batch * SCORES * sizeof(float));
    }
    if (status == SPRY_OK) {
        (void)snprintf(r->report, sizeof r->report, "%s", spry_session_plan_cache(session));
    }
    spry_value_destroy(outputs[0]);
    spry_value_destroy(outputs[1]);
    spry_value_destroy(input);
    spry_session_destroy(session);
    return status;
}

/* Loads the model, runs it with the cache, and compares with a run without; the report begins with
 * `said`. */
static void check_with(int workers, int64_t batch, const char *said)
{
    spry_model *m = NULL;
    result plain = {0};
    result cached = {0};

    assert_int_equal(spry_model_load(NULL, model_path, &m, NULL), SPRY_OK);
    assert_int_equal(run_once(m, folder, workers, batch, NULL, &cached, NULL), SPRY_OK);
    assert_int_equal(run_once(m, NULL, workers, batch, NULL, &plain, NULL), SPRY_OK);
    assert_memory_equal(cached.y, plain.y, sizeof plain.y);
    assert_string_equal(plain.report, "off");
    if (strncmp(cached.report, said, strlen(said)) != 0) {
        fail_msg("\"%s\", expected \"%s\"", cached.report, said);
    }
    spry_model_destroy(m);
}

/* The only file in the folder, by way of the report. */
static void path_of_file(char path[128])
{
    spry_model *m = NULL;
    result r = {0};

    assert_int_equal(spry_model_load(NULL, model_path, &m, NULL), SPRY_OK);
    assert_int_equal(run_once(m, folder, 1, 1, NULL, &r, NULL), SPRY_OK);
    assert_memory_equal(r.report, "read: ", 6);
    (void)snprintf(path, 128, "%.120s", r.report + 6);
    spry_model_destroy(m);
}

/* ---- tests ---- */

static void test_cold_and_warm(void **state)
{
    (void)state;
    write_model(1, 0);
    check_with(1, 1, "written: ");
    check_with(1, 1, "read: ");
    check_with(2, 1, "written: "); /* pieces, and what is packed, may depend on the team */
    check_with(1, 2, "written: "); /* other shapes */
    check_with(2, 1, "read: ");
    check_with(1, 2, "read: ");
    check_with(1, 1, "read: ");
}

/* A file of the same name is another model; nothing of the old one is used. */
static void test_other_model(void **state)
{
    (void)state;
    write_model(1, 0);
    check_with(1, 1, "");
    check_with(1, 1, "read: ");
    write_model(50, 0);
    check_with(1, 1, "ignored what was there: it is of another model");
    check_with(1, 1, "read: ");
}

static int64_t count_refused(void)
{
    char path[128];
    plan_file file;
    file_map map;
    uint64_t key;
    int64_t count = 0;

    path_of_file(path);
    assert_int_equal(file_map_open(path, UINT64_MAX, &map, NULL), SPRY_OK);
    memcpy(&key, map.data + 16, sizeof key);
    assert_null(plan_file_read(map.data, map.size, key, &file));
    for (int64_t i = 0; i < file.count; i++) {
        count += plan_file_record(&file, i).refused;
    }
    file_map_close(&map);
    return count;
}

/* Weights that Winograd's method refuses are refused again, and what replaces them is kept. Others
 * are refused in any case: they have no zeros to skip. */
static void test_refused_weights(void **state)
{
    int64_t others;

    (void)state;
    write_model(1, 0);
    check_with(1, 1, "");
    others = count_refused();
    write_model(1, 3.2e38f);
    check_with(1, 1, "");
    assert_true(count_refused() > others);
    check_with(1, 1, "read: ");
}

static void damage(const char *path, spry_random *r, size_t size, bool is_cut)
{
    uint8_t *bytes = malloc(size);
    FILE *f = fopen(path, "rb");
    size_t at = spry_random_below(r, spry_random_below(r, 2) == 0 ? 600 : size);

    assert_true(bytes != NULL && f != NULL && fread(bytes, 1, size, f) == size);
    (void)fclose(f);
    bytes[at] ^= (uint8_t)(1u << spry_random_below(r, 8));
    assert_int_equal(file_replace(path, bytes, is_cut ? at : size, NULL), SPRY_OK);
    free(bytes);
}

/* Whatever bit or end is wrong: what is there is left alone, and written anew. */
static void test_damage(void **state)
{
    enum { ROUNDS = 40 };
    spry_random r = spry_random_stream(8, 0);
    char path[128];

    (void)state;
    write_model(2, 0);
    check_with(1, 1, "");
    path_of_file(path);
    for (int i = 0; i < ROUNDS; i++) {
        file_map map;
        spry_model *m = NULL;
        result got = {0};

        assert_int_equal(file_map_open(path, UINT64_MAX, &map, NULL), SPRY_OK);
        size_t size = map.size;
        file_map_close(&map);
        damage(path, &r, size, i % 2 == 0);
        assert_int_equal(spry_model_load(NULL, model_path, &m, NULL), SPRY_OK);
        assert_int_equal(run_once(m, folder, 1, 1, NULL, &got, NULL), SPRY_OK);
        /* A bit between blobs says nothing and harms nobody. */
        if (strncmp(got.report, "read: ", 6) != 0) {
            assert_memory_equal(got.report, "ignored what was there: ", 24);
            assert_non_null(strstr(got.report, "; written anew"));
        }
        spry_model_destroy(m);
        check_with(1, 1, "read: ");
    }
}

/* Neither a folder that is not there nor a full disk fails a run; nothing is left behind. */
static void test_no_room(void **state)
{
    char inside[128];
    struct rlimit before;
    struct rlimit small;
    spry_model *m = NULL;
    result got = {0};
    result plain = {0};

    (void)state;
    write_model(3, 0);
    assert_int_equal(spry_model_load(NULL, model_path, &m, NULL), SPRY_OK);
    assert_int_equal(run_once(m, NULL, 1, 1, NULL, &plain, NULL), SPRY_OK);
    (void)snprintf(inside, sizeof inside, "%s/not/there", folder);
    assert_int_equal(run_once(m, inside, 1, 1, NULL, &got, NULL), SPRY_OK);
    assert_memory_equal(got.y, plain.y, sizeof plain.y);
    assert_memory_equal(got.report, "not written: ", 13);
    (void)snprintf(inside, sizeof inside, "%s/full", folder);
    assert_int_equal(file_make_folder(inside, NULL), SPRY_OK);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 100000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(run_once(m, inside, 1, 1, NULL, &got, NULL), SPRY_OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_memory_equal(got.y, plain.y, sizeof plain.y);
    assert_memory_equal(got.report, "not written: ", 13);
    assert_int_equal(rmdir(inside), 0); /* it is empty */
    spry_model_destroy(m);
}

/* Models that are not files are not known by anything. */
static void test_memory(void **state)
{
    file_map map;
    spry_model *m = NULL;
    result r = {0};

    (void)state;
    write_model(1, 0);
    assert_int_equal(file_map_open(model_path, UINT64_MAX, &map, NULL), SPRY_OK);
    assert_int_equal(spry_model_parse(NULL, map.data, map.size, NULL, &m, NULL), SPRY_OK);
    assert_int_equal(run_once(m, folder, 1, 1, NULL, &r, NULL), SPRY_OK);
    assert_memory_equal(r.report, "off: ", 5);
    spry_model_destroy(m);
    file_map_close(&map);
}

/* Several sessions that write the same file, and read it meanwhile. */
static void *run_some(void *context)
{
    result *r = context;
    spry_model *m = NULL;

    for (int i = 0; i < 3; i++) {
        if (spry_model_load(NULL, model_path, &m, NULL) != SPRY_OK ||
            run_once(m, folder, 1, 1, NULL, r, NULL) != SPRY_OK) {
            (void)snprintf(r->report, sizeof r->report, "failed");
        }
        spry_model_destroy(m);
    }
    return NULL;
}

static void test_side_by_side(void **state)
{
    enum { THREADS = 4 };
    pthread_t ids[THREADS];
    static result results[THREADS];

    (void)state;
    write_model(4, 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&ids[i], NULL, run_some, &results[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(ids[i], NULL), 0);
        assert_string_not_equal(results[i].report, "failed");
        assert_memory_equal(results[i].y, results[0].y, sizeof results[0].y);
    }
    check_with(1, 1, "read: ");
}

/* Memory that runs out, with a file to read and without. */
static spry_status run_with(const spry_allocator *allocator, void *context, spry_error *error)
{
    result r = {0};

    return run_once(context, folder, 1, 1, allocator, &r, error);
}

static void test_no_memory(void **state)
{
    spry_model *m = NULL;

    (void)state;
    write_model(5, 0);
    assert_int_equal(spry_model_load(NULL, model_path, &m, NULL), SPRY_OK);
    (void)fault_sweep(run_with, m);
    (void)fault_sweep(run_with, m);
    spry_model_destroy(m);
}

/* ---- the file ---- */

static void test_file(void **state)
{
    static const uint8_t small[] = {1, 2, 3};
    static uint8_t large[600000];
    const void *blobs[] = {small, large, ""};
    plan_record records[] = {{.bytes = 3, .step = 0, .kind = 7},
                             {.bytes = sizeof large, .step = 2, .spent = 2},
                             {.step = 2, .refused = 1}};
    char path[128];
    file_writer *writer = NULL;
    plan_file file;
    file_map map;

    (void)state;
    large[5] = 9;
    (void)snprintf(path, sizeof path, "%s/file", folder);
    assert_int_equal(file_writer_open(NULL, path, &writer, NULL), SPRY_OK);
    assert_int_equal(plan_file_write(writer, 77, records, blobs, 3, threads_single(), NULL),
                     SPRY_OK);
    assert_int_equal(file_writer_commit_soon(writer, NULL), SPRY_OK);
    file_writer_close(writer);
    assert_int_equal(file_map_open(path, UINT64_MAX, &map, NULL), SPRY_OK);
    assert_string_equal(plan_file_read(map.data, map.size, 78, &file),
                        "it is of another model, build or machine");
    assert_null(plan_file_read(map.data, map.size, 77, &file));
    assert_int_equal(file.count, 3);
    for (int64_t i = 0; i < 3; i++) {
        plan_record r = plan_file_record(&file, i);

        assert_int_equal(r.offset % PLAN_FILE_ALIGN, 0);
        assert_int_equal(r.bytes, records[i].bytes);
        assert_int_equal(r.step, records[i].step);
        assert_memory_equal(map.data + r.offset, blobs[i], r.bytes);
    }
    assert_true(plan_file_is_whole(&file, threads_single()));
    assert_non_null(plan_file_read(map.data, map.size - 1, 77, &file));
    assert_non_null(plan_file_read(map.data, 10, 77, &file));
    assert_non_null(plan_file_read((const uint8_t *)"", 0, 77, &file));
    file_map_close(&map);
    assert_int_equal(unlink(path), 0);
}

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/spry_plan_cache_XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(model_path, sizeof model_path, "%s/model.onnx", folder);
    return 0;
}

static int remove_folder(void **state)
{
    char command[128];

    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file),        cmocka_unit_test(test_cold_and_warm),
        cmocka_unit_test(test_other_model), cmocka_unit_test(test_refused_weights),
        cmocka_unit_test(test_damage),      cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_memory),      cmocka_unit_test(test_side_by_side),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests_name("runtime/plan_cache", tests, make_folder, remove_folder);
}
