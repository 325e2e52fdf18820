/* The loop over one operand that the kernels of several families share. */
#ifndef KERNELS_ELEMENTWISE_ELEMENTWISE_F32_MAP_H
#define KERNELS_ELEMENTWISE_ELEMENTWISE_F32_MAP_H

#include "kernels/elementwise/elementwise_f32_vector.h"

/* A function of x, or of x and up to two more. */
typedef vec_f32 vec_function(vec_f32 x, vec_f32 a, vec_f32 b);

/* to[i] = function(from[i], a, b) */
VEC_INLINE void map(float *to, const float *from, int64_t n, vec_function *function, float a,
                    float b)
{
    const vec_f32 all_a = vec_set(a);
    const vec_f32 all_b = vec_set(b);
    int64_t i = 0;

    for (; i + VEC_LANES <= n; i += VEC_LANES) {
        vec_store(to + i, function(vec_load(from + i), all_a, all_b));
    }
    if (i < n) {
        vec_f32 x = vec_load_part(from + i, n - i);

        vec_store_part(to + i, function(x, all_a, all_b), n - i);
    }
}

#endif
