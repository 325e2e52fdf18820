/* Gram matrices of layers' inputs: all that a squared error of outputs depends on.
 *
 *     X      the input of a layer over all samples, a column per output (columns.h)
 *     G = X X^T      |W X - W' X|^2 = trace((W - W') G (W - W')^T)
 *
 * With inputs that are quantized too, Q = quantized(X), F = X Q^T and H = Q Q^T:
 *
 *     |W X - W' Q|^2 = trace(W G W^T) - 2 trace(W F W'^T) + trace(W' H W'^T)
 *
 * Where elements of outputs matter to a different degree (fisher.h), what stands for that is one
 * number per column, the mean over the outputs of a group, times one per output, its share: columns
 * are scaled by the root of theirs, |W X - W' X|^2 of output o by outputs[o].
 *
 * Samples stream through the float model; sums of 512 columns are products of f32, added up in f64
 * in the order of the samples. Bits do not depend on the number of threads. */
#ifndef QUANTIZE_GRAM_H
#define QUANTIZE_GRAM_H

#include "quantize/calibrate/fisher.h"
#include "quantize/job.h"

/* Of one weight tensor. Output o of it belongs to group o / (outputs / groups). */
typedef struct gram {
    int64_t groups;  /* of a convolution; 1 otherwise */
    int64_t size;    /* inputs x taps: length of a row of weights, in its order */
    int64_t columns; /* that were summed */
    double *sum;     /* [groups][size]: of the columns */
    double *xx;      /* [groups][size][size]: G */
    double *xq;      /* F, rows are those of X; same as xx when the input stays f32; or NULL */
    double *qq;      /* H, likewise */
    double *outputs; /* of each output: how much its errors count, 1 in the mean; NULL: all alike */
    const char *remark; /* why all count alike although importance is asked for; or NULL */
} gram;

typedef struct gram_options {
    size_t budget;        /* bytes of matrices that are summed in one pass over the samples; a layer
                             that takes more gets a pass of its own */
    int64_t most_columns; /* per operator over all samples; an even choice of them. 0: all */
    bool quantized;       /* F and H too, with the grids of job->activations */
    const bool *wanted;   /* [job->weight_count]; NULL: all */
    const model *m;       /* runs instead of job->m, with the same nodes; NULL: job->m */
    fisher_metric metric; /* FISHER_NONE, or one with gradients: errors count by importance */
    const char *remark;   /* for gram.remark */
} gram_options;

/* 256 MB, 65536 columns. */
gram_options gram_options_default(void);

/* True when the inputs of that weight's operators can be seen as columns. */
bool gram_is_possible(const quantize_job *job, const weight_record *r);

/* Sees the matrices of job->weights[index], which die with the call. It may change that record. */
typedef spry_status (*gram_visitor)(void *context, int32_t index, const gram *sums,
                                    spry_error *error);

/* Shows all wanted weights for which it is possible, in the order of job->weights, but those whose
 * importance is all 0 last: their elements count alike. Weights that several operators share get
 * the sum over these. Fails with SPRY_LIMIT (memory), as samples_visit and as the visitor do. */
SPRY_MUST_USE spry_status gram_for_each(quantize_job *job, const gram_options *options,
                                        gram_visitor visitor, void *context, spry_error *error);

#endif
