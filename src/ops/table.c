/* The list of operator families, and the search for the definition that a node means. */
#include <string.h>

#include "ops/families.h"
#include "ops/op.h"

/* One line per family, in alphabetical order. */
/* clang-format off */
static const op *const tables[] = {
    ops_arithmetic,
    ops_attention,
    ops_attention_fused,
    ops_cast,
    ops_compare,
    ops_control,
    ops_conv,
    ops_conv_integer,
    ops_conv_transpose,
    ops_cumulative,
    ops_deform_conv,
    ops_einsum,
    ops_fill,
    ops_gather,
    ops_gradient,
    ops_gradient_conv,
    ops_gradient_function,
    ops_gradient_norm,
    ops_gradient_pool,
    ops_gradient_squares,
    ops_gumbel,
    ops_layer_norm,
    ops_layout,
    ops_loss,
    ops_matmul,
    ops_nbits,
    ops_norm,
    ops_optimizer,
    ops_pool,
    ops_power,
    ops_qlinear,
    ops_quantize,
    ops_random,
    ops_reduce,
    ops_region,
    ops_resize,
    ops_rnn,
    ops_rnn_gradient,
    ops_sample,
    ops_scatter,
    ops_select,
    ops_sequence,
    ops_shape,
    ops_signal,
    ops_skim,
    ops_softmax,
    ops_space,
    ops_text,
    ops_top_k,
    ops_head_policy,
    ops_key_filter,
    ops_twin,
    ops_unary,
    ops_unique,
    ops_window,
    NULL,
};
/* clang-format on */

const op *const *op_tables(void)
{
    return tables;
}

const op *op_find(const char *domain, const char *name, int64_t opset)
{
    const op *best = NULL;

    for (const op *const *table = tables; *table != NULL; table++) {
        for (const op *o = *table; o->name != NULL; o++) {
            if (o->since <= opset && (best == NULL || o->since > best->since) &&
                strcmp(o->name, name) == 0 && strcmp(o->domain, domain) == 0) {
                best = o;
            }
        }
    }
    return best;
}

const op *op_of_node(const graph_node *node)
{
    return node->op != NULL ? node->op : op_find(node->domain, node->type, node->opset);
}
