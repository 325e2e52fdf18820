/* Guarded memory. */
#include "support/guarded.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

guarded guarded_make(size_t bytes, bool at_end)
{
    size_t page = page_bytes();
    size_t room = (bytes + page - 1) / page * page;
    guarded g = {.map_bytes = room + 2 * page};
    void *map = mmap(NULL, g.map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_true(map != MAP_FAILED);
    g.map = map;
    assert_true(room == 0 || mprotect(g.map + page, room, PROT_READ | PROT_WRITE) == 0);
    guarded_place(&g, bytes, at_end);
    return g;
}

void guarded_place(guarded *g, size_t bytes, bool at_end)
{
    size_t page = page_bytes();
    size_t room = g->map_bytes - 2 * page;

    assert_true(bytes <= room);
    g->data = g->map + page + (at_end ? room - bytes : 0);
}

void guarded_free(guarded *g)
{
    assert_int_equal(munmap(g->map, g->map_bytes), 0);
}
