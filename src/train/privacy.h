/* How much privacy training with noise spends.
 *
 * One step takes each example with probability `rate`, clips what it adds to the sum of gradients
 * to a length, and adds normal noise of `noise` times that length. What an onlooker can learn of
 * any one example (added or removed) over all steps is bounded by (epsilon, delta).
 *
 * The Renyi divergence of one step at whole orders a >= 2 (Mironov, Talwar, Zhang, arXiv
 * 1908.10530) is
 *
 *     log(sum over i <= a of binomial(a, i) q^i (1 - q)^(a - i) exp((i^2 - i) / (2 noise^2)))
 *     / (a - 1)
 *
 * It adds up over steps, and turns into epsilon by the least over the orders of
 * rdp(a) + log((a - 1) / a) - (log delta + log a) / (a - 1) (Balle and others, arXiv 1905.09982).
 *
 * The bound holds for examples that are drawn independently of each other, not for batches of a
 * shuffled list, and for whatever is published of the weights: not for what is measured on the
 * examples besides. */
#ifndef TRAIN_PRIVACY_H
#define TRAIN_PRIVACY_H

#include <stdbool.h>
#include <stdint.h>

#include "spry/status.h"

enum { PRIVACY_LEAST_ORDER = 2, PRIVACY_MOST_ORDER = 256 };

/* Steps of one kind. */
typedef struct privacy_phase {
    double rate;   /* in [0, 1] */
    double noise;  /* >= 0; 0: none, so that nothing is bounded */
    int64_t steps; /* >= 0 */
} privacy_phase;

typedef struct privacy_spent {
    double epsilon; /* INFINITY where there is no bound */
    int order;      /* that gave it */
    bool at_edge;   /* an order outside of those tried might give less */
} privacy_spent;

/* The divergence of one step at order `order`, from PRIVACY_LEAST_ORDER to PRIVACY_MOST_ORDER. */
double privacy_divergence(double rate, double noise, int order);

/* What `count` phases after each other spend, over the orders up to `most_order`.
 * Fails with SPRY_USAGE (a rate, noise, delta, count or order outside of its range). */
SPRY_MUST_USE spry_status privacy_spend(const privacy_phase *phases, int32_t count, double delta,
                                        int most_order, privacy_spent *spent, spry_error *error);

/* The least noise, to within a relative 1e-6 and never too little, for which `steps` at `rate`
 * spend at most `epsilon`. Fails with SPRY_USAGE also where no noise below 1e6 suffices. */
SPRY_MUST_USE spry_status privacy_noise_for(double rate, int64_t steps, double delta,
                                            double epsilon, double *noise, spry_error *error);

/* A single release with normal noise of `noise` times the most that one example may change: the
 * exact delta at `epsilon` (Balle, Wang, arXiv 1805.06530), and the noise for both, to within a
 * relative 1e-9 and never too little. epsilon >= 0, delta in (0, 1), noise > 0. */
double privacy_release_delta(double noise, double epsilon);
double privacy_release_noise(double epsilon, double delta);

#endif
