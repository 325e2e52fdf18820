/* Dead code: a walk from the outputs backwards. */
#include "base/alloc.h"
#include "model/graph_walk.h"
#include "model/pass.h"

static void mark(void *context, int32_t id)
{
    bool *live = context;

    live[id] = true;
}

static bool is_needed(const graph_node *n, const bool *live)
{
    for (int32_t i = 0; i < n->output_count; i++) {
        if (n->outputs[i] != GRAPH_NONE && live[n->outputs[i]]) {
            return true;
        }
    }
    return false;
}

/* Values that nobody reads lose what makes them cost something: their constant, their capture. */
static void drop_values(graph *g, const bool *live, pass_context *c)
{
    for (int32_t i = 0; i < g->value_count; i++) {
        graph_value *v = &g->values[i];

        if (live[i] || v->is_input) {
            continue;
        }
        c->changes += v->constant != NULL;
        v->constant = NULL;
        v->outer = GRAPH_NONE;
    }
}

spry_status pass_dead(graph *g, pass_context *c, spry_error *error)
{
    size_t count = (size_t)g->value_count;
    bool *live = alloc_array(&g->memory->allocator, count, sizeof *live);

    if (live == NULL) {
        return alloc_failed(error, count * sizeof *live);
    }
    for (int32_t i = 0; i < g->output_count; i++) {
        live[g->outputs[i]] = true;
    }
    for (int32_t i = g->node_count - 1; i >= 0; i--) {
        if (g->nodes[i].removed) {
            continue;
        }
        if (is_needed(&g->nodes[i], live)) {
            graph_visit_reads(&g->nodes[i], mark, live);
        } else {
            graph_remove_node(g, i);
            c->changes++;
        }
    }
    drop_values(g, live, c);
    alloc_release(&g->memory->allocator, live, count * sizeof *live);
    graph_compact(g);
    return SPRY_OK;
}
