/* Steps of blocks by what they do to a layer's outputs (PTQ-SL, arXiv 2110.07809): coordinate
 * descent over the blocks across, all blocks down at once, since these own outputs of their own.
 *
 *     for each block h of inputs, for all blocks v of outputs:
 *         step[v][h] = the one of (candidate x its first step, or the present one) that brings the
 *                      outputs of v nearest to those of the float weights, all others as they are
 *
 * Outputs are never computed: errors follow from Gram matrices (quantize/calibrate/gram.h).
 * Changing block (v, h) of the quantized weights w' by D changes
 *
 *     w F w'^T  by  D u_h                  u = w F
 *     w' H w'^T by  2 D p_h + D H_hh D^T   p = w' H
 *
 * The present step stays among the candidates, so the objective never gets worse. */
#ifndef QUANTIZE_BLOCK_SEARCH_H
#define QUANTIZE_BLOCK_SEARCH_H

#include "base/threads.h"
#include "quantize/calibrate/gram.h"
#include "quantize/method/blocks.h"

typedef enum block_metric {
    BLOCK_METRIC_L2,     /* least |W X - W' Q|^2, outputs by their shares where there are any */
    BLOCK_METRIC_COSINE, /* largest cosine between the outputs of a block of channels over all
                            samples */
    BLOCK_METRIC_WEIGHT  /* least |W - W'|^2: needs no matrices */
} block_metric;

enum { BLOCK_SEARCH_MOST_CANDIDATES = 128 };

typedef struct block_search_options {
    block_metric metric;
    double least, most; /* candidates are evenly spaced factors in [least, most], least > 0 */
    int candidates;     /* 2 to BLOCK_SEARCH_MOST_CANDIDATES */
    int rounds;         /* at most; ends when one changes nothing */
    const float *base;  /* steps that factors multiply, [blocks]; NULL: those the record has */
} block_search_options;

/* l2, 36 factors in [0.5, 1.2], two rounds. */
block_search_options block_search_options_default(void);

typedef struct block_search_report {
    double before, after; /* |W X - W' Q|^2, of codes nearest to the weights */
    int rounds;           /* done */
    int64_t changes;      /* steps that are no longer the first ones */
} block_search_report;

/* Changes the steps of `r`, which start the search, and rounds its codes. `sums` are the matrices
 * of its layer, with F and H or without; NULL with BLOCK_METRIC_WEIGHT only, and then errors are
 * those of weights. Bits do not depend on the team. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status block_search(weight_record *r, const float *dense, const gram *sums,
                                       const block_search_options *options,
                                       const spry_allocator *allocator, threads *team,
                                       block_search_report *report, spry_error *error);

/* |w X - v Q|^2, times its share, of output `output` with the values v[size] instead of the weights
 * w[size]. */
double block_search_error(const gram *sums, int64_t outputs, int64_t output, const float *w,
                          const float *v);

#endif
