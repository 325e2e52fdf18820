/* Random finishes and their rule. */
#include "support/finish_s8.h"

#include <math.h>

#include "support/sample.h"
#include "tensor/quantize.h"

static void halve(float *to, const float *from, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        to[i] = from[i] * 0.5f;
    }
}

/* All factors 2^-n makes ties common; each of the usual size makes none; some are special. */
static void draw_factors(spry_random *r, int64_t count, float *factors)
{
    static const float special[] = {0.5f, 0.25f, 0.0625f, 1.0f, 0.0f, 1e30f, INFINITY, NAN};
    uint64_t kind = spry_random_below(r, 4);
    float tie = ldexpf(1.0f, -(int)spry_random_below(r, 12));

    for (int64_t i = 0; i < count; i++) {
        uint32_t word = spry_random_u32(r);

        factors[i] = kind == 0 ? tie : 1e-4f + 1e-5f * (float)(word >> 22);
        if (kind == 1 && word % 8 == 0) {
            factors[i] = special[word / 8 % 8];
        }
    }
}

static void draw_limits(spry_random *r, brgemm_finish *f)
{
    f->low = spry_random_below(r, 2) == 0 ? 0 : -128;
    f->high = f->low + 255;
    f->zero = (int32_t)sample_integer(r, f->low, f->high);
    if (spry_random_below(r, 3) == 0) { /* a fused clamp */
        f->low = f->zero;
        f->high = (int32_t)sample_integer(r, f->low, f->high);
        f->lower = 0.0f;
        f->upper = 600.0f;
    }
}

void finish_s8_draw(spry_random *r, int64_t count, finish_s8 *f)
{
    uint32_t parts = spry_random_u32(r);
    /* Small ones land between the limits; the largest are rounded when they become floats. */
    uint32_t most = (parts & 1) != 0 ? 100000 : 300;

    most = (parts >> 11 & 7) == 0 ? INT32_MAX : most;
    for (int64_t i = 0; i < count; i++) {
        f->offset[i] = (int32_t)(spry_random_u32(r) % (2 * most) - most);
        f->bias[i] = (float)(spry_random_u32(r) % 100) - 50.0f;
    }
    draw_factors(r, count, f->factor);
    f->finish = (brgemm_finish){.lower = -INFINITY,
                                .upper = INFINITY,
                                .result = (brgemm_result)(parts / 2 % 3),
                                .offset = (parts >> 3 & 3) != 0 ? f->offset : NULL,
                                .factor = (parts >> 5 & 7) != 0 ? f->factor : NULL};
    if ((parts >> 8 & 1) != 0) {
        f->finish.result = BRGEMM_BYTES;
    }
    draw_limits(r, &f->finish);
    if (f->finish.result == BRGEMM_FLOATS) {
        f->finish.bias = (parts >> 9 & 1) != 0 ? f->bias : NULL;
        f->finish.activate = (parts >> 10 & 3) == 0 ? halve : NULL;
    }
}

size_t finish_s8_size(const brgemm_finish *f)
{
    return f->result == BRGEMM_BYTES ? 1 : 4;
}

uint32_t finish_s8_float(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return x != x ? 0x7fc00000u : x != 0.0f ? bits : 0;
}

static float finish_float(const brgemm_finish *f, float v, int64_t channel, float residual)
{
    float result;

    v += f->bias != NULL ? f->bias[channel] : 0.0f;
    v += f->residual != NULL ? residual : 0.0f;
    if (f->activate != NULL) {
        f->activate(&result, &v, 1);
        return result;
    }
    v = v < f->lower ? f->lower : v;
    return v > f->upper ? f->upper : v;
}

uint32_t finish_s8_expected(const brgemm_finish *f, uint32_t sum, int64_t channel, float residual)
{
    float v;

    sum += f->offset != NULL ? (uint32_t)f->offset[channel] : 0;
    if (f->result == BRGEMM_SUMS) {
        return sum;
    }
    v = (float)(int32_t)sum * (f->factor != NULL ? f->factor[channel] : 1.0f);
    if (f->result == BRGEMM_BYTES) {
        return (uint8_t)quantize_scaled(v, (quantize_target){f->low, f->high, f->zero});
    }
    return finish_s8_float(finish_float(f, v, channel, residual));
}

uint32_t finish_s8_result(const brgemm_finish *f, const void *at)
{
    uint32_t bits;
    float x;

    if (f->result == BRGEMM_BYTES) {
        return *(const uint8_t *)at;
    }
    memcpy(&bits, at, sizeof bits);
    memcpy(&x, at, sizeof x);
    return f->result == BRGEMM_FLOATS ? finish_s8_float(x) : bits;
}
