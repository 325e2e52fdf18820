/* Normal noise for training with privacy.
 *
 * Numbers come from the system's generator of secrets (getrandom), so that nobody can subtract
 * them. Each is the sum of four independent normal numbers, scaled: the gaps that rounding leaves
 * in any one of them, which could tell what it was added to (Mironov, CCS 2012), are filled by the
 * others. */
#ifndef TRAIN_NOISE_H
#define TRAIN_NOISE_H

#include <stdbool.h>
#include <stdint.h>

#include "spry/random.h"
#include "spry/status.h"

typedef struct noise_source {
    bool is_seeded; /* for tests: from `seeded`, which protects nothing */
    spry_random seeded;
} noise_source;

/* Adds noise of standard deviation `deviation` to `count` numbers.
 * Fails with SPRY_IO (the system gives no random bytes); some numbers may then have got theirs. */
SPRY_MUST_USE spry_status noise_add(noise_source *source, double deviation, int64_t count,
                                    float *numbers, spry_error *error);

#endif
