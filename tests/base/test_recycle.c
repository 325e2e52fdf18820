/* Memory that is kept for the next request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/alloc.h"
#include "base/recycle.h"
#include "spry/random.h"

static void the_same_requests_cost_nothing_twice(void **state)
{
    static const size_t sizes[] = {3072, 100, 1, 3100, 70000};
    alloc_counter counter = {.fail_at = 0};
    spry_allocator source = alloc_counting(&counter);
    recycle r;
    spry_allocator a;
    void *blocks[5];
    int64_t calls = 0;

    (void)state;
    recycle_init(&r, &source);
    a = recycle_allocator(&r);
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 5; i++) {
            blocks[i] = alloc_bytes(&a, sizes[i]);
            assert_non_null(blocks[i]);
            assert_int_equal((uintptr_t)blocks[i] % ALLOC_ALIGNMENT, 0);
            memset(blocks[i], i, sizes[i]);
        }
        for (int i = 0; i < 5; i++) {
            assert_int_equal(((uint8_t *)blocks[i])[sizes[i] - 1], i);
            alloc_release(&a, blocks[i], sizes[i]);
        }
        calls = round == 0 ? counter.calls : calls;
        assert_int_equal(counter.calls, calls);
    }
    recycle_fini(&r);
    assert_int_equal(counter.outstanding_bytes, 0);
}

/* Any sizes in any order: contents stay, and what is kept is bounded. */
static void blocks_do_not_overlap(void **state)
{
    enum { HELD = 20 };
    alloc_counter counter = {.fail_at = 0};
    spry_allocator source = alloc_counting(&counter);
    spry_random random = spry_random_stream(3, 0);
    uint8_t *blocks[HELD] = {NULL};
    size_t sizes[HELD] = {0};
    recycle r;
    spry_allocator a;

    (void)state;
    recycle_init(&r, &source);
    a = recycle_allocator(&r);
    for (int i = 0; i < 3000; i++) {
        size_t k = (size_t)spry_random_below(&random, HELD);

        if (blocks[k] != NULL) {
            for (size_t n = 0; n < sizes[k]; n++) {
                assert_int_equal(blocks[k][n], (uint8_t)k);
            }
            alloc_release(&a, blocks[k], sizes[k]);
        }
        sizes[k] = 1 + (size_t)spry_random_below(&random, 700);
        blocks[k] = alloc_bytes(&a, sizes[k]);
        assert_non_null(blocks[k]);
        memset(blocks[k], (int)k, sizes[k]);
    }
    for (size_t k = 0; k < HELD; k++) {
        alloc_release(&a, blocks[k], sizes[k]);
    }
    assert_true(counter.outstanding_bytes <= RECYCLE_BLOCKS * (700 * 9 / 8 + ALLOC_ALIGNMENT));
    recycle_fini(&r);
    assert_int_equal(counter.outstanding_bytes, 0);
}

static void failures_are_passed_on(void **state)
{
    alloc_counter counter = {.fail_at = 1};
    spry_allocator source = alloc_counting(&counter);
    recycle r;
    spry_allocator a;

    (void)state;
    recycle_init(&r, &source);
    a = recycle_allocator(&r);
    assert_null(alloc_bytes(&a, 10));
    assert_null(alloc_bytes(&a, SIZE_MAX - 10));
    recycle_fini(&r);
    recycle_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_requests_cost_nothing_twice),
        cmocka_unit_test(blocks_do_not_overlap),
        cmocka_unit_test(failures_are_passed_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
