/* Inspection: what is inside a model, without running it.
 *
 *     spry_inspect_options options = spry_inspect_options_default();
 *     spry_inspection *inspection = NULL;
 *     spry_status status = spry_inspect(model, &options, &inspection, &error);
 *     const spry_inspect_totals *totals = spry_inspection_totals(inspection);
 *     printf("%lld parameters\n", (long long)totals->parameters);
 *     status = spry_inspection_save_html(inspection, "model.html", &error);
 *     spry_inspection_destroy(inspection);
 *
 * Everything that an inspection hands out lives as long as the inspection; the model must outlive
 * it. An inspection does not change and may be read by several threads at once. */
#ifndef SPRY_INSPECT_H
#define SPRY_INSPECT_H

#include <stdbool.h>
#include <stdint.h>

#include "spry/model.h"
#include "spry/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spry_inspection spry_inspection;

/* A symbolic dimension and the size to look at. */
typedef struct spry_dimension {
    const char *symbol;
    int64_t size;
} spry_dimension;

typedef struct spry_inspect_options {
    size_t struct_size; /* sizeof(spry_inspect_options): lets the struct grow */
    int32_t dimension_count;
    const spry_dimension *dimensions;
    bool keep_batch;                 /* a free first dimension stays free instead of becoming 1 */
    const spry_allocator *allocator; /* NULL: the system's */
} spry_inspect_options;

SPRY_API spry_inspect_options spry_inspect_options_default(void);

/* Counts and sizes. -1 stands for "cannot be known without sizes for the free dimensions". */
typedef struct spry_inspect_totals {
    int64_t nodes;         /* of the main graph */
    int64_t nested_nodes;  /* in the bodies of If, Loop and Scan */
    int64_t functions;     /* model-local functions */
    int64_t parameters;    /* elements of all constants that are not i64, bool or text */
    int64_t weight_bytes;  /* of all constants */
    int64_t macs;          /* multiply-accumulates of the nodes whose shapes are known */
    int64_t flops;         /* other arithmetic is counted too */
    int64_t unknown_nodes; /* nodes left out of the two numbers above */
    int64_t peak_bytes;    /* most bytes of inputs and results alive at once; -1 unknown */
    int64_t all_bytes;     /* bytes of all results together; -1 unknown */
    int32_t free_dimensions;
    bool batch_assumed;  /* a free first dimension was taken as 1 */
    const char *problem; /* why shapes could not be inferred, or NULL */
} spry_inspect_totals;

typedef struct spry_inspect_port {
    const char *name;
    const char *type; /* "f32[N,3,224,224]" */
} spry_inspect_port;

typedef struct spry_inspect_operator {
    const char *type;
    const char *domain; /* "" for the standard operators */
    int64_t nodes;      /* nested ones included */
    int64_t parameters;
    int64_t macs; /* of those known */
} spry_inspect_operator;

typedef struct spry_inspect_node {
    const char *label; /* "Conv 'layer1.conv'", never empty */
    const char *name;  /* as in the file; may be "" */
    const char *type;
    const char *domain;
    int32_t opset;
    const char *output; /* name of the first output */
    const char *shape;  /* its type, "f32[1,64,56,56]" */
    int64_t parameters; /* of constants that no earlier node reads */
    int64_t weight_bytes;
    int64_t macs; /* -1 unknown */
    int64_t flops;
    bool is_supported;
} spry_inspect_node;

typedef struct spry_inspect_weights {
    spry_dtype dtype;
    int64_t tensors;
    int64_t elements;
    int64_t bytes;
} spry_inspect_weights;

/* One (operator, opset, element type) that Spry cannot run, with the nodes that need it. */
typedef struct spry_inspect_gap {
    const char *type;
    const char *domain;
    int64_t opset;
    const char *reason; /* "no such operator", "input 0 is f64" */
    int64_t nodes;
    const char *labels; /* of the first ones, separated by ", " */
} spry_inspect_gap;

typedef struct spry_inspect_opset {
    const char *domain;
    int64_t version;
} spry_inspect_opset;

/* Looks at `model`. Shapes that contradict each other do not fail: see totals->problem.
 * Fails with SPRY_USAGE (a dimension that no input has, a size out of range), SPRY_LIMIT. */
SPRY_API SPRY_MUST_USE spry_status spry_inspect(const spry_model *model,
                                                const spry_inspect_options *options,
                                                spry_inspection **inspection, spry_error *error);
/* NULL is allowed. */
SPRY_API void spry_inspection_destroy(spry_inspection *inspection);

SPRY_API const spry_inspect_totals *spry_inspection_totals(const spry_inspection *inspection);

/* Each gives a list and returns its length. Operators and weights: largest first; nodes in the
 * order of the file. */
SPRY_API int32_t spry_inspection_inputs(const spry_inspection *inspection,
                                        const spry_inspect_port **ports);
SPRY_API int32_t spry_inspection_outputs(const spry_inspection *inspection,
                                         const spry_inspect_port **ports);
SPRY_API int32_t spry_inspection_opsets(const spry_inspection *inspection,
                                        const spry_inspect_opset **opsets);
SPRY_API int32_t spry_inspection_operators(const spry_inspection *inspection,
                                           const spry_inspect_operator **operators);
SPRY_API int32_t spry_inspection_nodes(const spry_inspection *inspection,
                                       const spry_inspect_node **nodes);
SPRY_API int32_t spry_inspection_weights(const spry_inspection *inspection,
                                         const spry_inspect_weights **weights);
SPRY_API int32_t spry_inspection_gaps(const spry_inspection *inspection,
                                      const spry_inspect_gap **gaps);
/* Names of the dimensions that are still free. */
SPRY_API int32_t spry_inspection_symbols(const spry_inspection *inspection,
                                         const char *const **symbols);

/* A picture on the page: u8 [H,W], [H,W,1] or [H,W,3]. */
typedef struct spry_inspect_picture {
    const char *group;   /* pictures of one group follow one another, under its name */
    const char *caption; /* under the picture */
    const spry_tensor *image;
} spry_inspect_picture;

/* What the page shows besides the inspection. */
typedef struct spry_inspect_page {
    size_t struct_size; /* sizeof(spry_inspect_page): lets the struct grow */
    const char *title;  /* on top, e.g. the file's name */
    const char *pictures_title;
    const spry_inspect_picture *pictures;
    int32_t picture_count;
} spry_inspect_page;

/* Writes one HTML page that needs no other file and no network, replacing `path` atomically.
 * Fails with SPRY_USAGE (not initialised; no picture), SPRY_LIMIT (memory, more nodes than can be
 * drawn), SPRY_IO. */
SPRY_API SPRY_MUST_USE spry_status spry_inspection_save_page(const spry_inspection *inspection,
                                                             const spry_inspect_page *page,
                                                             const char *path, spry_error *error);

/* The same without pictures. */
SPRY_API SPRY_MUST_USE spry_status spry_inspection_save_html(const spry_inspection *inspection,
                                                             const char *title, const char *path,
                                                             spry_error *error);

#ifdef __cplusplus
}
#endif

#endif
