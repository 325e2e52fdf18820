/* Numbers that change while a network learns: the rate, a temperature, the weight of a loss. Pure
 * functions of the step, so that a resumed run needs no state.
 *
 * Step t of `total` counts from 0. The first `warm_up` steps rise to `base` in equal parts, the
 * last of them reaching it; what follows depends on the kind, with u = t - warm_up, n = total -
 * warm_up and p = min(u / n, 1):
 *
 *     CONSTANT     base
 *     STEPS        base gamma^(u / every), whole divisions
 *     MILESTONES   base gamma^k, k milestones at or before step t
 *     EXPONENTIAL  base gamma^u
 *     POLYNOMIAL   least + (base - least) (1 - p)^power; a line for power 1
 *     COSINE       least + (base - least) (1 + cos(pi p)) / 2
 *     ONE_CYCLE    from base / 25 up by a half cosine over 30 % of the steps, then down to `least`
 *                  (Smith, Topin, arXiv 1708.07120) */
#ifndef TRAIN_SCHEDULE_H
#define TRAIN_SCHEDULE_H

#include <stdint.h>

typedef enum schedule_kind {
    SCHEDULE_CONSTANT,
    SCHEDULE_STEPS,
    SCHEDULE_MILESTONES,
    SCHEDULE_EXPONENTIAL,
    SCHEDULE_POLYNOMIAL,
    SCHEDULE_COSINE,
    SCHEDULE_ONE_CYCLE
} schedule_kind;

typedef struct schedule {
    schedule_kind kind;
    double base;
    double least;              /* where POLYNOMIAL, COSINE and ONE_CYCLE end */
    int64_t warm_up, total;    /* steps */
    double gamma;              /* STEPS, MILESTONES, EXPONENTIAL */
    int64_t every;             /* STEPS; >= 1 */
    const int64_t *milestones; /* MILESTONES, ascending */
    int32_t milestone_count;
    double power; /* POLYNOMIAL */
} schedule;

/* The number at step `t` >= 0. Behind the last step the kinds with an end stay there. */
double schedule_at(const schedule *s, int64_t t);

#endif
