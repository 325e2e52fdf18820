/* Rows of keys or values on the chip: the one that was used longest ago makes room. */
#ifndef SIMULATE_ENERGON_ROW_BUFFER_H
#define SIMULATE_ENERGON_ROW_BUFFER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"

typedef struct row_buffer {
    int64_t room;           /* rows */
    int64_t count;          /* held */
    int32_t *older, *newer; /* of each row; -1: none */
    uint8_t *held;
    int32_t oldest, newest;
} row_buffer;

/* For rows 0 to `rows` - 1. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status row_buffer_make(row_buffer *b, arena *memory, int64_t rows, int64_t room,
                                          spry_error *error);
/* Forgets what it holds, of `rows` as made. */
void row_buffer_clear(row_buffer *b, int64_t rows);
/* Uses a row; true if it had to be fetched. */
bool row_buffer_use(row_buffer *b, int32_t row);

#endif
