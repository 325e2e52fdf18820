/* GPTQ: never worse than rounding to the nearest, and the same where inputs do not depend on each
 * other. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "quantize/method/gptq.h"
#include "quantize/method/squant.h"
#include "spry/random.h"

enum { MOST_SIZE = 300, MOST_ROWS = 20, SAMPLES = 400 };

typedef struct sample {
    int64_t rows, size;
    float weights[MOST_ROWS * MOST_SIZE];
    double gram[MOST_SIZE * MOST_SIZE];
    int32_t block_of[MOST_SIZE];
    float steps[MOST_ROWS * MOST_SIZE];
    int32_t zeros[MOST_ROWS * MOST_SIZE];
    int8_t nearest[MOST_ROWS * MOST_SIZE];
    int8_t codes[MOST_ROWS * MOST_SIZE];
    gptq_layer layer;
} sample;

static void draw_weights(spry_random *r, sample *s, int bits, int64_t group)
{
    grid_options grid = {.bits = bits, .symmetric = spry_random_below(r, 2) == 0};
    spry_allocator allocator = alloc_resolve(NULL);
    int64_t blocks = (s->size + group - 1) / group;
    squant_tensor t = {.weights = s->weights,
                       .outputs = s->rows,
                       .inputs = s->size,
                       .taps = 1,
                       .codes = s->nearest,
                       .steps = s->steps,
                       .zeros = s->zeros,
                       .row_block = 1,
                       .column_block = group,
                       .column_blocks = blocks};

    for (int64_t i = 0; i < s->rows * s->size; i++) {
        s->weights[i] = (float)spry_random_normal(r) * 0.1f;
    }
    for (int64_t i = 0; i < s->size; i++) {
        s->block_of[i] = (int32_t)(i / group);
    }
    assert_int_equal(squant_round(&t, &grid, SQUANT_E, &allocator, threads_single(), NULL, NULL),
                     SPRY_OK);
    memcpy(s->codes, s->nearest, (size_t)(s->rows * s->size));
    s->layer = (gptq_layer){.rows = s->rows,
                            .size = s->size,
                            .weights = s->weights,
                            .gram = s->gram,
                            .limits = grid_codes_of(&grid),
                            .block_of = s->block_of,
                            .blocks = blocks,
                            .steps = s->steps,
                            .zeros = s->zeros,
                            .codes = s->codes};
}

/* Inputs that depend on each other; every seventh is always zero. */
static void draw_gram(spry_random *r, sample *s)
{
    double column[MOST_SIZE];

    memset(s->gram, 0, sizeof s->gram);
    for (int n = 0; n < SAMPLES; n++) {
        double common = spry_random_normal(r);

        for (int64_t i = 0; i < s->size; i++) {
            column[i] = i % 7 == 6 ? 0.0 : common + 0.3 * (double)(i % 5) * spry_random_normal(r);
        }
        for (int64_t i = 0; i < s->size; i++) {
            for (int64_t k = 0; k < s->size; k++) {
                s->gram[i * s->size + k] += column[i] * column[k];
            }
        }
    }
}

static double objective(const sample *s, const int8_t *codes, int64_t row)
{
    double errors[MOST_SIZE];
    double sum = 0.0;

    for (int64_t i = 0; i < s->size; i++) {
        int64_t block = row * s->layer.blocks + s->block_of[i];
        int64_t at = row * s->size + i;

        errors[i] = (double)s->weights[at] -
                    (double)((float)(codes[at] - s->zeros[block]) * s->steps[block]);
    }
    for (int64_t i = 0; i < s->size; i++) {
        for (int64_t k = 0; k < s->size; k++) {
            sum += errors[i] * s->gram[i * s->size + k] * errors[k];
        }
    }
    return sum;
}

static void round_sample(sample *s, threads *team)
{
    spry_allocator allocator = alloc_resolve(NULL);

    memcpy(s->codes, s->nearest, (size_t)(s->rows * s->size));
    assert_int_equal(gptq_round(&s->layer, &allocator, team, NULL), SPRY_OK);
}

static void no_row_gets_worse(void **state)
{
    static const int64_t sizes[] = {1, 2, 17, 64, 129, MOST_SIZE};
    spry_random r = spry_random_stream(3, 0);
    sample *s = malloc(sizeof *s);
    double before = 0.0;
    double after = 0.0;

    (void)state;
    assert_non_null(s);
    for (int i = 0; i < 18; i++) {
        s->size = sizes[i % 6];
        s->rows = 1 + (int64_t)spry_random_below(&r, MOST_ROWS);
        draw_weights(&r, s, 2 + i % 3, i % 2 == 0 ? s->size : 32);
        draw_gram(&r, s);
        s->layer.in_order = i % 4 == 3;
        round_sample(s, threads_single());
        for (int64_t row = 0; row < s->rows; row++) {
            double nearest = objective(s, s->nearest, row);
            double found = objective(s, s->codes, row);

            assert_true(found <= nearest * (1.0 + 1e-9) + 1e-12);
            before += s->size > 16 ? nearest : 0.0;
            after += s->size > 16 ? found : 0.0;
        }
        for (int64_t k = 0; k < s->rows * s->size; k++) {
            assert_in_range(s->codes[k] - s->layer.limits.low, 0,
                            s->layer.limits.high - s->layer.limits.low);
        }
    }
    assert_true(after < 0.5 * before); /* of inputs that have much in common */
    free(s);
}

static void independent_inputs_give_the_nearest(void **state)
{
    spry_random r = spry_random_stream(5, 0);
    sample *s = malloc(sizeof *s);

    (void)state;
    assert_non_null(s);
    for (int i = 0; i < 6; i++) {
        s->size = 1 + (int64_t)spry_random_below(&r, MOST_SIZE);
        s->rows = 1 + (int64_t)spry_random_below(&r, MOST_ROWS);
        draw_weights(&r, s, 2 + i, s->size);
        memset(s->gram, 0, sizeof s->gram);
        for (int64_t k = 0; k < s->size; k++) {
            s->gram[k * s->size + k] = 1.0;
        }
        round_sample(s, threads_single());
        assert_memory_equal(s->codes, s->nearest, (size_t)(s->rows * s->size));
    }
    memset(s->gram, 0, sizeof s->gram); /* inputs that are always zero */
    round_sample(s, threads_single());
    assert_memory_equal(s->codes, s->nearest, (size_t)(s->rows * s->size));
    s->gram[0] = NAN;
    round_sample(s, threads_single());
    assert_memory_equal(s->codes, s->nearest, (size_t)(s->rows * s->size));
    free(s);
}

/* Two inputs that are always equal, codes -2..1 in steps of 1, weights 0.4 and 0.3: both round to
 * 0, an error of 0.7 per unit; rounding one to 1 leaves 0.3. */
static void two_equal_inputs(void **state)
{
    static const float weights[] = {0.4f, 0.3f};
    static const double gram[] = {1.0, 1.0, 1.0, 1.0};
    static const int32_t block_of[] = {0, 0};
    static const float step = 1.0f;
    static const int32_t zero = 0;
    spry_allocator allocator = alloc_resolve(NULL);
    int8_t codes[] = {0, 0};
    gptq_layer l = {.rows = 1,
                    .size = 2,
                    .weights = weights,
                    .gram = gram,
                    .limits = {-2, 1},
                    .block_of = block_of,
                    .blocks = 1,
                    .steps = &step,
                    .zeros = &zero,
                    .codes = codes};

    (void)state;
    assert_int_equal(gptq_round(&l, &allocator, threads_single(), NULL), SPRY_OK);
    assert_int_equal(codes[0] + codes[1], 1);
}

static void threads_do_not_matter(void **state)
{
    spry_random r = spry_random_stream(7, 0);
    sample *s = malloc(sizeof *s);
    int8_t *one = malloc(MOST_ROWS * MOST_SIZE);
    threads *team = NULL;

    (void)state;
    assert_true(s != NULL && one != NULL);
    assert_int_equal(threads_create(NULL, 3, &team, NULL), SPRY_OK);
    s->size = MOST_SIZE;
    s->rows = MOST_ROWS;
    draw_weights(&r, s, 3, 64);
    draw_gram(&r, s);
    round_sample(s, threads_single());
    memcpy(one, s->codes, MOST_ROWS * MOST_SIZE);
    round_sample(s, team);
    assert_memory_equal(one, s->codes, MOST_ROWS * MOST_SIZE);
    threads_destroy(team);
    free(one);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_row_gets_worse),
        cmocka_unit_test(independent_inputs_give_the_nearest),
        cmocka_unit_test(two_equal_inputs),
        cmocka_unit_test(threads_do_not_matter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
