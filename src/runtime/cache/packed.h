/* Memory that a provider makes of constants once and only reads afterwards: packed weights, and
 * what is found out about them. With a plan cache (plan_cache.h) it may have been made by an
 * earlier process. */
#ifndef RUNTIME_CACHE_PACKED_H
#define RUNTIME_CACHE_PACKED_H

#include "runtime/provider/provider.h"

typedef struct packed_memory {
    const void *data;
    void *memory; /* the same, where it is ours; else NULL */
    size_t bytes;
} packed_memory;

/* Fills `to`, which is aligned to 64 bytes. Fails with SPRY_LIMIT (memory). */
typedef spry_status packed_fill(void *context, void *to, spry_error *error);

/* Makes `bytes` by `fill`, or gets them. Only `fill` may read the constants that the provider's
 * step calls spent; what it writes must follow from the node, its constants, the machine, the
 * options and the number of threads. `kind` names the way, such as the kernel. p->data is NULL
 * where packed_refuse was said of the same before. Fails with SPRY_LIMIT (memory), and as
 * `fill`. */
SPRY_MUST_USE spry_status packed_make(const provider_site *site, const char *kind, size_t bytes,
                                      packed_fill *fill, void *context, packed_memory *p,
                                      spry_error *error);
/* The last one that was made is of no use: releases it. */
void packed_refuse(const provider_site *site, packed_memory *p);

/* Room that is filled in every run. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status packed_room(const provider_site *site, size_t bytes, packed_memory *p,
                                      spry_error *error);

/* A zeroed one is allowed. */
void packed_release(const spry_allocator *allocator, packed_memory *p);

#endif
