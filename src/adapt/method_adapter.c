/* Adapters: a bottleneck after each MLP, within its residual: m + U gelu(D m + d) + u. U and u
 * start at zero, D does not: were both zero, no gradient would reach either. */
#include "adapt/build.h"
#include "adapt/method.h"
#include "model/match.h"

static const double DOWN_DEVIATION = 0.02;

static spry_status add_adapter(rewrite *job, const structure_mlp *mlp, spry_error *error)
{
    const structure_linear *l = &job->found.linears[mlp->down];
    const graph_type *type = &job->s->values[mlp->around.branch].type;
    int64_t width = l->outputs;
    int64_t rank = job->options.rank;
    /* Behind a factor per channel, unless features are moved from the last axis before that. */
    int32_t m = type->dims[type->rank - 1].size == width ? mlp->around.branch : l->output;
    int32_t first_new = job->g->node_count;
    build b = build_beside(job, l->product, error);
    int32_t down =
        build_normal(&b, "adapter_down_weight", 2, (const int64_t[]){width, rank}, DOWN_DEVIATION);
    int32_t down_bias = build_trained_zeros(&b, "adapter_down_bias", 1, &rank);
    int32_t up = build_trained_zeros(&b, "adapter_up_weight", 2, (const int64_t[]){rank, width});
    int32_t up_bias = build_trained_zeros(&b, "adapter_up_bias", 1, &width);
    int32_t inner = build_node(&b, "MatMul", "adapter_down", 2, (const int32_t[]){m, down});
    int32_t outer, sum;

    inner = build_node(&b, "Add", "adapter_down_sum", 2, (const int32_t[]){inner, down_bias});
    inner = build_gelu(&b, "adapter_gelu", inner);
    outer = build_node(&b, "MatMul", "adapter_up", 2, (const int32_t[]){inner, up});
    outer = build_node(&b, "Add", "adapter_up_sum", 2, (const int32_t[]){outer, up_bias});
    sum = build_node(&b, "Add", "adapter_sum", 2, (const int32_t[]){m, outer});
    build_redirect(&b, m, sum, first_new);
    return b.status == SPRY_OK ? rewrite_mention(job, l->product, error) : b.status;
}

static spry_status apply(rewrite *job, spry_error *error)
{
    spry_status status = SPRY_OK;

    if (job->found.mlp_count == 0) {
        return spry_fail(error, SPRY_UNSUPPORTED, job->m->path,
                         "use lora with --target linear or conv, bias, or full",
                         "no MLP with a residual: a linear operator, an activation and a second "
                         "linear operator whose output is added to something");
    }
    for (int32_t i = 0; status == SPRY_OK && i < job->found.mlp_count; i++) {
        status = add_adapter(job, &job->found.mlps[i], error);
    }
    return status;
}

const adapt_method adapt_method_adapter = {
    .facts = {.name = "adapter", .summary = "a bottleneck after each MLP"},
    .apply = apply,
};
