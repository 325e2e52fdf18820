/* The standard operator Attention as a match. */
#include <math.h>

#include "model/match.h"
#include "runtime/attention/match.h"
#include "runtime/chain.h"

/* Heads of [batch, heads, tokens, size], or of [batch, tokens, heads * size]. */
static bool read_heads(view *v, int64_t heads)
{
    const int64_t order[4] = {0, 2, 1, 3};
    int64_t dims[4] = {v->dims[0], v->dims[1], heads, 0};

    if (v->rank == 4) {
        return true;
    }
    if (v->rank != 3 || heads < 1 || v->dims[2] % heads != 0) {
        return false;
    }
    dims[3] = v->dims[2] / heads;
    return view_reshape(v, 4, dims) && view_transpose(v, order);
}

/* Repeats key heads for the query heads that share them. */
static bool share_heads(view *v, int64_t heads)
{
    int64_t own = v->dims[1];
    int64_t apart[5] = {v->dims[0], own, 1, v->dims[2], v->dims[3]};
    int64_t shared[4] = {v->dims[0], heads, v->dims[2], v->dims[3]};

    if (own == heads) {
        return true;
    }
    if (own < 1 || heads % own != 0 || !view_reshape(v, 5, apart)) {
        return false;
    }
    apart[2] = heads / own;
    return view_expand(v, 5, apart) && view_reshape(v, 4, shared);
}

static bool is_omitted(const graph_node *n, int32_t port)
{
    return chain_input(n, port) == GRAPH_NONE;
}

static bool is_unwanted(const graph *g, const graph_uses *uses, const graph_node *n, int32_t port)
{
    int32_t id = port < n->output_count ? n->outputs[port] : GRAPH_NONE;

    return id == GRAPH_NONE ||
           (!g->values[id].is_output && uses->offsets[id + 1] == uses->offsets[id]);
}

static bool read_operator_mask(const graph *g, const graph_node *n, attention_match *m)
{
    int32_t mask = chain_input(n, 3);
    bool is_bool = mask != GRAPH_NONE && g->values[mask].type.dtype == SPRY_DTYPE_BOOL;
    const int64_t dims[4] = {m->q.dims[0], m->q.dims[1], m->q.dims[2], m->k.dims[2]};

    if (mask == GRAPH_NONE) {
        return true;
    }
    m->mask_kind = is_bool ? ATTENTION_KEEP : ATTENTION_ADD;
    if ((!is_bool && !match_is_f32(g, mask)) || !view_trace(g, mask, false, &m->mask)) {
        return false;
    }
    /* A mask that is too short hides the rest; the reference kernel does that. */
    return m->mask.rank >= 1 && m->mask.dims[m->mask.rank - 1] == dims[3] &&
           view_expand(&m->mask, 4, dims);
}

bool attention_match_operator(const graph *g, const graph_uses *uses, int32_t node,
                              attention_match *m)
{
    const graph_node *n = &g->nodes[node];
    int64_t q_heads = graph_attribute_int(n, "q_num_heads", 0);
    int64_t kv_heads = graph_attribute_int(n, "kv_num_heads", 0);

    *m = (attention_match){
        .fill = -INFINITY, .node = node, .policy = GRAPH_NONE, .filter = GRAPH_NONE};
    if (n->removed || !graph_node_is(n, "Attention") || !is_omitted(n, 4) || !is_omitted(n, 5) ||
        !is_omitted(n, 6) || !is_unwanted(g, uses, n, 1) || !is_unwanted(g, uses, n, 2) ||
        !is_unwanted(g, uses, n, 3) || graph_attribute_float(n, "softcap", 0.0f) != 0.0f ||
        !match_is_f32(g, n->inputs[0]) || !match_is_f32(g, n->inputs[1]) ||
        !match_is_f32(g, n->inputs[2]) || !match_is_f32(g, n->outputs[0]) ||
        !view_trace(g, n->inputs[0], true, &m->q) || !view_trace(g, n->inputs[1], true, &m->k) ||
        !view_trace(g, n->inputs[2], false, &m->v)) {
        return false;
    }
    m->result = n->outputs[0];
    m->is_causal = graph_attribute_int(n, "is_causal", 0) != 0;
    if (!view_of_value(g, m->result, &m->out) || !read_heads(&m->out, q_heads) ||
        !read_heads(&m->q, q_heads) || !read_heads(&m->k, kv_heads) ||
        !read_heads(&m->v, kv_heads) || !share_heads(&m->k, m->q.dims[1]) ||
        !share_heads(&m->v, m->q.dims[1])) {
        return false;
    }
    m->scale = graph_attribute_find(n, "scale") != NULL
                   ? (double)graph_attribute_float(n, "scale", 1.0f)
                   : 1.0 / sqrt((double)m->q.dims[3]);
    m->scale *= m->q.factor * m->k.factor;
    return read_operator_mask(g, n, m);
}
