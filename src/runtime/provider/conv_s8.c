/* QLinearConv and ConvInteger (one or two spatial axes, constant weights) by the channels-last
 * engine. Planar images, where the layout pass found no use in moving them, are turned on the
 * way. */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "kernels/conv/conv_nhwc.h"
#include "runtime/layout/layout.h"
#include "runtime/provider/integer.h"
#include "runtime/provider/providers.h"
#include "runtime/provider/strips.h"
#include "tensor/quantize.h"

typedef struct conv_state {
    spry_allocator allocator;
    integer_node node;
    integer_channels channels;
    conv_nhwc conv;
    bool is_planar;  /* images are [channels][pixels] */
    bool has_ones;   /* weights whose zero point cannot be taken off: each group's last filter is of
                        ones, and results are finished when sums are known */
    int64_t filters; /* of a group, without that */
    packed_memory packed;
    /* Workspace: offsets and factors, then what follows, then the engine's. */
    int64_t x_size; /* the turned input; 0: none */
    int64_t y_size; /* the result before it is turned or finished; 0: none */
} conv_state;

/* ---- reading ---- */

static bool read_problem(const provider_site *site, conv_state *s)
{
    const graph_type *x;
    const graph_type *y = provider_output_type(site, 0);
    conv_nhwc_problem *p = &s->conv.problem;
    int axis; /* of the channels */
    window w;

    memset(s, 0, sizeof *s);
    if (layout_reads_planar(site->node) ||
        !integer_read(site, "QLinearConv", "ConvInteger", &s->node) || s->node.w == NULL) {
        return false;
    }
    s->is_planar = !layout_is_nhwc(site->node);
    x = provider_input_type(site, s->node.ports.x);
    if ((x->rank != 3 && x->rank != 4) || s->node.w->rank != x->rank || op_work_count(y) == 0 ||
        !provider_window(site, x, s->node.w->shape, &w)) {
        return false;
    }
    axis = s->is_planar ? 1 : x->rank - 1;
    p->shape = provider_plane_shape(&w, s->node.w->shape[1]);
    if (p->shape.channels <= 0 || x->dims[axis].size % p->shape.channels != 0) {
        return false;
    }
    p->type = BRGEMM_S8;
    p->result_size = spry_dtype_bits(s->node.y_dtype) / 8;
    p->batch = x->dims[0].size;
    p->groups = x->dims[axis].size / p->shape.channels;
    p->filters = s->filters = p->groups > 0 ? s->node.w->shape[0] / p->groups : 0;
    return p->filters > 0 && p->filters * p->groups == s->node.w->shape[0] &&
           integer_fits(site, &s->node, s->node.w->shape[0],
                        p->shape.channels * p->shape.kernel_h * p->shape.kernel_w);
}

static bool accepts(const provider_site *site)
{
    conv_state s;

    return read_problem(site, &s);
}

/* ---- weights ---- */

static int64_t filter_size(const conv_state *s)
{
    const conv_f32_shape *shape = &s->conv.problem.shape;

    return shape->channels * shape->kernel_h * shape->kernel_w;
}

static int32_t weight_at(const conv_state *s, int64_t i)
{
    const uint8_t *w = s->node.w->data;

    return (int8_t)(w[i] ^ s->node.w_flip) - s->node.w_zero;
}

static bool zero_can_be_taken_off(const conv_state *s)
{
    for (int64_t i = 0; i < tensor_count(s->node.w); i++) {
        int32_t w = weight_at(s, i);

        if (w < INT8_MIN || w > INT8_MAX) {
            return false;
        }
    }
    return true;
}

/* Signed weights without zero point, or with it and a filter of ones after each group's. */
static void fill_weights(const conv_state *s, int8_t *to)
{
    int64_t size = filter_size(s) * s->filters;
    int32_t zero = s->has_ones ? s->node.w_zero : 0;

    for (int64_t group = 0; group < s->conv.problem.groups; group++) {
        for (int64_t i = 0; i < size; i++) {
            to[i] = (int8_t)(weight_at(s, group * size + i) + zero);
        }
        to += size;
        if (s->has_ones) {
            memset(to, 1, (size_t)filter_size(s));
            to += filter_size(s);
        }
    }
}

static spry_status pack_weights(void *state, void *to, spry_error *error)
{
    const conv_state *s = state;
    const conv_nhwc_problem *p = &s->conv.problem;
    size_t bytes = (size_t)(filter_size(s) * p->filters * p->groups);
    int8_t *weights;

    if (s->node.w_zero == 0) {
        conv_nhwc_pack(&s->conv, s->node.w->data, s->node.w_flip, to);
        return SPRY_OK;
    }
    weights = alloc_bytes(&s->allocator, bytes);
    if (weights == NULL) {
        return alloc_failed(error, bytes);
    }
    fill_weights(s, weights);
    conv_nhwc_pack(&s->conv, weights, 0, to);
    alloc_release(&s->allocator, weights, bytes);
    return SPRY_OK;
}

/* ---- state ---- */

static int64_t round_up(int64_t n)
{
    return (n + 63) / 64 * 64;
}

static void release(conv_state *s)
{
    spry_allocator allocator = s->allocator;

    integer_channels_release(&allocator, &s->channels);
    packed_release(&allocator, &s->packed);
    alloc_release(&allocator, s, sizeof *s);
}

/* `rows`: of a strip; 0: whole images. */
static void plan(conv_state *s, int members, int64_t rows)
{
    conv_nhwc_problem p = s->conv.problem;
    int64_t pixels = p.batch * p.shape.out_h * p.shape.out_w;

    if (rows > 0) {
        p.batch = 1;
        p.shape = strips_shape(&p.shape, rows);
    }
    s->has_ones = s->node.w_zero != 0 && !zero_can_be_taken_off(s);
    if (s->has_ones) {
        p.filters++;
        p.result_size = sizeof(int32_t);
    }
    conv_nhwc_plan(&p, brgemm_select_narrow(BRGEMM_S8, p.filters), CONV_NHWC_AUTO, members,
                   &s->conv);
    if (s->is_planar) {
        s->x_size = round_up(p.batch * p.shape.in_h * p.shape.in_w * p.groups * p.shape.channels);
    }
    if (s->is_planar || s->has_ones) {
        s->y_size = round_up(pixels * p.groups * p.filters * (int64_t)p.result_size);
    }
}

/* Plans for `members` and packs. */
static spry_status make(const provider_site *site, int members, int64_t rows, conv_state **state,
                        spry_error *error)
{
    conv_state *s = alloc_zeroed(site->allocator, sizeof *s);
    int64_t k;
    spry_status status;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)read_problem(site, s); /* accepted before */
    s->allocator = *site->allocator;
    k = filter_size(s);
    plan(s, members, rows);
    status = packed_make(site, s->conv.kernel->name, (size_t)s->conv.packed_bytes, pack_weights, s,
                         &s->packed, error);
    if (status == SPRY_OK) {
        status = integer_channels_create(site, &s->node, s->node.w->shape[0], k, k, 1, &s->channels,
                                         error);
    }
    if (status != SPRY_OK) {
        release(s);
        return status;
    }
    *state = s;
    return SPRY_OK;
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    int members = threads_count(site->team);
    conv_state *s = NULL;
    spry_status status = make(site, members, 0, &s, error);

    if (status != SPRY_OK) {
        return status;
    }
    step->state = s;
    step->kernel = s->conv.kernel->name;
    step->plan = conv_nhwc_way_name(s->conv.way);
    step->threads = (int)provider_least(s->conv.pieces, members);
    step->predicted_cycles = s->conv.predicted_cost;
    step->packed_bytes = (size_t)s->conv.packed_bytes;
    step->workspace_bytes =
        integer_room(&s->channels) +
        (size_t)(s->x_size + s->y_size + s->conv.shared_bytes + s->conv.worker_bytes * members);
    return SPRY_OK;
}

static void destroy(void *state)
{
    release(state);
}

/* ---- running ---- */

typedef struct conv_run {
    const conv_state *s;
    brgemm_finish finish; /* of the results */
    const uint8_t *x;     /* as the node has it */
    uint8_t *turned;
    const uint8_t *sums; /* or results: channels-last */
    uint8_t *y;
} conv_run;

/* Input pixels [begin, end) of all images, channels side by side. */
static void turn_input(void *context, int64_t begin, int64_t end, int worker)
{
    const conv_run *r = context;
    const conv_nhwc_problem *p = &r->s->conv.problem;
    int64_t pixels = p->shape.in_h * p->shape.in_w;
    int64_t channels = p->groups * p->shape.channels;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        const uint8_t *from = r->x + i / pixels * pixels * channels + i % pixels;

        for (int64_t c = 0; c < channels; c++) {
            r->turned[i * channels + c] = from[c * pixels];
        }
    }
}

/* One result of weights with a zero point, from its sum and the sum of what it was multiplied
 * with. */
static int32_t finish_sum(const conv_run *r, int64_t channel, int32_t sum, int32_t ones)
{
    return (int32_t)((uint32_t)sum - (uint32_t)r->s->node.w_zero * (uint32_t)ones +
                     (uint32_t)r->finish.offset[channel]);
}

static void store_sum(const conv_run *r, int64_t channel, int32_t sum, int64_t at)
{
    const brgemm_finish *f = &r->finish;
    float v;

    if (f->result == BRGEMM_SUMS) {
        ((int32_t *)(void *)r->y)[at] = sum;
        return;
    }
    v = (float)sum * f->factor[channel];
    if (f->result == BRGEMM_BYTES) {
        r->y[at] = (uint8_t)quantize_scaled(v, (quantize_target){f->low, f->high, f->zero});
        return;
    }
    v = v < f->lower ? f->lower : v;
    ((float *)(void *)r->y)[at] = v > f->upper ? f->upper : v;
}

/* Output pixels [begin, end) of all images: from where the engine left them to their place. */
static void place_output(void *context, int64_t begin, int64_t end, int worker)
{
    const conv_run *r = context;
    const conv_nhwc_problem *p = &r->s->conv.problem;
    int64_t pixels = p->shape.out_h * p->shape.out_w;
    int64_t channels = p->groups * r->s->filters;
    size_t size = p->result_size;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        const uint8_t *from = r->sums + (size_t)(i * p->groups * p->filters) * size;

        for (int64_t c = 0; c < channels; c++) {
            int64_t place = r->s->is_planar ? (i / pixels * channels + c) * pixels + i % pixels
                                            : i * channels + c;
            int64_t group = c / r->s->filters;

            if (r->s->has_ones) {
                const int32_t *sums = (const int32_t *)(const void *)from + group * p->filters;

                store_sum(r, c, finish_sum(r, c, sums[c % r->s->filters], sums[r->s->filters]),
                          place);
            } else {
                memcpy(r->y + (size_t)place * size, from + (size_t)c * size, size);
            }
        }
    }
}

static void run_conv(const conv_state *s, op_call *call, conv_run *r, void *workspace)
{
    enum { PIXELS_PER_PIECE = 1024 };
    const conv_nhwc_problem *p = &s->conv.problem;
    bool is_direct = s->y_size == 0;
    brgemm_finish plain = {.result = BRGEMM_SUMS};
    conv_nhwc_call c = {.c = &s->conv,
                        .x = r->x,
                        .flip = s->node.x_flip,
                        .zero = (uint8_t)integer_zero(&s->node, call),
                        .packed = s->packed.data,
                        .y = r->y,
                        .y_pitch = p->groups * p->filters * (int64_t)p->result_size,
                        .finish = s->has_ones ? plain : r->finish};

    r->turned = workspace;
    r->sums = r->turned + s->x_size;
    c.workspace = r->turned + s->x_size + s->y_size;
    if (s->is_planar) {
        threads_for(call->team, p->batch * p->shape.in_h * p->shape.in_w, PIXELS_PER_PIECE,
                    turn_input, r);
        c.x = r->turned;
    }
    if (!is_direct) {
        c.y = r->turned + s->x_size;
    }
    threads_for(call->team, s->conv.pieces, 1, conv_nhwc_run, &c);
    if (!is_direct) {
        threads_for(call->team, p->batch * p->shape.out_h * p->shape.out_w, PIXELS_PER_PIECE,
                    place_output, r);
    }
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    const conv_state *s = state;
    conv_run r = {.s = s,
                  .x = op_call_input(call, s->node.ports.x)->data,
                  .finish = integer_channel_finish(&s->node, call, &s->channels, workspace)};
    tensor *y;
    spry_status status = provider_output(call, s->node.y_dtype, &y);

    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    r.y = y->data;
    run_conv(s, call, &r, (uint8_t *)workspace + integer_room(&s->channels));
    return SPRY_OK;
}

const provider provider_conv_s8 = {"conv_s8", PROVIDER_FUSES_NOTHING, accepts, create, run,
                                   destroy};

/* ---- by strips ---- */

static bool strips_read(const provider_site *site, conv_f32_shape *shape)
{
    conv_state s;

    if (!read_problem(site, &s) || s.is_planar ||
        (s.node.w_zero != 0 && !zero_can_be_taken_off(&s))) {
        return false;
    }
    *shape = s.conv.problem.shape;
    return true;
}

static spry_status strips_create(const provider_site *site, int64_t rows, strip_step *step,
                                 spry_error *error)
{
    conv_state *s = NULL;
    spry_status status = make(site, 1, rows, &s, error);

    if (status != SPRY_OK) {
        return status;
    }
    step->state = s;
    step->packed_bytes = (size_t)s->conv.packed_bytes;
    step->shared_bytes = strips_padded(sizeof(conv_nhwc_call)) + integer_room(&s->channels);
    step->worker_bytes = (size_t)s->conv.worker_bytes;
    step->kernel = s->conv.kernel->name;
    return SPRY_OK;
}

static void strips_begin(const void *state, const op_call *call, void *shared)
{
    const conv_state *s = state;
    const conv_nhwc_problem *p = &s->conv.problem;
    conv_nhwc_call *c = shared;
    void *room = (char *)shared + strips_padded(sizeof *c);

    *c = (conv_nhwc_call){.flip = s->node.x_flip,
                          .zero = (uint8_t)integer_zero(&s->node, call),
                          .packed = s->packed.data,
                          .y_pitch = p->groups * p->filters * (int64_t)p->result_size,
                          .finish = integer_channel_finish(&s->node, call, &s->channels, room)};
}

static void strips_run(const void *state, const strip_rows *r)
{
    const conv_state *s = state;
    conv_nhwc_call c = *(const conv_nhwc_call *)r->shared;
    conv_nhwc strip;

    conv_nhwc_strip(&s->conv, r->x_rows, r->rows, strips_pad(&s->conv.problem.shape, r), &strip);
    c.c = &strip;
    c.x = r->x;
    c.y = r->y;
    c.workspace = r->workspace;
    conv_nhwc_run(&c, 0, strip.pieces, 0);
}

const provider_strips provider_conv_s8_strips = {&provider_conv_s8, strips_read, strips_create,
                                                 strips_begin, strips_run};
