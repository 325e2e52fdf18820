/* AdaRound (arXiv 2004.10568): which way each weight is rounded is learnt. With x the position of a
 * weight on its grid, its code is floor(x) + h, h = clip(1.2 sigmoid(v) - 0.1, 0, 1), and v follows
 *
 *     |W X - W' X|^2 / |W X - W'' X|^2 + lambda mean(1 - |2h - 1|^beta)
 *
 * downhill by Adam, row by row of W, where W'' is rounded to the nearest. beta falls from 20 to 2,
 * which drives each h to 0 or 1. (The paper does not divide by the error of W'', and its lambda of
 * 0.01 then suits some layers only.) The first term depends on the inputs through their Gram matrix
 * alone, so a step costs one product with it, whatever the number of samples, and sees all of them:
 * there is nothing random. */
#ifndef QUANTIZE_ADAROUND_H
#define QUANTIZE_ADAROUND_H

#include "base/threads.h"
#include "quantize/calibrate/gram.h"

typedef struct adaround_options {
    int steps;
    float rate;     /* of Adam */
    float lambda;   /* of the term that makes h whole */
    double warm_up; /* share of the steps without it */
} adaround_options;

/* 500 steps of 0.03, lambda 15, a fifth to warm up. */
adaround_options adaround_options_default(void);

/* Rounds dense[outputs][inputs][taps]; the record has its steps and zero points, and the codes
 * nearest to the weights. A row keeps these where what was learnt is no better. The result does not
 * depend on the team. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status adaround_weight(weight_record *r, const float *dense, const gram *sums,
                                          const adaround_options *options,
                                          const spry_allocator *allocator, threads *team,
                                          spry_error *error);

#endif
