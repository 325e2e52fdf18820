/* Walking the edges of a graph, for the model layer's own files: what a node reads, directly and
 * through the subgraphs it holds. */
#ifndef MODEL_GRAPH_WALK_H
#define MODEL_GRAPH_WALK_H

#include "model/graph.h"

/* The subgraphs an attribute holds (a reference inside a function body holds none). */
graph *const *graph_attribute_subgraphs(const graph_attribute *attribute, int64_t *count);

/* Called with the id of a value of the node's own graph. */
typedef void (*graph_visit_value)(void *context, int32_t id);

/* Visits every value that the node reads: inputs, then captures of its subgraphs. A value may be
 * visited several times. */
void graph_visit_reads(const graph_node *node, graph_visit_value visit, void *context);

#endif
