/* Convolutions (channels-last) and products with constant weights that skip zeros, where that is
 * expected to be faster than any dense way:
 *
 *   of weights, unstructured: lists of them are made with the plan (kernels/sparse/sparse_conv.h);
 *   of weights, about as many in each of 16 filters: lanes are permuted (sparse_lanes.h);
 * of activations, and of weights by panel: lists are made in every run in which a sample of the
 * activations says that it pays (kernels/sparse/sparse_both.h).
 *
 * Dense products of single pixels read the same packed weights as the second way, so that it costs
 * no memory to have both. A layer that has nothing to gain is handed over to the provider that
 * would have it anyway. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "kernels/conv/conv_nhwc.h"
#include "runtime/cache/packed.h"
#include "runtime/provider/providers.h"
#include "runtime/provider/sparse_layer.h"

typedef struct sparse_state {
    spry_allocator allocator;
    sparse_layer layer;
    sparse_layer_facts facts;
    packed_memory noted;  /* the same */
    brgemm_finish finish; /* all but bias and residual */
    int workers;

    bool by_weights; /* lists of weights */
    sparse_conv conv;
    packed_memory lists;

    bool by_lanes; /* permuted: instead of lists */
    sparse_lanes_conv lanes;
    packed_memory slots;

    bool by_both; /* where activations have zeros enough */
    sparse_both both;
    brgemm_product product; /* when they have not, and nothing above; of convolutions: */
    conv_nhwc pixels;
    bool is_conv;
    packed_memory packed; /* of dense weights; behind them what is below */
    double kept;
    const uint16_t *masks; /* NULL: all ones */

    provider_sparsity report;
} sparse_state;

enum { LEAST_WORK = 1 << 22, LEAST_PIXELS = 32 };

static const double least_gain = 1.03;   /* of permuted lanes, whose cost is known well */
static const double lists_at_best = 0.7; /* of what is foretold for lists of small products */

static int64_t padded(int64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static bool accepts(const provider_site *site)
{
    const unsigned both = PROVIDER_FUSES_SUMS | PROVIDER_FUSES_ACTIVATIONS;
    const provider *stand_in;
    sparse_layer l;

    if (!sparse_layer_read(site, &l)) {
        return false;
    }
    stand_in = provider_find_after(site, &provider_sparse);
    return stand_in != NULL && (stand_in->fuses & both) == both;
}

/* ---- creation ---- */

typedef struct pack_run {
    const provider_site *site;
    sparse_state *s;
} pack_run;

static spry_status count_weights(void *context, void *to, spry_error *error)
{
    const pack_run *r = context;
    sparse_layer_facts facts;

    (void)error;
    sparse_layer_count(&r->s->layer, &facts);
    memcpy(to, &facts, sizeof facts);
    return SPRY_OK;
}

/* Looks at the weights, or finds that this was in vain before: then s->noted.data is NULL. */
static spry_status read_facts(const provider_site *site, sparse_state *s, spry_error *error)
{
    pack_run r = {site, s};
    spry_status status =
        packed_make(site, "zeros", sizeof s->facts, count_weights, &r, &s->noted, error);

    if (status == SPRY_OK && s->noted.data != NULL) {
        memcpy(&s->facts, s->noted.data, sizeof s->facts);
    }
    return status;
}

static spry_status pack_lists(void *context, void *to, spry_error *error)
{
    const pack_run *r = context;

    (void)error;
    sparse_conv_pack(&r->s->conv, &r->s->layer.source, to);
    return SPRY_OK;
}

static spry_status pack_dense(void *context, void *to, spry_error *error)
{
    const pack_run *r = context;
    const sparse_state *s = r->s;
    const conv_f32_shape *shape = &s->layer.shape;
    int64_t taps = shape->kernel_h * shape->kernel_w;
    int64_t bytes =
        padded(brgemm_packed_size(s->product.kernel, taps, shape->channels, s->layer.filters));
    brgemm_source source = {.data = s->layer.source.data,
                            .tap_stride = s->layer.source.k_stride,
                            .k_stride = s->layer.source.k_stride * taps,
                            .column_stride = s->layer.source.row_stride};
    char *behind = (char *)to + bytes;
    double kept;

    (void)error;
    brgemm_pack(s->product.kernel, &source, taps, shape->channels, s->layer.filters, to);
    kept = sparse_both_masks(&s->both, to, (uint16_t *)(void *)(behind + sizeof kept));
    memcpy(behind, &kept, sizeof kept);
    return SPRY_OK;
}

static spry_status pack_slots(void *context, void *to, spry_error *error)
{
    const pack_run *r = context;

    (void)error;
    sparse_lanes_pack(&r->s->lanes, &r->s->layer.source, to);
    return SPRY_OK;
}

/* Cycles by permuted lanes; infinite where they are no way. */
static double permuted_cost(const sparse_state *s)
{
    sparse_lanes_problem p = {s->layer.shape, s->layer.batch, s->layer.filters, s->facts.slots};
    sparse_lanes_conv c;

    if (s->facts.slots == 0) {
        return INFINITY;
    }
    sparse_lanes_plan(&p, sparse_lanes_select(), 1, &c);
    return c.predicted_cost;
}

/* Permuted lanes, when they are expected to be faster than what is dense. */
static spry_status make_slots(const provider_site *site, sparse_state *s, provider_step *step,
                              spry_error *error)
{
    sparse_lanes_problem p = {s->layer.shape, s->layer.batch, s->layer.filters, s->facts.slots};
    const sparse_lanes_kernel *kernel = sparse_lanes_select();
    pack_run r = {site, s};
    spry_status status;

    if (s->by_weights || permuted_cost(s) * least_gain > s->facts.dense) {
        return SPRY_OK;
    }
    sparse_lanes_plan(&p, kernel, s->workers, &s->lanes);
    status = packed_make(site, kernel->name, (size_t)s->lanes.packed_bytes, pack_slots, &r,
                         &s->slots, error);
    if (status == SPRY_OK) {
        s->by_lanes = true;
        step->packed_bytes += (size_t)s->lanes.packed_bytes;
        step->kernel = kernel->name;
        step->plan = "sparse lanes";
        step->threads = (int)provider_least(s->lanes.pieces, s->workers);
        step->predicted_cycles = s->lanes.predicted_cost / step->threads;
    }
    return status;
}

/* Lists of weights, when they are expected to be faster than what is dense, or permuted. */
static spry_status make_lists(const provider_site *site, sparse_state *s, provider_step *step,
                              spry_error *error)
{
    sparse_conv_problem p = {s->layer.shape, s->layer.batch, s->layer.filters, s->layer.type};
    const sparse_kernel *kernel = sparse_select(s->layer.type);
    pack_run r = {site, s};
    spry_status status;

    if (s->facts.density > 0.9) {
        return SPRY_OK;
    }
    sparse_conv_plan(&p, kernel, &s->facts.weights, &s->conv);
    if (!sparse_layer_gains(s->conv.predicted_cost, s->facts.dense) ||
        s->conv.predicted_cost * (s->layer.is_product ? lists_at_best : 1.0) > permuted_cost(s)) {
        return SPRY_OK;
    }
    status = packed_make(site, kernel->name, (size_t)s->conv.packed_bytes, pack_lists, &r,
                         &s->lists, error);
    if (status == SPRY_OK) {
        s->by_weights = true;
        step->packed_bytes += (size_t)s->conv.packed_bytes;
        step->kernel = kernel->name;
        step->plan = "sparse weights";
        step->threads = (int)provider_least(s->conv.pieces, s->workers);
        step->predicted_cycles = s->conv.predicted_cost / step->threads;
    }
    return status;
}

/* Cycles of what is done when activations have no zeros. */
static double other_cost(const sparse_state *s)
{
    return s->by_weights ? s->conv.predicted_cost
           : s->by_lanes ? s->lanes.predicted_cost
                         : s->facts.dense;
}

/* Could skipping zeros of activations ever pay? Half of what a Relu makes is zero. */
static bool may_gain(const sparse_state *s)
{
    const conv_f32_shape *shape = &s->layer.shape;
    double work = (double)shape->channels * (double)s->layer.filters * (double)shape->in_w;
    const sparse_kernel *kernel = sparse_select(BRGEMM_F32);

    return s->layer.is_product && kernel->panel == brgemm_select(BRGEMM_F32)->nr &&
           shape->in_w >= LEAST_PIXELS && work >= LEAST_WORK && s->layer.type == BRGEMM_F32 &&
           sparse_layer_gains(sparse_both_cost(&s->both, 0.3, 1.0), other_cost(s));
}

/* A convolution of pixels has more ways than a product; all read weights that lie as those of a
 * product. */
static void plan_pixels(sparse_state *s, const brgemm_kernel *dense)
{
    conv_nhwc_problem p = {.shape = s->layer.shape,
                           .batch = 1,
                           .groups = 1,
                           .filters = s->layer.filters,
                           .type = BRGEMM_F32,
                           .result_size = sizeof(float)};

    p.shape.in_h = p.shape.out_h = s->layer.shape.in_w;
    p.shape.in_w = p.shape.out_w = 1;
    conv_nhwc_plan(&p, dense, CONV_NHWC_AUTO, s->workers, &s->pixels);
    s->is_conv = s->layer.is_conv && s->pixels.taps == 1 && s->pixels.k == p.shape.channels &&
                 s->pixels.packed_bytes == s->product.packed_bytes;
}

static spry_status make_both(const provider_site *site, sparse_state *s, provider_step *step,
                             spry_error *error)
{
    sparse_both_problem p = {s->layer.shape, s->layer.batch, s->layer.filters};
    const brgemm_kernel *dense = brgemm_select(BRGEMM_F32);
    brgemm_product_problem product = {.m = s->layer.shape.in_w,
                                      .n = s->layer.filters,
                                      .k = s->layer.shape.channels,
                                      .a_row = s->layer.shape.channels,
                                      .a_k = 1};
    pack_run r = {site, s};
    int64_t weights;
    size_t bytes;
    spry_status status;

    sparse_both_plan(&p, sparse_select(BRGEMM_F32), s->workers, &s->both);
    if (!may_gain(s)) {
        return SPRY_OK;
    }
    brgemm_product_plan(&product, dense, s->workers, &s->product);
    plan_pixels(s, dense);
    weights = padded(s->product.packed_bytes);
    bytes = (size_t)(weights + (int64_t)sizeof s->kept + s->both.mask_bytes);
    status = packed_make(site, dense->name, bytes, pack_dense, &r, &s->packed, error);
    if (status != SPRY_OK) {
        return status;
    }
    memcpy(&s->kept, (const char *)s->packed.data + weights, sizeof s->kept);
    s->masks = s->kept < 1.0 ? (const uint16_t *)(const void *)((const char *)s->packed.data +
                                                                weights + (int64_t)sizeof s->kept)
                             : NULL;
    s->by_both = true;
    step->packed_bytes += bytes;
    if (!s->by_weights && !s->by_lanes) {
        step->kernel = dense->name;
        step->threads =
            (int)provider_least(s->is_conv ? s->pixels.pieces : s->product.pieces, s->workers);
        step->predicted_cycles = s->facts.dense / step->threads;
    }
    return SPRY_OK;
}

static void destroy(void *state)
{
    sparse_state *s = state;
    spry_allocator allocator = s->allocator;

    packed_release(&allocator, &s->noted);
    packed_release(&allocator, &s->lists);
    packed_release(&allocator, &s->slots);
    packed_release(&allocator, &s->packed);
    alloc_release(&allocator, s, sizeof *s);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Makes what is expected to pay: one way for weights, one for activations, both or none. */
static spry_status make(const provider_site *site, sparse_state *s, provider_step *step,
                        spry_error *error)
{
    spry_status status = read_facts(site, s, error);

    if (status != SPRY_OK || s->noted.data == NULL) {
        return status;
    }
    status = make_lists(site, s, step, error);
    if (status == SPRY_OK) {
        status = make_slots(site, s, step, error);
    }
    if (status == SPRY_OK) {
        status = make_both(site, s, step, error);
    }
    if (status == SPRY_OK && !s->by_weights && !s->by_lanes && !s->by_both) {
        packed_refuse(site, &s->noted);
    }
    return status;
}

static spry_status hand_over(const provider_site *site, provider_step *step, spry_error *error)
{
    const provider *taker = provider_find_after(site, &provider_sparse);
    spry_status status = taker->create(site, step, error);

    step->taker = taker;
    return status;
}

/* What both ways need, one at a time. */
static size_t workspace_of(const sparse_state *s)
{
    size_t of_lists = s->by_weights ? (size_t)s->conv.worker_bytes
                      : s->by_lanes ? (size_t)s->lanes.worker_bytes
                                    : 0;
    size_t of_both = s->by_both ? (size_t)s->both.worker_bytes : 0;
    size_t of_product = s->by_both && !s->is_conv ? (size_t)s->product.worker_bytes : 0;
    size_t of_pixels = s->is_conv ? (size_t)s->pixels.worker_bytes : 0;
    size_t shared = s->is_conv ? (size_t)s->pixels.shared_bytes : 0;

    of_both = larger(of_both, larger(of_product, of_pixels));
    return shared + (size_t)s->workers * larger(of_lists, of_both);
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    gemm_f32_finish clamp = provider_finish(site);
    sparse_state *s = alloc_zeroed(site->allocator, sizeof *s);
    spry_status status;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)sparse_layer_read(site, &s->layer); /* accepted before */
    s->allocator = *site->allocator;
    s->workers = threads_count(site->team);
    s->finish = (brgemm_finish){
        .activate = provider_activation(site), .lower = clamp.lower, .upper = clamp.upper};
    status = make(site, s, step, error);
    if (status != SPRY_OK || (!s->by_weights && !s->by_lanes && !s->by_both)) {
        destroy(s);
        return status == SPRY_OK ? hand_over(site, step, error) : status;
    }
    s->report = (provider_sparsity){.weights = s->facts.density, .activations = -1.0, .gain = 1.0};
    step->sparsity = &s->report;
    step->workspace_bytes = workspace_of(s);
    step->spent = 1U << 1;
    step->state = s;
    return SPRY_OK;
}

/* ---- running ---- */

static void run_lists(const sparse_state *s, op_call *call, const brgemm_finish *finish, float *y,
                      void *workspace)
{
    sparse_conv_call run = {.c = &s->conv,
                            .x = op_call_input(call, 0)->data,
                            .packed = s->lists.data,
                            .y = y,
                            .finish = *finish,
                            .workspace = workspace};

    threads_for(call->team, s->conv.pieces, 1, sparse_conv_run, &run);
}

static void run_lanes(const sparse_state *s, op_call *call, const brgemm_finish *finish, float *y,
                      void *workspace)
{
    sparse_lanes_call run = {.c = &s->lanes,
                             .x = op_call_input(call, 0)->data,
                             .packed = s->slots.data,
                             .y = y,
                             .finish = *finish,
                             .workspace = workspace};

    threads_for(call->team, s->lanes.pieces, 1, sparse_lanes_run, &run);
}

static void run_both(const sparse_state *s, op_call *call, const brgemm_finish *finish, float *y,
                     void *workspace)
{
    sparse_both_call run = {.b = &s->both,
                            .x = op_call_input(call, 0)->data,
                            .packed = s->packed.data,
                            .masks = s->masks,
                            .density = s->report.activations,
                            .kept = s->kept,
                            .y = y,
                            .finish = *finish,
                            .workspace = workspace};

    threads_for(call->team, s->both.pieces, 1, sparse_both_run, &run);
}

static void run_pixels(const sparse_state *s, op_call *call, const brgemm_finish *finish, float *y,
                       void *workspace)
{
    conv_nhwc_call run = {.c = &s->pixels,
                          .x = op_call_input(call, 0)->data,
                          .packed = s->packed.data,
                          .y = y,
                          .y_pitch = s->layer.filters * (int64_t)sizeof(float),
                          .finish = *finish,
                          .workspace = workspace};

    threads_for(call->team, s->pixels.pieces, 1, conv_nhwc_run, &run);
}

static void run_dense(const sparse_state *s, op_call *call, const brgemm_finish *finish, float *y,
                      void *workspace)
{
    brgemm_product_call run = {.p = &s->product,
                               .a = op_call_input(call, 0)->data,
                               .packed = s->packed.data,
                               .c = y,
                               .finish = *finish,
                               .workspace = workspace};

    threads_for(call->team, s->product.pieces, 1, brgemm_product_run, &run);
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    sparse_state *s = state;
    brgemm_finish finish = s->finish;
    double cost = other_cost(s);
    double skipping = cost;
    tensor *y;
    spry_status status;

    status = provider_output(call, SPRY_DTYPE_F32, &y);
    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    finish.bias = provider_bias(call);
    finish.residual = provider_residual(call);
    if (s->by_both) {
        s->report.activations =
            sparse_density(op_call_input(call, 0)->data, s->both.pixels, s->layer.shape.channels);
        skipping = sparse_both_cost(&s->both, s->report.activations, s->kept);
    }
    if (sparse_layer_gains(skipping, cost)) {
        s->report.way = "sparse activations";
        run_both(s, call, &finish, y->data, workspace);
        cost = skipping;
    } else if (s->by_weights) {
        s->report.way = "sparse weights";
        run_lists(s, call, &finish, y->data, workspace);
    } else if (s->by_lanes) {
        s->report.way = "sparse lanes";
        run_lanes(s, call, &finish, y->data, workspace);
    } else {
        s->report.way = "dense";
        (s->is_conv ? run_pixels : run_dense)(s, call, &finish, y->data, workspace);
    }
    s->report.gain = s->facts.dense / cost;
    return SPRY_OK;
}

const provider provider_sparse = {
    "sparse", PROVIDER_FUSES_SUMS | PROVIDER_FUSES_ACTIVATIONS, accepts, create, run, destroy};
