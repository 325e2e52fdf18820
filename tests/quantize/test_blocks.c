/* Blocks of weights: the worked example, and what must hold for every cut. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "quantize/method/blocks.h"
#include "spry/random.h"

enum { MOST = 4096, MOST_CHANNELS = 64 };

static void check_near(double got, double expected, double tolerance)
{
    if (!(fabs(got - expected) <= tolerance)) {
        fail_msg("%.12g is not %.12g", got, expected);
    }
}

typedef struct block_case {
    arena memory;
    float dense[MOST];
    float values[MOST];
    weight_record r;
} block_case;

static void begin(block_case *c, int64_t outputs, int64_t inputs, int64_t taps, int bits)
{
    arena_init(&c->memory, NULL, SIZE_MAX);
    c->r = (weight_record){
        .w = {.outputs = outputs, .inputs = inputs, .taps = taps}, .bits = bits, .symmetric = true};
}

static void cut(block_case *c, int64_t rows, int64_t columns, const int32_t *outputs,
                const int32_t *inputs)
{
    c->r.row_map = NULL;
    c->r.column_map = NULL;
    assert_int_equal(blocks_cut(&c->r, rows, columns, outputs, inputs, &c->memory, NULL), SPRY_OK);
}

static void round_absmax(block_case *c)
{
    blocks_absmax(&c->r, c->dense);
    blocks_round(&c->r, c->dense);
}

/* The example of four rows in two blocks, then in a better order. */
static void worked_example(void **state)
{
    static const float w[] = {0.75f, -0.5f, 6.0f, -4.0f, 0.5f, 0.2f, 5.0f, -7.0f};
    static const int8_t plain[] = {1, -1, 7, -5, 1, 0, 5, -8};
    static const int8_t ordered[] = {7, -5, 6, -4, 5, 2, 5, -8};
    static const int32_t order[] = {0, 2, 1, 3};
    block_case c;

    (void)state;
    begin(&c, 4, 2, 1, 4);
    memcpy(c.dense, w, sizeof w);
    cut(&c, 2, 2, NULL, NULL);
    round_absmax(&c);
    check_near((double)c.r.steps[0], 0.8, 1e-7);
    check_near((double)c.r.steps[1], 14.0 / 15.0, 1e-7);
    assert_memory_equal(c.r.codes, plain, sizeof plain);
    check_near(blocks_error(&c.r, c.dense), 0.809167, 1e-6);
    cut(&c, 2, 2, order, NULL);
    round_absmax(&c);
    check_near((double)c.r.steps[0], 0.1, 1e-7);
    check_near((double)c.r.steps[1], 14.0 / 15.0, 1e-7);
    assert_memory_equal(c.r.codes, ordered, sizeof ordered);
    check_near(blocks_error(&c.r, c.dense), 0.5625, 1e-6);
    arena_fini(&c.memory);
}

static void zeros_have_step_one(void **state)
{
    block_case c;

    (void)state;
    begin(&c, 2, 2, 1, 4);
    memset(c.dense, 0, sizeof c.dense);
    c.dense[3] = -3.0f;
    cut(&c, 1, 1, NULL, NULL);
    round_absmax(&c);
    assert_true(c.r.steps[0] == 1.0f && c.r.codes[0] == 0);
    assert_int_equal(c.r.codes[3], -8);
    arena_fini(&c.memory);
}

/* ---- random tensors ---- */

static void draw(spry_random *random, block_case *c)
{
    static const int64_t taps[] = {1, 1, 3, 9};
    static const int64_t channels[] = {1, 2, 3, 7, 13, 16};
    int64_t k = taps[spry_random_below(random, 4)];
    int64_t n = channels[spry_random_below(random, 6)];
    int64_t m = channels[spry_random_below(random, 6)];

    begin(c, m, n, k, 2 + (int)spry_random_below(random, 7));
    for (int64_t i = 0; i < m * n * k; i++) {
        c->dense[i] =
            (float)spry_random_normal(random) * (1.0f + (float)spry_random_below(random, 4));
    }
}

static void shuffle(spry_random *random, int32_t *order, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        order[i] = (int32_t)i;
    }
    for (int64_t i = count - 1; i > 0; i--) {
        int64_t j = (int64_t)spry_random_below(random, (uint64_t)i + 1);
        int32_t t = order[i];

        order[i] = order[j];
        order[j] = t;
    }
}

/* By the definition, from each block's own weights. */
static void check_absmax(const block_case *c)
{
    const weight_record *r = &c->r;

    for (int64_t b = 0; b < record_blocks(r); b++) {
        double most = 0.0;

        for (int64_t i = 0; i < r->w.outputs * r->w.inputs; i++) {
            if (record_block(r, i / r->w.inputs, i % r->w.inputs) == b) {
                for (int64_t t = 0; t < r->w.taps; t++) {
                    most = fmax(most, fabs((double)c->dense[i * r->w.taps + t]));
                }
            }
        }
        assert_true(r->steps[b] ==
                    (most > 0.0 ? (float)(most / ((double)(1 << (r->bits - 1)) - 0.5)) : 1.0f));
    }
}

static void orders_and_cuts(void **state)
{
    spry_random random = spry_random_stream(1, 0);
    spry_allocator allocator = alloc_resolve(NULL);

    (void)state;
    for (int trial = 0; trial < 200; trial++) {
        static block_case c;
        int32_t outputs[MOST_CHANNELS];
        int32_t inputs[MOST_CHANNELS];
        int32_t back[MOST_CHANNELS];
        int64_t rows = 1 + (int64_t)spry_random_below(&random, 17);
        int64_t columns = 1 + (int64_t)spry_random_below(&random, 17);
        double plain;

        draw(&random, &c);
        shuffle(&random, outputs, c.r.w.outputs);
        shuffle(&random, inputs, c.r.w.inputs);
        cut(&c, rows, columns, outputs, inputs);
        round_absmax(&c);
        check_absmax(&c);
        blocks_values(&c.r, c.values);
        for (int64_t i = 0; i < weight_count(&c.r.w); i++) {
            int64_t channel = i / c.r.w.taps;
            float step =
                c.r.steps[record_block(&c.r, channel / c.r.w.inputs, channel % c.r.w.inputs)];

            assert_true(fabsf(c.values[i] - c.dense[i]) <= 0.5001f * step);
        }
        plain = blocks_error(&c.r, c.dense);
        assert_int_equal(blocks_least_error(&c.r, c.dense, 0.5, 1.2, 20, &allocator, NULL),
                         SPRY_OK);
        blocks_round(&c.r, c.dense);
        assert_true(blocks_error(&c.r, c.dense) <= plain);
        /* Channels of a block stay together, blocks in their order. */
        blocks_order(c.r.column_map, c.r.w.inputs, c.r.column_blocks, back);
        for (int64_t place = 0; place < c.r.w.inputs; place++) {
            assert_int_equal(record_block(&c.r, 0, back[place]) % c.r.column_blocks,
                             place / c.r.column_block);
        }
        arena_fini(&c.memory);
    }
}

/* One block is a step per layer, blocks of one output a step per channel, and a power of two moves
 * steps alone. */
static void cuts_are_those_of_other_methods(void **state)
{
    spry_random random = spry_random_stream(9, 0);
    spry_allocator allocator = alloc_resolve(NULL);

    (void)state;
    for (int trial = 0; trial < 100; trial++) {
        static block_case c;
        static int8_t codes[MOST];
        float steps[MOST_CHANNELS];
        int32_t zeros[MOST_CHANNELS] = {0};
        int64_t count;

        draw(&random, &c);
        count = weight_count(&c.r.w);
        cut(&c, trial % 2 == 0 ? 1 : c.r.w.outputs, c.r.w.inputs, NULL, NULL);
        round_absmax(&c);
        memcpy(steps, c.r.steps, (size_t)record_blocks(&c.r) * sizeof *steps);
        squant_tensor whole = {.weights = c.dense,
                               .outputs = c.r.w.outputs,
                               .inputs = c.r.w.inputs,
                               .taps = c.r.w.taps,
                               .codes = codes,
                               .steps = steps,
                               .zeros = zeros,
                               .has_grid = true,
                               .row_block = c.r.row_block};

        assert_int_equal(squant_round(&whole, &(grid_options){.bits = c.r.bits}, SQUANT_E,
                                      &allocator, threads_single(), NULL, NULL),
                         SPRY_OK);
        assert_memory_equal(codes, c.r.codes, (size_t)count);
        for (int64_t i = 0; i < count; i++) {
            c.dense[i] *= 0.125f;
        }
        round_absmax(&c);
        assert_memory_equal(codes, c.r.codes, (size_t)count);
        for (int64_t i = 0; i < record_blocks(&c.r); i++) {
            assert_true(c.r.steps[i] == 0.125f * steps[i] || c.r.steps[i] == 1.0f);
        }
        arena_fini(&c.memory);
    }
}

/* Halves of blocks, each with its parent's step to begin with, are never worse. */
static void finer_cuts_are_never_worse(void **state)
{
    spry_random random = spry_random_stream(10, 0);
    spry_allocator allocator = alloc_resolve(NULL);

    (void)state;
    for (int trial = 0; trial < 60; trial++) {
        static block_case c;
        float parents[MOST_CHANNELS];
        double before;

        draw(&random, &c);
        cut(&c, 4, c.r.w.inputs, NULL, NULL);
        blocks_absmax(&c.r, c.dense);
        assert_int_equal(blocks_least_error(&c.r, c.dense, 0.5, 1.2, 20, &allocator, NULL),
                         SPRY_OK);
        blocks_round(&c.r, c.dense);
        before = blocks_error(&c.r, c.dense);
        memcpy(parents, c.r.steps, (size_t)record_blocks(&c.r) * sizeof *parents);
        cut(&c, 2, (c.r.w.inputs + 1) / 2, NULL, NULL);
        for (int64_t i = 0; i < record_blocks(&c.r); i++) {
            c.r.steps[i] = parents[i / c.r.column_blocks / 2];
        }
        assert_int_equal(blocks_least_error(&c.r, c.dense, 0.5, 1.2, 20, &allocator, NULL),
                         SPRY_OK);
        blocks_round(&c.r, c.dense);
        assert_true(blocks_error(&c.r, c.dense) <= before * (1.0 + 1e-9));
        arena_fini(&c.memory);
    }
}

/* Flips move no weight by more than a step, and errors of channels fall. */
static void flips_cancel_errors(void **state)
{
    spry_random random = spry_random_stream(2, 0);
    spry_allocator allocator = alloc_resolve(NULL);

    (void)state;
    for (int trial = 0; trial < 100; trial++) {
        static block_case c;
        int32_t inputs[MOST_CHANNELS];
        squant_report report = {0};

        draw(&random, &c);
        shuffle(&random, inputs, c.r.w.inputs);
        cut(&c, 2, 4, NULL, inputs);
        blocks_absmax(&c.r, c.dense);
        assert_int_equal(
            blocks_flip(&c.r, c.dense, SQUANT_EKC, &allocator, threads_single(), &report, NULL),
            SPRY_OK);
        blocks_values(&c.r, c.values);
        for (int64_t i = 0; i < weight_count(&c.r.w); i++) {
            int64_t channel = i / c.r.w.taps;
            float step =
                c.r.steps[record_block(&c.r, channel / c.r.w.inputs, channel % c.r.w.inputs)];

            assert_true(fabsf(c.values[i] - c.dense[i]) <= 1.0001f * step);
        }
        assert_true(report.channel_error_after <= report.channel_error_before + 1e-6);
        arena_fini(&c.memory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_example),
        cmocka_unit_test(zeros_have_step_one),
        cmocka_unit_test(orders_and_cuts),
        cmocka_unit_test(cuts_are_those_of_other_methods),
        cmocka_unit_test(finer_cuts_are_never_worse),
        cmocka_unit_test(flips_cancel_errors),
    };

    return cmocka_run_group_tests_name("quantize/blocks", tests, NULL, NULL);
}
