/* Walking from a node to what follows it. */
#include "runtime/chain.h"

#include <math.h>

#include "runtime/fuse.h"

int32_t chain_input(const graph_node *n, int32_t port)
{
    return port < n->input_count ? n->inputs[port] : GRAPH_NONE;
}

int32_t chain_only_user(const graph *g, const graph_uses *uses, int32_t id)
{
    const graph_node *n;
    int32_t user;

    if (g->values[id].is_output || uses->offsets[id + 1] - uses->offsets[id] != 1) {
        return GRAPH_NONE;
    }
    user = uses->users[uses->offsets[id]];
    n = &g->nodes[user];
    return n->removed || n->output_count != 1 || n->outputs[0] == GRAPH_NONE ? GRAPH_NONE : user;
}

static bool read_bound(const graph *g, const graph_node *clip, int32_t port, const char *name,
                       float fallback, float *bound)
{
    int32_t id = chain_input(clip, port);
    const tensor *t;

    *bound = graph_attribute_float(clip, name, fallback);
    if (id == GRAPH_NONE) {
        return true;
    }
    t = graph_constant(g, id);
    if (t == NULL || t->dtype != SPRY_DTYPE_F32 || tensor_count(t) != 1) {
        return false;
    }
    *bound = *(const float *)t->data;
    return true;
}

bool chain_take_clamp(const graph *g, const graph_node *n, chain_end *end)
{
    float lower = 0.0f;
    float upper = INFINITY;

    if (!graph_node_is(n, "Relu") && (!graph_node_is(n, "Clip") || n->inputs[0] != end->result ||
                                      !read_bound(g, n, 1, "min", -INFINITY, &lower) ||
                                      !read_bound(g, n, 2, "max", INFINITY, &upper))) {
        return false;
    }
    end->lower = lower;
    end->upper = upper;
    end->is_clamped = true;
    return true;
}

spry_status chain_set_clamp(graph *g, int32_t node, const chain_end *end, spry_error *error)
{
    spry_status status = graph_set_float(g, node, FUSE_LOWER, end->lower, error);

    return status == SPRY_OK ? graph_set_float(g, node, FUSE_UPPER, end->upper, error) : status;
}

spry_status chain_refuse_to_run(op_call *call)
{
    return op_call_fail(call, SPRY_INTERNAL, "a node of the plan lost its provider");
}

void chain_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    const op *plain = op_find("", w->node->type, w->node->opset);

    plain = plain != NULL ? plain : op_find(OP_OWN_DOMAIN, w->node->type, 1);
    if (plain != NULL && plain->cost != NULL) {
        plain->cost(w, macs, flops);
    }
}
