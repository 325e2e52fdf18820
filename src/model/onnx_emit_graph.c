/* GraphProto, NodeProto and AttributeProto, written. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "model/onnx_emit.h"

/* ---- names ---- */

static bool is_visible_outside(const graph *g, const char *name)
{
    for (g = g->parent; g != NULL; g = g->parent) {
        if (graph_find_value(g, name) != GRAPH_NONE) {
            return true;
        }
    }
    return false;
}

/* A capture has the name of what it captures. A local value must not hide an outer one, which
 * rewriting (captures that were redirected) can bring about. */
const char *onnx_emit_value_name(const onnx_graph *og, int32_t id)
{
    const graph *g = og->g;
    char text[LIMIT_NAME_BYTES + 32];
    const char *name;

    if (id == GRAPH_NONE) {
        return "";
    }
    while (g->values[id].outer != GRAPH_NONE && g->parent != NULL) {
        id = g->values[id].outer;
        g = g->parent;
    }
    name = g->values[id].name;
    if (!is_visible_outside(g, name)) {
        return name;
    }
    (void)snprintf(text, sizeof text, "%.4000s__inner_%d", name, (int)id);
    name = arena_text(og->e->memory, text, strlen(text));
    if (name == NULL) {
        og->e->status = alloc_failed(og->e->error, sizeof text);
        return "";
    }
    return name;
}

/* ---- attributes ---- */

typedef struct attribute_out {
    const onnx_graph *og;
    const graph_attribute *a;
} attribute_out;

static void emit_attribute_tensors(wire_writer *w, uint32_t number, const graph_attribute *a)
{
    for (int64_t i = 0; i < a->count; i++) {
        const onnx_tensor_out out = {.t = &a->as.tensors[i], .name = ""};

        wire_write_message(w, number, onnx_emit_tensor, &out);
    }
}

static void emit_attribute_graphs(wire_writer *w, uint32_t number, const attribute_out *out)
{
    for (int64_t i = 0; i < out->a->count; i++) {
        const onnx_graph inner = {out->og->e, out->a->as.graphs[i]};

        wire_write_message(w, number, onnx_emit_graph, &inner);
    }
}

static void emit_texts(wire_writer *w, uint32_t number, const graph_attribute *a)
{
    for (int64_t i = 0; i < a->count; i++) {
        wire_write_bytes(w, number, a->as.strings[i].data, a->as.strings[i].size);
    }
}

static void emit_raw(wire_writer *w, uint32_t number, const graph_attribute *a)
{
    for (int64_t i = 0; i < a->count; i++) {
        wire_write_bytes(w, number, a->as.raw[i].data, a->as.raw[i].size);
    }
}

static void emit_attribute_data(wire_writer *w, const attribute_out *out)
{
    const graph_attribute *a = out->a;

    switch (a->kind) {
    case GRAPH_ATTRIBUTE_NONE: break;
    case GRAPH_ATTRIBUTE_FLOAT: wire_write_float(w, 2, a->as.floats[0]); break;
    case GRAPH_ATTRIBUTE_INT: wire_write_integer(w, 3, (uint64_t)a->as.ints[0]); break;
    case GRAPH_ATTRIBUTE_STRING: emit_texts(w, 4, a); break;
    case GRAPH_ATTRIBUTE_TENSOR: emit_attribute_tensors(w, 5, a); break;
    case GRAPH_ATTRIBUTE_GRAPH: emit_attribute_graphs(w, 6, out); break;
    case GRAPH_ATTRIBUTE_FLOATS:
        wire_write_bytes(w, 7, a->as.floats, (size_t)a->count * sizeof *a->as.floats);
        break;
    case GRAPH_ATTRIBUTE_INTS: wire_write_packed_i64(w, 8, a->as.ints, a->count); break;
    case GRAPH_ATTRIBUTE_STRINGS: emit_texts(w, 9, a); break;
    case GRAPH_ATTRIBUTE_TENSORS: emit_attribute_tensors(w, 10, a); break;
    case GRAPH_ATTRIBUTE_GRAPHS: emit_attribute_graphs(w, 11, out); break;
    case GRAPH_ATTRIBUTE_SPARSE_TENSOR: emit_raw(w, 22, a); break;
    case GRAPH_ATTRIBUTE_SPARSE_TENSORS: emit_raw(w, 23, a); break;
    case GRAPH_ATTRIBUTE_TYPE: onnx_emit_type(w, 14, a->as.type, (graph_bytes){NULL, 0}); break;
    case GRAPH_ATTRIBUTE_TYPES: emit_raw(w, 15, a); break;
    }
}

static void emit_attribute(wire_writer *w, const void *context)
{
    const attribute_out *out = context;
    const graph_attribute *a = out->a;

    wire_write_name(w, 1, a->name);
    if (a->ref_name != NULL) {
        wire_write_name(w, 21, a->ref_name);
    } else {
        emit_attribute_data(w, out);
    }
    wire_write_text(w, 13, a->doc);
    wire_write_integer(w, 20, (uint64_t)a->kind);
    wire_write_kept(w, a->unknown);
}

void onnx_emit_attribute(wire_writer *w, uint32_t number, const onnx_graph *og,
                         const graph_attribute *a)
{
    const attribute_out out = {og, a};

    wire_write_message(w, number, emit_attribute, &out);
}

/* ---- nodes ---- */

typedef struct node_out {
    const onnx_graph *og;
    const graph_node *n;
} node_out;

static void emit_node(wire_writer *w, const void *context)
{
    const node_out *out = context;
    const graph_node *n = out->n;

    for (int32_t i = 0; i < n->input_count; i++) {
        wire_write_name(w, 1, onnx_emit_value_name(out->og, n->inputs[i]));
    }
    for (int32_t i = 0; i < n->output_count; i++) {
        wire_write_name(w, 2, onnx_emit_value_name(out->og, n->outputs[i]));
    }
    wire_write_text(w, 3, n->name);
    wire_write_name(w, 4, n->type);
    for (int32_t i = 0; i < n->attribute_count; i++) {
        onnx_emit_attribute(w, 5, out->og, &n->attributes[i]);
    }
    wire_write_text(w, 6, n->doc);
    wire_write_text(w, 7, n->domain);
    wire_write_text(w, 8, n->overload);
    wire_write_kept(w, n->unknown);
}

void onnx_emit_nodes(wire_writer *w, const onnx_graph *og, uint32_t number)
{
    for (int32_t i = 0; i < og->g->node_count; i++) {
        const node_out out = {og, &og->g->nodes[i]};

        if (!out.n->removed) {
            wire_write_message(w, number, emit_node, &out);
        }
    }
}

/* ---- values ---- */

typedef struct value_out {
    const onnx_graph *og;
    int32_t id;
} value_out;

static void emit_value_info(wire_writer *w, const void *context)
{
    const value_out *out = context;
    const graph_value *v = &out->og->g->values[out->id];

    wire_write_name(w, 1, onnx_emit_value_name(out->og, out->id));
    onnx_emit_type(w, 2, &v->type, v->raw_type);
    wire_write_text(w, 3, v->doc);
    wire_write_kept(w, v->unknown);
}

static void emit_ports(wire_writer *w, const onnx_graph *og, uint32_t number, const int32_t *ids,
                       int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        const value_out out = {og, ids[i]};

        wire_write_message(w, number, emit_value_info, &out);
    }
}

void onnx_emit_value_infos(wire_writer *w, const onnx_graph *og, uint32_t number)
{
    for (int32_t i = 0; i < og->g->value_count; i++) {
        const graph_value *v = &og->g->values[i];
        const value_out out = {og, i};

        if (v->is_declared && !v->is_input && !v->is_output && v->producer != GRAPH_NONE) {
            wire_write_message(w, number, emit_value_info, &out);
        }
    }
}

static bool is_initializer(const graph_value *v)
{
    return v->constant != NULL && v->outer == GRAPH_NONE && v->producer == GRAPH_NONE;
}

static void emit_initializers(wire_writer *w, const onnx_graph *og)
{
    const onnx_emitter *e = og->e;
    bool is_main = og->g->parent == NULL && og->g == e->m->main;

    for (int32_t i = 0; i < og->g->value_count; i++) {
        const graph_value *v = &og->g->values[i];
        onnx_tensor_out out = {.t = v->constant, .unknown = v->unknown_tensor};

        if (!is_initializer(v)) {
            continue;
        }
        out.name = onnx_emit_value_name(og, i);
        if (is_main && e->location != NULL && e->offsets[i] != UINT64_MAX) {
            out.location = e->location;
            out.offset = e->offsets[i];
        }
        wire_write_message(w, 5, onnx_emit_tensor, &out);
    }
}

/* Up to IR version 3 initializers must be listed as inputs. */
static void emit_constant_inputs(wire_writer *w, const onnx_graph *og)
{
    for (int32_t i = 0; i < og->g->value_count; i++) {
        const value_out out = {og, i};

        if (is_initializer(&og->g->values[i]) && !og->g->values[i].is_input) {
            wire_write_message(w, 11, emit_value_info, &out);
        }
    }
}

void onnx_emit_graph(wire_writer *w, const void *context)
{
    const onnx_graph *og = context;
    const graph *g = og->g;

    onnx_emit_nodes(w, og, 1);
    wire_write_text(w, 2, g->name);
    emit_initializers(w, og);
    wire_write_text(w, 10, g->doc);
    emit_ports(w, og, 11, g->inputs, g->input_count);
    if (og->e->m->ir_version < 4 && g->parent == NULL) {
        emit_constant_inputs(w, og);
    }
    emit_ports(w, og, 12, g->outputs, g->output_count);
    onnx_emit_value_infos(w, og, 13);
    wire_write_kept(w, g->unknown);
    if (w->status == SPRY_OK) {
        w->status = og->e->status;
    }
}
