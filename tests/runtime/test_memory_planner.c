/* Buffers that live together never overlap, and the block stays near its lower bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "runtime/memory_planner.h"
#include "spry/random.h"
#include "support/fault.h"

enum { MOST_BUFFERS = 200, STEPS = 60 };

static size_t rounded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* The most that is alive at any one step. */
static size_t lower_bound(const planner_buffer *buffers, int count)
{
    size_t most = 0;

    for (int step = 0; step < STEPS; step++) {
        size_t alive = 0;

        for (int i = 0; i < count; i++) {
            if (buffers[i].first <= step && step <= buffers[i].last) {
                alive += rounded(buffers[i].bytes);
            }
        }
        most = alive > most ? alive : most;
    }
    return most;
}

static void check_no_overlap(const planner_buffer *buffers, int count, size_t total)
{
    for (int i = 0; i < count; i++) {
        const planner_buffer *a = &buffers[i];

        assert_int_equal(a->offset % 64, 0);
        assert_true(a->offset + a->bytes <= total);
        for (int j = 0; j < i; j++) {
            const planner_buffer *b = &buffers[j];
            int together = a->first <= b->last && b->first <= a->last;

            assert_true(!together || a->offset + a->bytes <= b->offset ||
                        b->offset + b->bytes <= a->offset);
        }
    }
}

static void test_random_lifetimes(void **state)
{
    spry_random r = spry_random_stream(11, 0);
    double waste = 0;

    (void)state;
    for (int round = 0; round < 200; round++) {
        planner_buffer buffers[MOST_BUFFERS];
        int count = (int)spry_random_below(&r, MOST_BUFFERS);
        size_t total;

        for (int i = 0; i < count; i++) {
            int32_t first = (int32_t)spry_random_below(&r, STEPS);

            buffers[i] = (planner_buffer){
                .bytes = spry_random_below(&r, 100000),
                .first = first,
                .last = first + (int32_t)spry_random_below(&r, (uint64_t)(STEPS - first))};
        }
        assert_int_equal(planner_place(spry_allocator_system(), buffers, count, &total, NULL),
                         SPRY_OK);
        check_no_overlap(buffers, count, total);
        waste += count > 0 ? (double)total / (double)lower_bound(buffers, count) - 1 : 0;
    }
    assert_true(waste / 200 < 0.15);
}

/* A chain of three: the first and the third share memory. */
static void test_chain(void **state)
{
    planner_buffer buffers[] = {{1000, 0, 1, 0}, {500, 1, 2, 0}, {1000, 2, 3, 0}};
    size_t total;

    (void)state;
    assert_int_equal(planner_place(spry_allocator_system(), buffers, 3, &total, NULL), SPRY_OK);
    assert_int_equal(buffers[0].offset, buffers[2].offset);
    assert_int_equal(total, 1024 + 512);
}

static spry_status place_some(const spry_allocator *allocator, void *context, spry_error *error)
{
    planner_buffer buffers[] = {{SIZE_MAX / 2, 0, 1, 0}, {500, 1, 2, 0}};
    size_t total;

    (void)context;
    buffers[0].bytes = 64;
    return planner_place(allocator, buffers, 2, &total, error);
}

static void test_failures(void **state)
{
    planner_buffer huge[] = {{SIZE_MAX - 10, 0, 1, 0}, {SIZE_MAX - 10, 0, 1, 0}};
    size_t total;

    (void)state;
    assert_int_equal(planner_place(spry_allocator_system(), huge, 2, &total, NULL), SPRY_LIMIT);
    fault_sweep(place_some, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_random_lifetimes),
        cmocka_unit_test(test_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
