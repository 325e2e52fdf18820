/* The inside of spry_inspection: a copy of the model's graph with all shapes that can be inferred,
 * and what was counted in it. Everything lives in one arena. */
#ifndef INSPECT_SUMMARY_H
#define INSPECT_SUMMARY_H

#include "base/arena.h"
#include "model/graph.h"
#include "model/model.h"
#include "spry/inspect.h"

enum { SUMMARY_LABEL_SIZE = 512, SUMMARY_TYPE_SIZE = 512, SUMMARY_GAP_LABELS = 8 };

struct spry_inspection {
    spry_allocator allocator;
    arena memory;
    const model *m;
    graph *g; /* types inferred for the sizes looked at */
    spry_inspect_totals totals;
    spry_inspect_port *inputs;
    int32_t input_count;
    spry_inspect_port *outputs;
    spry_inspect_opset *opsets;
    spry_inspect_operator *operators;
    int32_t operator_count;
    size_t operator_capacity;
    spry_inspect_node *nodes; /* one per node of g */
    spry_inspect_weights weights[SPRY_DTYPE_COUNT];
    int32_t weight_count;
    spry_inspect_gap *gaps;
    int32_t gap_count;
    const char **symbols;
    int32_t symbol_count;
};

typedef struct spry_inspection summary;

/* A copy of `text` in the summary's arena; NULL when memory ran out. */
const char *summary_text(summary *s, const char *text);
/* The type of a value as text in the arena; NULL when memory ran out. */
const char *summary_type(summary *s, int32_t value);
/* One more element for an array in the arena: it moves when it grows, what it was stays unused.
 * Fails with SPRY_LIMIT. */
SPRY_MUST_USE spry_status summary_grow(summary *s, void **array, size_t *capacity, int32_t count,
                                       size_t size, spry_error *error);

/* The steps of spry_inspect, in this order; each fails with SPRY_LIMIT. */
SPRY_MUST_USE spry_status summary_count_nodes(summary *s, spry_error *error);
SPRY_MUST_USE spry_status summary_find_gaps(summary *s, spry_error *error);
SPRY_MUST_USE spry_status summary_measure_memory(summary *s, spry_error *error);

/* Bytes of inputs and results that are alive while each node of a sorted graph runs, by node, in
 * `memory`; and of all results together. NULL and -1 where a type is not known. Fails with
 * SPRY_LIMIT. */
SPRY_MUST_USE spry_status summary_alive_bytes(const graph *g, arena *memory, int64_t **alive,
                                              int64_t *all, spry_error *error);

/* Bytes of a value of a known tensor type; -1 where they cannot be known. */
int64_t summary_value_bytes(const graph_type *type);
/* Does the node compute anything? Constant nodes only hold a weight. */
bool summary_is_constant_node(const graph_node *node);

#endif
