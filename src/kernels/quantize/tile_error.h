/* How far a tile of products of codes is from the float product: what a search for steps asks for
 * once per candidate. All variants give the same bits. */
#ifndef KERNELS_QUANTIZE_TILE_ERROR_H
#define KERNELS_QUANTIZE_TILE_ERROR_H

#include <stdint.h>

#include "kernels/isa.h"

/* Rows of sums, and what they stand for: numbers = sums[0] * (scales[0] * steps[j]) + sums[1] *
 * (scales[1] * steps[j]). */
typedef struct tile_error_sums {
    int32_t *sums[2];     /* [rows][pitch]; the second is NULL where there is none */
    int64_t pitch;        /* of both, in elements */
    int32_t zero;         /* the first operand's zero point, taken off the first sums: */
    const int32_t *codes; /* [columns]: sums of the second operand's codes */
    float scales[2];
    const float *steps; /* [columns] */
} tile_error_sums;

typedef struct tile_error_kernel {
    const char *name;
    /* to[rows][pitch] = the numbers. */
    void (*numbers)(const tile_error_sums *s, int64_t rows, int64_t columns, float *to);
    /* errors[j] += over the rows, importance * (number - exact)^2, in the order of rows; exact and
     * importance are [rows][stride]; importance NULL: 1. */
    void (*add_squares)(const float *numbers, int64_t pitch, const float *exact,
                        const float *importance, int64_t stride, int64_t rows, int64_t columns,
                        float *errors);
} tile_error_kernel;

/* The list that dispatch, tests and benchmarks share: lowest level first. */
extern const isa_variant tile_error_variants[];
extern const int tile_error_variant_count;

/* The best variant that may run now. */
const tile_error_kernel *tile_error_select(void);

#endif
