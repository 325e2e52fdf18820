/* The finish of integer sums (kernels/brgemm/brgemm.h): drawn at random, with ties, saturation and
 * what no conversion holds, and its rule written down once more. */
#ifndef SUPPORT_FINISH_S8_H
#define SUPPORT_FINISH_S8_H

#include "kernels/brgemm/brgemm.h"
#include "spry/random.h"

enum { FINISH_S8_MOST = 160 };

/* What a finish points to, per column or channel. */
typedef struct finish_s8 {
    brgemm_finish finish;
    int32_t offset[FINISH_S8_MOST];
    float factor[FINISH_S8_MOST], bias[FINISH_S8_MOST];
} finish_s8;

/* Fills all but the residual and row offsets, for `count` channels. */
void finish_s8_draw(spry_random *r, int64_t count, finish_s8 *f);

/* Bytes of a result. */
size_t finish_s8_size(const brgemm_finish *f);

/* The bits of the result of a sum: one byte, four of an integer, or finish_s8_float. `residual` is
 * added where the finish has one. */
uint32_t finish_s8_expected(const brgemm_finish *f, uint32_t sum, int64_t channel, float residual);

/* The bits of the result at `at`. */
uint32_t finish_s8_result(const brgemm_finish *f, const void *at);

/* The bits of a float; NaNs are all the same here, and so are zeros. */
uint32_t finish_s8_float(float x);

#endif
