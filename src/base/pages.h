/* Ranges of addresses whose memory comes and goes: pointers into them stay valid, and what is read
 * while there is no memory ends the process rather than being wrong. */
#ifndef BASE_PAGES_H
#define BASE_PAGES_H

#include <stdbool.h>
#include <stddef.h>

/* Addresses for `size` bytes (above 0), aligned to a page, without memory; NULL when there are
 * none. */
void *pages_reserve(size_t size);
/* Gives the range memory, filled with zeros; false when there is none. */
bool pages_fill(void *pages, size_t size);
/* Gives the memory back to the system. */
void pages_empty(void *pages, size_t size);
/* Gives the addresses back; NULL is allowed. */
void pages_release(void *pages, size_t size);

#endif
