/* What the kernel's control groups leave to this process. Containers are limited by them, while
 * the usual calls (number of CPUs, physical memory) still report the whole machine. */
#ifndef BASE_CGROUP_H
#define BASE_CGROUP_H

#include <stdint.h>

/* CPUs' worth of time this process may use, rounded up, at least 1; 0 where nothing limits it.
 * The tightest of the process's group and all groups above it, in version 1 and 2 hierarchies. */
int cgroup_cpus(void);

/* Bytes of memory this process's group may use; 0 where nothing limits it. */
uint64_t cgroup_memory(void);

/* Microseconds for which this process's group, or one above it, has been stopped so far because its
 * time was used up; 0 where that is not known. A measurement during which it grew is worthless. */
uint64_t cgroup_throttled(void);

/* As above with every path taken below `root` ("" is the real file system): for tests. */
int cgroup_cpus_at(const char *root);
uint64_t cgroup_memory_at(const char *root);
uint64_t cgroup_throttled_at(const char *root);

#endif
