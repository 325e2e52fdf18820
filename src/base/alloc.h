/* Allocation helpers over spry_allocator: the only way memory is obtained inside Spry. */
#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

#include <stddef.h>
#include <stdint.h>

#include "spry/allocator.h"
#include "spry/status.h"

/* Cache-line and vector friendly: every buffer that kernels touch starts at such an address. */
enum { ALLOC_ALIGNMENT = 64 };

/* The allocator to copy into a new object: `allocator`, or the system's where that is NULL. */
spry_allocator alloc_resolve(const spry_allocator *allocator);

/* `size` zeroed bytes aligned to ALLOC_ALIGNMENT; NULL when memory ran out. A size of 0 gives a
 * valid pointer to one byte, released with size 0. */
void *alloc_zeroed(const spry_allocator *allocator, size_t size);

/* As alloc_zeroed, without clearing: for buffers that are overwritten at once. */
void *alloc_bytes(const spry_allocator *allocator, size_t size);

/* Makes the pages of memory that is about to be overwritten as a whole, in one call: a page that is
 * made when it is first touched costs half as much again. A hint. */
void alloc_prefault(void *memory, size_t size);

/* Zeroed room for `count` elements of `size` bytes; NULL also when the product overflows. */
void *alloc_array(const spry_allocator *allocator, size_t count, size_t size);

/* Gives back what the functions above returned with the same size (or count x size). NULL is
 * allowed and ignored. */
void alloc_release(const spry_allocator *allocator, void *memory, size_t size);

/* A NUL-terminated copy of `length` bytes; NULL when memory ran out. Release with length + 1. */
char *alloc_text(const spry_allocator *allocator, const char *text, size_t length);

/* Grows `*array` of `*capacity` elements of `size` bytes to hold at least `needed`, doubling;
 * refuses above `ceiling` elements. New elements are zeroed.
 * Fails with SPRY_LIMIT (ceiling passed, or memory ran out); the array is then unchanged. */
SPRY_MUST_USE spry_status alloc_grow(const spry_allocator *allocator, void **array,
                                     size_t *capacity, size_t needed, size_t size, size_t ceiling,
                                     spry_error *error);

/* The one way to report exhausted memory. */
spry_status alloc_failed(spry_error *error, size_t size);

/* A test's allocator: passes on to the system but fails its `fail_at`-th call (1-based; 0 never
 * fails), counts calls and the bytes outstanding. Not for use by several threads at once unless
 * fail_at is 0. */
typedef struct alloc_counter {
    _Atomic(int64_t) calls;
    _Atomic(int64_t) outstanding_bytes;
    _Atomic(int64_t) peak_bytes;
    int64_t fail_at;
} alloc_counter;

/* An allocator over `counter`, which must outlive it. */
spry_allocator alloc_counting(alloc_counter *counter);

#endif
