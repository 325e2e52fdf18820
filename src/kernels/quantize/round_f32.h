/* Weights to codes: ranges, rounding to the nearest code, and SQuant's first stage, which turns
 * roundings round until the errors of each unit (a kernel, a group of inputs) sum to at most half a
 * step. An error is code - position, in steps; a position is weight / step + zero.
 *
 * All variants give the same bits: sums are made in double in an order that is part of the
 * contract. */
#ifndef KERNELS_QUANTIZE_ROUND_F32_H
#define KERNELS_QUANTIZE_ROUND_F32_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/isa.h"

/* Units are worked on so many at a time at most; sums of rows are made in as many lanes. */
enum { ROUND_F32_LANES = 16 };

/* Consecutive weights of one step. */
typedef struct round_f32_row {
    const float *weights; /* [count], finite */
    int64_t count;
    float step;
    int32_t zero;
    int32_t low, high; /* the least and the largest code */
    int8_t *codes;     /* [count] */
    /* [count]: the error where rounding the other way gives a code, else 0 */
    float *errors;
    double sum, size; /* results: of errors and of their magnitudes, ineligible ones included */
} round_f32_row;

/* Units of `size` consecutive weights, and what became of each of them. */
typedef struct round_f32_units {
    const float *weights; /* [units][size], finite */
    int64_t units, size;
    const float *steps; /* of unit u at u x stride; stride is 0 or 1 */
    const int32_t *zeros;
    int64_t stride;
    int32_t low, high;
    int8_t *codes;         /* [units][size] */
    double *before;        /* [units]: sum of errors, elements in their order */
    double *after;         /* [units]: the same after `flips` */
    int32_t *flips;        /* [units] */
    float *next;           /* [units]: error of the element that may move next, 0 when none may */
    int32_t *next_element; /* [units]: which it is */
    /* Room for round_f32_scratch(size) numbers. */
    int32_t *scratch;
} round_f32_units;

static inline int64_t round_f32_scratch(int64_t size)
{
    return 4 * ROUND_F32_LANES * size;
}

/* Weights and the codes they have. */
typedef struct round_f32_codes {
    const float *weights;
    const int8_t *codes;
    int64_t count;
    float step;
    float zero;
} round_f32_codes;

/* A variant. */
typedef struct round_f32_kernel {
    const char *name;
    /* Least and largest of count >= 1 numbers. */
    void (*range)(const float *x, int64_t count, float *low, float *high);
    bool (*is_finite)(const float *x, int64_t count);
    void (*row)(round_f32_row *row);
    void (*units)(const round_f32_units *units);
    /* Adds the sums of w^2 and (w' - w)^2, eight lanes of which are added up at the end. */
    void (*noise)(const round_f32_codes *codes, double *signal, double *noise);
    /* keys[i] is the size of errors[i], as the bits of a positive float, where the error is of that
     * sign; else 0. Returns how many are not 0. */
    int64_t (*keys)(const float *errors, int64_t count, bool positive, int32_t *keys);
    /* How many keys are larger. */
    int64_t (*count_above)(const int32_t *keys, int64_t count, int32_t key);
} round_f32_kernel;

/* The list that dispatch, tests and benchmarks share: lowest level first. */
extern const isa_variant round_f32_variants[];
extern const int round_f32_variant_count;

/* The best variant that may run now. */
const round_f32_kernel *round_f32_select(void);

#endif
