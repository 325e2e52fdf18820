/* f32 convolution of channels-last images by up to four filters of one pixel (constant weights), as
 * maskers and heads of one number per pixel have them. */
#include "base/alloc.h"
#include "kernels/gemm/few_f32.h"
#include "runtime/fuse.h"
#include "runtime/layout/layout.h"
#include "runtime/provider/providers.h"

enum { BYTES_PER_PIECE = 1 << 16 }; /* of pixels */

typedef struct few_state {
    spry_allocator allocator;
    const few_f32_kernel *kernel;
    few_f32_product product; /* without its operands */
} few_state;

static bool is_of_pixels(const window *w)
{
    for (int i = 0; i < w->rank; i++) {
        if (w->kernel[i] != 1 || w->stride[i] != 1 || w->pad_begin[i] != 0 || w->pad_end[i] != 0) {
            return false;
        }
    }
    return true;
}

static bool has_input(const provider_site *site, int port)
{
    return port < site->node->input_count && site->node->inputs[port] != GRAPH_NONE;
}

static bool accepts(const provider_site *site)
{
    const graph_type *x = provider_input_type(site, 0);
    const graph_type *y = provider_output_type(site, 0);
    const tensor *weights = provider_constant(site, 1);
    window w;

    return provider_is(site, "Conv") && layout_is_nhwc(site->node) &&
           !layout_reads_planar(site->node) && x != NULL && y != NULL &&
           x->dtype == SPRY_DTYPE_F32 && x->rank == 4 && op_work_count(y) > 0 && weights != NULL &&
           weights->dtype == SPRY_DTYPE_F32 && weights->rank == 4 &&
           weights->shape[0] <= FEW_F32_COLUMNS && weights->shape[1] == x->dims[3].size &&
           (!has_input(site, 2) || provider_constant(site, 2) != NULL) &&
           !has_input(site, FUSE_RESIDUAL) && provider_activation(site) == NULL &&
           provider_window(site, x, weights->shape, &w) && is_of_pixels(&w);
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    const tensor *weights = provider_constant(site, 1);
    const tensor *bias = has_input(site, 2) ? provider_constant(site, 2) : NULL;
    gemm_f32_finish clamp = provider_finish(site);
    few_state *s = alloc_zeroed(site->allocator, sizeof *s);

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    s->allocator = *site->allocator;
    s->kernel = few_f32_select();
    s->product = (few_f32_product){.k = weights->shape[1],
                                   .columns = (int)weights->shape[0],
                                   .bias = bias != NULL ? bias->data : NULL,
                                   .lower = clamp.lower,
                                   .upper = clamp.upper};
    step->state = s;
    step->kernel = s->kernel->name;
    step->threads = threads_count(site->team);
    return SPRY_OK;
}

static void destroy(void *state)
{
    few_state *s = state;
    spry_allocator allocator = s->allocator;

    alloc_release(&allocator, s, sizeof *s);
}

typedef struct few_run {
    const few_state *s;
    few_f32_product product; /* of all rows */
} few_run;

static void run_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const few_run *r = context;
    few_f32_product p = r->product;

    (void)worker;
    p.a += begin * p.k;
    p.c += begin * p.columns;
    p.rows = end - begin;
    r->s->kernel->multiply(&p);
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    const few_state *s = state;
    few_run r = {.s = s, .product = s->product};
    int64_t bytes = s->product.k * (int64_t)sizeof(float);
    tensor *y;
    spry_status status = provider_output(call, SPRY_DTYPE_F32, &y);

    (void)workspace;
    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    r.product.a = op_call_input(call, 0)->data;
    r.product.b = op_call_input(call, 1)->data;
    r.product.c = y->data;
    threads_for(call->team, tensor_count(y) / s->product.columns, BYTES_PER_PIECE / bytes + 1,
                run_rows, &r);
    return SPRY_OK;
}

const provider provider_conv_few = {"conv_few", PROVIDER_FUSES_NOTHING, accepts, create, run,
                                    destroy};
