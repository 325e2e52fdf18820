/* Pairs (pair.h) of f32 convolutions: strips of the image in between are made and used up while
 * they are in a core's own cache. Rows that the next strip needs again are moved to its front. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "kernels/conv/conv_nhwc.h"
#include "kernels/conv/depthwise_nhwc.h"
#include "runtime/activation.h"
#include "runtime/cache/packed.h"
#include "runtime/fuse.h"
#include "runtime/layout/layout.h"
#include "runtime/pair.h"
#include "runtime/precision.h"
#include "runtime/provider/providers.h"

enum {
    STRIP_BYTES = 3 << 17, /* of the image in between */
    PIECES_PER_WORKER = 4
};

/* The strip in a worker's memory: rows [first, end) of the image in between. A worker's pieces are
 * neighbours, so that it goes on with the rows that it has. */
typedef struct strip {
    _Alignas(64) float *rows;
    void *workspace; /* of the first convolution */
    int64_t image;
    int64_t first, end;
} strip;

typedef struct pair_state {
    spry_allocator allocator;
    conv_nhwc first; /* of one row */
    depthwise_nhwc second;
    packed_memory first_packed;
    packed_memory second_packed;
    brgemm_finish first_finish;
    brgemm_finish second_finish; /* all but the residual */
    int64_t strip;               /* output rows */
    int64_t strip_floats;        /* of the rows between that these need */
    int64_t piece_rows;          /* output rows of a piece of work */
    int64_t worker_bytes;
} pair_state;

/* ---- reading ---- */

static bool read_second(const provider_site *site, depthwise_nhwc_problem *p)
{
    const graph_type *x = provider_input_type(site, 0);
    const tensor *weights = provider_constant(site, 1);
    window w;

    if (x == NULL || weights == NULL || x->rank != 4 || weights->rank != 4 ||
        weights->dtype != SPRY_DTYPE_F32 || x->dtype != SPRY_DTYPE_F32 || weights->shape[1] != 1 ||
        !provider_window(site, x, weights->shape, &w)) {
        return false;
    }
    *p = (depthwise_nhwc_problem){.shape = provider_plane_shape(&w, weights->shape[0]),
                                  .batch = x->dims[0].size,
                                  .multiplier = 1,
                                  .depth = 1,
                                  .type = BRGEMM_F32,
                                  .result_size = sizeof(float)};
    return graph_attribute_int(site->node, "group", 1) == weights->shape[0];
}

static bool is_constant_or_none(const provider_site *site, int port)
{
    return site->node->inputs[port] == GRAPH_NONE || provider_constant(site, port) != NULL;
}

static bool accepts(const provider_site *site)
{
    depthwise_nhwc_problem p;
    const tensor *weights;

    if (strcmp(site->node->domain, PAIR_DOMAIN) != 0 || !read_second(site, &p)) {
        return false;
    }
    weights = provider_constant(site, PAIR_FIRST_WEIGHTS);
    return weights != NULL && weights->dtype == SPRY_DTYPE_F32 &&
           weights->shape[0] == p.shape.channels && is_constant_or_none(site, 2) &&
           is_constant_or_none(site, PAIR_FIRST_BIAS);
}

/* ---- state ---- */

static void destroy(void *state)
{
    pair_state *s = state;
    spry_allocator allocator = s->allocator;

    packed_release(&allocator, &s->first_packed);
    packed_release(&allocator, &s->second_packed);
    alloc_release(&allocator, s, sizeof *s);
}

/* Rows of the image in between that `rows` output rows need, but for the image's edges. */
static int64_t rows_between(const conv_f32_shape *shape, int64_t rows)
{
    return (rows - 1) * shape->stride_h + (shape->kernel_h - 1) * shape->dilation_h + 1;
}

static void plan(const provider_site *site, const depthwise_nhwc_problem *second, pair_state *s)
{
    const conv_f32_shape *shape = &second->shape;
    int64_t filters = shape->channels;
    int64_t channels = provider_constant(site, PAIR_FIRST_WEIGHTS)->shape[1];
    conv_nhwc_problem first = {.shape = {.channels = channels,
                                         .in_h = 1,
                                         .in_w = shape->in_w,
                                         .out_h = 1,
                                         .out_w = shape->in_w,
                                         .kernel_h = 1,
                                         .kernel_w = 1,
                                         .stride_h = 1,
                                         .stride_w = 1,
                                         .dilation_h = 1,
                                         .dilation_w = 1},
                               .batch = 1,
                               .groups = 1,
                               .filters = filters,
                               .result_size = sizeof(float)};
    int64_t row_floats = shape->in_w * filters;
    int64_t workers = threads_count(site->team);
    int64_t all = second->batch * shape->out_h;

    first.type = precision_of_products(site, channels, filters);
    conv_nhwc_plan(&first, brgemm_select(first.type), CONV_NHWC_AUTO, 1, &s->first);
    depthwise_nhwc_plan(second, depthwise_nhwc_select(second, 0, 0), 1, &s->second);
    s->strip = 1;
    while (s->strip < shape->out_h &&
           rows_between(shape, s->strip + 1) * row_floats * (int64_t)sizeof(float) <= STRIP_BYTES) {
        s->strip++;
    }
    s->strip_floats = (rows_between(shape, s->strip) * row_floats + 15) / 16 * 16;
    s->piece_rows = workers > 1 ? provider_pieces(all, workers * PIECES_PER_WORKER) : shape->out_h;
    s->piece_rows = provider_least(s->piece_rows, shape->out_h);
    s->worker_bytes = s->strip_floats * (int64_t)sizeof(float) + s->first.worker_bytes;
}

static brgemm_finish finish_of(const provider_site *site, int bias_port, const char *lower,
                               const char *upper, const char *activation)
{
    const tensor *bias = provider_constant(site, bias_port);

    return (brgemm_finish){.bias = bias != NULL ? bias->data : NULL,
                           .activate = activation != NULL ? activation_find(activation) : NULL,
                           .lower = graph_attribute_float(site->node, lower, -INFINITY),
                           .upper = graph_attribute_float(site->node, upper, INFINITY)};
}

typedef struct pack_run {
    const pair_state *s;
    const float *weights;
} pack_run;

static spry_status pack_first(void *context, void *to, spry_error *error)
{
    const pack_run *r = context;

    (void)error;
    conv_nhwc_pack(&r->s->first, r->weights, 0, to);
    return SPRY_OK;
}

static spry_status pack_second(void *context, void *to, spry_error *error)
{
    const pack_run *r = context;

    (void)error;
    depthwise_nhwc_pack(&r->s->second, r->weights, 0, 0, to);
    return SPRY_OK;
}

static spry_status pack_weights(const provider_site *site, pair_state *s, spry_error *error)
{
    pack_run first = {s, provider_constant(site, PAIR_FIRST_WEIGHTS)->data};
    pack_run second = {s, provider_constant(site, 1)->data};
    spry_status status = packed_make(site, s->first.kernel->name, (size_t)s->first.packed_bytes,
                                     pack_first, &first, &s->first_packed, error);

    return status == SPRY_OK
               ? packed_make(site, s->second.kernel->name, (size_t)s->second.packed_bytes,
                             pack_second, &second, &s->second_packed, error)
               : status;
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    pair_state *s = alloc_zeroed(site->allocator, sizeof *s);
    int workers = threads_count(site->team);
    depthwise_nhwc_problem second;
    size_t workspace = 0;
    spry_status status;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)read_second(site, &second); /* accepted before */
    s->allocator = *site->allocator;
    plan(site, &second, s);
    status = checked_mul((size_t)s->worker_bytes + sizeof(strip), (size_t)workers, &workspace)
                 ? pack_weights(site, s, error)
                 : alloc_failed(error, SIZE_MAX);
    if (status != SPRY_OK) {
        destroy(s);
        return status;
    }
    s->first_finish = finish_of(site, PAIR_FIRST_BIAS, PAIR_FIRST_LOWER, PAIR_FIRST_UPPER,
                                graph_attribute_string(site->node, PAIR_FIRST_ACTIVATION, NULL));
    s->second_finish = finish_of(site, FUSE_BIAS, FUSE_LOWER, FUSE_UPPER,
                                 graph_attribute_string(site->node, FUSE_ACTIVATION, NULL));
    step->state = s;
    step->kernel = s->first.kernel->name;
    step->plan = "strips";
    step->threads = (int)provider_least(
        second.batch * provider_pieces(second.shape.out_h, s->piece_rows), workers);
    step->packed_bytes = (size_t)(s->first.packed_bytes + s->second.packed_bytes);
    step->spent = 1U << PAIR_FIRST_WEIGHTS | 1U << 1;
    step->workspace_bytes = workspace;
    return SPRY_OK;
}

/* ---- running ---- */

typedef struct pair_run {
    const pair_state *s;
    const float *x;
    const float *residual;
    float *y;
    strip *strips; /* [workers] */
} pair_run;

/* Makes the strip rows [first, end), keeping those that it has. */
static void fill_strip(const pair_run *r, const float *image, strip *t, int64_t first, int64_t end)
{
    const conv_nhwc *c = &r->s->first;
    int64_t width = c->problem.shape.in_w;
    int64_t row_floats = width * c->problem.filters;
    int64_t kept = t->end > first && t->first <= first ? t->end - first : 0;

    if (kept > 0) {
        memmove(t->rows, t->rows + (first - t->first) * row_floats,
                (size_t)(kept * row_floats) * sizeof(float));
    }
    for (int64_t row = first + kept; row < end; row++) {
        conv_nhwc_call call = {.c = c,
                               .x = image + row * width * c->problem.shape.channels,
                               .packed = r->s->first_packed.data,
                               .y = t->rows + (row - first) * row_floats,
                               .y_pitch = c->problem.filters * (int64_t)sizeof(float),
                               .finish = r->s->first_finish,
                               .workspace = t->workspace};

        conv_nhwc_run(&call, 0, c->pieces, 0);
    }
    t->first = first;
    t->end = end;
}

/* Output rows [row, row + rows) of an image, seen as an image of their own. */
static void use_strip(const pair_run *r, const strip *t, int64_t image, int64_t row, int64_t rows)
{
    const depthwise_nhwc *d = &r->s->second;
    const conv_f32_shape *shape = &d->problem.shape;
    int64_t at = (image * shape->out_h + row) * shape->out_w * shape->channels;
    depthwise_nhwc_problem part = d->problem;
    brgemm_finish finish = r->s->second_finish;
    depthwise_nhwc_band band = {.problem = &part,
                                .x = t->rows,
                                .packed = r->s->second_packed.data,
                                .y = r->y + at,
                                .y_pitch = shape->channels * (int64_t)sizeof(float),
                                .finish = &finish,
                                .rows = rows,
                                .blocks = d->blocks};

    part.batch = 1;
    part.shape.in_h = t->end - t->first;
    part.shape.out_h = rows;
    part.shape.pad_h = t->first - (row * shape->stride_h - shape->pad_h);
    finish.residual = r->residual != NULL ? r->residual + at : NULL;
    d->kernel->run(&band);
}

/* A piece is a run of output rows of one image. */
static void run_pieces(void *context, int64_t begin, int64_t end, int worker)
{
    const pair_run *r = context;
    const pair_state *s = r->s;
    const conv_f32_shape *shape = &s->second.problem.shape;
    int64_t image_pieces = provider_pieces(shape->out_h, s->piece_rows);
    strip *t = &r->strips[worker];

    for (int64_t piece = begin; piece < end; piece++) {
        int64_t image = piece / image_pieces;
        int64_t row = piece % image_pieces * s->piece_rows;
        int64_t last = provider_least(row + s->piece_rows, shape->out_h);
        const float *x = r->x + image * shape->in_h * shape->in_w * s->first.problem.shape.channels;

        if (t->image != image) {
            *t = (strip){.rows = t->rows, .workspace = t->workspace, .image = image};
        }
        for (; row < last; row += s->strip) {
            int64_t rows = provider_least(s->strip, last - row);
            int64_t top = row * shape->stride_h - shape->pad_h;
            int64_t first = provider_least(top > 0 ? top : 0, shape->in_h);
            int64_t until = provider_least(top + rows_between(shape, rows), shape->in_h);

            fill_strip(r, x, t, first, until > first ? until : first);
            use_strip(r, t, image, row, rows);
        }
    }
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    const pair_state *s = state;
    const depthwise_nhwc_problem *p = &s->second.problem;
    const int64_t shape[4] = {p->batch, p->shape.out_h, p->shape.out_w, p->shape.channels};
    pair_run r = {.s = s,
                  .x = op_call_input(call, 0)->data,
                  .residual = provider_residual(call),
                  .strips = workspace};
    char *room = (char *)(r.strips + threads_count(call->team));
    tensor *y;
    spry_status status = op_call_output(call, 0, SPRY_DTYPE_F32, 4, shape, &y);

    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    r.y = y->data;
    for (int i = 0; i < threads_count(call->team); i++, room += s->worker_bytes) {
        float *rows = (float *)(void *)room;

        r.strips[i] = (strip){.rows = rows, .workspace = rows + s->strip_floats, .image = -1};
    }
    threads_for(call->team, p->batch * provider_pieces(p->shape.out_h, s->piece_rows), 1,
                run_pieces, &r);
    return SPRY_OK;
}

const provider provider_conv_pair = {"conv_pair", PROVIDER_FUSES_NOTHING, accepts, create, run,
                                     destroy};
