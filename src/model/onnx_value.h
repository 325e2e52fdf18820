/* Single values in ONNX's own serialisation (TensorProto, SequenceProto, OptionalProto): the form
 * in which models ship test data. */
#ifndef MODEL_ONNX_VALUE_H
#define MODEL_ONNX_VALUE_H

#include "model/graph.h"
#include "tensor/value.h"

/* Fills `v` (initialised, none) with a copy of what the bytes hold. The bytes do not say what they
 * are: `type` does (unknown means a tensor). `name` is the file's, for messages.
 * Fails with SPRY_BAD_INPUT (malformed, or another type), SPRY_UNSUPPORTED (sparse tensors, maps),
 * SPRY_LIMIT (memory, items). `v` is then none. */
SPRY_MUST_USE spry_status onnx_read_value(const spry_allocator *allocator, const char *name,
                                          const void *bytes, size_t size, const graph_type *type,
                                          value *v, spry_error *error);

#endif
