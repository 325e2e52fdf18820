/* Batches against what reading, augmenting and preparing one sample after the other gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "data/preprocess.h"
#include "spry/image.h"
#include "spry/tensor_file.h"
#include "support/data.h"
#include "support/fault.h"

enum { RECORD = 3073, RECORDS = 53 };

static char folder[512];

static int make_sets(void **state)
{
    static uint8_t records[RECORDS * RECORD];
    char path[600];

    (void)state;
    (void)snprintf(folder, sizeof folder, "%s", data_make_folder());
    for (size_t i = 0; i < sizeof records; i++) {
        records[i] =
            i % RECORD == 0 ? (uint8_t)(i / RECORD % 7 % 5) : (uint8_t)(i * 2654435761u >> 13);
    }
    data_write(data_join(folder, "set.bin"), records, sizeof records);
    for (int c = 0; c < 2; c++) {
        (void)snprintf(path, sizeof path, "%s/pictures", folder);
        (void)mkdir(path, 0700);
        (void)snprintf(path, sizeof path, "%s/pictures/%d", folder, c);
        assert_int_equal(mkdir(path, 0700), 0);
        for (int i = 0; i < 10; i++) {
            const int64_t shape[] = {20 + 7 * i, 31 - i, 3};
            spry_tensor *t = NULL;
            uint8_t *pixels;

            assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_U8, 3, shape, &t, NULL), SPRY_OK);
            pixels = spry_tensor_data(t);
            for (size_t k = 0; k < spry_tensor_bytes(t); k++) {
                pixels[k] = (uint8_t)(k * (size_t)(i + 3 + c) >> 2);
            }
            (void)snprintf(path, sizeof path, "%s/pictures/%d/%02d.png", folder, c, i);
            assert_int_equal(spry_image_save_png(t, path, NULL), SPRY_OK);
            spry_tensor_destroy(t);
        }
    }
    return 0;
}

static int remove_sets(void **state)
{
    (void)state;
    data_remove_folder(folder);
    return 0;
}

static spry_dataset *open_set(const char *kind, const char *name)
{
    char description[700];
    spry_error error = {0};
    spry_dataset *d = NULL;

    (void)snprintf(description, sizeof description, "%s:%s/%s", kind, folder, name);
    if (spry_dataset_open(NULL, description, &d, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    return d;
}

static loader_options options_for(int64_t side, const augment *a)
{
    return (loader_options){.batch = 8,
                            .seed = 11,
                            .augment = a,
                            .dtype = SPRY_DTYPE_F32,
                            .rank = 4,
                            .shape = {-1, 3, side, side},
                            .threads = 2,
                            .ahead = 3,
                            .strict = true};
}

static loader *make(spry_dataset *d, const loader_options *o)
{
    spry_error error = {0};
    loader *l = NULL;

    if (loader_create(d, o, NULL, &l, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    return l;
}

static const loader_batch *next(loader *l)
{
    const loader_batch *b = NULL;
    spry_error error = {0};

    if (loader_next(l, &b, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    return b;
}

/* FNV-1a over all that a batch says. */
static uint64_t digest(const loader_batch *b)
{
    uint64_t hash = 0xcbf29ce484222325u;
    const struct {
        const void *data;
        size_t size;
    } parts[] = {{b->inputs->data, b->inputs->bytes},
                 {b->labels, (size_t)b->count * sizeof *b->labels},
                 {b->indices, (size_t)b->count * sizeof *b->indices},
                 {&b->step, sizeof b->step}};

    for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++) {
        for (size_t i = 0; i < parts[p].size; i++) {
            hash = (hash ^ ((const uint8_t *)parts[p].data)[i]) * 0x100000001b3u;
        }
    }
    return hash;
}

static augment parse(const char *text)
{
    augment a;

    assert_int_equal(augment_parse(text, &a, NULL), SPRY_OK);
    return a;
}

/* Prepares one sample as the loader should have. */
static void expect_sample(spry_dataset *d, const loader_options *o, const loader_batch *b,
                          int64_t at)
{
    spry_preprocess recipe = o->recipe != NULL ? *o->recipe : spry_preprocess_default();
    size_t bytes = b->inputs->bytes / (size_t)b->count;
    preprocess_plan plan;
    tensor sample;
    tensor right;

    assert_int_equal(dataset_read(d, &d->allocator, b->indices[at], &sample, NULL), SPRY_OK);
    if (o->augment != NULL) {
        assert_int_equal(augment_apply(o->augment, NULL, o->seed, b->epoch, b->indices[at],
                                       d->pictures, &sample, NULL),
                         SPRY_OK);
    }
    assert_int_equal(preprocess_plan_init(&plan, &recipe, &sample, d->pictures, o->dtype, o->rank,
                                          o->shape, "sample", NULL),
                     SPRY_OK);
    assert_int_equal(preprocess_plan_batch(&plan, NULL, 1, &right, NULL), SPRY_OK);
    assert_int_equal(preprocess_apply(&plan, NULL, &sample, d->pictures, "sample", &right, 0, NULL),
                     SPRY_OK);
    assert_int_equal(right.bytes, bytes);
    assert_memory_equal(right.data, (const uint8_t *)b->inputs->data + (size_t)at * bytes, bytes);
    assert_int_equal(b->labels[at], spry_dataset_label(d, b->indices[at]));
    tensor_fini(&right);
    tensor_fini(&sample);
}

static void batches_hold_their_samples(void **state)
{
    static const char *const sets[][2] = {{"cifar10", "set.bin"}, {"folder", "pictures"}};
    spry_preprocess recipe;
    augment a = parse("crop:3,flip,rotate:20,jitter:0.3");

    (void)state;
    assert_int_equal(spry_preprocess_parse("cifar", &recipe, NULL), SPRY_OK);
    for (size_t n = 0; n < 2; n++) {
        spry_dataset *d = open_set(sets[n][0], sets[n][1]);
        loader_options o = options_for(32, &a);
        loader *l;

        o.recipe = &recipe;
        l = make(d, &o);
        assert_int_equal(loader_steps_per_epoch(l), spry_dataset_count(d) / 8);
        assert_int_equal(loader_shape(l)[0], 8);
        for (int64_t step = 0; step < 2 * loader_steps_per_epoch(l) + 1; step++) {
            const loader_batch *b = next(l);

            assert_int_equal(b->step, step);
            assert_int_equal(b->count, 8);
            assert_int_equal(b->epoch, step / loader_steps_per_epoch(l));
            for (int64_t i = 0; i < b->count; i++) {
                expect_sample(d, &o, b, i);
            }
        }
        loader_destroy(l);
        spry_dataset_close(d);
    }
}

static void any_number_of_threads_gives_the_same(void **state)
{
    enum { STEPS = 15 };
    static const sampler_kind orders[] = {SAMPLER_SHUFFLED, SAMPLER_SEQUENTIAL, SAMPLER_BALANCED,
                                          SAMPLER_POISSON};
    augment a = parse("zoom:0.5,flip,vflip,cutout:6");
    spry_dataset *d = open_set("folder", "pictures");
    uint64_t right[STEPS];

    (void)state;
    for (size_t n = 0; n < sizeof orders / sizeof orders[0]; n++) {
        loader_options o = options_for(16, &a);

        o.batch = 3;
        o.rate = 0.15;
        o.order = orders[n];
        for (int threads = 0; threads < 6; threads += threads < 2 ? 1 : 3) {
            loader *l;

            o.threads = threads;
            o.ahead = threads == 5 ? 0 : threads + 1;
            l = make(d, &o);
            for (int s = 0; s < STEPS; s++) {
                uint64_t found = digest(next(l));

                right[s] = threads == 0 ? found : right[s];
                assert_int_equal(found, right[s]);
            }
            /* Back and forth, ending inside what is prepared, and outside of it. */
            for (int s = 0; s < 20; s++) {
                int step = s * 7 % STEPS;

                loader_seek(l, step);
                assert_int_equal(digest(next(l)), right[step]);
                loader_seek(l, step); /* the one that is held */
                assert_int_equal(digest(next(l)), right[step]);
            }
            loader_destroy(l);
        }
    }
    spry_dataset_close(d);
}

static void loaders_end_at_any_time(void **state)
{
    spry_dataset *d = open_set("folder", "pictures");

    (void)state;
    for (int i = 0; i < 20; i++) {
        loader_options o = options_for(64, NULL);
        loader *l;

        o.threads = 1 + i % 3;
        l = make(d, &o);
        for (int s = 0; s < i % 5; s++) {
            (void)next(l);
        }
        if (i % 2 == 1) {
            loader_seek(l, 1000000 * i);
        }
        loader_destroy(l);
    }
    loader_destroy(NULL);
    spry_dataset_close(d);
}

static void unreadable_samples_are_replaced_or_fatal(void **state)
{
    const char *names[] = {"pictures/0/03.png", "pictures/1/07.png"};
    spry_dataset *d = open_set("folder", "pictures");
    loader_options o = options_for(16, NULL);
    uint64_t digests[2][6] = {{0}};
    const loader_batch *b = NULL;
    spry_error error = {0};
    char kept[2][4096];
    size_t sizes[2];
    loader *l;

    (void)state;
    for (int i = 0; i < 2; i++) {
        FILE *file = fopen(data_join(folder, names[i]), "rb");

        assert_non_null(file);
        sizes[i] = fread(kept[i], 1, sizeof kept[i], file);
        assert_int_equal(fclose(file), 0);
        data_write(data_join(folder, names[i]), "broken", 6);
    }
    o.batch = 10;
    l = make(d, &o);
    while (loader_next(l, &b, &error) == SPRY_OK) {
        assert_true(b->step < 2); /* both epochs' batches together hold all */
    }
    assert_int_equal(error.code, SPRY_BAD_INPUT);
    assert_non_null(strstr(error.where, ".png"));
    assert_null(b);
    assert_int_equal(loader_next(l, &b, NULL), SPRY_BAD_INPUT); /* and again */
    loader_destroy(l);

    o.strict = false;
    for (int run = 0; run < 2; run++) {
        o.threads = run == 0 ? 0 : 3;
        l = make(d, &o);
        assert_null(loader_warning(l));
        for (int s = 0; s < 6; s++) {
            b = next(l);
            assert_int_equal(b->count, 10);
            digests[run][s] = digest(b);
            for (int64_t i = 0; i < b->count; i++) {
                assert_true(b->indices[i] != 3 && b->indices[i] != 17);
                expect_sample(d,
                              &(loader_options){.recipe = o.recipe,
                                                .dtype = o.dtype,
                                                .rank = o.rank,
                                                .shape = {-1, 3, 16, 16}},
                              b, i);
            }
        }
        assert_int_equal(loader_skipped(l), 2);
        assert_non_null(strstr(loader_warning(l), ".png: is not a JPEG"));
        loader_destroy(l);
    }
    assert_memory_equal(digests[0], digests[1], sizeof digests[0]);

    /* Without stand-ins a batch is smaller. */
    o.order = SAMPLER_POISSON;
    o.rate = 1;
    l = make(d, &o);
    assert_int_equal(next(l)->count, 18);
    loader_destroy(l);
    spry_dataset_close(d);
    for (int i = 0; i < 2; i++) {
        data_write(data_join(folder, names[i]), kept[i], sizes[i]);
    }
}

static void nothing_readable_is_an_error(void **state)
{
    char path[700];
    spry_error error = {0};
    spry_dataset *d;
    loader_options o = options_for(8, NULL);
    loader *l = NULL;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/broken", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/broken/a", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    for (int i = 0; i < 12; i++) {
        (void)snprintf(path, sizeof path, "%s/broken/a/%d.ppm", folder, i);
        data_write(path, "P6 1 1 255\nabc", i == 4 ? 14 : 13);
    }
    d = open_set("folder", "broken");
    o.strict = false;
    l = make(d, &o);
    for (int64_t i = 0; i < 8; i++) {
        assert_int_equal(next(l)->indices[i], 6); /* 4.ppm: behind 10 and 11 */
    }
    loader_destroy(l);
    (void)snprintf(path, sizeof path, "%s/broken/a/4.ppm", folder);
    data_write(path, "x", 1);
    assert_int_equal(loader_create(d, &o, NULL, &l, &error), SPRY_BAD_INPUT);
    assert_null(l);
    spry_dataset_close(d);
}

static void options_must_make_sense(void **state)
{
    spry_dataset *d = open_set("cifar10", "set.bin");
    augment gain = parse("gain:0.1");
    loader_options o = options_for(32, NULL);
    spry_error error = {0};
    loader *l = NULL;

    (void)state;
    o.batch = RECORDS + 1;
    assert_int_equal(loader_create(d, &o, NULL, &l, &error), SPRY_USAGE);
    assert_true(error.remedy[0] != '\0');
    o.batch = 4;
    o.threads = -1;
    assert_int_equal(loader_create(d, &o, NULL, &l, NULL), SPRY_USAGE);
    o.threads = 1;
    o.augment = &gain;
    assert_int_equal(loader_create(d, &o, NULL, &l, NULL), SPRY_USAGE);
    o.augment = NULL;
    o.shape[1] = 2;
    assert_int_equal(loader_create(d, &o, NULL, &l, NULL), SPRY_USAGE);
    spry_dataset_close(d);
}

/* After the first batches the loader takes no more memory. */
static void steady_state_allocates_nothing(void **state)
{
    augment a = parse("crop:4,flip,rotate:15");
    spry_dataset *d = open_set("cifar10", "set.bin");
    alloc_counter counter = {.fail_at = 0};
    spry_allocator allocator = alloc_counting(&counter);
    loader_options o = options_for(32, &a);
    loader *l = NULL;
    int64_t calls;

    (void)state;
    assert_int_equal(loader_create(d, &o, &allocator, &l, NULL), SPRY_OK);
    for (int s = 0; s < 10; s++) {
        (void)next(l);
    }
    calls = counter.calls;
    for (int s = 0; s < 50; s++) {
        (void)next(l);
    }
    /* A thread may have been idle until now: it takes its scratch then. */
    assert_true(counter.calls <= calls + 6);
    loader_destroy(l);
    assert_int_equal(counter.outstanding_bytes, 0);
    spry_dataset_close(d);
}

static spry_status use_loader(const spry_allocator *allocator, void *context, spry_error *error)
{
    augment a = parse("rotate:15");
    loader_options o = options_for(16, &a);
    const loader_batch *b = NULL;
    loader *l = NULL;
    spry_status status;

    o.order = SAMPLER_BALANCED;
    o.threads = 0;
    status = loader_create(context, &o, allocator, &l, error);
    if (status == SPRY_OK) {
        status = loader_next(l, &b, error);
    }
    loader_destroy(l);
    return status;
}

static void failing_allocations_leak_nothing(void **state)
{
    spry_dataset *d = open_set("folder", "pictures");

    (void)state;
    assert_true(fault_sweep(use_loader, d) > 10);
    spry_dataset_close(d);
}

/* Numbers instead of pictures, with two axes instead of four. */
static void rows_of_numbers_are_loaded(void **state)
{
    char path[600];
    char description[700];
    augment a = parse("noise:0.1");
    loader_options o = {.batch = 4,
                        .seed = 5,
                        .augment = &a,
                        .rank = 2,
                        .shape = {-1, -1},
                        .threads = 2,
                        .ahead = 2,
                        .strict = true};
    spry_dataset *d = NULL;
    loader *l;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/set.csv", folder);
    data_write(path, "1,2,a\n3,4,b\n5,6,a\n7,8,b\n9,10,c\n", 31);
    (void)snprintf(description, sizeof description, "csv:%s", path);
    assert_int_equal(spry_dataset_open(NULL, description, &d, NULL), SPRY_OK);
    l = make(d, &o);
    assert_int_equal(loader_shape(l)[1], 2);
    for (int s = 0; s < 8; s++) {
        const loader_batch *b = next(l);

        for (int64_t i = 0; i < b->count; i++) {
            expect_sample(d, &o, b, i);
        }
    }
    loader_destroy(l);
    spry_dataset_close(d);
}

/* Arrays in an archive are read through one stream. */
static void archives_can_be_read_by_threads(void **state)
{
    static const char *const names[] = {"images", "labels"};
    const int64_t shape[] = {300, 28, 28};
    const int64_t count[] = {300};
    spry_tensor *tensors[2] = {NULL, NULL};
    char path[600];
    uint64_t right[6];
    spry_dataset *d;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/set.npz", folder);
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_U8, 3, shape, &tensors[0], NULL), SPRY_OK);
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_U8, 1, count, &tensors[1], NULL), SPRY_OK);
    for (size_t i = 0; i < spry_tensor_bytes(tensors[0]); i++) {
        ((uint8_t *)spry_tensor_data(tensors[0]))[i] = (uint8_t)(i * 2654435761u >> 11);
    }
    assert_int_equal(spry_archive_save(path, 2, names, (const spry_tensor *const *)tensors, NULL),
                     SPRY_OK);
    d = open_set("npz", "set.npz");
    for (int threads = 0; threads < 4; threads += 3) {
        loader_options o = options_for(28, NULL);
        loader *l;

        o.shape[1] = 1;
        o.batch = 64;
        o.threads = threads;
        l = make(d, &o);
        for (int s = 0; s < 6; s++) {
            uint64_t found = digest(next(l));

            right[s] = threads == 0 ? found : right[s];
            assert_int_equal(found, right[s]);
        }
        loader_destroy(l);
    }
    spry_dataset_close(d);
    spry_tensor_destroy(tensors[0]);
    spry_tensor_destroy(tensors[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_hold_their_samples),
        cmocka_unit_test(any_number_of_threads_gives_the_same),
        cmocka_unit_test(loaders_end_at_any_time),
        cmocka_unit_test(unreadable_samples_are_replaced_or_fatal),
        cmocka_unit_test(nothing_readable_is_an_error),
        cmocka_unit_test(options_must_make_sense),
        cmocka_unit_test(steady_state_allocates_nothing),
        cmocka_unit_test(failing_allocations_leak_nothing),
        cmocka_unit_test(rows_of_numbers_are_loaded),
        cmocka_unit_test(archives_can_be_read_by_threads),
    };

    return cmocka_run_group_tests(tests, make_sets, remove_sets);
}
