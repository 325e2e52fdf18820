/* Time per operator, summed over runs. */
#ifndef RUNTIME_PROFILE_H
#define RUNTIME_PROFILE_H

#include <stdint.h>

#include "base/arena.h"
#include "runtime/plan.h"
#include "spry/session.h"

typedef struct profile {
    arena memory; /* labels */
    spry_allocator allocator;
    spry_profile_row *rows;
    size_t capacity;
    int32_t count;
} profile;

void profile_init(profile *p, const spry_allocator *allocator);
void profile_fini(profile *p);
/* Zeroes the sums and keeps the rows. */
void profile_reset(profile *p);

/* Gives every step of `of` a row: that of the same node in an earlier plan, or a new one.
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status profile_attach(profile *p, plan *of, spry_error *error);

/* One call, of a step of which `step` tells. */
void profile_add(profile *p, int32_t row, int64_t nanoseconds, const provider_step *step);

#endif
