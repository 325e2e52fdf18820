/* Works and sleeps in turns that are shorter than any layer of interest. */
#define _GNU_SOURCE
#include "measure/aggressor.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/topology.h"
#include "measure/bandwidth.h"
#include "spry/random.h"

enum {
    PERIOD_NS = 1000000, /* of work and sleep */
    PIECE = 4096,        /* numbers of each array between two looks at the clock */
    STEPS = 64,          /* along pointers, between them */
    LINE = 64,
    ARRAYS = 3
};

static const double most_stream_bytes = 256e6;
static const double most_ring_bytes = 64e6;
static const double guessed_cache = 16e6; /* where the machine does not tell */

typedef struct ring_line {
    uint32_t next;
    uint8_t rest[LINE - sizeof(uint32_t)];
} ring_line;

struct aggressor {
    pthread_t thread;
    _Atomic(bool) is_over;
    int level;
    int cpu;
    float *stream; /* three arrays of `count` */
    size_t count;
    ring_line *ring;
    uint32_t lines;
    /* Written by the thread, read when it has ended. */
    int64_t took_ns, worked_ns;
    double pieces, steps;
    uint32_t place; /* in the ring: somebody reads it */
};

/* ---- memory ---- */

/* One cycle through all lines, in random order (Sattolo's shuffle). */
static void fill_ring(ring_line *ring, uint32_t lines)
{
    spry_random random = spry_random_stream(1, 0);

    for (uint32_t i = 0; i < lines; i++) {
        ring[i].next = i;
    }
    for (uint32_t i = lines - 1; i > 0; i--) {
        uint32_t other = (uint32_t)spry_random_below(&random, i);
        uint32_t kept = ring[i].next;

        ring[i].next = ring[other].next;
        ring[other].next = kept;
    }
}

static spry_status make_memory(aggressor *a, spry_error *error)
{
    topology machine;
    const topology_cache *last;
    double bytes;

    topology_read(&machine);
    last = topology_find_cache(&machine, 3);
    bytes = last != NULL ? (double)last->bytes : guessed_cache;
    a->count =
        (size_t)(fmin(4.0 * bytes, most_stream_bytes) / sizeof(float) / ARRAYS) / PIECE * PIECE;
    a->lines = (uint32_t)(fmin(bytes, most_ring_bytes) / LINE);
    a->stream = alloc_array(spry_allocator_system(), a->count * ARRAYS, sizeof *a->stream);
    a->ring = alloc_array(spry_allocator_system(), a->lines, sizeof *a->ring);
    if (a->stream == NULL || a->ring == NULL) {
        return alloc_failed(error, a->count * ARRAYS * sizeof *a->stream);
    }
    memset(a->stream, 0, a->count * ARRAYS * sizeof *a->stream);
    fill_ring(a->ring, a->lines);
    return SPRY_OK;
}

static void destroy(aggressor *a)
{
    alloc_release(spry_allocator_system(), a->stream, a->count * ARRAYS * sizeof *a->stream);
    alloc_release(spry_allocator_system(), a->ring, a->lines * sizeof *a->ring);
    alloc_release(spry_allocator_system(), a, sizeof *a);
}

/* ---- the thread ---- */

static int bind_to_last_cpu(void)
{
    cpu_set_t mask;
    int cpu = -1;

    if (sched_getaffinity(0, sizeof mask, &mask) != 0) {
        return -1;
    }
    for (int i = 0; i < CPU_SETSIZE; i++) {
        cpu = CPU_ISSET((size_t)i, &mask) ? i : cpu;
    }
    CPU_ZERO(&mask);
    if (cpu >= 0) {
        CPU_SET((size_t)cpu, &mask);
    }
    return cpu >= 0 && sched_setaffinity(0, sizeof mask, &mask) == 0 ? cpu : -1;
}

static void work_until(aggressor *a, int64_t end, size_t *at)
{
    do {
        bandwidth_triad(a->stream + *at, a->stream + a->count + *at, a->stream + 2 * a->count + *at,
                        PIECE);
        *at = *at + PIECE < a->count ? *at + PIECE : 0;
        a->pieces += 1.0;
        for (int i = 0; i < STEPS; i++) {
            a->place = a->ring[a->place].next;
        }
        a->steps += STEPS;
    } while (clock_ns() < end && !atomic_load_explicit(&a->is_over, memory_order_relaxed));
}

static void *disturb(void *argument)
{
    aggressor *a = argument;
    int64_t start = clock_ns();
    int64_t period = start;
    size_t at = 0;

    a->cpu = bind_to_last_cpu();
    while (!atomic_load_explicit(&a->is_over, memory_order_relaxed)) {
        int64_t began = clock_ns();
        struct timespec until;

        work_until(a, period + PERIOD_NS * (int64_t)a->level / AGGRESSOR_LEVELS, &at);
        a->worked_ns += clock_ns() - began;
        period += PERIOD_NS;
        period = period < began ? began : period; /* whoever was held up does not catch up */
        if (a->level < AGGRESSOR_LEVELS) {
            until = (struct timespec){.tv_sec = (time_t)(period / 1000000000),
                                      .tv_nsec = (long)(period % 1000000000)};
            (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        }
    }
    a->took_ns = clock_ns() - start;
    return NULL;
}

spry_status aggressor_start(int level, aggressor **made, spry_error *error)
{
    aggressor *a;
    spry_status status;

    *made = NULL;
    if (level < 0 || level > AGGRESSOR_LEVELS) {
        return spry_fail(error, SPRY_USAGE, "aggressor", NULL, "levels are 0 to %d",
                         (int)AGGRESSOR_LEVELS);
    }
    if (level == 0) {
        return SPRY_OK;
    }
    a = alloc_zeroed(spry_allocator_system(), sizeof *a);
    if (a == NULL) {
        return alloc_failed(error, sizeof *a);
    }
    a->level = level;
    status = make_memory(a, error);
    if (status == SPRY_OK && pthread_create(&a->thread, NULL, disturb, a) != 0) {
        status = spry_fail(error, SPRY_LIMIT, "aggressor", NULL, "no thread could be started");
    }
    if (status != SPRY_OK) {
        destroy(a);
        return status;
    }
    *made = a;
    return SPRY_OK;
}

void aggressor_stop(aggressor *a, aggressor_work *work)
{
    aggressor_work done = {.cpu = -1};

    if (a != NULL) {
        atomic_store(&a->is_over, true);
        (void)pthread_join(a->thread, NULL);
        done.cpu = a->cpu;
        if (a->took_ns > 0) {
            double seconds = (double)a->took_ns * 1e-9;

            done.gigabytes = a->pieces * PIECE * ARRAYS * sizeof(float) * 1e-9 / seconds;
            done.steps = a->steps / seconds;
            done.share = (double)a->worked_ns / (double)a->took_ns;
        }
        destroy(a);
    }
    if (work != NULL) {
        *work = done;
    }
}
