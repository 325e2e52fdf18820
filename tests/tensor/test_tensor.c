/* Tensors and values: sizes, sharing, views, ownership, and what happens when memory runs out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/alloc.h"
#include "support/fault.h"
#include "tensor/convert.h"
#include "tensor/value.h"

static void creates_zeroed_elements(void **state)
{
    const int64_t shape[] = {2, 3, 0};
    const int64_t packed[] = {3, 3};
    spry_tensor *t = NULL;
    char text[64];

    (void)state;
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_F32, 2, shape, &t, NULL), SPRY_OK);
    assert_int_equal(spry_tensor_count(t), 6);
    assert_int_equal(spry_tensor_bytes(t), 24);
    assert_int_equal(spry_tensor_rank(t), 2);
    assert_int_equal(spry_tensor_shape(t)[1], 3);
    assert_int_equal((uintptr_t)spry_tensor_data(t) % 64, 0);
    assert_true(((float *)spry_tensor_data(t))[5] == 0.0f);
    assert_string_equal(tensor_describe(t, text, sizeof text), "f32[2,3]");
    assert_string_equal(tensor_describe(t, text, 6), "f32[2");
    spry_tensor_destroy(t);
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_F32, 3, shape, &t, NULL), SPRY_OK);
    assert_int_equal(spry_tensor_count(t), 0);
    assert_non_null(spry_tensor_data(t));
    spry_tensor_destroy(t);
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_I4, 2, packed, &t, NULL), SPRY_OK);
    assert_int_equal(spry_tensor_bytes(t), 5);
    spry_tensor_destroy(t);
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_F64, 0, NULL, &t, NULL), SPRY_OK);
    assert_int_equal(spry_tensor_count(t), 1);
    spry_tensor_destroy(t);
    spry_tensor_destroy(NULL);
}

static void refuses_impossible_shapes(void **state)
{
    const int64_t big = INT32_MAX;
    const int64_t shape[9] = {big, big, big, big, 0, 1, 1, 1, 1};
    const int64_t negative[] = {-1};
    const int64_t too_large[] = {big + 1};
    spry_tensor *t = NULL;
    spry_error error;

    (void)state;
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_U8, 3, shape, &t, &error), SPRY_LIMIT);
    assert_null(t);
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_U8, 5, shape, &t, &error), SPRY_LIMIT);
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_C128, 2, shape, &t, &error), SPRY_LIMIT);
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_U8, 9, shape, &t, &error), SPRY_USAGE);
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_U8, -1, shape, &t, &error), SPRY_USAGE);
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_U8, 1, negative, &t, &error), SPRY_USAGE);
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_U8, 1, too_large, &t, &error), SPRY_LIMIT);
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_U8, 1, NULL, &t, &error), SPRY_USAGE);
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_NONE, 1, shape, &t, &error), SPRY_USAGE);
    assert_int_equal(spry_tensor_create(NULL, (spry_dtype)77, 1, shape, &t, &error), SPRY_USAGE);
}

static void wraps_only_the_exact_size(void **state)
{
    float data[6] = {1, 2, 3, 4, 5, 6};
    const int64_t shape[] = {2, 3};
    spry_tensor *t = NULL;
    spry_tensor *copy = NULL;

    (void)state;
    assert_int_equal(spry_tensor_wrap(NULL, SPRY_DTYPE_F32, 2, shape, data, 20, &t, NULL),
                     SPRY_USAGE);
    assert_int_equal(spry_tensor_wrap(NULL, SPRY_DTYPE_F32, 2, shape, NULL, 24, &t, NULL),
                     SPRY_USAGE);
    assert_int_equal(spry_tensor_wrap(NULL, SPRY_DTYPE_F32, 2, shape, data, 24, &t, NULL), SPRY_OK);
    assert_ptr_equal(spry_tensor_data(t), data);
    assert_int_equal(spry_tensor_copy(NULL, t, &copy, NULL), SPRY_OK);
    data[0] = 9;
    assert_true(((const float *)spry_tensor_const_data(copy))[0] == 1.0f);
    spry_tensor_destroy(t);
    spry_tensor_destroy(copy);
}

static void copies_strings_with_their_bytes(void **state)
{
    char hello[] = "hello";
    spry_text items[] = {{hello, 5}, {NULL, 0}, {"a\0b", 3}};
    const int64_t shape[] = {3};
    spry_tensor *t = NULL;
    spry_tensor *copy = NULL;
    const spry_text *texts;

    (void)state;
    assert_int_equal(
        spry_tensor_wrap(NULL, SPRY_DTYPE_STRING, 1, shape, items, sizeof items, &t, NULL),
        SPRY_OK);
    assert_int_equal(spry_tensor_copy(NULL, t, &copy, NULL), SPRY_OK);
    memset(hello, 'x', 5);
    texts = spry_tensor_const_data(copy);
    assert_int_equal(texts[0].size, 5);
    assert_memory_equal(texts[0].data, "hello", 5);
    assert_int_equal(texts[1].size, 0);
    assert_memory_equal(texts[2].data, "a\0b", 3);
    spry_tensor_destroy(t);
    spry_tensor_destroy(copy);
}

/* A tensor of 2 x 3 x 4 that counts up. */
static void count_up(tensor *t)
{
    const int64_t shape[] = {2, 3, 4};

    assert_int_equal(tensor_init_owned(t, NULL, SPRY_DTYPE_I16, 3, shape, NULL), SPRY_OK);
    for (int16_t i = 0; i < 24; i++) {
        ((int16_t *)t->data)[i] = i;
    }
}

static void views_transpose_slice_and_broadcast(void **state)
{
    const int permutation[] = {2, 0, 1};
    const int twice[] = {0, 0, 1};
    const int64_t start[] = {1, 2, 3};
    const int64_t step[] = {1, -2, -1};
    const int64_t count[] = {1, 2, 3};
    const int64_t far[] = {1, 2, 5};
    const int64_t shape[] = {5, 2, 3, 4};
    tensor t;
    tensor view;
    tensor dense;

    (void)state;
    count_up(&t);
    assert_int_equal(tensor_view_transpose(&view, &t, twice, NULL), SPRY_USAGE);
    assert_int_equal(tensor_view_transpose(&view, &t, permutation, NULL), SPRY_OK);
    assert_false(tensor_is_dense(&view));
    assert_int_equal(tensor_init_copy(&dense, NULL, &view, NULL), SPRY_OK);
    for (int i = 0; i < 24; i++) { /* dense[c][a][b] = t[a][b][c] */
        int c = i / 6;
        int a = i / 3 % 2;
        int b = i % 3;

        assert_int_equal(((int16_t *)dense.data)[i], a * 12 + b * 4 + c);
    }
    tensor_fini(&view);
    tensor_fini(&dense);

    assert_int_equal(tensor_view_slice(&view, &t, start, step, far, NULL), SPRY_USAGE);
    assert_int_equal(tensor_view_slice(&view, &t, start, step, count, NULL), SPRY_OK);
    assert_int_equal(tensor_init_copy(&dense, NULL, &view, NULL), SPRY_OK);
    assert_memory_equal(dense.data, ((int16_t[]){23, 22, 21, 15, 14, 13}), 12);
    tensor_fini(&view);
    tensor_fini(&dense);

    assert_int_equal(tensor_view_broadcast(&view, &t, 3, shape, NULL), SPRY_USAGE);
    assert_int_equal(tensor_view_broadcast(&view, &t, 4, shape, NULL), SPRY_OK);
    assert_int_equal(tensor_init_copy(&dense, NULL, &view, NULL), SPRY_OK);
    for (int i = 0; i < 120; i++) {
        assert_int_equal(((int16_t *)dense.data)[i], i % 24);
    }
    tensor_fini(&t); /* the view keeps the memory alive */
    assert_int_equal(((int16_t *)view.data)[23], 23);
    tensor_fini(&view);
    tensor_fini(&dense);
}

static void packed_types_have_no_views(void **state)
{
    const int64_t shape[] = {4};
    const int identity[] = {0};
    const int64_t zero[] = {0};
    const int64_t one[] = {1};
    tensor t;
    tensor view;

    (void)state;
    assert_int_equal(tensor_init_owned(&t, NULL, SPRY_DTYPE_I4, 1, shape, NULL), SPRY_OK);
    assert_int_equal(tensor_view_transpose(&view, &t, identity, NULL), SPRY_USAGE);
    assert_int_equal(tensor_view_slice(&view, &t, zero, one, one, NULL), SPRY_USAGE);
    assert_int_equal(tensor_view_broadcast(&view, &t, 1, shape, NULL), SPRY_USAGE);
    tensor_fini(&t);
}

static int releases;

static void count_release(void *context, void *data, size_t bytes)
{
    (void)context;
    (void)data;
    releases += (int)bytes;
}

static void storage_lives_until_the_last_reference(void **state)
{
    char bytes[8];
    tensor_storage *storage = tensor_storage_create(NULL, bytes, 8, count_release, NULL);

    (void)state;
    tensor_storage_retain(storage);
    tensor_storage_drop(storage);
    assert_int_equal(releases, 0);
    tensor_storage_drop(storage);
    assert_int_equal(releases, 8);
    tensor_storage_drop(NULL);
    tensor_storage_retain(NULL);
}

static spry_status build_value(const spry_allocator *allocator, spry_value **result,
                               spry_error *error)
{
    const int64_t shape[] = {4};
    spry_value *sequence = NULL;
    spry_status status = spry_value_sequence(allocator, SPRY_DTYPE_F32, &sequence, error);

    *result = NULL;
    for (int i = 0; i < 9 && status == SPRY_OK; i++) {
        spry_tensor *t = NULL;
        spry_value *item = NULL;

        status = spry_tensor_create(allocator, SPRY_DTYPE_F32, 1, shape, &t, error);
        if (status == SPRY_OK) {
            status = spry_value_from_tensor(allocator, t, &item, error);
        }
        if (status == SPRY_OK) {
            status = spry_value_append(sequence, item, error);
        }
    }
    if (status == SPRY_OK) {
        *result = sequence;
    } else {
        spry_value_destroy(sequence);
    }
    return status;
}

static void sequences_hold_tensors_of_one_type(void **state)
{
    spry_value *sequence = NULL;
    spry_value *none = NULL;
    spry_value *other = NULL;
    spry_tensor *t = NULL;
    value shared;
    value moved;

    (void)state;
    assert_int_equal(build_value(NULL, &sequence, NULL), SPRY_OK);
    assert_int_equal(spry_value_kind_of(sequence), SPRY_VALUE_SEQUENCE);
    assert_int_equal(spry_value_count(sequence), 9);
    assert_null(spry_value_tensor(sequence));
    assert_null(spry_value_item(sequence, 9));
    assert_null(spry_value_item(sequence, -1));
    assert_int_equal(spry_tensor_count(spry_value_tensor(spry_value_item(sequence, 8))), 4);
    assert_int_equal(spry_value_append(sequence, sequence, NULL), SPRY_USAGE);

    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_I8, 0, NULL, &t, NULL), SPRY_OK);
    assert_int_equal(spry_value_from_tensor(NULL, t, &other, NULL), SPRY_OK);
    assert_int_equal(spry_value_append(sequence, other, NULL), SPRY_USAGE);
    assert_int_equal(spry_value_none(NULL, &none, NULL), SPRY_OK);
    assert_int_equal(spry_value_kind_of(none), SPRY_VALUE_NONE);
    spry_value_destroy(none);

    value_init(&shared, NULL);
    value_init(&moved, NULL);
    assert_int_equal(value_share(&shared, sequence, NULL), SPRY_OK);
    assert_ptr_equal(shared.items[3]->tensor.data, sequence->items[3]->tensor.data);
    spry_value_destroy(sequence);
    value_move(&moved, &shared);
    assert_int_equal(shared.kind, SPRY_VALUE_NONE);
    assert_int_equal(moved.count, 9);
    value_fini(&shared);
    value_fini(&moved);
    spry_value_destroy(NULL);
}

static spry_status copy_text(const spry_allocator *allocator, void *context, spry_error *error)
{
    static spry_text items[] = {{"a", 1}, {NULL, 0}, {"bcd", 3}};
    const int64_t shape[] = {3};
    spry_tensor *t = NULL;
    spry_tensor *copy = NULL;
    spry_value *none = NULL;
    spry_status status =
        spry_tensor_wrap(allocator, SPRY_DTYPE_STRING, 1, shape, items, sizeof items, &t, error);

    (void)context;
    if (status == SPRY_OK) {
        status = spry_tensor_copy(allocator, t, &copy, error);
    }
    if (status == SPRY_OK) {
        status = spry_value_none(allocator, &none, error);
    }
    spry_value_destroy(none);
    spry_tensor_destroy(copy);
    spry_tensor_destroy(t);
    return status;
}

static spry_status share_and_copy(const spry_allocator *allocator, void *context, spry_error *error)
{
    spry_value *sequence = NULL;
    value shared;
    value copy;
    spry_status status = build_value(allocator, &sequence, error);

    (void)context;
    value_init(&shared, allocator);
    value_init(&copy, allocator);
    if (status == SPRY_OK) {
        status = value_share(&shared, sequence, error);
    }
    if (status == SPRY_OK) {
        status = value_copy(&copy, sequence, error);
    }
    value_fini(&copy);
    value_fini(&shared);
    spry_value_destroy(sequence);
    return status;
}

static void failing_allocations_leak_nothing(void **state)
{
    (void)state;
    assert_true(fault_sweep(copy_text, NULL) >= 4);
    assert_true(fault_sweep(share_and_copy, NULL) > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(creates_zeroed_elements),
        cmocka_unit_test(refuses_impossible_shapes),
        cmocka_unit_test(wraps_only_the_exact_size),
        cmocka_unit_test(copies_strings_with_their_bytes),
        cmocka_unit_test(views_transpose_slice_and_broadcast),
        cmocka_unit_test(packed_types_have_no_views),
        cmocka_unit_test(storage_lives_until_the_last_reference),
        cmocka_unit_test(sequences_hold_tensors_of_one_type),
        cmocka_unit_test(failing_allocations_leak_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
