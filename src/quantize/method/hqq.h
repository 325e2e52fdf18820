/* Half-quadratic quantization: zero points between codes, without data (Badri and Shaji, 2023).
 *
 * The step of a group of weights comes from its range. Its zero point z minimises the sum of
 * |error|^0.7, which cares less for outliers than squares do, by turns:
 *
 *     q = clamp(round(w / s + z))     e = shrink(w - (q - z) s)     z = mean(q - (w - e) / s)
 *     shrink(e) = sign(e) max(|e| - |e|^(p - 1) / b, 0)             b = 10, 10 x 1.01, ... */
#ifndef QUANTIZE_HQQ_H
#define QUANTIZE_HQQ_H

#include "quantize/grid.h"

/* One group of `count` >= 1 finite weights: fills step, zero point (in codes as `limits` has them)
 * and codes. With `whole`, the zero point is an integer within the limits. */
typedef struct hqq_group {
    const float *weights;
    int64_t count;
    grid_codes limits;
    bool whole;
    float step, zero;
    int8_t *codes;
} hqq_group;
void hqq_round(hqq_group *g);

#endif
