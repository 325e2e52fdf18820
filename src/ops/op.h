/* What an operator is: its schema, shape rule, reference kernel and cost, in one descriptor.
 *
 * Each family of operators is one file, e.g. ops/conv.c, that defines a table of `op` ended by an
 * entry without a name, and ops/table.c lists the tables. Adding an operator is one entry; adding a
 * family is one file and one line. Several entries of one name with different `since` describe
 * incompatible versions; the entry with the largest since <= the node's opset counts. */
#ifndef OPS_OP_H
#define OPS_OP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/threads.h"
#include "model/graph.h"
#include "spry/status.h"
#include "tensor/value.h"

typedef struct op op;
typedef struct op_shapes op_shapes;
typedef struct op_call op_call;
typedef struct op_work op_work;

/* Of operators that the standard lacks: the backward pass has them. */
#define OP_OWN_DOMAIN "ai.spry"

enum { OP_VARIADIC = 255, OP_TYPE_SLOTS = 8 };

typedef enum op_flag {
    OP_IN_PLACE = 1 << 0, /* output 0 may overwrite an input of equal type and shape */
    OP_RANDOM = 1 << 1,   /* different results per run: never folded */
    OP_VIEW = 1 << 2,     /* output 0 has input 0's bytes (Reshape, Identity...): may alias */
    OP_LAST_TYPES_REPEAT = 1 << 3, /* variadic inputs: the last mask counts for all further ones */
    OP_SUBGRAPHS = 1 << 4,         /* runs subgraphs held as attributes */
    OP_SHAPE_ONLY = 1 << 5         /* reads only the shape of its inputs (Shape, Size) */
} op_flag;

struct op {
    const char *name;
    const char *domain;             /* "" or e.g. "ai.onnx.ml", "com.microsoft" */
    int since;                      /* first opset version described by this entry */
    uint8_t min_inputs, max_inputs; /* OP_VARIADIC: any number */
    uint8_t min_outputs, max_outputs;
    uint32_t flags;
    /* Element types accepted per input, as masks of dtype_bit(); 0: anything, also no tensor.
     * (Sequence-typed inputs use 0.) The (operator, opset, type) triples outside are reported as
     * unsupported before anything runs. */
    uint32_t types[OP_TYPE_SLOTS];
    /* Sets the types of the outputs from what is known of the inputs. */
    spry_status (*infer)(op_shapes *s);
    /* Computes the outputs. */
    spry_status (*run)(op_call *call);
    /* Adds up what one run costs; NULL: bytes moved only. */
    void (*cost)(const op_work *w, int64_t *macs, int64_t *flops);
    /* What tells operators of one family apart that share a kernel; the family's own struct. */
    const void *detail;
};

/* Common masks for `types`. */
#define OP_FLOATS \
    (1u << SPRY_DTYPE_F32 | 1u << SPRY_DTYPE_F64 | 1u << SPRY_DTYPE_F16 | 1u << SPRY_DTYPE_BF16)
#define OP_SIGNED \
    (1u << SPRY_DTYPE_I8 | 1u << SPRY_DTYPE_I16 | 1u << SPRY_DTYPE_I32 | 1u << SPRY_DTYPE_I64)
#define OP_UNSIGNED \
    (1u << SPRY_DTYPE_U8 | 1u << SPRY_DTYPE_U16 | 1u << SPRY_DTYPE_U32 | 1u << SPRY_DTYPE_U64)
#define OP_INTEGERS (OP_SIGNED | OP_UNSIGNED)
#define OP_NUMERIC (OP_FLOATS | OP_INTEGERS)
#define OP_BOOL (1u << SPRY_DTYPE_BOOL)
#define OP_STRING (1u << SPRY_DTYPE_STRING)
#define OP_INDEX (1u << SPRY_DTYPE_I32 | 1u << SPRY_DTYPE_I64)

/* ---- inference ---- */

/* What `infer` sees. Types may be partly unknown: an unknown input kind or rank must give an
 * unknown output (leave it), not an error. Known facts that contradict the schema are errors:
 * return op_shapes_fail(s, ...). */
struct op_shapes {
    graph *g;
    const graph_node *node;
    const graph_type *const *inputs;  /* NULL for omitted ports */
    const tensor *const *constants;   /* the value where it is known, else NULL */
    const graph_dim *const *contents; /* symbolic contents of small integer tensors, or NULL */
    const int32_t *content_counts;
    graph_type *outputs;         /* to fill; start as unknown */
    graph_dim **output_contents; /* to fill for shape arithmetic; start as NULL */
    int32_t *output_content_counts;
    int32_t input_count;
    int32_t output_count;
    spry_error *error;
};

spry_status op_shapes_fail(op_shapes *s, const char *format, ...) SPRY_PRINTF(2, 3);
/* The type of input `i`, or NULL when omitted or beyond the end. */
const graph_type *op_shapes_input(const op_shapes *s, int i);
/* As above, but NULL unless it is a tensor of known rank. */
const graph_type *op_shapes_ranked(const op_shapes *s, int i);
/* Sets output `i` to a tensor type; the second form leaves the rank unknown. No-ops when the node
 * does not have that output. */
void op_shapes_set(op_shapes *s, int i, spry_dtype dtype, int rank, const graph_dim *dims);
void op_shapes_set_unranked(op_shapes *s, int i, spry_dtype dtype);
/* Output i = type of input j. */
void op_shapes_copy(op_shapes *s, int i, int j);
/* The integers of input `i` (constant, or fully known symbolic contents) into `to`; *count is -1
 * when they are not known. At most `capacity`; more is an error. */
SPRY_MUST_USE spry_status op_shapes_ints(op_shapes *s, int i, int64_t *to, int capacity,
                                         int *count);
/* Multidirectional broadcast of two known-rank types into `dims`; *rank out.
 * Unknown against 1 gives the unknown; against n > 1 gives n. */
SPRY_MUST_USE spry_status op_shapes_broadcast(op_shapes *s, const graph_type *a,
                                              const graph_type *b, graph_dim *dims, int *rank);
/* Ready-made rules */
spry_status op_infer_same(op_shapes *s);      /* output 0 = input 0 */
spry_status op_infer_broadcast(op_shapes *s); /* all inputs broadcast, dtype of input 0 */
spry_status op_infer_compare(op_shapes *s);   /* two inputs broadcast, dtype bool */

/* ---- execution ---- */

/* Services of whoever executes the node. */
typedef struct op_host {
    void *context;
    /* Runs a subgraph: `inputs` in the order of the graph's inputs; `outputs` (initialised, none)
     * are filled. Captured values are found by the host. */
    spry_status (*run_graph)(void *context, const graph *g, const value *inputs,
                             int32_t input_count, value *outputs, int32_t output_count,
                             spry_error *error);
} op_host;

struct op_call {
    const graph *g;
    const graph_node *node;
    const value *const *inputs; /* NULL for omitted ports */
    value **outputs;            /* NULL for outputs nobody wants; a planned output comes as a
                                   tensor over its buffer, others as SPRY_VALUE_NONE */
    int32_t input_count;
    int32_t output_count;
    const spry_allocator *allocator; /* for outputs that were not planned */
    arena *scratch;                  /* freed after the node */
    arena *text;                     /* bytes of string results; lives until the run's end */
    threads *team;                   /* never NULL */
    uint64_t seed;                   /* for OP_RANDOM operators; already unique per node and run */
    const op_host *host;
    spry_error *error;
};

spry_status op_call_fail(const op_call *call, spry_status code, const char *format, ...)
    SPRY_PRINTF(3, 4);
/* Tensor input `i`: dense, never aliased by an output unless OP_IN_PLACE; NULL when omitted. */
const tensor *op_call_input(const op_call *call, int i);
/* True when output `i` exists and somebody reads it. */
bool op_call_wants(const op_call *call, int i);
/* Output `i` as a dense tensor of that type and shape: the planned buffer, or new memory. *out is
 * NULL (and the status ok) when nobody wants it. Contents are unspecified.
 * Fails with SPRY_INTERNAL when the plan says another shape, SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status op_call_output(op_call *call, int i, spry_dtype dtype, int rank,
                                         const int64_t *shape, tensor **out);
/* As above with the shape of `like`. */
SPRY_MUST_USE spry_status op_call_output_like(op_call *call, int i, spry_dtype dtype,
                                              const tensor *like, tensor **out);
/* Memory until the node ends. Fails with SPRY_LIMIT. */
SPRY_MUST_USE spry_status op_call_scratch(op_call *call, size_t bytes, void **memory);
/* A copy of text for a string result. Fails with SPRY_LIMIT. */
SPRY_MUST_USE spry_status op_call_text(op_call *call, const char *data, size_t size,
                                       spry_text *text);
/* All integers of input `i` (any integer type, rank 0 or 1), at most `capacity`; *count is -1 when
 * the input is omitted. Fails with SPRY_BAD_INPUT when there are more or the rank is higher. */
SPRY_MUST_USE spry_status op_call_ints(op_call *call, int i, int64_t *to, int capacity, int *count);
/* A single number from input `i`, or `fallback` when omitted. */
double op_call_scalar(const op_call *call, int i, double fallback);

/* axis in [-rank, rank) -> [0, rank). Returns false when outside. */
bool op_normalize_axis(int64_t axis, int rank, int *normal);

/* ---- cost ---- */

struct op_work {
    const graph_node *node;
    const graph_type *const *inputs; /* static types; NULL for omitted */
    const graph_type *const *outputs;
    int32_t input_count;
    int32_t output_count;
};

/* Elements of a static tensor type; INT64_MAX when there are more than fit. */
int64_t op_work_count(const graph_type *type);

/* ---- lookup (ops/table.c) ---- */

/* The definition for that operator at that opset version, or NULL. */
const op *op_find(const char *domain, const char *name, int64_t opset);
/* The definition of a node: the resolved one, or what op_find says. */
const op *op_of_node(const graph_node *node);
/* All tables, ended by NULL; each table is ended by an entry whose name is NULL. */
const op *const *op_tables(void);

#endif
