/* Steps of gradient descent over flat arrays.
 *
 * Weights, gradients and state are arrays of f32 with the same offsets: a parameter group is a
 * range of them, stepped with its own rate and decay. Results depend on the numbers alone, not on
 * the team's size or on how a range is cut.
 *
 *     SGD     g += decay w;  v = g at the first step, then momentum v + (1 - dampening) g;
 *             w -= rate v, with Nesterov's look ahead w -= rate (g + momentum v)
 *     Adam    g += decay w;  m, v = means of g and g^2;
 *             w -= rate m' / (sqrt(v') + epsilon), m' and v' corrected for their start at 0
 *             (Kingma, Ba, arXiv 1412.6980)
 *     AdamW   the same without decay in g; w shrinks by rate decay w first (Loshchilov, Hutter,
 *             arXiv 1711.05101) */
#ifndef TRAIN_OPTIMIZER_H
#define TRAIN_OPTIMIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/threads.h"

typedef enum optimizer_kind { OPTIMIZER_SGD, OPTIMIZER_ADAM, OPTIMIZER_ADAMW } optimizer_kind;

typedef struct optimizer {
    optimizer_kind kind;
    double decay;               /* of the weights, >= 0 */
    double momentum, dampening; /* SGD; both in [0, 1) */
    bool nesterov;              /* SGD */
    double beta1, beta2;        /* Adam: what the means keep, in [0, 1) */
    double epsilon;             /* Adam: > 0 */
} optimizer;

/* SGD without momentum; Adam with 0.9, 0.999, 1e-8; AdamW also with decay 0.01. */
optimizer optimizer_default(optimizer_kind kind);

/* Numbers of state per weight: 0 to 2. */
int optimizer_states(const optimizer *o);

/* One step. `step` counts from 1. state[k] is an array of `count` floats for k below
 * optimizer_states; what it holds before the first step does not matter. The arrays do not overlap.
 */
void optimizer_step(const optimizer *o, threads *team, double rate, int64_t step, int64_t count,
                    const float *gradient, float *weights, float *const *state);

/* The length of the gradient (Euclidean norm, summed in f64), before it is scaled down to `limit`
 * where it is longer. A length that is not finite leaves the gradient as it is. */
double optimizer_clip(threads *team, double limit, int64_t count, float *gradient);

/* Moving average of the weights: twin = keep twin + (1 - keep) weights. */
void optimizer_average(threads *team, double keep, int64_t count, const float *weights,
                       float *twin);

#endif
