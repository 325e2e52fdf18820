/* Models: an ONNX file in memory, to be inspected, changed, saved, or run through a session.
 *
 *     spry_model *model = NULL;
 *     spry_status status = spry_model_load(NULL, "resnet50.onnx", &model, &error);
 *     ...
 *     spry_model_destroy(model);
 *
 * Weights stay in the mapped file (nothing is copied), so the file must not be changed while the
 * model lives. A model may be read by several threads at once, and changed by one. */
#ifndef SPRY_MODEL_H
#define SPRY_MODEL_H

#include <stdint.h>

#include "spry/allocator.h"
#include "spry/status.h"
#include "spry/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spry_model spry_model;

/* Reads an ONNX file (opset 7 to the newest, IR version 3 and later). External data must lie in the
 * model's folder or below.
 * Fails with SPRY_IO (cannot be opened or mapped), SPRY_BAD_INPUT (not a valid ONNX model: the
 * error names file and byte offset), SPRY_LIMIT (a limit of docs/limits.md, memory). */
SPRY_API SPRY_MUST_USE spry_status spry_model_load(const spry_allocator *allocator,
                                                   const char *path, spry_model **model,
                                                   spry_error *error);

/* As spry_model_load, from `size` bytes in memory, which the caller keeps unchanged while the model
 * lives. `folder` is where external data is looked for; NULL refuses external data. */
SPRY_API SPRY_MUST_USE spry_status spry_model_parse(const spry_allocator *allocator,
                                                    const void *bytes, size_t size,
                                                    const char *folder, spry_model **model,
                                                    spry_error *error);

/* Writes the model as an ONNX file, replacing `path` atomically. Parts that Spry does not interpret
 * are kept. Models above 2 GiB put their weights into `path`.data beside it.
 * Fails with SPRY_IO, SPRY_LIMIT (memory). */
SPRY_API SPRY_MUST_USE spry_status spry_model_save(const spry_model *model, const char *path,
                                                   spry_error *error);

/* Makes its file as small as it gets without another result: values and nodes lose their names
 * (inputs and outputs keep them), small constants that are equal become one, attributes, zero
 * points and texts that change nothing go. What looks for layers by name, such as
 * spry_model_expose, finds none afterwards. Fails with SPRY_LIMIT (memory). */
SPRY_API SPRY_MUST_USE spry_status spry_model_compact(spry_model *model, spry_error *error);

/* Frees the model; NULL is allowed. Sessions made from it must be destroyed first. */
SPRY_API void spry_model_destroy(spry_model *model);

/* What the model takes (inputs without a default) and gives. */
SPRY_API int32_t spry_model_input_count(const spry_model *model);
SPRY_API int32_t spry_model_output_count(const spry_model *model);

/* Description of one input or output. Strings live as long as the model. */
typedef struct spry_port {
    const char *name;
    spry_dtype dtype;                    /* SPRY_DTYPE_NONE when it is not a tensor or not stated */
    int rank;                            /* -1 when not stated */
    int64_t shape[SPRY_TENSOR_MAX_RANK]; /* -1 where not fixed */
    const char *symbol[SPRY_TENSOR_MAX_RANK]; /* name of a symbolic dimension, or NULL */
} spry_port;

/* Fails with SPRY_USAGE when `index` is out of range. */
SPRY_API SPRY_MUST_USE spry_status spry_model_input(const spry_model *model, int32_t index,
                                                    spry_port *port, spry_error *error);
SPRY_API SPRY_MUST_USE spry_status spry_model_output(const spry_model *model, int32_t index,
                                                     spry_port *port, spry_error *error);

/* One node that Spry cannot run. Strings are valid during the callback only. */
typedef struct spry_unsupported {
    size_t struct_size; /* sizeof(spry_unsupported): lets the struct grow */
    const char *node;   /* label: operator and name, or operator and number */
    const char *type;   /* operator */
    const char *domain; /* "" for the standard operators */
    int64_t opset;      /* version of the domain that the model imports; 0: none */
    int32_t input;    /* -1: the operator itself; else the input whose element type is not known */
    spry_dtype dtype; /* of that input */
} spry_unsupported;

typedef void (*spry_unsupported_callback)(void *context, const spry_unsupported *item);

/* Calls `callback` (which may be NULL) for everything in the model, subgraphs and functions
 * included, that a session would refuse as unsupported, in order; *count tells how many.
 * Fails with SPRY_LIMIT (memory), SPRY_BAD_INPUT (functions that call each other in circles). */
SPRY_API SPRY_MUST_USE spry_status spry_model_unsupported(const spry_model *model,
                                                          spry_unsupported_callback callback,
                                                          void *context, int64_t *count,
                                                          spry_error *error);

#ifdef __cplusplus
}
#endif

#endif
