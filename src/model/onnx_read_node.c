/* NodeProto, in two steps: first every node of a graph declares its outputs, then inputs and
 * attributes (with the captures of subgraphs) find what they mean, in whatever order nodes lie. */
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "model/onnx_parse.h"
#include "ops/op.h"

enum {
    NODE_INPUT = 1,
    NODE_OUTPUT = 2,
    NODE_NAME = 3,
    NODE_TYPE = 4,
    NODE_ATTRIBUTE = 5,
    NODE_DOC = 6,
    NODE_DOMAIN = 7,
    NODE_OVERLOAD = 8
};

static int32_t opset_of(const onnx_context *c, const char *domain)
{
    for (int32_t i = 0; i < c->opset_count; i++) {
        if (strcmp(c->opsets[i].domain, domain) == 0) {
            return (int32_t)c->opsets[i].version;
        }
    }
    return 0;
}

/* Adds which node failed to the error; returns `status`. */
static spry_status name_node(onnx_context *c, const graph *g, const graph_node *node,
                             spry_status status)
{
    spry_error *error = c->source.error;
    char label[SPRY_ERROR_WHERE_SIZE];
    spry_error inner;

    if (error == NULL) {
        return status;
    }
    inner = *error;
    return spry_fail(error, status, inner.where, inner.remedy, "node %s: %s",
                     graph_node_label(g, node, label, sizeof label), inner.what);
}

/* What the first step learns about a node. */
typedef struct node_header {
    const char *name;
    const char *type;
    const char *domain;
    const char *overload;
    const char *doc;
    graph_bytes unknown;
    int32_t inputs;
    int32_t outputs;
    int32_t attributes;
} node_header;

static spry_status read_header_field(onnx_context *c, const wire_reader *r, const wire_field *field,
                                     node_header *h)
{
    switch (field->number) {
    case NODE_INPUT: h->inputs++; return wire_expect(r, field, WIRE_BYTES);
    case NODE_OUTPUT: h->outputs++; return wire_expect(r, field, WIRE_BYTES);
    case NODE_ATTRIBUTE: h->attributes++; return wire_expect(r, field, WIRE_BYTES);
    case NODE_NAME: return onnx_read_name(c, r, field, &h->name);
    case NODE_TYPE: return onnx_read_name(c, r, field, &h->type);
    case NODE_DOMAIN: return onnx_read_name(c, r, field, &h->domain);
    case NODE_OVERLOAD: return onnx_read_name(c, r, field, &h->overload);
    case NODE_DOC: return onnx_read_doc(c, r, field, &h->doc);
    default: return wire_keep(c->memory, &h->unknown, field, c->source.error);
    }
}

static spry_status declare_output(onnx_context *c, const wire_reader *r, const wire_field *field,
                                  graph *g, int32_t node, int32_t port)
{
    const char *name = NULL;
    int32_t id;
    spry_status status = onnx_read_name(c, r, field, &name);

    if (status != SPRY_OK || name[0] == '\0') {
        return status;
    }
    if (graph_find_value(g, name) != GRAPH_NONE) {
        return wire_fail(r->source, SPRY_BAD_INPUT, field->whole.data,
                         "value '%.200s' is defined twice", name);
    }
    status = graph_add_value(g, name, &id, c->source.error);
    if (status == SPRY_OK) {
        graph_set_output(g, node, port, id);
    }
    return status;
}

static spry_status declare_outputs(onnx_context *c, wire_reader r, graph *g, int32_t node)
{
    int32_t port = 0;
    spry_status status = SPRY_OK;

    while (status == SPRY_OK && wire_more(&r)) {
        wire_field field;

        status = wire_next(&r, &field);
        if (status == SPRY_OK && field.number == NODE_OUTPUT) {
            status = declare_output(c, &r, &field, g, node, port++);
        }
    }
    return status;
}

spry_status onnx_declare_node(onnx_context *c, wire_reader r, graph *g)
{
    const wire_reader message = r;
    node_header h = {.name = "", .type = "", .domain = "", .overload = "", .doc = ""};
    int32_t id;
    graph_node *n;
    spry_status status = SPRY_OK;

    while (status == SPRY_OK && wire_more(&r)) {
        wire_field field;

        status = wire_next(&r, &field);
        if (status == SPRY_OK) {
            status = read_header_field(c, &r, &field, &h);
        }
    }
    if (status == SPRY_OK && h.type[0] == '\0') {
        status = wire_fail(&c->source, SPRY_BAD_INPUT, message.at, "node '%.200s' has no operator",
                           h.name);
    }
    if (status != SPRY_OK) {
        return status;
    }
    h.domain = onnx_normal_domain(h.domain);
    status = graph_add_node(g, h.type, h.domain, opset_of(c, h.domain), h.inputs, h.outputs, &id,
                            c->source.error);
    if (status != SPRY_OK) {
        return status;
    }
    n = &g->nodes[id];
    n->name = h.name;
    n->overload = h.overload;
    n->doc = h.doc;
    n->unknown = h.unknown;
    n->attribute_count = h.attributes;
    status = declare_outputs(c, message, g, id);
    return status == SPRY_OK ? SPRY_OK : name_node(c, g, n, status);
}

static spry_status connect_input(onnx_context *c, const wire_reader *r, const wire_field *field,
                                 graph *g, int32_t node, int32_t port)
{
    const char *name = "";
    int32_t id;
    spry_status status = onnx_read_name(c, r, field, &name);

    if (status != SPRY_OK || name[0] == '\0') {
        return status;
    }
    status = graph_resolve_value(g, name, &id, c->source.error);
    if (status == SPRY_OK && id == GRAPH_NONE) {
        return wire_fail(r->source, SPRY_BAD_INPUT, field->whole.data,
                         "input '%.200s' is not defined anywhere", name);
    }
    graph_set_input(g, node, port, id);
    return status;
}

static spry_status read_attribute(onnx_context *c, const wire_reader *r, const wire_field *field,
                                  graph *g, graph_attribute *attributes, int32_t count)
{
    wire_reader child;
    spry_status status = wire_enter(r, field, &child);

    if (status == SPRY_OK) {
        status = onnx_read_attribute(c, child, g, &attributes[count]);
    }
    for (int32_t i = 0; status == SPRY_OK && i < count; i++) {
        if (strcmp(attributes[i].name, attributes[count].name) == 0) {
            status = wire_fail(r->source, SPRY_BAD_INPUT, field->whole.data,
                               "attribute '%.200s' is given twice", attributes[i].name);
        }
    }
    return status;
}

static int32_t used_ports(const int32_t *ports, int32_t count)
{
    while (count > 0 && ports[count - 1] == GRAPH_NONE) {
        count--;
    }
    return count;
}

/* A known operator must have as many ports as its schema says. */
static spry_status check_ports(onnx_context *c, const wire_reader *message, const graph_node *n)
{
    int32_t inputs = used_ports(n->inputs, n->input_count);
    int32_t outputs = used_ports(n->outputs, n->output_count);
    const op *o = n->op;

    if (o == NULL) {
        return SPRY_OK;
    }
    if (n->input_count < o->min_inputs ||
        (o->max_inputs != OP_VARIADIC && inputs > o->max_inputs)) {
        return wire_fail(&c->source, SPRY_BAD_INPUT, message->at,
                         "the operator does not take %d inputs", (int)inputs);
    }
    if (o->max_outputs != OP_VARIADIC && outputs > o->max_outputs) {
        return wire_fail(&c->source, SPRY_BAD_INPUT, message->at,
                         "the operator does not give %d outputs", (int)outputs);
    }
    return SPRY_OK;
}

static spry_status connect_fields(onnx_context *c, wire_reader r, graph *g, int32_t node,
                                  graph_attribute *attributes)
{
    int32_t inputs = 0;
    int32_t read = 0;
    spry_status status = SPRY_OK;

    while (status == SPRY_OK && wire_more(&r)) {
        wire_field field;

        status = wire_next(&r, &field);
        if (status == SPRY_OK && field.number == NODE_INPUT) {
            status = connect_input(c, &r, &field, g, node, inputs++);
        } else if (status == SPRY_OK && field.number == NODE_ATTRIBUTE) {
            status = read_attribute(c, &r, &field, g, attributes, read);
            read += status == SPRY_OK;
        }
    }
    return status;
}

spry_status onnx_connect_node(onnx_context *c, wire_reader r, graph *g, int32_t node)
{
    graph_node *n = &g->nodes[node];
    int32_t count = n->attribute_count;
    graph_attribute *attributes = arena_array(c->memory, (size_t)count, sizeof *attributes);
    spry_status status;

    n->attribute_count = 0; /* none is readable until all are */
    if (attributes == NULL) {
        return alloc_failed(c->source.error, (size_t)count * sizeof *attributes);
    }
    status = connect_fields(c, r, g, node, attributes);
    if (status == SPRY_OK) {
        status = check_ports(c, &r, n);
    }
    if (status != SPRY_OK) {
        return name_node(c, g, n, status);
    }
    n->attributes = attributes;
    n->attribute_count = count;
    return SPRY_OK;
}
