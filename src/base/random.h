/* What stands behind spry_random: the block function, for kernels that index it by element, and
 * functions whose results have the same bits on every machine. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stdint.h>

#include "spry/random.h"

/* Philox4x32-10: four words from a counter (four words) and a key (two words). */
void random_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4]);

/* A seed of its own for one of the purposes that share a seed (shuffling, augmentation, an epoch):
 * streams of different purposes then never meet. */
uint64_t random_branch(uint64_t seed, uint64_t purpose);

/* sin and cos of 2 pi x for x in [0, 1), the same everywhere: the C library's are not. */
void random_sin_cos(double x, double *sine, double *cosine);

#endif
