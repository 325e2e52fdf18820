/* Making the intermediate results of a model visible as outputs of a copy. */
#include "base/alloc.h"
#include "model/model.h"
#include "spry/compare.h"

static bool is_computed(const graph *g, int32_t id)
{
    const graph_value *v = &g->values[id];

    return v->producer != GRAPH_NONE && v->constant == NULL && !v->is_output &&
           v->type.kind != GRAPH_TYPE_SEQUENCE && v->type.kind != GRAPH_TYPE_OPTIONAL &&
           v->type.kind != GRAPH_TYPE_OTHER;
}

/* Is it computed there as well, as output or in between? */
static bool is_shared(const graph *other, const char *name)
{
    int32_t id = graph_find_value(other, name);

    return id != GRAPH_NONE && (is_computed(other, id) || other->values[id].is_output) &&
           other->values[id].producer != GRAPH_NONE;
}

static spry_status expose(model *made, const graph *other, spry_error *error)
{
    graph *g = made->main;
    size_t most = (size_t)g->output_count + (size_t)g->value_count;
    int32_t *outputs = arena_array(&made->memory, most, sizeof *outputs);
    int32_t count = 0;

    if (outputs == NULL) {
        return alloc_failed(error, most * sizeof *outputs);
    }
    for (; count < g->output_count; count++) {
        outputs[count] = g->outputs[count];
    }
    for (int32_t n = 0; n < g->node_count; n++) {
        const graph_node *node = &g->nodes[n];
        for (int32_t i = 0; i < node->output_count; i++) {
            int32_t id = node->outputs[i];
            if (id != GRAPH_NONE && is_computed(g, id) && is_shared(other, g->values[id].name)) {
                g->values[id].is_output = true;
                outputs[count++] = id;
            }
        }
    }
    g->outputs = outputs;
    g->output_count = count;
    return SPRY_OK;
}

spry_status spry_model_expose(const spry_model *source, const spry_model *other,
                              spry_model **exposed, spry_error *error)
{
    model *made = NULL;
    spry_status status = model_copy(source, &made, error);

    *exposed = NULL;
    if (status == SPRY_OK) {
        status = expose(made, other->main, error);
    }
    if (status != SPRY_OK) {
        spry_model_destroy(made);
        return status;
    }
    *exposed = made;
    return SPRY_OK;
}
