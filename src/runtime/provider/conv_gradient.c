/* The derivative by the weights of a convolution (one or two spatial axes) in f32 or bf16, over
 * channels-last images; planar ones are turned first. */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "kernels/conv/conv_gradient.h"
#include "kernels/conv/depthwise_gradient.h"
#include "runtime/layout/layout.h"
#include "runtime/precision.h"
#include "runtime/provider/providers.h"
#include "runtime/provider/turn.h"

typedef struct gradient_state {
    spry_allocator allocator;
    conv_gradient plan;
    depthwise_gradient depthwise; /* instead, where it has pieces */
    bool turns;                   /* the images are planar */
    size_t x_bytes, dy_bytes;     /* of the turned images */
} gradient_state;

static bool read_problem(const provider_site *site, conv_gradient_problem *p)
{
    const graph_type *x = provider_input_type(site, 0);
    const graph_type *dy = provider_input_type(site, 1);
    const graph_type *dw = provider_output_type(site, 0);
    int channel_axis = layout_is_nhwc(site->node) && x != NULL ? x->rank - 1 : 1;
    int64_t groups = graph_attribute_int(site->node, "group", 1);
    int64_t weights[4];
    window w;

    if (!provider_is_own(site, "ConvWeightGradient") || x == NULL || dy == NULL || dw == NULL ||
        x->dtype != SPRY_DTYPE_F32 || (x->rank != 3 && x->rank != 4) || dy->rank != x->rank ||
        dw->rank != x->rank || op_work_count(x) == 0 || op_work_count(dy) == 0 ||
        op_work_count(dw) == 0 || x->dims[channel_axis].size != groups * dw->dims[1].size ||
        dw->dims[0].size % groups != 0) {
        return false;
    }
    for (int i = 0; i < dw->rank; i++) {
        weights[i] = dw->dims[i].size;
    }
    if (!provider_window(site, x, weights, &w)) {
        return false;
    }
    *p = (conv_gradient_problem){.shape = provider_plane_shape(&w, weights[1]),
                                 .batch = x->dims[0].size,
                                 .groups = groups,
                                 .filters = weights[0] / groups};
    return op_work_count(dy) == p->batch * weights[0] * p->shape.out_h * p->shape.out_w;
}

static bool accepts(const provider_site *site)
{
    conv_gradient_problem p;

    return read_problem(site, &p);
}

static outer_type type_of(const provider_site *site, const conv_gradient_problem *p)
{
    return precision_of_gradients(site, p->shape.channels * p->shape.kernel_w, p->filters) ==
                   BRGEMM_BF16
               ? OUTER_BF16
               : OUTER_F32;
}

static void destroy(void *state)
{
    gradient_state *s = state;
    spry_allocator allocator = s->allocator;

    alloc_release(&allocator, s, sizeof *s);
}

static size_t round_up(int64_t floats)
{
    return ((size_t)floats * sizeof(float) + 63) / 64 * 64;
}

static void make_plan(gradient_state *s, const provider_site *site,
                      const conv_gradient_problem *problem)
{
    conv_f32_shape all = problem->shape;

    s->plan.problem = *problem;
    if (problem->groups > 1 && problem->shape.channels == 1 && problem->filters == 1) {
        all.channels = problem->groups;
        depthwise_gradient_plan(&all, problem->batch, gradient_f32_select(), &s->depthwise);
    } else {
        conv_gradient_plan(problem, outer_select(type_of(site, problem)), &s->plan);
    }
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    gradient_state *s = alloc_zeroed(site->allocator, sizeof *s);
    int workers = threads_count(site->team);
    conv_gradient_problem problem;
    size_t own;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)read_problem(site, &problem); /* accepted before */
    s->allocator = *site->allocator;
    make_plan(s, site, &problem);
    s->turns = !layout_is_nhwc(site->node);
    if (s->turns) {
        s->x_bytes = round_up(op_work_count(provider_input_type(site, 0)));
        s->dy_bytes = round_up(op_work_count(provider_input_type(site, 1)));
    }
    step->state = s;
    if (s->depthwise.pieces > 0) {
        step->kernel = s->depthwise.kernel->name;
        step->plan = "depthwise";
        step->threads = (int)provider_least(s->depthwise.pieces, workers);
        step->workspace_bytes = s->x_bytes + s->dy_bytes + (size_t)s->depthwise.shared_bytes;
        return SPRY_OK;
    }
    if (!checked_mul((size_t)s->plan.worker_bytes, (size_t)workers, &own)) {
        destroy(s);
        return alloc_failed(error, SIZE_MAX);
    }
    step->kernel = s->plan.kernel->name;
    step->plan = s->plan.in_place ? "in place" : "rows";
    step->threads = (int)provider_least(s->plan.pieces, workers);
    step->workspace_bytes = s->x_bytes + s->dy_bytes + (size_t)s->plan.shared_bytes + own;
    return SPRY_OK;
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    const gradient_state *s = state;
    const conv_gradient_problem *p = &s->plan.problem;
    const conv_f32_shape *shape = &p->shape;
    float *x = workspace;
    float *dy = (float *)(void *)((char *)workspace + s->x_bytes);
    conv_gradient_call c = {.c = &s->plan,
                            .x = op_call_input(call, 0)->data,
                            .dy = op_call_input(call, 1)->data,
                            .workspace = (char *)workspace + s->x_bytes + s->dy_bytes};
    tensor *dw;
    spry_status status = provider_output(call, SPRY_DTYPE_F32, &dw);

    if (status != SPRY_OK || dw == NULL) {
        return status;
    }
    if (s->turns) {
        provider_turn(call->team, p->batch, p->groups * shape->channels, shape->in_h * shape->in_w,
                      sizeof(float), c.x, x);
        provider_turn(call->team, p->batch, p->groups * p->filters, shape->out_h * shape->out_w,
                      sizeof(float), c.dy, dy);
        c.x = x;
        c.dy = dy;
    }
    c.dw = dw->data;
    if (s->depthwise.pieces > 0) {
        depthwise_gradient_call d = {
            .d = &s->depthwise, .x = c.x, .dy = c.dy, .dw = c.dw, .sums = c.workspace};

        threads_for(call->team, s->depthwise.pieces, 1, depthwise_gradient_run, &d);
        threads_for(call->team, p->groups, 64, depthwise_gradient_finish, &d);
        return SPRY_OK;
    }
    threads_for(call->team, s->plan.pieces, 1, conv_gradient_run, &c);
    threads_for(call->team, p->groups * p->filters,
                1 + 16384 / (s->plan.sum_floats / (p->groups * p->filters)), conv_gradient_finish,
                &c);
    return SPRY_OK;
}

const provider provider_conv_gradient = {
    "conv_gradient", PROVIDER_FUSES_NOTHING, accepts, create, run, destroy};
