/* Anonymous maps whose protection says whether they have memory. */
#define _GNU_SOURCE
#include "base/pages.h"

#include <sys/mman.h>

#include "base/alloc.h"

void *pages_reserve(size_t size)
{
    void *pages = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return pages != MAP_FAILED ? pages : NULL;
}

bool pages_fill(void *pages, size_t size)
{
    if (mprotect(pages, size, PROT_READ | PROT_WRITE) != 0) {
        return false;
    }
    alloc_prefault(pages, size);
    return true;
}

void pages_empty(void *pages, size_t size)
{
    (void)madvise(pages, size, MADV_DONTNEED);
    (void)mprotect(pages, size, PROT_NONE);
}

void pages_release(void *pages, size_t size)
{
    if (pages != NULL) {
        (void)munmap(pages, size);
    }
}
