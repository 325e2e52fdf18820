/* Memory is aligned, counted, refused on overflow; arenas keep their ceiling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/checked.h"
#include "spry/random.h"
#include "support/fault.h"

static void sizes_cannot_wrap(void **state)
{
    size_t size = 7;
    int64_t number = 7;

    (void)state;
    assert_false(checked_add(SIZE_MAX, 1, &size));
    assert_false(checked_mul(SIZE_MAX / 2 + 1, 2, &size));
    assert_int_equal(size, 7);
    assert_true(checked_add(SIZE_MAX - 1, 1, &size) && size == SIZE_MAX);
    assert_true(checked_mul(SIZE_MAX, 1, &size) && size == SIZE_MAX);
    assert_true(checked_mul(SIZE_MAX, 0, &size) && size == 0);
    assert_false(checked_add_i64(INT64_MAX, 1, &number));
    assert_false(checked_add_i64(INT64_MIN, -1, &number));
    assert_false(checked_mul_i64(INT64_MAX, 2, &number));
    assert_false(checked_mul_i64(-1, 2, &number));
    assert_false(checked_mul_i64(2, -1, &number));
    assert_int_equal(number, 7);
    assert_true(checked_add_i64(INT64_MIN, INT64_MAX, &number) && number == -1);
    assert_true(checked_mul_i64(INT64_MAX, 1, &number) && number == INT64_MAX);
    assert_true(checked_mul_i64(0, INT64_MAX, &number) && number == 0);
}

static void the_system_gives_aligned_memory(void **state)
{
    spry_allocator a = alloc_resolve(NULL);

    (void)state;
    for (size_t size = 0; size < 300; size += 7) {
        unsigned char *memory = alloc_zeroed(&a, size);

        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % ALLOC_ALIGNMENT, 0);
        for (size_t i = 0; i < size; i++) {
            assert_int_equal(memory[i], 0);
        }
        memset(memory, 1, size);
        alloc_release(&a, memory, size);
    }
    assert_null(alloc_array(&a, SIZE_MAX / 2, 3));
    assert_null(alloc_bytes(&a, SIZE_MAX));
    assert_null(alloc_text(&a, "x", SIZE_MAX));
    alloc_release(&a, NULL, 5);
}

static void texts_are_copied(void **state)
{
    char *copy = alloc_text(spry_allocator_system(), "hello", 4);

    (void)state;
    assert_string_equal(copy, "hell");
    alloc_release(spry_allocator_system(), copy, 5);
}

static void arrays_grow_to_their_ceiling(void **state)
{
    alloc_counter counter = {.fail_at = 0};
    spry_allocator a = alloc_counting(&counter);
    void *array = NULL;
    size_t capacity = 0;
    spry_error error;

    (void)state;
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(alloc_grow(&a, &array, &capacity, i + 1, sizeof(size_t), 100, &error),
                         SPRY_OK);
        assert_int_equal(((size_t *)array)[i], 0);
        ((size_t *)array)[i] = i;
    }
    assert_int_equal(capacity, 100);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(((size_t *)array)[i], i);
    }
    assert_int_equal(alloc_grow(&a, &array, &capacity, 101, sizeof(size_t), 100, &error),
                     SPRY_LIMIT);
    assert_int_equal(alloc_grow(&a, &array, &capacity, 200, SIZE_MAX / 2, 1000, &error),
                     SPRY_LIMIT);
    counter.fail_at = counter.calls + 1;
    assert_int_equal(alloc_grow(&a, &array, &capacity, 200, sizeof(size_t), 1000, &error),
                     SPRY_LIMIT);
    assert_int_equal(capacity, 100);
    alloc_release(&a, array, capacity * sizeof(size_t));
    array = NULL;
    capacity = 0;
    assert_int_equal(alloc_grow(&a, &array, &capacity, 2, 1, 3, &error), SPRY_OK);
    assert_int_equal(capacity, 3);
    alloc_release(&a, array, capacity);
    assert_int_equal(counter.outstanding_bytes, 0);
    assert_true(counter.peak_bytes >= 800);
}

/* Fills blocks of odd sizes and checks afterwards that none overlap. */
static void arena_blocks_are_apart(void **state)
{
    enum { BLOCKS = 3000 };
    static unsigned char *blocks[BLOCKS];
    static size_t sizes[BLOCKS];
    spry_random r = spry_random_stream(1, 0);
    alloc_counter counter = {.fail_at = 0};
    spry_allocator source = alloc_counting(&counter);
    arena a;

    (void)state;
    arena_init(&a, &source, (size_t)64 << 20);
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < BLOCKS; i++) {
            sizes[i] = spry_random_below(&r, i % 50 == 0 ? 20000 : 200);
            blocks[i] = arena_zeroed(&a, sizes[i]);
            assert_non_null(blocks[i]);
            assert_int_equal((uintptr_t)blocks[i] % (sizes[i] >= 64 ? 64 : 16), 0);
            for (size_t k = 0; k < sizes[i]; k++) {
                assert_int_equal(blocks[i][k], 0);
            }
            memset(blocks[i], (int)(i % 251) + 1, sizes[i]);
        }
        for (size_t i = 0; i < BLOCKS; i++) {
            for (size_t k = 0; k < sizes[i]; k++) {
                assert_int_equal(blocks[i][k], i % 251 + 1);
            }
        }
        arena_reset(&a);
        assert_int_equal(a.used_bytes, 0);
    }
    assert_true(counter.outstanding_bytes > 0);
    arena_fini(&a);
    assert_int_equal(counter.outstanding_bytes, 0);
    assert_string_equal(arena_text(&a, "again", 2), "ag");
    arena_fini(&a);
}

static void arenas_keep_their_ceiling(void **state)
{
    alloc_counter counter = {.fail_at = 0};
    spry_allocator source = alloc_counting(&counter);
    arena a;
    size_t count = 0;

    (void)state;
    arena_init(&a, &source, 100000);
    assert_null(arena_bytes(&a, SIZE_MAX));
    assert_null(arena_bytes(&a, SIZE_MAX - 64));
    assert_null(arena_array(&a, SIZE_MAX / 2, 3));
    assert_null(arena_text(&a, "x", SIZE_MAX));
    assert_null(arena_bytes(&a, 100001));
    while (arena_bytes(&a, 1) != NULL) {
        count++;
    }
    assert_true(count <= 100000 / 16);
    assert_true(counter.outstanding_bytes <= 4 * 100000);
    arena_fini(&a);
    assert_non_null(arena_bytes(&a, 99000));
    arena_fini(&a);
}

static spry_status use_arena(const spry_allocator *allocator, void *context, spry_error *error)
{
    arena a;
    spry_status status = SPRY_OK;

    (void)context;
    arena_init(&a, allocator, 1 << 20);
    for (size_t i = 0; i < 100 && status == SPRY_OK; i++) {
        status = arena_bytes(&a, 1000) != NULL ? SPRY_OK : alloc_failed(error, 1000);
    }
    arena_fini(&a);
    return status;
}

static void memory_may_run_out(void **state)
{
    (void)state;
    assert_true(fault_sweep(use_arena, NULL) >= 3);
}

static void prefaulting_changes_nothing(void **state)
{
    enum { BYTES = (1 << 20) + 123 };
    const spry_allocator *system = spry_allocator_system();
    uint8_t *bytes = alloc_bytes(system, BYTES);

    (void)state;
    assert_non_null(bytes);
    memset(bytes, 7, BYTES);
    alloc_prefault(bytes + 1, BYTES - 1);
    for (size_t i = 0; i < BYTES; i++) {
        assert_int_equal(bytes[i], 7);
    }
    alloc_release(system, bytes, BYTES);
    alloc_prefault(NULL, BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefaulting_changes_nothing),     cmocka_unit_test(sizes_cannot_wrap),
        cmocka_unit_test(the_system_gives_aligned_memory), cmocka_unit_test(texts_are_copied),
        cmocka_unit_test(arrays_grow_to_their_ceiling),    cmocka_unit_test(arena_blocks_are_apart),
        cmocka_unit_test(arenas_keep_their_ceiling),       cmocka_unit_test(memory_may_run_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
