/* Feeds: which dimension takes which size, what files and random numbers become, memory running
 * out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "spry/feed.h"
#include "spry/image.h"
#include "spry/tensor_file.h"
#include "support/data.h"
#include "support/fault.h"

/* One of the models that the tests of whole commands use. */
static spry_model *load_model(const char *name)
{
    const char *root = getenv("SPRY_SOURCE_DIR");
    char path[1024];
    spry_model *model = NULL;

    (void)snprintf(path, sizeof path, "%s/tests/cli/models/%s.onnx", root != NULL ? root : ".",
                   name);
    assert_int_equal(spry_model_load(NULL, path, &model, NULL), SPRY_OK);
    return model;
}

static spry_feed *make_feed(const spry_model *model)
{
    spry_feed *feed = NULL;

    assert_int_equal(spry_feed_create(NULL, model, &feed, NULL), SPRY_OK);
    return feed;
}

static spry_tensor *make_tensor(spry_dtype dtype, int64_t rows)
{
    const int64_t shape[] = {rows, 2};
    spry_tensor *t = NULL;

    assert_int_equal(spry_tensor_create(NULL, dtype, 2, shape, &t, NULL), SPRY_OK);
    return t;
}

static const spry_tensor *tensor_at(const spry_feed *feed, int32_t index)
{
    return spry_value_tensor(spry_feed_value(feed, index));
}

static void dimensions_are_bound_assumed_or_learned(void **state)
{
    spry_model *model = load_model("sum");
    spry_feed *feed = make_feed(model);
    spry_value *value = NULL;
    spry_error error;

    (void)state;
    assert_int_equal(spry_feed_count(feed), 2);
    assert_string_equal(spry_feed_name(feed, 1), "b");
    assert_int_equal(spry_feed_dimension_count(feed), 1);
    assert_string_equal(spry_feed_dimension_at(feed, 0).name, "batch");
    assert_true(spry_feed_dimension_at(feed, 0).is_assumed);
    assert_int_equal(spry_feed_set_dimension(feed, "bath", 2, &error), SPRY_USAGE);
    assert_non_null(strstr(error.remedy, "batch"));
    assert_int_equal(spry_feed_set_dimension(feed, "batch", -1, &error), SPRY_USAGE);
    assert_int_equal(spry_feed_set_dimension(feed, "batch", (int64_t)1 << 40, &error), SPRY_USAGE);

    assert_int_equal(spry_value_from_tensor(NULL, make_tensor(SPRY_DTYPE_F32, 7), &value, NULL),
                     SPRY_OK);
    assert_int_equal(spry_feed_set(feed, "a", value, &error), SPRY_OK);
    assert_int_equal(spry_feed_dimension_at(feed, 0).size, 7);
    assert_false(spry_feed_dimension_at(feed, 0).is_assumed);
    assert_int_equal(spry_feed_fill_random(feed, 1, &error), SPRY_OK);
    assert_int_equal(spry_tensor_shape(tensor_at(feed, 1))[0], 7);
    assert_true(spry_feed_is_random(feed, 1));
    assert_false(spry_feed_is_random(feed, 0));

    assert_int_equal(spry_value_from_tensor(NULL, make_tensor(SPRY_DTYPE_F32, 7), &value, NULL),
                     SPRY_OK);
    assert_int_equal(spry_feed_set(feed, "c", value, &error), SPRY_USAGE);
    spry_feed_destroy(feed);
    spry_model_destroy(model);
}

static void random_integers_are_valid_tokens(void **state)
{
    spry_model *model = load_model("words");
    spry_feed *feed = make_feed(model);
    const int64_t *ids;
    const int64_t *mask;
    int64_t largest = 0;

    (void)state;
    assert_int_equal(spry_feed_set_dimension(feed, "tokens", 1000, NULL), SPRY_OK);
    assert_int_equal(spry_feed_fill_random(feed, 3, NULL), SPRY_OK);
    ids = spry_tensor_const_data(tensor_at(feed, 0));
    mask = spry_tensor_const_data(tensor_at(feed, 1));
    for (int i = 0; i < 1000; i++) {
        assert_in_range(ids[i], 0, 99);
        assert_int_equal(mask[i], 1);
        largest = ids[i] > largest ? ids[i] : largest;
    }
    assert_in_range(largest, 90, 99);
    spry_feed_destroy(feed);
    spry_model_destroy(model);
}

static void files_feed_inputs(void **state)
{
    spry_model *model = load_model("sum");
    spry_feed *feed = make_feed(model);
    char folder[256];
    char archive[512];
    char single[512];
    spry_tensor *tensors[] = {make_tensor(SPRY_DTYPE_F32, 3), make_tensor(SPRY_DTYPE_F32, 3),
                              make_tensor(SPRY_DTYPE_F32, 5)};
    const char *names[] = {"b", "other", "a"};
    spry_error error;

    (void)state;
    (void)snprintf(folder, sizeof folder, "%s", data_make_folder());
    (void)snprintf(archive, sizeof archive, "%s/all.npz", folder);
    (void)snprintf(single, sizeof single, "%s/one.npy", folder);
    assert_int_equal(
        spry_archive_save(archive, 3, names, (const spry_tensor *const *)tensors, &error), SPRY_OK);
    assert_int_equal(spry_tensor_save(tensors[2], single, &error), SPRY_OK);

    assert_int_equal(spry_feed_load(feed, NULL, archive, NULL, &error), SPRY_OK);
    assert_int_equal(spry_tensor_shape(tensor_at(feed, 0))[0], 5);
    assert_int_equal(spry_tensor_shape(tensor_at(feed, 1))[0], 3);
    assert_int_equal(spry_feed_load(feed, "b", single, NULL, &error), SPRY_OK);
    assert_int_equal(spry_tensor_shape(tensor_at(feed, 1))[0], 5);
    assert_int_equal(spry_feed_load(feed, NULL, single, NULL, &error), SPRY_USAGE);
    assert_int_equal(spry_feed_load(feed, "c", single, NULL, &error), SPRY_USAGE);
    assert_int_equal(
        spry_archive_save(archive, 2, names + 1, (const spry_tensor *const *)tensors, &error),
        SPRY_OK);
    assert_int_equal(spry_feed_load(feed, "b", archive, NULL, &error), SPRY_USAGE);
    for (int i = 0; i < 3; i++) {
        spry_tensor_destroy(tensors[i]);
    }
    spry_feed_destroy(feed);
    spry_model_destroy(model);
    data_remove_folder(folder);
}

static spry_status make_and_fill(const spry_allocator *allocator, void *context, spry_error *error)
{
    spry_feed *feed = NULL;
    spry_status status = spry_feed_create(allocator, context, &feed, error);

    if (status == SPRY_OK) {
        status = spry_feed_fill_random(feed, 0, error);
    }
    spry_feed_destroy(feed);
    return status;
}

/* A feed of `model` from `file`, run by a session. */
typedef struct file_work {
    const spry_model *model;
    const char *file;
} file_work;

static spry_status load_and_run(const spry_allocator *allocator, void *context, spry_error *error)
{
    const file_work *work = context;
    spry_session_options options = spry_session_options_default();
    spry_feed *feed = NULL;
    spry_session *session = NULL;
    spry_value *outputs[2] = {NULL, NULL};
    spry_status status = spry_feed_create(allocator, work->model, &feed, error);

    options.threads = 1;
    options.allocator = allocator;
    if (status == SPRY_OK) {
        status = spry_feed_load(feed, NULL, work->file, NULL, error);
    }
    if (status == SPRY_OK) {
        status = spry_session_create(work->model, &options, &session, error);
    }
    if (status == SPRY_OK) {
        status = spry_feed_run(feed, session, spry_feed_output_count(feed), outputs, error);
    }
    spry_value_destroy(outputs[0]);
    spry_value_destroy(outputs[1]);
    spry_session_destroy(session);
    spry_feed_destroy(feed);
    return status;
}

static void sweep_file(const char *model_name, const char *file)
{
    spry_model *model = load_model(model_name);
    file_work work = {.model = model, .file = file};

    assert_true(fault_sweep(load_and_run, &work) > 5);
    spry_model_destroy(model);
}

static void memory_running_out(void **state)
{
    const int64_t picture_shape[] = {6, 5, 3};
    const char *const names[] = {"a", "b"};
    spry_model *model = load_model("sum");
    spry_tensor *rows = make_tensor(SPRY_DTYPE_F32, 3);
    spry_tensor *wide = NULL;
    spry_tensor *picture = NULL;
    char folder[256];
    const char *path;

    (void)state;
    (void)snprintf(folder, sizeof folder, "%s", data_make_folder());
    assert_true(fault_sweep(make_and_fill, model) > 2);
    spry_model_destroy(model);

    path = data_join(folder, "rows.npz");
    assert_int_equal(
        spry_archive_save(path, 2, names, (const spry_tensor *const[]){rows, rows}, NULL), SPRY_OK);
    sweep_file("sum", path);
    path = data_join(folder, "narrow.npy"); /* widened to f32: the feed narrows it */
    assert_int_equal(spry_tensor_save(rows, path, NULL), SPRY_OK);
    sweep_file("narrow", path);
    path = data_join(folder, "points.bin");
    assert_int_equal(
        spry_tensor_create(NULL, SPRY_DTYPE_F32, 2, (const int64_t[]){1, 3}, &wide, NULL), SPRY_OK);
    assert_int_equal(spry_tensor_save(wide, path, NULL), SPRY_OK);
    sweep_file("points", path);
    path = data_join(folder, "picture.png");
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_U8, 3, picture_shape, &picture, NULL),
                     SPRY_OK);
    assert_int_equal(spry_image_save_png(picture, path, NULL), SPRY_OK);
    sweep_file("scores", path);
    spry_tensor_destroy(picture);
    spry_tensor_destroy(wide);
    spry_tensor_destroy(rows);
    data_remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dimensions_are_bound_assumed_or_learned),
        cmocka_unit_test(random_integers_are_valid_tokens),
        cmocka_unit_test(files_feed_inputs),
        cmocka_unit_test(memory_running_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
