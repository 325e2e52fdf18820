/* GraphProto, and the same fields where they make up the body of a FunctionProto. */
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "model/infer.h"
#include "model/onnx_parse.h"

enum { NODE_OUTPUT = 2 };

enum { INFO_NAME = 1, INFO_TYPE = 2, INFO_DOC = 3 };

/* What a field of GraphProto or FunctionProto means here. */
typedef enum part {
    PART_UNKNOWN, /* kept as bytes */
    PART_NODE,
    PART_NAME,
    PART_INITIALIZER,
    PART_SPARSE,
    PART_DOC,
    PART_INPUT,
    PART_OUTPUT,
    PART_INFO,
    PART_OTHER /* read elsewhere (the rest of FunctionProto) */
} part;

enum { PART_NUMBERS = 16 };

static const uint8_t graph_parts[PART_NUMBERS] = {
    [1] = PART_NODE,   [2] = PART_NAME,    [5] = PART_INITIALIZER, [10] = PART_DOC,
    [11] = PART_INPUT, [12] = PART_OUTPUT, [13] = PART_INFO,       [15] = PART_SPARSE,
};

/* In a function, inputs and outputs are names only. */
static const uint8_t body_parts[PART_NUMBERS] = {
    [0] = PART_OTHER, [1] = PART_OTHER,  [2] = PART_OTHER,  [3] = PART_OTHER,
    [4] = PART_INPUT, [5] = PART_OUTPUT, [6] = PART_OTHER,  [7] = PART_NODE,
    [8] = PART_OTHER, [9] = PART_OTHER,  [10] = PART_OTHER, [11] = PART_OTHER,
    [12] = PART_INFO, [13] = PART_OTHER, [14] = PART_OTHER, [15] = PART_OTHER,
};

typedef struct graph_reader {
    onnx_context *c;
    graph *g;
    wire_reader message;
    const uint8_t *parts; /* graph_parts or body_parts */
    size_t nodes;
    size_t values;
    size_t initializers;
    int32_t inputs;
    int32_t outputs;
    int32_t next; /* node, input or output in the step under way */
} graph_reader;

static part part_of(const graph_reader *gr, const wire_field *field)
{
    if (field->number < PART_NUMBERS) {
        return (part)gr->parts[field->number];
    }
    return gr->parts == graph_parts ? PART_UNKNOWN : PART_OTHER;
}

typedef spry_status (*graph_step)(graph_reader *gr, const wire_reader *r, const wire_field *field);

/* Runs `step` for every field of the message that is `wanted` (or any, for PART_OTHER). */
static spry_status for_each(graph_reader *gr, part wanted, graph_step step)
{
    wire_reader r = gr->message;
    spry_status status = SPRY_OK;

    gr->next = 0;
    while (status == SPRY_OK && wire_more(&r)) {
        wire_field field;

        status = wire_next(&r, &field);
        if (status == SPRY_OK && (wanted == PART_OTHER || part_of(gr, &field) == wanted)) {
            status = step(gr, &r, &field);
        }
    }
    return status;
}

/* ---- step 1: count, so that arrays are allocated once ---- */

static spry_status count_outputs(graph_reader *gr, const wire_reader *r, const wire_field *field)
{
    wire_reader child;
    spry_status status = wire_enter(r, field, &child);

    gr->nodes++;
    while (status == SPRY_OK && wire_more(&child)) {
        wire_field inner;

        status = wire_next(&child, &inner);
        gr->values += status == SPRY_OK && inner.number == NODE_OUTPUT;
    }
    return status;
}

static spry_status count_part(graph_reader *gr, const wire_reader *r, const wire_field *field)
{
    onnx_context *c = gr->c;

    switch (part_of(gr, field)) {
    case PART_NODE: return count_outputs(gr, r, field);
    case PART_INITIALIZER:
    case PART_SPARSE:
        gr->values++;
        gr->initializers++;
        break;
    case PART_INPUT:
        gr->values++;
        gr->inputs++;
        break;
    case PART_OUTPUT: gr->outputs++; break;
    case PART_NAME: return onnx_read_name(c, r, field, &gr->g->name);
    case PART_DOC: return onnx_read_doc(c, r, field, &gr->g->doc);
    case PART_UNKNOWN: return wire_keep(c->memory, &gr->g->unknown, field, c->source.error);
    default: return SPRY_OK;
    }
    return wire_expect(r, field, WIRE_BYTES);
}

static spry_status reserve(graph_reader *gr)
{
    graph *g = gr->g;
    spry_error *error = gr->c->source.error;

    if (gr->initializers > LIMIT_GRAPH_INITIALIZERS) {
        return wire_fail(&gr->c->source, SPRY_LIMIT, gr->message.at,
                         "a graph has more than %d initializers", LIMIT_GRAPH_INITIALIZERS);
    }
    g->inputs = arena_array(g->memory, (size_t)gr->inputs, sizeof *g->inputs);
    g->outputs = arena_array(g->memory, (size_t)gr->outputs, sizeof *g->outputs);
    if (g->inputs == NULL || g->outputs == NULL) {
        return alloc_failed(error, (size_t)gr->inputs * sizeof *g->inputs);
    }
    return graph_reserve(g, gr->values, gr->nodes, error);
}

/* ---- step 2: values ---- */

/* A ValueInfoProto. */
typedef struct value_info {
    const char *name;
    const char *doc;
    graph_type type;
    graph_bytes raw_type;
    graph_bytes unknown;
} value_info;

static spry_status read_info_field(onnx_context *c, const wire_reader *r, const wire_field *field,
                                   value_info *info)
{
    wire_reader child;
    spry_status status;

    switch (field->number) {
    case INFO_NAME: return onnx_read_name(c, r, field, &info->name);
    case INFO_DOC: return onnx_read_doc(c, r, field, &info->doc);
    case INFO_TYPE:
        info->raw_type = field->bytes;
        status = wire_enter(r, field, &child);
        return status == SPRY_OK ? onnx_read_type(c, child, &info->type) : status;
    default: return wire_keep(c->memory, &info->unknown, field, c->source.error);
    }
}

/* The field as ValueInfoProto, or as a bare name in a function. */
static spry_status read_info(graph_reader *gr, const wire_reader *r, const wire_field *field,
                             value_info *info)
{
    wire_reader child;
    spry_status status;

    *info = (value_info){.name = "", .doc = ""};
    if (gr->parts == body_parts && part_of(gr, field) != PART_INFO) {
        status = onnx_read_name(gr->c, r, field, &info->name);
    } else {
        status = wire_enter(r, field, &child);
        while (status == SPRY_OK && wire_more(&child)) {
            wire_field inner;

            status = wire_next(&child, &inner);
            if (status == SPRY_OK) {
                status = read_info_field(gr->c, &child, &inner, info);
            }
        }
    }
    if (status == SPRY_OK && info->name[0] == '\0') {
        status = wire_fail(r->source, SPRY_BAD_INPUT, field->whole.data, "a value has no name");
    }
    return status;
}

static void apply_info(graph_value *v, const value_info *info)
{
    v->type = info->type;
    v->raw_type = info->raw_type;
    v->unknown = info->unknown;
    v->doc = info->doc;
    v->is_declared = true;
}

static spry_status read_input(graph_reader *gr, const wire_reader *r, const wire_field *field)
{
    graph *g = gr->g;
    value_info info;
    int32_t id;
    spry_status status = read_info(gr, r, field, &info);

    if (status != SPRY_OK) {
        return status;
    }
    if (graph_find_value(g, info.name) != GRAPH_NONE) {
        return wire_fail(r->source, SPRY_BAD_INPUT, field->whole.data,
                         "input '%.200s' is defined twice", info.name);
    }
    status = graph_add_value(g, info.name, &id, gr->c->source.error);
    if (status == SPRY_OK) {
        apply_info(&g->values[id], &info);
        g->values[id].is_input = true;
        g->inputs[g->input_count++] = id;
    }
    return status;
}

/* Gives the constant to the input of its name, or makes a value for it. */
static spry_status add_initializer(graph_reader *gr, const wire_field *field,
                                   const onnx_tensor *read)
{
    graph *g = gr->g;
    spry_error *error = gr->c->source.error;
    tensor *t = arena_bytes(g->memory, sizeof *t);
    int32_t id = graph_find_value(g, read->name);
    spry_status status = SPRY_OK;

    if (t == NULL) {
        return alloc_failed(error, sizeof *t);
    }
    *t = read->t;
    if (read->name[0] == '\0' || (id != GRAPH_NONE && g->values[id].constant != NULL)) {
        return wire_fail(&gr->c->source, SPRY_BAD_INPUT, field->whole.data,
                         "initializer '%.200s' has no name or is defined twice", read->name);
    }
    if (id == GRAPH_NONE) {
        status = graph_add_constant(g, read->name, t, &id, error);
    } else {
        graph_type type = graph_type_tensor(t->dtype, t->rank, t->shape);

        if (!infer_merge(&g->values[id].type, &type)) {
            return wire_fail(&gr->c->source, SPRY_BAD_INPUT, field->whole.data,
                             "initializer '%.200s' does not have the type of its input",
                             read->name);
        }
        g->values[id].constant = t;
    }
    if (status == SPRY_OK) {
        g->values[id].unknown_tensor = read->unknown;
    }
    return status;
}

static spry_status read_initializer(graph_reader *gr, const wire_reader *r, const wire_field *field)
{
    onnx_tensor read;
    wire_reader child;
    spry_status status = wire_enter(r, field, &child);

    if (status == SPRY_OK) {
        status = part_of(gr, field) == PART_SPARSE ? onnx_read_sparse(gr->c, child, &read)
                                                   : onnx_read_tensor(gr->c, child, &read);
    }
    return status == SPRY_OK ? add_initializer(gr, field, &read) : status;
}

/* Up to IR version 3 every initializer is listed as an input, though none is meant to be given. */
static void drop_constant_inputs(graph_reader *gr)
{
    graph *g = gr->g;
    int32_t kept = 0;

    if (g->parent != NULL || gr->parts != graph_parts || gr->c->m->ir_version >= 4) {
        return;
    }
    for (int32_t i = 0; i < g->input_count; i++) {
        graph_value *v = &g->values[g->inputs[i]];

        if (v->constant == NULL) {
            g->inputs[kept++] = g->inputs[i];
        } else {
            v->is_input = false;
        }
    }
    g->input_count = kept;
}

static spry_status declare_node(graph_reader *gr, const wire_reader *r, const wire_field *field)
{
    wire_reader child;
    spry_status status = wire_enter(r, field, &child);

    return status == SPRY_OK ? onnx_declare_node(gr->c, child, gr->g) : status;
}

static spry_status read_output(graph_reader *gr, const wire_reader *r, const wire_field *field)
{
    graph *g = gr->g;
    value_info info;
    int32_t id;
    graph_value *v;
    spry_status status = read_info(gr, r, field, &info);

    if (status == SPRY_OK) {
        status = graph_resolve_value(g, info.name, &id, gr->c->source.error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    if (id == GRAPH_NONE) {
        return wire_fail(r->source, SPRY_BAD_INPUT, field->whole.data,
                         "output '%.200s' is not computed by any node", info.name);
    }
    v = &g->values[id];
    if (!v->is_input && v->outer == GRAPH_NONE) {
        apply_info(v, &info);
    }
    v->is_output = true;
    g->outputs[g->output_count++] = id;
    return SPRY_OK;
}

/* Information about a value that does not exist says nothing and is dropped. */
static spry_status read_value_info(graph_reader *gr, const wire_reader *r, const wire_field *field)
{
    value_info info;
    int32_t id;
    spry_status status = read_info(gr, r, field, &info);

    if (status != SPRY_OK) {
        return status;
    }
    id = graph_find_value(gr->g, info.name);
    if (id != GRAPH_NONE && !gr->g->values[id].is_declared && gr->g->values[id].constant == NULL) {
        apply_info(&gr->g->values[id], &info);
    }
    return SPRY_OK;
}

/* ---- step 3: edges ---- */

static spry_status connect_node(graph_reader *gr, const wire_reader *r, const wire_field *field)
{
    wire_reader child;
    spry_status status = wire_enter(r, field, &child);

    return status == SPRY_OK ? onnx_connect_node(gr->c, child, gr->g, gr->next++) : status;
}

static spry_status run_steps(graph_reader *gr)
{
    static const struct {
        part wanted;
        graph_step step;
        void (*after)(graph_reader *gr);
    } steps[] = {
        {PART_INPUT, read_input, NULL},
        {PART_INITIALIZER, read_initializer, NULL},
        {PART_SPARSE, read_initializer, drop_constant_inputs},
        {PART_NODE, declare_node, NULL},
        {PART_OUTPUT, read_output, NULL},
        {PART_INFO, read_value_info, NULL},
        {PART_NODE, connect_node, NULL},
    };
    spry_status status = for_each(gr, PART_OTHER, count_part);

    if (status == SPRY_OK) {
        status = reserve(gr);
    }
    for (size_t i = 0; status == SPRY_OK && i < sizeof steps / sizeof *steps; i++) {
        status = for_each(gr, steps[i].wanted, steps[i].step);
        if (status == SPRY_OK && steps[i].after != NULL) {
            steps[i].after(gr);
        }
    }
    return status == SPRY_OK ? graph_sort(gr->g, gr->c->source.error) : status;
}

static spry_status read_graph(onnx_context *c, wire_reader r, graph *parent, const uint8_t *parts,
                              graph **g)
{
    graph_reader gr = {.c = c, .message = r, .parts = parts};
    spry_status status;

    *g = NULL;
    if (c->subgraph_depth > LIMIT_SUBGRAPH_DEPTH) {
        return wire_fail(&c->source, SPRY_LIMIT, r.at, "subgraphs nest deeper than %d",
                         LIMIT_SUBGRAPH_DEPTH);
    }
    status = graph_create(c->memory, parent, &gr.g, c->source.error);
    if (status == SPRY_OK) {
        c->subgraph_depth++;
        status = run_steps(&gr);
        c->subgraph_depth--;
    }
    *g = gr.g;
    return status;
}

spry_status onnx_read_graph(onnx_context *c, wire_reader r, graph *parent, graph **g)
{
    return read_graph(c, r, parent, graph_parts, g);
}

spry_status onnx_read_body(onnx_context *c, wire_reader r, graph **g)
{
    return read_graph(c, r, NULL, body_parts, g);
}
