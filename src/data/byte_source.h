/* A file of bytes that can be read anywhere, also when it is gzipped: unpacking can start at
 * checkpoints taken once from beginning to end, so memory is about 2 % of the unpacked size. A file
 * that unpacks to little is kept unpacked from the first read that goes back. */
#ifndef DATA_BYTE_SOURCE_H
#define DATA_BYTE_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "spry/allocator.h"
#include "spry/status.h"

typedef struct byte_source byte_source;

/* `resident`: the most bytes that may be kept unpacked; reading anywhere else costs some
 * milliseconds. Fails with SPRY_IO, SPRY_BAD_INPUT (damaged gzip), SPRY_LIMIT (expands too much,
 * memory). */
SPRY_MUST_USE spry_status byte_source_open(const spry_allocator *allocator, const char *path,
                                           size_t resident, byte_source **source,
                                           spry_error *error);
/* NULL is allowed. */
void byte_source_close(byte_source *source);

/* Bytes after unpacking. */
size_t byte_source_size(const byte_source *source);

/* May be called by several threads at once; those of a packed file wait for each other. Fails with
 * SPRY_BAD_INPUT (outside, damaged), SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status byte_source_read(byte_source *source, size_t offset, void *to,
                                           size_t size, spry_error *error);

#endif
