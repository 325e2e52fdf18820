/* Keys that are filtered: KeyFilter between scores and softmax. */
#include <math.h>
#include <string.h>

#include "kernels/filter/filter.h"
#include "ops/key_filter.h"
#include "runtime/attention/match.h"

static bool is_constant(const graph *g, int32_t id, spry_dtype dtype, int64_t count)
{
    const tensor *t = graph_constant(g, id);

    return t != NULL && t->dtype == dtype && tensor_count(t) == count;
}

/* Scales above zero, thresholds in [-1, 1). */
static bool has_numbers(const graph *g, const graph_node *n, int64_t heads)
{
    const float *scale = graph_constant(g, n->inputs[KEY_FILTER_SCALE])->data;
    const double *alpha = graph_constant(g, n->inputs[KEY_FILTER_ALPHA])->data;

    for (int64_t h = 0; h < heads; h++) {
        if (!(scale[h] > 0.0f && isfinite(scale[h]))) {
            return false;
        }
    }
    for (int64_t i = 0; i < KEY_FILTER_ROUNDS * heads; i++) {
        if (!(alpha[i] >= -1.0 && alpha[i] < 1.0)) {
            return false;
        }
    }
    return true;
}

bool attention_is_filter(const graph *g, const graph_node *n)
{
    const graph_type *scores;
    int64_t heads;

    if (strcmp(n->domain, KEY_FILTER_DOMAIN) != 0 || strcmp(n->type, KEY_FILTER_OP) != 0 ||
        n->input_count != KEY_FILTER_PORTS) {
        return false;
    }
    scores = &g->values[n->inputs[KEY_FILTER_SCORES]].type;
    if (!graph_type_is_static(scores) || scores->dtype != SPRY_DTYPE_F32 || scores->rank != 4) {
        return false;
    }
    heads = scores->dims[1].size;
    return heads > 0 && is_constant(g, n->inputs[KEY_FILTER_SCALE], SPRY_DTYPE_F32, heads) &&
           is_constant(g, n->inputs[KEY_FILTER_ALPHA], SPRY_DTYPE_F64, KEY_FILTER_ROUNDS * heads) &&
           has_numbers(g, n, heads);
}

bool attention_filters(const graph *g, const graph_node *scores, const attention_match *m)
{
    const graph_node *filter = m->filter != GRAPH_NONE ? &g->nodes[m->filter] : NULL;

    return filter == NULL || (graph_node_is(scores, "MatMul") &&
                              scores->inputs[0] == filter->inputs[KEY_FILTER_QUERIES] &&
                              scores->inputs[1] == filter->inputs[KEY_FILTER_KEYS]);
}

bool attention_takes_filter(const graph *g, const attention_match *m, const attention_form *form)
{
    const attention_problem *p = &form->problem;
    const tensor *scale;
    int64_t heads;
    int64_t group;

    if (m->filter == GRAPH_NONE) {
        return true;
    }
    scale = graph_constant(g, g->nodes[m->filter].inputs[KEY_FILTER_SCALE]);
    heads = tensor_count(scale);
    /* Images may be counted among the heads. */
    if (p->size != p->value_size || p->heads % heads != 0 || !(m->k.factor > 0.0) ||
        !(m->q.factor > 0.0) || p->keys > INT32_MAX ||
        ((m->mask_kind == ATTENTION_KEEP || m->mask_kind == ATTENTION_HIDE) &&
         m->fill >= FILTER_HIDDEN)) {
        return false;
    }
    /* Neighbours that share keys share their codes. */
    group = p->heads / p->kv_heads;
    for (int64_t h = 0; h < heads; h++) {
        if (((const float *)scale->data)[h] != ((const float *)scale->data)[h / group * group]) {
            return false;
        }
    }
    return heads % group == 0;
}
