/* What the files of the ONNX writer share. Bodies of messages are functions over a context, because
 * each runs twice (see wire_write.h). */
#ifndef MODEL_ONNX_EMIT_H
#define MODEL_ONNX_EMIT_H

#include "model/model.h"
#include "model/wire_write.h"

typedef struct onnx_emitter {
    const model *m;
    arena *memory;           /* names made while writing */
    const char *location;    /* of external data; NULL: all tensors inline */
    const uint64_t *offsets; /* per value of the main graph; UINT64_MAX: inline */
    spry_status status;      /* of making names */
    spry_error *error;
} onnx_emitter;

/* A graph of the model, being written. */
typedef struct onnx_graph {
    onnx_emitter *e;
    const graph *g;
} onnx_graph;

/* A GraphProto. */
void onnx_emit_graph(wire_writer *w, const void *onnx_graph);
/* Nodes and value_info, with the field numbers of the message they are in. */
void onnx_emit_nodes(wire_writer *w, const onnx_graph *og, uint32_t number);
void onnx_emit_value_infos(wire_writer *w, const onnx_graph *og, uint32_t number);

/* The name of value `id` as the file has it; "" for GRAPH_NONE. */
const char *onnx_emit_value_name(const onnx_graph *og, int32_t id);

/* A TypeProto: the bytes that were read, while they still say the same. */
void onnx_emit_type(wire_writer *w, uint32_t number, const graph_type *type, graph_bytes raw);

/* A TensorProto. */
typedef struct onnx_tensor_out {
    const tensor *t;
    const char *name;
    graph_bytes unknown;
    const char *location; /* NULL: inline */
    uint64_t offset;
} onnx_tensor_out;
void onnx_emit_tensor(wire_writer *w, const void *onnx_tensor_out);

/* An AttributeProto of a node of `og`. */
void onnx_emit_attribute(wire_writer *w, uint32_t number, const onnx_graph *og,
                         const graph_attribute *a);

#endif
