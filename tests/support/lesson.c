#include "support/lesson.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "model/model.h"
#include "spry/architecture.h"
#include "spry/random.h"
#include "spry/tensor_file.h"
#include "support/data.h"

enum { PIXELS = LESSON_SIDE * LESSON_SIDE, PATTERN_SEED = 99 };

spry_dataset *lesson_data(const char *folder, const char *name, int64_t count, uint64_t seed)
{
    static const char *const names[] = {"images", "labels"};
    const int64_t shape[] = {count, 1, LESSON_SIDE, LESSON_SIDE};
    const char *path = data_join(folder, name);
    float patterns[LESSON_CLASSES * PIXELS];
    char description[512];
    spry_random random = spry_random_stream(seed, 1);
    spry_random fixed = spry_random_stream(PATTERN_SEED, 0);
    spry_tensor *images = NULL;
    spry_tensor *labels = NULL;
    spry_dataset *d = NULL;
    float *pixels;

    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_F32, 4, shape, &images, NULL), SPRY_OK);
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_I64, 1, shape, &labels, NULL), SPRY_OK);
    spry_random_fill_normal(&fixed, patterns, LESSON_CLASSES * PIXELS, 0.0f, 0.5f);
    pixels = spry_tensor_data(images);
    spry_random_fill_normal(&random, pixels, (size_t)(count * PIXELS), 0.0f, 1.0f);
    for (int64_t i = 0; i < count; i++) {
        int64_t label = (int64_t)spry_random_below(&random, LESSON_CLASSES);

        ((int64_t *)spry_tensor_data(labels))[i] = label;
        for (int64_t k = 0; k < PIXELS; k++) {
            pixels[i * PIXELS + k] += patterns[label * PIXELS + k];
        }
    }
    assert_int_equal(
        spry_archive_save(path, 2, names, (const spry_tensor *const[]){images, labels}, NULL),
        SPRY_OK);
    spry_tensor_destroy(images);
    spry_tensor_destroy(labels);
    (void)snprintf(description, sizeof description, "npz:%s", path);
    assert_int_equal(spry_dataset_open(NULL, description, &d, NULL), SPRY_OK);
    return d;
}

spry_model *lesson_model(const char *architecture)
{
    spry_architecture_options options = spry_architecture_options_default();
    spry_error error = {0};
    spry_model *m = NULL;

    options.classes = LESSON_CLASSES;
    options.height = LESSON_SIDE;
    options.width = LESSON_SIDE;
    options.channels = 1;
    options.seed = 5;
    if (strcmp(architecture, "mlp") == 0) {
        options.units = 24;
    } else if (strcmp(architecture, "vit-cifar") == 0) {
        options.units = 32;
        options.depth = 2;
        options.heads = 2;
    }
    if (spry_architecture_create(NULL, architecture, &options, &m, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    return m;
}

spry_model *lesson_learn(const spry_model *source, const spry_train_options *options,
                         spry_training **facts)
{
    spry_model *trained = NULL;
    spry_training *found = NULL;
    spry_error error = {0};

    if (spry_train(source, options, &trained, &found, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    if (facts != NULL) {
        *facts = found;
    } else {
        spry_training_destroy(found);
    }
    return trained;
}

const float *lesson_numbers(const spry_model *m, const char *name, int64_t *count)
{
    int32_t id = graph_find_value(m->main, name);

    assert_int_not_equal(id, GRAPH_NONE);
    assert_non_null(m->main->values[id].constant);
    *count = tensor_count(m->main->values[id].constant);
    return m->main->values[id].constant->data;
}

bool lesson_same(const spry_model *a, const spry_model *b, const char *except)
{
    assert_int_equal(a->main->value_count, b->main->value_count);
    for (int32_t i = 0; i < a->main->value_count; i++) {
        const tensor *x = a->main->values[i].constant;
        const tensor *y = b->main->values[i].constant;

        if (x == NULL || (except != NULL && text_matches(except, a->main->values[i].name))) {
            continue;
        }
        if (y == NULL || x->bytes != y->bytes || memcmp(x->data, y->data, x->bytes) != 0) {
            print_message("%s differs\n", a->main->values[i].name);
            return false;
        }
    }
    return true;
}
