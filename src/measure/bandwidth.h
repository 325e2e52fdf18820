/* Bytes per second of a[i] = b[i] + s c[i] in caches and memory, as STREAM counts them. */
#ifndef MEASURE_BANDWIDTH_H
#define MEASURE_BANDWIDTH_H

#include "base/threads.h"
#include "spry/status.h"

enum { BANDWIDTH_LEVELS = 4 }; /* L1, L2, L3, memory */

/* One turn over three arrays of `count` numbers. */
void bandwidth_triad(float *restrict a, const float *restrict b, const float *restrict c,
                     size_t count);

/* Sizes of the caches (of one L1 and L2, guessed where the machine does not tell) and rates of all
 * threads of the team together, each with arrays of its own: halves of the caches, for memory four
 * times the last one. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status bandwidth_measure(threads *team, double sizes[BANDWIDTH_LEVELS - 1],
                                            double rates[BANDWIDTH_LEVELS], spry_error *error);

#endif
