/* A fast 64-bit hash of bytes, to tell damaged or other data from the expected: XXH64, as the
 * specification of xxHash describes it. Whoever wants to can make data of any hash: it is not for
 * data that somebody might forge. */
#ifndef BASE_HASH64_H
#define BASE_HASH64_H

#include <stddef.h>
#include <stdint.h>

/* `seed` 0, or the hash of what came before. Some ten bytes a nanosecond. */
uint64_t hash64(const void *bytes, size_t size, uint64_t seed);

#endif
