/* f32 convolution of channels-last images by kernels of 3 x 3 with stride 1 (constant weights), by
 * Winograd's method: where a model of both expects it to be faster than the direct sum, and the
 * weights do not make it much less accurate. */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "kernels/conv/conv_nhwc.h"
#include "kernels/conv/conv_winograd.h"
#include "ops/sliding_window.h"
#include "runtime/cache/packed.h"
#include "runtime/layout/layout.h"
#include "runtime/precision.h"
#include "runtime/provider/providers.h"
#include "runtime/provider/winograd_weights.h"

typedef struct conv_state {
    spry_allocator allocator;
    conv_winograd plan;
    packed_memory packed; /* weights, and behind them a double: their relative error */
    const float *bias;    /* NULL: none */
    gemm_f32_finish clamp;
    brgemm_activation *activate; /* or NULL */
    const provider *stand_in;    /* not NULL: weights are not fit, this one does the work */
    void *stand_in_state;
} conv_state;

/* The problem; false when it is none of ours. */
static bool read_problem(const provider_site *site, conv_winograd_problem *problem)
{
    const graph_type *x = provider_input_type(site, 0);
    const graph_type *weights = provider_input_type(site, 1);
    const graph_type *out = provider_output_type(site, 0);
    int64_t shape_of_weights[4];
    window w;

    if (!provider_is(site, "Conv") || !layout_is_nhwc(site->node) ||
        layout_reads_planar(site->node) || x == NULL || weights == NULL || out == NULL ||
        x->dtype != SPRY_DTYPE_F32 || x->rank != 4 || provider_constant(site, 1) == NULL ||
        op_work_count(out) == 0 || op_work_count(weights) == 0) {
        return false;
    }
    if (site->node->input_count > 2 && site->node->inputs[2] != GRAPH_NONE &&
        provider_constant(site, 2) == NULL) {
        return false;
    }
    for (int i = 0; i < 4; i++) {
        shape_of_weights[i] = weights->dims[i].size;
    }
    if (shape_of_weights[1] != x->dims[3].size || !provider_window(site, x, shape_of_weights, &w)) {
        return false;
    }
    *problem = (conv_winograd_problem){.shape = provider_plane_shape(&w, shape_of_weights[1]),
                                       .batch = x->dims[0].size,
                                       .filters = shape_of_weights[0]};
    return conv_winograd_can(&problem->shape);
}

/* Cycles that the direct sum is expected to take on one core, in bf16 where that is asked for: with
 * fewer multiplications f32 may still be faster, and it is nearer to the truth. */
static double direct_cost(const provider_site *site, const conv_winograd_problem *problem)
{
    brgemm_type type = precision_of_products(
        site, problem->shape.channels * problem->shape.kernel_h * problem->shape.kernel_w,
        problem->filters);
    conv_nhwc_problem direct = {.shape = problem->shape,
                                .batch = problem->batch,
                                .groups = 1,
                                .filters = problem->filters,
                                .type = type,
                                .result_size = sizeof(float)};
    conv_nhwc plan;

    conv_nhwc_plan(&direct, brgemm_select(type), CONV_NHWC_AUTO, 1, &plan);
    return plan.predicted_cost;
}

/* The sizes of tiles that are expected to beat the direct sum, best first; returns how many. The
 * choice does not depend on the number of threads. */
static int choose_sizes(const provider_site *site, const conv_winograd_problem *problem,
                        int sizes[2])
{
    const brgemm_kernel *kernel = brgemm_select(BRGEMM_F32);
    double direct = direct_cost(site, problem);
    conv_winograd small, large;
    int count = 0;

    conv_winograd_plan(problem, kernel, conv_winograd_select(), 2, 1, &small);
    conv_winograd_plan(problem, kernel, conv_winograd_select(), 4, 1, &large);
    if (large.predicted_cost < direct) {
        sizes[count++] = 4;
    }
    if (small.predicted_cost < direct) {
        sizes[count++] = 2;
    }
    if (count == 2 && small.predicted_cost < large.predicted_cost) {
        sizes[0] = 2;
        sizes[1] = 4;
    }
    return count;
}

static bool accepts(const provider_site *site)
{
    conv_winograd_problem problem;
    int sizes[2];

    return read_problem(site, &problem) && provider_find_after(site, &provider_conv_winograd) &&
           choose_sizes(site, &problem, sizes) > 0;
}

/* Plans and packs the best size that is accurate enough, else hands over to the next provider. */
static spry_status make(const provider_site *site, conv_state *s, provider_step *step,
                        spry_error *error)
{
    static const char *const names[2] = {"winograd_f2", "winograd_f4"};
    int workers = threads_count(site->team);
    conv_winograd_problem problem = {0};
    int sizes[2];
    int count;

    (void)read_problem(site, &problem); /* accepted before */
    count = choose_sizes(site, &problem, sizes);
    for (int i = 0; i < count; i++) {
        spry_status status;

        conv_winograd_plan(&problem, brgemm_select(BRGEMM_F32), conv_winograd_select(), sizes[i],
                           workers, &s->plan);
        status = winograd_weights_make(site, names[sizes[i] == 4], &s->plan,
                                       provider_constant(site, 1)->data, &s->packed, error);
        if (status != SPRY_OK) {
            return status;
        }
        if (s->packed.data != NULL) {
            step->kernel = s->plan.kernel->name;
            step->plan = names[sizes[i] == 4];
            step->threads = (int)provider_least(s->plan.pieces, workers);
            step->predicted_cycles = s->plan.team_cost;
            step->packed_bytes = (size_t)s->plan.packed_bytes;
            step->spent = 1U << 1;
            step->workspace_bytes = (size_t)(s->plan.shared_bytes + workers * s->plan.worker_bytes);
            return SPRY_OK;
        }
    }
    s->stand_in = provider_find_after(site, &provider_conv_winograd);
    return s->stand_in->create(site, step, error);
}

static spry_status create(const provider_site *site, provider_step *step, spry_error *error)
{
    const tensor *bias = provider_constant(site, 2);
    conv_state *s = alloc_zeroed(site->allocator, sizeof *s);
    spry_status status;

    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    s->allocator = *site->allocator;
    s->bias = bias != NULL ? bias->data : NULL;
    s->clamp = provider_finish(site);
    s->activate = provider_activation(site);
    status = make(site, s, step, error);
    if (status != SPRY_OK) {
        alloc_release(site->allocator, s, sizeof *s);
        return status;
    }
    s->stand_in_state = step->state;
    step->state = s;
    return SPRY_OK;
}

static void destroy(void *state)
{
    conv_state *s = state;
    spry_allocator allocator = s->allocator;

    if (s->stand_in != NULL) {
        s->stand_in->destroy(s->stand_in_state);
    }
    packed_release(&allocator, &s->packed);
    alloc_release(&allocator, s, sizeof *s);
}

static spry_status run(void *state, op_call *call, void *workspace)
{
    const conv_state *s = state;
    const conv_winograd_problem *p = &s->plan.problem;
    int64_t shape[4] = {p->batch, p->shape.out_h, p->shape.out_w, p->filters};
    conv_winograd_call r = {.c = &s->plan,
                            .x = op_call_input(call, 0)->data,
                            .packed = s->packed.data,
                            .y_pitch = p->filters * (int64_t)sizeof(float),
                            .finish = {.bias = s->bias,
                                       .residual = provider_residual(call),
                                       .activate = s->activate,
                                       .lower = s->clamp.lower,
                                       .upper = s->clamp.upper},
                            .workspace = workspace};
    tensor *y;
    spry_status status;

    if (s->stand_in != NULL) {
        return s->stand_in->run(s->stand_in_state, call, workspace);
    }
    status = op_call_output(call, 0, SPRY_DTYPE_F32, 4, shape, &y);
    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    r.y = y->data;
    if (s->plan.shared) {
        threads_for(call->team, s->plan.gathers, 1, conv_winograd_gather, &r);
    }
    threads_for(call->team, s->plan.pieces, 1, conv_winograd_run, &r);
    return SPRY_OK;
}

const provider provider_conv_winograd = {
    "conv_winograd", PROVIDER_FUSES_SUMS | PROVIDER_FUSES_ACTIVATIONS, accepts, create, run,
    destroy};
