/* Normal noise for training with privacy.
 *
 * The bits are a key stream (ChaCha20) of a key that the system's generator of secrets gives anew
 * each time (getrandom), so that nobody can subtract them. Each number is the sum of four
 * independent normal numbers, scaled: the gaps that rounding leaves in any one of them, which could
 * tell what it was added to (Mironov, CCS 2012), are filled by the others. */
#ifndef TRAIN_NOISE_H
#define TRAIN_NOISE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/threads.h"
#include "spry/random.h"
#include "spry/status.h"

typedef struct noise_source {
    bool is_seeded; /* for tests: the key from `seeded`, which protects nothing */
    spry_random seeded;
} noise_source;

/* Adds noise of standard deviation `deviation` to `count` numbers. Which bits each number gets does
 * not depend on the team. Fails with SPRY_IO (the system gives no random bytes): nothing is added.
 */
SPRY_MUST_USE spry_status noise_add(noise_source *source, threads *team, double deviation,
                                    int64_t count, float *numbers, spry_error *error);

#endif
