/* Numbers on a twin grid (tensor/twin.h), as floats and as the bytes that integer products read.
 * All variants give the same bits. */
#ifndef KERNELS_ELEMENTWISE_TWIN_S8_H
#define KERNELS_ELEMENTWISE_TWIN_S8_H

#include "kernels/isa.h"
#include "tensor/twin.h"

/* A variant. Every function reads and writes n >= 0 elements. */
typedef struct twin_s8_kernel {
    const char *name;
    /* `to` may be `from`. */
    void (*round)(float *to, const float *from, int64_t n, twin_grid grid);
    /* Magnitudes, at most 127: those of range 1 and those of range 2, each 0 where the other
     * counts. Returns whether any of the second is not 0. */
    bool (*split)(uint8_t *first, uint8_t *second, const float *from, int64_t n, twin_grid grid);
} twin_s8_kernel;

/* The list that dispatch, tests and benchmarks share: lowest level first. */
extern const isa_variant twin_s8_variants[];
extern const int twin_s8_variant_count;

/* The best variant that may run now. */
const twin_s8_kernel *twin_s8_select(void);

#endif
