/* Layers of regions by Winograd's method: which sizes of tiles are worth having, and their weights.
 *
 * Tiles of 4 x 4 pixels take 2.25 multiplications a pixel and tiles of 2 x 2 take 4, but a mask
 * whose cells are 2 pixels wide touches nearly all of the larger ones where it leaves half of the
 * smaller ones alone. Weights of both are kept only for such masks. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "runtime/region_state.h"

enum { LARGE = 4, SMALL = 2 };

/* As provider_conv_winograd.c has it. */
static const double tolerance = 5e-6;

static bool plan_size(const conv_nhwc_problem *p, const region_layer *l, int size,
                      conv_winograd *plan)
{
    conv_winograd_problem problem = {.shape = l->shape, .batch = p->batch, .filters = p->filters};

    conv_winograd_plan(&problem, brgemm_select(BRGEMM_F32), conv_winograd_select(), size, 1, plan);
    return conv_listed_prefers(&l->listed, plan);
}

void region_plan_winograd(const conv_nhwc_problem *problem, int64_t cell, region_layer *l)
{
    conv_winograd large, small;
    bool has_large, has_small;

    l->winograd_count = 0;
    if (problem->groups != 1 || !conv_winograd_can(&l->shape)) {
        return;
    }
    has_large = plan_size(problem, l, LARGE, &large);
    has_small = plan_size(problem, l, SMALL, &small);
    if (has_large && has_small && cell % LARGE == 0) {
        has_large = large.predicted_cost <= small.predicted_cost;
        has_small = !has_large;
    }
    if (has_large) {
        l->winograd[l->winograd_count++].plan = large;
    }
    if (has_small) {
        l->winograd[l->winograd_count++].plan = small;
    }
}

/* ---- packing ---- */

typedef struct pack_run {
    const provider_site *site;
    const conv_winograd *plan;
    const float *weights;
    void *to;
} pack_run;

static void pack_panels(void *context, int64_t begin, int64_t end, int worker)
{
    const pack_run *r = context;

    (void)worker;
    conv_winograd_pack(r->plan, r->weights, begin, end, r->to);
}

/* With their relative error behind them. */
static spry_status pack(void *context, void *to, spry_error *error)
{
    pack_run *r = context;
    const spry_allocator *allocator = r->site->allocator;
    size_t checking = (size_t)conv_winograd_error_bytes(r->plan);
    void *scratch = alloc_bytes(allocator, checking);
    double relative_error;

    if (scratch == NULL) {
        return alloc_failed(error, checking);
    }
    r->to = to;
    threads_for(r->site->team, conv_winograd_panels(r->plan), 1, pack_panels, r);
    relative_error = conv_winograd_error(r->plan, r->weights, to, scratch);
    memcpy((char *)to + r->plan->packed_bytes, &relative_error, sizeof relative_error);
    alloc_release(allocator, scratch, checking);
    return SPRY_OK;
}

static spry_status pack_size(const provider_site *site, const float *weights, region_winograd *w,
                             bool *is_exact, spry_error *error)
{
    const char *name = w->plan.size == LARGE ? "region_winograd_f4" : "region_winograd_f2";
    pack_run r = {.site = site, .plan = &w->plan, .weights = weights};
    size_t bytes = (size_t)w->plan.packed_bytes;
    double relative_error = INFINITY;
    spry_status status =
        packed_make(site, name, bytes + sizeof relative_error, pack, &r, &w->packed, error);

    *is_exact = false;
    if (status == SPRY_OK && w->packed.data != NULL) {
        memcpy(&relative_error, (const char *)w->packed.data + bytes, sizeof relative_error);
        *is_exact = relative_error <= tolerance; /* false for NaN */
        if (!*is_exact) {
            packed_refuse(site, &w->packed);
        }
    }
    return status;
}

spry_status region_pack_winograd(const provider_site *site, const float *weights, region_layer *l,
                                 spry_error *error)
{
    int count = l->winograd_count;
    spry_status status = SPRY_OK;

    l->winograd_count = 0;
    for (int i = 0; i < count && status == SPRY_OK; i++) {
        region_winograd *w = &l->winograd[l->winograd_count];
        bool is_exact;

        w->plan = l->winograd[i].plan;
        status = pack_size(site, weights, w, &is_exact, error);
        l->winograd_count += is_exact;
    }
    return status;
}
