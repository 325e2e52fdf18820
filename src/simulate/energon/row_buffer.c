#include "simulate/energon/row_buffer.h"

#include <string.h>

#include "base/alloc.h"

spry_status row_buffer_make(row_buffer *b, arena *memory, int64_t rows, int64_t room,
                            spry_error *error)
{
    *b = (row_buffer){.room = room > 0 ? room : 1};
    b->older = arena_array(memory, (size_t)rows + 1, sizeof *b->older);
    b->newer = arena_array(memory, (size_t)rows + 1, sizeof *b->newer);
    b->held = arena_array(memory, (size_t)rows + 1, sizeof *b->held);
    if (b->older == NULL || b->newer == NULL || b->held == NULL) {
        return alloc_failed(error, (size_t)rows * sizeof *b->older);
    }
    row_buffer_clear(b, rows);
    return SPRY_OK;
}

void row_buffer_clear(row_buffer *b, int64_t rows)
{
    memset(b->held, 0, (size_t)rows);
    b->count = 0;
    b->oldest = -1;
    b->newest = -1;
}

static void take_out(row_buffer *b, int32_t row)
{
    int32_t older = b->older[row];
    int32_t newer = b->newer[row];

    if (older >= 0) {
        b->newer[older] = newer;
    } else {
        b->oldest = newer;
    }
    if (newer >= 0) {
        b->older[newer] = older;
    } else {
        b->newest = older;
    }
    b->held[row] = 0;
    b->count--;
}

bool row_buffer_use(row_buffer *b, int32_t row)
{
    bool is_there = b->held[row] != 0;

    if (is_there) {
        take_out(b, row);
    } else if (b->count == b->room) {
        take_out(b, b->oldest);
    }
    b->older[row] = b->newest;
    b->newer[row] = -1;
    if (b->newest >= 0) {
        b->newer[b->newest] = row;
    } else {
        b->oldest = row;
    }
    b->newest = row;
    b->held[row] = 1;
    b->count++;
    return !is_there;
}
