/* Packed memory: made here, or in a plan cache. */
#include "runtime/cache/packed.h"

#include "base/alloc.h"
#include "runtime/cache/plan_cache.h"

spry_status packed_room(const provider_site *site, size_t bytes, packed_memory *p,
                        spry_error *error)
{
    void *memory = alloc_bytes(site->allocator, bytes);

    *p = (packed_memory){memory, memory, bytes};
    if (memory == NULL) {
        return alloc_failed(error, bytes);
    }
    alloc_prefault(memory, bytes);
    return SPRY_OK;
}

spry_status packed_make(const provider_site *site, const char *kind, size_t bytes,
                        packed_fill *fill, void *context, packed_memory *p, spry_error *error)
{
    bool refused = false;
    spry_status status = SPRY_OK;

    *p = (packed_memory){.bytes = bytes};
    if (site->cache != NULL) {
        status = plan_cache_take(site->cache, kind, bytes, &p->data, &refused, error);
    }
    if (status != SPRY_OK || p->data != NULL || refused) {
        return status;
    }
    status = packed_room(site, bytes, p, error);
    if (status == SPRY_OK) {
        status = fill(context, p->memory, error);
    }
    if (status != SPRY_OK) {
        packed_release(site->allocator, p);
    } else if (site->cache != NULL) {
        plan_cache_give(site->cache, kind, p->data, bytes);
    }
    return status;
}

void packed_refuse(const provider_site *site, packed_memory *p)
{
    if (site->cache != NULL) {
        plan_cache_refuse(site->cache);
    }
    packed_release(site->allocator, p);
}

void packed_release(const spry_allocator *allocator, packed_memory *p)
{
    alloc_release(allocator, p->memory, p->bytes);
    *p = (packed_memory){0};
}
