/* HQQ: what must hold for every group. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "quantize/method/hqq.h"
#include "spry/random.h"

enum { MOST = 256 };

static double mean_error(const hqq_group *g)
{
    double sum = 0.0;

    for (int64_t i = 0; i < g->count; i++) {
        sum += fabs((double)g->weights[i] - (double)(((float)g->codes[i] - g->zero) * g->step));
    }
    return sum / (double)g->count;
}

static void never_worse_than_the_range(void **state)
{
    spry_random r = spry_random_stream(2, 0);
    float weights[MOST];
    int8_t codes[MOST];
    double before = 0.0;
    double after = 0.0;

    (void)state;
    for (int n = 0; n < 300; n++) {
        int bits = 2 + n % 7;
        grid_options grid = {.bits = bits, .exact_range = true};
        hqq_group g = {.weights = weights,
                       .count = 1 + (int64_t)spry_random_below(&r, MOST),
                       .limits = grid_codes_of(&grid),
                       .whole = n % 3 == 0,
                       .codes = codes};
        double found;

        for (int64_t i = 0; i < g.count; i++) {
            double x = spry_random_normal(&r);

            weights[i] = (float)(0.02 * x * x * x); /* with outliers */
        }
        hqq_round(&g);
        found = mean_error(&g);
        assert_true(isfinite(found) && g.step > 0.0f);
        for (int64_t i = 0; i < g.count; i++) {
            assert_in_range(codes[i] - g.limits.low, 0, g.limits.high - g.limits.low);
        }
        if (g.whole) {
            assert_true(g.zero == rintf(g.zero) && g.zero >= (float)g.limits.low &&
                        g.zero <= (float)g.limits.high);
        } else if (g.count > 1) {
            float low = weights[0];
            float high = weights[0];
            int32_t zero;
            double plain = 0.0;

            for (int64_t i = 1; i < g.count; i++) {
                low = fminf(low, weights[i]);
                high = fmaxf(high, weights[i]);
            }
            grid_of_bounds(low, high, &grid, &g.step, &zero);
            for (int64_t i = 0; i < g.count; i++) {
                float code = rintf(weights[i] / g.step + (float)zero);

                code = fminf(fmaxf(code, (float)g.limits.low), (float)g.limits.high);
                plain += fabs((double)weights[i] - (double)((code - (float)zero) * g.step));
            }
            plain /= (double)g.count;
            assert_true(found <= plain * 1.0001 + 1e-9);
            before += bits <= 4 ? plain : 0.0;
            after += bits <= 4 ? found : 0.0;
        }
    }
    assert_true(after < before);
}

static void equal_weights(void **state)
{
    static const float values[] = {0.0f, 0.5f, -3.0f, 1e-20f};
    static const float between[] = {100.0f, 100.0001f, 100.0002f};

    (void)state;
    for (int i = 0; i < 4; i++) {
        for (int whole = 0; whole < 2; whole++) {
            float weights[8];
            int8_t codes[8];
            hqq_group g = {weights, 8, {-8, 7}, whole != 0, 0, 0, codes};

            for (int k = 0; k < 8; k++) {
                weights[k] = values[i];
            }
            hqq_round(&g);
            assert_true(mean_error(&g) <= 1e-6 * fabs((double)values[i]));
        }
    }
    /* Far from zero: the step has to reach there, since sums would lose the difference. */
    int8_t codes[3];
    hqq_group g = {between, 3, {-8, 7}, false, 0, 0, codes};

    hqq_round(&g);
    assert_true(fabsf(g.zero) <= 256.0f && mean_error(&g) < 4.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(never_worse_than_the_range),
        cmocka_unit_test(equal_weights),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
