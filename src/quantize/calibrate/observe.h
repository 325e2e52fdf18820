/* What is remembered of an activation while samples stream by: its range and a histogram, in memory
 * that does not depend on how many there are. */
#ifndef QUANTIZE_OBSERVE_H
#define QUANTIZE_OBSERVE_H

#include <stdint.h>

#include "quantize/grid.h"
#include "spry/status.h"

enum { OBSERVE_BINS = 4096 };

/* Bins cover [-reach, reach); reach is a power of two that doubles when a number lies outside,
 * which merges bins by pairs. The order of numbers therefore does not matter. */
typedef struct observer {
    int64_t count;
    float low, high; /* of all finite numbers so far */
    float reach;     /* 0 until the first number that is not 0 */
    int64_t odd;     /* infinite or not a number: left out */
    int64_t bins[OBSERVE_BINS];
} observer;

/* A zeroed observer is ready. */
void observe(observer *o, const float *x, int64_t count);

/* How a range is chosen. */
typedef enum observe_range {
    OBSERVE_MINMAX,     /* all that was seen */
    OBSERVE_PERCENTILE, /* all but 0.01 % at either end */
    OBSERVE_MSE,        /* the least squared error over 100 ranges */
    OBSERVE_ENTROPY     /* the least divergence of the distribution in 128 levels from that seen */
} observe_range;

/* "minmax", "percentile", "mse" or "entropy". Fails with SPRY_USAGE, naming all. */
SPRY_MUST_USE spry_status observe_range_find(const char *name, observe_range *range,
                                             spry_error *error);

/* The grid of codes of 2 to 8 bits for what was seen; 0 is always a value of it. */
tensor_grid observe_grid(const observer *o, observe_range range, spry_dtype dtype, int bits);

/* The grid of a range that is known without looking; 0 is always a value of it. */
tensor_grid observe_grid_between(double low, double high, spry_dtype dtype, int bits);

#endif
