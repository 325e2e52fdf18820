/* The arithmetic of sensitivity: how far rows of scores are from each other. */
#ifndef QUANTIZE_SENSITIVITY_H
#define QUANTIZE_SENSITIVITY_H

#include <stdint.h>

#include "spry/sensitivity.h"

/* KL(p || q) in nats of two rows of `count` >= 1 scores. Rows that are probabilities already (not
 * negative, sum 1) are taken as such, others go through softmax. Never negative; infinite where q
 * excludes what p has, or is not finite. */
double sensitivity_divergence(const float *p, const float *q, int64_t count);

/* Index of the largest of `count` >= 1 scores, the first of equals. */
int64_t sensitivity_best(const float *scores, int64_t count);

#endif
