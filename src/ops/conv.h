/* What Conv shares with its integer forms: shape rule, geometry, and sums over one output plane at
 * a time in f64, which holds integer sums exactly. */
#ifndef OPS_CONV_H
#define OPS_CONV_H

#include "ops/op.h"
#include "ops/sliding_window.h"

typedef struct conv conv;

struct conv {
    window w;
    int64_t groups;
    int64_t channels; /* input channels per group */
    int64_t rows;     /* output channels per group */
    int64_t taps;     /* positions of the kernel */
    int64_t in_size;  /* pixels of one input plane */
    int64_t out_size;
    const double *x;
    const double *weights;
    const double *bias; /* NULL: none */
    tensor *y;
    double *planes; /* one output plane per worker */
    /* Stores plane number `plane` (of output channel `channel`) of y; may change `out`. */
    void (*write)(const conv *c, int64_t plane, int64_t channel, double *out);
    const void *detail; /* for `write` */
};

/* Output 0 for weights in input `weights_input`. */
SPRY_MUST_USE spry_status conv_infer(op_shapes *s, int weights_input, spry_dtype dtype);
void conv_cost(const op_work *w, int64_t *macs, int64_t *flops);

/* Sets the geometry of *c and the result's shape. Fails with SPRY_BAD_INPUT. */
SPRY_MUST_USE spry_status conv_init(op_call *call, const tensor *x, const tensor *weights,
                                    const tensor *bias, conv *c, int64_t *shape);

/* Computes all planes, after x, weights, bias, y and write are set.
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status conv_planes(op_call *call, conv *c);

#endif
