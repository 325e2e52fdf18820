/* Which nodes read which weights: through what moves numbers, and as parts of one matrix. */
#ifndef TRAIN_WEIGHT_READERS_H
#define TRAIN_WEIGHT_READERS_H

#include "model/graph.h"
#include "spry/status.h"

enum { WEIGHT_PORTS = 3 };

/* A matrix that is made of weights, beside each other and with zeros around, holds one of them from
 * (row, column) on. */
typedef struct weight_window {
    int32_t weight; /* index into `of` */
    int32_t value;  /* the weight, or what moved its numbers */
    int64_t row, column, rows, columns;
    int32_t next; /* of the same matrix; GRAPH_NONE */
} weight_window;

/* A node that reads weights. */
typedef struct weight_reader {
    int32_t node;
    int32_t output;
    int32_t dy; /* D of the output */
    int32_t weight
        [WEIGHT_PORTS]; /* ports of the node that hold a weight, or GRAPH_NONE: indices into `of` */
    int32_t parts;      /* windows of what port 1 holds, or GRAPH_NONE */
} weight_reader;

typedef struct weight_readers {
    weight_reader *items;
    int32_t count;
    weight_window *windows;
} weight_readers;

/* The readers of the weights `of`, in the order of the nodes; memory is the graph's. Types of
 * matrices are static.
 * Fails with SPRY_UNSUPPORTED (two nodes read the same weight, or one holds it where none is
 * expected: the node is named), SPRY_LIMIT. */
SPRY_MUST_USE spry_status weight_readers_find(graph *g, const int32_t *of, int32_t count,
                                              weight_readers *found, spry_error *error);

/* The weights that `r` reads, indices into `of`; returns how many. */
int32_t weight_readers_list(const weight_readers *all, const weight_reader *r, int32_t *list);

/* Fails: gradients of what the node reads cannot be clipped per example. */
spry_status weight_readers_refuse(const graph *g, int32_t node, const char *why, spry_error *error);

#endif
