/* Numbers of single precision to bf16 (1 sign, 8 exponent, 7 fraction bits), as products of bf16
 * read them.
 *
 * To the nearest, ties to even; NaN stays NaN, made quiet. Numbers too small to be normal (below
 * 2^-126) become zeros of their sign: the instructions that multiply bf16 take them for zeros, and
 * the instruction that converts makes them zeros. Every variant gives the same bits. */
#ifndef KERNELS_BRGEMM_BF16_H
#define KERNELS_BRGEMM_BF16_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/isa.h"

/* A variant. */
typedef struct bf16_kernel {
    const char *name; /* "bf16__avx512bf16" */
    void (*narrow)(uint16_t *to, const float *from, int64_t n);
    /* Pairs: even[i] in the lower half of to[i], odd[i] (0 where `odd` is NULL) in the upper. */
    void (*pair)(uint32_t *to, const float *even, const float *odd, int64_t n);
    bool (*present)(void); /* NULL: the variant's level says all */
} bf16_kernel;

/* The list that dispatch, tests and benchmarks share: lowest level first. */
extern const isa_variant bf16_variants[];
extern const int bf16_variant_count;

/* True when the variant may run now. */
bool bf16_usable(const isa_variant *variant);

/* The best variant that may run now. */
const bf16_kernel *bf16_select(void);

#endif
