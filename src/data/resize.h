/* Resizing 8-bit pictures, reproducibly to the last bit. */
#ifndef DATA_RESIZE_H
#define DATA_RESIZE_H

#include <stddef.h>
#include <stdint.h>

#include "spry/allocator.h"
#include "spry/preprocess.h"
#include "spry/status.h"

/* Pixels in memory: row y, column x, channel c at data[y * stride + x * channels + c]. */
typedef struct resize_picture {
    uint8_t *data;
    int64_t height;
    int64_t width;
    int64_t channels;
    int64_t stride; /* bytes from row to row */
} resize_picture;

/* Fills `to` (its height and width say how large) from `from`; both have the same channels and do
 * not overlap. Sides are at least 1. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status resize_u8(const spry_allocator *allocator, const resize_picture *from,
                                    const resize_picture *to, spry_resize_method method,
                                    spry_error *error);

#endif
