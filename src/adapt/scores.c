/* Searching backwards, step by step further. */
#include "adapt/scores.h"

#include "model/match.h"

enum { MOST_STEPS = 8 };

/* The operator of that type that reaches value `id` within so many steps. */
static int32_t find(const graph *g, const char *type, int32_t id, int steps)
{
    int32_t producer = id != GRAPH_NONE ? g->values[id].producer : GRAPH_NONE;
    const graph_node *n = producer != GRAPH_NONE ? &g->nodes[producer] : NULL;
    int32_t found = GRAPH_NONE;

    if (n == NULL || steps == 0) {
        return GRAPH_NONE;
    }
    if (graph_node_is(n, type)) {
        return producer;
    }
    for (int32_t i = 0; found == GRAPH_NONE && i < n->input_count; i++) {
        found = find(g, type, n->inputs[i], steps - 1);
    }
    return found;
}

static int32_t nearest(const graph *g, const char *type, int32_t id)
{
    int32_t found = GRAPH_NONE;

    for (int steps = 1; found == GRAPH_NONE && steps <= MOST_STEPS; steps++) {
        found = find(g, type, id, steps);
    }
    return found;
}

int32_t scores_softmax(const graph *g, int32_t id)
{
    return nearest(g, "Softmax", id);
}

int32_t scores_product(const graph *g, int32_t id)
{
    return nearest(g, "MatMul", id);
}

bool scores_shows_weights(const graph *g, int32_t id)
{
    for (int steps = 1; steps <= MOST_STEPS; steps++) {
        if (find(g, "Softmax", id, steps) != GRAPH_NONE) {
            return true;
        }
        if (find(g, "MatMul", id, steps) != GRAPH_NONE) {
            return false;
        }
    }
    return false;
}
