/* The loops of twin_s8, compiled once per instruction set by the files that include them: a
 * vectorising compiler does the rest. */
#ifndef KERNELS_ELEMENTWISE_TWIN_S8_BODY_H
#define KERNELS_ELEMENTWISE_TWIN_S8_BODY_H

#include "kernels/elementwise/twin_s8.h"

static void twin_s8_round(float *to, const float *from, int64_t n, twin_grid grid)
{
    twin_terms t = twin_terms_of(grid);

    for (int64_t i = 0; i < n; i++) {
        to[i] = twin_round(from[i], t);
    }
}

static bool twin_s8_split(uint8_t *restrict first, uint8_t *restrict second,
                          const float *restrict from, int64_t n, twin_grid grid)
{
    twin_terms t = twin_terms_of(grid);
    int32_t any = 0;

    for (int64_t i = 0; i < n; i++) {
        twin_code code = twin_encode(from[i], t);

        first[i] = (uint8_t)code.first;
        second[i] = (uint8_t)code.second;
        any |= code.second;
    }
    return any != 0;
}

#endif
