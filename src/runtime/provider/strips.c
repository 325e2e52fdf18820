/* The providers that can work by strips. */
#include "runtime/provider/strips.h"

#include "runtime/provider/providers.h"

static const provider_strips *const all[] = {
    &provider_conv_depthwise_strips, &provider_conv_nhwc_strips, &provider_conv_s8_strips,
    &provider_linear_s8_strips,      &provider_pool_nhwc_strips,
};

const provider_strips *provider_strips_find(const provider_site *site, conv_f32_shape *shape)
{
    const graph_type *x = provider_input_type(site, 0);
    const graph_type *y = provider_output_type(site, 0);
    const provider *p;

    if (x == NULL || y == NULL || x->rank != 4 || y->rank != 4) {
        return NULL;
    }
    p = provider_find(site);
    if (p == &provider_sparse) { /* what skips no zeros is handed over */
        p = provider_find_after(site, p);
    }
    for (size_t i = 0; p != NULL && i < sizeof all / sizeof *all; i++) {
        if (all[i]->of == p) {
            return all[i]->read(site, shape) ? all[i] : NULL;
        }
    }
    return NULL;
}
