/* Walking over windows, for the operators of the backward pass. */
#ifndef OPS_GRADIENT_WINDOW_H
#define OPS_GRADIENT_WINDOW_H

#include "base/checked.h"
#include "base/limits.h"
#include "ops/sliding_window.h"

/* The position of element `index` of a row-major array of those sizes. */
static inline void window_position(const int64_t *sizes, int rank, int64_t index, int64_t *at)
{
    for (int i = rank - 1; i >= 0; i--) {
        at[i] = index % sizes[i];
        index /= sizes[i];
    }
}

/* Positions in the window; false when they are more than an array may have. */
static inline bool window_taps(const window *w, int64_t *taps)
{
    *taps = 1;
    for (int i = 0; i < w->rank; i++) {
        if (!checked_mul_i64(*taps, w->kernel[i], taps) || *taps > LIMIT_TENSOR_DIMENSION) {
            return false;
        }
    }
    return true;
}

#endif
