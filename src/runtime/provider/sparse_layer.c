/* Layers that can skip zeros. */
#include "runtime/provider/sparse_layer.h"

#include <string.h>

#include "kernels/conv/conv_nhwc.h"
#include "kernels/conv/conv_winograd.h"
#include "runtime/layout/layout.h"
#include "runtime/precision.h"
#include "runtime/provider/providers.h"

/* A line of `m` pixels with `k` channels. */
static void set_product(sparse_layer *l, int64_t m, int64_t n, int64_t k)
{
    l->shape = (conv_f32_shape){.channels = k,
                                .in_h = 1,
                                .in_w = m,
                                .out_h = 1,
                                .out_w = m,
                                .kernel_h = 1,
                                .kernel_w = 1,
                                .stride_h = 1,
                                .stride_w = 1,
                                .dilation_h = 1,
                                .dilation_w = 1};
    l->batch = 1;
    l->filters = n;
    l->is_product = true;
}

static bool read_product(const provider_site *site, const graph_type *x, const tensor *weights,
                         sparse_layer *l)
{
    bool is_gemm = provider_is(site, "Gemm");
    bool turned = is_gemm && graph_attribute_int(site->node, "transB", 0) != 0;
    int64_t k = weights->shape[turned];
    int64_t n = weights->shape[!turned];
    int64_t m = 1;

    if ((!is_gemm && !provider_is(site, "MatMul")) || x->rank < 1 || weights->rank != 2 ||
        (is_gemm && (x->rank != 2 || graph_attribute_int(site->node, "transA", 0) != 0 ||
                     graph_attribute_float(site->node, "alpha", 1.0f) != 1.0f))) {
        return false;
    }
    for (int i = 0; i + 1 < x->rank; i++) {
        m *= x->dims[i].size;
    }
    if (m < 1 || n < 1 || k < 1 || x->dims[x->rank - 1].size != k ||
        !provider_reads_bias(site, n)) {
        return false;
    }
    set_product(l, m, n, k);
    l->source = (sparse_source){weights->data, n, k, turned ? k : 1, turned ? 1 : n};
    return true;
}

static bool read_conv(const provider_site *site, const graph_type *x, const tensor *weights,
                      sparse_layer *l)
{
    int64_t shape_of_weights[4];
    const conv_f32_shape *s = &l->shape;
    int64_t k;
    window w;

    if (!layout_is_nhwc(site->node) || layout_reads_planar(site->node) || x->rank != 4 ||
        weights->rank != 4) {
        return false;
    }
    for (int i = 0; i < 4; i++) {
        shape_of_weights[i] = weights->shape[i];
    }
    if (shape_of_weights[1] != x->dims[3].size || !provider_window(site, x, shape_of_weights, &w)) {
        return false;
    }
    l->is_conv = true;
    l->shape = provider_plane_shape(&w, shape_of_weights[1]);
    l->batch = x->dims[0].size;
    l->filters = shape_of_weights[0];
    k = s->channels * s->kernel_h * s->kernel_w;
    l->source = (sparse_source){weights->data, l->filters, k, k, 1};
    if (s->kernel_h * s->kernel_w == 1 && s->stride_h * s->stride_w == 1 && s->in_h == s->out_h &&
        s->in_w == s->out_w && s->pad_h + s->pad_w == 0) {
        set_product(l, l->batch * s->in_h * s->in_w, l->filters, s->channels);
    }
    return true;
}

bool sparse_layer_possible(void)
{
    return sparse_select(BRGEMM_F32) != sparse_variants_of(BRGEMM_F32).list[0].table;
}

bool sparse_layer_read(const provider_site *site, sparse_layer *l)
{
    const graph_type *x = provider_input_type(site, 0);
    const graph_type *y = provider_output_type(site, 0);
    const tensor *weights = provider_constant(site, 1);

    *l = (sparse_layer){0};
    if (!sparse_layer_possible() || site->options->keep_order) { /* 0 x infinity is NaN there */
        return false;
    }
    if (x == NULL || y == NULL || weights == NULL || x->dtype != SPRY_DTYPE_F32 ||
        weights->dtype != SPRY_DTYPE_F32 || op_work_count(x) == 0 || op_work_count(y) == 0) {
        return false;
    }
    if (!(provider_is(site, "Conv") ? read_conv(site, x, weights, l)
                                    : read_product(site, x, weights, l))) {
        return false;
    }
    l->type = precision_of_products(site, l->shape.channels * l->shape.kernel_h * l->shape.kernel_w,
                                    l->filters);
    return true;
}

/* What Winograd's method takes at least of what is foretold for it. That counts whole tiles of
 * filters; of a tile that is half empty only the other half is computed. */
static double winograd_at_best(int64_t filters)
{
    int64_t tile = brgemm_select(BRGEMM_F32)->nr;
    int64_t half = (tile + 1) / 2;
    double computed = (double)((filters + half - 1) / half * half);
    double counted = (double)((filters + tile - 1) / tile * tile);

    return 0.47 + 0.5 * computed / counted;
}

/* Cycles of the best dense way of that type: by products, or by Winograd's method. */
static double dense_cost(const sparse_layer *l)
{
    brgemm_type type = l->type;
    conv_nhwc_problem direct = {.shape = l->shape,
                                .batch = l->batch,
                                .groups = 1,
                                .filters = l->filters,
                                .type = type,
                                .result_size = sizeof(float)};
    conv_winograd_problem winograd = {.shape = l->shape, .batch = l->batch, .filters = l->filters};
    conv_nhwc plan;
    double cost;

    if (l->is_product) { /* pixels below one another, as products of matrices are planned */
        direct.shape.in_h = direct.shape.out_h = l->shape.in_w;
        direct.shape.in_w = direct.shape.out_w = 1;
    }
    conv_nhwc_plan(&direct, brgemm_select(type), CONV_NHWC_AUTO, 1, &plan);
    cost = plan.predicted_cost;
    for (int size = 2; size <= 4 && conv_winograd_can(&winograd.shape); size += 2) {
        conv_winograd w;

        conv_winograd_plan(&winograd, brgemm_select(BRGEMM_F32), conv_winograd_select(), size, 1,
                           &w);
        w.predicted_cost *= winograd_at_best(l->filters);
        cost = w.predicted_cost < cost ? w.predicted_cost : cost;
    }
    return cost;
}

/* Does a sample of the weights have zeros? Counting all of those that have none would take time. */
static bool has_zeros(const sparse_source *s)
{
    enum { SAMPLED = 2048, FEW = SAMPLED / 10 };
    const float *data = s->data;
    int64_t count = s->rows * s->k;
    int64_t step = count / SAMPLED + 1;
    int64_t zeros = 0;

    for (int64_t i = 0; i < count; i += step | 1) {
        zeros += data[i] == 0.0f;
    }
    return zeros * (step | 1) * SAMPLED > count * FEW;
}

/* f32 only; the portable tile is there to be tested against. */
static bool takes_lanes(const sparse_layer *l)
{
    return l->type == BRGEMM_F32 && sparse_lanes_can(&l->shape) &&
           sparse_lanes_select() != sparse_lanes_variants[0].table;
}

void sparse_layer_count(const sparse_layer *l, sparse_layer_facts *f)
{
    int64_t count = l->source.rows * l->source.k;

    *f = (sparse_layer_facts){
        .weights = {.entries = count / sparse_select(l->type)->group, .numbers = count},
        .density = 1.0};
    if (has_zeros(&l->source)) {
        f->weights =
            sparse_facts_of(&l->source, 1, BRGEMM_F32, l->shape.kernel_h * l->shape.kernel_w);
        f->density = (double)f->weights.numbers / (double)count;
        f->slots = takes_lanes(l)
                       ? sparse_lanes_count(&l->source, l->shape.kernel_h * l->shape.kernel_w)
                       : 0;
    }
    f->dense = dense_cost(l);
}

bool sparse_layer_gains(double cost, double other)
{
    return cost * 1.1 < other;
}
