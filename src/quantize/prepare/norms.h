/* Normalizations whose result only layers with weights read: an affine map per channel, into whose
 * factors and offsets another map can be moved that the layers behind take back. */
#ifndef QUANTIZE_NORMS_H
#define QUANTIZE_NORMS_H

#include "quantize/job.h"

/* y = gamma x + beta per channel of the last axis: the end of a LayerNormalization, or a Mul and
 * an Add. */
typedef struct norm {
    int32_t result;
    int32_t gamma_node, gamma_port, beta_node, beta_port;
    const float *gamma, *beta; /* [channels]; no beta: NULL */
    int64_t channels;
    float *low, *high; /* [channels], over the samples; of one that never was infinite */
} norm;

typedef struct norms {
    quantize_job *job;
    graph *g; /* of job->m */
    arena memory;
    graph_uses uses;
    norm *list;
    int32_t count;
} norms;

/* Finds them in job->m and runs the samples for their ranges. Release with norms_release, also
 * after a failure. Fails as samples_visit, and with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status norms_find(quantize_job *job, norms *found, spry_error *error);
void norms_release(norms *found);

/* The largest |weight| that each channel of `n` meets, most[channels], in the layers behind. */
void norms_weights(const norms *found, const norm *n, double *most);

/* Lets the normalization give y / r - b, and the layers behind it take that back: weights times r,
 * and sum W r b in their biases; b NULL: zeros. The graph must be sorted afterwards. Fails with
 * SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status norms_move(norms *found, const norm *n, const double *r, const double *b,
                                     spry_error *error);

#endif
