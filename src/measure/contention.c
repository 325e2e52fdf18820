/* perf_event_open, resctrl, /proc/pressure/cpu and /proc/stat. */
#define _GNU_SOURCE
#include "measure/contention.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

enum { CONTENT_SIZE = 8192, MOST_DOMAINS = 64 };

static const char pressure_path[] = "/proc/pressure/cpu";
static const char stat_path[] = "/proc/stat";

/* The beginning of a small file; "" where it cannot be read. */
static void read_text(const char *path, char *content)
{
    FILE *file = fopen(path, "re");
    size_t length = 0;

    if (file != NULL) {
        length = fread(content, 1, CONTENT_SIZE - 1, file);
        (void)fclose(file);
    }
    content[length] = '\0';
}

double contention_parse_pressure(const char *content)
{
    const char *some = strstr(content, "some ");
    const char *total = some != NULL ? strstr(some, "total=") : NULL;

    return total != NULL ? strtod(total + 6, NULL) : -1.0;
}

double contention_parse_steal(const char *content)
{
    double ticks[8];
    int found;

    found = sscanf(content, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", &ticks[0], &ticks[1], &ticks[2],
                   &ticks[3], &ticks[4], &ticks[5], &ticks[6], &ticks[7]);
    return found == 8 ? ticks[7] : -1.0;
}

/* ---- tier 1: counters of the cache ---- */

static int open_counter(uint64_t event)
{
    struct perf_event_attr attribute = {.type = PERF_TYPE_HARDWARE,
                                        .size = sizeof attribute,
                                        .config = event,
                                        .inherit = 1,
                                        .exclude_kernel = 1,
                                        .exclude_hv = 1};

    return (int)syscall(SYS_perf_event_open, &attribute, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static double read_counter(int fd)
{
    uint64_t count = 0;

    return fd >= 0 && read(fd, &count, sizeof count) == (ssize_t)sizeof count ? (double)count : 0.0;
}

static void open_counters(contention *c)
{
    c->fds[0] = open_counter(PERF_COUNT_HW_CACHE_REFERENCES);
    c->fds[1] = c->fds[0] >= 0 ? open_counter(PERF_COUNT_HW_CACHE_MISSES) : -1;
    c->has_counters = c->fds[1] >= 0;
    (void)snprintf(c->counters, sizeof c->counters, "%s",
                   c->has_counters   ? "yes"
                   : errno == ENOENT ? "not available: this machine has no such counters"
                   : errno == EACCES || errno == EPERM
                       ? "not available: not allowed (perf_event_paranoid)"
                       : "not available: the system has no perf events");
}

/* ---- tier 2: traffic to memory ---- */

/* Bytes of all domains of the whole machine; -1: not there. */
static double read_traffic(void)
{
    double sum = -1.0;

    for (int i = 0; i < MOST_DOMAINS; i++) {
        char path[96];
        char content[CONTENT_SIZE];

        (void)snprintf(path, sizeof path, "/sys/fs/resctrl/mon_data/mon_L3_%02d/mbm_total_bytes",
                       i);
        read_text(path, content);
        if (content[0] >= '0' && content[0] <= '9') {
            sum = (sum < 0.0 ? 0.0 : sum) + strtod(content, NULL);
        }
    }
    return sum;
}

/* ---- the whole ---- */

static void count(const contention *c, contention_counts *now)
{
    char content[CONTENT_SIZE];
    double ticks = (double)sysconf(_SC_CLK_TCK);

    *now = (contention_counts){0};
    now->references = read_counter(c->fds[0]);
    now->misses = read_counter(c->fds[1]);
    if (c->has_traffic) {
        now->traffic = read_traffic();
    }
    if (c->has_pressure) {
        read_text(pressure_path, content);
        now->waited = contention_parse_pressure(content) * 1e-6;
    }
    if (c->has_steal) {
        read_text(stat_path, content);
        now->stolen = contention_parse_steal(content) / (ticks > 0.0 ? ticks : 100.0);
    }
}

void contention_open(contention *c)
{
    char content[CONTENT_SIZE];

    *c = (contention){.fds = {-1, -1}};
    open_counters(c);
    c->has_traffic = read_traffic() >= 0.0;
    (void)snprintf(c->traffic, sizeof c->traffic, "%s",
                   c->has_traffic ? "yes" : "not available: resctrl is not mounted");
    read_text(pressure_path, content);
    c->has_pressure = contention_parse_pressure(content) >= 0.0;
    (void)snprintf(c->pressure, sizeof c->pressure, "%s",
                   c->has_pressure ? "yes" : "not available: no /proc/pressure");
    read_text(stat_path, content);
    c->has_steal = contention_parse_steal(content) >= 0.0;
    (void)snprintf(c->steal, sizeof c->steal, "%s",
                   c->has_steal ? "yes" : "not available: no /proc/stat");
    count(c, &c->start);
    c->start_ns = clock_ns();
}

double contention_read(const contention *c, contention_counts *counts)
{
    contention_counts now;

    count(c, &now);
    counts->references = now.references - c->start.references;
    counts->misses = now.misses - c->start.misses;
    counts->traffic = now.traffic - c->start.traffic;
    counts->waited = now.waited - c->start.waited;
    counts->stolen = now.stolen - c->start.stolen;
    return (double)(clock_ns() - c->start_ns) * 1e-9;
}

void contention_close(contention *c)
{
    for (int i = 0; i < 2; i++) {
        if (c->fds[i] >= 0) {
            (void)close(c->fds[i]);
            c->fds[i] = -1;
        }
    }
}
