/* SQuant: worked examples, and what must hold for every tensor. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "quantize/method/squant.h"
#include "spry/random.h"

enum { MOST = 4096 };

static void check_channel(const float *x, int64_t inputs, int64_t taps, squant_stages stages,
                          const int8_t *expected)
{
    static const grid_options four_bits = {.bits = 4};
    spry_allocator allocator = alloc_resolve(NULL);
    int8_t codes[64];
    float step = 1.0f;
    int32_t zero = 0;
    squant_tensor t = {.weights = x,
                       .outputs = 1,
                       .inputs = inputs,
                       .taps = taps,
                       .codes = codes,
                       .steps = &step,
                       .zeros = &zero,
                       .has_grid = true};

    assert_int_equal(squant_round(&t, &four_bits, stages, &allocator, threads_single(), NULL, NULL),
                     SPRY_OK);
    assert_memory_equal(codes, expected, (size_t)(inputs * taps));
}

static void kernels_then_channel(void **state)
{
    static const float abd[] = {0.4375f, 1.3125f, 2.375f, -1.75f,  0.25f,   0.5625f,
                                3.375f,  0.0f,    5.625f, 2.5625f, -3.375f, 1.25f};
    static const float abf[] = {0.4375f, 1.3125f, 2.375f, -1.75f, 0.25f, 0.5625f,
                                3.375f,  0.0f,    0.375f, 0.375f, 0.0f,  0.0f};
    static const int8_t abd_kernels[] = {1, 1, 2, -2, 0, 1, 3, 0, 6, 2, -3, 1};
    static const int8_t abd_all[] = {1, 1, 2, -2, 0, 1, 3, 0, 6, 3, -3, 1};
    static const int8_t abf_all[] = {1, 1, 2, -2, 0, 1, 3, 0, 1, 0, 0, 0};

    (void)state;
    check_channel(abd, 3, 4, SQUANT_K, abd_kernels);
    check_channel(abd, 3, 4, SQUANT_EKC, abd_all);
    check_channel(abf, 3, 4, SQUANT_EKC, abf_all);
}

static void grid_of_four_weights(void **state)
{
    static const float w[] = {-0.9f, -0.3f, 0.05f, 0.6f};
    static const int8_t expected[] = {-8, -2, 2, 7};
    grid_options affine = {.bits = 4, .exact_range = true};
    spry_allocator allocator = alloc_resolve(NULL);
    int8_t codes[4];
    float step;
    int32_t zero;
    squant_tensor t = {.weights = w,
                       .outputs = 1,
                       .inputs = 4,
                       .taps = 1,
                       .codes = codes,
                       .steps = &step,
                       .zeros = &zero};

    (void)state;
    assert_int_equal(squant_round(&t, &affine, SQUANT_E, &allocator, threads_single(), NULL, NULL),
                     SPRY_OK);
    assert_float_equal(step, 0.1f, 0.0);
    assert_int_equal(zero, 1);
    assert_memory_equal(codes, expected, sizeof expected);
}

/* ---- random tensors ---- */

typedef struct sample {
    float weights[MOST];
    int8_t codes[MOST];
    float steps[MOST];
    int32_t zeros[MOST];
    squant_tensor t;
    grid_options grid;
} sample;

static squant_tensor tensor_of(sample *s, int64_t outputs, int64_t inputs, int64_t taps)
{
    return (squant_tensor){.weights = s->weights,
                           .outputs = outputs,
                           .inputs = inputs,
                           .taps = taps,
                           .codes = s->codes,
                           .steps = s->steps,
                           .zeros = s->zeros};
}

static void draw(spry_random *r, sample *s)
{
    static const int64_t taps[] = {1, 1, 2, 3, 9, 9, 25, 49};
    static const int64_t inputs[] = {1, 2, 3, 7, 16, 31};
    int64_t k = taps[spry_random_below(r, 8)];
    int64_t n = inputs[spry_random_below(r, 6)];
    int64_t m = 1 + (int64_t)spry_random_below(r, (uint64_t)(MOST / (n * k)));

    m = m < 6 ? m : 6;
    for (int64_t i = 0; i < m * n * k; i++) {
        s->weights[i] = (float)spry_random_normal(r) * 0.1f;
    }
    s->grid = (grid_options){.bits = 2 + (int)spry_random_below(r, 7),
                             .symmetric = spry_random_below(r, 2) == 0,
                             .exact_range = spry_random_below(r, 2) == 0};
    s->t = tensor_of(s, m, n, k);
}

static void round_sample(sample *s, squant_stages stages, threads *team)
{
    spry_allocator allocator = alloc_resolve(NULL);

    assert_int_equal(squant_round(&s->t, &s->grid, stages, &allocator, team, NULL, NULL), SPRY_OK);
}

static double error_of(const sample *s, int64_t m, int64_t i)
{
    int64_t size = s->t.inputs * s->t.taps;

    return (double)((float)s->codes[m * size + i] -
                    grid_position(s->weights[m * size + i], s->steps[m], s->zeros[m]));
}

/* Rounding the zero point can push the ends of a channel off the grid; then no flips can help. */
static bool saturates(const sample *s, int64_t m)
{
    grid_codes limits = grid_codes_of(&s->grid);
    int64_t size = s->t.inputs * s->t.taps;

    for (int64_t i = 0; i < size; i++) {
        float x = grid_position(s->weights[m * size + i], s->steps[m], s->zeros[m]);

        if (x < (float)limits.low || x > (float)limits.high) {
            return true;
        }
    }
    return false;
}

static void check_bounds(const sample *s, squant_stages stages)
{
    grid_codes limits = grid_codes_of(&s->grid);
    int64_t size = s->t.inputs * s->t.taps;
    bool kernels = (stages & SQUANT_K) != 0 && s->t.taps > 1;
    double slack = 1e-9 * (double)size;

    for (int64_t m = 0; m < s->t.outputs; m++) {
        double channel = 0.0;

        for (int64_t i = 0; i < size; i++) {
            assert_in_range(s->codes[m * size + i] - limits.low, 0, limits.high - limits.low);
        }
        if (saturates(s, m)) {
            continue;
        }
        for (int64_t n = 0; n < s->t.inputs; n++) {
            double kernel = 0.0;

            for (int64_t i = n * s->t.taps; i < (n + 1) * s->t.taps; i++) {
                double e = error_of(s, m, i);

                assert_true(fabs(e) < (stages == SQUANT_E ? 0.501 : 1.0));
                kernel += e;
            }
            if (kernels) {
                assert_true(fabs(kernel) <= ((stages & SQUANT_C) != 0 ? 1.0 : 0.5) + slack);
            }
            channel += kernel;
        }
        if ((stages & SQUANT_C) != 0) {
            assert_true(fabs(channel) <= 0.5 + slack);
        }
    }
}

static void sums_stay_in_bounds(void **state)
{
    static const squant_stages stages[] = {SQUANT_E, SQUANT_K, SQUANT_C, SQUANT_EKC};
    spry_random r = spry_random_stream(7, 0);
    sample *s = malloc(sizeof *s);

    (void)state;
    for (int i = 0; i < 400; i++) {
        draw(&r, s);
        round_sample(s, stages[i % 4], threads_single());
        check_bounds(s, stages[i % 4]);
    }
    free(s);
}

/* All flip sets of a kernel: none that meets the bound has a smaller squared error. */
static void best_of_all_flip_sets(const sample *s, int64_t m, int64_t first)
{
    int taps = (int)s->t.taps;
    grid_codes limits = grid_codes_of(&s->grid);
    int64_t size = s->t.inputs * s->t.taps;
    double chosen = 0.0;
    double best = INFINITY;

    for (int i = 0; i < taps; i++) {
        chosen += error_of(s, m, first + i) * error_of(s, m, first + i);
    }
    for (unsigned set = 0; set < 1u << taps; set++) {
        double sum = 0.0;
        double square = 0.0;
        bool fits = true;

        for (int i = 0; i < taps; i++) {
            float x = grid_position(s->weights[m * size + first + i], s->steps[m], s->zeros[m]);
            float code = fmaxf(fminf(rintf(x), (float)limits.high), (float)limits.low);
            double e;

            if ((set >> i & 1) != 0) {
                fits = fits && code != x;
                code += code < x ? 1.0f : -1.0f;
                fits = fits && code >= (float)limits.low && code <= (float)limits.high;
            }
            e = (double)(code - x);
            sum += e;
            square += e * e;
        }
        if (fits && fabs(sum) <= 0.5 + 1e-12) {
            best = fmin(best, square);
        }
    }
    assert_true(chosen <= best + 1e-6);
}

static void flips_are_the_cheapest(void **state)
{
    spry_random r = spry_random_stream(11, 0);
    sample *s = malloc(sizeof *s);
    int checked = 0;

    (void)state;
    while (checked < 300) {
        draw(&r, s);
        if (s->t.taps > 9 || s->t.taps < 2) {
            continue;
        }
        s->grid.bits = 3 + checked % 3;
        round_sample(s, SQUANT_K, threads_single());
        best_of_all_flip_sets(s, 0, 0);
        checked++;
    }
    free(s);
}

static void channel_stage_moves_one_code_per_kernel(void **state)
{
    spry_random r = spry_random_stream(13, 0);
    sample *s = malloc(sizeof *s);
    int8_t *before = malloc(MOST);

    (void)state;
    for (int c = 0; c < 200; c++) {
        int64_t count;

        draw(&r, s);
        count = s->t.outputs * s->t.inputs;
        if (s->t.taps == 1) {
            continue;
        }
        round_sample(s, SQUANT_K, threads_single());
        memcpy(before, s->codes, MOST);
        round_sample(s, SQUANT_EKC, threads_single());
        for (int64_t n = 0; n < count; n++) {
            int moved = 0;

            for (int64_t i = n * s->t.taps; i < (n + 1) * s->t.taps; i++) {
                moved += abs(s->codes[i] - before[i]);
            }
            assert_true(moved <= 1);
        }
    }
    free(before);
    free(s);
}

static void scale_and_threads_do_not_matter(void **state)
{
    spry_random r = spry_random_stream(17, 0);
    sample *s = malloc(sizeof *s);
    int8_t *before = malloc(MOST);
    threads *team = NULL;

    (void)state;
    assert_int_equal(threads_create(NULL, 3, &team, NULL), SPRY_OK);
    for (int c = 0; c < 100; c++) {
        int64_t size;

        draw(&r, s);
        size = s->t.outputs * s->t.inputs * s->t.taps;
        round_sample(s, SQUANT_EKC, threads_single());
        memcpy(before, s->codes, (size_t)size);
        for (int64_t i = 0; i < size; i++) {
            s->weights[i] *= 8.0f;
        }
        round_sample(s, SQUANT_EKC, team);
        assert_memory_equal(s->codes, before, (size_t)size);
    }
    threads_destroy(team);
    free(before);
    free(s);
}

static void codes_of_a_grid_stay(void **state)
{
    spry_random r = spry_random_stream(19, 0);
    sample *s = malloc(sizeof *s);
    int8_t *before = malloc(MOST);

    (void)state;
    for (int c = 0; c < 100; c++) {
        int64_t size;

        draw(&r, s);
        size = s->t.inputs * s->t.taps;
        for (int64_t m = 0; m < s->t.outputs; m++) {
            grid_codes limits = grid_codes_of(&s->grid);

            for (int64_t i = 0; i < size; i++) {
                int64_t range = limits.high - limits.low + 1;

                s->weights[m * size + i] =
                    0.25f * (float)(limits.low + (int64_t)spry_random_below(&r, (uint64_t)range));
            }
            if (size > 1) { /* both ends, so that the range is known */
                s->weights[m * size] = 0.25f * (float)limits.low;
                s->weights[m * size + 1] = 0.25f * (float)limits.high;
            }
        }
        if (size < 2) {
            continue;
        }
        round_sample(s, SQUANT_EKC, threads_single());
        memcpy(before, s->codes, MOST);
        for (int64_t i = 0; i < s->t.outputs * size; i++) {
            assert_float_equal(grid_value(s->codes[i], s->steps[i / size], s->zeros[i / size]),
                               s->weights[i], 0.0);
        }
    }
    free(before);
    free(s);
}

/* What the codes stand for has these codes again, on the same grid. */
static void values_of_codes_keep_them(void **state)
{
    static const squant_stages stages[] = {SQUANT_E, SQUANT_K, SQUANT_C, SQUANT_EKC};
    spry_random r = spry_random_stream(23, 0);
    sample *s = malloc(sizeof *s);
    int8_t *before = malloc(MOST);

    (void)state;
    for (int c = 0; c < 200; c++) {
        int64_t size;

        draw(&r, s);
        s->grid.exact_range = false; /* zero points far from the codes cost digits */
        size = s->t.inputs * s->t.taps;
        round_sample(s, stages[c % 4], threads_single());
        memcpy(before, s->codes, MOST);
        for (int64_t i = 0; i < s->t.outputs * size; i++) {
            s->weights[i] = grid_value(s->codes[i], s->steps[i / size], s->zeros[i / size]);
        }
        s->t.has_grid = true;
        round_sample(s, stages[c % 4], threads_single());
        assert_memory_equal(s->codes, before, (size_t)(s->t.outputs * size));
    }
    free(before);
    free(s);
}

static void flat_channels(void **state)
{
    static const float values[] = {0.0f, 0.3f, -0.3f, 1e-30f, 1e30f};
    sample *s = malloc(sizeof *s);

    (void)state;
    for (int v = 0; v < 5; v++) {
        for (int symmetric = 0; symmetric < 2; symmetric++) {
            for (int i = 0; i < 18; i++) {
                s->weights[i] = values[v];
            }
            s->grid = (grid_options){.bits = 4, .symmetric = symmetric != 0};
            s->t = tensor_of(s, 1, 2, 9);
            round_sample(s, SQUANT_EKC, threads_single());
            for (int i = 0; i < 18; i++) {
                float back = grid_value(s->codes[i], s->steps[0], s->zeros[0]);

                assert_true(fabsf(back - values[v]) <= 1e-6f * fabsf(values[v]) + 1e-28f);
            }
        }
    }
    free(s);
}

/* Mode E is rounding, as written in quantize/grid.h. */
static void without_stages_all_is_nearest(void **state)
{
    spry_random r = spry_random_stream(31, 0);
    sample *s = malloc(sizeof *s);

    (void)state;
    for (int c = 0; c < 100; c++) {
        grid_codes limits;
        int64_t size;

        draw(&r, s);
        limits = grid_codes_of(&s->grid);
        size = s->t.inputs * s->t.taps;
        round_sample(s, SQUANT_E, threads_single());
        for (int64_t i = 0; i < s->t.outputs * size; i++) {
            float x = grid_position(s->weights[i], s->steps[i / size], s->zeros[i / size]);

            assert_int_equal(s->codes[i],
                             (int)fminf(fmaxf(rintf(x), (float)limits.low), (float)limits.high));
        }
    }
    free(s);
}

static void shuffle(spry_random *r, int *order, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        int64_t other = (int64_t)spry_random_below(r, (uint64_t)i + 1);

        order[i] = order[other];
        order[other] = (int)i;
    }
}

/* Weights with their sign changed, inputs and the taps of every kernel in another order:
 * place[i] is where element i of a channel goes. */
static void mirror(spry_random *r, const sample *s, sample *to, int *place)
{
    int inputs[64];
    int taps[64];
    int64_t size = s->t.inputs * s->t.taps;

    memcpy(to, s, sizeof *s);
    to->t = tensor_of(to, s->t.outputs, s->t.inputs, s->t.taps);
    shuffle(r, inputs, s->t.inputs);
    for (int64_t n = 0; n < s->t.inputs; n++) {
        shuffle(r, taps, s->t.taps);
        for (int64_t k = 0; k < s->t.taps; k++) {
            place[n * s->t.taps + k] = inputs[n] * (int)s->t.taps + taps[k];
        }
    }
    for (int64_t i = 0; i < s->t.outputs * size; i++) {
        to->weights[i / size * size + place[i % size]] = -s->weights[i];
    }
}

static void order_and_sign_do_not_matter(void **state)
{
    spry_random r = spry_random_stream(37, 0);
    sample *s = malloc(sizeof *s);
    sample *other = malloc(sizeof *other);
    int *place = malloc(MOST * sizeof *place);

    (void)state;
    for (int c = 0; c < 100; c++) {
        int64_t size;

        draw(&r, s);
        size = s->t.inputs * s->t.taps;
        s->grid.symmetric = true; /* an affine zero point may round the other way when mirrored */
        round_sample(s, SQUANT_EKC, threads_single());
        mirror(&r, s, other, place);
        round_sample(other, SQUANT_EKC, threads_single());
        for (int64_t i = 0; i < s->t.outputs * size; i++) {
            assert_int_equal(s->codes[i], -other->codes[i / size * size + place[i % size]]);
        }
    }
    free(place);
    free(other);
    free(s);
}

/* ---- groups of inputs, blocks of outputs, mean inputs ---- */

/* Errors of channel m times steps and means; *most is the largest weight of an error in it. */
static double real_sum(const sample *s, int64_t m, int64_t blocks, double *most)
{
    double sum = 0.0;

    *most = 0.0;
    for (int64_t i = 0; i < s->t.inputs * s->t.taps; i++) {
        int64_t input = i / s->t.taps;
        int64_t place = m * blocks + input / s->t.column_block;
        double weight = (double)s->steps[place];

        weight *= s->t.means != NULL ? (double)s->t.means[input] : 1.0;
        sum += weight * (double)((float)s->codes[m * s->t.inputs * s->t.taps + i] -
                                 grid_position(s->weights[m * s->t.inputs * s->t.taps + i],
                                               s->steps[place], s->zeros[place]));
        *most = fmax(*most, fabs(weight));
    }
    return sum;
}

static void check_group_sums(const sample *s, int64_t m, int64_t blocks)
{
    for (int64_t b = 0; b < blocks && s->t.taps == 1; b++) {
        int64_t end = (b + 1) * s->t.column_block;
        double sum = 0.0;

        for (int64_t i = b * s->t.column_block; i < end && i < s->t.inputs; i++) {
            sum += (double)((float)s->codes[m * s->t.inputs + i] -
                            grid_position(s->weights[m * s->t.inputs + i], s->steps[m * blocks + b],
                                          s->zeros[m * blocks + b]));
        }
        assert_true(fabs(sum) <= 1.0 + 1e-6);
    }
}

static void groups_cancel_in_real_numbers(void **state)
{
    spry_random r = spry_random_stream(41, 0);
    sample *s = malloc(sizeof *s);
    float means[64];
    double before = 0.0;
    double after = 0.0;

    (void)state;
    spry_random_fill_uniform(&r, means, 64, 0.1f, 2.0f);
    for (int c = 0; c < 200; c++) {
        int64_t blocks;

        draw(&r, s);
        s->t.column_block = 1 + (int64_t)spry_random_below(&r, (uint64_t)s->t.inputs);
        s->grid.symmetric = true; /* nothing saturates */
        blocks = (s->t.inputs + s->t.column_block - 1) / s->t.column_block;
        for (int64_t i = 0; i < s->t.outputs * s->t.inputs * s->t.taps; i++) {
            s->weights[i] *= 1.0f + (float)(i / s->t.taps % s->t.inputs / s->t.column_block);
        }
        s->t.means = c % 2 == 0 ? means : NULL;
        for (int stage = 0; stage < 2; stage++) {
            round_sample(s, stage == 0 ? SQUANT_E : SQUANT_EKC, threads_single());
            for (int64_t m = 0; m < s->t.outputs; m++) {
                double most;
                double sum = real_sum(s, m, blocks, &most);

                *(stage == 0 ? &before : &after) += fabs(sum) / most;
                if (stage == 1) {
                    check_group_sums(s, m, blocks);
                }
            }
        }
    }
    assert_true(after < 0.25 * before);
    free(s);
}

/* Blocks of rows and a map of columns give what rows and columns moved together give. */
static void maps_are_orders(void **state)
{
    static const int32_t column_map[] = {1, 0, 1, 2, 0, 2, 1, 0, 2};
    static const int order[] = {1, 4, 7, 0, 2, 6, 3, 5, 8};
    static const int32_t row_map[] = {1, 0, 1, 0};
    enum { OUTPUTS = 4, INPUTS = 9, TAPS = 4, ROW = INPUTS * TAPS };
    spry_random r = spry_random_stream(43, 0);
    sample *s = malloc(sizeof *s);
    sample *moved = malloc(sizeof *moved);

    (void)state;
    s->grid = (grid_options){.bits = 3};
    moved->grid = s->grid;
    spry_random_fill_normal(&r, s->weights, (size_t)(OUTPUTS * ROW), 0.0f, 1.0f);
    for (int m = 0; m < OUTPUTS; m++) {
        for (int n = 0; n < INPUTS; n++) {
            memcpy(moved->weights + m * ROW + n * TAPS, s->weights + m * ROW + order[n] * TAPS,
                   TAPS * sizeof(float));
        }
    }
    s->t = tensor_of(s, OUTPUTS, INPUTS, TAPS);
    moved->t = tensor_of(moved, OUTPUTS, INPUTS, TAPS);
    s->t.row_map = row_map;
    s->t.column_map = column_map;
    s->t.column_blocks = 3;
    moved->t.row_map = row_map;
    moved->t.column_block = 3;
    round_sample(s, SQUANT_EKC, threads_single());
    round_sample(moved, SQUANT_EKC, threads_single());
    assert_memory_equal(s->steps, moved->steps, 6 * sizeof(float));
    assert_memory_equal(s->zeros, moved->zeros, 6 * sizeof(int32_t));
    for (int m = 0; m < OUTPUTS; m++) {
        for (int n = 0; n < INPUTS; n++) {
            assert_memory_equal(moved->codes + m * ROW + n * TAPS,
                                s->codes + m * ROW + order[n] * TAPS, TAPS);
        }
    }
    free(moved);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_then_channel),
        cmocka_unit_test(grid_of_four_weights),
        cmocka_unit_test(sums_stay_in_bounds),
        cmocka_unit_test(flips_are_the_cheapest),
        cmocka_unit_test(channel_stage_moves_one_code_per_kernel),
        cmocka_unit_test(scale_and_threads_do_not_matter),
        cmocka_unit_test(codes_of_a_grid_stay),
        cmocka_unit_test(values_of_codes_keep_them),
        cmocka_unit_test(flat_channels),
        cmocka_unit_test(without_stages_all_is_nearest),
        cmocka_unit_test(order_and_sign_do_not_matter),
        cmocka_unit_test(groups_cancel_in_real_numbers),
        cmocka_unit_test(maps_are_orders),
    };

    return cmocka_run_group_tests_name("quantize/squant", tests, NULL, NULL);
}
