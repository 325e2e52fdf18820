/* Writing a model as an ONNX file. */
#ifndef MODEL_ONNX_WRITE_H
#define MODEL_ONNX_WRITE_H

#include "model/model.h"

/* protobuf cannot hold 2 GiB; leave room for what readers add. */
#define ONNX_WRITE_INLINE_BYTES (((uint64_t)1 << 31) - ((uint64_t)1 << 20))
/* Smaller tensors stay in the model file. */
enum { ONNX_WRITE_EXTERNAL_BYTES = 1024, ONNX_WRITE_ALIGNMENT = 4096 };

/* As spry_model_save, moving initializers of at least ONNX_WRITE_EXTERNAL_BYTES to `path`.data when
 * the file would be larger than `ceiling`.
 * Fails with SPRY_IO, SPRY_LIMIT (memory, still larger than ONNX_WRITE_INLINE_BYTES). */
SPRY_MUST_USE spry_status onnx_write(const model *m, const char *path, uint64_t ceiling,
                                     spry_error *error);

#endif
