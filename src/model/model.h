/* The inside of spry_model: everything a ModelProto says, with the graph in editable form. */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include "base/arena.h"
#include "model/graph.h"
#include "spry/model.h"

typedef struct model_opset {
    const char *domain; /* "" for the standard operators */
    int64_t version;
} model_opset;

typedef struct model_metadata {
    const char *key;
    const char *text;
} model_metadata;

/* A file that holds external weights, mapped once for all tensors in it. */
typedef struct model_file {
    const char *location; /* as the model names it, relative to its folder */
    tensor_storage *map;
    graph_bytes bytes;
    struct model_file *next;
} model_file;

/* A model-local function: a body whose inputs are positional, to be inlined or recognised. */
typedef struct model_function {
    const char *domain;
    const char *name;
    const char *overload;
    const char *doc;
    const model_opset *opsets;
    int32_t opset_count;
    const char *const *attributes; /* names of attributes without a default */
    int32_t attribute_count;
    const graph_attribute *defaults; /* attributes with a default */
    int32_t default_count;
    graph *body;
    graph_bytes unknown;
} model_function;

/* Weights that are copied out of the file while somebody needs them (weights.h). */
typedef struct model_weights model_weights;

struct spry_model {
    spry_allocator allocator;
    arena memory;
    const char *path;     /* for messages; "<memory>" when parsed from memory */
    const char *folder;   /* NULL: external data refused */
    tensor_storage *file; /* the mapped file; NULL when parsed from memory */
    graph_bytes file_bytes;
    model_file *externals;
    model_weights *weights; /* NULL: none; shared with copies */
    int64_t ir_version;
    const char *producer_name;
    const char *producer_version;
    const char *domain;
    int64_t version;
    const char *doc;
    model_opset *opsets;
    int32_t opset_count;
    model_metadata *metadata;
    int32_t metadata_count;
    model_function *functions;
    int32_t function_count;
    graph *main;
    graph_bytes unknown;
    bool is_copy; /* by model_copy: files and weights belong to the source */
    /* Of the mapped files (file_map.identity), so that what was made of the model can be found
     * again; 0: nobody can tell. */
    uint64_t identity;
};

typedef struct spry_model model;

/* An empty model without a graph, whose memory may hold `ceiling` bytes; spry_model_destroy frees
 * it. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status model_create(const spry_allocator *allocator, size_t ceiling, model **m,
                                       spry_error *error);

/* Gives the mapped pages of the model's files back to the system (file_map_release): weights that
 * were folded or packed need not be resident twice. Any thread may be reading them. */
void model_release_pages(const model *m);

/* Version of `domain` that the model imports; 0 when it does not. */
int64_t model_opset_version(const model *m, const char *domain);
/* The function, or NULL. */
const model_function *model_find_function(const model *m, const char *domain, const char *name,
                                          const char *overload);
/* Adds a function, which no function of the model may be called like, imports version 1 of its
 * domain where none is, and raises the IR version to one that has functions. What `f` points to
 * must live as long as the model. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status model_add_function(model *m, const model_function *f, spry_error *error);
/* A model like `source`, which must outlive it, with a main graph of its own to change; weights,
 * functions and names are shared. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status model_copy(const model *source, model **copy, spry_error *error);

/* True when the main graph's input `index` must be given by the caller (no initializer). */
bool model_input_is_required(const model *m, int32_t index);

#endif
