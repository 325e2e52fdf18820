/* Operators that move numbers do so while they are bytes: DequantizeLinear -> move becomes
 * move -> DequantizeLinear, and where a Concat is quantised, its inputs are instead. */
#include <string.h>

#include "base/alloc.h"
#include "runtime/chain.h"
#include "runtime/integer/match.h"

/* Gives back elements of its first input: scales are positive, so that the largest stays so. */
static bool is_move(const graph_node *n)
{
    static const char *const moves[] = {"Reshape",      "Flatten",      "Squeeze", "Unsqueeze",
                                        "Transpose",    "Identity",     "Slice",   "Gather",
                                        "DepthToSpace", "SpaceToDepth", "Split",   "MaxPool"};

    for (size_t i = 0; i < sizeof moves / sizeof *moves; i++) {
        if (graph_node_is(n, moves[i])) {
            return strcmp(moves[i], "MaxPool") != 0 ||
                   (n->output_count == 1 && n->opset >= 12); /* bytes from there on */
        }
    }
    return false;
}

enum { PAD_VALUE_PORT = 2, PAD_INPUT_OPSET = 11 };

/* Surrounds its input with 0, which is the zero point among bytes. */
static bool is_zero_pad(const graph *g, const graph_node *n)
{
    bool is_given = n->input_count > PAD_VALUE_PORT && n->inputs[PAD_VALUE_PORT] != GRAPH_NONE;
    const tensor *filler = is_given ? integer_constant(g, n, PAD_VALUE_PORT) : NULL;

    return graph_node_is(n, "Pad") && n->opset >= PAD_INPUT_OPSET &&
           strcmp(graph_attribute_string(n, "mode", "constant"), "constant") == 0 &&
           (!is_given || (filler != NULL && filler->dtype == SPRY_DTYPE_F32 &&
                          tensor_count(filler) == 1 && *(const float *)filler->data == 0.0f));
}

static spry_status pad_with(graph *g, int32_t node, int32_t zero, spry_error *error)
{
    graph_node *n = &g->nodes[node];

    if (n->input_count <= PAD_VALUE_PORT) {
        int32_t *inputs = arena_array(g->memory, PAD_VALUE_PORT + 1, sizeof *inputs);

        if (inputs == NULL) {
            return alloc_failed(error, (PAD_VALUE_PORT + 1) * sizeof *inputs);
        }
        memcpy(inputs, n->inputs, (size_t)n->input_count * sizeof *inputs);
        inputs[PAD_VALUE_PORT] = GRAPH_NONE;
        n->inputs = inputs;
        n->input_count = PAD_VALUE_PORT + 1;
    }
    graph_set_input(g, node, PAD_VALUE_PORT, zero);
    return SPRY_OK;
}

/* Every result is read inside the graph, and its type known. */
static bool can_move(const graph *g, const graph_node *n)
{
    for (int32_t i = 0; i < n->output_count; i++) {
        int32_t id = n->outputs[i];

        if (id == GRAPH_NONE || g->values[id].is_output ||
            !graph_type_is_static(&g->values[id].type)) {
            return false;
        }
    }
    return n->output_count > 0;
}

/* Result `port` becomes bytes, and a DequantizeLinear makes what it was. */
static spry_status move_result(integer_pass *p, int32_t node, int32_t port, const quantised *q,
                               int32_t before)
{
    graph *g = p->g;
    int32_t result = g->nodes[node].outputs[port];
    int32_t bytes;
    spry_status status = graph_add_value(g, NULL, &bytes, p->error);

    if (status != SPRY_OK) {
        return status;
    }
    g->values[bytes].type = g->values[result].type;
    g->values[bytes].type.dtype = g->values[q->data].type.dtype;
    graph_set_output(g, node, port, bytes);
    return integer_add_dequantize(p, before, q, bytes, result);
}

spry_status integer_move_at(integer_pass *p, int32_t node, bool *moved)
{
    const graph_node *n = &p->g->nodes[node];
    spry_status status = SPRY_OK;
    quantised q;
    int32_t before;

    bool is_pad = is_zero_pad(p->g, n);

    *moved = (is_move(n) || is_pad) && can_move(p->g, n) &&
             integer_read_activation(p->g, chain_input(n, 0), &q);
    if (!*moved) {
        return SPRY_OK;
    }
    before = p->g->values[n->inputs[0]].producer;
    graph_set_input(p->g, node, 0, q.data);
    if (is_pad) {
        status = pad_with(p->g, node, q.zero, p->error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < p->g->nodes[node].output_count; i++) {
        status = move_result(p, node, i, &q, before);
    }
    return status;
}
