/* Builds protobuf messages byte by byte, so that tests can also build wrong ones. */
#ifndef SUPPORT_PROTO_H
#define SUPPORT_PROTO_H

#include <stddef.h>
#include <stdint.h>

#include "spry/tensor.h"

typedef struct proto {
    uint8_t *data;
    size_t size;
    size_t capacity;
} proto;

void proto_fini(proto *p);
void proto_raw(proto *p, const void *bytes, size_t size);
void proto_int(proto *p, unsigned field, uint64_t integer);
void proto_float(proto *p, unsigned field, float real);
void proto_bytes(proto *p, unsigned field, const void *bytes, size_t size);
void proto_text(proto *p, unsigned field, const char *text);
/* Appends the message and frees it. */
void proto_message(proto *p, unsigned field, proto *child);

/* ONNX: a ValueInfoProto of a tensor (a dimension of -1 is the symbol "N"), a TensorProto with raw
 * data, a NodeProto, a ModelProto around a graph. Names are
 * separated by blanks. */
void proto_value_info(proto *p, unsigned field, const char *name, spry_dtype dtype, int rank,
                      const int64_t *shape);
void proto_tensor(proto *p, unsigned field, const char *name, spry_dtype dtype, int rank,
                  const int64_t *shape, const void *data, size_t size);
void proto_node(proto *p, unsigned field, const char *type, const char *inputs,
                const char *outputs);
/* A node with the attributes that were put into `attributes`, which it takes over. */
void proto_node_with(proto *p, unsigned field, const char *type, const char *inputs,
                     const char *outputs, proto *attributes);
void proto_attribute_int(proto *attributes, const char *name, int64_t number);
/* Takes over `graph`. */
void proto_attribute_graph(proto *attributes, const char *name, proto *graph);
/* Takes over `graph`. */
void proto_model(proto *p, int64_t ir_version, int64_t opset, proto *graph);

#endif
