/* Depthwise convolution (one or two spatial axes, constant weights): Conv on channels-last images,
 * also in groups of a few channels; QLinearConv and ConvInteger on any, turned on the way where
 * they are planar. */
#include <string.h>

#include "base/alloc.h"
#include "kernels/conv/depthwise_nhwc.h"
#include "ops/sliding_window.h"
#include "runtime/layout/layout.h"
#include "runtime/provider/integer.h"
#include "runtime/provider/providers.h"
#include "runtime/provider/strips.h"
#include "runtime/provider/turn.h"

typedef struct depthwise_state {
    spry_allocator allocator;
    depthwise_nhwc plan;
    packed_memory packed;
    bool is_integer;
    bool is_planar;       /* images are [channels][pixels] */
    brgemm_finish finish; /* floats: all but the residual */
    integer_node node;    /* bytes */
    integer_channels channels;
    /* Workspace of bytes: offsets and factors, the turned input, the result before it is turned. */
    int64_t x_size, y_size;
    bool varies; /* the weights, of floats */
} depthwise_state;

/* ---- reading ---- */

static bool read_geometry(const provider_site *site, const graph_type *x, int rank,
                          const int64_t *weights, depthwise_state *s)
{
    depthwise_nhwc_problem *p = &s->plan.problem;
    int64_t channels;
    int64_t groups;
    window w;

    if ((x->rank != 3 && x->rank != 4) || rank != x->rank || weights[1] < 1 ||
        !provider_window(site, x, weights, &w)) {
        return false;
    }
    channels = x->dims[s->is_planar ? 1 : x->rank - 1].size;
    p->shape = provider_plane_shape(&w, channels);
    p->batch = x->dims[0].size;
    p->depth = weights[1];
    groups = channels / p->depth;
    p->multiplier = groups > 0 ? weights[0] / groups : 0;
    return groups > 1 && p->multiplier > 0 && p->multiplier * groups == weights[0] &&
           p->depth * groups == channels && graph_attribute_int(site->node, "group", 1) == groups;
}

/* Larger groups are left to matrix products, which fill their tiles with those. */
static bool suits_floats(const depthwise_nhwc_problem *p)
{
    enum { MOST_FILTERS = 8 };

    return p->depth == 1 || (p->multiplier <= MOST_FILTERS &&
                             depthwise_nhwc_can(depthwise_nhwc_select(p, 0, 0), p, 0, 0));
}

static bool read_floats(const provider_site *site, depthwise_state *s)
{
    const graph_type *x = provider_input_type(site, 0);
    const graph_type *weights = provider_input_type(site, 1);
    int64_t shape[SPRY_TENSOR_MAX_RANK];

    for (int i = 0; weights != NULL && i < weights->rank; i++) {
        shape[i] = weights->dims[i].size;
    }
    s->varies = provider_constant(site, 1) == NULL;
    s->plan.problem.type = BRGEMM_F32;
    s->plan.problem.result_size = sizeof(float);
    return provider_is(site, "Conv") && layout_is_nhwc(site->node) && x != NULL &&
           x->dtype == SPRY_DTYPE_F32 && weights != NULL && weights->dtype == SPRY_DTYPE_F32 &&
           read_geometry(site, x, weights->rank, shape, s) && suits_floats(&s->plan.problem);
}

static bool read_bytes(const provider_site *site, depthwise_state *s)
{
    s->is_integer = integer_read(site, "QLinearConv", "ConvInteger", &s->node);
    s->is_planar = !layout_is_nhwc(site->node);
    if (!s->is_integer || s->node.w == NULL ||
        !read_geometry(site, provider_input_type(site, s->node.ports.x), s->node.w->rank,
                       s->node.w->shape, s) ||
        s->plan.problem.depth != 1) {
        return false;
    }
    s->plan.problem.type = BRGEMM_S8;
    s->plan.problem.result_size = spry_dtype_bits(s->node.y_dtype) / 8;
    return integer_fits(site, &s->node, s->node.w->shape[0],
                        s->plan.problem.shape.kernel_h * s->plan.problem.shape.kernel_w);
}

static bool read_problem(const provider_site *site, depthwise_state *s)
{
    const graph_type *y = provider_output_type(site, 0);

    memset(s, 0, sizeof *s);
    return y != NULL && op_work_count(y) > 0 && !layout_reads_planar(site->node) &&
           (read_floats(site, s) || read_bytes(site, s));
}

static bool accepts(const provider_site *site)
{
    depthwise_state s;

    return read_problem(site, &s);
}

/* ---- state ---- */

static void destroy(void *state)
{
    depthwise_state *s = state;
    spry_allocator allocator = s->allocator;

    integer_channels_release(&allocator, &s->channels);
    packed_release(&allocator, &s->packed);
    alloc_release(&allocator, s, sizeof *s);
}

static int64_t round_up(int64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static const depthwise_nhwc_kernel *choose_kernel(const depthwise_state *s)
{
    const uint8_t *w = s->is_integer ? s->node.w->data : NULL;
    int64_t count = s->is_integer ? tensor_count(s->node.w) : 0;
    int low = 0;
    int high = 0;

    for (int64_t i = 0; i < count; i++) {
        int weight = (int8_t)(w[i] ^ s->node.w_flip) - s->node.w_zero;

        low = weight < low ? weight : low;
        high = weight > high ? weight : high;
    }
    return depthwise_nhwc_select(&s->plan.problem, low, high);
}

typedef struct pack_run {
    const depthwise_state *s;
    const void *weights;
} pack_run;

static spry_status pack_weights(void *context, void *to, spry_error *error)
{
    const pack_run *r = context;
    bool is_integer = r->s->is_integer;

    (void)error;
    depthwise_nhwc_pack(&r->s->plan, r->weights, is_integer ? r->s->node.w_flip : 0,
                        is_integer ? r->s->node.w_zero : 0, to);
    return SPRY_OK;
}

static spry_status pack(const provider_site *site, depthwise_state *s, spry_error *error)
{
    const depthwise_nhwc_problem *p = &s->plan.problem;
    int64_t taps = p->shape.kernel_h * p->shape.kernel_w;

    size_t bytes = (size_t)s->plan.packed_bytes;
    pack_run r = {s, NULL};
    spry_status status;

    if (s->varies) {
        return packed_room(site, bytes, &s->packed, error);
    }
    r.weights = s->is_integer ? s->node.w->data : provider_constant(site, 1)->data;
    status = packed_make(site, s->plan.kernel->name, bytes, pack_weights, &r, &s->packed, error);
    if (status != SPRY_OK || !s->is_integer) {
        return status;
    }
    return integer_channels_create(site, &s->node, s->node.w->shape[0], taps, taps, 1, &s->channels,
                                   error);
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    depthwise_state *s = alloc_zeroed(site->allocator, sizeof *s);
    int workers = threads_count(site->team);
    depthwise_nhwc_problem p;
    spry_status status;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)read_problem(site, s); /* accepted before */
    s->allocator = *site->allocator;
    p = s->plan.problem;
    depthwise_nhwc_plan(&p, choose_kernel(s), workers, &s->plan);
    status = pack(site, s, error);
    if (status != SPRY_OK) {
        destroy(s);
        return status;
    }
    if (s->is_integer) {
        step->workspace_bytes = integer_room(&s->channels);
    } else {
        gemm_f32_finish clamp = provider_finish(site);

        s->finish = (brgemm_finish){
            .activate = provider_activation(site), .lower = clamp.lower, .upper = clamp.upper};
    }
    if (s->is_planar) {
        s->x_size = round_up(p.batch * p.shape.in_h * p.shape.in_w * p.shape.channels);
        s->y_size = round_up(p.batch * p.shape.out_h * p.shape.out_w * depthwise_nhwc_outputs(&p) *
                             (int64_t)p.result_size);
        step->workspace_bytes += (size_t)(s->x_size + s->y_size);
    }
    step->state = s;
    step->kernel = s->plan.kernel->name;
    step->plan = "depthwise";
    step->threads = (int)provider_least(s->plan.pieces, workers);
    step->packed_bytes = (size_t)s->plan.packed_bytes;
    step->spent = s->is_integer || s->varies ? 0 : 1U << 1;
    return SPRY_OK;
}

/* ---- running ---- */

/* What only this run knows of bytes: scales and zero points. */
static void prepare_bytes(const depthwise_state *s, const op_call *call, uint8_t *room,
                          depthwise_nhwc_call *c)
{
    c->flip = s->node.x_flip;
    c->zero = (uint8_t)integer_zero(&s->node, call);
    c->finish = integer_channel_finish(&s->node, call, &s->channels, room);
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    const depthwise_state *s = state;
    const depthwise_nhwc_problem *p = &s->plan.problem;
    int64_t channels = depthwise_nhwc_outputs(p);
    uint8_t *turned = (uint8_t *)workspace + (s->is_integer ? integer_room(&s->channels) : 0);
    depthwise_nhwc_call c = {.d = &s->plan,
                             .x = op_call_input(call, s->is_integer ? s->node.ports.x : 0)->data,
                             .packed = s->packed.data,
                             .y_pitch = channels * (int64_t)p->result_size,
                             .finish = s->finish};
    tensor *y;
    spry_status status =
        provider_output(call, s->is_integer ? s->node.y_dtype : SPRY_DTYPE_F32, &y);

    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    c.y = y->data;
    if (s->is_integer) {
        prepare_bytes(s, call, workspace, &c);
    } else {
        if (s->varies) {
            depthwise_nhwc_pack(&s->plan, op_call_input(call, 1)->data, 0, 0, s->packed.memory);
        }
        c.finish.bias = provider_bias(call);
        c.finish.residual = provider_residual(call);
    }
    if (s->is_planar) {
        provider_turn(call->team, p->batch, p->shape.channels, p->shape.in_h * p->shape.in_w, 1,
                      c.x, turned);
        c.x = turned;
        c.y = turned + s->x_size;
    }
    threads_for(call->team, s->plan.pieces, 1, depthwise_nhwc_run, &c);
    if (s->is_planar) {
        provider_turn(call->team, p->batch, p->shape.out_h * p->shape.out_w, channels,
                      (int64_t)p->result_size, c.y, y->data);
    }
    return SPRY_OK;
}

const provider provider_conv_depthwise = {
    "conv_depthwise", PROVIDER_FUSES_SUMS | PROVIDER_FUSES_ACTIVATIONS, accepts, create, run,
    destroy};

/* ---- by strips ---- */

static bool strips_read(const provider_site *site, conv_f32_shape *shape)
{
    depthwise_state s;

    if (!read_problem(site, &s) || s.is_planar || s.varies) {
        return false;
    }
    *shape = s.plan.problem.shape;
    return true;
}

static spry_status strips_create(const provider_site *site, int64_t rows, strip_step *step,
                                 spry_error *error)
{
    provider_step whole = {0};
    spry_status status = create(site, &whole, error);

    (void)rows;
    step->state = whole.state;
    step->packed_bytes = whole.packed_bytes;
    step->shared_bytes = strips_padded(sizeof(depthwise_nhwc_call)) + whole.workspace_bytes;
    step->spent = whole.spent;
    step->kernel = whole.kernel;
    return status;
}

static void strips_begin(const void *state, const op_call *call, void *shared)
{
    const depthwise_state *s = state;
    depthwise_nhwc_call *c = shared;

    *c = (depthwise_nhwc_call){.finish = s->finish};
    if (s->is_integer) {
        prepare_bytes(s, call, (uint8_t *)shared + strips_padded(sizeof *c), c);
    } else {
        c->finish.bias = provider_bias(call);
    }
}

static void strips_run(const void *state, const strip_rows *r)
{
    const depthwise_state *s = state;
    const depthwise_nhwc_call *c = r->shared;
    depthwise_nhwc_problem p = s->plan.problem;
    brgemm_finish finish = c->finish;
    depthwise_nhwc_band band = {.problem = &p,
                                .x = r->x,
                                .flip = c->flip,
                                .zero = c->zero ^ c->flip,
                                .packed = s->packed.data,
                                .y = r->y,
                                .y_pitch = depthwise_nhwc_outputs(&p) * (int64_t)p.result_size,
                                .finish = &finish,
                                .rows = r->rows,
                                .blocks = s->plan.blocks};

    p.batch = 1;
    p.shape.pad_h = strips_pad(&p.shape, r);
    p.shape.in_h = r->x_rows;
    p.shape.out_h = r->rows;
    finish.residual = r->other;
    s->plan.kernel->run(&band);
}

const provider_strips provider_conv_depthwise_strips = {&provider_conv_depthwise, strips_read,
                                                        strips_create, strips_begin, strips_run};
