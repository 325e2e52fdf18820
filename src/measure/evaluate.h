/* The arithmetic of an evaluation. */
#ifndef MEASURE_EVALUATE_H
#define MEASURE_EVALUATE_H

#include <stdint.h>

#include "spry/evaluate.h"

/* Index of the largest of `count` >= 1 scores, the first of equals; not-a-number counts as less
 * than everything. */
int64_t evaluate_best(const float *scores, int64_t count);

/* How many scores come before score `index` in descending order (of equals the first); `count` when
 * it is not a number. */
int64_t evaluate_rank(const float *scores, int64_t count, int64_t index);

#endif
