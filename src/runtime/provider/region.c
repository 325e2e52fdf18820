/* Regions (region.h), channels-last: plans each layer for listed pixels, by direct sums and, for
 * f32 kernels of 3 x 3, by Winograd's method too (region/winograd.c); which one runs is decided by
 * each mask. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "kernels/elementwise/linear_s8.h"
#include "ops/sliding_window.h"
#include "runtime/fuse.h"
#include "runtime/precision.h"
#include "runtime/provider/providers.h"
#include "runtime/region/state.h"

/* ---- reading ---- */

/* A layer's node, where questions about it go. */
static provider_site site_of(const provider_site *site, const region_layer *l)
{
    provider_site of = *site;

    of.node = &l->view.node;
    return of;
}

static bool read_geometry(const provider_site *of, const tensor *weights, const graph_type *x,
                          region_layer *l, int64_t *groups)
{
    window w;

    if (x == NULL || x->rank != 4 || weights == NULL || weights->rank != 4 ||
        tensor_count(weights) == 0 || !provider_window(of, x, weights->shape, &w)) {
        return false;
    }
    l->shape = provider_plane_shape(&w, weights->shape[1]);
    *groups = x->dims[3].size / weights->shape[1];
    return *groups > 0 && *groups * weights->shape[1] == x->dims[3].size &&
           weights->shape[0] % *groups == 0 &&
           !(*groups > 1 && weights->shape[1] == 1); /* depthwise ones have better kernels */
}

/* Layer number i of the region, as far as its node says; false when kernels cannot do it. */
static bool read_layer(const provider_site *site, int i, bool is_last, region_layer *l,
                       conv_nhwc_problem *p)
{
    bool makes_floats = is_last && site->node->inputs[REGION_SCALE] == GRAPH_NONE;
    provider_site of;
    const graph_type *x;
    const tensor *weights;

    memset(l, 0, sizeof *l);
    region_read_layer(site->node, i, &l->view);
    of = site_of(site, l);
    x = provider_input_type(&of, 0);
    l->is_integer = strcmp(l->view.node.type, "QLinearConv") == 0;
    *p = (conv_nhwc_problem){.result_size = sizeof(float)};
    if (l->is_integer) {
        if (!integer_read(&of, "QLinearConv", "ConvInteger", &l->integer) || l->integer.w == NULL ||
            l->integer.w_zero != 0 ||
            l->integer.result != (makes_floats ? BRGEMM_FLOATS : BRGEMM_BYTES)) {
            return false;
        }
        p->type = BRGEMM_S8;
        p->result_size = makes_floats ? sizeof(float) : 1;
    } else if (x == NULL || !(makes_floats || !is_last) || x->dtype != SPRY_DTYPE_F32) {
        return false;
    }
    weights = l->is_integer ? l->integer.w : provider_constant(&of, 1);
    if (!read_geometry(&of, weights, x, l, &p->groups) ||
        (!l->is_integer && weights->dtype != SPRY_DTYPE_F32)) {
        return false;
    }
    p->shape = l->shape;
    p->batch = x->dims[0].size;
    p->filters = weights->shape[0] / p->groups;
    if (!l->is_integer) {
        int64_t depth = l->shape.channels * l->shape.kernel_h * l->shape.kernel_w;

        p->type =
            l->shape.channels % 2 == 0 ? precision_of_products(&of, depth, p->filters) : BRGEMM_F32;
        return true;
    }
    return integer_fits(&of, &l->integer, weights->shape[0],
                        l->shape.channels * l->shape.kernel_h * l->shape.kernel_w);
}

static bool is_single(const provider_site *site, int port)
{
    const graph_type *t = provider_input_type(site, port);

    return site->node->inputs[port] == GRAPH_NONE || (t != NULL && op_work_count(t) == 1);
}

static bool accepts(const provider_site *site)
{
    const graph_type *y = provider_output_type(site, 0);
    const graph_type *mask;
    int count = region_layer_count(site->node);
    region_layer l;
    conv_nhwc_problem p;

    if (count == 0 || y == NULL || op_work_count(y) == 0) {
        return false;
    }
    mask = provider_input_type(site, REGION_MASK);
    for (int i = 0; i < count; i++) {
        if (!read_layer(site, i, i + 1 == count, &l, &p) ||
            p.batch * p.shape.in_h * p.shape.in_w >= INT32_MAX ||
            p.batch * p.shape.out_h * p.shape.out_w >= INT32_MAX) {
            return false;
        }
    }
    return mask != NULL &&
           (mask->dtype == SPRY_DTYPE_BOOL || mask->dtype == SPRY_DTYPE_U8 ||
            mask->dtype == SPRY_DTYPE_F32) &&
           is_single(site, REGION_SCALE) && is_single(site, REGION_ZERO) &&
           is_single(site, REGION_SHORTCUT_SCALE) && is_single(site, REGION_SHORTCUT_ZERO) &&
           is_single(site, REGION_Y_SCALE) && is_single(site, REGION_Y_ZERO);
}

/* ---- state ---- */

static void destroy(void *state)
{
    region_state *s = state;
    spry_allocator allocator = s->allocator;

    for (int i = 0; i < s->layer_count; i++) {
        packed_release(&allocator, &s->layers[i].packed);
        for (int k = 0; k < REGION_WINOGRADS; k++) {
            packed_release(&allocator, &s->layers[i].winograd[k].packed);
        }
        integer_channels_release(&allocator, &s->layers[i].channels);
    }
    alloc_release(&allocator, s->from, s->from_bytes);
    alloc_release(&allocator, s, sizeof *s);
}

/* Rows or columns that a kernel reads along an axis, padding included. */
static int64_t reach(int64_t out, int64_t stride, int64_t kernel, int64_t dilation, int64_t pad,
                     int64_t in)
{
    int64_t read = (out - 1) * stride + (kernel - 1) * dilation + 1;

    return read > pad + in ? read : pad + in;
}

/* The image that the layer reads, where it does not read the region's input. */
static void set_image(region_layer *l, const conv_nhwc_problem *p)
{
    const conv_f32_shape *s = &l->shape;
    int64_t size = l->is_integer ? 1 : (int64_t)sizeof(float);

    l->in = (region_image){
        .rows = reach(s->out_h, s->stride_h, s->kernel_h, s->dilation_h, s->pad_h, s->in_h),
        .columns = reach(s->out_w, s->stride_w, s->kernel_w, s->dilation_w, s->pad_w, s->in_w),
        .top = s->pad_h,
        .left = s->pad_w,
        .channels = p->groups * s->channels};
    l->in.bytes = p->batch * l->in.rows * l->in.columns * l->in.channels * size + 64;
}

static bool is_unpadded(const region_layer *l)
{
    return l->in.bytes == 0 || (l->in.rows == l->shape.in_h && l->in.columns == l->shape.in_w);
}

static bool is_pixelwise(const conv_f32_shape *s)
{
    return s->kernel_h == 1 && s->kernel_w == 1 && s->stride_h == 1 && s->stride_w == 1;
}

/* Pixels of a cell of the mask along a row. */
static int64_t cell_of(const provider_site *site)
{
    const graph_type *mask = provider_input_type(site, REGION_MASK);
    int axis = (int)graph_attribute_int(site->node, REGION_MASK_ROWS, 1);
    const graph_type *y = provider_output_type(site, 0);

    return (y->dims[2].size + mask->dims[axis + 1].size - 1) / mask->dims[axis + 1].size;
}

static void plan_layer(const provider_site *site, region_state *s, int i)
{
    region_layer *l = &s->layers[i];
    const conv_f32_shape *shape = &l->shape;
    conv_nhwc_problem p;

    (void)read_layer(site, i, i + 1 == s->layer_count, l, &p); /* accepted before */
    set_image(l, &p);
    s->batch = p.batch;
    s->channels = p.groups * p.filters;
    p.shape.in_h = l->in.rows;
    p.shape.in_w = l->in.columns;
    p.shape.pad_h = p.shape.pad_w = 0;
    conv_listed_plan(&p, brgemm_select(p.type), &l->listed);
    /* A single layer copies what it reads, or it would read what it has written. */
    if (i == 0 && s->layer_count > 1 && shape->kernel_h == 1 && shape->kernel_w == 1 &&
        shape->pad_h == 0 && shape->pad_w == 0 && is_unpadded(l)) {
        l->in.bytes = 0;
    }
    if (!l->is_integer) {
        region_plan_winograd(&p, cell_of(site), l);
    }
}

/* ---- packing ---- */

typedef struct pack_run {
    const provider_site *site;
    const region_layer *l;
} pack_run;

static const void *weights_of(const pack_run *r)
{
    provider_site of = site_of(r->site, r->l);

    return r->l->is_integer ? r->l->integer.w->data : provider_constant(&of, 1)->data;
}

static spry_status pack_direct(void *context, void *to, spry_error *error)
{
    const pack_run *r = context;

    (void)error;
    conv_nhwc_pack(&r->l->listed.dense, weights_of(r), r->l->integer.w_flip, to);
    return SPRY_OK;
}

static spry_status pack_layer(const provider_site *site, region_layer *l, spry_error *error)
{
    pack_run r = {.site = site, .l = l};
    provider_site of = site_of(site, l);
    spry_status status =
        packed_make(site, l->listed.dense.kernel->name, (size_t)l->listed.dense.packed_bytes,
                    pack_direct, &r, &l->packed, error);

    if (status == SPRY_OK && l->winograd_count > 0) {
        status = region_pack_winograd(site, weights_of(&r), l, error);
    }
    if (status == SPRY_OK && l->is_integer) {
        int64_t k = l->shape.channels * l->shape.kernel_h * l->shape.kernel_w;

        status = integer_channels_create(&of, &l->integer, l->integer.w->shape[0], k, k, 1,
                                         &l->channels, error);
    }
    return status;
}

/* ---- finish ---- */

static void set_finish(const provider_site *site, region_layer *l)
{
    provider_site of = site_of(site, l);
    gemm_f32_finish clamp = provider_finish(&of);
    const tensor *bias = l->is_integer ? NULL : provider_constant(&of, FUSE_BIAS);

    l->finish = (brgemm_finish){.bias = bias != NULL ? bias->data : NULL,
                                .activate = provider_activation(&of),
                                .lower = clamp.lower,
                                .upper = clamp.upper};
}

/* ---- where the mask's pixels come from ---- */

/* As Resize computes it: coordinates are divided by the scale and rounded down. */
static void fill_from(int64_t in, int64_t out, int32_t *from)
{
    double scale = (double)out / (double)in;

    for (int64_t i = 0; i < out; i++) {
        int64_t at = (int64_t)floor((double)i / scale);

        from[i] = (int32_t)(at < in ? at : in - 1);
    }
}

static spry_status set_mask(const provider_site *site, region_state *s, spry_error *error)
{
    const graph_type *mask = provider_input_type(site, REGION_MASK);
    const conv_f32_shape *y = region_result(s);
    int axis = (int)graph_attribute_int(site->node, REGION_MASK_ROWS, 1);

    s->mask_images = mask->dims[0].size;
    s->mask_rows = mask->dims[axis].size;
    s->mask_columns = mask->dims[axis + 1].size;
    s->from_bytes = (size_t)(y->out_h + y->out_w) * sizeof *s->from;
    s->from = alloc_bytes(&s->allocator, s->from_bytes);
    if (s->from == NULL) {
        return alloc_failed(error, s->from_bytes);
    }
    fill_from(s->mask_rows, y->out_h, s->from);
    fill_from(s->mask_columns, y->out_w, s->from + y->out_h);
    return SPRY_OK;
}

/* ---- workspace ---- */

static int64_t take(region_state *s, int64_t bytes)
{
    int64_t at = s->workspace_bytes;

    s->workspace_bytes += (bytes + 63) / 64 * 64;
    return at;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void set_workspace(region_state *s, int workers)
{
    int64_t pixels = 0; /* of the largest image */
    int64_t tiles = 0;
    int64_t winograd_tiles = 0;
    int64_t own = 0;

    for (int i = 0; i < s->layer_count; i++) {
        region_layer *l = &s->layers[i];
        int64_t count = s->batch * l->shape.out_h * l->shape.out_w;

        l->is_flat = is_pixelwise(&l->shape) && is_unpadded(l) &&
                     (i + 1 == s->layer_count || is_unpadded(&s->layers[i + 1]));
        l->mask = take(s, count);
        l->in.offset = l->in.bytes > 0 ? take(s, l->in.bytes) : 0;
        l->room = take(s, (int64_t)integer_room(&l->channels));
        pixels = most(pixels, most(count, s->batch * l->shape.in_h * l->shape.in_w));
        tiles = most(tiles, pixel_list_most_tiles(count, &l->listed.tiling));
        own = most(own, l->listed.worker_bytes);
        for (int k = 0; k < l->winograd_count; k++) {
            winograd_tiles = most(winograd_tiles, l->winograd[k].plan.tiles);
            own = most(own, l->winograd[k].plan.worker_bytes);
        }
    }
    s->x_mask = take(s, pixels);
    s->covered = take(s, pixels);
    s->reached = take(s, pixels);
    s->tiles = take(s, tiles * (int64_t)sizeof(pixel_tile));
    s->spots = take(s, pixels * (int64_t)sizeof(pixel_spot));
    s->winograd_tiles = take(s, winograd_tiles * (int64_t)sizeof(int32_t));
    s->own = take(s, own * workers);
}

static spry_status create_all(const provider_site *site, region_state *s, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int i = 0; i < s->layer_count && status == SPRY_OK; i++) {
        plan_layer(site, s, i);
        set_finish(site, &s->layers[i]);
        status = pack_layer(site, &s->layers[i], error);
    }
    return status == SPRY_OK ? set_mask(site, s, error) : status;
}

/* Weights of f32 are not read again; ports beyond the bits are kept. */
static unsigned spent_ports(const region_state *s)
{
    unsigned ports = 0;
    int64_t at = REGION_PORTS;

    for (int i = 0; i < s->layer_count; i++) {
        if (!s->layers[i].is_integer && at + 1 < 32) {
            ports |= 1U << (at + 1);
        }
        at += s->layers[i].view.node.input_count;
    }
    return ports;
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    region_state *s = alloc_zeroed(site->allocator, sizeof *s);
    int workers = threads_count(site->team);
    int64_t port = REGION_PORTS;
    spry_status status;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    s->allocator = *site->allocator;
    s->layer_count = region_layer_count(site->node);
    s->has_shortcut = site->node->inputs[REGION_SHORTCUT] != GRAPH_NONE;
    s->is_bytes = site->node->inputs[REGION_SCALE] != GRAPH_NONE;
    s->keeps = graph_attribute_int(site->node, REGION_KEEPS, 0) != 0;
    s->lower = graph_attribute_float(site->node, REGION_LOWER, -INFINITY);
    s->upper = graph_attribute_float(site->node, REGION_UPPER, INFINITY);
    status = create_all(site, s, error);
    if (status != SPRY_OK) {
        destroy(s);
        return status;
    }
    set_workspace(s, workers);
    for (int i = 0; i < s->layer_count; i++) {
        s->layers[i].first_port = port;
        port += s->layers[i].view.node.input_count;
        step->packed_bytes += (size_t)s->layers[i].listed.dense.packed_bytes;
        for (int k = 0; k < s->layers[i].winograd_count; k++) {
            step->packed_bytes += (size_t)s->layers[i].winograd[k].plan.packed_bytes;
        }
    }
    step->state = s;
    step->kernel = s->layers[0].listed.dense.kernel->name;
    step->plan = "listed";
    step->threads = workers;
    step->density = &s->density;
    step->spent = spent_ports(s);
    step->workspace_bytes = (size_t)s->workspace_bytes;
    return SPRY_OK;
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    return region_run(state, call, workspace);
}

const provider provider_region = {"region", PROVIDER_FUSES_NOTHING, accepts, create, run, destroy};
