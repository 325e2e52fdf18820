/* Which samples make the batch of a step: a function of (seed, step), whatever came before.
 *
 * An epoch is floor(count / batch) steps. Shuffled, it takes the first epoch x batch places of a
 * keyed permutation of all samples, another one each epoch, so the few that are left out change.
 * The permutation is computed, never stored: a Feistel network over the next power of four, walked
 * until it lands inside (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002).
 *
 *     SEQUENTIAL  in the data's order
 *     SHUFFLED    every sample at most once per epoch
 *     BALANCED    every class that has samples equally often; within a class every sample once
 *                 before any comes again
 *     POISSON     each sample by itself with probability `rate`, so batches differ in size and may
 *                 be empty: the sampling that accounting for privacy assumes */
#ifndef DATA_SAMPLER_H
#define DATA_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

#include "spry/allocator.h"
#include "spry/status.h"

typedef enum sampler_kind {
    SAMPLER_SHUFFLED = 0,
    SAMPLER_SEQUENTIAL,
    SAMPLER_BALANCED,
    SAMPLER_POISSON
} sampler_kind;

typedef struct sampler_options {
    sampler_kind kind;
    int64_t count; /* samples, at least 1 */
    int64_t batch; /* samples per step, 1 to count; not used by POISSON */
    double rate;   /* POISSON: above 0, at most 1 */
    uint64_t seed;
    const int32_t *labels; /* BALANCED: [count], not negative; read by sampler_init alone */
} sampler_options;

/* One place in a batch. */
typedef struct sampler_pick {
    int64_t index; /* the sample */
    int64_t visit; /* which draw of this sample it is: differs from all its other draws */
    int64_t place; /* where it stands in the permutation it was taken from */
    int64_t group; /* BALANCED: number of the class among those that have samples */
} sampler_pick;

typedef struct sampler {
    sampler_options options;
    spry_allocator allocator;
    int64_t steps;    /* per epoch, at least 1 */
    int64_t classes;  /* BALANCED: one more than the largest label */
    int64_t groups;   /* BALANCED: classes that have samples */
    int64_t *first;   /* [groups + 1]: where each class begins in members */
    int64_t *members; /* [count]: samples by class */
} sampler;

/* Fails with SPRY_USAGE (numbers out of range), SPRY_LIMIT (memory; only BALANCED takes any). */
SPRY_MUST_USE spry_status sampler_init(sampler *s, const sampler_options *options,
                                       const spry_allocator *allocator, spry_error *error);
void sampler_fini(sampler *s);

/* Steps per epoch: floor(count / batch); for POISSON floor(1 / rate). */
int64_t sampler_steps_per_epoch(const sampler *s);
/* How many picks a step can have at most, and how many suffice nearly always (for POISSON: six
 * standard deviations above the mean). */
int64_t sampler_most(const sampler *s);
int64_t sampler_usual(const sampler *s);

/* Fills up to `room` picks of `step` (at least 0), in order, and returns how many the step has;
 * when that is above `room`, call again with more. One sampler may be read by several threads. */
int64_t sampler_draw(const sampler *s, int64_t step, sampler_pick *picks, int64_t room);

/* Who stands in for a pick whose sample cannot be read: its n-th follower (n from 1) in the
 * permutation it came from. False when there is none: all have been through, or POISSON, where a
 * sample that cannot be read is one less. */
bool sampler_stand_in(const sampler *s, const sampler_pick *pick, int64_t n, sampler_pick *other);

/* Place `at` in the permutation of [0, count) that `key` and `round` choose. Both at least 0; at
 * below count. */
int64_t sampler_permute(uint64_t key, int64_t round, int64_t count, int64_t at);

#endif
