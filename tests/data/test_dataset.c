/* Data sets of every kind, made here and, where it is there, real. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "data/dataset.h"
#include "spry/dataset.h"
#include "spry/image.h"
#include "spry/tensor_file.h"
#include "support/data.h"
#include "support/fault.h"
#include "tensor/convert.h"

static char folder[512];

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "%s", data_make_folder());
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    data_remove_folder(folder);
    return 0;
}

static spry_status try_open(const char *kind, const char *path, spry_dataset **d, spry_error *error)
{
    char description[700];

    (void)snprintf(description, sizeof description, "%s:%s", kind, path);
    return spry_dataset_open(NULL, description, d, error);
}

static spry_dataset *open_set(const char *kind, const char *path)
{
    spry_dataset *d = NULL;
    spry_error error = {0};
    spry_status status = try_open(kind, path, &d, &error);

    if (status != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    return d;
}

static void write_picture(const char *path, int64_t height, int64_t width, uint8_t value)
{
    const int64_t shape[] = {height, width, 3};
    spry_tensor *t = NULL;

    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_U8, 3, shape, &t, NULL), SPRY_OK);
    memset(spry_tensor_data(t), value, spry_tensor_bytes(t));
    assert_int_equal(spry_image_save_png(t, path, NULL), SPRY_OK);
    spry_tensor_destroy(t);
}

static void cifar10_records_become_pictures(void **state)
{
    static uint8_t records[2 * 3073];
    const char *path = data_join(folder, "test_batch.bin");
    const int64_t shape[] = {-1, 3, 32, 32};
    spry_preprocess recipe = spry_preprocess_default();
    spry_dataset *d;
    spry_tensor *t = NULL;
    int64_t labels[2];

    (void)state;
    for (size_t i = 0; i < sizeof records; i++) {
        records[i] = (uint8_t)(i * 7);
    }
    records[0] = 3;
    records[3073] = 9;
    data_write(path, records, sizeof records);
    d = open_set("cifar10", path);
    assert_int_equal(spry_dataset_count(d), 2);
    assert_int_equal(spry_dataset_label(d, 1), 9);
    assert_int_equal(spry_dataset_label(d, 2), -1);
    assert_string_equal(spry_dataset_class_name(d, 3), "cat");
    assert_int_equal(spry_dataset_sample(d, 1, &t, NULL), SPRY_OK);
    assert_int_equal(((uint8_t *)spry_tensor_data(t))[1], records[3073 + 1 + 1024]);
    spry_tensor_destroy(t);
    assert_int_equal(
        spry_dataset_batch(d, 0, 2, &recipe, SPRY_DTYPE_F32, 4, shape, &t, labels, NULL), SPRY_OK);
    for (int64_t i = 0; i < 2 * 3072; i++) {
        assert_true(convert_get_f64(t, i) == (double)records[i / 3072 * 3073 + 1 + i % 3072]);
    }
    assert_int_equal(labels[0], 3);
    spry_tensor_destroy(t);
    assert_int_equal(
        spry_dataset_batch(d, 1, 2, &recipe, SPRY_DTYPE_F32, 4, shape, &t, labels, NULL),
        SPRY_USAGE);
    spry_dataset_close(d);
    d = open_set("cifar10", folder);
    spry_dataset_close(d);
    records[0] = 10;
    data_write(path, records, sizeof records);
    assert_int_equal(try_open("cifar10", path, &d, NULL), SPRY_BAD_INPUT);
    data_write(path, records, 3072);
    assert_int_equal(try_open("cifar10", path, &d, NULL), SPRY_BAD_INPUT);
}

/* 3100 pictures of 100 x 120, more checkpoints of the unpacker than its list begins with. */
static void gzipped_idx_reads_in_any_order(void **state)
{
    enum { COUNT = 3100, HEIGHT = 100, WIDTH = 120 };
    const uint8_t head[] = {0, 0, 8, 3,      0, 0, COUNT >> 8, COUNT & 255,
                            0, 0, 0, HEIGHT, 0, 0, 0,          WIDTH};
    uint8_t labels[8 + COUNT] = {0, 0, 8, 1, 0, 0, COUNT >> 8, COUNT & 255};
    uint8_t row[HEIGHT * WIDTH];
    gzFile file = gzopen(data_join(folder, "t10k-images-idx3-ubyte.gz"), "wb1");
    spry_dataset *d;

    (void)state;
    assert_non_null(file);
    assert_int_equal(gzwrite(file, head, sizeof head), sizeof head);
    for (unsigned i = 0; i < COUNT; i++) {
        for (unsigned k = 0; k < sizeof row; k++) {
            row[k] = (uint8_t)(i + k * 131 % 251);
        }
        assert_int_equal(gzwrite(file, row, sizeof row), sizeof row);
        labels[8 + i] = (uint8_t)(i % 10);
    }
    assert_int_equal(gzclose(file), Z_OK);
    data_write(data_join(folder, "t10k-labels-idx1-ubyte"), labels, sizeof labels);

    d = open_set("idx", folder);
    spry_dataset_close(d);
    d = open_set("idx", data_join(folder, "t10k-labels-idx1-ubyte"));
    spry_dataset_close(d);
    d = open_set("idx", data_join(folder, "t10k"));
    assert_int_equal(spry_dataset_count(d), COUNT);
    assert_int_equal(spry_dataset_class_count(d), 10);
    for (unsigned n = 0; n < 60; n++) {
        unsigned i = n < 20 ? n : n * 347 % COUNT;
        spry_tensor *t = NULL;
        const uint8_t *pixels;

        assert_int_equal(spry_dataset_sample(d, i, &t, NULL), SPRY_OK);
        pixels = spry_tensor_const_data(t);
        assert_int_equal(spry_tensor_shape(t)[0], HEIGHT);
        for (unsigned k = 0; k < sizeof row; k += 97) {
            assert_int_equal(pixels[k], (uint8_t)(i + k * 131 % 251));
        }
        spry_tensor_destroy(t);
    }
    spry_dataset_close(d);
    labels[7]--; /* one label fewer than pictures, and than bytes */
    data_write(data_join(folder, "t10k-labels-idx1-ubyte"), labels, sizeof labels);
    assert_int_equal(try_open("idx", folder, &d, NULL), SPRY_BAD_INPUT);
    assert_int_equal(try_open("idx", "/nowhere", &d, NULL), SPRY_IO);
}

static void folders_are_classes(void **state)
{
    char root[600];
    char path[800];
    spry_dataset *d = NULL;
    spry_tensor *t = NULL;
    spry_error error;

    (void)state;
    (void)snprintf(root, sizeof root, "%s", data_join(folder, "classes"));
    assert_int_equal(mkdir(root, 0700), 0);
    assert_int_equal(try_open("folder", root, &d, &error), SPRY_BAD_INPUT);
    for (int c = 0; c < 3; c++) {
        (void)snprintf(path, sizeof path, "%s/%c", root, "cab"[c]);
        assert_int_equal(mkdir(path, 0700), 0);
        for (int i = 0; i < 2; i++) {
            (void)snprintf(path, sizeof path, "%s/%c/%d.png", root, "cab"[c], i);
            write_picture(path, 4, 6, (uint8_t)(c * 10 + i));
        }
    }
    d = open_set("folder", root);
    assert_int_equal(spry_dataset_count(d), 6);
    assert_string_equal(spry_dataset_class_name(d, 0), "a");
    assert_null(spry_dataset_class_name(d, 3));
    assert_int_equal(spry_dataset_label(d, 5), 2);
    assert_int_equal(spry_dataset_sample(d, 5, &t, NULL), SPRY_OK);
    assert_int_equal(*(uint8_t *)spry_tensor_data(t), 1); /* c/1.png */
    spry_tensor_destroy(t);
    (void)snprintf(path, sizeof path, "%s/a/0.png", root);
    data_write(path, "no picture", 10);
    assert_int_equal(spry_dataset_sample(d, 0, &t, &error), SPRY_BAD_INPUT);
    assert_string_equal(error.where, path);
    assert_true(error.remedy[0] != '\0');
    spry_dataset_close(d);
    assert_int_equal(try_open("folder", "/nowhere", &d, NULL), SPRY_IO);
}

static void label_files_name_pictures(void **state)
{
    static const char text[] = "file\tclass\tname\n"
                               "a.png\t2\tcat\r\n"
                               "\n# comment\n"
                               "b.png 1 n0123 dog\n";
    char path[600];
    spry_dataset *d = NULL;
    spry_tensor *t = NULL;
    spry_error error;

    (void)state;
    (void)snprintf(path, sizeof path, "%s", data_join(folder, "images"));
    assert_int_equal(mkdir(path, 0700), 0);
    write_picture(data_join(folder, "a.png"), 2, 2, 11);
    write_picture(data_join(path, "b.png"), 2, 2, 22);
    (void)snprintf(path, sizeof path, "%s", data_join(folder, "labels.tsv"));
    data_write(path, text, sizeof text - 1);
    d = open_set("labels", path);
    assert_int_equal(spry_dataset_count(d), 2);
    assert_int_equal(spry_dataset_label(d, 0), 2);
    assert_int_equal(spry_dataset_class_count(d), 3);
    assert_int_equal(spry_dataset_sample(d, 1, &t, NULL), SPRY_OK);
    assert_int_equal(*(uint8_t *)spry_tensor_data(t), 22);
    spry_tensor_destroy(t);
    spry_dataset_close(d);
    data_write(path, "a.png\t1\nb.png\tx\n", 16);
    assert_int_equal(try_open("labels", path, &d, &error), SPRY_BAD_INPUT);
    assert_non_null(strstr(error.what, "line 2"));
    data_write(path, "", 0);
    assert_int_equal(try_open("labels", path, &d, NULL), SPRY_BAD_INPUT);
    data_write(path, "gone.png\t1\n", 11);
    d = open_set("labels", path);
    assert_int_equal(spry_dataset_sample(d, 0, &t, NULL), SPRY_IO);
    spry_dataset_close(d);
}

static void save_npz(const char *path, spry_tensor *samples, spry_tensor *labels,
                     spry_tensor *scale, spry_tensor *zero)
{
    static const char *const names[] = {"images_u8", "labels", "scale", "zero_point"};
    const spry_tensor *tensors[] = {samples, labels, scale, zero};

    assert_int_equal(spry_archive_save(path, scale != NULL ? 4 : 2, names, tensors, NULL), SPRY_OK);
}

static spry_tensor *make(spry_dtype dtype, int rank, const int64_t *shape)
{
    spry_tensor *t = NULL;

    assert_int_equal(spry_tensor_create(NULL, dtype, rank, shape, &t, NULL), SPRY_OK);
    for (int64_t i = 0; i < spry_tensor_count(t); i++) {
        int64_t value = i % 100;

        convert_write_i64(t, i, 1, &value);
    }
    return t;
}

static void npz_pictures_may_be_planes(void **state)
{
    const int64_t shape[] = {3, 1, 4, 5};
    const int64_t count[] = {3};
    const int64_t wrong[] = {2};
    const int64_t target[] = {1, 1, 4, 5};
    const char *path = data_join(folder, "glyphs.npz");
    spry_preprocess recipe;
    spry_tensor *samples = make(SPRY_DTYPE_U8, 4, shape);
    spry_tensor *labels = make(SPRY_DTYPE_I64, 1, count);
    spry_tensor *few = make(SPRY_DTYPE_I64, 1, wrong);
    spry_tensor *t = NULL;
    spry_dataset *d;

    (void)state;
    save_npz(path, samples, labels, NULL, NULL);
    d = open_set("npz", path);
    assert_int_equal(spry_dataset_count(d), 3);
    assert_int_equal(spry_dataset_sample(d, 2, &t, NULL), SPRY_OK);
    assert_int_equal(spry_tensor_shape(t)[0], 4);
    assert_int_equal(spry_tensor_shape(t)[2], 1);
    assert_int_equal(*(uint8_t *)spry_tensor_data(t), 40);
    spry_tensor_destroy(t);
    assert_int_equal(spry_preprocess_parse("unit", &recipe, NULL), SPRY_OK);
    assert_int_equal(
        spry_dataset_batch(d, 1, 2, &recipe, SPRY_DTYPE_F32, 4, target, &t, NULL, NULL), SPRY_OK);
    assert_true(((float *)spry_tensor_data(t))[1] == (float)(21.0 / 255.0));
    spry_tensor_destroy(t);
    spry_dataset_close(d);
    save_npz(path, samples, few, NULL, NULL);
    assert_int_equal(try_open("npz", path, &d, NULL), SPRY_BAD_INPUT);
    spry_tensor_destroy(samples);
    spry_tensor_destroy(labels);
    spry_tensor_destroy(few);
}

static void safetensors_are_read_like_npz(void **state)
{
    static const char *const names[] = {"x", "y"};
    const int64_t pictures[] = {3, 4, 5, 3};
    const int64_t numbers[] = {3, 7};
    const int64_t count[] = {3};
    const int64_t few[] = {2};
    const char *path = data_join(folder, "set.safetensors");
    spry_tensor *x[] = {make(SPRY_DTYPE_U8, 4, pictures), make(SPRY_DTYPE_F32, 2, numbers)};
    spry_tensor *y[] = {make(SPRY_DTYPE_I64, 1, count), make(SPRY_DTYPE_U8, 1, few)};
    spry_tensor *z = make(SPRY_DTYPE_F64, 1, count);
    spry_error error;
    spry_dataset *d;
    spry_tensor *t = NULL;

    (void)state;
    for (int n = 0; n < 2; n++) {
        const spry_tensor *tensors[] = {x[n], y[0]};

        assert_int_equal(spry_archive_save(path, 2, names, tensors, NULL), SPRY_OK);
        d = open_set("safetensors", path);
        assert_int_equal(spry_dataset_count(d), 3);
        assert_int_equal(spry_dataset_label(d, 2), 2);
        assert_int_equal(spry_dataset_sample(d, 2, &t, NULL), SPRY_OK);
        assert_int_equal(spry_tensor_rank(t), n == 0 ? 3 : 1);
        assert_true(convert_get_f64(t, 1) == (n == 0 ? 21 : 15));
        ((uint8_t *)spry_tensor_data(t))[0] = 99; /* nobody else's memory */
        spry_tensor_destroy(t);
        spry_dataset_close(d);
    }
    {
        const spry_tensor *tensors[] = {x[1], y[1]};

        assert_int_equal(spry_archive_save(path, 2, names, tensors, NULL), SPRY_OK);
        assert_int_equal(try_open("safetensors", path, &d, &error), SPRY_BAD_INPUT);
        assert_non_null(strstr(error.what, "3 samples but 2 labels"));
        assert_int_equal(spry_archive_save(path, 1, names, tensors, NULL), SPRY_OK);
        assert_int_equal(try_open("safetensors", path, &d, &error), SPRY_BAD_INPUT);
        assert_non_null(strstr(error.what, "no array of labels"));
        assert_true(error.remedy[0] != '\0');
    }
    for (int n = 0; n < 3; n++) {
        static const double wrong[] = {-1, 1.5, 3e9};
        const spry_tensor *tensors[] = {x[1], z};

        ((double *)spry_tensor_data(z))[2] = wrong[n];
        assert_int_equal(spry_archive_save(path, 2, names, tensors, NULL), SPRY_OK);
        assert_int_equal(try_open("safetensors", path, &d, &error), SPRY_BAD_INPUT);
        assert_non_null(strstr(error.what, "sample 2 has the class"));
        assert_non_null(strstr(error.what, "'y'"));
        assert_string_equal(error.where, path);
        assert_true(error.remedy[0] != '\0');
    }
    spry_tensor_destroy(z);
    data_write(path, "safetensors", 11);
    assert_int_equal(try_open("safetensors", path, &d, NULL), SPRY_LIMIT);
    for (int n = 0; n < 2; n++) {
        spry_tensor_destroy(x[n]);
        spry_tensor_destroy(y[n]);
    }
}

static void npz_integers_are_scaled(void **state)
{
    const int64_t shape[] = {2, 4, 5};
    const int64_t count[] = {2};
    const int64_t target[] = {-1, 1, 4, 5};
    const char *path = data_join(folder, "features.npz");
    spry_preprocess recipe = spry_preprocess_default();
    spry_tensor *samples = make(SPRY_DTYPE_I8, 3, shape);
    spry_tensor *labels = make(SPRY_DTYPE_U8, 1, count);
    spry_tensor *scale = make(SPRY_DTYPE_F32, 0, NULL);
    spry_tensor *zero = make(SPRY_DTYPE_I8, 0, NULL);
    spry_tensor *t = NULL;
    spry_dataset *d;

    (void)state;
    *(float *)spry_tensor_data(scale) = 0.5f;
    *(int8_t *)spry_tensor_data(zero) = 3;
    save_npz(path, samples, labels, scale, zero);
    d = open_set("npz", path);
    assert_int_equal(
        spry_dataset_batch(d, 1, 1, &recipe, SPRY_DTYPE_F32, 4, target, &t, NULL, NULL), SPRY_OK);
    assert_true(((float *)spry_tensor_data(t))[2] == (22.0f - 3.0f) * 0.5f);
    spry_tensor_destroy(t);
    spry_dataset_close(d);
    spry_tensor_destroy(samples);
    spry_tensor_destroy(labels);
    spry_tensor_destroy(scale);
    spry_tensor_destroy(zero);
}

/* An array by its very name: its numbers as they are, of its own shape. */
static void npz_arrays_have_names(void **state)
{
    const int64_t shape[] = {2, 4, 5};
    const int64_t count[] = {2};
    const char *path = data_join(folder, "arrays.npz");
    char named[300];
    spry_tensor *samples = make(SPRY_DTYPE_U8, 3, shape);
    spry_tensor *labels = make(SPRY_DTYPE_U8, 1, count);
    spry_tensor *scale = make(SPRY_DTYPE_F32, 1, count);
    spry_tensor *zero = make(SPRY_DTYPE_I8, 0, NULL);
    spry_tensor *t = NULL;
    spry_dataset *part = NULL;
    spry_dataset *d;

    (void)state;
    save_npz(path, samples, labels, scale, zero);
    (void)snprintf(named, sizeof named, "%s@images_u8", path);
    d = open_set("npz", named);
    assert_int_equal(spry_dataset_sample(d, 1, &t, NULL), SPRY_OK);
    assert_int_equal(t->rank, 2); /* a table of numbers, no picture */
    assert_int_equal(((const uint8_t *)t->data)[2], 22);
    spry_tensor_destroy(t);
    assert_int_equal(dataset_open_array(d, "scale", &part, NULL), SPRY_OK);
    assert_int_equal(spry_dataset_sample(part, 1, &t, NULL), SPRY_OK);
    assert_int_equal(t->rank, 0);
    assert_true(((const float *)t->data)[0] == 1.0f);
    assert_int_equal(spry_dataset_label(part, 1), 1);
    spry_tensor_destroy(t);
    spry_dataset_close(part);
    assert_int_equal(dataset_open_array(d, "images", &part, NULL), SPRY_BAD_INPUT);
    assert_int_equal(dataset_open_array(d, "zero_point", &part, NULL), SPRY_UNSUPPORTED);
    assert_null(part);
    spry_dataset_close(d);
    spry_tensor_destroy(samples);
    spry_tensor_destroy(labels);
    spry_tensor_destroy(scale);
    spry_tensor_destroy(zero);
}

static void kinds_must_be_known(void **state)
{
    spry_dataset *d = NULL;

    (void)state;
    assert_int_equal(spry_dataset_open(NULL, "cifar10", &d, NULL), SPRY_USAGE);
    assert_int_equal(spry_dataset_open(NULL, "cifar10:", &d, NULL), SPRY_USAGE);
    assert_int_equal(spry_dataset_open(NULL, "parquet:x", &d, NULL), SPRY_USAGE);
    assert_string_equal(spry_dataset_kind(0), "cifar10");
    assert_null(spry_dataset_kind(99));
    spry_dataset_close(NULL);
}

static void real_sets_open(void **state)
{
    static const struct {
        const char *kind;
        const char *path;
        int64_t count;
        int64_t classes;
    } cases[] = {
        {"cifar10", "cifar10/test_batch.bin", 10000, 10},
        {"idx", "mnist/t10k-images-idx3-ubyte.gz", 10000, 10},
        {"labels", "imagenet-sample/labels.txt", 1000, 1000},
        {"npz", "imagenet-sample/raw224_16images.npz", 16, 0},
        {"npz", "mlperf-tiny/kws01_features.npz", 1000, 12},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        spry_dataset *d = open_set(cases[i].kind, data_path(cases[i].path));
        spry_tensor *t = NULL;

        assert_int_equal(spry_dataset_count(d), cases[i].count);
        assert_true(cases[i].classes == 0 || spry_dataset_class_count(d) == cases[i].classes);
        assert_int_equal(spry_dataset_sample(d, cases[i].count - 1, &t, NULL), SPRY_OK);
        spry_tensor_destroy(t);
        spry_dataset_close(d);
    }
}

/* The stored centre crops are what the decoder and the default geometry make of the JPEGs. */
static void stored_crops_equal_decoded_ones(void **state)
{
    const int64_t target[] = {1, 224, 224, 3};
    spry_preprocess recipe = spry_preprocess_default();
    spry_dataset *crops;
    spry_dataset *files;
    int64_t equal = 0;

    (void)state;
    crops = open_set("npz", data_path("imagenet-sample/raw224_16images.npz"));
    files = open_set("labels", data_path("imagenet-sample/labels.txt"));
    for (int64_t i = 0; i < spry_dataset_count(crops); i++) {
        int64_t label = spry_dataset_label(crops, i);
        spry_tensor *stored = NULL;
        spry_tensor *made = NULL;

        assert_int_equal(spry_dataset_sample(crops, i, &stored, NULL), SPRY_OK);
        assert_int_equal(spry_dataset_batch(files, label, 1, &recipe, SPRY_DTYPE_U8, 4, target,
                                            &made, NULL, NULL),
                         SPRY_OK);
        assert_int_equal(spry_tensor_bytes(made), spry_tensor_bytes(stored));
        equal +=
            memcmp(spry_tensor_data(made), spry_tensor_data(stored), spry_tensor_bytes(made)) == 0;
        spry_tensor_destroy(stored);
        spry_tensor_destroy(made);
    }
    assert_int_equal(equal, spry_dataset_count(crops));
    spry_dataset_close(crops);
    spry_dataset_close(files);
}

static spry_status use_set(const spry_allocator *allocator, void *context, spry_error *error)
{
    const int64_t target[] = {-1, 3, 5, 5};
    spry_preprocess recipe = spry_preprocess_default();
    spry_dataset *d = NULL;
    spry_tensor *t = NULL;
    spry_status status = spry_dataset_open(allocator, context, &d, error);

    if (status == SPRY_OK) {
        status = spry_dataset_sample(d, 0, &t, error);
    }
    spry_tensor_destroy(t);
    t = NULL;
    if (status == SPRY_OK) {
        status = spry_dataset_batch(d, 0, 1, &recipe, SPRY_DTYPE_F32, 4, target, &t, NULL, error);
    }
    spry_tensor_destroy(t);
    spry_dataset_close(d);
    return status;
}

static void failing_allocations_leak_nothing(void **state)
{
    static const char *const kinds[] = {"folder:%s/sweep",   "labels:%s/sweep.tsv",
                                        "npz:%s/glyphs.npz", "cifar10:%s/sweep.bin",
                                        "idx:%s/sweep",      "safetensors:%s/glyphs.safetensors"};
    static const uint8_t record[3073] = {3};
    const uint8_t head[] = {0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3};
    const uint8_t label[] = {0, 0, 8, 1, 0, 0, 0, 1, 7};
    gzFile packed = gzopen(data_join(folder, "sweep-images-idx3-ubyte.gz"), "wb");
    char path[700];

    (void)state;
    assert_int_equal(mkdir(data_join(folder, "sweep"), 0700), 0);
    assert_int_equal(mkdir(data_join(folder, "sweep/one"), 0700), 0);
    write_picture(data_join(folder, "sweep/one/a.png"), 9, 7, 5);
    data_write(data_join(folder, "sweep.tsv"), "sweep/one/a.png\t4\n", 18);
    data_write(data_join(folder, "sweep.bin"), record, sizeof record);
    assert_non_null(packed);
    assert_int_equal(gzwrite(packed, head, sizeof head), sizeof head);
    assert_int_equal(gzwrite(packed, "pixels", 6), 6);
    assert_int_equal(gzclose(packed), Z_OK);
    data_write(data_join(folder, "sweep-labels-idx1-ubyte"), label, sizeof label);
    {
        const int64_t shape[] = {2, 6, 6, 3};
        const int64_t count[] = {2};
        spry_tensor *samples = make(SPRY_DTYPE_U8, 4, shape);
        spry_tensor *labels = make(SPRY_DTYPE_U8, 1, count);

        save_npz(data_join(folder, "glyphs.npz"), samples, labels, NULL, NULL);
        save_npz(data_join(folder, "glyphs.safetensors"), samples, labels, NULL, NULL);
        spry_tensor_destroy(samples);
        spry_tensor_destroy(labels);
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const char *tail = strchr(kinds[i], '/');

        (void)snprintf(path, sizeof path, "%.*s%s%s", (int)(strchr(kinds[i], '%') - kinds[i]),
                       kinds[i], folder, tail);
        assert_true(fault_sweep(use_set, path) >= 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cifar10_records_become_pictures),
        cmocka_unit_test(gzipped_idx_reads_in_any_order),
        cmocka_unit_test(folders_are_classes),
        cmocka_unit_test(label_files_name_pictures),
        cmocka_unit_test(npz_pictures_may_be_planes),
        cmocka_unit_test(npz_arrays_have_names),
        cmocka_unit_test(safetensors_are_read_like_npz),
        cmocka_unit_test(npz_integers_are_scaled),
        cmocka_unit_test(kinds_must_be_known),
        cmocka_unit_test(failing_allocations_leak_nothing),
        cmocka_unit_test(real_sets_open),
        cmocka_unit_test(stored_crops_equal_decoded_ones),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
