/* A CPU is excluded for a moment, and what was allowed is allowed again. */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/affinity.h"

static void exclude_and_restore(void **state)
{
    int cpus = affinity_count();
    int here = affinity_current();
    affinity_mask before;

    (void)state;
    assert_true(cpus >= 1);
    affinity_exclude(affinity_thread(), here, &before);
    assert_int_equal(affinity_count(), cpus > 1 && here >= 0 ? cpus - 1 : cpus);
    assert_true(cpus == 1 || here < 0 || affinity_current() != here);
    affinity_restore(affinity_thread(), &before);
    assert_int_equal(affinity_count(), cpus);
}

/* What is not allowed anyway, or not there, changes nothing; nor does a thread that has ended. */
static void nothing_to_exclude(void **state)
{
    static const int none[] = {-1, -8, 16383, 16384, 1 << 30};
    int cpus = affinity_count();
    affinity_mask before;

    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        affinity_exclude(affinity_thread(), none[i], &before);
        assert_true(before.bytes <= 0);
        assert_int_equal(affinity_count(), cpus);
        affinity_restore(affinity_thread(), &before);
        assert_int_equal(affinity_count(), cpus);
    }
    affinity_exclude(INT32_MAX, 0, &before);
    affinity_restore(INT32_MAX, &before);
}

/* The last CPU stays. */
static void one_cpu_is_kept(void **state)
{
    int here = affinity_current();
    affinity_mask before;
    affinity_mask last;

    (void)state;
    affinity_exclude(affinity_thread(), here, &before);
    while (affinity_count() > 1) {
        int next = affinity_current();

        affinity_exclude(affinity_thread(), next, &last);
        assert_true(affinity_current() != next);
    }
    affinity_exclude(affinity_thread(), affinity_current(), &last);
    assert_true(last.bytes <= 0);
    assert_int_equal(affinity_count(), 1);
    affinity_restore(affinity_thread(), &before);
}

typedef struct sleeper {
    _Atomic(int) number;
    _Atomic(bool) stop;
    _Atomic(int) cpu;
} sleeper;

static void *sleep_and_look(void *argument)
{
    sleeper *s = argument;

    atomic_store(&s->number, affinity_thread());
    while (!atomic_load(&s->stop)) {
        (void)usleep(100);
    }
    atomic_store(&s->cpu, affinity_current());
    return NULL;
}

static void another_thread_is_sent_away(void **state)
{
    int here = affinity_current();
    affinity_mask before;
    pthread_t thread;
    sleeper s = {0, false, -1};

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, sleep_and_look, &s), 0);
    while (atomic_load(&s.number) == 0) {
        (void)usleep(100);
    }
    affinity_exclude(atomic_load(&s.number), here, &before);
    atomic_store(&s.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    if (before.bytes > 0) {
        assert_true(atomic_load(&s.cpu) != here);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exclude_and_restore),
        cmocka_unit_test(nothing_to_exclude),
        cmocka_unit_test(one_cpu_is_kept),
        cmocka_unit_test(another_thread_is_sent_away),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
