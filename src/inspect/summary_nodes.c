/* What every node costs and holds, and the sums per operator and per element type. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "inspect/summary.h"
#include "model/graph_walk.h"
#include "ops/op.h"

bool summary_is_constant_node(const graph_node *node)
{
    return node->domain[0] == '\0' && strcmp(node->type, "Constant") == 0;
}

int64_t summary_value_bytes(const graph_type *type)
{
    int64_t count = 1;
    size_t bytes = 0;

    if (!graph_type_is_static(type)) {
        return -1;
    }
    for (int d = 0; d < type->rank; d++) {
        if (!checked_mul_i64(count, type->dims[d].size, &count)) {
            return -1;
        }
    }
    if (!dtype_storage_bytes(type->dtype, count, &bytes) || bytes > (size_t)INT64_MAX) {
        return -1;
    }
    return (int64_t)bytes;
}

/* ---- weights ---- */

static bool is_parameter(spry_dtype dtype)
{
    return dtype != SPRY_DTYPE_I64 && dtype != SPRY_DTYPE_BOOL && dtype != SPRY_DTYPE_STRING;
}

/* weights[] is indexed by element type until summary_count_nodes sorts it. */
static void add_weight(summary *s, const tensor *t, int64_t *parameters, int64_t *bytes)
{
    spry_inspect_weights *row = &s->weights[t->dtype];
    int64_t count = tensor_count(t);

    row->tensors++;
    row->elements += count;
    row->bytes += (int64_t)t->bytes;
    s->totals.weight_bytes += (int64_t)t->bytes;
    *bytes += (int64_t)t->bytes;
    if (is_parameter(t->dtype)) {
        s->totals.parameters += count;
        *parameters += count;
    }
}

/* Constants count at the first node that reads them, so that sums over nodes are right. */
static void add_weights(summary *s, const graph_node *node, bool *seen, spry_inspect_node *row)
{
    for (int32_t i = 0; i < node->input_count; i++) {
        int32_t id = node->inputs[i];
        if (id != GRAPH_NONE && !seen[id] && s->g->values[id].constant != NULL) {
            seen[id] = true;
            add_weight(s, s->g->values[id].constant, &row->parameters, &row->weight_bytes);
        }
    }
    const graph_attribute *held = graph_attribute_find(node, "value");
    if (summary_is_constant_node(node) && held != NULL && held->kind == GRAPH_ATTRIBUTE_TENSOR) {
        /* The value may be known as folded constant of its readers too: count it here only. */
        seen[node->outputs[0]] = true;
        add_weight(s, held->as.tensors, &row->parameters, &row->weight_bytes);
    }
}

static int compare_weights(const void *a, const void *b)
{
    const spry_inspect_weights *x = a;
    const spry_inspect_weights *y = b;

    return (x->bytes < y->bytes) - (x->bytes > y->bytes);
}

static void sort_weights(summary *s)
{
    int32_t count = 0;

    for (int32_t d = 0; d < SPRY_DTYPE_COUNT; d++) {
        spry_inspect_weights row = s->weights[d];
        row.dtype = (spry_dtype)d;
        if (row.tensors > 0) {
            s->weights[count++] = row;
        }
    }
    s->weight_count = count;
    qsort(s->weights, (size_t)count, sizeof *s->weights, compare_weights);
}

/* ---- operators ---- */

/* One row per node; rows of the same operator are joined afterwards. */
static spry_status add_operator(summary *s, const graph_node *node, int64_t parameters,
                                int64_t macs, spry_error *error)
{
    void *array = s->operators;
    spry_status status = summary_grow(s, &array, &s->operator_capacity, s->operator_count,
                                      sizeof *s->operators, error);

    s->operators = array;
    if (status == SPRY_OK) {
        s->operators[s->operator_count++] = (spry_inspect_operator){.type = node->type,
                                                                    .domain = node->domain,
                                                                    .nodes = 1,
                                                                    .parameters = parameters,
                                                                    .macs = macs > 0 ? macs : 0};
    }
    return status;
}

static int compare_names(const void *a, const void *b)
{
    const spry_inspect_operator *x = a;
    const spry_inspect_operator *y = b;
    int by_type = strcmp(x->type, y->type);

    return by_type != 0 ? by_type : strcmp(x->domain, y->domain);
}

static int compare_operators(const void *a, const void *b)
{
    const spry_inspect_operator *x = a;
    const spry_inspect_operator *y = b;
    int by_macs = (x->macs < y->macs) - (x->macs > y->macs);
    int by_count = (x->nodes < y->nodes) - (x->nodes > y->nodes);

    return by_macs != 0 ? by_macs : by_count != 0 ? by_count : strcmp(x->type, y->type);
}

static void join_operators(summary *s)
{
    int32_t kept = 0;

    if (s->operator_count == 0) {
        return;
    }
    qsort(s->operators, (size_t)s->operator_count, sizeof *s->operators, compare_names);
    for (int32_t i = 1; i < s->operator_count; i++) {
        spry_inspect_operator *row = &s->operators[i];
        spry_inspect_operator *sum = &s->operators[kept];
        if (compare_names(sum, row) != 0) {
            s->operators[++kept] = *row;
            continue;
        }
        sum->nodes++;
        sum->parameters += row->parameters;
        sum->macs += row->macs;
    }
    s->operator_count = kept + 1;
    qsort(s->operators, (size_t)s->operator_count, sizeof *s->operators, compare_operators);
}

/* ---- cost ---- */

static bool types_of(const graph *g, const int32_t *ids, int32_t count, const graph_type **types)
{
    for (int32_t i = 0; i < count; i++) {
        types[i] = ids[i] == GRAPH_NONE ? NULL : &g->values[ids[i]].type;
        if (types[i] != NULL && summary_value_bytes(types[i]) < 0) {
            return false;
        }
    }
    return true;
}

/* Leaves -1 where a shape is not known. `types` has room for all ports of any node. */
static void add_cost(summary *s, const graph_node *node, const graph_type **types,
                     spry_inspect_node *row)
{
    const op *definition = op_of_node(node);
    op_work work = {.node = node,
                    .inputs = types,
                    .outputs = types + node->input_count,
                    .input_count = node->input_count,
                    .output_count = node->output_count};

    row->macs = -1;
    row->flops = -1;
    if (definition == NULL || (definition->flags & OP_SUBGRAPHS) != 0 ||
        !types_of(s->g, node->inputs, node->input_count, types) ||
        !types_of(s->g, node->outputs, node->output_count, types + node->input_count)) {
        s->totals.unknown_nodes++;
        return;
    }
    row->macs = 0;
    row->flops = 0;
    if (definition->cost != NULL) {
        definition->cost(&work, &row->macs, &row->flops);
    }
    s->totals.macs += row->macs;
    s->totals.flops += row->flops;
}

/* ---- nodes ---- */

static spry_status describe_node(summary *s, const graph_node *node, spry_inspect_node *row,
                                 spry_error *error)
{
    char label[SUMMARY_LABEL_SIZE];
    int32_t output = node->output_count > 0 ? node->outputs[0] : GRAPH_NONE;

    row->label = summary_text(s, graph_node_label(s->g, node, label, sizeof label));
    row->name = node->name;
    row->type = node->type;
    row->domain = node->domain;
    row->opset = node->opset;
    row->output = output == GRAPH_NONE ? "" : s->g->values[output].name;
    row->shape = summary_type(s, output);
    row->is_supported = op_of_node(node) != NULL ||
                        model_find_function(s->m, node->domain, node->type, node->overload) != NULL;
    return row->label == NULL || row->shape == NULL ? alloc_failed(error, SUMMARY_TYPE_SIZE)
                                                    : SPRY_OK;
}

static spry_status count_nested(summary *s, const graph_node *node, spry_error *error);

static spry_status count_body(summary *s, const graph *body, spry_error *error)
{
    for (int32_t n = 0; n < body->node_count; n++) {
        spry_status status = add_operator(s, &body->nodes[n], 0, 0, error);
        if (status == SPRY_OK) {
            s->totals.nested_nodes++;
            status = count_nested(s, &body->nodes[n], error);
        }
        if (status != SPRY_OK) {
            return status;
        }
    }
    return SPRY_OK;
}

/* Recursion is bounded by the reader's LIMIT_SUBGRAPH_DEPTH. */
static spry_status count_nested(summary *s, const graph_node *node, spry_error *error)
{
    for (int32_t a = 0; a < node->attribute_count; a++) {
        int64_t count = 0;
        graph *const *bodies = graph_attribute_subgraphs(&node->attributes[a], &count);

        for (int64_t i = 0; i < count; i++) {
            spry_status status = count_body(s, bodies[i], error);
            if (status != SPRY_OK) {
                return status;
            }
        }
    }
    return SPRY_OK;
}

static int32_t most_ports(const graph *g)
{
    int32_t most = 1;

    for (int32_t n = 0; n < g->node_count; n++) {
        int32_t ports = g->nodes[n].input_count + g->nodes[n].output_count;
        most = ports > most ? ports : most;
    }
    return most;
}

static spry_status count_node(summary *s, int32_t n, bool *seen, const graph_type **types,
                              spry_error *error)
{
    const graph_node *node = &s->g->nodes[n];
    spry_inspect_node *row = &s->nodes[n];
    spry_status status = describe_node(s, node, row, error);

    if (status != SPRY_OK) {
        return status;
    }
    add_weights(s, node, seen, row);
    add_cost(s, node, types, row);
    status = add_operator(s, node, row->parameters, row->macs, error);
    return status == SPRY_OK ? count_nested(s, node, error) : status;
}

spry_status summary_count_nodes(summary *s, spry_error *error)
{
    size_t count = (size_t)s->g->node_count;
    bool *seen = arena_array(&s->memory, (size_t)s->g->value_count + 1, sizeof *seen);
    const graph_type **types = arena_array(&s->memory, (size_t)most_ports(s->g), sizeof *types);
    spry_status status = SPRY_OK;

    s->nodes = arena_array(&s->memory, count + 1, sizeof *s->nodes);
    if (seen == NULL || types == NULL || s->nodes == NULL) {
        return alloc_failed(error, count * sizeof *s->nodes);
    }
    s->totals.nodes = s->g->node_count;
    s->totals.functions = s->m->function_count;
    for (int32_t n = 0; status == SPRY_OK && n < s->g->node_count; n++) {
        status = count_node(s, n, seen, types, error);
    }
    if (status == SPRY_OK) {
        sort_weights(s);
        join_operators(s);
    }
    return status;
}
