/* A thread that is woken may be given the CPU of the one that woke it, push that one aside and stay
 * for milliseconds while other CPUs are free: schedulers of virtual machines pack their work so.
 * Two threads that share loops then take turns instead. Excluding a CPU for a moment is how a
 * program says that it knows better. */
#define _GNU_SOURCE
#include "base/affinity.h"

#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST_CPUS = 1024 };

static void read_mask(int thread, affinity_mask *mask)
{
    mask->bytes = syscall(SYS_sched_getaffinity, thread, sizeof mask->bits, mask->bits);
}

static bool write_mask(int thread, const affinity_mask *mask)
{
    return syscall(SYS_sched_setaffinity, thread, (size_t)mask->bytes, mask->bits) == 0;
}

static int count_cpus(const affinity_mask *mask)
{
    int cpus = 0;

    for (long i = 0; i < mask->bytes; i++) {
        cpus += __builtin_popcount(mask->bits[i]);
    }
    return cpus;
}

int affinity_count(void)
{
    affinity_mask mask;
    long cpus;

    read_mask(0, &mask);
    cpus = mask.bytes > 0 ? count_cpus(&mask) : sysconf(_SC_NPROCESSORS_ONLN);
    if (cpus < 1) {
        return 1;
    }
    return cpus < MOST_CPUS ? (int)cpus : MOST_CPUS;
}

int affinity_current(void)
{
    return sched_getcpu();
}

int affinity_thread(void)
{
    return (int)syscall(SYS_gettid);
}

void affinity_exclude(int thread, int cpu, affinity_mask *before)
{
    unsigned char bit = (unsigned char)(1U << (cpu & 7));
    bool done = false;

    read_mask(thread, before);
    if (cpu >= 0 && cpu / 8 < before->bytes && (before->bits[cpu / 8] & bit) != 0 &&
        count_cpus(before) > 1) {
        before->bits[cpu / 8] ^= bit;
        done = write_mask(thread, before);
        before->bits[cpu / 8] ^= bit;
    }
    before->bytes = done ? before->bytes : 0;
}

void affinity_restore(int thread, const affinity_mask *before)
{
    if (before->bytes > 0) {
        (void)write_mask(thread, before);
    }
}
