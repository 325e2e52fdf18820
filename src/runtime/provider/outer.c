/* Gemm whose first factor is turned and whose factors both vary, as gradients of weights are: a sum
 * of outer products of rows, f32 or bf16. */
#include "base/alloc.h"
#include "base/checked.h"
#include "kernels/conv/conv_gradient.h"
#include "runtime/fuse.h"
#include "runtime/precision.h"
#include "runtime/provider/providers.h"

enum { MOST_WIDTH = 64 };

typedef struct outer_state {
    spry_allocator allocator;
    conv_gradient plan;
} outer_state;

/* Rows are pixels of images one pixel high; in pairs, where their number lets them. */
static conv_gradient_problem problem_of(int64_t rows, int64_t m, int64_t n)
{
    int64_t width = 1;

    for (int64_t i = 2; i <= MOST_WIDTH; i += 2) {
        width = rows % i == 0 ? i : width;
    }
    width = width == 1 ? rows : width;
    return (conv_gradient_problem){.shape = {.channels = n,
                                             .in_h = rows / width,
                                             .in_w = width,
                                             .out_h = rows / width,
                                             .out_w = width,
                                             .kernel_h = 1,
                                             .kernel_w = 1,
                                             .stride_h = 1,
                                             .stride_w = 1,
                                             .dilation_h = 1,
                                             .dilation_w = 1},
                                   .batch = 1,
                                   .groups = 1,
                                   .filters = m};
}

static bool read_problem(const provider_site *site, conv_gradient_problem *p)
{
    const graph_type *a = provider_input_type(site, 0);
    const graph_type *b = provider_input_type(site, 1);

    if (!provider_is(site, "Gemm") || a == NULL || b == NULL ||
        provider_output_type(site, 0) == NULL || a->dtype != SPRY_DTYPE_F32 || a->rank != 2 ||
        b->rank != 2 || a->dims[0].size != b->dims[0].size || op_work_count(a) == 0 ||
        op_work_count(b) == 0) {
        return false;
    }
    *p = problem_of(a->dims[0].size, a->dims[1].size, b->dims[1].size);
    return graph_attribute_int(site->node, "transA", 0) != 0 &&
           graph_attribute_int(site->node, "transB", 0) == 0 &&
           graph_attribute_float(site->node, "alpha", 1.0f) == 1.0f &&
           (site->node->input_count <= FUSE_BIAS || site->node->inputs[FUSE_BIAS] == GRAPH_NONE);
}

static bool accepts(const provider_site *site)
{
    conv_gradient_problem p;

    return provider_constant(site, 0) == NULL && provider_constant(site, 1) == NULL &&
           read_problem(site, &p);
}

static void destroy(void *state)
{
    outer_state *s = state;
    spry_allocator allocator = s->allocator;

    alloc_release(&allocator, s, sizeof *s);
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    outer_state *s = alloc_zeroed(site->allocator, sizeof *s);
    int workers = threads_count(site->team);
    conv_gradient_problem problem;
    outer_type type;
    size_t own;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    (void)read_problem(site, &problem); /* accepted before */
    s->allocator = *site->allocator;
    type = precision_of_gradients(site, problem.shape.channels, problem.filters) == BRGEMM_BF16
               ? OUTER_BF16
               : OUTER_F32;
    conv_gradient_plan(&problem, outer_select(type), &s->plan);
    if (!checked_mul((size_t)s->plan.worker_bytes, (size_t)workers, &own)) {
        destroy(s);
        return alloc_failed(error, SIZE_MAX);
    }
    step->state = s;
    step->kernel = s->plan.kernel->name;
    step->plan = s->plan.in_place ? "in place" : "rows";
    step->threads = (int)provider_least(s->plan.pieces, workers);
    step->workspace_bytes = (size_t)s->plan.shared_bytes + own;
    return SPRY_OK;
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    const outer_state *s = state;
    conv_gradient_call c = {.c = &s->plan,
                            .x = op_call_input(call, 1)->data,
                            .dy = op_call_input(call, 0)->data,
                            .workspace = workspace};
    tensor *y;
    spry_status status = provider_output(call, SPRY_DTYPE_F32, &y);

    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    c.dw = y->data;
    threads_for(call->team, s->plan.pieces, 1, conv_gradient_run, &c);
    threads_for(call->team, s->plan.problem.filters, 1 + 16384 / s->plan.problem.shape.channels,
                conv_gradient_finish, &c);
    return SPRY_OK;
}

const provider provider_outer = {"outer", PROVIDER_FUSES_NOTHING, accepts, create, run, destroy};
