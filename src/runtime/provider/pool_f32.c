/* f32 MaxPool (without indices) and AveragePool over one or two axes, plane by plane. */
#include <string.h>

#include "base/alloc.h"
#include "kernels/pool/pool_f32.h"
#include "runtime/layout/layout.h"
#include "runtime/provider/providers.h"

typedef struct pool_state {
    spry_allocator allocator;
    const pool_f32_kernel *kernel;
    void (*run)(const pool_f32_planes *p);
    conv_f32_shape shape;
    bool count_padding;
    int64_t end_h, end_w;
} pool_state;

static bool accepts(const provider_site *site)
{
    const graph_type *x = provider_input_type(site, 0);
    bool no_indices = site->node->output_count < 2 || site->node->outputs[1] == GRAPH_NONE;
    window w;

    return (provider_is(site, "MaxPool") || provider_is(site, "AveragePool")) &&
           !layout_is_nhwc(site->node) && no_indices && x != NULL && x->dtype == SPRY_DTYPE_F32 &&
           (x->rank == 3 || x->rank == 4) && provider_output_type(site, 0) != NULL &&
           provider_pool_window(site, x, &w);
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    pool_state *s = alloc_zeroed(site->allocator, sizeof *s);
    window w;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)provider_pool_window(site, provider_input_type(site, 0), &w); /* accepted before */
    s->allocator = *site->allocator;
    s->kernel = pool_f32_select();
    s->run = provider_is(site, "MaxPool") ? s->kernel->max : s->kernel->average;
    s->shape = provider_plane_shape(&w, 1);
    s->count_padding = graph_attribute_int(site->node, "count_include_pad", 0) != 0;
    s->end_h = w.rank > 1 ? w.pad_end[0] : 0;
    s->end_w = w.pad_end[w.rank - 1];
    step->state = s;
    step->kernel = s->kernel->name;
    return SPRY_OK;
}

static void destroy(void *state)
{
    pool_state *s = state;
    spry_allocator allocator = s->allocator;

    alloc_release(&allocator, s, sizeof *s);
}

typedef struct pool_run {
    const pool_state *s;
    const float *x;
    float *y;
} pool_run;

static void run_planes(void *context, int64_t begin, int64_t end, int worker)
{
    const pool_run *r = context;
    const conv_f32_shape *shape = &r->s->shape;

    pool_f32_planes p = {.shape = shape,
                         .count = end - begin,
                         .in = r->x + begin * shape->in_h * shape->in_w,
                         .out = r->y + begin * shape->out_h * shape->out_w,
                         .count_padding = r->s->count_padding,
                         .end_h = r->s->end_h,
                         .end_w = r->s->end_w};

    (void)worker;
    r->s->run(&p);
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    enum { PIXELS_PER_PIECE = 131072 }; /* kernels prepare once per piece */
    const pool_state *s = state;
    const tensor *x = op_call_input(call, 0);
    int64_t shape[4] = {x->shape[0], x->shape[1], s->shape.out_h, s->shape.out_w};
    pool_run r = {.s = s, .x = x->data};
    tensor *y;
    spry_status status;

    (void)workspace;
    if (x->rank == 3) {
        shape[2] = s->shape.out_w;
    }
    status = op_call_output(call, 0, SPRY_DTYPE_F32, x->rank, shape, &y);
    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    r.y = y->data;
    threads_for(call->team, x->shape[0] * x->shape[1],
                PIXELS_PER_PIECE / (s->shape.in_h * s->shape.in_w) + 1, run_planes, &r);
    return SPRY_OK;
}

const provider provider_pool_f32 = {"pool_f32", PROVIDER_FUSES_NOTHING, accepts, create, run,
                                    destroy};
