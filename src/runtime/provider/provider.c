/* The list of providers, and what they ask about a node. */
#include "runtime/provider/providers.h"

#include <math.h>
#include <string.h>

#include "runtime/activation.h"
#include "runtime/fuse.h"
#include "runtime/layout/layout.h"

static const provider *const providers[] = {
    &provider_attention,      &provider_filter,        &provider_region,
    &provider_block,          &provider_conv_pair,     &provider_conv_3d,
    &provider_conv_depthwise, &provider_conv_few,      &provider_sparse,
    &provider_conv_winograd,  &provider_conv_nhwc,     &provider_conv_transpose,
    &provider_conv_f32,       &provider_conv_s8,       &provider_nbits,
    &provider_blocks_s8,      &provider_dense,         &provider_product,
    &provider_outer,          &provider_matmul_f32,    &provider_matmul_s8,
    &provider_twin_s8,        &provider_pool_f32,      &provider_pool_nhwc,
    &provider_linear_s8,      &provider_norm_nhwc,     &provider_rows_s8,
    &provider_conv_gradient,  &provider_norm_training, &provider_sum,
    &provider_pool_gradient,  &provider_skim,          NULL,
};

bool provider_is(const provider_site *site, const char *type)
{
    return strcmp(site->node->type, type) == 0 &&
           (site->node->domain[0] == '\0' || strcmp(site->node->domain, FUSE_DOMAIN) == 0 ||
            strcmp(site->node->domain, LAYOUT_DOMAIN) == 0);
}

bool provider_is_own(const provider_site *site, const char *type)
{
    return strcmp(site->node->type, type) == 0 && (strcmp(site->node->domain, OP_OWN_DOMAIN) == 0 ||
                                                   strcmp(site->node->domain, LAYOUT_DOMAIN) == 0);
}

bool provider_is_planar_f32(const provider_site *site, const char *type)
{
    const graph_node *n = site->node;
    const graph_type *x = provider_input_type(site, 0);
    const graph_type *y = provider_output_type(site, 0);
    const graph_type *weights = provider_input_type(site, 1);

    return strcmp(n->type, type) == 0 && n->domain[0] == '\0' && x != NULL && y != NULL &&
           weights != NULL && x->dtype == SPRY_DTYPE_F32 && weights->dtype == SPRY_DTYPE_F32 &&
           weights->rank == x->rank && op_work_count(x) > 0 && op_work_count(y) > 0 &&
           op_work_count(weights) > 0;
}

/* Sizes of the one or two axes of pixels. */
static void image_size(const provider_site *site, const graph_type *x, int64_t *size)
{
    bool is_planar = !layout_is_nhwc(site->node) || layout_reads_planar(site->node);
    int first = is_planar ? 2 : 1;

    for (int i = 0; i < x->rank - 2; i++) {
        size[i] = x->dims[first + i].size;
    }
}

bool provider_window(const provider_site *site, const graph_type *x, const int64_t *weights,
                     window *w)
{
    const char *reason;
    int64_t in[2];

    image_size(site, x, in);
    return window_from_node(site->node, x->rank - 2, in, weights + 2, false, w, &reason);
}

/* Does every window hold a pixel of the image on axis `i`? */
static bool touches_image(const window *w, int i)
{
    return w->dilation[i] == 1 && w->pad_begin[i] < w->kernel[i] &&
           (w->out[i] - 1) * w->stride[i] - w->pad_begin[i] < w->in[i];
}

bool provider_pool_window(const provider_site *site, const graph_type *x, window *w)
{
    bool ceil_mode = graph_attribute_int(site->node, "ceil_mode", 0) != 0;
    int64_t count = 0;
    const int64_t *kernel = graph_attribute_ints(site->node, "kernel_shape", &count);
    int64_t in[2];
    const char *reason;

    if (kernel == NULL || count != x->rank - 2) {
        return false;
    }
    image_size(site, x, in);
    if (!window_from_node(site->node, x->rank - 2, in, kernel, ceil_mode, w, &reason)) {
        return false;
    }
    for (int i = 0; i < w->rank; i++) {
        if (w->out[i] < 1 || !touches_image(w, i)) {
            return false;
        }
    }
    return true;
}

conv_f32_shape provider_plane_shape(const window *w, int64_t channels)
{
    int last = w->rank - 1;

    return (conv_f32_shape){.channels = channels,
                            .in_h = last > 0 ? w->in[0] : 1,
                            .in_w = w->in[last],
                            .out_h = last > 0 ? w->out[0] : 1,
                            .out_w = w->out[last],
                            .kernel_h = last > 0 ? w->kernel[0] : 1,
                            .kernel_w = w->kernel[last],
                            .stride_h = last > 0 ? w->stride[0] : 1,
                            .stride_w = w->stride[last],
                            .dilation_h = last > 0 ? w->dilation[0] : 1,
                            .dilation_w = w->dilation[last],
                            .pad_h = last > 0 ? w->pad_begin[0] : 0,
                            .pad_w = w->pad_begin[last]};
}

gemm_f32_finish provider_finish(const provider_site *site)
{
    return (gemm_f32_finish){.lower = graph_attribute_float(site->node, FUSE_LOWER, -INFINITY),
                             .upper = graph_attribute_float(site->node, FUSE_UPPER, INFINITY)};
}

brgemm_activation *provider_activation(const provider_site *site)
{
    const char *name = graph_attribute_string(site->node, FUSE_ACTIVATION, NULL);

    return name != NULL ? activation_find(name) : NULL;
}

spry_status provider_output(op_call *call, spry_dtype dtype, tensor **out)
{
    const graph_type *type = &call->g->values[call->node->outputs[0]].type;
    int64_t shape[SPRY_TENSOR_MAX_RANK];

    for (int i = 0; i < type->rank; i++) {
        shape[i] = type->dims[i].size;
    }
    return op_call_output(call, 0, dtype, type->rank, shape, out);
}

bool provider_reads_bias(const provider_site *site, int64_t n)
{
    const graph_type *bias = provider_input_type(site, FUSE_BIAS);

    if (site->node->input_count <= FUSE_BIAS || site->node->inputs[FUSE_BIAS] == GRAPH_NONE) {
        return true;
    }
    return bias != NULL && bias->dtype == SPRY_DTYPE_F32 && bias->rank >= 1 &&
           op_work_count(bias) == n && bias->dims[bias->rank - 1].size == n &&
           graph_attribute_float(site->node, "beta", 1.0f) == 1.0f;
}

const float *provider_bias(const op_call *call)
{
    const tensor *bias = op_call_input(call, FUSE_BIAS);

    return bias != NULL ? bias->data : NULL;
}

const float *provider_residual(const op_call *call)
{
    const tensor *residual = op_call_input(call, FUSE_RESIDUAL);

    return residual != NULL ? residual->data : NULL;
}

static const provider *find_from(const provider_site *site, const provider *const *p)
{
    while (*p != NULL && !(*p)->accepts(site)) {
        p++;
    }
    return *p;
}

const provider *provider_find(const provider_site *site)
{
    return find_from(site, providers);
}

const provider *provider_find_after(const provider_site *site, const provider *after)
{
    const provider *const *p = providers;

    while (*p != after) {
        p++;
    }
    return find_from(site, p + 1);
}

static const graph_type *static_type(const graph *g, int32_t id)
{
    const graph_type *type = id != GRAPH_NONE ? &g->values[id].type : NULL;

    return type != NULL && graph_type_is_static(type) ? type : NULL;
}

const graph_type *provider_input_type(const provider_site *site, int port)
{
    return port < site->node->input_count ? static_type(site->g, site->node->inputs[port]) : NULL;
}

const graph_type *provider_output_type(const provider_site *site, int port)
{
    return port < site->node->output_count ? static_type(site->g, site->node->outputs[port]) : NULL;
}

const tensor *provider_constant(const provider_site *site, int port)
{
    int32_t id = port < site->node->input_count ? site->node->inputs[port] : GRAPH_NONE;

    return id != GRAPH_NONE ? site->g->values[id].constant : NULL;
}
