/* hwloc's answers, with the C library's as a fallback. */
#define _GNU_SOURCE
#include "base/topology.h"

#include <unistd.h>

#include <hwloc.h>

#include "base/cgroup.h"

static int at_least_one(int count)
{
    return count > 0 ? count : 1;
}

/* Levels where no machine has a cache are skipped; hybrid machines have caches of several sizes on
 * one level, of which the smallest is reported, as block sizes must fit everywhere. */
static void read_caches(hwloc_topology_t source, topology *machine)
{
    static const hwloc_obj_type_t types[] = {HWLOC_OBJ_L1CACHE, HWLOC_OBJ_L2CACHE,
                                             HWLOC_OBJ_L3CACHE, HWLOC_OBJ_L4CACHE,
                                             HWLOC_OBJ_L5CACHE};

    for (int i = 0; i < (int)(sizeof types / sizeof *types); i++) {
        topology_cache *cache = &machine->caches[machine->cache_count];
        hwloc_obj_t object = hwloc_get_next_obj_by_type(source, types[i], NULL);

        if (object == NULL) {
            continue;
        }
        *cache = (topology_cache){.level = i + 1};
        for (; object != NULL; object = hwloc_get_next_obj_by_type(source, types[i], object)) {
            const struct hwloc_cache_attr_s *about = &object->attr->cache;

            cache->count++;
            if (cache->bytes == 0 || about->size < cache->bytes) {
                cache->bytes = about->size;
                cache->line = about->linesize;
                cache->ways = about->associativity > 0 ? about->associativity : 0;
                cache->threads = at_least_one(hwloc_bitmap_weight(object->cpuset));
            }
        }
        machine->cache_count++;
    }
}

static bool read_hwloc(topology *machine, const char *xml_path)
{
    hwloc_topology_t source;
    bool loaded;

    if (hwloc_topology_init(&source) != 0) {
        return false;
    }
    loaded = (xml_path == NULL || hwloc_topology_set_xml(source, xml_path) == 0) &&
             hwloc_topology_set_flags(source, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) == 0 &&
             hwloc_topology_load(source) == 0;
    if (loaded) {
        machine->packages = hwloc_get_nbobjs_by_type(source, HWLOC_OBJ_PACKAGE);
        machine->cores = hwloc_get_nbobjs_by_type(source, HWLOC_OBJ_CORE);
        machine->threads = hwloc_get_nbobjs_by_type(source, HWLOC_OBJ_PU);
        machine->numa_nodes = hwloc_get_nbobjs_by_type(source, HWLOC_OBJ_NUMANODE);
        machine->memory_total = hwloc_get_root_obj(source)->total_memory;
        read_caches(source, machine);
    }
    hwloc_topology_destroy(source);
    return loaded;
}

static void read_c_library(topology *machine)
{
    static const struct {
        int level;
        int size;
        int line;
        int ways;
    } names[] = {
        {1, _SC_LEVEL1_DCACHE_SIZE, _SC_LEVEL1_DCACHE_LINESIZE, _SC_LEVEL1_DCACHE_ASSOC},
        {2, _SC_LEVEL2_CACHE_SIZE, _SC_LEVEL2_CACHE_LINESIZE, _SC_LEVEL2_CACHE_ASSOC},
        {3, _SC_LEVEL3_CACHE_SIZE, _SC_LEVEL3_CACHE_LINESIZE, _SC_LEVEL3_CACHE_ASSOC},
    };
    long online = sysconf(_SC_NPROCESSORS_ONLN);

    machine->threads = online > 0 && online < INT32_MAX ? (int)online : 1;
    machine->cores = machine->threads;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        long size = sysconf(names[i].size);
        long line = sysconf(names[i].line);
        long ways = sysconf(names[i].ways);

        if (size > 0) {
            machine->caches[machine->cache_count++] = (topology_cache){
                .level = names[i].level,
                .count = 1,
                .threads = 1,
                .bytes = (uint64_t)size,
                .line = line > 0 && line < INT32_MAX ? (uint32_t)line : 0,
                .ways = ways > 0 && ways < INT32_MAX ? (int)ways : 0,
            };
        }
    }
}

static uint64_t physical_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    long size = sysconf(_SC_PAGESIZE);

    return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
}

void topology_read_from(topology *machine, const char *xml_path)
{
    uint64_t limit = xml_path == NULL ? cgroup_memory() : 0;

    *machine = (topology){0};
    machine->complete = read_hwloc(machine, xml_path);
    if (!machine->complete) {
        read_c_library(machine);
    }
    if (machine->memory_total == 0) {
        machine->memory_total = physical_memory();
    }
    machine->packages = at_least_one(machine->packages);
    machine->cores = at_least_one(machine->cores);
    machine->threads = at_least_one(machine->threads);
    machine->numa_nodes = at_least_one(machine->numa_nodes);
    machine->memory_usable =
        limit != 0 && limit < machine->memory_total ? limit : machine->memory_total;
}

void topology_read(topology *machine)
{
    topology_read_from(machine, NULL);
}

const topology_cache *topology_find_cache(const topology *machine, int level)
{
    for (int i = 0; i < machine->cache_count; i++) {
        if (machine->caches[i].level == level) {
            return &machine->caches[i];
        }
    }
    return NULL;
}
