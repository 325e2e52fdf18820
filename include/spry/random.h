/* Random numbers that are the same on every machine and with any number of threads.
 *
 * A generator is a position in one of 2^64 independent streams of a seed. Nothing is carried from
 * draw to draw: the numbers at a position are a function of (seed, stream, position), so threads
 * can each start where their share of the work begins.
 *
 *     spry_random r = spry_random_stream(42, 0);
 *     float x = spry_random_f32(&r);
 *
 * The function is Philox4x32-10 (Salmon and others, "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011). It is not fit for secrets. */
#ifndef SPRY_RANDOM_H
#define SPRY_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#include "spry/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A plain value: copy it to keep a position. One generator must not be used by two threads at once;
 * make one per thread, each with its own stream or position. */
typedef struct spry_random {
    uint64_t seed;
    uint64_t stream;
    uint64_t position; /* 32-bit words drawn so far; wraps after 2^64 */
    uint32_t block[4]; /* the words around the position; internal */
} spry_random;

/* The beginning of stream `stream` of `seed`. */
SPRY_API spry_random spry_random_stream(uint64_t seed, uint64_t stream);

/* Moves to a position, counted in 32-bit words from the stream's beginning. */
SPRY_API void spry_random_seek(spry_random *random, uint64_t position);

/* A uniform integer of 32 bits (draws one word) or 64 bits (two words, the low one first). */
SPRY_API uint32_t spry_random_u32(spry_random *random);
SPRY_API uint64_t spry_random_u64(spry_random *random);

/* Uniform in [0, bound), without bias; 0 when bound is 0. Draws two words, rarely more. */
SPRY_API uint64_t spry_random_below(spry_random *random, uint64_t bound);

/* Uniform in [0, 1): a multiple of 2^-24 (one word) or of 2^-53 (two words). */
SPRY_API float spry_random_f32(spry_random *random);
SPRY_API double spry_random_f64(spry_random *random);

/* Normally distributed with mean 0 and variance 1 (Box-Muller; four words). */
SPRY_API double spry_random_normal(spry_random *random);

/* Fills `count` values: uniform in [low, high), computed as low + u (high - low), so that rounding
 * may reach high; or normal with a mean and a standard deviation. A uniform value draws one word;
 * two normal values together draw two, so an odd count leaves the last partner unused. */
SPRY_API void spry_random_fill_uniform(spry_random *random, float *values, size_t count, float low,
                                       float high);
SPRY_API void spry_random_fill_normal(spry_random *random, float *values, size_t count, float mean,
                                      float deviation);

#ifdef __cplusplus
}
#endif

#endif
