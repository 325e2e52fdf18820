/* Memory between two pages that nobody may touch: who reads or writes one byte too many, before or
 * behind, ends the test. */
#ifndef SUPPORT_GUARDED_H
#define SUPPORT_GUARDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct guarded {
    uint8_t *map;
    size_t map_bytes;
    uint8_t *data;
} guarded;

/* `data` is `bytes` long and ends, or begins, where the memory does. Release with guarded_free. */
guarded guarded_make(size_t bytes, bool at_end);
/* Moves `data`, for `bytes` of at most as many as the memory was made for: cheaper than another. */
void guarded_place(guarded *g, size_t bytes, bool at_end);
void guarded_free(guarded *g);

#endif
