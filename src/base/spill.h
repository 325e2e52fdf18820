/* A temporary file without a name, for data that is written once in pieces and read back in parts
 * later: it costs room on the disk instead of memory. */
#ifndef BASE_SPILL_H
#define BASE_SPILL_H

#include <stddef.h>
#include <stdint.h>

#include "spry/status.h"

typedef struct spill {
    int file; /* -1: closed */
} spill;

/* In the folder that TMPDIR names, else in /var/tmp or /tmp. Fails with SPRY_IO. */
SPRY_MUST_USE spry_status spill_open(spill *s, spry_error *error);
/* Ends the file; one that is closed, or zeroed to { -1 }, is allowed. */
void spill_close(spill *s);

/* `size` bytes at `offset`. Reading what was not written gives zeros, or fails beyond the end.
 * Fail with SPRY_IO. */
SPRY_MUST_USE spry_status spill_write(spill *s, uint64_t offset, const void *bytes, size_t size,
                                      spry_error *error);
SPRY_MUST_USE spry_status spill_read(const spill *s, uint64_t offset, void *bytes, size_t size,
                                     spry_error *error);

#endif
