/* The block function behind spry_random, for kernels that index it by element. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stdint.h>

#include "spry/random.h"

/* Philox4x32-10: four words from a counter (four words) and a key (two words). */
void random_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4]);

#endif
