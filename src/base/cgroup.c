/* Reads cgroup limits; anything missing or odd counts as "no limit". Groups nest: a number is asked
 * of the process's group and all groups above it, and the answers are combined. */
#define _GNU_SOURCE
#include "base/cgroup.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SMALL_FILE_BYTES = 4096 };

/* Version 1 says "unlimited" with a number near INT64_MAX. */
#define UNLIMITED_BYTES ((uint64_t)1 << 60)

/* Reads the file at root + folder + group + "/" + name into `text`; false when there is none. */
static bool read_small(const char *root, const char *folder, const char *group, const char *name,
                       char text[SMALL_FILE_BYTES])
{
    char path[PATH_MAX];
    ssize_t size;
    int file;
    int length = snprintf(path, sizeof path, "%s%s%s/%s", root, folder, group, name);

    if (length < 0 || (size_t)length >= sizeof path) {
        return false;
    }
    file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return false;
    }
    size = read(file, text, SMALL_FILE_BYTES - 1);
    (void)close(file);
    if (size < 0) {
        return false;
    }
    text[size] = '\0';
    return true;
}

/* Quota over period, rounded up; 0 when there is no quota. */
static int cpus_of(int64_t quota, int64_t period)
{
    int64_t cpus;

    if (quota <= 0 || period <= 0) {
        return 0;
    }
    cpus = quota / period + (quota % period != 0);
    return cpus > INT_MAX ? 0 : (int)cpus;
}

static bool read_number(const char *root, const char *folder, const char *group, const char *name,
                        int64_t *number)
{
    char text[SMALL_FILE_BYTES];
    char *end;

    if (!read_small(root, folder, group, name, text)) {
        return false;
    }
    *number = strtoll(text, &end, 10);
    return end != text;
}

static uint64_t cpu_limit_v1(const char *root, const char *group)
{
    static const char folder[] = "/sys/fs/cgroup/cpu";
    int64_t quota = 0;
    int64_t period = 0;

    if (!read_number(root, folder, group, "cpu.cfs_quota_us", &quota) ||
        !read_number(root, folder, group, "cpu.cfs_period_us", &period)) {
        return 0;
    }
    return (uint64_t)cpus_of(quota, period);
}

static uint64_t cpu_limit_v2(const char *root, const char *group)
{
    char text[SMALL_FILE_BYTES];
    int64_t quota;
    int64_t period;

    /* "max 100000" has no leading number and is no limit. */
    if (!read_small(root, "/sys/fs/cgroup", group, "cpu.max", text) ||
        sscanf(text, "%" SCNd64 " %" SCNd64, &quota, &period) != 2) {
        return 0;
    }
    return (uint64_t)cpus_of(quota, period);
}

static uint64_t bytes_of(const char *root, const char *folder, const char *group, const char *name)
{
    int64_t bytes = 0;

    if (!read_number(root, folder, group, name, &bytes) || bytes <= 0 ||
        (uint64_t)bytes >= UNLIMITED_BYTES) {
        return 0;
    }
    return (uint64_t)bytes;
}

static uint64_t memory_limit_v1(const char *root, const char *group)
{
    return bytes_of(root, "/sys/fs/cgroup/memory", group, "memory.limit_in_bytes");
}

static uint64_t memory_limit_v2(const char *root, const char *group)
{
    return bytes_of(root, "/sys/fs/cgroup", group, "memory.max");
}

/* The number behind `key` at the start of a line, or 0. */
static uint64_t find_statistic(const char *text, const char *key)
{
    size_t length = strlen(key);

    while (text != NULL) {
        text += *text == '\n';
        if (strncmp(text, key, length) == 0 && text[length] == ' ') {
            return strtoull(text + length, NULL, 10);
        }
        text = strchr(text, '\n');
    }
    return 0;
}

static uint64_t throttled_v1(const char *root, const char *group)
{
    char text[SMALL_FILE_BYTES];

    return read_small(root, "/sys/fs/cgroup/cpu", group, "cpu.stat", text)
               ? find_statistic(text, "throttled_time") / 1000
               : 0;
}

static uint64_t throttled_v2(const char *root, const char *group)
{
    char text[SMALL_FILE_BYTES];

    return read_small(root, "/sys/fs/cgroup", group, "cpu.stat", text)
               ? find_statistic(text, "throttled_usec")
               : 0;
}

typedef uint64_t (*group_reader)(const char *root, const char *group);
typedef uint64_t (*group_combiner)(uint64_t a, uint64_t b);

/* A number that groups have: under which controller, read how, and what counts of several. */
typedef struct group_number {
    const char *controller;
    group_reader v1;
    group_reader v2;
    group_combiner combine;
} group_number;

static uint64_t tighter(uint64_t a, uint64_t b)
{
    if (a == 0 || b == 0) {
        return a + b;
    }
    return a < b ? a : b;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* The combined answer of `group` and its parents, up to the root group (""). */
static uint64_t ask_upwards(group_reader reader, group_combiner combine, const char *root,
                            char *group)
{
    uint64_t answer = 0;
    char *slash = group + strlen(group);

    while (slash != NULL) {
        *slash = '\0';
        answer = combine(answer, reader(root, group));
        slash = strrchr(group, '/');
    }
    return answer;
}

/* Does the comma-separated list (up to a colon) contain `name`? */
static bool lists_controller(const char *list, const char *name)
{
    size_t length = strlen(name);

    for (;;) {
        size_t part = strcspn(list, ",:");

        if (part == length && strncmp(list, name, length) == 0) {
            return true;
        }
        if (list[part] != ',') {
            return false;
        }
        list += part + 1;
    }
}

/* Goes through /proc/self/cgroup, whose lines read "id:controllers:/group"; version 2 has id 0 and
 * no controllers. */
static uint64_t number_at(const char *root, const group_number *number)
{
    char text[SMALL_FILE_BYTES];
    uint64_t answer = 0;
    char *line = text;

    if (!read_small(root, "/proc", "/self", "cgroup", text)) {
        return 0;
    }
    while (*line != '\0') {
        char *end = line + strcspn(line, "\n");
        char *next = *end != '\0' ? end + 1 : end;
        char *controllers;
        char *group;

        *end = '\0';
        controllers = strchr(line, ':');
        group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (group != NULL && controllers[1] == ':') {
            answer =
                number->combine(answer, ask_upwards(number->v2, number->combine, root, group + 1));
        } else if (group != NULL && lists_controller(controllers + 1, number->controller)) {
            answer =
                number->combine(answer, ask_upwards(number->v1, number->combine, root, group + 1));
        }
        line = next;
    }
    return answer;
}

int cgroup_cpus_at(const char *root)
{
    static const group_number number = {"cpu", cpu_limit_v1, cpu_limit_v2, tighter};

    return (int)number_at(root, &number);
}

uint64_t cgroup_memory_at(const char *root)
{
    static const group_number number = {"memory", memory_limit_v1, memory_limit_v2, tighter};

    return number_at(root, &number);
}

uint64_t cgroup_throttled_at(const char *root)
{
    static const group_number number = {"cpu", throttled_v1, throttled_v2, larger};

    return number_at(root, &number);
}

int cgroup_cpus(void)
{
    return cgroup_cpus_at("");
}

uint64_t cgroup_memory(void)
{
    return cgroup_memory_at("");
}

uint64_t cgroup_throttled(void)
{
    return cgroup_throttled_at("");
}
