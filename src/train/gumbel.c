/* Comparisons of logits into gates that learn, and how they cool. */
#include "train/gumbel.h"

#include <math.h>

#include "base/alloc.h"
#include "base/text.h"

int32_t gumbel_emit(emitter *e, int32_t difference, int32_t cooling)
{
    int32_t output = GRAPH_NONE;

    return emit_own(e, "GumbelGate", 2, (int32_t[]){difference, cooling}, 1, &output);
}

schedule gumbel_schedule(schedule_kind kind, double start, double end, int64_t total)
{
    return (schedule){.kind = kind,
                      .base = start,
                      .least = end,
                      .total = total,
                      .gamma = pow(end / start, 1.0 / (double)(total > 0 ? total : 1)),
                      .power = 1.0};
}

/* A cast to floating point of what a comparison gives. */
static bool is_cast(const graph_node *n, int32_t compared)
{
    spry_dtype to = (spry_dtype)graph_attribute_int(n, "to", SPRY_DTYPE_NONE);

    return !n->removed && graph_node_is(n, "Cast") && n->input_count > 0 &&
           n->inputs[0] == compared && to > SPRY_DTYPE_NONE && to < SPRY_DTYPE_COUNT &&
           dtype_class_of(to) == DTYPE_CLASS_FLOAT;
}

/* All casts of comparison `node` take one gate instead of what it gives. */
static spry_status replace_compared(graph *g, int32_t node, int32_t cooling, int32_t *gates,
                                    spry_error *error)
{
    emitter e = {.g = g, .name = "gate", .error = error};
    int32_t compared = g->nodes[node].outputs[0];
    int32_t count = g->node_count;
    int32_t gate = GRAPH_NONE;

    for (int32_t i = 0; i < count && e.status == SPRY_OK; i++) {
        if (!is_cast(&g->nodes[i], compared)) {
            continue;
        }
        if (gate == GRAPH_NONE) {
            int32_t keep = g->nodes[node].inputs[0];
            int32_t skip = g->nodes[node].inputs[1];

            gate = gumbel_emit(&e, emit_binary(&e, "Sub", keep, skip), cooling);
            *gates += 1;
        }
        if (e.status == SPRY_OK) {
            graph_set_input(g, i, 0, gate);
        }
    }
    return e.status;
}

spry_status gumbel_form(model *m, const char *pattern, int32_t *cooling, spry_error *error)
{
    graph *g = m->main;
    int32_t count = g->node_count;
    int32_t gates = 0;
    spry_status status = graph_add_value(g, "cooling", cooling, error);

    if (status != SPRY_OK) {
        return status;
    }
    g->values[*cooling].type = graph_type_tensor(SPRY_DTYPE_F32, 1, (int64_t[]){GUMBEL_COOLING});
    for (int32_t i = 0; i < count && status == SPRY_OK; i++) {
        const graph_node *n = &g->nodes[i];

        if (!n->removed && graph_node_is(n, "GreaterOrEqual") && text_matches(pattern, n->name)) {
            status = replace_compared(g, i, *cooling, &gates, error);
        }
    }
    if (status == SPRY_OK && gates == 0) {
        status = spry_fail(error, SPRY_USAGE, pattern,
                           "gates are GreaterOrEqual nodes whose result is cast to floating point",
                           "the pattern fits no gate of the model");
    }
    return status == SPRY_OK ? graph_sort(g, error) : status;
}
