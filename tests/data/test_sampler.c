/* Orders that must be permutations, and draws that must be fair. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "data/sampler.h"
#include "support/fault.h"

enum { MOST = 1100 };

static void start(sampler *s, const sampler_options *options)
{
    spry_error error = {0};

    if (sampler_init(s, options, NULL, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
}

static void permutations_hit_every_place_once(void **state)
{
    static const int64_t counts[] = {1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 257, 1000, 1024, 1025};
    bool hit[MOST];

    (void)state;
    for (size_t n = 0; n < sizeof counts / sizeof counts[0]; n++) {
        for (int64_t round = 0; round < 5; round++) {
            memset(hit, 0, sizeof hit);
            for (int64_t i = 0; i < counts[n]; i++) {
                int64_t to = sampler_permute(77, round, counts[n], i);

                assert_in_range(to, 0, counts[n] - 1);
                assert_false(hit[to]);
                hit[to] = true;
            }
        }
    }
    /* Large ones stay inside, and differ by round and by key. */
    for (int64_t i = 0; i < 100; i++) {
        const int64_t large = ((int64_t)1 << 45) - 1;

        assert_in_range(sampler_permute(1, 0, large, i), 0, large - 1);
        assert_true(sampler_permute(1, 0, large, i) != sampler_permute(1, 1, large, i));
        assert_true(sampler_permute(1, 0, large, i) != sampler_permute(2, 0, large, i));
    }
}

/* Where each of 10 places goes over many rounds: all pairs equally often. The sum of squared
 * deviations over the expectation is chi-squared with 81 degrees of freedom: mean 81, deviation
 * 12.7; 150 lies beyond five deviations. */
static void permutations_are_fair(void **state)
{
    enum { COUNT = 10, ROUNDS = 20000 };
    int64_t hits[COUNT][COUNT] = {{0}};
    double sum = 0;

    (void)state;
    for (int64_t round = 0; round < ROUNDS; round++) {
        for (int64_t i = 0; i < COUNT; i++) {
            hits[i][sampler_permute(5, round, COUNT, i)]++;
        }
    }
    for (int i = 0; i < COUNT * COUNT; i++) {
        double off = (double)hits[i / COUNT][i % COUNT] - (double)ROUNDS / COUNT;

        sum += off * off / ((double)ROUNDS / COUNT);
    }
    assert_true(sum < 150);
}

static void epochs_draw_every_sample_at_most_once(void **state)
{
    const sampler_options options = {.count = 103, .batch = 10, .seed = 3};
    sampler_pick picks[10];
    sampler_pick again[10];
    int64_t left_out[2] = {-1, -1};
    sampler s;

    (void)state;
    start(&s, &options);
    assert_int_equal(sampler_steps_per_epoch(&s), 10);
    for (int64_t epoch = 0; epoch < 2; epoch++) {
        int seen[103] = {0};

        for (int64_t step = epoch * 10; step < epoch * 10 + 10; step++) {
            assert_int_equal(sampler_draw(&s, step, picks, 10), 10);
            for (int i = 0; i < 10; i++) {
                seen[picks[i].index]++;
                assert_int_equal(picks[i].visit, epoch);
            }
        }
        for (int64_t i = 0; i < 103; i++) {
            assert_true(seen[i] <= 1);
            left_out[epoch] = seen[i] == 0 ? i : left_out[epoch];
        }
    }
    assert_true(left_out[0] != left_out[1]);
    /* Any step, at any time, also in parts. */
    assert_int_equal(sampler_draw(&s, 19, again, 10), 10);
    assert_memory_equal(picks, again, sizeof picks);
    assert_int_equal(sampler_draw(&s, 19, again, 3), 10);
    sampler_fini(&s);
}

static void sequences_are_in_order(void **state)
{
    const sampler_options options = {.kind = SAMPLER_SEQUENTIAL, .count = 7, .batch = 3};
    sampler_pick picks[3];
    sampler_pick other;
    sampler s;

    (void)state;
    start(&s, &options);
    assert_int_equal(sampler_draw(&s, 3, picks, 3), 3);
    assert_int_equal(picks[0].index, 3);
    assert_int_equal(picks[2].index, 5);
    assert_int_equal(picks[2].visit, 1);
    assert_true(sampler_stand_in(&s, &picks[2], 2, &other));
    assert_int_equal(other.index, 0);
    assert_true(other.visit != picks[2].visit);
    assert_true(sampler_stand_in(&s, &picks[2], 6, &other));
    assert_false(sampler_stand_in(&s, &picks[2], 7, &other));
    sampler_fini(&s);
}

static void classes_come_equally_often(void **state)
{
    /* Class 1 has no samples, class 3 a single one. */
    static const int32_t labels[] = {0, 0, 2, 0, 3, 2, 0, 0, 0, 2};
    const sampler_options options = {
        .kind = SAMPLER_BALANCED, .count = 10, .batch = 6, .seed = 8, .labels = labels};
    int64_t by_class[4] = {0};
    int64_t by_sample[10] = {0};
    sampler_pick picks[6];
    sampler_pick other;
    sampler s;

    (void)state;
    start(&s, &options);
    for (int64_t step = 0; step < 60; step++) {
        assert_int_equal(sampler_draw(&s, step, picks, 6), 6);
        for (int i = 0; i < 6; i++) {
            assert_int_equal(picks[i].visit, by_sample[picks[i].index]);
            by_sample[picks[i].index]++;
            by_class[labels[picks[i].index]]++;
        }
    }
    assert_int_equal(by_class[0], 120);
    assert_int_equal(by_class[1], 0);
    assert_int_equal(by_class[2], 120);
    assert_int_equal(by_class[3], 120);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(by_sample[i], labels[i] == 0 ? 20 : labels[i] == 2 ? 40 : 120);
    }
    for (int i = 0; i < 6; i++) {
        bool alone = labels[picks[i].index] == 3;

        assert_true(sampler_stand_in(&s, &picks[i], 1, &other) != alone);
        assert_true(alone || labels[other.index] == labels[picks[i].index]);
    }
    sampler_fini(&s);
}

static void poisson_batches_vary(void **state)
{
    enum { COUNT = 1000, STEPS = 2000 };
    const sampler_options options = {
        .kind = SAMPLER_POISSON, .count = COUNT, .rate = 0.02, .seed = 4};
    const sampler_options whole = {.kind = SAMPLER_POISSON, .count = 5, .rate = 1};
    static sampler_pick picks[COUNT];
    static int64_t hits[COUNT];
    double sum = 0;
    double squares = 0;
    sampler_pick other;
    sampler s;

    (void)state;
    start(&s, &options);
    assert_int_equal(sampler_steps_per_epoch(&s), 50);
    assert_int_equal(sampler_most(&s), COUNT);
    assert_in_range(sampler_usual(&s), 20, 60);
    for (int64_t step = 0; step < STEPS; step++) {
        int64_t count = sampler_draw(&s, step, picks, COUNT);

        sum += (double)count;
        squares += (double)count * (double)count;
        for (int64_t i = 0; i < count; i++) {
            assert_true(i == 0 || picks[i].index > picks[i - 1].index);
            hits[picks[i].index]++;
        }
    }
    /* Binomial: mean 20 +- 0.1, variance 19.6 +- 0.62; four deviations each. */
    assert_true(fabs(sum / STEPS - 20) < 0.4);
    assert_true(fabs(squares / STEPS - sum / STEPS * sum / STEPS - 19.6) < 2.5);
    for (int64_t i = 0; i < COUNT; i++) {
        assert_in_range(hits[i], 40 - 34, 40 + 34);
    }
    assert_false(sampler_stand_in(&s, &picks[0], 1, &other));
    start(&s, &whole);
    assert_int_equal(sampler_draw(&s, 0, picks, COUNT), 5);
    assert_int_equal(sampler_steps_per_epoch(&s), 1);
}

static void impossible_draws_are_refused(void **state)
{
    static const sampler_options wrong[] = {
        {.count = 0, .batch = 1},
        {.count = 5, .batch = 0},
        {.count = 5, .batch = 6},
        {.kind = SAMPLER_POISSON, .count = 5, .rate = 0},
        {.kind = SAMPLER_POISSON, .count = 5, .rate = 1.5},
        {.kind = SAMPLER_POISSON, .count = 5, .rate = NAN},
    };
    sampler s;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(sampler_init(&s, &wrong[i], NULL, NULL), SPRY_USAGE);
    }
}

static spry_status make_balanced(const spry_allocator *allocator, void *context, spry_error *error)
{
    static const int32_t labels[] = {4, 0, 4};
    const sampler_options options = {
        .kind = SAMPLER_BALANCED, .count = 3, .batch = 2, .labels = labels};
    sampler s;
    spry_status status = sampler_init(&s, &options, allocator, error);

    (void)context;
    if (status == SPRY_OK) {
        sampler_fini(&s);
    }
    return status;
}

static void failing_allocations_leak_nothing(void **state)
{
    (void)state;
    assert_int_equal(fault_sweep(make_balanced, NULL), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(permutations_hit_every_place_once),
        cmocka_unit_test(permutations_are_fair),
        cmocka_unit_test(epochs_draw_every_sample_at_most_once),
        cmocka_unit_test(sequences_are_in_order),
        cmocka_unit_test(classes_come_equally_often),
        cmocka_unit_test(poisson_batches_vary),
        cmocka_unit_test(impossible_draws_are_refused),
        cmocka_unit_test(failing_allocations_leak_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
