/* Teams give each iteration to exactly one call, whatever the team's size, and sleep when idle. */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/affinity.h"
#include "base/threads.h"
#include "support/fault.h"

enum { MOST_ITERATIONS = 20000, MOST_WORKERS = 16 };

typedef struct tally {
    unsigned char hits[MOST_ITERATIONS];
    int64_t count;
    int64_t grain;
    int workers;
    _Atomic(int) calls;
    _Atomic(int) mistakes;
    _Atomic(int) busy[MOST_WORKERS];
} tally;

static void hit(void *context, int64_t begin, int64_t end, int worker)
{
    tally *t = context;

    if (worker < 0 || worker >= t->workers || atomic_exchange(&t->busy[worker], 1) != 0) {
        t->mistakes++;
        return;
    }
    if (begin % t->grain != 0 || end - begin > t->grain || begin >= end || end > t->count ||
        (end - begin < t->grain && end != t->count)) {
        t->mistakes++;
    }
    for (int64_t i = begin; i < end; i++) {
        t->hits[i]++;
    }
    t->calls++;
    atomic_store(&t->busy[worker], 0);
}

static void check_loop(threads *team, int64_t count, int64_t grain)
{
    static tally t;

    memset(&t, 0, sizeof t);
    t.count = count;
    t.grain = grain > 0 ? grain : 1;
    t.workers = threads_count(team);
    threads_for(team, count, grain, hit, &t);
    assert_int_equal(t.mistakes, 0);
    assert_int_equal(t.calls, count / t.grain + (count % t.grain != 0));
    for (int64_t i = 0; i < count; i++) {
        assert_int_equal(t.hits[i], 1);
    }
}

static threads *make_team(int count)
{
    threads *team = NULL;
    spry_error error;

    assert_int_equal(threads_create(NULL, count, &team, &error), SPRY_OK);
    assert_int_equal(threads_count(team), count);
    return team;
}

static void every_iteration_runs_once(void **state)
{
    static const int sizes[] = {1, 2, 3, 8};
    static const int64_t counts[] = {0, 1, 2, 3, 7, 64, 1009, MOST_ITERATIONS};
    static const int64_t grains[] = {0, 1, 2, 13, 64, 5000, INT64_MAX / 2};

    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        threads *team = make_team(sizes[s]);

        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            for (size_t g = 0; g < sizeof grains / sizeof *grains; g++) {
                check_loop(team, counts[c], grains[g]);
            }
        }
        threads_destroy(team);
    }
    check_loop(threads_single(), 1009, 10);
}

static void count_call(void *context, int64_t begin, int64_t end, int worker)
{
    (void)begin;
    (void)end;
    (void)worker;
    atomic_fetch_add((_Atomic(int64_t) *)context, 1);
}

static void extreme_sizes_do_not_overflow(void **state)
{
    _Atomic(int64_t) calls = 0;
    threads *team = make_team(2);

    (void)state;
    threads_for(team, -5, 1, count_call, &calls);
    assert_int_equal(calls, 0);
    threads_for(team, INT64_MAX, INT64_MAX, count_call, &calls);
    assert_int_equal(calls, 1);
    threads_for(team, INT64_MAX, INT64_MAX - 1, count_call, &calls);
    assert_int_equal(calls, 3);
    threads_for(team, INT64_MAX, INT64_MAX / 5, count_call, &calls);
    assert_int_equal(calls, 9);
    threads_destroy(team);
}

static void wrong_counts_are_refused(void **state)
{
    threads *team = NULL;
    spry_error error;

    (void)state;
    assert_int_equal(threads_create(NULL, -1, &team, &error), SPRY_USAGE);
    assert_int_equal(threads_create(NULL, 1025, &team, &error), SPRY_USAGE);
    assert_null(team);
    assert_true(threads_available() >= 1);
    assert_int_equal(threads_create(NULL, 0, &team, &error), SPRY_OK);
    assert_int_equal(threads_count(team), threads_available());
    threads_destroy(team);
    threads_destroy(NULL);
    threads_destroy(threads_single());
}

typedef struct nest {
    threads *team;
    _Atomic(int64_t) sum;
    _Atomic(int) mistakes;
    pthread_t runner[64];
    int worker[64];
} nest;

typedef struct nest_row {
    nest *n;
    int64_t row;
} nest_row;

static void inner(void *context, int64_t begin, int64_t end, int worker)
{
    nest_row *r = context;

    if (!pthread_equal(pthread_self(), r->n->runner[r->row]) || worker != r->n->worker[r->row]) {
        r->n->mistakes++;
    }
    for (int64_t i = begin; i < end; i++) {
        r->n->sum += i;
    }
}

static void outer(void *context, int64_t begin, int64_t end, int worker)
{
    nest *n = context;

    for (int64_t row = begin; row < end; row++) {
        nest_row r = {n, row};

        n->runner[row] = pthread_self();
        n->worker[row] = worker;
        threads_for(n->team, 10, 3, inner, &r);
    }
}

static void nested_loops_stay_on_their_thread(void **state)
{
    nest n = {.team = make_team(4)};

    (void)state;
    threads_for(n.team, 64, 1, outer, &n);
    assert_int_equal(n.sum, 64 * 45);
    assert_int_equal(n.mistakes, 0);
    /* A loop of one piece is a body like any other. */
    n.sum = 0;
    threads_for(n.team, 64, 64, outer, &n);
    assert_int_equal(n.sum, 64 * 45);
    assert_int_equal(n.mistakes, 0);
    threads_destroy(n.team);
}

static void add_range(void *context, int64_t begin, int64_t end, int worker)
{
    int64_t *sums = context;

    for (int64_t i = begin; i < end; i++) {
        sums[worker * 8] += i;
    }
}

static void many_tiny_loops(void **state)
{
    threads *team = make_team(3);

    (void)state;
    for (int round = 0; round < 5000; round++) {
        int64_t sums[3 * 8] = {0};
        int64_t count = round % 17;

        threads_for(team, count, 1, add_range, sums);
        assert_int_equal(sums[0] + sums[8] + sums[16], count * (count - 1) / 2);
        if (round % 500 == 0) {
            (void)usleep(200); /* so that members also park */
        }
    }
    threads_destroy(team);
}

typedef struct part_job {
    threads *team;
    int rounds;
    int64_t wrong;
} part_job;

static void *run_part(void *argument)
{
    part_job *job = argument;

    for (int round = 0; round < job->rounds; round++) {
        int64_t sums[MOST_WORKERS * 8] = {0};
        int64_t total = 0;

        threads_for(job->team, 100, 7, add_range, sums);
        for (int i = 0; i < threads_count(job->team); i++) {
            total += sums[i * 8];
        }
        job->wrong += total != 4950;
    }
    threads_destroy(job->team);
    return NULL;
}

static void parts_run_side_by_side(void **state)
{
    threads *team = make_team(6);

    (void)state;
    for (int round = 0; round < 20; round++) {
        part_job jobs[3] = {{.rounds = 50}, {.rounds = 80}, {.team = team, .rounds = 100}};
        pthread_t callers[2];
        threads *whole = NULL;

        assert_int_equal(threads_split(team, 6, &whole, NULL), SPRY_USAGE);
        assert_int_equal(threads_split(team, 0, &whole, NULL), SPRY_USAGE);
        assert_int_equal(threads_split(team, 2, &jobs[0].team, NULL), SPRY_OK);
        assert_int_equal(threads_split(team, 3, &jobs[1].team, NULL), SPRY_OK);
        assert_int_equal(threads_split(team, 1, &whole, NULL), SPRY_USAGE);
        assert_int_equal(threads_count(jobs[1].team), 3);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(pthread_create(&callers[i], NULL, run_part, &jobs[i]), 0);
        }
        for (int i = 0; i < 100; i++) {
            check_loop(team, 50, 3);
        }
        for (int i = 0; i < 2; i++) {
            assert_int_equal(pthread_join(callers[i], NULL), 0);
            assert_int_equal(jobs[i].wrong, 0);
        }
        /* All are back: five can be lent again. */
        assert_int_equal(threads_split(team, 5, &whole, NULL), SPRY_OK);
        check_loop(whole, 1009, 4);
        threads_destroy(whole);
        check_loop(team, 1009, 4);
    }
    threads_destroy(team);
}

static void parts_can_be_split_again(void **state)
{
    threads *team = make_team(5);
    threads *part = NULL;
    threads *piece = NULL;

    (void)state;
    assert_int_equal(threads_split(team, 4, &part, NULL), SPRY_OK);
    assert_int_equal(threads_split(part, 4, &piece, NULL), SPRY_USAGE);
    assert_int_equal(threads_split(part, 3, &piece, NULL), SPRY_OK);
    check_loop(piece, 500, 3);
    check_loop(part, 500, 3);
    check_loop(team, 500, 3);
    threads_destroy(piece);
    check_loop(part, 500, 3);
    threads_destroy(part);
    check_loop(team, 500, 3);
    assert_int_equal(threads_split(threads_single(), 1, &part, NULL), SPRY_USAGE);
    threads_destroy(team);
}

static int64_t cpu_us(void)
{
    struct rusage used;

    assert_int_equal(getrusage(RUSAGE_SELF, &used), 0);
    return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 + used.ru_utime.tv_usec +
           used.ru_stime.tv_usec;
}

static void an_idle_team_uses_no_cpu(void **state)
{
    threads *team = make_team(4);
    int64_t before;

    (void)state;
    check_loop(team, 1000, 1);
    (void)usleep(2000);
    before = cpu_us();
    (void)usleep(200000);
    assert_true(cpu_us() - before < 10000);
    threads_destroy(team);
}

/* Engaged members wait awake, work as always, and sleep again afterwards. */
static void an_engaged_team_rests_afterwards(void **state)
{
    threads *team = make_team(2);
    int64_t before;

    (void)state;
    threads_engage(team);
    for (int i = 0; i < 200; i++) {
        check_loop(team, 100, 3);
    }
    threads_rest(team);
    (void)usleep(5000);
    before = cpu_us();
    (void)usleep(200000);
    assert_true(cpu_us() - before < 10000);
    threads_engage(threads_single());
    threads_rest(threads_single());
    threads_destroy(team);
}

static void note_cpus(void *context, int64_t begin, int64_t end, int worker)
{
    _Atomic(int) *cpus = context;

    (void)end;
    (void)worker;
    cpus[begin] = affinity_count();
    (void)usleep(500); /* leaves the other piece to the other member */
}

/* Members that were woken off their caller's CPU may use all CPUs afterwards: a mask that had not
 * been given back would not come back by itself. */
static void members_keep_their_cpus(void **state)
{
    int cpus = affinity_count();
    threads *team = make_team(2);
    int whole = 0;

    (void)state;
    for (int i = 0; i < 100 && whole < 5; i++) {
        _Atomic(int) seen[2] = {0, 0};

        (void)usleep(2000); /* the member falls asleep */
        threads_engage(team);
        threads_for(team, 2, 1, note_cpus, seen);
        threads_rest(team);
        whole += seen[0] == cpus && seen[1] == cpus;
    }
    assert_int_equal(whole, 5);
    threads_destroy(team);
}

static spry_status create_and_split(const spry_allocator *allocator, void *context,
                                    spry_error *error)
{
    threads *team = NULL;
    threads *part = NULL;
    spry_status status = threads_create(allocator, 3, &team, error);

    (void)context;
    if (status == SPRY_OK) {
        status = threads_split(team, 1, &part, error);
    }
    threads_destroy(part);
    threads_destroy(team);
    return status;
}

static void memory_may_run_out(void **state)
{
    (void)state;
    assert_int_equal(fault_sweep(create_and_split, NULL), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_iteration_runs_once),
        cmocka_unit_test(extreme_sizes_do_not_overflow),
        cmocka_unit_test(wrong_counts_are_refused),
        cmocka_unit_test(nested_loops_stay_on_their_thread),
        cmocka_unit_test(many_tiny_loops),
        cmocka_unit_test(parts_run_side_by_side),
        cmocka_unit_test(parts_can_be_split_again),
        cmocka_unit_test(an_idle_team_uses_no_cpu),
        cmocka_unit_test(an_engaged_team_rests_afterwards),
        cmocka_unit_test(members_keep_their_cpus),
        cmocka_unit_test(memory_may_run_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
