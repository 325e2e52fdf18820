/* The machine's shape is found, and limits of control groups are read as the kernel writes them. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <hwloc.h>

#include "base/cgroup.h"
#include "base/files.h"
#include "base/topology.h"
#include "support/data.h"

static void this_machine_is_plausible(void **state)
{
    topology machine;

    (void)state;
    topology_read(&machine);
    assert_true(machine.packages >= 1);
    assert_true(machine.cores >= machine.packages);
    assert_true(machine.threads >= machine.cores);
    assert_true(machine.numa_nodes >= 1);
    assert_true(machine.memory_total >= (uint64_t)64 << 20);
    assert_true(machine.memory_usable > 0 && machine.memory_usable <= machine.memory_total);
    for (int i = 0; i < machine.cache_count; i++) {
        assert_true(machine.caches[i].bytes > 0);
        assert_ptr_equal(topology_find_cache(&machine, machine.caches[i].level),
                         &machine.caches[i]);
    }
    assert_null(topology_find_cache(&machine, 9));
}

static void a_described_machine_is_read(void **state)
{
    const char *folder = data_make_folder();
    hwloc_topology_t made;
    topology machine;

    (void)state;
    assert_int_equal(hwloc_topology_init(&made), 0);
    assert_int_equal(hwloc_topology_set_synthetic(made, "numa:2(memory=1073741824) pack:1 "
                                                        "l3:1(size=33554432) l2:4(size=1048576) "
                                                        "l1d:1(size=32768) core:1 pu:2"),
                     0);
    assert_int_equal(hwloc_topology_load(made), 0);
    assert_int_equal(hwloc_topology_export_xml(made, data_join(folder, "made.xml"), 0), 0);
    hwloc_topology_destroy(made);
    topology_read_from(&machine, data_join(folder, "made.xml"));
    assert_true(machine.complete);
    assert_int_equal(machine.packages, 2);
    assert_int_equal(machine.numa_nodes, 2);
    assert_int_equal(machine.cores, 8);
    assert_int_equal(machine.threads, 16);
    assert_int_equal(machine.memory_total, (uint64_t)2 << 30);
    assert_int_equal(machine.memory_usable, machine.memory_total);
    assert_int_equal(machine.cache_count, 3);
    assert_int_equal(topology_find_cache(&machine, 1)->bytes, 32768);
    assert_int_equal(topology_find_cache(&machine, 1)->count, 8);
    assert_int_equal(topology_find_cache(&machine, 1)->threads, 2);
    assert_int_equal(topology_find_cache(&machine, 3)->count, 2);
    assert_int_equal(topology_find_cache(&machine, 3)->threads, 8);
    data_remove_folder(folder);
}

static void without_hwloc_something_is_known(void **state)
{
    topology machine;

    (void)state;
    topology_read_from(&machine, "/does/not/exist.xml");
    assert_false(machine.complete);
    assert_int_equal(machine.threads, sysconf(_SC_NPROCESSORS_ONLN));
    assert_true(machine.memory_total > 0);
}

/* Builds a fake file system for the cgroup reader. */
typedef struct cgroup_file {
    const char *folder;
    const char *name;
    const char *content;
} cgroup_file;

/* Fills `root` with the path of a folder that holds the files. */
static void build_root(const cgroup_file *files, size_t count, char root[64])
{
    const char *made = data_make_folder();

    assert_true(strlen(made) < 64);
    memcpy(root, made, strlen(made) + 1);
    for (size_t i = 0; i < count; i++) {
        const char *folder = data_join(root, files[i].folder);

        assert_int_equal(file_make_folder(folder, NULL), SPRY_OK);
        data_write(data_join(folder, files[i].name), files[i].content, strlen(files[i].content));
    }
}

static void check_limits(const cgroup_file *files, size_t count, int cpus, uint64_t memory)
{
    char root[64];

    build_root(files, count, root);
    assert_int_equal(cgroup_cpus_at(root), cpus);
    assert_int_equal(cgroup_memory_at(root), memory);
    data_remove_folder(root);
}

static void throttling_of_all_groups_above(void **state)
{
    static const cgroup_file version_2[] = {
        {"proc/self", "cgroup", "0::/a/b\n"},
        {"sys/fs/cgroup/a/b", "cpu.stat", "usage_usec 5\nnr_throttled 1\nthrottled_usec 7\n"},
        {"sys/fs/cgroup/a", "cpu.stat", "throttled_usec 1234\nusage_usec 5\n"},
        {"sys/fs/cgroup", "cpu.stat", "usage_usec 5\n"},
    };
    static const cgroup_file version_1[] = {
        {"proc/self", "cgroup", "4:cpu,cpuacct:/c\n"},
        {"sys/fs/cgroup/cpu/c", "cpu.stat", "nr_periods 3\nthrottled_time 9000\n"},
    };
    char root[64];

    (void)state;
    build_root(version_2, 4, root);
    assert_int_equal(cgroup_throttled_at(root), 1234);
    data_remove_folder(root);
    build_root(version_2, 1, root);
    assert_int_equal(cgroup_throttled_at(root), 0);
    data_remove_folder(root);
    build_root(version_1, 2, root);
    assert_int_equal(cgroup_throttled_at(root), 9);
    data_remove_folder(root);
}

static void version_2_limits(void **state)
{
    static const cgroup_file files[] = {
        {"proc/self", "cgroup", "0::/a/b\n"},
        {"sys/fs/cgroup/a/b", "cpu.max", "max 100000\n"},
        {"sys/fs/cgroup/a/b", "memory.max", "1000000\n"},
        {"sys/fs/cgroup/a", "cpu.max", "250000 100000\n"},
        {"sys/fs/cgroup/a", "memory.max", "max\n"},
        {"sys/fs/cgroup", "cpu.max", "800000 100000\n"},
        {"sys/fs/cgroup", "memory.max", "2000000\n"},
    };

    (void)state;
    check_limits(files, 7, 3, 1000000);
    check_limits(files, 3, 0, 1000000);
    check_limits(files, 1, 0, 0);
    check_limits(files, 0, 0, 0);
}

static void version_1_limits(void **state)
{
    static const cgroup_file files[] = {
        {"proc/self", "cgroup", "5:memory:/m\n4:cpu,cpuacct:/c/d\n1:name=systemd:/x\n0::/\n"},
        {"sys/fs/cgroup/cpu/c/d", "cpu.cfs_quota_us", "150000\n"},
        {"sys/fs/cgroup/cpu/c/d", "cpu.cfs_period_us", "100000\n"},
        {"sys/fs/cgroup/cpu/c", "cpu.cfs_quota_us", "-1\n"},
        {"sys/fs/cgroup/cpu/c", "cpu.cfs_period_us", "100000\n"},
        {"sys/fs/cgroup/memory/m", "memory.limit_in_bytes", "536870912\n"},
        {"sys/fs/cgroup/memory", "memory.limit_in_bytes", "9223372036854771712\n"},
    };

    (void)state;
    check_limits(files, 7, 2, 536870912);
}

static void odd_files_are_no_limits(void **state)
{
    static const cgroup_file files[] = {
        {"proc/self", "cgroup", "0::/a\nnonsense\n7\n:::\n"},
        {"sys/fs/cgroup/a", "cpu.max", "100000 0\n"},
        {"sys/fs/cgroup/a", "memory.max", "-5\n"},
    };

    (void)state;
    check_limits(files, 3, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(this_machine_is_plausible),
        cmocka_unit_test(a_described_machine_is_read),
        cmocka_unit_test(without_hwloc_something_is_known),
        cmocka_unit_test(version_2_limits),
        cmocka_unit_test(version_1_limits),
        cmocka_unit_test(throttling_of_all_groups_above),
        cmocka_unit_test(odd_files_are_no_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
