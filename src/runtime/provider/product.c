/* Products whose second factor varies and is one matrix for all rows, as in training: MatMul and
 * Gemm in f32 or bf16, as convolutions by single pixels. It is packed in every run, by all threads.
 */

#include "base/alloc.h"
#include "base/checked.h"
#include "kernels/conv/conv_nhwc.h"
#include "runtime/precision.h"
#include "runtime/provider/providers.h"

enum { LEAST_ROWS = 4 }; /* fewer do not pay for packing */

typedef struct product_state {
    spry_allocator allocator;
    int64_t m, n, k;
    int64_t b_k, b_column; /* strides of B */
    conv_nhwc plan;
    brgemm_finish finish; /* all but bias and residual */
    void *packed;
} product_state;

static bool read_problem(const provider_site *site, product_state *s)
{
    const graph_type *a = provider_input_type(site, 0);
    const graph_type *b = provider_input_type(site, 1);
    bool is_gemm = provider_is(site, "Gemm");
    bool turn_b = is_gemm && graph_attribute_int(site->node, "transB", 0) != 0;

    if ((!is_gemm && !provider_is(site, "MatMul")) || a == NULL || b == NULL ||
        provider_output_type(site, 0) == NULL || a->dtype != SPRY_DTYPE_F32 || a->rank < 2 ||
        b->rank != 2 || provider_constant(site, 1) != NULL || op_work_count(a) == 0 ||
        op_work_count(b) == 0) {
        return false;
    }
    if (is_gemm && (a->rank != 2 || graph_attribute_int(site->node, "transA", 0) != 0 ||
                    graph_attribute_float(site->node, "alpha", 1.0f) != 1.0f)) {
        return false;
    }
    s->k = a->dims[a->rank - 1].size;
    s->m = op_work_count(a) / s->k;
    s->n = b->dims[!turn_b].size;
    s->b_k = turn_b ? 1 : s->n;
    s->b_column = turn_b ? s->k : 1;
    return s->m >= LEAST_ROWS && b->dims[turn_b].size == s->k && provider_reads_bias(site, s->n);
}

static bool accepts(const provider_site *site)
{
    product_state s;

    return read_problem(site, &s);
}

static void destroy(void *state)
{
    product_state *s = state;
    spry_allocator allocator = s->allocator;

    alloc_release(&allocator, s->packed, (size_t)s->plan.packed_bytes);
    alloc_release(&allocator, s, sizeof *s);
}

static void make_plan(const provider_site *site, product_state *s)
{
    conv_nhwc_problem p = {.shape = {.channels = s->k,
                                     .in_h = s->m,
                                     .in_w = 1,
                                     .out_h = s->m,
                                     .out_w = 1,
                                     .kernel_h = 1,
                                     .kernel_w = 1,
                                     .stride_h = 1,
                                     .stride_w = 1,
                                     .dilation_h = 1,
                                     .dilation_w = 1},
                           .batch = 1,
                           .groups = 1,
                           .filters = s->n,
                           .type = precision_of_products(site, s->k, s->n),
                           .result_size = sizeof(float)};

    conv_nhwc_plan(&p, brgemm_select(p.type), CONV_NHWC_AUTO, threads_count(site->team), &s->plan);
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    product_state *s = alloc_zeroed(site->allocator, sizeof *s);
    gemm_f32_finish clamp = provider_finish(site);
    int workers = threads_count(site->team);
    size_t workspace;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)read_problem(site, s); /* accepted before */
    s->allocator = *site->allocator;
    s->finish = (brgemm_finish){
        .activate = provider_activation(site), .lower = clamp.lower, .upper = clamp.upper};
    make_plan(site, s);
    s->packed = alloc_bytes(&s->allocator, (size_t)s->plan.packed_bytes);
    if (s->packed == NULL ||
        !checked_mul((size_t)s->plan.worker_bytes, (size_t)workers, &workspace)) {
        size_t wanted = (size_t)s->plan.packed_bytes;

        destroy(s);
        return alloc_failed(error, wanted);
    }
    step->state = s;
    step->kernel = s->plan.kernel->name;
    step->plan = conv_nhwc_way_name(s->plan.way);
    step->threads = (int)provider_least(s->plan.pieces, workers);
    step->predicted_cycles = s->plan.predicted_cost;
    step->packed_bytes = (size_t)s->plan.packed_bytes;
    step->workspace_bytes = (size_t)s->plan.shared_bytes + workspace;
    return SPRY_OK;
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    const product_state *s = state;
    conv_nhwc_packing packing = {.c = &s->plan,
                                 .pairs = bf16_select(),
                                 .weights = {.data = op_call_input(call, 1)->data,
                                             .filter_stride = s->b_column,
                                             .channel_stride = s->b_k,
                                             .place_count = 1},
                                 .packed = s->packed};
    conv_nhwc_call c = {.c = &s->plan,
                        .x = op_call_input(call, 0)->data,
                        .packed = s->packed,
                        .y_pitch = s->n * (int64_t)sizeof(float),
                        .finish = s->finish,
                        .workspace = workspace};
    tensor *y;
    spry_status status = provider_output(call, SPRY_DTYPE_F32, &y);

    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    c.y = y->data;
    c.finish.bias = provider_bias(call);
    c.finish.residual = provider_residual(call);
    threads_for(call->team, conv_nhwc_panels(&s->plan), 1, conv_nhwc_pack_panels, &packing);
    threads_for(call->team, s->plan.pieces, 1, conv_nhwc_run, &c);
    return SPRY_OK;
}

const provider provider_product = {
    "product", PROVIDER_FUSES_SUMS | PROVIDER_FUSES_ACTIVATIONS, accepts, create, run, destroy};
