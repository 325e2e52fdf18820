#include "runtime/provider/winograd_weights.h"

#include <string.h>

#include "base/alloc.h"

/* The largest error of a layer, relative to the range of its results (conv_winograd_error).
 * Networks are held to 1e-4 of their output's range, and trained layers stay below 2e-6. */
static const double tolerance = 5e-6;

typedef struct pack_run {
    const provider_site *site;
    const conv_winograd *plan;
    const float *weights;
    void *packed;
} pack_run;

static void pack_panels(void *context, int64_t begin, int64_t end, int worker)
{
    const pack_run *r = context;

    (void)worker;
    conv_winograd_pack(r->plan, r->weights, begin, end, r->packed);
}

/* Packs the weights and measures what they do to accuracy: that is noted behind them. */
static spry_status pack_weights(void *context, void *to, spry_error *error)
{
    pack_run *r = context;
    const spry_allocator *allocator = r->site->allocator;
    size_t checking = (size_t)conv_winograd_error_bytes(r->plan);
    void *scratch = alloc_bytes(allocator, checking);
    double relative_error;

    if (scratch == NULL) {
        return alloc_failed(error, checking);
    }
    r->packed = to;
    threads_for(r->site->team, conv_winograd_panels(r->plan), 1, pack_panels, r);
    relative_error = conv_winograd_error(r->plan, r->weights, to, scratch);
    memcpy((char *)to + r->plan->packed_bytes, &relative_error, sizeof relative_error);
    alloc_release(allocator, scratch, checking);
    return SPRY_OK;
}

spry_status winograd_weights_make(const provider_site *site, const char *kind,
                                  const conv_winograd *plan, const float *weights, packed_memory *p,
                                  spry_error *error)
{
    pack_run r = {.site = site, .plan = plan, .weights = weights};
    size_t bytes = (size_t)plan->packed_bytes;
    double relative_error;
    spry_status status =
        packed_make(site, kind, bytes + sizeof relative_error, pack_weights, &r, p, error);

    if (status != SPRY_OK || p->data == NULL) {
        return status;
    }
    memcpy(&relative_error, (const char *)p->data + bytes, sizeof relative_error);
    if (!(relative_error <= tolerance)) { /* true for NaN */
        packed_refuse(site, p);
    }
    return SPRY_OK;
}
