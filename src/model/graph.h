/* The graph: operators (nodes) over values, in single-assignment form.
 *
 * Values and nodes are addressed by index into the graph's arrays; indices stay valid while passes
 * add and remove things. Removed nodes stay in the array with `removed` set until graph_compact.
 * Everything a graph points to (names, attributes, arrays) lives in the arena of its model or
 * session, so nothing is freed singly.
 *
 *     graph            nodes[]: node -> inputs[] value ids -> values[]: value -> producer node id
 *       parent graph (for the bodies of If, Loop, Scan): captured outer values become local
 *       values with `outer` >= 0
 */
#ifndef MODEL_GRAPH_H
#define MODEL_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "spry/status.h"
#include "tensor/tensor.h"

enum { GRAPH_NONE = -1 }; /* "no value" (an omitted optional port), "no node" */

/* One dimension of a type: a known size, a named symbol ("N"), or unknown. */
typedef struct graph_dim {
    int64_t size;       /* >= 0 when known, -1 otherwise */
    const char *symbol; /* interned in the model's arena; NULL when known or anonymous. Two equal
                           names in one graph mean equal sizes. */
} graph_dim;

typedef enum graph_type_kind {
    GRAPH_TYPE_UNKNOWN,
    GRAPH_TYPE_TENSOR,
    GRAPH_TYPE_SEQUENCE, /* element: of tensors */
    GRAPH_TYPE_OPTIONAL, /* element: tensor or sequence */
    GRAPH_TYPE_OTHER     /* map, sparse tensor, opaque: kept as `raw` bytes, never run */
} graph_type_kind;

typedef struct graph_type {
    graph_type_kind kind;
    spry_dtype dtype; /* tensor only */
    bool has_rank;    /* tensor only: false means nothing is known of the shape */
    int rank;
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    const struct graph_type *element; /* sequence, optional */
} graph_type;

/* Bytes of a protobuf message, borrowed from the mapped file or the arena: fields that Spry does
 * not interpret, kept so that a rewritten file loses nothing. */
typedef struct graph_bytes {
    const uint8_t *data;
    size_t size;
} graph_bytes;

typedef struct graph graph;

typedef struct graph_value {
    const char *name; /* unique in its graph; never NULL */
    graph_type type;
    int32_t producer;       /* node that writes it; GRAPH_NONE: input, initializer or capture */
    int32_t outer;          /* id in the parent graph when captured from there; else GRAPH_NONE */
    const tensor *constant; /* initializer or folded value; NULL when it is computed at run time */
    /* For small integer tensors whose elements are known only symbolically (shapes): rank-0/1
     * contents as dimensions; NULL when not tracked. */
    const graph_dim *content;
    int32_t content_count;
    bool is_input;
    bool is_output;
    bool is_declared;           /* has an entry in GraphProto.value_info, input or output */
    graph_bytes raw_type;       /* TypeProto as read: kept while `type` still says the same */
    graph_bytes unknown;        /* of ValueInfoProto */
    graph_bytes unknown_tensor; /* of the initializer's TensorProto */
    const char *doc;
} graph_value;

/* The numbers of AttributeProto.AttributeType. */
typedef enum graph_attribute_kind {
    GRAPH_ATTRIBUTE_NONE = 0,
    GRAPH_ATTRIBUTE_FLOAT = 1,
    GRAPH_ATTRIBUTE_INT = 2,
    GRAPH_ATTRIBUTE_STRING = 3,
    GRAPH_ATTRIBUTE_TENSOR = 4,
    GRAPH_ATTRIBUTE_GRAPH = 5,
    GRAPH_ATTRIBUTE_FLOATS = 6,
    GRAPH_ATTRIBUTE_INTS = 7,
    GRAPH_ATTRIBUTE_STRINGS = 8,
    GRAPH_ATTRIBUTE_TENSORS = 9,
    GRAPH_ATTRIBUTE_GRAPHS = 10,
    GRAPH_ATTRIBUTE_SPARSE_TENSOR = 11,
    GRAPH_ATTRIBUTE_SPARSE_TENSORS = 12,
    GRAPH_ATTRIBUTE_TYPE = 13,
    GRAPH_ATTRIBUTE_TYPES = 14
} graph_attribute_kind;

typedef struct graph_attribute {
    const char *name;
    graph_attribute_kind kind;
    int64_t count;        /* of the plural kinds; 1 for the singular ones */
    const char *ref_name; /* inside a function body: the function's attribute it stands for */
    union {
        const float *floats; /* FLOAT points to one */
        const int64_t *ints;
        const spry_text *strings; /* NUL follows each string's bytes */
        const tensor *tensors;
        graph *const *graphs;
        const graph_type *type;
        const graph_bytes *raw; /* sparse tensors, TYPES */
    } as;
    graph_bytes unknown;
    const char *doc;
} graph_attribute;

struct op; /* ops/op.h: the definition that runs it */

typedef struct graph_node {
    const char *name;   /* "" when the file gives none; graph_node_label never is empty */
    const char *type;   /* operator, e.g. "Conv" */
    const char *domain; /* "" for the standard operators ("ai.onnx" is normalised to "") */
    const char *overload;
    const char *doc;
    int32_t *inputs; /* value ids; GRAPH_NONE for an omitted optional input */
    int32_t input_count;
    int32_t *outputs;
    int32_t output_count;
    graph_attribute *attributes;
    int32_t attribute_count;
    int32_t opset;       /* version of `domain` that the node was written for */
    const struct op *op; /* resolved definition; NULL while unresolved or unsupported */
    graph_bytes unknown;
    bool removed;
} graph_node;

struct graph {
    arena *memory; /* where everything below lives; owned by the model or session */
    graph *parent; /* of a subgraph; NULL at top level */
    const char *name;
    const char *doc;
    graph_value *values;
    int32_t value_count;
    size_t value_capacity;
    graph_node *nodes; /* in topological order after loading and after graph_sort */
    int32_t node_count;
    size_t node_capacity;
    int32_t *inputs; /* in declared order; those with a constant may be left out by callers */
    int32_t input_count;
    int32_t *outputs;
    int32_t output_count;
    graph_bytes unknown;
    struct graph_names *names; /* name -> value id */
    /* The model whose mapped files hold constants; NULL where nobody has said. */
    const struct spry_model *source;
};

/* ---- building; all fail with SPRY_LIMIT (memory or a limit of base/limits.h) ---- */

/* An empty graph in `memory`. */
SPRY_MUST_USE spry_status graph_create(arena *memory, graph *parent, graph **g, spry_error *error);

/* Room for that many values and nodes, so that filling the graph does not move its arrays. */
SPRY_MUST_USE spry_status graph_reserve(graph *g, size_t values, size_t nodes, spry_error *error);

/* A copy of `text` that lives as long as the graph; NULL when memory ran out. */
const char *graph_text(graph *g, const char *text);

/* A new value. `name` NULL or already taken makes a fresh unique one from it. */
SPRY_MUST_USE spry_status graph_add_value(graph *g, const char *name, int32_t *value,
                                          spry_error *error);

/* Value of that name in this graph only (not its parents), or GRAPH_NONE. */
int32_t graph_find_value(const graph *g, const char *name);

/* Value of that name here or in an enclosing graph; in the latter case a captured local value is
 * made. *value is GRAPH_NONE when no graph has it. */
SPRY_MUST_USE spry_status graph_resolve_value(graph *g, const char *name, int32_t *value,
                                              spry_error *error);

/* A constant value; `t` must live as long as the graph. */
SPRY_MUST_USE spry_status graph_add_constant(graph *g, const char *name, const tensor *t,
                                             int32_t *value, spry_error *error);

/* A new node at the end of the node array, with `input_count` and `output_count` ports set to
 * GRAPH_NONE; the caller fills the ports through graph_set_input / graph_set_output. Call
 * graph_sort when done, if it does not belong at the end. */
SPRY_MUST_USE spry_status graph_add_node(graph *g, const char *type, const char *domain,
                                         int32_t opset, int32_t input_count, int32_t output_count,
                                         int32_t *node, spry_error *error);
void graph_set_input(graph *g, int32_t node, int32_t port, int32_t value);
void graph_set_output(graph *g, int32_t node, int32_t port, int32_t value);

/* Adds or replaces an attribute as it is: what it points to must live as long as the graph. */
SPRY_MUST_USE spry_status graph_set_attribute(graph *g, int32_t node,
                                              const graph_attribute *attribute, spry_error *error);

/* Adds or replaces an attribute. The data is copied into the arena. */
SPRY_MUST_USE spry_status graph_set_ints(graph *g, int32_t node, const char *name, int64_t count,
                                         const int64_t *ints, spry_error *error);
SPRY_MUST_USE spry_status graph_set_int(graph *g, int32_t node, const char *name, int64_t number,
                                        spry_error *error);
SPRY_MUST_USE spry_status graph_set_float(graph *g, int32_t node, const char *name, float number,
                                          spry_error *error);
SPRY_MUST_USE spry_status graph_set_string(graph *g, int32_t node, const char *name,
                                           const char *text, spry_error *error);

/* ---- rewriting ---- */

/* Every use of `from` (node inputs, graph outputs, captures in subgraphs) reads `to` instead. When
 * `from` is a graph output, `to` takes over its name and type so that the model's interface stays;
 * where it cannot (graph_can_be_output), an Identity node is added between them (call graph_sort).
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status graph_replace_value(graph *g, int32_t from, int32_t to,
                                              spry_error *error);
/* True when `id` can take over the name of a graph output: not an input, capture or output. */
bool graph_can_be_output(const graph *g, int32_t id);
/* Exchanges the names of two values. */
void graph_swap_names(graph *g, int32_t a, int32_t b);
/* Many replacements at once, without the graph outputs: every use of `id` reads what map[id] leads
 * to, where map[id] == id ends the path. `map` has an entry per value. */
void graph_redirect_uses(graph *g, int32_t *map);
/* The end of the path from `id`. */
int32_t graph_follow(int32_t *map, int32_t id);
/* `to`, which graph_can_be_output, becomes the graph output that `from` was: name and type too. */
void graph_take_output(graph *g, int32_t from, int32_t to);
/* Marks the node removed; its outputs lose their producer. */
void graph_remove_node(graph *g, int32_t node);
/* Drops removed nodes from the array (ids change). */
void graph_compact(graph *g);
/* Orders the nodes topologically, keeping the given order where free (ids change). Drops removed
 * nodes. Fails with SPRY_BAD_INPUT (cycle), SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status graph_sort(graph *g, spry_error *error);

/* ---- asking ---- */

/* Users of every value, nodes in subgraphs counted at the node that holds the subgraph:
 * users[offsets[v]..offsets[v+1]) are node ids. Arrays live in `memory`. */
typedef struct graph_uses {
    const int32_t *offsets; /* value_count + 1 */
    const int32_t *users;
} graph_uses;
SPRY_MUST_USE spry_status graph_find_uses(const graph *g, arena *memory, graph_uses *uses,
                                          spry_error *error);

/* What the value always is, looked up through captures; NULL when it is computed or may be given by
 * the caller (an input with a default). */
const tensor *graph_constant(const graph *g, int32_t id);

/* Is it the standard operator of that name? */
bool graph_node_is(const graph_node *node, const char *type);

/* "Conv 'layer1.0.conv1'" or "Conv #12" for nodes without a name, into `text`; returns `text`. */
char *graph_node_label(const graph *g, const graph_node *node, char *text, size_t size);

/* Attribute of that name, or NULL. */
const graph_attribute *graph_attribute_find(const graph_node *node, const char *name);
/* Their value, or `fallback` when absent or of another kind. */
int64_t graph_attribute_int(const graph_node *node, const char *name, int64_t fallback);
float graph_attribute_float(const graph_node *node, const char *name, float fallback);
const char *graph_attribute_string(const graph_node *node, const char *name, const char *fallback);
/* The list and its length; NULL and 0 when absent or of another kind. */
const int64_t *graph_attribute_ints(const graph_node *node, const char *name, int64_t *count);
const float *graph_attribute_floats(const graph_node *node, const char *name, int64_t *count);
graph *graph_attribute_graph(const graph_node *node, const char *name);

/* A deep copy of structure into `memory` (constants and attribute data are shared; subgraphs are
 * copied). The source must outlive the copy. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status graph_copy(const graph *source, arena *memory, graph *parent,
                                     graph **copy, spry_error *error);

/* A copy of `count` attributes for a node of `g` (subgraphs are copied, other data is shared).
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status graph_copy_attributes(graph *g, const graph_attribute *source,
                                                int32_t count, graph_attribute **copy,
                                                spry_error *error);

/* Types */
graph_type graph_type_tensor(spry_dtype dtype, int rank, const int64_t *shape);
/* True when it is a tensor type whose dimensions are all known. */
bool graph_type_is_static(const graph_type *type);
/* True when kind, element type, rank and sizes are equal (unknown sizes too). */
bool graph_type_same(const graph_type *a, const graph_type *b);
/* "f32[N,3,224,224]", "sequence(f32[?])" into `buffer`; returns it. */
char *graph_type_describe(const graph_type *type, char *buffer, size_t size);

#endif
