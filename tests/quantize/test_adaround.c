/* Learnt roundings: one of the codes beside a weight, better than the nearest, near the best. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "quantize/method/adaround.h"
#include "spry/random.h"

enum { OUTPUTS = 21, GROUPS = 3, SIZE = 8 };

typedef struct layer {
    float dense[OUTPUTS * SIZE], steps[OUTPUTS];
    int32_t zeros[OUTPUTS];
    int8_t nearest[OUTPUTS * SIZE], codes[OUTPUTS * SIZE];
    double xx[GROUPS * SIZE * SIZE], sum[GROUPS * SIZE];
    weight_record r;
    gram sums;
} layer;

/* Inputs that depend on each other, so that errors can cancel. */
static void draw(spry_random *random, layer *l)
{
    enum { COLUMNS = 64 };
    spry_allocator allocator = alloc_resolve(NULL);
    grid_options grid = {.bits = 3, .symmetric = true};
    squant_tensor t = {.weights = l->dense,
                       .outputs = OUTPUTS,
                       .inputs = SIZE,
                       .taps = 1,
                       .codes = l->nearest,
                       .steps = l->steps,
                       .zeros = l->zeros};

    memset(l->xx, 0, sizeof l->xx);
    memset(l->sum, 0, sizeof l->sum);
    for (int i = 0; i < GROUPS * COLUMNS; i++) {
        double common = spry_random_normal(random);
        double x[SIZE];

        for (int k = 0; k < SIZE; k++) {
            x[k] = common + 0.5 * spry_random_normal(random);
        }
        for (int k = 0; k < SIZE * SIZE; k++) {
            l->xx[i / COLUMNS * SIZE * SIZE + k] += x[k / SIZE] * x[k % SIZE];
        }
    }
    spry_random_fill_normal(random, l->dense, OUTPUTS * SIZE, 0.0f, 1.0f);
    assert_int_equal(squant_round(&t, &grid, SQUANT_E, &allocator, threads_single(), NULL, NULL),
                     SPRY_OK);
    memcpy(l->codes, l->nearest, sizeof l->codes);
    l->r = (weight_record){.w = {.outputs = OUTPUTS, .inputs = SIZE, .taps = 1},
                           .bits = 3,
                           .symmetric = true,
                           .row_block = 1,
                           .column_block = SIZE,
                           .row_blocks = OUTPUTS,
                           .column_blocks = 1,
                           .steps = l->steps,
                           .zeros = l->zeros,
                           .codes = l->codes};
    l->sums =
        (gram){.groups = GROUPS, .size = SIZE, .columns = COLUMNS, .sum = l->sum, .xx = l->xx};
}

static double error_of(const layer *l, const int8_t *codes, int row)
{
    const double *xx = l->xx + row / (OUTPUTS / GROUPS) * SIZE * SIZE;
    double d[SIZE];
    double total = 0.0;

    for (int i = 0; i < SIZE; i++) {
        d[i] = (double)grid_value(codes[i], l->steps[row], 0) - (double)l->dense[row * SIZE + i];
    }
    for (int i = 0; i < SIZE * SIZE; i++) {
        total += d[i / SIZE] * xx[i] * d[i % SIZE];
    }
    return total;
}

static double best_error(const layer *l, int row)
{
    double best = INFINITY;

    for (unsigned set = 0; set < 1u << SIZE; set++) {
        int8_t codes[SIZE];

        for (int i = 0; i < SIZE; i++) {
            float code = floorf(l->dense[row * SIZE + i] / l->steps[row]) +
                         ((set >> i & 1) != 0 ? 1.0f : 0.0f);

            codes[i] = (int8_t)fminf(fmaxf(code, -3.0f), 3.0f);
        }
        best = fmin(best, error_of(l, codes, row));
    }
    return best;
}

static void round_layer(layer *l, threads *team)
{
    adaround_options options = adaround_options_default();
    spry_allocator allocator = alloc_resolve(NULL);

    memcpy(l->codes, l->nearest, sizeof l->codes);
    assert_int_equal(adaround_weight(&l->r, l->dense, &l->sums, &options, &allocator, team, NULL),
                     SPRY_OK);
}

static void learns(void **state)
{
    spry_random random = spry_random_stream(29, 0);
    double sums[3] = {0.0, 0.0, 0.0};
    int8_t alone[OUTPUTS * SIZE];
    threads *team = NULL;
    layer l;

    (void)state;
    assert_int_equal(threads_create(NULL, 3, &team, NULL), SPRY_OK);
    for (int turn = 0; turn < 4; turn++) {
        draw(&random, &l);
        round_layer(&l, threads_single());
        memcpy(alone, l.codes, sizeof alone);
        round_layer(&l, team);
        assert_memory_equal(alone, l.codes, sizeof alone);
        for (int row = 0; row < OUTPUTS; row++) {
            double nearest = error_of(&l, l.nearest + row * SIZE, row);
            double learnt = error_of(&l, l.codes + row * SIZE, row);

            assert_true(learnt <= nearest * (1.0 + 1e-5));
            sums[0] += nearest;
            sums[1] += learnt;
            sums[2] += best_error(&l, row);
        }
        for (int i = 0; i < OUTPUTS * SIZE; i++) {
            float x = l.dense[i] / l.steps[i / SIZE];

            assert_true(fabsf((float)l.codes[i] - x) < 1.0f + 1e-5f);
        }
    }
    /* Nearly all that there is to gain. */
    if (!(sums[0] - sums[1] >= 0.9 * (sums[0] - sums[2]))) {
        fail_msg("nearest %g, learnt %g, best %g", sums[0], sums[1], sums[2]);
    }
    threads_destroy(team);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(learns)};

    return cmocka_run_group_tests_name("quantize/adaround", tests, NULL, NULL);
}
