/* How much memory the results of one run need: every value from the node that computes it to the
 * last one that reads it. Views share the bytes of what they view. */
#include "base/alloc.h"
#include "inspect/summary.h"
#include "model/graph_walk.h"
#include "ops/op.h"

typedef struct lifetimes {
    const graph *g;
    int32_t *root; /* the value whose bytes a value has; itself where it is no view */
    int32_t *last; /* by root: last node that reads it; node_count for outputs */
    int32_t node;  /* the one being visited */
} lifetimes;

static void read_value(void *context, int32_t id)
{
    lifetimes *l = context;

    if (id != GRAPH_NONE) {
        l->last[l->root[id]] = l->node;
    }
}

static void find_roots(lifetimes *l)
{
    for (int32_t v = 0; v < l->g->value_count; v++) {
        l->root[v] = v;
        l->last[v] = GRAPH_NONE;
    }
    for (int32_t n = 0; n < l->g->node_count; n++) {
        const graph_node *node = &l->g->nodes[n];
        const op *definition = op_of_node(node);
        bool is_view = definition != NULL && (definition->flags & OP_VIEW) != 0;

        if (is_view && node->input_count > 0 && node->output_count > 0 &&
            node->inputs[0] != GRAPH_NONE && node->outputs[0] != GRAPH_NONE) {
            l->root[node->outputs[0]] = l->root[node->inputs[0]];
        }
    }
}

static void find_last_reads(lifetimes *l)
{
    for (l->node = 0; l->node < l->g->node_count; l->node++) {
        graph_visit_reads(&l->g->nodes[l->node], read_value, l);
    }
    for (int32_t i = 0; i < l->g->output_count; i++) {
        read_value(l, l->g->outputs[i]); /* l->node is node_count: needed after the last one */
    }
}

/* Adds the value's bytes where it becomes alive and takes them off where it dies. */
static bool add_lifetime(const lifetimes *l, int32_t id, int32_t first, int64_t *change,
                         int64_t *all)
{
    if (l->root[id] != id || l->g->values[id].constant != NULL) {
        return true;
    }
    int64_t bytes = summary_value_bytes(&l->g->values[id].type);
    int32_t last = l->last[id] < first ? first : l->last[id];

    if (bytes < 0) {
        return false;
    }
    change[first] += bytes;
    change[last + 1] -= bytes;
    *all += bytes;
    return true;
}

static bool add_lifetimes(const lifetimes *l, int64_t *change, int64_t *all)
{
    int64_t given = 0;

    for (int32_t i = 0; i < l->g->input_count; i++) {
        if (!add_lifetime(l, l->g->inputs[i], 0, change, &given)) {
            return false;
        }
    }
    for (int32_t n = 0; n < l->g->node_count; n++) {
        const graph_node *node = &l->g->nodes[n];
        for (int32_t i = 0; i < node->output_count && !summary_is_constant_node(node); i++) {
            int32_t id = node->outputs[i];
            if (id != GRAPH_NONE && !add_lifetime(l, id, n, change, all)) {
                return false;
            }
        }
    }
    return true;
}

spry_status summary_alive_bytes(const graph *g, arena *memory, int64_t **alive, int64_t *all,
                                spry_error *error)
{
    size_t values = (size_t)g->value_count + 1;
    size_t steps = (size_t)g->node_count + 2;
    lifetimes l = {.g = g,
                   .root = arena_array(memory, values, sizeof *l.root),
                   .last = arena_array(memory, values, sizeof *l.last)};
    int64_t *change = arena_array(memory, steps, sizeof *change);

    *alive = NULL;
    *all = 0;
    if (l.root == NULL || l.last == NULL || change == NULL) {
        return alloc_failed(error, values * sizeof *l.root);
    }
    find_roots(&l);
    find_last_reads(&l);
    if (!add_lifetimes(&l, change, all)) {
        *all = -1;
        return SPRY_OK;
    }
    for (size_t i = 1; i < steps; i++) {
        change[i] += change[i - 1];
    }
    *alive = change;
    return SPRY_OK;
}

spry_status summary_measure_memory(summary *s, spry_error *error)
{
    int64_t *alive = NULL;
    spry_status status = summary_alive_bytes(s->g, &s->memory, &alive, &s->totals.all_bytes, error);

    s->totals.peak_bytes = alive != NULL ? 0 : -1;
    for (int32_t i = 0; alive != NULL && i <= s->g->node_count; i++) {
        s->totals.peak_bytes = alive[i] > s->totals.peak_bytes ? alive[i] : s->totals.peak_bytes;
    }
    return status;
}
