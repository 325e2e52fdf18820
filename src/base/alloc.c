/* Allocation helpers; the only file that calls the C library's allocator. */
#define _GNU_SOURCE
#include "base/alloc.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"

/* Of the smallest pages there are: a multiple of them would do as well. */
enum { PAGE_BYTES = 4096, PREFAULT_LEAST = 256 << 10 };
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static void *system_allocate(void *context, size_t size, size_t alignment)
{
    size_t rounded;

    (void)context;
    /* aligned_alloc wants a multiple of the alignment. */
    if (!checked_add(size, alignment - 1, &rounded)) {
        return NULL;
    }
    return aligned_alloc(alignment, rounded - rounded % alignment);
}

static void system_release(void *context, void *memory, size_t size)
{
    (void)context;
    (void)size;
    free(memory);
}

static const spry_allocator system_allocator = {system_allocate, system_release, NULL};

const spry_allocator *spry_allocator_system(void)
{
    return &system_allocator;
}

spry_allocator alloc_resolve(const spry_allocator *allocator)
{
    return allocator != NULL ? *allocator : system_allocator;
}

void *alloc_bytes(const spry_allocator *allocator, size_t size)
{
    return allocator->allocate(allocator->context, size != 0 ? size : 1, ALLOC_ALIGNMENT);
}

void *alloc_zeroed(const spry_allocator *allocator, size_t size)
{
    void *memory = alloc_bytes(allocator, size);

    if (memory != NULL) {
        memset(memory, 0, size != 0 ? size : 1);
    }
    return memory;
}

void alloc_prefault(void *memory, size_t size)
{
    uintptr_t begin = ((uintptr_t)memory + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    uintptr_t end = ((uintptr_t)memory + size) / PAGE_BYTES * PAGE_BYTES;

    if (memory != NULL && size >= PREFAULT_LEAST) {
        (void)madvise((void *)begin, end - begin, MADV_POPULATE_WRITE); /* Linux 5.14 */
    }
}

void *alloc_array(const spry_allocator *allocator, size_t count, size_t size)
{
    size_t bytes;

    return checked_mul(count, size, &bytes) ? alloc_zeroed(allocator, bytes) : NULL;
}

void alloc_release(const spry_allocator *allocator, void *memory, size_t size)
{
    if (memory != NULL) {
        allocator->release(allocator->context, memory, size != 0 ? size : 1);
    }
}

char *alloc_text(const spry_allocator *allocator, const char *text, size_t length)
{
    size_t size;
    char *copy;

    if (!checked_add(length, 1, &size)) {
        return NULL;
    }
    copy = alloc_bytes(allocator, size);
    if (copy != NULL) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

spry_status alloc_grow(const spry_allocator *allocator, void **array, size_t *capacity,
                       size_t needed, size_t size, size_t ceiling, spry_error *error)
{
    size_t grown = *capacity != 0 ? *capacity : 8;
    size_t bytes;
    void *memory;

    if (needed <= *capacity) {
        return SPRY_OK;
    }
    if (needed > ceiling) {
        return spry_fail(error, SPRY_LIMIT, NULL, NULL, "more than %zu elements are not accepted",
                         ceiling);
    }
    while (grown < needed) {
        grown = grown > ceiling / 2 ? ceiling : grown * 2;
    }
    grown = grown < ceiling ? grown : ceiling;
    if (!checked_mul(grown, size, &bytes)) {
        return alloc_failed(error, SIZE_MAX);
    }
    memory = alloc_zeroed(allocator, bytes);
    if (memory == NULL) {
        return alloc_failed(error, bytes);
    }
    if (*array != NULL) {
        memcpy(memory, *array, *capacity * size);
        alloc_release(allocator, *array, *capacity * size);
    }
    *array = memory;
    *capacity = grown;
    return SPRY_OK;
}

spry_status alloc_failed(spry_error *error, size_t size)
{
    return spry_fail(error, SPRY_LIMIT, "memory", "free memory or use a smaller model or batch",
                     "could not allocate %zu bytes", size);
}

static void *counting_allocate(void *context, size_t size, size_t alignment)
{
    alloc_counter *counter = context;
    int64_t call = atomic_fetch_add(&counter->calls, 1) + 1;
    int64_t outstanding;
    int64_t peak;
    void *memory;

    if (call == counter->fail_at) {
        return NULL;
    }
    memory = system_allocate(NULL, size, alignment);
    if (memory == NULL) {
        return NULL;
    }
    outstanding = atomic_fetch_add(&counter->outstanding_bytes, (int64_t)size) + (int64_t)size;
    peak = atomic_load(&counter->peak_bytes);
    while (outstanding > peak &&
           !atomic_compare_exchange_weak(&counter->peak_bytes, &peak, outstanding)) {
    }
    return memory;
}

static void counting_release(void *context, void *memory, size_t size)
{
    alloc_counter *counter = context;

    atomic_fetch_sub(&counter->outstanding_bytes, (int64_t)size);
    system_release(NULL, memory, size);
}

spry_allocator alloc_counting(alloc_counter *counter)
{
    return (spry_allocator){counting_allocate, counting_release, counter};
}
