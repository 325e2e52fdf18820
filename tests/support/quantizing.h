/* A small model with random samples, on its way to be quantized: for tests of the steps. Anything
 * that fails fails the running test. */
#ifndef SUPPORT_QUANTIZING_H
#define SUPPORT_QUANTIZING_H

#include "quantize/job.h"
#include "support/proto.h"

enum { QUANTIZING_MOST_NODES = 64 };

typedef struct quantizing {
    proto file;
    spry_model *model;
    spry_quantize_options options;
    quantize_job job;
} quantizing;

/* A model around `g`, which is taken over, of operator set 21, and samples of the standard
 * normal distribution: shape[0] of them. With activation_bits 8 activations are calibrated. The
 * weights are chosen and not yet cut. */
void quantizing_init(quantizing *q, proto *g, int rank, const int64_t *shape, int activation_bits);
void quantizing_fini(quantizing *q);

/* Appends an initializer of normal numbers drawn from `seed`. */
void quantizing_weights(proto *g, const char *name, int rank, const int64_t *shape, uint64_t seed);

/* Lets the job search by that method, with its own metric and rounds. */
void quantizing_by(quantizing *q, const method *m);

#endif
