/* Tensors in files: round trips of every format, damaged and hostile archives, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "spry/tensor_file.h"
#include "support/data.h"
#include "support/fault.h"
#include "tensor/convert.h"
#include "tensor/npz.h"
#include "tensor/safetensors.h"
#include "tensor/tensor_file.h"

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

static spry_tensor *make(spry_dtype dtype, int64_t a, int64_t b)
{
    const int64_t shape[] = {a, b};
    spry_tensor *t = NULL;

    assert_int_equal(spry_tensor_create(NULL, dtype, 2, shape, &t, NULL), SPRY_OK);
    for (int64_t i = 0; i < a * b; i++) {
        int64_t value = i % 2;

        convert_write_i64(t, i, 1, &value);
    }
    return t;
}

static void assert_equal(const spry_tensor *a, const spry_tensor *b)
{
    assert_true(tensor_same_shape(a, b));
    for (int64_t i = 0; i < spry_tensor_count(a); i++) {
        assert_true(convert_get_f64(a, i) == convert_get_f64(b, i));
    }
}

static void single_tensors_come_back(void **state)
{
    static const char *const names[] = {"a.npy", "b.NPZ", "c.safetensors"};
    spry_tensor *t = make(SPRY_DTYPE_F32, 3, 5);
    spry_tensor *back = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *path = data_join(folder, names[i]);

        assert_int_equal(spry_tensor_save(t, path, NULL), SPRY_OK);
        assert_int_equal(spry_tensor_load(NULL, path, &back, NULL), SPRY_OK);
        assert_int_equal(spry_tensor_dtype(back), SPRY_DTYPE_F32);
        assert_equal(t, back);
        ((float *)spry_tensor_data(back))[0] = 7.0f; /* it is the caller's */
        spry_tensor_destroy(back);
    }
    spry_tensor_destroy(t);
}

static void bare_elements_come_back(void **state)
{
    spry_tensor *t = make(SPRY_DTYPE_I4, 3, 3);
    spry_tensor *back = NULL;
    const char *path = data_join(folder, "x.bin");
    const int64_t wrong[] = {4, 3};

    (void)state;
    assert_int_equal(spry_tensor_save(t, path, NULL), SPRY_OK);
    assert_int_equal(
        spry_tensor_load_raw(NULL, path, SPRY_DTYPE_I4, 2, spry_tensor_shape(t), &back, NULL),
        SPRY_OK);
    assert_equal(t, back);
    spry_tensor_destroy(back);
    assert_int_equal(spry_tensor_load_raw(NULL, path, SPRY_DTYPE_I4, 2, wrong, &back, NULL),
                     SPRY_BAD_INPUT);
    assert_int_equal(spry_tensor_load(NULL, path, &back, NULL), SPRY_USAGE);
    assert_int_equal(spry_tensor_load(NULL, "x.txt", &back, NULL), SPRY_UNSUPPORTED);
    assert_int_equal(spry_tensor_save(t, "x.txt", NULL), SPRY_UNSUPPORTED);
    spry_tensor_destroy(t);
}

static void archives_keep_names_and_types(void **state)
{
    static const char *const names[] = {"w", "a \"quoted\" \xc3\xa9", "bits", "empty"};
    static const char *const files[] = {"m.npz", "m.safetensors"};
    spry_tensor *tensors[] = {make(SPRY_DTYPE_F64, 4, 4), make(SPRY_DTYPE_U8, 3, 1),
                              make(SPRY_DTYPE_BOOL, 1, 7), make(SPRY_DTYPE_F16, 0, 2)};

    (void)state;
    for (int f = 0; f < 2; f++) {
        const char *path = data_join(folder, files[f]);
        spry_archive *archive = NULL;
        const spry_tensor *t = NULL;
        const spry_tensor *again = NULL;

        assert_int_equal(
            spry_archive_save(path, 4, names, (const spry_tensor *const *)tensors, NULL), SPRY_OK);
        assert_int_equal(spry_archive_open(NULL, path, &archive, NULL), SPRY_OK);
        assert_int_equal(spry_archive_count(archive), 4);
        for (int i = 0; i < 4; i++) {
            int32_t index = spry_archive_find(archive, names[i]);

            assert_true(index >= 0);
            assert_string_equal(spry_archive_name(archive, index), names[i]);
            assert_int_equal(spry_archive_tensor(archive, index, &t, NULL), SPRY_OK);
            assert_int_equal(spry_tensor_dtype(t), spry_tensor_dtype(tensors[i]));
            assert_equal(t, tensors[i]);
            assert_int_equal(spry_archive_tensor(archive, index, &again, NULL), SPRY_OK);
            assert_ptr_equal(t, again);
        }
        assert_int_equal(spry_archive_find(archive, "nothing"), -1);
        assert_int_equal(spry_archive_tensor(archive, 4, &t, NULL), SPRY_USAGE);
        assert_null(spry_archive_name(archive, -1));
        spry_archive_close(archive);
    }
    for (int i = 0; i < 4; i++) {
        spry_tensor_destroy(tensors[i]);
    }
}

static void names_must_differ(void **state)
{
    static const char *const twice[] = {"a", "a"};
    static const char *const empty[] = {"a", ""};
    spry_tensor *t = make(SPRY_DTYPE_F32, 1, 1);
    const spry_tensor *tensors[] = {t, t};
    const char *path = data_join(folder, "n.npz");

    (void)state;
    assert_int_equal(spry_archive_save(path, 2, twice, tensors, NULL), SPRY_USAGE);
    assert_int_equal(spry_archive_save(path, 2, empty, tensors, NULL), SPRY_USAGE);
    assert_int_equal(spry_archive_save("n.npy", 1, twice, tensors, NULL), SPRY_UNSUPPORTED);
    spry_tensor_destroy(t);
}

/* A safetensors file from a header and `data_bytes` zeros. */
static spry_status open_header(const char *header, size_t data_bytes, spry_error *error)
{
    size_t length = strlen(header);
    size_t size = 8 + length + data_bytes;
    uint8_t *bytes = calloc(1, size);
    safetensors *file = NULL;
    spry_status status;

    assert_non_null(bytes);
    bytes[0] = (uint8_t)length;
    bytes[1] = (uint8_t)(length >> 8);
    memcpy(bytes + 8, header, length);
    status = safetensors_open(NULL, bytes, size, NULL, "x", &file, error);
    safetensors_close(file);
    free(bytes);
    return status;
}

static void safetensors_headers_are_checked(void **state)
{
    static const struct {
        const char *header;
        size_t data;
        spry_status status;
    } cases[] = {
        {"{}", 0, SPRY_OK},
        {"{}   ", 0, SPRY_OK},
        {"{}", 1, SPRY_BAD_INPUT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, SPRY_OK},
        {"{\"a\":{\"shape\":[],\"data_offsets\":[0,4],\"dtype\":\"F32\"}}", 4, SPRY_OK},
        {"{\"__metadata__\":{\"k\":\"v\"}}", 0, SPRY_OK},
        {"{\"__metadata__\":{\"k\":1}}", 0, SPRY_BAD_INPUT},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, SPRY_BAD_INPUT},
        {" {}", 0, SPRY_BAD_INPUT},
        {"[]", 0, SPRY_BAD_INPUT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}", 4, SPRY_BAD_INPUT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, SPRY_BAD_INPUT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}", 4, SPRY_BAD_INPUT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, SPRY_BAD_INPUT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, SPRY_BAD_INPUT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, SPRY_BAD_INPUT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, SPRY_BAD_INPUT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[01],\"data_offsets\":[0,4]}}", 4, SPRY_BAD_INPUT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]}}", 4, SPRY_BAD_INPUT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,],\"data_offsets\":[0,4]}}", 4, SPRY_BAD_INPUT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,99999999999999999999]}}", 4,
         SPRY_BAD_INPUT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, SPRY_BAD_INPUT},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1]}}", 4, SPRY_BAD_INPUT},
        {"{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, SPRY_UNSUPPORTED},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296],\"data_offsets\":[0,4]}}", 4, SPRY_LIMIT},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,4],\"data_offsets\":[0,4]}}", 4,
         SPRY_LIMIT},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
         0, SPRY_BAD_INPUT},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
         3, SPRY_BAD_INPUT},
        {"{\"\\ud83d\\ude00\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2,
         SPRY_OK},
        {"{\"\\ud83d\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2,
         SPRY_BAD_INPUT},
        {"{\"\\u0000\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2,
         SPRY_BAD_INPUT},
        {"{\"\xff\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2, SPRY_BAD_INPUT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        spry_error error = {0};
        spry_status status = open_header(cases[i].header, cases[i].data, &error);

        if (status != cases[i].status) {
            fail_msg("case %zu: %s (%s)", i, spry_status_name(status), error.what);
        }
    }
}

static void huge_safetensors_headers_are_refused_at_once(void **state)
{
    uint8_t bytes[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    safetensors *file = NULL;

    (void)state;
    assert_int_equal(safetensors_open(NULL, bytes, 16, NULL, "x", &file, NULL), SPRY_LIMIT);
    memset(bytes, 0, sizeof bytes);
    bytes[0] = 9;
    assert_int_equal(safetensors_open(NULL, bytes, 16, NULL, "x", &file, NULL), SPRY_BAD_INPUT);
    assert_int_equal(safetensors_open(NULL, bytes, 7, NULL, "x", &file, NULL), SPRY_BAD_INPUT);
}

/* Every file that is a cut or a changed byte of a good one is refused or read, never more. */
static void damaged_archives_do_no_harm(void **state)
{
    static const char *const names[] = {"a", "b"};
    static const char *const files[] = {"d.npz", "d.safetensors"};
    spry_tensor *a = make(SPRY_DTYPE_F32, 2, 3);
    spry_tensor *b = make(SPRY_DTYPE_BOOL, 1, 5);
    const spry_tensor *tensors[] = {a, b};

    (void)state;
    for (int f = 0; f < 2; f++) {
        char path[600];
        uint8_t bytes[4096];
        size_t size;
        FILE *file;

        (void)snprintf(path, sizeof path, "%s", data_join(folder, files[f]));
        assert_int_equal(spry_archive_save(path, 2, names, tensors, NULL), SPRY_OK);
        file = fopen(path, "rb");
        assert_non_null(file);
        size = fread(bytes, 1, sizeof bytes, file);
        (void)fclose(file);
        for (size_t i = 0; i < 2 * size; i++) {
            uint8_t *copy = malloc(size);
            size_t length = i < size ? i : size;
            npz *zipped = NULL;
            safetensors *safe = NULL;
            tensor t;

            assert_non_null(copy);
            memcpy(copy, bytes, length);
            copy[i % size] ^= i < size ? 0 : 0x41;
            if (f == 0 && npz_open(NULL, copy, length, "x", &zipped, NULL) == SPRY_OK) {
                for (int32_t k = 0; k < npz_count(zipped); k++) {
                    if (npz_read(zipped, k, &t, NULL) == SPRY_OK) {
                        tensor_fini(&t);
                    }
                }
            } else if (f == 1 &&
                       safetensors_open(NULL, copy, length, NULL, "x", &safe, NULL) == SPRY_OK) {
                for (int32_t k = 0; k < safetensors_count(safe); k++) {
                    if (safetensors_read(safe, k, &t, NULL) == SPRY_OK) {
                        tensor_fini(&t);
                    }
                }
            }
            npz_close(zipped);
            safetensors_close(safe);
            free(copy);
        }
    }
    spry_tensor_destroy(a);
    spry_tensor_destroy(b);
}

static void zip_bombs_are_refused_before_unpacking(void **state)
{
    /* An end record that announces 65,535 entries. */
    uint8_t end[22] = {'P', 'K', 5, 6, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff};
    npz *archive = NULL;

    (void)state;
    assert_int_equal(npz_open(NULL, end, sizeof end, "x", &archive, NULL), SPRY_LIMIT);
    end[10] = 1;
    end[11] = 0;
    assert_int_equal(npz_open(NULL, end, sizeof end, "x", &archive, NULL), SPRY_BAD_INPUT);
}

static void reads_numpy_archives(void **state)
{
    spry_archive *archive = NULL;
    const spry_tensor *t = NULL;
    spry_error error;

    (void)state;
    assert_int_equal(spry_archive_open(NULL, data_path("graphs/cora.npz"), &archive, &error),
                     SPRY_OK);
    assert_int_equal(spry_archive_tensor(archive, spry_archive_find(archive, "labels"), &t, &error),
                     SPRY_OK);
    assert_int_equal(spry_tensor_count(t), 2708);
    assert_int_equal(spry_tensor_dtype(t), SPRY_DTYPE_I32);
    assert_int_equal(
        spry_archive_tensor(archive, spry_archive_find(archive, "num_features"), &t, &error),
        SPRY_OK);
    assert_int_equal(convert_get_i64(t, 0), 1433);
    spry_archive_close(archive);
}

static void streams_read_any_part(void **state)
{
    static const char *const names[] = {"x"};
    spry_tensor *t = make(SPRY_DTYPE_I16, 50, 40);
    const spry_tensor *tensors[] = {t};
    const char *path = data_join(folder, "s.npz");
    tensor_storage *storage = NULL;
    const uint8_t *bytes;
    size_t size;
    npz *archive = NULL;
    npz_stream *stream = NULL;
    npy_layout layout;
    bool streamable;

    (void)state;
    for (int16_t i = 0; i < 2000; i++) {
        ((int16_t *)spry_tensor_data(t))[i] = i;
    }
    assert_int_equal(spry_archive_save(path, 1, names, tensors, NULL), SPRY_OK);
    assert_int_equal(tensor_file_map(NULL, path, 1 << 20, &storage, &bytes, &size, NULL), SPRY_OK);
    assert_int_equal(npz_open(NULL, bytes, size, "s", &archive, NULL), SPRY_OK);
    assert_int_equal(npz_layout(archive, 0, &layout, &streamable, NULL), SPRY_OK);
    assert_true(streamable);
    assert_int_equal(npz_stream_open(archive, 0, &stream, NULL), SPRY_OK);
    for (size_t i = 0; i < 50; i++) {
        size_t row = i * 37 % 50;
        int16_t values[40];

        assert_int_equal(
            npz_stream_read(stream, layout.data_offset + row * 80, values, sizeof values, NULL),
            SPRY_OK);
        assert_int_equal(values[39], (int)row * 40 + 39);
    }
    assert_int_equal(npz_stream_read(stream, size, &layout, 1, NULL), SPRY_BAD_INPUT);
    npz_stream_close(stream);
    npz_close(archive);
    tensor_storage_drop(storage);
    spry_tensor_destroy(t);
}

static spry_status load_everything(const spry_allocator *allocator, void *context,
                                   spry_error *error)
{
    spry_archive *archive = NULL;
    const spry_tensor *t = NULL;
    spry_status status = spry_archive_open(allocator, context, &archive, error);

    for (int32_t i = 0; status == SPRY_OK && i < spry_archive_count(archive); i++) {
        status = spry_archive_tensor(archive, i, &t, error);
    }
    spry_archive_close(archive);
    return status;
}

static spry_status load_and_save(const spry_allocator *allocator, void *context, spry_error *error)
{
    const char *path = context;
    const int64_t shape[] = {3};
    bool is_bare = strstr(path, ".bin") != NULL;
    spry_tensor *t = NULL;
    spry_status status =
        is_bare ? spry_tensor_load_raw(allocator, path, SPRY_DTYPE_F32, 1, shape, &t, error)
                : spry_tensor_load(allocator, path, &t, error);

    if (status == SPRY_OK) {
        status = spry_tensor_save(t, path, error);
    }
    if (status == SPRY_OK && !is_bare && strstr(path, ".npy") == NULL) {
        status = spry_archive_save(path, 1, (const char *const[]){"data"},
                                   (const spry_tensor *const[]){t}, error);
    }
    spry_tensor_destroy(t);
    return status;
}

static void failing_allocations_leak_nothing(void **state)
{
    static const char *const names[] = {"a", "b"};
    static const char *const files[] = {"f.npz", "f.safetensors"};
    static const char *const singles[] = {"s.npy", "s.bin", "s.npz", "s.safetensors"};
    spry_tensor *line = make(SPRY_DTYPE_F32, 1, 3);
    spry_tensor *t = make(SPRY_DTYPE_F32, 2, 3);
    const spry_tensor *tensors[] = {t, t};

    (void)state;
    for (int f = 0; f < 2; f++) {
        char path[600];

        (void)snprintf(path, sizeof path, "%s", data_join(folder, files[f]));
        assert_int_equal(spry_archive_save(path, 2, names, tensors, NULL), SPRY_OK);
        assert_true(fault_sweep(load_everything, path) >= 4);
    }
    for (int f = 0; f < 4; f++) {
        char path[600];

        (void)snprintf(path, sizeof path, "%s", data_join(folder, singles[f]));
        assert_int_equal(spry_tensor_save(line, path, NULL), SPRY_OK);
        assert_true(fault_sweep(load_and_save, path) >= 2);
    }
    spry_tensor_destroy(line);
    spry_tensor_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_tensors_come_back),
        cmocka_unit_test(bare_elements_come_back),
        cmocka_unit_test(archives_keep_names_and_types),
        cmocka_unit_test(names_must_differ),
        cmocka_unit_test(safetensors_headers_are_checked),
        cmocka_unit_test(huge_safetensors_headers_are_refused_at_once),
        cmocka_unit_test(damaged_archives_do_no_harm),
        cmocka_unit_test(zip_bombs_are_refused_before_unpacking),
        cmocka_unit_test(reads_numpy_archives),
        cmocka_unit_test(streams_read_any_part),
        cmocka_unit_test(failing_allocations_leak_nothing),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
