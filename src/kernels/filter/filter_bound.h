/* What dropping keys can cost at most: bounds of exact scores from the codes of 4 bits alone. An
 * element of a key lies within half a step of the middle of its code's interval, so a score lies
 * within half a step times the sum of the query's magnitudes of the score of the middles. */
#ifndef KERNELS_FILTER_FILTER_BOUND_H
#define KERNELS_FILTER_FILTER_BOUND_H

#include "kernels/filter/filter.h"

enum {
    FILTER_DIGITS = 3,           /* of a query's code, 4 bits each */
    FILTER_BOUND_CODE = 7 * 273, /* the largest code of such digits */
    FILTER_BOUND_PLANES = 2
};

/* A query in finer codes than filter_query's, and what follows for its scores. */
typedef struct filter_bound {
    int8_t *digits[FILTER_DIGITS]; /* [4 * filter_row_bytes] each, the highest first */
    /* Score of a key, in units of log 2: unit * (sum of codes' products) + middle, give or take
     * `radius`. */
    float unit, middle, radius;
} filter_bound;

/* Bytes for the digits. */
int64_t filter_bound_bytes(int64_t size);

/* `scale` of scores as in filter_call; `room` has filter_bound_bytes. False if q is not finite. */
bool filter_bound_query(const filter_keys *keys, const float *q, float scale, int8_t *room,
                        filter_bound *bound);

/* upper[i]: the most that the score of key index[i] can be, in units of log 2. `s` is workspace for
 * min(n, FILTER_BLOCK) int32. Adds to `work`. */
void filter_bound_scores(const filter_kernel *kernel, const filter_keys *keys,
                         const filter_bound *bound, const int32_t *index, int64_t n, int32_t *s,
                         float *upper, filter_work *work);

#endif
