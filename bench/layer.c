/* Builds the graph of one operator by hand, with types and constants, and asks the providers. */
#include "layer.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "ops/op.h"
#include "runtime/integer/integer.h"
#include "runtime/layout/layout.h"
#include "runtime/provider/providers.h"
#include "spry/random.h"

enum { OPSET = 13, PLANES = 4, ALIGNMENT = 64 };

static const char *const type_names[LAYER_TYPES] = {"f32", "bf16", "u8s8"};
static const char *const layout_names[LAYER_LAYOUTS] = {"any", "nhwc", "nchw"};

static int find(const char *const *names, int count, const char *text)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i], text) == 0) {
            return i;
        }
    }
    return count;
}

layer_type layer_parse_type(const char *text)
{
    return (layer_type)find(type_names, LAYER_TYPES, text);
}

layer_layout layer_parse_layout(const char *text)
{
    return (layer_layout)find(layout_names, LAYER_LAYOUTS, text);
}

/* ---- values ---- */

/* Random contents: floats in [-1, 1), bytes over their whole range. */
static void fill(tensor *t, uint64_t stream)
{
    spry_random r = spry_random_stream(1, stream);
    uint8_t *bytes = t->data;

    if (t->dtype == SPRY_DTYPE_F32) {
        spry_random_fill_uniform(&r, t->data, t->bytes / sizeof(float), -1.0f, 1.0f);
        return;
    }
    for (size_t i = 0; i < t->bytes; i++) {
        bytes[i] = (uint8_t)spry_random_u32(&r);
    }
}

/* Drops each number but a share. */
static void thin_out(float *x, size_t count, double share, uint64_t stream)
{
    spry_random r = spry_random_stream(2, stream);

    for (size_t i = 0; share < 1.0 && i < count; i++) {
        x[i] = (double)spry_random_f32(&r) < share ? x[i] : 0.0f;
    }
}

/* Drops, of weights [k][n] or, `turned`, [n][k], for each k all of `panel` neighbouring columns. */
static void cut_panels(float *x, int64_t k, int64_t n, bool turned, const layer_zeros *zeros)
{
    spry_random r = spry_random_stream(3, 0);

    for (int64_t i = 0; zeros->panels < 1.0 && i < k; i++) {
        bool is_kept = true;

        for (int64_t j = 0; j < n; j++) {
            float *number = turned ? &x[j * k + i] : &x[i * n + j];

            if (j % zeros->panel == 0) {
                is_kept = (double)spry_random_f32(&r) < zeros->panels;
            }
            *number = is_kept ? *number : 0.0f;
        }
    }
}

/* Weights [filters][channels][taps] as spry sparsify's lanes leave them: the share of each 16
 * channels, others for each filter. */
static void thin_lanes(float *x, const tensor *t, double share)
{
    enum { WINDOW = 16, STEP = 5 };
    int64_t channels = t->shape[1];
    int64_t taps = t->shape[2] * t->shape[3];

    for (int64_t i = 0; i < t->shape[0] * channels * taps; i++) {
        int64_t channel = i / taps % channels;
        int64_t turn = i / taps / channels + i % taps; /* filter and tap */
        int64_t rank = (channel % WINDOW * STEP + turn) % WINDOW;

        x[i] = (double)rank < share * WINDOW ? x[i] : 0.0f;
    }
}

static void put_zeros(layer *l, int port, tensor *t)
{
    const layer_zeros *zeros = l->zeros;
    size_t count = t->bytes / sizeof(float);
    bool turned = t->rank == PLANES;
    int64_t n = t->shape[!turned]; /* columns, or filters */

    if (port == 0) {
        thin_out(t->data, count, zeros->inputs, 0);
        return;
    }
    if (zeros->by_lanes && t->rank == 4) {
        thin_lanes(t->data, t, zeros->weights);
        return;
    }
    thin_out(t->data, count, zeros->weights, 1);
    cut_panels(t->data, (int64_t)count / n, n, turned, zeros);
}

/* A tensor in the layer's memory, filled or zero; NULL when memory ran out. */
static tensor *make_tensor(layer *l, spry_dtype dtype, int rank, const int64_t *dims)
{
    tensor *t = arena_bytes(&l->memory, sizeof *t);

    if (t == NULL || tensor_init(t, dtype, rank, dims, NULL, &l->error) != SPRY_OK) {
        return NULL;
    }
    t->data = arena_bytes(&l->memory, t->bytes + ALIGNMENT);
    if (t->data == NULL) {
        return NULL;
    }
    memset(t->data, 0, t->bytes);
    return t;
}

/* Sets input `port` of the node, a constant or what the run is given. */
static bool set_input(layer *l, int port, tensor *t, bool is_constant)
{
    int32_t id;

    if (t == NULL) {
        return false;
    }
    if (is_constant) {
        if (graph_add_constant(l->g, NULL, t, &id, &l->error) != SPRY_OK) {
            return false;
        }
    } else if (graph_add_value(l->g, NULL, &id, &l->error) != SPRY_OK) {
        return false;
    }
    l->g->values[id].type = graph_type_tensor(t->dtype, t->rank, t->shape);
    graph_set_input(l->g, 0, port, id);
    l->ports[port].kind = SPRY_VALUE_TENSOR;
    l->ports[port].dtype = t->dtype;
    l->ports[port].tensor = *t;
    l->inputs[port] = &l->ports[port];
    return true;
}

static bool set_output(layer *l, spry_dtype dtype, int rank, const int64_t *dims)
{
    tensor *t = make_tensor(l, dtype, rank, dims);
    int32_t id;

    if (t == NULL || graph_add_value(l->g, NULL, &id, &l->error) != SPRY_OK) {
        return false;
    }
    l->g->values[id].type = graph_type_tensor(dtype, rank, dims);
    graph_set_output(l->g, 0, 0, id);
    l->result.kind = SPRY_VALUE_TENSOR;
    l->result.dtype = dtype;
    l->result.tensor = *t;
    l->outputs[0] = &l->result;
    return true;
}

static bool set_random(layer *l, int port, spry_dtype dtype, int rank, const int64_t *dims,
                       bool is_constant)
{
    tensor *t = make_tensor(l, dtype, rank, dims);

    if (t != NULL) {
        fill(t, (uint64_t)port);
        if (l->zeros != NULL) {
            put_zeros(l, port, t);
        }
    }
    return set_input(l, port, t, is_constant);
}

/* A scale at `port` and a zero point of 0 behind it. */
static bool set_scale(layer *l, int port, spry_dtype dtype, float number)
{
    tensor *scale = make_tensor(l, SPRY_DTYPE_F32, 0, NULL);

    if (scale != NULL) {
        memcpy(scale->data, &number, sizeof number);
    }
    return set_input(l, port, scale, true) &&
           set_input(l, port + 1, make_tensor(l, dtype, 0, NULL), true);
}

/* ---- the operator ---- */

static bool add_node(layer *l, const char *type, const char *domain, int32_t inputs)
{
    int32_t id;

    if (graph_create(&l->memory, NULL, &l->g, &l->error) != SPRY_OK ||
        graph_add_node(l->g, type, domain, OPSET, inputs, 1, &id, &l->error) != SPRY_OK) {
        return false;
    }
    l->node = &l->g->nodes[id];
    l->node->op = op_find("", type, OPSET);
    return true;
}

static bool make_gemm(layer *l, const shape_gemm *gemm, layer_type type)
{
    const int64_t a[] = {gemm->m, gemm->k};
    const int64_t b[] = {gemm->k, gemm->n};
    const int64_t c[] = {gemm->m, gemm->n};
    bool is_integer = type == LAYER_U8S8;

    return add_node(l, is_integer ? "MatMulInteger" : "MatMul", "", 2) &&
           set_random(l, 0, is_integer ? SPRY_DTYPE_U8 : SPRY_DTYPE_F32, 2, a, false) &&
           set_random(l, 1, is_integer ? SPRY_DTYPE_I8 : SPRY_DTYPE_F32, 2, b, true) &&
           set_output(l, is_integer ? SPRY_DTYPE_I32 : SPRY_DTYPE_F32, 2, c);
}

static bool set_window(layer *l, const shape_conv *conv, bool is_nhwc)
{
    const int64_t strides[] = {conv->stride, conv->stride};
    const int64_t dilations[] = {conv->dilation, conv->dilation};
    const int64_t pads[] = {conv->pad, conv->pad, conv->pad, conv->pad};
    const int64_t kernel[] = {conv->rows, conv->columns};

    return graph_set_ints(l->g, 0, "strides", 2, strides, &l->error) == SPRY_OK &&
           graph_set_ints(l->g, 0, "dilations", 2, dilations, &l->error) == SPRY_OK &&
           graph_set_ints(l->g, 0, "pads", 4, pads, &l->error) == SPRY_OK &&
           graph_set_ints(l->g, 0, "kernel_shape", 2, kernel, &l->error) == SPRY_OK &&
           graph_set_int(l->g, 0, "group", conv->groups, &l->error) == SPRY_OK &&
           (!is_nhwc || graph_set_int(l->g, 0, LAYOUT_ATTRIBUTE, 1, &l->error) == SPRY_OK);
}

static bool make_conv(layer *l, const shape_conv *conv, layer_type type, bool is_nhwc)
{
    int64_t height = shape_conv_extent(conv, conv->height, conv->rows);
    int64_t width = shape_conv_extent(conv, conv->width, conv->columns);
    const int64_t x[2][PLANES] = {{conv->batch, conv->channels, conv->height, conv->width},
                                  {conv->batch, conv->height, conv->width, conv->channels}};
    const int64_t y[2][PLANES] = {{conv->batch, conv->filters, height, width},
                                  {conv->batch, height, width, conv->filters}};
    const int64_t w[PLANES] = {conv->filters, conv->channels / conv->groups, conv->rows,
                               conv->columns};

    if (type == LAYER_U8S8) {
        return add_node(l, "QLinearConv", is_nhwc ? INTEGER_DOMAIN : "", INTEGER_BIAS) &&
               set_random(l, INTEGER_X, SPRY_DTYPE_U8, PLANES, x[is_nhwc], false) &&
               set_scale(l, INTEGER_X + 1, SPRY_DTYPE_U8, 1.0f / 128) &&
               set_random(l, INTEGER_W, SPRY_DTYPE_I8, PLANES, w, true) &&
               set_scale(l, INTEGER_W + 1, SPRY_DTYPE_I8, 1.0f / 128) &&
               set_scale(l, INTEGER_Y_SCALE, SPRY_DTYPE_U8, 1.0f / 4) &&
               set_output(l, SPRY_DTYPE_U8, PLANES, y[is_nhwc]) && set_window(l, conv, is_nhwc);
    }
    return add_node(l, "Conv", is_nhwc ? LAYOUT_DOMAIN : "", 2) &&
           set_random(l, 0, SPRY_DTYPE_F32, PLANES, x[is_nhwc], false) &&
           set_random(l, 1, SPRY_DTYPE_F32, PLANES, w, true) &&
           set_output(l, SPRY_DTYPE_F32, PLANES, y[is_nhwc]) && set_window(l, conv, is_nhwc);
}

/* ---- the provider ---- */

/* Where bf16 was asked for, only kernels that say so count. */
static bool fits(const layer *l, layer_type type)
{
    return type != LAYER_BF16 || strstr(l->step.kernel, "bf16") != NULL;
}

static bool create(layer *l, layer_type type)
{
    provider_site site = {.g = l->g,
                          .node = l->node,
                          .options = &l->options,
                          .allocator = l->allocator,
                          .team = l->team};

    l->provider = provider_find(&site);
    if (l->provider == &provider_sparse && l->zeros != NULL && l->zeros->skips_nothing) {
        l->provider = provider_find_after(&site, &provider_sparse);
    }
    if (l->provider == NULL) {
        return false;
    }
    if (l->provider->create(&site, &l->step, &l->error) != SPRY_OK) {
        l->provider = NULL;
        return false;
    }
    l->provider = l->step.taker != NULL ? l->step.taker : l->provider;
    l->workspace = alloc_bytes(l->allocator, l->step.workspace_bytes);
    return l->workspace != NULL && fits(l, type);
}

static bool make_one(layer *l, const shape *of, layer_type type, bool is_nhwc,
                     const layer_zeros *zeros, threads *team)
{
    memset(l, 0, sizeof *l);
    l->allocator = spry_allocator_system();
    l->team = team;
    l->zeros = zeros;
    l->options = spry_session_options_default();
    l->options.precision = type == LAYER_BF16 ? SPRY_PRECISION_BF16 : SPRY_PRECISION_F32;
    arena_init(&l->memory, l->allocator, SIZE_MAX);
    value_init(&l->result, l->allocator);
    for (int i = 0; i < LAYER_PORTS; i++) {
        value_init(&l->ports[i], l->allocator);
    }
    if (!(of->kind == SHAPE_GEMM ? make_gemm(l, &of->of.gemm, type)
                                 : make_conv(l, &of->of.conv, type, is_nhwc)) ||
        !create(l, type) || !layer_run(l)) {
        layer_clear(l);
        return false;
    }
    return true;
}

bool layer_make(layer *l, const shape *of, layer_type type, layer_layout layout,
                const layer_zeros *zeros, threads *team, char *reason, size_t size)
{
    bool is_conv = of->kind == SHAPE_CONV;

    if ((is_conv && layout != LAYER_NCHW && make_one(l, of, type, true, zeros, team)) ||
        ((!is_conv || layout != LAYER_NHWC) && make_one(l, of, type, false, zeros, team))) {
        return true;
    }
    (void)snprintf(reason, size, "no %s kernel takes this shape", type_names[type]);
    return false;
}

void layer_clear(layer *l)
{
    if (l->provider != NULL) {
        l->provider->destroy(l->step.state);
        alloc_release(l->allocator, l->workspace, l->step.workspace_bytes);
    }
    arena_fini(&l->memory);
    memset(l, 0, sizeof *l);
}

bool layer_run(layer *l)
{
    arena scratch;
    op_call call = {.g = l->g,
                    .node = l->node,
                    .inputs = l->inputs,
                    .outputs = l->outputs,
                    .input_count = l->node->input_count,
                    .output_count = 1,
                    .allocator = l->allocator,
                    .scratch = &scratch,
                    .team = l->team,
                    .error = &l->error};
    spry_status status;

    arena_init(&scratch, l->allocator, SIZE_MAX);
    status = l->provider->run(l->step.state, &call, l->workspace);
    arena_fini(&scratch);
    return status == SPRY_OK;
}
