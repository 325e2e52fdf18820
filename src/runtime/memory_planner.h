/* Places buffers whose lifetimes are known into one block of memory. */
#ifndef RUNTIME_MEMORY_PLANNER_H
#define RUNTIME_MEMORY_PLANNER_H

#include <stddef.h>
#include <stdint.h>

#include "spry/allocator.h"
#include "spry/status.h"

/* A buffer that is needed from step `first` to step `last`, both included. */
typedef struct planner_buffer {
    size_t bytes;
    int32_t first;
    int32_t last;
    size_t offset; /* out: multiple of 64 */
} planner_buffer;

/* Gives every buffer an offset such that no two that live at the same time overlap; *total is the
 * size of the block. Largest buffers are placed first, each into the tightest gap left by those
 * already placed; on CNNs and transformers that is within a few percent of the lower bound.
 * Fails with SPRY_LIMIT (sizes overflow, memory). */
SPRY_MUST_USE spry_status planner_place(const spry_allocator *allocator, planner_buffer *buffers,
                                        int32_t count, size_t *total, spry_error *error);

#endif
