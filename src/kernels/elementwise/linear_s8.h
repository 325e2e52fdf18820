/* Between bytes and the numbers they stand for, (byte - zero) * scale, by the rule of
 * tensor/quantize.h. Bytes are u8, or s8 where `is_signed`. All variants give the same bits. */
#ifndef KERNELS_ELEMENTWISE_LINEAR_S8_H
#define KERNELS_ELEMENTWISE_LINEAR_S8_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/isa.h"
#include "tensor/quantize.h"

typedef struct linear_s8_grid {
    float scale;
    int32_t zero;
    bool is_signed;
} linear_s8_grid;

/* A variant. Every function reads n >= 0 elements per operand and writes n. */
typedef struct linear_s8_kernel {
    const char *name;
    /* The grid's zero is in `target`, and its limits. */
    void (*quantize)(uint8_t *to, const float *from, int64_t n, float scale,
                     quantize_target target);
    void (*dequantize)(float *to, const uint8_t *from, int64_t n, linear_s8_grid grid);
    /* to[i] = table[from[i]]; `to` may be `from`. */
    void (*look_up)(uint8_t *to, const uint8_t *from, int64_t n, const uint8_t table[256]);
    /* The sum of two tensors, quantised: (a - zero) * (a's scale / scale) and the same of b, added,
     * rounded once. `to` may be an operand. */
    void (*add)(uint8_t *to, const uint8_t *a, linear_s8_grid a_grid, const uint8_t *b,
                linear_s8_grid b_grid, int64_t n, float scale, quantize_target target);
    bool (*present)(void); /* NULL: the variant's level says all */
} linear_s8_kernel;

/* The list that dispatch, tests and benchmarks share: lowest level first. */
extern const isa_variant linear_s8_variants[];
extern const int linear_s8_variant_count;

/* True when the variant may run now. */
bool linear_s8_usable(const isa_variant *variant);

/* The best variant that may run now. */
const linear_s8_kernel *linear_s8_select(void);

#endif
