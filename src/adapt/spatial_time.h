/* What masked blocks cost, as sums over convolutions of how many of their pixels are kept: in
 * multiply-accumulates, or in milliseconds of a machine that the latency predictor knows.
 *
 * Predictions are not linear in the density; a line is, by least squares over densities of 0.1 to 1
 * (a_b + c_b r_b in LASNet, arXiv 2210.06223). What the pixels around a mask cost the first
 * convolution is a term of its own, so that masks in one piece count for what they are. */
#ifndef ADAPT_SPATIAL_TIME_H
#define ADAPT_SPATIAL_TIME_H

#include "adapt/spatial_block.h"
#include "adapt/structure.h"
#include "tune/latency_machine.h"

/* fixed + sum over convolutions of by_conv[i] * the share of its pixels that is computed */
typedef struct spatial_cost {
    double fixed;
    double by_conv[SPATIAL_CONVS];
    double dense; /* of the block without a mask */
} spatial_cost;

/* A machine by the name that --target of spry predict takes. The memo must outlive it. Fails as
 * target_load. */
SPRY_MUST_USE spry_status spatial_time_open(const spry_allocator *allocator, const char *name,
                                            latency_memo *memo, latency_machine *m,
                                            spry_error *error);

/* The result of the masker's convolution, from the mask back; GRAPH_NONE where it is none. */
int32_t spatial_logits(const graph *s, const spatial_block *b);
/* Cells of the mask of a masked block, for all images. */
const graph_type *spatial_cells(const graph *s, const spatial_block *b);

/* Milliseconds per image of a masked block of `s`, whose types are known. */
spatial_cost spatial_time_block(const latency_machine *m, const graph *s, const spatial_block *b);
/* Milliseconds per image of all products with constant weights that no masked block holds, where
 * `s` is of `batch` images. */
double spatial_time_rest(const latency_machine *m, const graph *s, const spatial_blocks *blocks,
                         const structure *all, double batch);

#endif
