/* Finer codes of queries, digit by digit through the kernels of the rounds. */
#include "kernels/filter/filter_bound.h"

#include <math.h>
#include <string.h>

#include "kernels/attention/attention_f32_vector.h"

enum { DIGIT = 16, STEP = 4096 };

int64_t filter_bound_bytes(int64_t size)
{
    return FILTER_DIGITS * 4 * filter_row_bytes(size);
}

/* Digits from -8 to 7. */
static void split_code(int code, int8_t *const *digits, int64_t t)
{
    for (int i = FILTER_DIGITS - 1; i >= 0; i--) {
        int digit = (code + DIGIT / 2) % DIGIT;

        digit = (digit + DIGIT) % DIGIT - DIGIT / 2;
        digits[i][t] = (int8_t)digit;
        code = (code - digit) / DIGIT;
    }
}

bool filter_bound_query(const filter_keys *keys, const float *q, float scale, int8_t *room,
                        filter_bound *bound)
{
    int64_t bytes = 4 * filter_row_bytes(keys->size);
    float step = (float)STEP * keys->scale;
    float most = 0.0f;
    float sum = 0.0f;
    int64_t codes = 0;
    float q_scale;

    memset(room, 0, (size_t)filter_bound_bytes(keys->size));
    for (int i = 0; i < FILTER_DIGITS; i++) {
        bound->digits[i] = room + i * bytes;
    }
    for (int64_t t = 0; t < keys->size; t++) {
        if (!isfinite(q[t])) {
            return false;
        }
        most = fmaxf(most, fabsf(q[t]));
        sum += fabsf(q[t]);
    }
    q_scale = most / (float)FILTER_BOUND_CODE;
    for (int64_t t = 0; t < keys->size && q_scale > 0.0f; t++) {
        int code = (int)lrintf(q[t] / q_scale);

        codes += code;
        split_code(code, bound->digits, t);
    }
    bound->unit = q_scale * step * scale * ATTENTION_LOG2E;
    bound->middle = bound->unit * (0.5f - 0.5f / (float)STEP) * (float)codes;
    /* Half a step of the keys; beyond the scale's range as far as the farthest; half a code of the
     * query against middles of at most 8 steps; and what float arithmetic may have cost. */
    bound->radius = (0.5f * step + keys->beyond) * sum + 4.0f * step * q_scale * (float)keys->size;
    bound->radius = 1.001f * fabsf(scale) * ATTENTION_LOG2E * bound->radius;
    return true;
}

void filter_bound_scores(const filter_kernel *kernel, const filter_keys *keys,
                         const filter_bound *bound, const int32_t *index, int64_t n, int32_t *s,
                         float *upper, filter_work *work)
{
    static const float weights[FILTER_DIGITS] = {DIGIT * DIGIT, DIGIT, 1.0f};
    int64_t row_bytes = filter_row_bytes(keys->size);
    filter_stats ignored = {0};

    for (int64_t i = 0; i < n; i++) {
        upper[i] = 0.0f;
    }
    for (int digit = 0; digit < FILTER_DIGITS; digit++) {
        int32_t offset = 0;

        for (int64_t t = 0; t < 4 * row_bytes; t++) {
            offset -= 2 * bound->digits[digit][t];
        }
        for (int64_t at = 0; at < n; at += FILTER_BLOCK) {
            filter_scoring p = {.row_bytes = row_bytes,
                                .q = bound->digits[digit],
                                .index = index + at,
                                .n = n - at < FILTER_BLOCK ? n - at : FILTER_BLOCK,
                                .s = s};

            for (int plane = 0; plane < FILTER_BOUND_PLANES; plane++) {
                p.plane = keys->planes[plane];
                p.bias = plane == 0 ? offset : 0;
                p.again = plane > 0;
                kernel->score(&p, &ignored);
            }
            for (int64_t i = 0; i < p.n; i++) {
                upper[at + i] += weights[digit] * (float)s[i];
            }
        }
    }
    for (int64_t i = 0; i < n; i++) {
        upper[i] = bound->unit * upper[i] + bound->middle + bound->radius;
    }
    work->low_products += FILTER_DIGITS * FILTER_BOUND_PLANES * n * keys->size;
    work->code_bytes += FILTER_BOUND_PLANES * n * row_bytes;
}
