/* The derivatives of MaxPool and AveragePool (one or two spatial axes, or the whole image) over
 * channels-last f32 images. */
#include <string.h>

#include "base/alloc.h"
#include "kernels/pool/pool_gradient.h"
#include "runtime/layout/layout.h"
#include "runtime/provider/providers.h"

enum { CHANNELS = 64 }; /* of a piece of work */

typedef struct pool_state {
    spry_allocator allocator;
    const pool_gradient_kernel *kernel;
    bool is_largest;
    int64_t batch, channels;
    pool_gradient shape; /* of an image */
} pool_state;

/* The window; the whole image where the node has none. */
static bool read_window(const provider_site *site, const graph_type *x, window *w)
{
    if (graph_attribute_find(site->node, "kernel_shape") != NULL) {
        return provider_pool_window(site, x, w);
    }
    *w = (window){.rank = x->rank - 2};
    for (int i = 0; i < w->rank; i++) {
        w->in[i] = w->kernel[i] = x->dims[1 + i].size;
        w->out[i] = w->stride[i] = w->dilation[i] = 1;
    }
    return true;
}

static bool read_pool(const provider_site *site, pool_state *s)
{
    const graph_type *x = provider_input_type(site, 0);
    const graph_type *dy = provider_input_type(site, 1);
    int last;
    window w;

    s->is_largest = provider_is_own(site, "MaxPoolGradient");
    if ((!s->is_largest && !provider_is_own(site, "AveragePoolGradient")) ||
        !layout_is_nhwc(site->node) || x == NULL || dy == NULL || x->dtype != SPRY_DTYPE_F32 ||
        (x->rank != 3 && x->rank != 4) || op_work_count(x) == 0 || op_work_count(dy) == 0 ||
        !read_window(site, x, &w)) {
        return false;
    }
    last = w.rank - 1;
    s->batch = x->dims[0].size;
    s->channels = x->dims[x->rank - 1].size;
    s->shape = (pool_gradient){.in_h = last > 0 ? w.in[0] : 1,
                               .in_w = w.in[last],
                               .out_h = last > 0 ? w.out[0] : 1,
                               .out_w = w.out[last],
                               .kernel_h = last > 0 ? w.kernel[0] : 1,
                               .kernel_w = w.kernel[last],
                               .stride_h = last > 0 ? w.stride[0] : 1,
                               .stride_w = w.stride[last],
                               .pad_h = last > 0 ? w.pad_begin[0] : 0,
                               .pad_w = w.pad_begin[last],
                               .pad_end_h = last > 0 ? w.pad_end[0] : 0,
                               .pad_end_w = w.pad_end[last],
                               .pitch = s->channels,
                               .counts_pads =
                                   graph_attribute_int(site->node, "count_include_pad", 0) != 0};
    return op_work_count(dy) == s->batch * s->channels * s->shape.out_h * s->shape.out_w;
}

static bool accepts(const provider_site *site)
{
    pool_state s;

    return read_pool(site, &s);
}

static void destroy(void *state)
{
    pool_state *s = state;
    spry_allocator allocator = s->allocator;

    alloc_release(&allocator, s, sizeof *s);
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    pool_state *s = alloc_zeroed(site->allocator, sizeof *s);

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)read_pool(site, s); /* accepted before */
    s->allocator = *site->allocator;
    s->kernel = pool_gradient_select();
    step->state = s;
    step->kernel = s->kernel->name;
    return SPRY_OK;
}

typedef struct pool_run {
    const pool_state *s;
    const float *x, *dy;
    float *dx;
} pool_run;

static void run_pieces(void *context, int64_t begin, int64_t end, int worker)
{
    const pool_run *r = context;
    const pool_state *s = r->s;
    int64_t slices = provider_pieces(s->channels, CHANNELS);

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        pool_gradient p = s->shape;
        int64_t c = i % slices * CHANNELS;
        int64_t in = i / slices * p.in_h * p.in_w * p.pitch + c;

        p.channels = provider_least(s->channels - c, CHANNELS);
        p.x = r->x + in;
        p.dx = r->dx + in;
        p.dy = r->dy + i / slices * p.out_h * p.out_w * p.pitch + c;
        (s->is_largest ? s->kernel->largest : s->kernel->average)(&p);
    }
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    const pool_state *s = state;
    const tensor *x = op_call_input(call, 0);
    pool_run r = {.s = s, .x = x->data, .dy = op_call_input(call, 1)->data};
    tensor *dx;
    spry_status status = op_call_output_like(call, 0, SPRY_DTYPE_F32, x, &dx);

    (void)workspace;
    if (status != SPRY_OK || dx == NULL) {
        return status;
    }
    r.dx = dx->data;
    threads_for(call->team, s->batch * provider_pieces(s->channels, CHANNELS), 1, run_pieces, &r);
    return SPRY_OK;
}

const provider provider_pool_gradient = {
    "pool_gradient", PROVIDER_FUSES_NOTHING, accepts, create, run, destroy};
