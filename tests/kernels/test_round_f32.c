/* Rounding of weights: every variant gives the bits of direct loops. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/quantize/round_f32.h"
#include "spry/random.h"

enum { MOST = 2048, MOST_UNITS = 70 };

/* Everything that a kernel may write, so that two can be compared as a whole. */
typedef struct outcome {
    int8_t codes[MOST + 1];
    float errors[MOST + 1];
    int32_t keys[MOST + 1];
    double before[MOST_UNITS], after[MOST_UNITS];
    int32_t flips[MOST_UNITS], next_element[MOST_UNITS];
    float next[MOST_UNITS];
    double sum, size;
} outcome;

typedef struct given {
    float weights[MOST];
    float steps[MOST_UNITS];
    int32_t zeros[MOST_UNITS];
    int64_t units, size;
    int64_t stride;
    int32_t low, high;
} given;

static void draw(spry_random *r, given *g)
{
    static const int64_t sizes[] = {1, 2, 3, 9, 9, 25, 29};
    int bits = 2 + (int)spry_random_below(r, 7);

    g->size = sizes[spry_random_below(r, 7)];
    g->units = 1 + (int64_t)spry_random_below(r, MOST_UNITS);
    g->stride = (int64_t)spry_random_below(r, 2);
    g->low = -(1 << (bits - 1));
    g->high = -g->low - 1;
    for (int64_t i = 0; i < g->units; i++) {
        /* Ranges that are a little too small, so that some weights lie outside the codes. */
        spry_random_fill_uniform(r, &g->steps[i], 1, 1.8f, 2.7f);
        g->steps[i] /= (float)(g->high - g->low);
        g->zeros[i] = (int32_t)spry_random_below(r, 3) - 1;
    }
    spry_random_fill_uniform(r, g->weights, MOST, -1.0f, 1.0f);
    for (int i = 0; i < MOST; i += 5) { /* ties, and weights without an error */
        g->weights[i] = 0.5f * g->steps[0] * (float)((int)spry_random_below(r, 7) - 3);
    }
}

/* ---- direct loops ---- */

static float position(const given *g, int64_t unit, int64_t i)
{
    int64_t at = unit * g->stride;

    return g->weights[unit * g->size + i] / g->steps[at] + (float)g->zeros[at];
}

static void round_unit(const given *g, int64_t unit, outcome *o)
{
    int8_t *codes = o->codes + unit * g->size;
    float errors[64];
    bool may[64];
    int64_t candidates = 0;
    double sum = 0.0;

    for (int64_t i = 0; i < g->size; i++) {
        float x = position(g, unit, i);
        float code = fminf(fmaxf(rintf(x), (float)g->low), (float)g->high);

        codes[i] = (int8_t)code;
        errors[i] = code - x;
        sum += (double)errors[i];
    }
    for (int64_t i = 0; i < g->size; i++) {
        may[i] = sum < 0.0 ? errors[i] < 0.0f && codes[i] < g->high
                           : errors[i] > 0.0f && codes[i] > g->low;
        candidates += may[i];
    }
    int32_t step = sum < 0.0 ? 1 : -1;
    int64_t wanted = (int64_t)fmax(ceil(fabs(sum) - 0.5), 0.0);
    int64_t flips = wanted < candidates ? wanted : candidates;

    o->before[unit] = sum;
    o->after[unit] = sum + (double)(step * flips);
    o->flips[unit] = (int32_t)flips;
    o->next[unit] = 0.0f;
    o->next_element[unit] = 0;
    for (int64_t turn = 0; turn <= flips; turn++) {
        int64_t best = -1;

        for (int64_t i = 0; i < g->size; i++) {
            best = may[i] && (best < 0 || fabsf(errors[i]) > fabsf(errors[best])) ? i : best;
        }
        if (best < 0 || sum == 0.0) {
            break;
        }
        may[best] = false;
        if (turn < flips) {
            codes[best] = (int8_t)(codes[best] + step);
            errors[best] += (float)step;
        } else if (flips > 0 && (double)flips >= fabs(sum)) {
            break;
        }
        o->next[unit] = errors[best];
        o->next_element[unit] = (int32_t)best;
    }
    if (flips > 0 && (double)flips < fabs(sum) && flips == candidates) {
        o->next[unit] = 0.0f; /* the last flip was right, and there is no other */
        o->next_element[unit] = 0;
    }
}

/* ---- kernels ---- */

static void run_units(const given *g, const round_f32_kernel *kernel, outcome *o)
{
    int32_t *scratch = aligned_alloc(64, (size_t)round_f32_scratch(g->size) * sizeof(int32_t));
    round_f32_units u = {.weights = g->weights,
                         .units = g->units,
                         .size = g->size,
                         .steps = g->steps,
                         .zeros = g->zeros,
                         .stride = g->stride,
                         .low = g->low,
                         .high = g->high,
                         .codes = o->codes,
                         .before = o->before,
                         .after = o->after,
                         .flips = o->flips,
                         .next = o->next,
                         .next_element = o->next_element,
                         .scratch = scratch};

    kernel->units(&u);
    free(scratch);
}

static void check_units(spry_random *r, const round_f32_kernel *kernel, given *g, outcome *o,
                        outcome *wanted)
{
    draw(r, g);
    while (g->units * g->size > MOST) {
        g->units /= 2;
    }
    memset(o, 0, sizeof *o);
    memset(wanted, 0, sizeof *wanted);
    run_units(g, kernel, o);
    for (int64_t u = 0; u < g->units; u++) {
        round_unit(g, u, wanted);
        assert_memory_equal(o->codes + u * g->size, wanted->codes + u * g->size, (size_t)g->size);
    }
    assert_memory_equal(o->before, wanted->before, sizeof o->before);
    assert_memory_equal(o->after, wanted->after, sizeof o->after);
    assert_memory_equal(o->flips, wanted->flips, sizeof o->flips);
    assert_memory_equal(o->next, wanted->next, sizeof o->next);
    assert_memory_equal(o->next_element, wanted->next_element, sizeof o->next_element);
    assert_memory_equal(o->codes, wanted->codes, sizeof o->codes);
}

static void check_row(spry_random *r, const round_f32_kernel *kernel, given *g, outcome *o)
{
    double lanes[ROUND_F32_LANES] = {0};
    double sum = 0.0;
    int64_t count = 1 + (int64_t)spry_random_below(r, 300);

    draw(r, g);
    memset(o, 0, sizeof *o);
    round_f32_row row = {.weights = g->weights,
                         .count = count,
                         .step = g->steps[0],
                         .zero = g->zeros[0],
                         .low = g->low,
                         .high = g->high,
                         .codes = o->codes,
                         .errors = o->errors};
    kernel->row(&row);
    g->size = MOST;
    for (int64_t i = 0; i < count; i++) {
        float x = position(g, 0, i);
        float code = fminf(fmaxf(rintf(x), (float)g->low), (float)g->high);
        float error = code - x;
        bool may =
            (error < 0.0f && code < (float)g->high) || (error > 0.0f && code > (float)g->low);

        assert_int_equal(o->codes[i], (int)code);
        assert_true(o->errors[i] == (may ? error : 0.0f));
        lanes[i % ROUND_F32_LANES] += (double)error;
    }
    assert_int_equal(o->codes[count], 0);
    assert_true(o->errors[count] == 0.0f);
    for (int i = 0; i < ROUND_F32_LANES; i++) {
        sum += lanes[i];
    }
    assert_true(row.sum == sum);
}

static void check_choice(spry_random *r, const round_f32_kernel *kernel, given *g, outcome *o)
{
    int64_t count = (int64_t)spry_random_below(r, 100);
    bool positive = spry_random_below(r, 2) == 0;
    int64_t wanted = 0;
    int64_t above = 0;

    draw(r, g);
    for (int64_t i = 0; i < count; i += 3) {
        g->weights[i] = 0.0f;
    }
    int64_t found = kernel->keys(g->weights, count, positive, o->keys);

    for (int64_t i = 0; i < count; i++) {
        float size = fabsf(g->weights[i]);
        int32_t key;

        memcpy(&key, &size, sizeof key);
        key = (g->weights[i] > 0.0f) == positive ? key : 0;
        assert_int_equal(o->keys[i], key);
        wanted += key != 0;
        above += key > 0x3E800000;
    }
    assert_int_equal(found, wanted);
    assert_int_equal(kernel->count_above(o->keys, count, 0), wanted);
    assert_int_equal(kernel->count_above(o->keys, count, 0x3E800000), above);
}

static void check_ranges(spry_random *r, const round_f32_kernel *kernel, given *g)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    int64_t count = 1 + (int64_t)spry_random_below(r, 100);
    float low;
    float high;

    draw(r, g);
    kernel->range(g->weights, count, &low, &high);
    for (int64_t i = 0; i < count; i++) {
        assert_true(g->weights[i] >= low && g->weights[i] <= high);
    }
    assert_true(kernel->is_finite(g->weights, count));
    g->weights[spry_random_below(r, (uint64_t)count)] = odd[spry_random_below(r, 3)];
    assert_false(kernel->is_finite(g->weights, count));
}

static void check_noise(spry_random *r, const round_f32_kernel *kernel,
                        const round_f32_kernel *portable, given *g, outcome *o)
{
    int64_t count = (int64_t)spry_random_below(r, 200);
    round_f32_codes c = {g->weights, o->codes, count, 0.0f, 1.0f};
    double found[2] = {0.0, 0.0};
    double wanted[2] = {0.0, 0.0};
    double direct = 0.0;

    draw(r, g);
    c.step = g->steps[0];
    for (int64_t i = 0; i < count; i++) {
        o->codes[i] = (int8_t)((int)spry_random_below(r, 256) - 128);
        double d = (double)((float)(o->codes[i] - 1) * c.step) - (double)g->weights[i];

        direct += d * d;
    }
    kernel->noise(&c, &found[0], &found[1]);
    portable->noise(&c, &wanted[0], &wanted[1]);
    assert_memory_equal(found, wanted, sizeof found);
    assert_true(fabs(found[1] - direct) <= 1e-12 * direct);
}

static void all_variants(void **state)
{
    given *g = malloc(sizeof *g);
    outcome *o = malloc(2 * sizeof *o);

    (void)state;
    for (int v = 0; v < round_f32_variant_count; v++) {
        const round_f32_kernel *kernel = round_f32_variants[v].table;
        spry_random r = spry_random_stream(23, 0);

        for (int i = 0; i < 300 && isa_usable(round_f32_variants[v].level); i++) {
            check_units(&r, kernel, g, o, o + 1);
            check_row(&r, kernel, g, o);
            check_choice(&r, kernel, g, o);
            check_ranges(&r, kernel, g);
            check_noise(&r, kernel, round_f32_variants[0].table, g, o);
        }
    }
    free(o);
    free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_variants)};

    return cmocka_run_group_tests_name("kernels/round_f32", tests, NULL, NULL);
}
