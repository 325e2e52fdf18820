/* Where Spry's memory comes from. Every object keeps the allocator it was created with and
 * releases its memory through it, so one program may use several. */
#ifndef SPRY_ALLOCATOR_H
#define SPRY_ALLOCATOR_H

#include <stddef.h>

#include "spry/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A source of memory. Both callbacks must be thread-safe and must not be NULL. Objects copy this
 * struct; what `context` points to must outlive every object created with it. */
typedef struct spry_allocator {
    /* Returns `size` bytes aligned to `alignment` (a power of two, at least sizeof(void *)), or
     * NULL. `size` is never 0. The bytes need not be cleared. */
    void *(*allocate)(void *context, size_t size, size_t alignment);
    /* Takes back what `allocate` returned, with the same size. `memory` is never NULL. */
    void (*release)(void *context, void *memory, size_t size);
    void *context;
} spry_allocator;

/* The system's allocator. The returned struct is constant and lives forever. Wherever a function
 * takes `const spry_allocator *`, NULL means this one. */
SPRY_API const spry_allocator *spry_allocator_system(void);

#ifdef __cplusplus
}
#endif

#endif
