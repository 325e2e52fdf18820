/* Products with constant weights: MatMul and Gemm whose second factor is packed once, in f32 or
 * bf16. The first factor is read where it lies. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "kernels/brgemm/brgemm_product.h"
#include "runtime/cache/packed.h"
#include "runtime/precision.h"
#include "runtime/provider/providers.h"

typedef struct dense_state {
    spry_allocator allocator;
    brgemm_product_problem problem;
    brgemm_source weights; /* as the model holds them */
    brgemm_product product;
    brgemm_finish finish; /* all but bias and residual */
    packed_memory packed;
} dense_state;

/* ---- what is accepted ---- */

static bool read_matmul(const graph_type *a, const tensor *b, dense_state *s)
{
    s->problem.m = 1;
    for (int i = 0; i + 1 < a->rank; i++) {
        s->problem.m *= a->dims[i].size;
    }
    s->problem.k = b->shape[0];
    s->problem.n = b->shape[1];
    s->problem.a_row = s->problem.k;
    s->problem.a_k = 1;
    s->weights.k_stride = s->problem.n;
    s->weights.column_stride = 1;
    return a->rank >= 1;
}

static bool read_gemm(const provider_site *site, const graph_type *a, const tensor *b,
                      dense_state *s)
{
    bool turn_a = graph_attribute_int(site->node, "transA", 0) != 0;
    bool turn_b = graph_attribute_int(site->node, "transB", 0) != 0;

    if (a->rank != 2 || graph_attribute_float(site->node, "alpha", 1.0f) != 1.0f) {
        return false;
    }
    s->problem.m = a->dims[turn_a].size;
    s->problem.k = b->shape[turn_b];
    s->problem.n = b->shape[!turn_b];
    s->problem.a_row = turn_a ? 1 : s->problem.k;
    s->problem.a_k = turn_a ? s->problem.m : 1;
    s->weights.k_stride = turn_b ? 1 : s->problem.n;
    s->weights.column_stride = turn_b ? s->problem.k : 1;
    return true;
}

static bool read_problem(const provider_site *site, dense_state *s)
{
    const graph_type *a = provider_input_type(site, 0);
    const tensor *b = provider_constant(site, 1);
    gemm_f32_finish clamp = provider_finish(site);
    bool known;

    *s = (dense_state){.finish = {.activate = provider_activation(site),
                                  .lower = clamp.lower,
                                  .upper = clamp.upper}};
    if (a == NULL || provider_output_type(site, 0) == NULL || a->dtype != SPRY_DTYPE_F32 ||
        b == NULL || b->dtype != SPRY_DTYPE_F32 || b->rank != 2) {
        return false;
    }
    s->weights.data = b->data;
    if (provider_is(site, "MatMul")) {
        known = read_matmul(a, b, s);
    } else {
        known = provider_is(site, "Gemm") && read_gemm(site, a, b, s);
    }
    return known && provider_reads_bias(site, s->problem.n) && s->problem.m > 0 &&
           s->problem.n > 0 && s->problem.k > 0;
}

static bool accepts(const provider_site *site)
{
    dense_state s;

    return read_problem(site, &s);
}

/* ---- creation ---- */

static void destroy(void *state)
{
    dense_state *s = state;
    spry_allocator allocator = s->allocator;

    packed_release(&allocator, &s->packed);
    alloc_release(&allocator, s, sizeof *s);
}

static spry_status pack_weights(void *state, void *to, spry_error *error)
{
    const dense_state *s = state;

    (void)error;
    brgemm_pack(s->product.kernel, &s->weights, 1, s->problem.k, s->problem.n, to);
    return SPRY_OK;
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    dense_state *s = alloc_zeroed(site->allocator, sizeof *s);
    const brgemm_kernel *kernel;
    spry_status status;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)read_problem(site, s); /* accepted before */
    s->allocator = *site->allocator;
    kernel = brgemm_select(precision_of_products(site, s->problem.k, s->problem.n));
    brgemm_product_plan(&s->problem, kernel, threads_count(site->team), &s->product);
    status = packed_make(site, kernel->name, (size_t)s->product.packed_bytes, pack_weights, s,
                         &s->packed, error);
    if (status != SPRY_OK) {
        alloc_release(site->allocator, s, sizeof *s);
        return status;
    }
    step->state = s;
    step->kernel = kernel->name;
    step->threads = (int)provider_least(s->product.pieces, threads_count(site->team));
    step->packed_bytes = (size_t)s->product.packed_bytes;
    step->spent = 1U << 1;
    step->workspace_bytes = (size_t)s->product.worker_bytes * (size_t)threads_count(site->team);
    return SPRY_OK;
}

/* ---- running ---- */

static spry_status run(void *state, op_call *call, void *workspace)
{
    const dense_state *s = state;
    brgemm_product_call product = {.p = &s->product,
                                   .a = op_call_input(call, 0)->data,
                                   .packed = s->packed.data,
                                   .finish = s->finish,
                                   .workspace = workspace};
    tensor *c;
    spry_status status = provider_output(call, SPRY_DTYPE_F32, &c);

    if (status != SPRY_OK || c == NULL) {
        return status;
    }
    product.c = c->data;
    product.finish.bias = provider_bias(call);
    product.finish.residual = provider_residual(call);
    threads_for(call->team, s->product.pieces, 1, brgemm_product_run, &product);
    return SPRY_OK;
}

const provider provider_dense = {
    "dense", PROVIDER_FUSES_SUMS | PROVIDER_FUSES_ACTIVATIONS, accepts, create, run, destroy};
