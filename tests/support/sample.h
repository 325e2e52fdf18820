/* Seeded shapes and values for tests against a naive reference, and the comparison itself. */
#ifndef SUPPORT_SAMPLE_H
#define SUPPORT_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "spry/random.h"

/* A size in [0, most] that is likely awkward: 0, 1, a prime, just around a power of two, or any. */
int64_t sample_size(spry_random *random, int64_t most);

/* As sample_size, never 0. */
int64_t sample_positive_size(spry_random *random, int64_t most);

/* Uniform in [least, most]. */
int64_t sample_integer(spry_random *random, int64_t least, int64_t most);

/* Normal values with some exact zeros, as activations have. */
void sample_f32(spry_random *random, float *values, size_t count);

/* Uniform over all values of the type. */
void sample_u8(spry_random *random, uint8_t *values, size_t count);
void sample_i8(spry_random *random, int8_t *values, size_t count);

/* Any bytes; every fourth call draws only from 0, 1, 127, 128, 129, 254 and 255, which make the
 * largest sums. Much faster than the functions above. */
void sample_bytes(spry_random *random, void *bytes, size_t count);

/* Asserts (cmocka) for each element: |got - expected| <= absolute + relative |expected|; NaN equals
 * NaN, and infinities must be equal. The message names the element and `what`. */
void sample_assert_close(const char *what, const float *got, const float *expected, size_t count,
                         double absolute, double relative);

#endif
