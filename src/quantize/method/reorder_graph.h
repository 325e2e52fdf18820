/* One order of channels for all layers that touch them, in which the blocks of plain, contiguous
 * cuts hold weights of similar size: constants move, weights need no index (PTQ-SL, arXiv
 * 2110.07809; classes of channels and the choice of orders are Spry's own). */
#ifndef QUANTIZE_REORDER_GRAPH_H
#define QUANTIZE_REORDER_GRAPH_H

#include "quantize/job.h"
#include "quantize/method/reorder.h"

typedef struct reorder_graph_report {
    int32_t classes;      /* free ones */
    int32_t moved;        /* of those, with another order than before */
    double before, after; /* sums over layers of their objective as a share of what it was */
} reorder_graph_report;

/* Permutes the constants of job->m, whose weights are chosen and not yet cut. cuts[weight_count]
 * say how each will be cut, dense is not looked at; reports[weight_count] receive REORDER_RANGE
 * before and after. Orders are those that sort channels by the largest weights of a layer, or of
 * all layers together, whichever makes the sum of the layers' shares least, class after class.
 * What the model computes stays, but for the order of sums. Fails with SPRY_LIMIT (memory), and as
 * infer_graph does. */
SPRY_MUST_USE spry_status reorder_graph(quantize_job *job, const reorder_weights *cuts,
                                        reorder_report *reports, reorder_graph_report *report,
                                        spry_error *error);

#endif
