/* Training of models with several inputs, and of samples that belong together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "architecture/builder.h"
#include "spry/architecture.h"
#include "spry/random.h"
#include "spry/tensor_file.h"
#include "support/data.h"
#include "support/lesson.h"

enum { NODES = 48, FEATURES = 5, CLASSES = 3, ARRAYS = 6 };

static char folder[256];
static spry_error error;

static int open_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "%s", data_make_folder());
    return 0;
}

static int close_folder(void **state)
{
    (void)state;
    data_remove_folder(folder);
    return 0;
}

/* ---- data ---- */

typedef struct archive {
    int32_t count;
    const char *names[ARRAYS];
    spry_tensor *arrays[ARRAYS];
} archive;

static void *add_array(archive *a, const char *name, spry_dtype dtype, int rank,
                       const int64_t *shape)
{
    a->names[a->count] = name;
    assert_int_equal(spry_tensor_create(NULL, dtype, rank, shape, &a->arrays[a->count], NULL),
                     SPRY_OK);
    return spry_tensor_data(a->arrays[a->count++]);
}

static spry_dataset *save(archive *a, const char *name)
{
    const char *path = data_join(folder, name);
    char description[512];
    spry_dataset *d = NULL;

    assert_int_equal(
        spry_archive_save(path, a->count, a->names, (const spry_tensor *const *)a->arrays, NULL),
        SPRY_OK);
    for (int32_t i = 0; i < a->count; i++) {
        spry_tensor_destroy(a->arrays[i]);
    }
    (void)snprintf(description, sizeof description, "npz:%s", path);
    if (spry_dataset_open(NULL, description, &d, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    return d;
}

/* A ring of three communities with noisy features: neighbours tell what a node alone does not. Half
 * of the nodes are learnt from; `wrong` spoils the labels of the others. */
static spry_dataset *make_graph(const char *name, bool wrong)
{
    const int64_t features_shape[] = {NODES, FEATURES};
    const int64_t square[] = {NODES, NODES};
    archive a = {.count = 0};
    spry_random random = spry_random_stream(3, 0);
    float *adjacency = add_array(&a, "adjacency", SPRY_DTYPE_F32, 2, square);
    float *features = add_array(&a, "features", SPRY_DTYPE_F32, 2, features_shape);
    int64_t *labels = add_array(&a, "labels", SPRY_DTYPE_I64, 1, square);
    uint8_t *learnt = add_array(&a, "learnt", SPRY_DTYPE_BOOL, 1, square);
    float *tested = add_array(&a, "tested", SPRY_DTYPE_F32, 1, square);

    spry_random_fill_normal(&random, features, NODES * FEATURES, 0.0f, 1.0f);
    for (int64_t i = 0; i < NODES; i++) {
        int64_t community = i * CLASSES / NODES;

        learnt[i] = i % 2 == 0;
        tested[i] = i % 2 == 0 ? 0.0f : 1.0f;
        labels[i] = wrong && i % 2 == 1 ? (community + 1) % CLASSES : community;
        features[i * FEATURES + community] += 1.0f;
        for (int64_t k = -2; k <= 2; k++) {
            int64_t other = (i + k + NODES) % NODES;

            adjacency[i * NODES + other] = 0.2f;
        }
    }
    return save(&a, name);
}

static spry_model *make_gcn(void)
{
    spry_architecture_options o = spry_architecture_options_default();
    spry_model *m = NULL;

    o.classes = CLASSES;
    o.features = FEATURES;
    assert_int_equal(spry_architecture_create(NULL, "gcn", &o, &m, &error), SPRY_OK);
    return m;
}

static spry_train_options graph_options(spry_dataset *d)
{
    spry_train_options o = spry_train_options_default();

    o.data = d;
    o.whole = true;
    o.mask = "learnt";
    o.validation = d;
    o.validation_mask = "tested";
    o.optimizer = SPRY_OPTIMIZER_ADAM;
    o.rate = 0.02;
    o.epochs = 60;
    o.threads = 1;
    return o;
}

/* ---- graphs ---- */

static void test_graph(void **state)
{
    spry_dataset *d = make_graph("graph.npz", false);
    spry_dataset *other = make_graph("wrong.npz", true);
    spry_model *source = make_gcn();
    spry_train_options o = graph_options(d);
    const spry_train_epoch *epochs = NULL;
    spry_training *facts = NULL;
    spry_model *first = lesson_learn(source, &o, &facts);
    spry_model *second;

    (void)state;
    assert_int_equal(spry_training_epochs(facts, &epochs), 60);
    assert_int_equal(spry_training_totals_of(facts)->steps, 60);
    assert_true(epochs[59].loss < 0.6 * epochs[0].loss);
    assert_true(epochs[59].validation > 0.8);
    spry_training_destroy(facts);

    o.threads = 3;
    second = lesson_learn(source, &o, NULL);
    assert_true(lesson_same(first, second, NULL));
    spry_model_destroy(second);

    o.data = other; /* what the mask leaves out is never looked at */
    second = lesson_learn(source, &o, NULL);
    assert_true(lesson_same(first, second, NULL));
    spry_model_destroy(second);

    o.mask = NULL;
    second = lesson_learn(source, &o, NULL);
    assert_false(lesson_same(first, second, NULL));
    spry_model_destroy(second);
    spry_model_destroy(first);
    spry_model_destroy(source);
    spry_dataset_close(other);
    spry_dataset_close(d);
}

/* ---- samples of two arrays ---- */

/* The class is the sign of the sum of both arrays: neither tells it alone. */
static spry_dataset *make_pairs(const char *name, bool complete)
{
    enum { COUNT = 200, WIDTH = 3 };
    const int64_t shape[] = {COUNT, WIDTH};
    archive a = {.count = 0};
    spry_random random = spry_random_stream(4, 0);
    int64_t *labels = add_array(&a, "labels", SPRY_DTYPE_I64, 1, shape);
    float *left = add_array(&a, "left", SPRY_DTYPE_F32, 2, shape);
    int32_t *right = add_array(&a, complete ? "right" : "else", SPRY_DTYPE_I32, 2, shape);

    spry_random_fill_normal(&random, left, COUNT * WIDTH, 0.0f, 2.0f);
    for (int64_t i = 0; i < COUNT; i++) {
        float sum = 0.0f;

        for (int64_t k = i * WIDTH; k < (i + 1) * WIDTH; k++) {
            right[k] = (int32_t)spry_random_below(&random, 7) - 3;
            sum += left[k] + (float)right[k];
        }
        labels[i] = sum > 0.0f;
    }
    return save(&a, name);
}

static spry_model *make_sum(void)
{
    const int64_t shape[] = {-1, 3};
    spry_model *m = NULL;
    builder_flow x;
    builder b;

    assert_int_equal(builder_open(&b, NULL, 1, false, &error), SPRY_OK);
    x = builder_input(&b, "left", 2, shape);
    x = builder_add(&b, x, builder_input(&b, "right", 2, shape), "sum");
    builder_scores(&b, x, "fc", 2, BUILDER_LECUN);
    assert_int_equal(builder_close(&b, &m), SPRY_OK);
    return m;
}

static void test_pairs(void **state)
{
    spry_dataset *d = make_pairs("pairs.npz", true);
    spry_model *source = make_sum();
    spry_train_options o = spry_train_options_default();
    const spry_train_epoch *epochs = NULL;
    spry_training *facts = NULL;
    spry_model *first;
    spry_model *second;

    (void)state;
    o.data = d;
    o.validation = d;
    o.batch = 16;
    o.epochs = 10;
    first = lesson_learn(source, &o, &facts);
    assert_int_equal(spry_training_epochs(facts, &epochs), 10);
    assert_true(epochs[9].validation > 0.95);
    spry_training_destroy(facts);
    o.threads = 2;
    second = lesson_learn(source, &o, NULL);
    assert_true(lesson_same(first, second, NULL));
    spry_model_destroy(second);
    spry_model_destroy(first);
    spry_model_destroy(source);
    spry_dataset_close(d);
}

/* ---- what is refused ---- */

static void refuse(const spry_model *m, const spry_train_options *o, spry_status code,
                   const char *words)
{
    spry_model *trained = NULL;
    spry_training *facts = NULL;

    assert_int_equal(spry_train(m, o, &trained, &facts, &error), code);
    if (strstr(error.what, words) == NULL && strstr(error.where, words) == NULL) {
        fail_msg("%s: %s", error.where, error.what);
    }
}

static void test_refusals(void **state)
{
    spry_dataset *d = make_graph("refused.npz", false);
    spry_dataset *part = make_pairs("part.npz", false);
    spry_model *gcn = make_gcn();
    spry_model *sum = make_sum();
    spry_train_options o = graph_options(d);

    (void)state;
    o.augment = "noise:0.1";
    refuse(gcn, &o, SPRY_USAGE, "augment");
    o.augment = NULL;
    o.mask = "learned";
    refuse(gcn, &o, SPRY_BAD_INPUT, "learned");
    o.mask = "features";
    refuse(gcn, &o, SPRY_BAD_INPUT, "features");
    o.mask = "learnt";
    o.whole = false;
    refuse(gcn, &o, SPRY_USAGE, "mask");
    o.whole = true;
    o.accumulate = 2;
    refuse(gcn, &o, SPRY_USAGE, "whole");
    o.accumulate = 1;
    o.data = part;
    o.mask = NULL;
    refuse(gcn, &o, SPRY_BAD_INPUT, "features");
    o = spry_train_options_default();
    o.data = part;
    refuse(sum, &o, SPRY_BAD_INPUT, "right");
    o.data = d;
    o.private_noise = 1;
    o.private_clip = 1;
    o.private_delta = 1e-5;
    o.batch = 4;
    o.freeze_statistics = true;
    refuse(gcn, &o, SPRY_UNSUPPORTED, "privacy");
    spry_model_destroy(sum);
    spry_model_destroy(gcn);
    spry_dataset_close(part);
    spry_dataset_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_graph),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
