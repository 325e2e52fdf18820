/* A block as it is planned, and one run.
 *
 * Each worker has a window of rows for each image in between: rows [first, end) of the image, next
 * to each other from the window's start on. Before a strip the rows that nobody reads any more are
 * dropped and the others moved to the start, so that kernels see an image of a few rows. Windows
 * start and end with a guard that nobody may touch. */
#ifndef RUNTIME_BLOCK_STATE_H
#define RUNTIME_BLOCK_STATE_H

#include "runtime/block/block.h"

enum { BLOCK_GUARD = 64, BLOCK_NOWHERE = -1 };

typedef struct block_layer {
    const provider_strips *strips;
    conv_f32_shape shape;    /* of the whole image */
    int in, other;           /* layers that make its images; BLOCK_NOWHERE: outside */
    int in_port, other_port; /* of the block, where outside; other_port -1: nothing is added */
    int64_t first_port;      /* of the layer among the block's */
    block_node view;
    int64_t in_row, out_row; /* bytes of a row */
    int64_t macs;            /* of all images */
    int64_t rows;            /* of its result's window; of the last layer: of a strip */
    int64_t window;          /* offset in the worker's memory, behind the guard */
    int64_t shared;          /* offset of what `begin` leaves */
    void *state;
} block_layer;

/* What a worker has of an image in between. */
typedef struct block_window {
    int64_t first, end;
} block_window;

/* Rows of each layer's result that one strip is about. */
typedef struct block_rows {
    int64_t keep[BLOCK_MOST_LAYERS];  /* the first that this strip or a later one reads */
    int64_t start[BLOCK_MOST_LAYERS]; /* the first to make */
    int64_t end[BLOCK_MOST_LAYERS];   /* behind the last to make */
} block_rows;

typedef struct block_state {
    spry_allocator allocator;
    int layer_count;
    block_layer layers[BLOCK_MOST_LAYERS];
    int64_t batch;
    spry_dtype dtype; /* of the result */
    int64_t strip;    /* rows of the result at a time */
    int64_t piece;    /* rows of the result that are one piece of work */
    int64_t workers;
    int64_t worker_bytes, shared_bytes;
    int64_t workspace;        /* of the worker's kernels: offset in its memory */
    provider_traffic traffic; /* of the last run */
} block_state;

/* The rows [*first, *until) of its input that rows [row, end) of a layer's result read; those
 * outside the image are padding. */
void block_reads(const conv_f32_shape *shape, int64_t row, int64_t end, int64_t *first,
                 int64_t *until);

/* What the strip of rows [row, end) of the result reads and makes, where `made` says up to which
 * row each image has been made (NULL: nothing yet). */
void block_rows_of(const block_state *s, int64_t row, int64_t end, const int64_t *made,
                   block_rows *r);

/* Do the rows of every strip fit the windows? */
bool block_fits(const block_state *s);

/* Reads the node; false when a layer cannot be run by strips. */
bool block_read(const provider_site *site, block_state *s);

/* What is left at the start of each worker's memory for its own account. */
size_t block_worker_header(void);

/* Chooses strips, windows and pieces of work. */
void block_plan(const provider_site *site, block_state *s);

SPRY_MUST_USE spry_status block_run(block_state *s, op_call *call, void *workspace);

#endif
