/* NPY: headers good and hostile, byte orders, Fortran order, strings, and the round trip of all
 * types. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/fault.h"
#include "tensor/convert.h"
#include "tensor/npy.h"

/* A growing file in memory. */
typedef struct buffer {
    uint8_t bytes[8192];
    size_t size;
} buffer;

static spry_status to_buffer(void *context, const void *bytes, size_t size, spry_error *error)
{
    buffer *b = context;

    (void)error;
    assert_true(size <= sizeof b->bytes - b->size);
    memcpy(b->bytes + b->size, bytes, size);
    b->size += size;
    return SPRY_OK;
}

/* A version 1.0 file with this dictionary and data. */
static void compose(buffer *b, const char *dictionary, const void *data, size_t data_bytes)
{
    size_t length = strlen(dictionary);
    uint8_t head[] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (uint8_t)length, (uint8_t)(length >> 8)};

    b->size = 0;
    assert_int_equal(to_buffer(b, head, sizeof head, NULL), SPRY_OK);
    assert_int_equal(to_buffer(b, dictionary, length, NULL), SPRY_OK);
    assert_int_equal(to_buffer(b, data, data_bytes, NULL), SPRY_OK);
}

static spry_status read_buffer(const buffer *b, tensor *t, spry_error *error)
{
    uint8_t *exact = malloc(b->size); /* reads past the end are then seen */
    spry_status status;

    assert_non_null(exact);
    memcpy(exact, b->bytes, b->size);
    status = npy_read(NULL, exact, b->size, NULL, "x.npy", t, error);
    free(exact);
    return status;
}

static void reads_what_numpy_writes(void **state)
{
    static const char *const dictionaries[] = {
        "{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3), }",
        "{\"shape\":(2,3),\"fortran_order\":False,\"descr\":\"<i2\"}",
        "{'descr': '=i2', 'fortran_order': False, 'shape': (2L, 3L), }   \n",
    };
    const int16_t data[] = {1, 2, 3, 4, 5, -6};

    (void)state;
    for (size_t i = 0; i < sizeof dictionaries / sizeof dictionaries[0]; i++) {
        buffer b;
        tensor t;

        compose(&b, dictionaries[i], data, sizeof data);
        assert_int_equal(read_buffer(&b, &t, NULL), SPRY_OK);
        assert_int_equal(t.dtype, SPRY_DTYPE_I16);
        assert_int_equal(t.rank, 2);
        assert_int_equal(t.shape[1], 3);
        assert_memory_equal(t.data, data, sizeof data);
        tensor_fini(&t);
    }
}

static void converts_order_of_bytes_and_axes(void **state)
{
    const uint8_t big[] = {0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6};
    const int16_t columns[] = {1, 4, 2, 5, 3, 6};
    const int16_t expected[] = {1, 2, 3, 4, 5, 6};
    buffer b;
    tensor t;

    (void)state;
    compose(&b, "{'descr': '>i2', 'fortran_order': False, 'shape': (2, 3), }", big, sizeof big);
    assert_int_equal(read_buffer(&b, &t, NULL), SPRY_OK);
    assert_memory_equal(t.data, expected, sizeof expected);
    tensor_fini(&t);
    compose(&b, "{'descr': '<i2', 'fortran_order': True, 'shape': (2, 3), }", columns,
            sizeof columns);
    assert_int_equal(read_buffer(&b, &t, NULL), SPRY_OK);
    assert_memory_equal(t.data, expected, sizeof expected);
    tensor_fini(&t);
}

static void refuses_malformed_headers(void **state)
{
    static const struct {
        const char *dictionary;
        spry_status status;
    } cases[] = {
        {"", SPRY_BAD_INPUT},
        {"{}", SPRY_BAD_INPUT},
        {"{'descr': '<i2', 'fortran_order': False}", SPRY_BAD_INPUT},
        {"{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3), ", SPRY_BAD_INPUT},
        {"{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3), } x", SPRY_BAD_INPUT},
        {"{'descr': '<i2', 'fortran_order': 0, 'shape': (2, 3), }", SPRY_BAD_INPUT},
        {"{'descr': '<i2', 'fortran_order': False, 'shape': (6), }", SPRY_BAD_INPUT},
        {"{'descr': '<i2', 'fortran_order': False, 'shape': 6, }", SPRY_BAD_INPUT},
        {"{'descr': '<i2', 'fortran_order': False, 'shape': (-6,), }", SPRY_BAD_INPUT},
        {"{'descr': '<i2', 'fortran_order': False, 'shape': (6 6), }", SPRY_BAD_INPUT},
        {"{'descr': '<i2', 'descr': '<i2', 'shape': (6,), 'fortran_order': False}", SPRY_BAD_INPUT},
        {"{'descr': '<i2', 'extra': '<i2', 'shape': (6,), 'fortran_order': False}", SPRY_BAD_INPUT},
        {"{'descr': '<i2', 'fortran_order': False, 'shape': (5,), }", SPRY_BAD_INPUT},
        {"{'descr': '<i2', 'fortran_order': False, 'shape': (7,), }", SPRY_BAD_INPUT},
        {"{'descr': '<i2', 'fortran_order': False, 'shape': (99999999999,), }", SPRY_LIMIT},
        {"{'descr': '<i2', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,6), }", SPRY_LIMIT},
        {"{'descr': '<i2', 'fortran_order': False, 'shape': (2147483647,2147483647,2147483647), }",
         SPRY_LIMIT},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (6,), }", SPRY_UNSUPPORTED},
        {"{'descr': [('a', '<i2')], 'fortran_order': False, 'shape': (6,), }", SPRY_UNSUPPORTED},
        {"{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (6,), }", SPRY_UNSUPPORTED},
        {"{'descr': '<f16', 'fortran_order': False, 'shape': (6,), }", SPRY_UNSUPPORTED},
        {"{'descr': '|S0', 'fortran_order': False, 'shape': (6,), }", SPRY_BAD_INPUT},
        {"{'descr': '<U999999999999', 'fortran_order': False, 'shape': (6,), }", SPRY_BAD_INPUT},
        {"{'descr': '', 'fortran_order': False, 'shape': (6,), }", SPRY_UNSUPPORTED},
    };
    const uint8_t data[12] = {0};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buffer b;
        tensor t;
        spry_error error = {0};
        spry_status status;

        compose(&b, cases[i].dictionary, data, sizeof data);
        status = read_buffer(&b, &t, &error);
        if (status != cases[i].status) {
            fail_msg("case %zu: %s (%s)", i, spry_status_name(status), error.what);
        }
        assert_string_equal(error.where, "x.npy");
        assert_true(error.what[0] != '\0');
    }
}

static void refuses_damaged_files(void **state)
{
    buffer whole;
    tensor t;
    const uint8_t data[] = {0, 1, 2};

    (void)state;
    compose(&whole, "{'descr': '|b1', 'fortran_order': False, 'shape': (3,), }", data, 3);
    assert_int_equal(read_buffer(&whole, &t, NULL), SPRY_BAD_INPUT); /* a bool of 2 */
    whole.bytes[whole.size - 1] = 1;
    assert_int_equal(read_buffer(&whole, &t, NULL), SPRY_OK);
    tensor_fini(&t);
    for (size_t size = 1; size < whole.size; size++) {
        buffer cut = whole;

        cut.size = size;
        assert_int_equal(read_buffer(&cut, &t, NULL), SPRY_BAD_INPUT);
    }
    whole.bytes[6] = 4;
    assert_int_equal(read_buffer(&whole, &t, NULL), SPRY_UNSUPPORTED);
    whole.bytes[6] = 2; /* now the header's length has four bytes: far too large */
    assert_int_equal(read_buffer(&whole, &t, NULL), SPRY_LIMIT);
}

static void reads_strings(void **state)
{
    const uint32_t points[] = {'a', 0xe9, 0, 0x1f600, 0, 0};
    const uint32_t surrogate[] = {0xd800, 0, 0, 0, 0, 0};
    const spry_text *texts;
    buffer b;
    tensor t;

    (void)state;
    compose(&b, "{'descr': '<U3', 'fortran_order': False, 'shape': (2,), }", points, sizeof points);
    assert_int_equal(read_buffer(&b, &t, NULL), SPRY_OK);
    texts = t.data;
    assert_int_equal(texts[0].size, 3);
    assert_memory_equal(texts[0].data, "a\xc3\xa9", 3);
    assert_int_equal(texts[1].size, 4);
    assert_memory_equal(texts[1].data, "\xf0\x9f\x98\x80", 4);
    tensor_fini(&t);
    compose(&b, "{'descr': '<U3', 'fortran_order': False, 'shape': (2,), }", surrogate,
            sizeof surrogate);
    assert_int_equal(read_buffer(&b, &t, NULL), SPRY_BAD_INPUT);
    compose(&b, "{'descr': '|S4', 'fortran_order': False, 'shape': (2,), }", "ab\0\0abcd", 8);
    assert_int_equal(read_buffer(&b, &t, NULL), SPRY_OK);
    texts = t.data;
    assert_int_equal(texts[0].size, 2);
    assert_int_equal(texts[1].size, 4);
    tensor_fini(&t);
}

static void every_type_comes_back(void **state)
{
    const int64_t shape[] = {3, 1, 7};

    (void)state;
    for (int d = 1; d < SPRY_DTYPE_COUNT; d++) {
        tensor t;
        tensor back;
        buffer b = {.size = 0};
        size_t size;

        if (d == SPRY_DTYPE_STRING) {
            continue;
        }
        assert_int_equal(tensor_init_owned(&t, NULL, (spry_dtype)d, 3, shape, NULL), SPRY_OK);
        for (int64_t i = 0; i < 21; i++) {
            int64_t value = i % 2;

            convert_write_i64(&t, i, 1, &value);
        }
        assert_int_equal(npy_size(&t, &size, NULL), SPRY_OK);
        assert_int_equal(npy_write(&t, to_buffer, &b, NULL), SPRY_OK);
        assert_int_equal(b.size, size);
        assert_int_equal(read_buffer(&b, &back, NULL), SPRY_OK);
        assert_true(tensor_same_shape(&t, &back));
        for (int64_t i = 0; i < 21; i++) {
            assert_true(convert_get_f64(&t, i) == convert_get_f64(&back, i));
        }
        tensor_fini(&t);
        tensor_fini(&back);
    }
}

static void strings_come_back(void **state)
{
    spry_text items[] = {{"plain", 5}, {"", 0}, {"\xc3\xa9\xe2\x82\xac", 5}, {"\xff", 1}};
    const int64_t shape[] = {3};
    const int64_t four[] = {4};
    const spry_text *texts;
    buffer b = {.size = 0};
    tensor t;
    tensor back;

    (void)state;
    assert_int_equal(tensor_init(&t, SPRY_DTYPE_STRING, 1, shape, items, NULL), SPRY_OK);
    assert_int_equal(npy_write(&t, to_buffer, &b, NULL), SPRY_OK);
    assert_int_equal(read_buffer(&b, &back, NULL), SPRY_OK);
    texts = back.data;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(texts[i].size, items[i].size);
        assert_memory_equal(texts[i].data, items[i].data, items[i].size);
    }
    tensor_fini(&back);
    assert_int_equal(tensor_init(&t, SPRY_DTYPE_STRING, 1, four, items, NULL), SPRY_OK);
    assert_int_equal(npy_write(&t, to_buffer, &b, NULL), SPRY_BAD_INPUT);
}

static spry_status read_once(const spry_allocator *allocator, void *context, spry_error *error)
{
    const buffer *b = context;
    tensor t;
    spry_status status = npy_read(allocator, b->bytes, b->size, NULL, "x.npy", &t, error);

    tensor_fini(&t);
    return status;
}

static void failing_allocations_leak_nothing(void **state)
{
    buffer b;

    (void)state;
    compose(&b, "{'descr': '|S4', 'fortran_order': False, 'shape': (2,), }", "ab\0\0abcd", 8);
    assert_true(fault_sweep(read_once, &b) >= 2);
    compose(&b, "{'descr': '|u1', 'fortran_order': False, 'shape': (8,), }", "ab\0\0abcd", 8);
    assert_true(fault_sweep(read_once, &b) >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_numpy_writes),
        cmocka_unit_test(converts_order_of_bytes_and_axes),
        cmocka_unit_test(refuses_malformed_headers),
        cmocka_unit_test(refuses_damaged_files),
        cmocka_unit_test(reads_strings),
        cmocka_unit_test(every_type_comes_back),
        cmocka_unit_test(strings_come_back),
        cmocka_unit_test(failing_allocations_leak_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
