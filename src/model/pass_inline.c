/* Calls of model-local functions become their bodies. A function may call functions, so calls are
 * expanded in rounds; LIMIT_FUNCTION_DEPTH rounds without an end mean a circle. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "model/graph_walk.h"
#include "model/head_policy_function.h"
#include "model/key_filter_function.h"
#include "model/pass.h"
#include "model/skim_function.h"
#include "model/twin_function.h"
#include "ops/op.h"

typedef struct inliner {
    const model *m;
    pass_context *c;
    spry_error *error;
    int64_t nodes; /* made so far, in bodies of bodies too: what a hostile file can multiply */
    int64_t most;
} inliner;

/* One call under expansion. */
typedef struct call_site {
    inliner *x;
    graph *g;
    graph_node call; /* a copy: the node array moves */
    const char *prefix;
    const model_function *f;
    int32_t *map; /* value of the body -> value of g */
} call_site;

/* Is it one that Spry has an operator for? */
static bool is_known(const model_function *f)
{
    return twin_function_is(f) || skim_function_is(f) || head_policy_function_is(f) ||
           key_filter_function_is(f);
}

/* The function that the node calls, if it is to be expanded: not one that Spry has an operator for,
 * unless every operator is to run as written. */
static const model_function *called(const inliner *x, const graph_node *n)
{
    const model_function *f = n->removed || x->m == NULL
                                  ? NULL
                                  : model_find_function(x->m, n->domain, n->type, n->overload);

    return f != NULL && !x->c->inline_all && is_known(f) ? NULL : f;
}

static int64_t count_nodes(const graph *g)
{
    int64_t total = g->node_count;

    for (int32_t i = 0; i < g->node_count; i++) {
        for (int32_t k = 0; k < g->nodes[i].attribute_count; k++) {
            int64_t count;
            graph *const *bodies = graph_attribute_subgraphs(&g->nodes[i].attributes[k], &count);

            for (int64_t b = 0; b < count; b++) {
                total += count_nodes(bodies[b]);
            }
        }
    }
    return total;
}

/* ---- attributes ---- */

static const graph_attribute *find_in(const graph_attribute *attributes, int32_t count,
                                      const char *name)
{
    for (int32_t i = 0; i < count; i++) {
        if (strcmp(attributes[i].name, name) == 0) {
            return &attributes[i];
        }
    }
    return NULL;
}

/* Replaces references to the function's attributes by what the call (or the default) gives; those
 * that neither gives are left out. */
static void bind_attributes(const call_site *s, graph_node *n)
{
    int32_t kept = 0;

    for (int32_t i = 0; i < n->attribute_count; i++) {
        graph_attribute *a = &n->attributes[i];

        if (a->ref_name != NULL) {
            const graph_attribute *given =
                find_in(s->call.attributes, s->call.attribute_count, a->ref_name);
            const char *name = a->name;

            if (given == NULL) {
                given = find_in(s->f->defaults, s->f->default_count, a->ref_name);
            }
            if (given == NULL) {
                continue;
            }
            *a = *given;
            a->name = name;
        }
        n->attributes[kept++] = *a;
    }
    n->attribute_count = kept;
}

/* Binds the attributes of nodes in a copied subgraph, and below. */
static void bind_subgraph(const call_site *s, graph *body)
{
    for (int32_t i = 0; i < body->node_count; i++) {
        graph_node *n = &body->nodes[i];

        bind_attributes(s, n);
        for (int32_t k = 0; k < n->attribute_count; k++) {
            int64_t count;
            graph *const *inner = graph_attribute_subgraphs(&n->attributes[k], &count);

            for (int64_t b = 0; b < count; b++) {
                bind_subgraph(s, inner[b]);
            }
        }
    }
}

/* A captured input that the call omits is omitted inside as well. */
static void omit_value(graph *body, int32_t id)
{
    for (int32_t i = 0; i < body->node_count; i++) {
        for (int32_t k = 0; k < body->nodes[i].input_count; k++) {
            if (body->nodes[i].inputs[k] == id) {
                body->nodes[i].inputs[k] = GRAPH_NONE;
            }
        }
    }
}

static void remap_captures(const call_site *s, graph *body)
{
    for (int32_t i = 0; i < body->value_count; i++) {
        graph_value *v = &body->values[i];

        if (v->outer != GRAPH_NONE) {
            v->outer = s->map[v->outer];
            if (v->outer == GRAPH_NONE) {
                omit_value(body, i);
            }
        }
    }
}

static spry_status copy_attributes(const call_site *s, const graph_node *source, graph_node *n)
{
    spry_status status = graph_copy_attributes(s->g, source->attributes, source->attribute_count,
                                               &n->attributes, s->x->error);

    if (status != SPRY_OK) {
        return status;
    }
    n->attribute_count = source->attribute_count;
    for (int32_t i = 0; i < n->attribute_count; i++) {
        int64_t count;
        graph *const *bodies = graph_attribute_subgraphs(&n->attributes[i], &count);

        for (int64_t b = 0; b < count; b++) {
            remap_captures(s, bodies[b]);
            bind_subgraph(s, bodies[b]);
        }
    }
    bind_attributes(s, n);
    return SPRY_OK;
}

/* ---- values ---- */

static spry_status join_name(const call_site *s, const char *name, const char **joined)
{
    char text[LIMIT_NAME_BYTES + 1];

    (void)snprintf(text, sizeof text, "%s/%s", s->prefix, name);
    *joined = graph_text(s->g, text);
    return *joined != NULL ? SPRY_OK : alloc_failed(s->x->error, sizeof text);
}

/* A fresh value of g for value `id` of the body. */
static spry_status add_inner_value(const call_site *s, int32_t id)
{
    const graph_value *source = &s->f->body->values[id];
    const char *name;
    spry_status status = join_name(s, source->name, &name);

    if (status == SPRY_OK) {
        status = graph_add_value(s->g, name, &s->map[id], s->x->error);
    }
    if (status == SPRY_OK) {
        s->g->values[s->map[id]].type = source->type;
        s->g->values[s->map[id]].constant = source->constant;
    }
    return status;
}

static spry_status add_identity(const call_site *s, int32_t from, int32_t to)
{
    int32_t opset = 13;
    int32_t node;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; i < s->f->opset_count; i++) {
        if (s->f->opsets[i].domain[0] == '\0') {
            opset = (int32_t)s->f->opsets[i].version;
        }
    }
    status = graph_add_node(s->g, "Identity", "", opset, 1, 1, &node, s->x->error);
    if (status == SPRY_OK) {
        graph_set_input(s->g, node, 0, from);
        graph_set_output(s->g, node, 0, to);
    }
    return status;
}

/* Inputs stand for the call's inputs, outputs for its outputs, everything else is new. */
static spry_status map_values(const call_site *s)
{
    const graph *body = s->f->body;
    const graph_node *call = &s->call;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; i < body->value_count; i++) {
        s->map[i] = GRAPH_NONE;
    }
    for (int32_t i = 0; i < body->input_count && i < call->input_count; i++) {
        s->map[body->inputs[i]] = call->inputs[i];
    }
    for (int32_t i = 0; i < body->output_count && i < call->output_count; i++) {
        int32_t id = body->outputs[i];

        if (!body->values[id].is_input && s->map[id] == GRAPH_NONE &&
            body->values[id].producer != GRAPH_NONE) {
            s->map[id] = call->outputs[i];
        }
    }
    for (int32_t i = 0; status == SPRY_OK && i < body->value_count; i++) {
        if (s->map[i] == GRAPH_NONE && !body->values[i].is_input) {
            status = add_inner_value(s, i);
        }
    }
    return status;
}

/* Outputs that did not get the call's value directly: inputs passed through, values given twice. */
static spry_status connect_outputs(const call_site *s)
{
    const graph *body = s->f->body;
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < body->output_count && i < s->call.output_count;
         i++) {
        int32_t from = s->map[body->outputs[i]];
        int32_t to = s->call.outputs[i];

        if (to != GRAPH_NONE && from != GRAPH_NONE && from != to) {
            status = add_identity(s, from, to);
        }
    }
    return status;
}

/* ---- nodes ---- */

static spry_status add_inner_node(const call_site *s, const graph_node *source)
{
    graph *g = s->g;
    int32_t id;
    graph_node *n;
    spry_status status =
        graph_add_node(g, source->type, source->domain, source->opset, source->input_count,
                       source->output_count, &id, s->x->error);

    if (status != SPRY_OK) {
        return status;
    }
    for (int32_t i = 0; i < source->input_count; i++) {
        if (source->inputs[i] != GRAPH_NONE) {
            graph_set_input(g, id, i, s->map[source->inputs[i]]);
        }
    }
    for (int32_t i = 0; i < source->output_count; i++) {
        if (source->outputs[i] != GRAPH_NONE) {
            graph_set_output(g, id, i, s->map[source->outputs[i]]);
        }
    }
    n = &g->nodes[id];
    n->overload = source->overload;
    n->doc = source->doc;
    n->unknown = source->unknown;
    status = join_name(s, source->name[0] != '\0' ? source->name : source->type, &n->name);
    return status == SPRY_OK ? copy_attributes(s, source, n) : status;
}

static spry_status expand_nodes(const call_site *s)
{
    const graph *body = s->f->body;
    spry_status status = map_values(s);

    for (int32_t i = 0; status == SPRY_OK && i < body->node_count; i++) {
        status = add_inner_node(s, &body->nodes[i]);
    }
    return status == SPRY_OK ? connect_outputs(s) : status;
}

static spry_status expand(inliner *x, graph *g, int32_t node, const model_function *f)
{
    char label[SPRY_ERROR_WHERE_SIZE];
    call_site s = {.x = x, .g = g, .call = g->nodes[node], .f = f};
    size_t count = (size_t)f->body->value_count;
    const spry_allocator *allocator = &g->memory->allocator;
    spry_status status;

    x->nodes += count_nodes(f->body);
    if (x->nodes > x->most) {
        return spry_fail(x->error, SPRY_LIMIT, graph_node_label(g, &s.call, label, sizeof label),
                         NULL, "expanding functions gives more than %lld nodes",
                         (long long)x->most);
    }
    if (s.call.name[0] != '\0') {
        s.prefix = s.call.name;
    } else {
        (void)snprintf(label, sizeof label, "%.200s_%d", s.call.type, (int)node);
        s.prefix = label;
    }
    s.map = alloc_array(allocator, count, sizeof *s.map);
    if (s.map == NULL) {
        return alloc_failed(x->error, count * sizeof *s.map);
    }
    graph_remove_node(g, node);
    status = expand_nodes(&s);
    alloc_release(allocator, s.map, count * sizeof *s.map);
    x->c->changes++;
    return status;
}

/* Expands the calls that are in `g` now; *more tells whether there were any. */
static spry_status expand_round(inliner *x, graph *g, bool *more)
{
    int32_t count = g->node_count;
    spry_status status = SPRY_OK;

    *more = false;
    for (int32_t i = 0; status == SPRY_OK && i < count; i++) {
        const model_function *f = called(x, &g->nodes[i]);

        if (f != NULL) {
            *more = true;
            status = expand(x, g, i, f);
        }
    }
    return status;
}

static spry_status inline_graph(inliner *x, graph *g, int depth);

static spry_status inline_bodies(inliner *x, graph *g, int depth)
{
    for (int32_t i = 0; i < g->node_count; i++) {
        for (int32_t k = 0; !g->nodes[i].removed && k < g->nodes[i].attribute_count; k++) {
            int64_t count;
            graph *const *bodies = graph_attribute_subgraphs(&g->nodes[i].attributes[k], &count);

            for (int64_t b = 0; b < count; b++) {
                spry_status status = inline_graph(x, bodies[b], depth + 1);

                if (status != SPRY_OK) {
                    return status;
                }
            }
        }
    }
    return SPRY_OK;
}

static spry_status inline_graph(inliner *x, graph *g, int depth)
{
    bool more = true;
    spry_status status = SPRY_OK;

    if (depth > LIMIT_SUBGRAPH_DEPTH) {
        return spry_fail(x->error, SPRY_LIMIT, NULL, NULL,
                         "functions and subgraphs nest deeper than %d", LIMIT_SUBGRAPH_DEPTH);
    }
    for (int round = 0; status == SPRY_OK && more; round++) {
        if (round > LIMIT_FUNCTION_DEPTH) {
            return spry_fail(x->error, SPRY_LIMIT, NULL, NULL,
                             "functions call each other more than %d deep, or in circles",
                             LIMIT_FUNCTION_DEPTH);
        }
        status = expand_round(x, g, &more);
    }
    if (status == SPRY_OK) {
        status = inline_bodies(x, g, depth);
    }
    return status == SPRY_OK ? graph_sort(g, x->error) : status;
}

/* What functions may expand to: in proportion to the file, so that a small one stays cheap. */
static int64_t most_nodes(const graph *g, const model *m)
{
    int64_t own = count_nodes(g);

    for (int32_t i = 0; i < m->function_count; i++) {
        own += count_nodes(m->functions[i].body);
    }
    own = LIMIT_INLINE_BASE + LIMIT_INLINE_GROWTH * own;
    return own < LIMIT_GRAPH_NODES ? own : LIMIT_GRAPH_NODES;
}

spry_status pass_inline(graph *g, pass_context *c, spry_error *error)
{
    inliner x = {.m = c->m, .c = c, .error = error};

    if (c->m == NULL || c->m->function_count == 0) {
        return SPRY_OK;
    }
    x.most = most_nodes(g, c->m);
    return inline_graph(&x, g, 0);
}
