/* Channels-last f32 convolution (one or two spatial axes) by batch-reduce products. Weights that
 * are not constant, as in training, are packed in every run. */
#include "kernels/conv/conv_nhwc.h"
#include "base/alloc.h"
#include "base/checked.h"
#include "ops/sliding_window.h"
#include "runtime/cache/packed.h"
#include "runtime/layout/layout.h"
#include "runtime/precision.h"
#include "runtime/provider/providers.h"
#include "runtime/provider/strips.h"

typedef struct conv_state {
    spry_allocator allocator;
    conv_nhwc plan;
    brgemm_finish finish; /* all but bias and residual */
    packed_memory packed;
    bool varies; /* the weights */
} conv_state;

/* The axis of x that holds channels. */
static int channel_axis(const provider_site *site, const graph_type *x)
{
    return layout_reads_planar(site->node) ? 1 : x->rank - 1;
}

/* The problem; false when the attributes make no sense or another provider is meant. */
static bool read_problem(const provider_site *site, conv_nhwc_problem *p)
{
    const graph_type *x = provider_input_type(site, 0);
    const graph_type *weights = provider_input_type(site, 1);
    int64_t shape_of_weights[4];
    window w;

    for (int i = 0; i < x->rank; i++) {
        shape_of_weights[i] = weights->dims[i].size;
    }
    if (!provider_window(site, x, shape_of_weights, &w)) {
        return false;
    }
    *p = (conv_nhwc_problem){.shape = provider_plane_shape(&w, shape_of_weights[1]),
                             .batch = x->dims[0].size,
                             .groups = x->dims[channel_axis(site, x)].size / shape_of_weights[1],
                             .result_size = sizeof(float),
                             .input_is_planar = layout_reads_planar(site->node)};
    p->filters = shape_of_weights[0] / p->groups;
    p->type = BRGEMM_F32;
    return !(p->groups > 1 && p->shape.channels == 1) && /* depthwise */
           !(p->groups > 1 && p->input_is_planar);
}

/* Chooses the type: bf16 where that is asked for and the plan of one worker says that it pays.
 * Returns the way that all plans take: of an odd number of channels, ways join other numbers in
 * pairs, which are rounded together. */
static conv_nhwc_way choose_type(const provider_site *site, conv_nhwc_problem *p)
{
    int64_t depth = p->shape.channels * p->shape.kernel_h * p->shape.kernel_w;
    conv_nhwc wide, narrow;

    if (precision_of_products(site, depth, p->filters) != BRGEMM_BF16) {
        return CONV_NHWC_AUTO;
    }
    conv_nhwc_plan(p, brgemm_select(BRGEMM_F32), CONV_NHWC_AUTO, 1, &wide);
    p->type = BRGEMM_BF16;
    conv_nhwc_plan(p, brgemm_select(BRGEMM_BF16), CONV_NHWC_AUTO, 1, &narrow);
    if (narrow.predicted_cost >= wide.predicted_cost) {
        p->type = BRGEMM_F32;
        return CONV_NHWC_AUTO;
    }
    return p->shape.channels % 2 == 0 ? CONV_NHWC_AUTO : narrow.way;
}

static void make_plan(const provider_site *site, conv_nhwc_problem *p, conv_nhwc *plan)
{
    conv_nhwc_way way = choose_type(site, p);

    conv_nhwc_plan(p, brgemm_select(p->type), way, threads_count(site->team), plan);
}

static bool accepts(const provider_site *site)
{
    const graph_type *x = provider_input_type(site, 0);
    const graph_type *weights = provider_input_type(site, 1);
    const graph_type *out = provider_output_type(site, 0);
    conv_nhwc_problem p;

    if (!provider_is(site, "Conv") || !layout_is_nhwc(site->node) || x == NULL || weights == NULL ||
        out == NULL || x->dtype != SPRY_DTYPE_F32 || (x->rank != 3 && x->rank != 4)) {
        return false;
    }
    return op_work_count(out) > 0 && op_work_count(weights) > 0 && read_problem(site, &p);
}

static void destroy(void *state)
{
    conv_state *s = state;
    spry_allocator allocator = s->allocator;

    packed_release(&allocator, &s->packed);
    alloc_release(&allocator, s, sizeof *s);
}

typedef struct pack_run {
    const conv_nhwc *plan;
    const float *weights;
} pack_run;

static spry_status pack_weights(void *context, void *to, spry_error *error)
{
    const pack_run *r = context;

    (void)error;
    conv_nhwc_pack(r->plan, r->weights, 0, to);
    return SPRY_OK;
}

static spry_status make_packed(const provider_site *site, conv_state *s, spry_error *error)
{
    const tensor *weights = provider_constant(site, 1);
    size_t bytes = (size_t)s->plan.packed_bytes;
    pack_run r = {&s->plan, weights != NULL ? weights->data : NULL};

    s->varies = weights == NULL;
    return s->varies ? packed_room(site, bytes, &s->packed, error)
                     : packed_make(site, s->plan.kernel->name, bytes, pack_weights, &r, &s->packed,
                                   error);
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    gemm_f32_finish clamp = provider_finish(site);
    int workers = threads_count(site->team);
    conv_state *s = alloc_zeroed(site->allocator, sizeof *s);
    conv_nhwc_problem problem;
    size_t workspace = 0;
    spry_status status;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)read_problem(site, &problem); /* accepted before */
    s->allocator = *site->allocator;
    s->finish = (brgemm_finish){
        .activate = provider_activation(site), .lower = clamp.lower, .upper = clamp.upper};
    make_plan(site, &problem, &s->plan);
    status = checked_mul((size_t)s->plan.worker_bytes, (size_t)workers, &workspace)
                 ? make_packed(site, s, error)
                 : alloc_failed(error, SIZE_MAX);
    if (status != SPRY_OK) {
        destroy(s);
        return status;
    }
    step->state = s;
    step->kernel = s->plan.kernel->name;
    step->plan = conv_nhwc_way_name(s->plan.way);
    step->threads = (int)provider_least(s->plan.pieces, workers);
    step->predicted_cycles = s->plan.predicted_cost;
    step->packed_bytes = (size_t)s->plan.packed_bytes;
    step->spent = s->varies ? 0 : 1U << 1;
    step->workspace_bytes = (size_t)s->plan.shared_bytes + workspace;
    return SPRY_OK;
}

static void pack_varying(const conv_state *s, op_call *call)
{
    const conv_f32_shape *shape = &s->plan.problem.shape;
    int64_t places = shape->kernel_h * shape->kernel_w;
    int64_t per_filter = shape->channels * places;
    conv_nhwc_packing packing = {.c = &s->plan,
                                 .pairs = bf16_select(),
                                 .weights = {.data = op_call_input(call, 1)->data,
                                             .group_stride = s->plan.problem.filters * per_filter,
                                             .filter_stride = per_filter,
                                             .channel_stride = places,
                                             .place_count = places},
                                 .packed = s->packed.memory};

    threads_for(call->team, conv_nhwc_panels(&s->plan), 1, conv_nhwc_pack_panels, &packing);
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    const conv_state *s = state;
    const conv_nhwc_problem *p = &s->plan.problem;
    const tensor *x = op_call_input(call, 0);
    int64_t channels = p->groups * p->filters;
    int64_t shape[4] = {p->batch, p->shape.out_h, p->shape.out_w, channels};
    conv_nhwc_call c = {.c = &s->plan,
                        .x = x->data,
                        .packed = s->packed.data,
                        .y_pitch = channels * (int64_t)sizeof(float),
                        .finish = s->finish,
                        .workspace = workspace};
    tensor *y;
    spry_status status;

    if (x->rank == 3) {
        shape[1] = p->shape.out_w;
        shape[2] = channels;
    }
    status = op_call_output(call, 0, SPRY_DTYPE_F32, x->rank, shape, &y);
    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    if (s->varies) {
        pack_varying(s, call);
    }
    c.y = y->data;
    c.finish.bias = provider_bias(call);
    c.finish.residual = provider_residual(call);
    threads_for(call->team, s->plan.pieces, 1, conv_nhwc_run, &c);
    return SPRY_OK;
}

const provider provider_conv_nhwc = {
    "conv_nhwc", PROVIDER_FUSES_SUMS | PROVIDER_FUSES_ACTIVATIONS, accepts, create, run, destroy};

/* ---- by strips ---- */

static bool strips_read(const provider_site *site, conv_f32_shape *shape)
{
    conv_nhwc_problem p;

    if (layout_reads_planar(site->node) || provider_constant(site, 1) == NULL ||
        !read_problem(site, &p)) {
        return false;
    }
    *shape = p.shape;
    return true;
}

static spry_status strips_create(const provider_site *site, int64_t rows, strip_step *step,
                                 spry_error *error)
{
    gemm_f32_finish clamp = provider_finish(site);
    conv_state *s = alloc_zeroed(site->allocator, sizeof *s);
    conv_nhwc_problem p;
    conv_nhwc_way way;
    spry_status status;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)read_problem(site, &p); /* read before */
    s->allocator = *site->allocator;
    s->finish = (brgemm_finish){
        .activate = provider_activation(site), .lower = clamp.lower, .upper = clamp.upper};
    way = choose_type(site, &p);
    p.batch = 1;
    p.shape = strips_shape(&p.shape, rows);
    conv_nhwc_plan(&p, brgemm_select(p.type), way, 1, &s->plan);
    status = make_packed(site, s, error);
    if (status != SPRY_OK) {
        destroy(s);
        return status;
    }
    step->state = s;
    step->packed_bytes = (size_t)s->plan.packed_bytes;
    step->shared_bytes = strips_padded(sizeof(brgemm_finish));
    step->worker_bytes = (size_t)s->plan.worker_bytes;
    step->spent = 1U << 1;
    step->kernel = s->plan.kernel->name;
    return SPRY_OK;
}

static void strips_begin(const void *state, const op_call *call, void *shared)
{
    const conv_state *s = state;
    brgemm_finish *finish = shared;

    *finish = s->finish;
    finish->bias = provider_bias(call);
}

static void strips_run(const void *state, const strip_rows *r)
{
    const conv_state *s = state;
    const conv_nhwc_problem *p = &s->plan.problem;
    conv_nhwc strip;
    conv_nhwc_call c = {.c = &strip,
                        .x = r->x,
                        .packed = s->packed.data,
                        .y = r->y,
                        .y_pitch = p->groups * p->filters * (int64_t)sizeof(float),
                        .finish = *(const brgemm_finish *)r->shared,
                        .workspace = r->workspace};

    conv_nhwc_strip(&s->plan, r->x_rows, r->rows, strips_pad(&p->shape, r), &strip);
    c.finish.residual = r->other;
    conv_nhwc_run(&c, 0, strip.pieces, 0);
}

const provider_strips provider_conv_nhwc_strips = {&provider_conv_nhwc, strips_read, strips_create,
                                                   strips_begin, strips_run};
