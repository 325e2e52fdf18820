/* f32 Conv of three spatial axes (constant weights) by channels-last convolutions of two: for each
 * slice of the output, the slices of the input that it sees lie side by side as channels. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "kernels/conv/conv_nhwc.h"
#include "kernels/transpose/transpose.h"
#include "ops/sliding_window.h"
#include "runtime/provider/providers.h"
#include "runtime/provider/turn.h"

enum { AXES = 3, RANK = AXES + 2 };

typedef struct conv3d_state {
    spry_allocator allocator;
    conv_nhwc plan; /* of one slice of the output */
    void *packed;
    const float *bias; /* or NULL */
    const transpose_kernel *transpose;
    window window;
    int64_t batch;
    int64_t depth; /* input channels of a group */
    int64_t x_bytes, y_bytes;
} conv3d_state;

/* ---- reading ---- */

static bool read_problem(const provider_site *site, conv3d_state *s)
{
    const graph_type *x = provider_input_type(site, 0);
    const tensor *weights = provider_constant(site, 1);
    const tensor *bias = provider_constant(site, 2);
    conv_nhwc_problem *p = &s->plan.problem;
    const char *reason;
    int64_t in[AXES];
    window flat;

    memset(s, 0, sizeof *s);
    if (!provider_is_planar_f32(site, "Conv") || x->rank != RANK || weights == NULL ||
        (bias == NULL && provider_input_type(site, 2) != NULL)) {
        return false;
    }
    for (int i = 0; i < AXES; i++) {
        in[i] = x->dims[2 + i].size;
    }
    if (!window_from_node(site->node, AXES, in, weights->shape + 2, false, &s->window, &reason)) {
        return false;
    }
    s->depth = weights->shape[1];
    s->batch = x->dims[0].size;
    s->bias = bias != NULL ? bias->data : NULL;
    p->groups = x->dims[1].size / s->depth;
    p->filters = p->groups > 0 ? weights->shape[0] / p->groups : 0;
    flat = (window){.rank = AXES - 1};
    for (int i = 0; i < flat.rank; i++) {
        flat.in[i] = s->window.in[1 + i];
        flat.out[i] = s->window.out[1 + i];
        flat.kernel[i] = s->window.kernel[1 + i];
        flat.stride[i] = s->window.stride[1 + i];
        flat.dilation[i] = s->window.dilation[1 + i];
        flat.pad_begin[i] = s->window.pad_begin[1 + i];
    }
    p->shape = provider_plane_shape(&flat, s->window.kernel[0] * s->depth);
    p->batch = 1;
    p->type = BRGEMM_F32;
    p->result_size = sizeof(float);
    return p->filters > 0 && p->groups * s->depth == x->dims[1].size &&
           p->groups * p->filters == weights->shape[0];
}

static bool accepts(const provider_site *site)
{
    conv3d_state s;

    return read_problem(site, &s);
}

/* ---- state ---- */

static void destroy(void *state)
{
    conv3d_state *s = state;
    spry_allocator allocator = s->allocator;

    alloc_release(&allocator, s->packed, (size_t)s->plan.packed_bytes);
    alloc_release(&allocator, s, sizeof *s);
}

/* Weights [filter][channel][slice][position] as those of slices that are channels:
 * [filter][slice][channel][position]. */
static spry_status pack(const provider_site *site, conv3d_state *s, spry_error *error)
{
    const tensor *weights = provider_constant(site, 1);
    const float *from = weights->data;
    size_t bytes = (size_t)tensor_count(weights) * sizeof(float);
    int64_t positions = s->window.kernel[1] * s->window.kernel[2];
    int64_t slices = s->window.kernel[0];
    float *turned = alloc_bytes(&s->allocator, bytes);

    s->packed = alloc_bytes(&s->allocator, (size_t)s->plan.packed_bytes);
    if (turned == NULL || s->packed == NULL) {
        alloc_release(&s->allocator, turned, bytes);
        return alloc_failed(error, bytes);
    }
    for (int64_t i = 0; i < tensor_count(weights) / positions; i++) {
        int64_t slice = i % slices;
        int64_t channel = i / slices % s->depth;
        int64_t to = (i / slices / s->depth * slices + slice) * s->depth + channel;

        memcpy(turned + to * positions, from + i * positions, (size_t)positions * sizeof *from);
    }
    conv_nhwc_pack(&s->plan, turned, 0, s->packed);
    alloc_release(&s->allocator, turned, bytes);
    return SPRY_OK;
}

static int64_t round_up(int64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    conv3d_state *s = alloc_zeroed(site->allocator, sizeof *s);
    int workers = threads_count(site->team);
    conv_nhwc_problem p;
    spry_status status;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)read_problem(site, s); /* accepted before */
    s->allocator = *site->allocator;
    s->transpose = transpose_select();
    p = s->plan.problem;
    conv_nhwc_plan(&p, brgemm_select(BRGEMM_F32), CONV_NHWC_AUTO, workers, &s->plan);
    status = pack(site, s, error);
    if (status != SPRY_OK) {
        destroy(s);
        return status;
    }
    s->x_bytes = round_up(p.groups * p.shape.channels * p.shape.in_h * p.shape.in_w *
                          (int64_t)sizeof(float));
    s->y_bytes =
        round_up(p.groups * p.filters * p.shape.out_h * p.shape.out_w * (int64_t)sizeof(float));
    step->state = s;
    step->kernel = s->plan.kernel->name;
    step->plan = "slices";
    step->packed_bytes = (size_t)s->plan.packed_bytes;
    step->workspace_bytes =
        (size_t)(s->x_bytes + s->y_bytes + s->plan.shared_bytes + s->plan.worker_bytes * workers);
    return SPRY_OK;
}

/* ---- running ---- */

/* One slice of the output. */
typedef struct slice_run {
    const conv3d_state *s;
    const float *x;      /* of this image, planar */
    float *turned;       /* [pixels][groups][slices][channels of a group] */
    const float *result; /* [pixels][channels] */
    float *y;            /* of this image, planar */
    int64_t slice;
} slice_run;

/* Input rows [begin, end) of all slices that the output slice sees: planes become channels. */
static void gather_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const slice_run *r = context;
    const conv3d_state *s = r->s;
    const window *w = &s->window;
    const int64_t plane = w->in[1] * w->in[2];
    const int64_t channels = s->plan.problem.groups * s->plan.problem.shape.channels;
    const int64_t first = begin * w->in[2];
    const int64_t pixels = (end - begin) * w->in[2];

    (void)worker;
    for (int64_t i = 0; i < s->plan.problem.groups * w->kernel[0]; i++) {
        int64_t group = i / w->kernel[0];
        int64_t z = r->slice * w->stride[0] - w->pad_begin[0] + i % w->kernel[0] * w->dilation[0];
        float *to = r->turned + first * channels + i * s->depth;
        transpose_matrix m = {.to = to,
                              .rows = s->depth,
                              .columns = pixels,
                              .from_pitch = w->in[0] * plane * (int64_t)sizeof(float),
                              .to_pitch = channels * (int64_t)sizeof(float)};

        if (z >= 0 && z < w->in[0]) {
            m.from = r->x + (group * s->depth * w->in[0] + z) * plane + first;
            s->transpose->words(&m);
            continue;
        }
        for (int64_t pixel = 0; pixel < pixels; pixel++) {
            memset(to + pixel * channels, 0, (size_t)s->depth * sizeof *to);
        }
    }
}

/* Output rows [begin, end) of the slice: channels become planes. */
static void place_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const slice_run *r = context;
    const window *w = &r->s->window;
    const int64_t channels = r->s->plan.problem.groups * r->s->plan.problem.filters;
    const int64_t plane = w->out[1] * w->out[2];
    const int64_t first = begin * w->out[2];
    const transpose_matrix m = {.from = r->result + first * channels,
                                .to = r->y + r->slice * plane + first,
                                .rows = (end - begin) * w->out[2],
                                .columns = channels,
                                .from_pitch = channels * (int64_t)sizeof(float),
                                .to_pitch = w->out[0] * plane * (int64_t)sizeof(float)};

    (void)worker;
    r->s->transpose->words(&m);
}

static void run_slice(slice_run *r, threads *team, void *workspace)
{
    enum { ROWS_PER_PIECE = 8 };
    const conv3d_state *s = r->s;
    const conv_nhwc_problem *p = &s->plan.problem;
    conv_nhwc_call call = {.c = &s->plan,
                           .x = r->turned,
                           .packed = s->packed,
                           .y = r->turned + s->x_bytes / (int64_t)sizeof(float),
                           .y_pitch = p->groups * p->filters * (int64_t)sizeof(float),
                           .finish = {.bias = s->bias, .lower = -INFINITY, .upper = INFINITY},
                           .workspace = workspace};

    r->result = call.y;
    threads_for(team, s->window.in[1], ROWS_PER_PIECE, gather_rows, r);
    threads_for(team, s->plan.pieces, 1, conv_nhwc_run, &call);
    threads_for(team, s->window.out[1], ROWS_PER_PIECE, place_rows, r);
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    const conv3d_state *s = state;
    const conv_nhwc_problem *p = &s->plan.problem;
    const window *w = &s->window;
    const int64_t channels = p->groups * p->filters;
    const int64_t shape[RANK] = {s->batch, channels, w->out[0], w->out[1], w->out[2]};
    const tensor *x = op_call_input(call, 0);
    slice_run r = {.s = s, .turned = workspace};
    tensor *y;
    spry_status status = op_call_output(call, 0, SPRY_DTYPE_F32, RANK, shape, &y);

    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    for (int64_t image = 0; image < s->batch; image++) {
        r.x =
            (const float *)x->data + image * p->groups * s->depth * w->in[0] * w->in[1] * w->in[2];
        r.y = (float *)y->data + image * channels * w->out[0] * w->out[1] * w->out[2];
        for (r.slice = 0; r.slice < w->out[0]; r.slice++) {
            run_slice(&r, call->team, (uint8_t *)workspace + s->x_bytes + s->y_bytes);
        }
    }
    return SPRY_OK;
}

const provider provider_conv_3d = {"conv_3d", PROVIDER_FUSES_NOTHING, accepts, create, run,
                                   destroy};
