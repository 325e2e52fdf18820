/* f32 ConvTranspose (one or two spatial axes) without inserting zeros: outputs a stride apart see
 * the same kernel positions, so each such phase is a convolution of stride 1 with some of them.
 * Results of the phases are interleaved, and turned into planes where the images are planar.
 * Weights that are not constant, as in training, are packed in every run. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "kernels/conv/conv_nhwc.h"
#include "kernels/conv/depthwise_nhwc.h"
#include "kernels/transpose/transpose.h"
#include "ops/sliding_window.h"
#include "runtime/layout/layout.h"
#include "runtime/precision.h"
#include "runtime/provider/providers.h"
#include "runtime/provider/turn.h"

enum { MOST_PHASES = 64 };

/* Outputs (y * stride_h + first_h, x * stride_w + first_w). */
typedef struct phase {
    int64_t first_h, first_w;
    int64_t skipped_h, skipped_w; /* the first kernel position it sees */
    bool is_empty;                /* it sees none: nothing is computed */
    bool is_depthwise;
    conv_nhwc conv;           /* or */
    depthwise_nhwc depthwise; /* this */
    conv_f32_shape shape;
    int64_t *places; /* of its kernel positions among all */
    void *packed;
    int64_t packed_bytes;
    int64_t at; /* floats, where its results lie */
} phase;

typedef struct transpose_state {
    spry_allocator allocator;
    conv_f32_shape shape; /* `channels` of a group; strides are those of the output */
    int64_t batch, groups, filters;
    bool is_planar;
    bool varies;       /* the weights: [groups x channels][filters][kernel_h][kernel_w] */
    const float *bias; /* of this run, or NULL */
    float *gathered;   /* weights of a depthwise phase, as those of a convolution */
    size_t gathered_bytes;
    const transpose_kernel *transpose;
    phase *phases;
    int64_t phase_count;
    /* Workspace: the turned input, results of the phases, the convolutions' own, rows of planes. */
    int64_t x_bytes, y_bytes, conv_bytes, row_bytes;
} transpose_state;

/* ---- reading ---- */

static bool is_channels_last(const provider_site *site, const graph_type *x, const graph_type *y,
                             const graph_type *weights)
{
    return provider_is(site, "ConvTranspose") && x != NULL && y != NULL && weights != NULL &&
           x->dtype == SPRY_DTYPE_F32 && weights->rank == x->rank && op_work_count(x) > 0 &&
           op_work_count(y) > 0 && op_work_count(weights) > 0;
}

static bool read_problem(const provider_site *site, transpose_state *s)
{
    const graph_type *x = provider_input_type(site, 0);
    const graph_type *y = provider_output_type(site, 0);
    const graph_type *weights = provider_input_type(site, 1);
    const char *reason;
    int64_t kernel[2];
    int64_t in[2];
    int channels;
    window w;

    memset(s, 0, sizeof *s);
    s->is_planar = !layout_is_nhwc(site->node);
    if (s->is_planar ? !provider_is_planar_f32(site, "ConvTranspose")
                     : !is_channels_last(site, x, y, weights)) {
        return false;
    }
    if (x->rank != 3 && x->rank != 4) {
        return false;
    }
    channels = s->is_planar ? 1 : x->rank - 1;
    for (int i = 0; i < x->rank - 2; i++) {
        in[i] = x->dims[s->is_planar + 1 + i].size;
        kernel[i] = weights->dims[2 + i].size;
    }
    if (!window_transposed_from_node(site->node, x->rank - 2, in, kernel, &w, &reason)) {
        return false;
    }
    s->groups = graph_attribute_int(site->node, "group", 1);
    s->batch = x->dims[0].size;
    s->filters = weights->dims[1].size;
    s->varies = provider_constant(site, 1) == NULL;
    if (s->groups < 1 || x->dims[channels].size % s->groups != 0 ||
        x->dims[channels].size != weights->dims[0].size ||
        y->dims[channels].size != s->filters * s->groups) {
        return false;
    }
    s->shape = provider_plane_shape(&w, x->dims[channels].size / s->groups);
    s->phase_count = s->shape.stride_h * s->shape.stride_w;
    return s->shape.stride_h <= MOST_PHASES && s->phase_count <= MOST_PHASES &&
           (s->shape.dilation_h == 1 || s->shape.stride_h == 1) &&
           (s->shape.dilation_w == 1 || s->shape.stride_w == 1);
}

static bool accepts(const provider_site *site)
{
    transpose_state s;

    return read_problem(site, &s);
}

/* ---- phases ---- */

/* What a phase is along one axis. */
typedef struct axis {
    int64_t skipped, kernel, pad, out;
} axis;

/* Output y x stride + first sees kernel positions `skipped`, `skipped` + stride, ... of the inputs
 * y + base, y + base - 1, ...: those of a convolution with the positions in reverse. */
static axis axis_of(int64_t first, int64_t stride, int64_t dilation, int64_t kernel, int64_t pad,
                    int64_t out)
{
    int64_t skipped = (first + pad) % stride;
    int64_t base = (first + pad - skipped) / stride;
    int64_t seen = kernel > skipped ? (kernel - skipped + stride - 1) / stride : 0;

    return (axis){skipped, seen, (seen - 1) * dilation - base,
                  out > first ? (out - first + stride - 1) / stride : 0};
}

static void shape_phase(const transpose_state *s, int64_t index, phase *p)
{
    const conv_f32_shape *all = &s->shape;
    axis h;
    axis w;

    p->first_h = index / all->stride_w;
    p->first_w = index % all->stride_w;
    h = axis_of(p->first_h, all->stride_h, all->dilation_h, all->kernel_h, all->pad_h, all->out_h);
    w = axis_of(p->first_w, all->stride_w, all->dilation_w, all->kernel_w, all->pad_w, all->out_w);
    p->skipped_h = h.skipped;
    p->skipped_w = w.skipped;
    p->is_empty = h.kernel == 0 || w.kernel == 0;
    p->shape = (conv_f32_shape){.channels = all->channels,
                                .in_h = all->in_h,
                                .in_w = all->in_w,
                                .out_h = h.out,
                                .out_w = w.out,
                                .kernel_h = h.kernel,
                                .kernel_w = w.kernel,
                                .stride_h = 1,
                                .stride_w = 1,
                                .dilation_h = all->dilation_h,
                                .dilation_w = all->dilation_w,
                                .pad_h = h.pad,
                                .pad_w = w.pad};
}

/* The phase's kernel positions in reverse. */
static void set_places(const transpose_state *s, phase *p)
{
    const conv_f32_shape *all = &s->shape;

    for (int64_t i = 0; i < p->shape.kernel_h * p->shape.kernel_w; i++) {
        int64_t row = p->shape.kernel_h - 1 - i / p->shape.kernel_w;
        int64_t column = p->shape.kernel_w - 1 - i % p->shape.kernel_w;

        p->places[i] = (p->skipped_h + row * all->stride_h) * all->kernel_w + p->skipped_w +
                       column * all->stride_w;
    }
}

/* Weights of a depthwise phase: [groups x filters][kernel_h][kernel_w]. */
static void gather_weights(const transpose_state *s, const phase *p, const float *weights,
                           float *to)
{
    int64_t all = s->shape.kernel_h * s->shape.kernel_w;
    int64_t some = p->shape.kernel_h * p->shape.kernel_w;

    for (int64_t i = 0; i < s->groups * s->filters * some; i++) {
        to[i] = weights[i / some * all + p->places[i % some]];
    }
}

/* In bf16 where that is asked for and the plan says that it pays. */
static void plan_conv(const provider_site *site, conv_nhwc_problem *problem, phase *p)
{
    int64_t depth = problem->shape.channels * problem->shape.kernel_h * problem->shape.kernel_w;
    int workers = threads_count(site->team);
    conv_nhwc narrow;

    conv_nhwc_plan(problem, brgemm_select(BRGEMM_F32), CONV_NHWC_AUTO, workers, &p->conv);
    if (precision_of_products(site, depth, problem->filters) == BRGEMM_BF16) {
        problem->type = BRGEMM_BF16;
        conv_nhwc_plan(problem, brgemm_select(BRGEMM_BF16), CONV_NHWC_AUTO, workers, &narrow);
        p->conv = narrow.predicted_cost < p->conv.predicted_cost ? narrow : p->conv;
    }
}

static void plan_phase(const provider_site *site, const transpose_state *s, phase *p)
{
    depthwise_nhwc_problem depthwise = {.shape = p->shape,
                                        .batch = s->batch,
                                        .multiplier = s->filters,
                                        .depth = 1,
                                        .type = BRGEMM_F32,
                                        .result_size = sizeof(float)};
    conv_nhwc_problem conv = {.shape = p->shape,
                              .batch = s->batch,
                              .groups = s->groups,
                              .filters = s->filters,
                              .type = BRGEMM_F32,
                              .result_size = sizeof(float)};

    p->is_depthwise = s->shape.channels == 1 && s->groups > 1;
    if (p->is_depthwise) {
        depthwise.shape.channels = s->groups;
        depthwise_nhwc_plan(&depthwise, depthwise_nhwc_select(&depthwise, 0, 0),
                            threads_count(site->team), &p->depthwise);
        p->packed_bytes = p->depthwise.packed_bytes;
    } else {
        plan_conv(site, &conv, p);
        p->packed_bytes = p->conv.packed_bytes;
    }
}

static void pack_phases(const transpose_state *s, threads *team, const float *weights)
{
    int64_t all = s->shape.kernel_h * s->shape.kernel_w;

    for (int64_t i = 0; i < s->phase_count; i++) {
        const phase *p = &s->phases[i];

        if (p->packed == NULL) {
            continue;
        }
        if (p->is_depthwise) {
            gather_weights(s, p, weights, s->gathered);
            depthwise_nhwc_pack(&p->depthwise, s->gathered, 0, 0, p->packed);
        } else {
            conv_nhwc_packing packing = {
                .c = &p->conv,
                .pairs = bf16_select(),
                .weights = {.data = weights,
                            .group_stride = s->shape.channels * s->filters * all,
                            .filter_stride = all,
                            .channel_stride = s->filters * all,
                            .place_count = all,
                            .places = p->places},
                .packed = p->packed};

            threads_for(team, conv_nhwc_panels(&p->conv), 1, conv_nhwc_pack_panels, &packing);
        }
    }
}

/* ---- state ---- */

static size_t places_bytes(const phase *p)
{
    return (size_t)(p->shape.kernel_h * p->shape.kernel_w) * sizeof *p->places;
}

static void destroy(void *state)
{
    transpose_state *s = state;
    spry_allocator allocator = s->allocator;

    for (int64_t i = 0; s->phases != NULL && i < s->phase_count; i++) {
        alloc_release(&allocator, s->phases[i].packed, (size_t)s->phases[i].packed_bytes);
        alloc_release(&allocator, s->phases[i].places, places_bytes(&s->phases[i]));
    }
    alloc_release(&allocator, s->gathered, s->gathered_bytes);
    alloc_release(&allocator, s->phases, (size_t)s->phase_count * sizeof *s->phases);
    alloc_release(&allocator, s, sizeof *s);
}

static int64_t round_up(int64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static spry_status make_room(transpose_state *s, phase *p, spry_error *error)
{
    size_t bytes =
        (size_t)(s->groups * s->filters * p->shape.kernel_h * p->shape.kernel_w) * sizeof(float);

    p->places = alloc_bytes(&s->allocator, places_bytes(p));
    if (p->places == NULL) {
        return alloc_failed(error, places_bytes(p));
    }
    set_places(s, p);
    if (p->is_depthwise && bytes > s->gathered_bytes) {
        alloc_release(&s->allocator, s->gathered, s->gathered_bytes);
        s->gathered = alloc_bytes(&s->allocator, bytes);
        s->gathered_bytes = s->gathered != NULL ? bytes : 0;
    }
    p->packed = alloc_bytes(&s->allocator, (size_t)p->packed_bytes);
    return p->packed != NULL && (!p->is_depthwise || s->gathered != NULL)
               ? SPRY_OK
               : alloc_failed(error, (size_t)p->packed_bytes);
}

static spry_status make_phases(transpose_state *s, const provider_site *site, provider_step *step,
                               spry_error *error)
{
    int workers = threads_count(site->team);
    int64_t channels = s->groups * s->filters;
    spry_status status = SPRY_OK;
    int64_t at = 0;

    s->phases = alloc_zeroed(&s->allocator, (size_t)s->phase_count * sizeof *s->phases);
    if (s->phases == NULL) {
        return alloc_failed(error, (size_t)s->phase_count * sizeof *s->phases);
    }
    for (int64_t i = 0; status == SPRY_OK && i < s->phase_count; i++) {
        phase *p = &s->phases[i];
        int64_t pixels;

        shape_phase(s, i, p);
        pixels = s->batch * p->shape.out_h * p->shape.out_w;
        if (pixels > 0 && !p->is_empty) {
            int64_t wanted;

            plan_phase(site, s, p);
            status = make_room(s, p, error);
            p->at = at;
            at += round_up(pixels * channels * (int64_t)sizeof(float)) / (int64_t)sizeof(float);
            wanted = p->conv.shared_bytes + p->conv.worker_bytes * workers;
            s->conv_bytes = wanted > s->conv_bytes ? wanted : s->conv_bytes;
            step->packed_bytes += (size_t)p->packed_bytes;
            step->kernel = p->is_depthwise ? p->depthwise.kernel->name : p->conv.kernel->name;
        }
    }
    s->y_bytes = at * (int64_t)sizeof(float);
    return status;
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    transpose_state *s = alloc_zeroed(site->allocator, sizeof *s);
    int workers = threads_count(site->team);
    spry_status status;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)read_problem(site, s); /* accepted before */
    s->allocator = *site->allocator;
    s->transpose = transpose_select();
    status = make_phases(s, site, step, error);
    if (status != SPRY_OK) {
        destroy(s);
        return status;
    }
    if (!s->varies) {
        pack_phases(s, site->team, provider_constant(site, 1)->data);
        alloc_release(&s->allocator, s->gathered, s->gathered_bytes);
        s->gathered = NULL;
        s->gathered_bytes = 0;
    }
    if (s->is_planar) {
        s->x_bytes = round_up(s->batch * s->groups * s->shape.channels * s->shape.in_h *
                              s->shape.in_w * (int64_t)sizeof(float));
    }
    s->row_bytes = round_up(s->groups * s->filters * (s->shape.out_w + s->shape.stride_w) *
                            (int64_t)sizeof(float));
    s->conv_bytes = round_up(s->conv_bytes);
    step->state = s;
    step->plan = "phases";
    step->workspace_bytes =
        (size_t)(s->x_bytes + s->y_bytes + s->conv_bytes + s->row_bytes * workers);
    return SPRY_OK;
}

/* ---- running ---- */

typedef struct transpose_job {
    const transpose_state *s;
    const float *phases; /* results */
    float *y;
    uint8_t *rows; /* row_bytes per worker */
} transpose_job;

/* Interleaves `stride` rows, `pitch` apart, to one of `width`. */
static void interleave(const float *from, int64_t pitch, int64_t stride, int64_t width, float *to)
{
    if (stride == 1) {
        memcpy(to, from, (size_t)width * sizeof *to);
        return;
    }
    if (stride == 2) {
        for (int64_t x = 0; x < width / 2; x++) {
            to[2 * x] = from[x];
            to[2 * x + 1] = from[pitch + x];
        }
        if (width % 2 != 0) {
            to[width - 1] = from[width / 2];
        }
        return;
    }
    for (int64_t first = 0; first < stride; first++) {
        for (int64_t x = 0; first + x * stride < width; x++) {
            to[first + x * stride] = from[first * pitch + x];
        }
    }
}

/* What a pixel is that no kernel position reaches. */
static void place_nothing(const transpose_state *s, float *to)
{
    int64_t channels = s->groups * s->filters;

    for (int64_t c = 0; c < channels; c++) {
        to[c] = s->bias != NULL ? s->bias[c] : 0.0f;
    }
}

/* Output rows [begin, end) of all images: the phases' pixels become planes. */
static void place_planes(void *context, int64_t begin, int64_t end, int worker)
{
    const transpose_job *r = context;
    const transpose_state *s = r->s;
    const conv_f32_shape *shape = &s->shape;
    int64_t channels = s->groups * s->filters;
    int64_t width = (shape->out_w + shape->stride_w - 1) / shape->stride_w;
    float *planes = (float *)(void *)(r->rows + worker * s->row_bytes); /* [phase][channel][x] */

    for (int64_t i = begin; i < end; i++) {
        int64_t image = i / shape->out_h;
        int64_t y = i % shape->out_h;

        for (int64_t first = 0; first < shape->stride_w; first++) {
            const phase *p = &s->phases[y % shape->stride_h * shape->stride_w + first];
            int64_t row = image * p->shape.out_h + y / shape->stride_h;
            transpose_matrix m = {.from = r->phases + p->at + row * p->shape.out_w * channels,
                                  .to = planes + first * channels * width,
                                  .rows = p->shape.out_w,
                                  .columns = channels,
                                  .from_pitch = channels * (int64_t)sizeof(float),
                                  .to_pitch = width * (int64_t)sizeof(float)};

            for (int64_t c = 0; p->is_empty && c < channels * width; c++) {
                planes[first * channels * width + c] = s->bias != NULL ? s->bias[c / width] : 0.0f;
            }
            if (p->shape.out_w > 0 && !p->is_empty) {
                s->transpose->words(&m);
            }
        }
        for (int64_t c = 0; c < channels; c++) {
            interleave(planes + c * width, channels * width, shape->stride_w, shape->out_w,
                       r->y + ((image * channels + c) * shape->out_h + y) * shape->out_w);
        }
    }
}

/* The same, channels last. */
static void place_pixels(void *context, int64_t begin, int64_t end, int worker)
{
    const transpose_job *r = context;
    const transpose_state *s = r->s;
    const conv_f32_shape *shape = &s->shape;
    int64_t channels = s->groups * s->filters;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t y = i % shape->out_h;
        float *to = r->y + i * shape->out_w * channels;

        for (int64_t x = 0; x < shape->out_w; x++, to += channels) {
            const phase *p =
                &s->phases[y % shape->stride_h * shape->stride_w + x % shape->stride_w];
            int64_t row = i / shape->out_h * p->shape.out_h + y / shape->stride_h;

            if (p->is_empty) {
                place_nothing(s, to);
            } else {
                memcpy(to,
                       r->phases + p->at + (row * p->shape.out_w + x / shape->stride_w) * channels,
                       (size_t)channels * sizeof *to);
            }
        }
    }
}

static void run_phase(const transpose_state *s, const phase *p, threads *team, const float *x,
                      float *y, void *workspace)
{
    const brgemm_finish finish = {.bias = s->bias, .lower = -INFINITY, .upper = INFINITY};
    const int64_t pitch = s->groups * s->filters * (int64_t)sizeof(float);

    if (p->is_depthwise) {
        depthwise_nhwc_call call = {.d = &p->depthwise,
                                    .x = x,
                                    .packed = p->packed,
                                    .y = y + p->at,
                                    .y_pitch = pitch,
                                    .finish = finish};

        threads_for(team, p->depthwise.pieces, 1, depthwise_nhwc_run, &call);
    } else {
        conv_nhwc_call call = {.c = &p->conv,
                               .x = x,
                               .packed = p->packed,
                               .y = y + p->at,
                               .y_pitch = pitch,
                               .finish = finish,
                               .workspace = workspace};

        threads_for(team, p->conv.pieces, 1, conv_nhwc_run, &call);
    }
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    transpose_state *s = state;
    const float *x = op_call_input(call, 0)->data;
    uint8_t *at = workspace;
    bool is_direct = !s->is_planar && s->phase_count == 1 && !s->phases[0].is_empty;
    float *results = (float *)(void *)(at + s->x_bytes);
    transpose_job r = {
        .s = s, .phases = results, .rows = at + s->x_bytes + s->y_bytes + s->conv_bytes};
    tensor *y;
    spry_status status;

    status = provider_output(call, SPRY_DTYPE_F32, &y);
    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    r.y = y->data;
    s->bias = provider_bias(call);
    if (s->varies) {
        pack_phases(s, call->team, op_call_input(call, 1)->data);
    }
    if (s->is_planar) {
        provider_turn(call->team, s->batch, s->groups * s->shape.channels,
                      s->shape.in_h * s->shape.in_w, sizeof(float), x, workspace);
        x = (const float *)workspace;
    }
    for (int64_t i = 0; i < s->phase_count; i++) {
        if (s->phases[i].packed != NULL) {
            run_phase(s, &s->phases[i], call->team, x, is_direct ? r.y : results,
                      at + s->x_bytes + s->y_bytes);
        }
    }
    if (!is_direct) {
        threads_for(call->team, s->batch * s->shape.out_h, 4,
                    s->is_planar ? place_planes : place_pixels, &r);
    }
    return SPRY_OK;
}

const provider provider_conv_transpose = {
    "conv_transpose", PROVIDER_FUSES_NOTHING, accepts, create, run, destroy};
