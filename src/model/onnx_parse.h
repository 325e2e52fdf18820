/* What the files of the ONNX reader share. The reader works on wire_reader slices of the mapped
 * file and builds into one arena, whose ceiling bounds what a hostile file can cost. */
#ifndef MODEL_ONNX_PARSE_H
#define MODEL_ONNX_PARSE_H

#include "base/files.h"
#include "model/model.h"
#include "model/wire.h"

typedef struct onnx_context {
    wire_source source;
    arena *memory;
    model *m;                  /* NULL when only a tensor or value is read */
    const model_opset *opsets; /* imports of the model or function being read */
    int32_t opset_count;
    int subgraph_depth;
} onnx_context;

/* All functions below fail with SPRY_BAD_INPUT (malformed; the error names file and byte offset),
 * SPRY_LIMIT (a limit of base/limits.h, memory), and those that read tensors with SPRY_IO (external
 * data). */

/* A NUL-terminated copy of a string field: UTF-8, at most `ceiling` bytes. */
SPRY_MUST_USE spry_status onnx_read_text(onnx_context *c, const wire_reader *r,
                                         const wire_field *field, size_t ceiling,
                                         const char **text);
/* As above for what names something: at most LIMIT_NAME_BYTES. */
SPRY_MUST_USE spry_status onnx_read_name(onnx_context *c, const wire_reader *r,
                                         const wire_field *field, const char **name);
/* A documentation string: any length. */
SPRY_MUST_USE spry_status onnx_read_doc(onnx_context *c, const wire_reader *r,
                                        const wire_field *field, const char **doc);
/* "" and "ai.onnx" are the same domain. */
const char *onnx_normal_domain(const char *domain);
SPRY_MUST_USE spry_status onnx_read_opset(onnx_context *c, const wire_reader *r,
                                          const wire_field *field, model_opset *opset);

/* A TensorProto. Elements stay in the file where their alignment allows. */
typedef struct onnx_tensor {
    tensor t;
    const char *name; /* "" when absent */
    graph_bytes unknown;
} onnx_tensor;
SPRY_MUST_USE spry_status onnx_read_tensor(onnx_context *c, wire_reader r, onnx_tensor *out);
/* A SparseTensorProto as a dense tensor, which must fit the parser's memory. */
SPRY_MUST_USE spry_status onnx_read_sparse(onnx_context *c, wire_reader r, onnx_tensor *out);

/* Bytes of a tensor's external data, given the repeated entries of `message`. */
SPRY_MUST_USE spry_status onnx_read_external(onnx_context *c, const wire_reader *message,
                                             graph_bytes *bytes);
/* A storage that unmaps the file when it is dropped; on failure the map is closed. */
SPRY_MUST_USE spry_status onnx_map_storage(const spry_allocator *allocator, file_map *map,
                                           tensor_storage **storage, spry_error *error);
/* Unmaps all external files of a model. */
void onnx_close_externals(model *m);

/* A TypeProto. */
SPRY_MUST_USE spry_status onnx_read_type(onnx_context *c, wire_reader r, graph_type *type);

/* An AttributeProto of a node of `g`; subgraphs resolve their captures in `g`. */
SPRY_MUST_USE spry_status onnx_read_attribute(onnx_context *c, wire_reader r, graph *g,
                                              graph_attribute *attribute);

/* A NodeProto, first its header and outputs, later (node ids in file order) all that it reads. */
SPRY_MUST_USE spry_status onnx_declare_node(onnx_context *c, wire_reader r, graph *g);
SPRY_MUST_USE spry_status onnx_connect_node(onnx_context *c, wire_reader r, graph *g, int32_t node);

/* A GraphProto or the body of a FunctionProto. */
SPRY_MUST_USE spry_status onnx_read_graph(onnx_context *c, wire_reader r, graph *parent, graph **g);
SPRY_MUST_USE spry_status onnx_read_body(onnx_context *c, wire_reader r, graph **g);

#endif
