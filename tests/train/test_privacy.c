/* Privacy accounting against figures that were computed in other ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "train/privacy.h"

static void expect(double got, double right, double tolerance)
{
    if (!(fabs(got - right) <= tolerance * fabs(right))) {
        fail_msg("%.12g, not %.12g", got, right);
    }
}

static privacy_spent spend(const privacy_phase *phases, int32_t count, double delta, int most)
{
    privacy_spent spent;

    assert_int_equal(privacy_spend(phases, count, delta, most, &spent, NULL), SPRY_OK);
    return spent;
}

static void test_divergence(void **state)
{
    (void)state;
    expect(privacy_divergence(0.01, 1.0, 2), 1.718134221e-4, 1e-9);
    expect(privacy_divergence(0.01, 1.0, 8), 8.936439076e-4, 1e-9);
    expect(privacy_divergence(0.01, 1.0, 32), 11.246275937, 1e-9);
    expect(privacy_divergence(0.1, 4.0, 16), 5.635518058e-3, 1e-9);
    expect(privacy_divergence(1.0, 2.0, 10), 1.25, 1e-15);
    assert_true(privacy_divergence(0.0, 1.0, 7) == 0.0);
    assert_true(isinf(privacy_divergence(0.5, 0.0, 2)));
    for (double rate = 0.001; rate < 1.0; rate *= 3.0) { /* the closed form of order 2 */
        expect(privacy_divergence(rate, 0.9, 2), log1p(rate * rate * (exp(1.0 / 0.81) - 1.0)),
               1e-9);
    }
    /* Almost every example in every step is almost the plain mechanism. */
    expect(privacy_divergence(1.0 - 1e-12, 2.0, 10), 1.25, 1e-9);
}

static void test_spending(void **state)
{
    static const privacy_phase two[] = {{1e-5, 1.0, 10}, {1e-4, 3.0, 4}};
    static const struct {
        privacy_phase phase;
        double delta, epsilon;
        int order;
    } rows[] = {
        {{0.01, 1.0, 1000}, 1e-5, 2.107753, 8},   {{0.01, 1.1, 10000}, 1e-5, 5.654308, 5},
        {{0.004, 1.1, 15000}, 1e-5, 2.506367, 8}, {{0.125, 1.0, 50}, 1e-3, 5.057444, 3},
        {{0.02, 0.8, 500}, 1e-3, 3.819372, 3},    {{1.0, 4.0, 100}, 1e-3, 11.771461, 2},
    };
    privacy_spent spent = spend(two, 2, 1e-5, 32);

    (void)state;
    expect(spent.epsilon, 0.336344, 2e-6);
    assert_int_equal(spent.order, 23);
    assert_false(spent.at_edge);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        spent = spend(&rows[i].phase, 1, rows[i].delta, PRIVACY_MOST_ORDER);
        expect(spent.epsilon, rows[i].epsilon, 1e-6);
        assert_int_equal(spent.order, rows[i].order);
    }
    assert_true(spent.at_edge); /* the last row's order is the first */
}

static void test_properties(void **state)
{
    privacy_phase p = {0.05, 1.2, 200};
    privacy_phase more = p;
    privacy_phase turned[2] = {{0.1, 2.0, 30}, {0.05, 1.2, 200}};
    privacy_phase order[2] = {turned[1], turned[0]};
    double base = spend(&p, 1, 1e-5, 256).epsilon;

    (void)state;
    more.steps = 201;
    assert_true(spend(&more, 1, 1e-5, 256).epsilon > base);
    more = p;
    more.rate = 0.051;
    assert_true(spend(&more, 1, 1e-5, 256).epsilon > base);
    more = p;
    more.noise = 1.21;
    assert_true(spend(&more, 1, 1e-5, 256).epsilon < base);
    assert_true(spend(&p, 1, 2e-5, 256).epsilon < base);
    expect(spend(turned, 2, 1e-5, 256).epsilon, spend(order, 2, 1e-5, 256).epsilon, 1e-14);
    p.noise = 0.0;
    assert_true(isinf(spend(&p, 1, 1e-5, 256).epsilon));
    p.steps = 0; /* nothing was done, and nothing spent */
    assert_true(spend(&p, 1, 0.5, 256).epsilon == 0.0);
}

static void test_noise_for(void **state)
{
    static const struct {
        double rate;
        int64_t steps;
        double delta, epsilon, noise;
    } rows[] = {{1.0, 50, 1e-3, 5.0, 5.3860},
                {0.125, 50, 1e-3, 5.0, 1.0057},
                {0.05, 500, 1e-3, 5.0, 1.1156},
                {0.1, 100, 1e-5, 8.0, 0.9979}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        privacy_phase p = {rows[i].rate, 0.0, rows[i].steps};

        assert_int_equal(privacy_noise_for(rows[i].rate, rows[i].steps, rows[i].delta,
                                           rows[i].epsilon, &p.noise, NULL),
                         SPRY_OK);
        assert_true(fabs(p.noise - rows[i].noise) < 6e-5);
        assert_true(spend(&p, 1, rows[i].delta, 256).epsilon <= rows[i].epsilon);
    }
}

static void test_single_release(void **state)
{
    (void)state;
    assert_true(fabs(privacy_release_noise(1.0, 1e-5) - 3.7306) < 6e-5);
    assert_true(fabs(privacy_release_noise(5.0, 1e-3) - 0.6898) < 6e-5);
    /* The classical formula asks for too little noise where epsilon is large. */
    assert_true(fabs(privacy_release_delta(sqrt(2.0 * log(1.25e3)) / 10.0, 10.0) - 3.36e-3) < 5e-6);
    assert_true(privacy_release_delta(privacy_release_noise(0.5, 1e-6), 0.5) <= 1e-6);
    assert_true(privacy_release_delta(1.0, 1000.0) >= 0.0);
}

static void test_usage(void **state)
{
    static const privacy_phase wrong[] = {
        {-0.1, 1.0, 1}, {1.1, 1.0, 1}, {0.1, -1.0, 1}, {0.1, 1.0, -1}, {NAN, 1.0, 1}};
    privacy_phase right = {0.1, 1.0, 1};
    privacy_spent spent;
    double noise;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(privacy_spend(&wrong[i], 1, 1e-5, 256, &spent, NULL), SPRY_USAGE);
    }
    assert_int_equal(privacy_spend(&right, 1, 0.0, 256, &spent, NULL), SPRY_USAGE);
    assert_int_equal(privacy_spend(&right, 1, 1.0, 256, &spent, NULL), SPRY_USAGE);
    assert_int_equal(privacy_spend(&right, 1, 1e-5, 257, &spent, NULL), SPRY_USAGE);
    assert_int_equal(privacy_noise_for(0.1, 10, 1e-5, 0.0, &noise, NULL), SPRY_USAGE);
    /* So little that even no steps at all would show more at these orders. */
    assert_int_equal(privacy_noise_for(1.0, 10, 1e-9, 1e-12, &noise, NULL), SPRY_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_divergence),     cmocka_unit_test(test_spending),
        cmocka_unit_test(test_properties),     cmocka_unit_test(test_noise_for),
        cmocka_unit_test(test_single_release), cmocka_unit_test(test_usage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
