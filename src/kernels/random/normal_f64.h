/* Normal numbers from secret bits, for noise that hides numbers (train/noise.h).
 *
 *     words    ChaCha20 (Bernstein 2008; the state as in RFC 8439): the key stream of a key
 *     sums     sums of four independent normal numbers, scaled to variance 1
 *
 * A normal number is sqrt(-2 log u) cos(2 pi v), Box and Muller's, of two uniform numbers of 52
 * bits, strictly between 0 and 1. Each is of two words of its own, so that the four in a sum have
 * lengths and angles of their own. In double precision; every variant gives the same bits. */
#ifndef KERNELS_RANDOM_NORMAL_F64_H
#define KERNELS_RANDOM_NORMAL_F64_H

#include <stdint.h>

#include "kernels/isa.h"

enum {
    NORMAL_F64_KEY = 8,     /* words of 32 bits in a key */
    NORMAL_F64_STATE = 16,  /* in a block of the key stream */
    NORMAL_F64_BLOCKS = 16, /* blocks made at a time */
    NORMAL_F64_BATCH = 16,  /* sums made at a time: all words of those blocks */
    NORMAL_F64_TERMS = 4    /* normal numbers in a sum */
};

/* A variant. */
typedef struct normal_f64_kernel {
    const char *name;
    /* Blocks `first` to first + NORMAL_F64_BLOCKS - 1 of the key stream, word by word: word w of
     * block b lies at to[w][b]. `tail` is what RFC 8439 calls the last two words of the nonce; the
     * counter has 64 bits. */
    void (*words)(const uint32_t key[NORMAL_F64_KEY], uint64_t first, const uint32_t tail[2],
                  uint32_t to[NORMAL_F64_STATE][NORMAL_F64_BLOCKS]);
    /* One sum per block, from its sixteen words. */
    void (*sums)(uint32_t words[NORMAL_F64_STATE][NORMAL_F64_BLOCKS],
                 double sums[NORMAL_F64_BATCH]);
} normal_f64_kernel;

/* The list that dispatch, tests and benchmarks share: lowest level first. */
extern const isa_variant normal_f64_variants[];
extern const int normal_f64_variant_count;

/* The best variant that may run now. */
const normal_f64_kernel *normal_f64_select(void);

#endif
