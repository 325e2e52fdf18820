/* Layers of regions by Winograd's method: which sizes of tiles are worth having, and their weights.
 *
 * Tiles of 4 x 4 pixels take 2.25 multiplications a pixel and tiles of 2 x 2 take 4, but a mask
 * whose cells are 2 pixels wide touches nearly all of the larger ones where it leaves half of the
 * smaller ones alone. Weights of both are kept only for such masks. */
#include "runtime/provider/winograd_weights.h"
#include "runtime/region/state.h"

enum { LARGE = 4, SMALL = 2 };

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

spry_status region_pack_winograd(const provider_site *site, const float *weights, region_layer *l,
                                 spry_error *error)
{
    int count = l->winograd_count;
    spry_status status = SPRY_OK;

    l->winograd_count = 0;
    for (int i = 0; i < count && status == SPRY_OK; i++) {
        region_winograd *w = &l->winograd[l->winograd_count];
        const char *name;

        w->plan = l->winograd[i].plan;
        name = w->plan.size == LARGE ? "region_winograd_f4" : "region_winograd_f2";
        status = winograd_weights_make(site, name, &w->plan, weights, &w->packed, error);
        l->winograd_count += status == SPRY_OK && w->packed.data != NULL;
    }
    return status;
}
