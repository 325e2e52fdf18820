/* Threads beside the caller. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>

#include "base/background.h"
#include "support/fault.h"

typedef struct crowd {
    _Atomic(int) arrived;
    _Atomic(int) workers; /* one bit each */
} crowd;

static void arrive(void *context, int worker)
{
    crowd *c = context;

    atomic_fetch_or(&c->workers, 1 << worker);
    atomic_fetch_add(&c->arrived, 1);
}

static void every_thread_runs_once(void **state)
{
    (void)state;
    for (int count = 0; count < 6; count++) {
        crowd c = {0};
        background *b = NULL;
        int started;

        assert_int_equal(background_start(NULL, count, arrive, &c, &b, NULL), SPRY_OK);
        started = background_count(b);
        assert_in_range(started, 0, count);
        background_join(b);
        assert_int_equal(c.arrived, started);
        assert_int_equal(c.workers, (1 << started) - 1);
    }
    background_join(NULL);
}

static spry_status start(const spry_allocator *allocator, void *context, spry_error *error)
{
    background *b = NULL;
    spry_status status = background_start(allocator, 2, arrive, context, &b, error);

    background_join(b);
    return status;
}

static void failing_allocations_leak_nothing(void **state)
{
    crowd c = {0};

    (void)state;
    assert_int_equal(fault_sweep(start, &c), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_thread_runs_once),
        cmocka_unit_test(failing_allocations_leak_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
