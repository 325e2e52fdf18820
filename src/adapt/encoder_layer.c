/* From attention outwards: products, sums, norms. */
#include "adapt/encoder_layer.h"

#include <math.h>

#include "base/alloc.h"
#include "model/match.h"
#include "model/pass.h"
#include "runtime/attention/match.h"

typedef struct search {
    const rewrite *job;
    graph *v; /* of job->s, with norms and activations as one operator each */
    const attention_match *m;
    const char *missing;
} search;

/* ---- norms and activations ---- */

static spry_status make_view(rewrite *job, graph **v, spry_error *error)
{
    pass_context context = {.m = job->m};
    spry_status status = graph_copy(job->s, &job->memory, NULL, v, error);

    if (status == SPRY_OK) {
        (*v)->source = job->m;
        status = pass_layer_norm(*v, &context, error);
    }
    return status == SPRY_OK ? pass_activation(*v, &context, error) : status;
}

static bool is_row(const graph *g, int32_t id, int64_t count)
{
    const tensor *t = id != GRAPH_NONE ? graph_constant(g, id) : NULL;

    return t != NULL && t->dtype == SPRY_DTYPE_F32 && t->rank == 1 && t->shape[0] == count;
}

/* The LayerNormalization of `sum` over rows of `size`; false where there is none. */
static bool find_norm(const search *s, int32_t sum, int64_t size, encoder_pair *pair,
                      int32_t *result, double *epsilon)
{
    for (int32_t i = 0; i < s->v->node_count; i++) {
        const graph_node *n = &s->v->nodes[i];
        int rank = s->v->values[sum].type.rank;
        int64_t axis;

        if (n->removed || !graph_node_is(n, "LayerNormalization") || n->input_count != 3 ||
            n->inputs[0] != sum) {
            continue;
        }
        axis = graph_attribute_int(n, "axis", -1);
        *pair = (encoder_pair){n->inputs[1], n->inputs[2]};
        *result = n->outputs[0];
        *epsilon = graph_attribute_float(n, "epsilon", 1e-5f);
        return (axis == -1 || axis == rank - 1) && is_row(s->v, pair->weight, size) &&
               is_row(s->v, pair->bias, size);
    }
    return false;
}

static bool is_gelu(const search *s, int32_t from, int32_t to)
{
    int32_t producer = s->v->values[to].producer;
    const graph_node *n = producer != GRAPH_NONE ? &s->v->nodes[producer] : NULL;

    return n != NULL && graph_node_is(n, "Gelu") && n->inputs[0] == from &&
           graph_attribute_find(n, "approximate") == NULL;
}

/* ---- products ---- */

/* The product that is linear `index`: a MatMul with a bias. */
static bool find_pair(const search *s, int32_t index, int64_t inputs, int64_t outputs,
                      encoder_pair *pair)
{
    const rewrite *job = s->job;
    const structure_linear *l = index != GRAPH_NONE ? &job->found.linears[index] : NULL;
    const graph_node *n;

    if (l == NULL || l->is_conv || l->is_transposed || !l->is_plain || l->inputs != inputs ||
        l->outputs != outputs || !is_row(job->s, l->bias, outputs)) {
        return false;
    }
    n = &job->g->nodes[job->g->values[l->product].producer];
    if (!graph_node_is(n, "MatMul")) {
        return false;
    }
    *pair = (encoder_pair){n->inputs[1], l->bias};
    return true;
}

static const structure_linear *linear(const search *s, int32_t index)
{
    return &s->job->found.linears[index];
}

static bool take_heads(search *s, const structure_attention *a, encoder_layer *l)
{
    const view *q = &s->m->q;

    s->missing = "queries, keys and values are not three products of one input with biases";
    if (a->q.linear == GRAPH_NONE || a->k.linear == GRAPH_NONE || a->v.linear == GRAPH_NONE) {
        return false;
    }
    l->x = linear(s, a->q.linear)->input;
    l->hidden = linear(s, a->q.linear)->outputs;
    if (linear(s, a->k.linear)->input != l->x || linear(s, a->v.linear)->input != l->x ||
        !find_pair(s, a->q.linear, l->hidden, l->hidden, &l->q) ||
        !find_pair(s, a->k.linear, l->hidden, l->hidden, &l->k) ||
        !find_pair(s, a->v.linear, l->hidden, l->hidden, &l->v)) {
        return false;
    }
    s->missing = "the heads are not equal parts of the queries";
    l->heads = q->rank >= 1 && q->dims[q->rank - 1] > 0 ? l->hidden / q->dims[q->rank - 1] : 0;
    l->scale = s->m->scale * q->factor * s->m->k.factor;
    return l->heads > 0 && l->heads * q->dims[q->rank - 1] == l->hidden && !s->m->is_causal &&
           isfinite(l->scale);
}

/* One number per key. */
static bool take_mask(search *s, encoder_layer *l)
{
    const view *mask = &s->m->mask;
    const graph_type *type;

    s->missing = "the attention has no mask that is added to all scores of a key";
    if (s->m->mask_kind != ATTENTION_ADD || mask->factor != 1.0 || mask->offset != 0) {
        return false;
    }
    l->mask = mask->base;
    type = &s->job->s->values[l->mask].type;
    for (int i = 0; i + 1 < type->rank; i++) {
        if (type->dims[i].size != 1) {
            return false;
        }
    }
    return type->rank >= 2 && type->rank <= 4 && mask->rank >= 1 &&
           type->dims[type->rank - 1].size == mask->dims[mask->rank - 1] &&
           s->job->g->values[l->mask].constant == NULL;
}

static bool take_mlp(search *s, int32_t from, encoder_layer *l, int32_t *sum)
{
    const structure *found = &s->job->found;

    s->missing = "after the attention comes no Gelu between two products with biases, added to its "
                 "input";
    for (int32_t i = 0; i < found->mlp_count; i++) {
        const structure_mlp *m = &found->mlps[i];
        const structure_linear *up = linear(s, m->up);
        const structure_linear *down = linear(s, m->down);

        if (m->around.stream == from && up->input == from) {
            l->inner = up->outputs;
            *sum = m->around.sum;
            return find_pair(s, m->up, l->hidden, l->inner, &l->up) &&
                   find_pair(s, m->down, l->inner, l->hidden, &l->down) &&
                   is_gelu(s, up->output, down->input);
        }
    }
    return false;
}

static bool take_layer(search *s, const structure_attention *a, encoder_layer *l)
{
    int32_t between;
    int32_t sum;
    double epsilon;

    if (!take_heads(s, a, l) || !take_mask(s, l)) {
        return false;
    }
    s->missing = "the attention's result is not projected, added to its input and normalised";
    if (a->projection == GRAPH_NONE || a->around.stream != l->x ||
        !find_pair(s, a->projection, l->hidden, l->hidden, &l->out) ||
        !find_norm(s, a->around.sum, l->hidden, &l->norm1, &between, &l->epsilon)) {
        return false;
    }
    if (!take_mlp(s, between, l, &sum)) {
        return false;
    }
    s->missing = "a layer does not end with a norm like the one in its middle";
    return find_norm(s, sum, l->hidden, &l->norm2, &l->y, &epsilon) && epsilon == l->epsilon;
}

spry_status encoder_layers_find(rewrite *job, encoder_layers *found, spry_error *error)
{
    attention_match *m = arena_bytes(&job->memory, sizeof *m);
    search s = {.job = job, .m = m};
    int32_t next = 0;
    spry_status status = make_view(job, &s.v, error);

    *found =
        (encoder_layers){.items = arena_array(&job->memory, (size_t)job->found.attention_count + 1,
                                              sizeof *found->items)};
    if (status != SPRY_OK) {
        return status;
    }
    if (m == NULL || found->items == NULL) {
        return alloc_failed(error, sizeof *m);
    }
    /* structure_find has listed the same attentions in the same order. */
    for (int32_t i = 0; i < job->s->node_count && next < job->found.attention_count; i++) {
        if (job->s->nodes[i].removed || !(attention_match_softmax(job->s, &job->uses, i, m) ||
                                          attention_match_operator(job->s, &job->uses, i, m))) {
            continue;
        }
        if (take_layer(&s, &job->found.attentions[next++], &found->items[found->count]) &&
            (found->count == 0 ||
             found->items[found->count].x == found->items[found->count - 1].y)) {
            found->count++;
        } else {
            found->missing = found->missing == NULL ? s.missing : found->missing;
        }
    }
    return SPRY_OK;
}
