/* Derivatives of norms and functions, every variant against the formulas in double precision. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/elementwise/gradient_f32.h"
#include "support/sample.h"

enum { MOST_PIXELS = 40, MOST_CHANNELS = 150, MOST_ROW = 5000, CASES = 60 };

static float x[MOST_PIXELS * MOST_CHANNELS + 1];
static float dy[MOST_PIXELS * MOST_CHANNELS];
static float numbers[4][MOST_CHANNELS + 1];

static void expect_near(float got, double wanted, double size)
{
    assert_true(fabs((double)got - wanted) <= 3e-6 * size + 1e-7);
}

static void check_moments(spry_random *r, const gradient_f32_kernel *kernel)
{
    int64_t channels = sample_integer(r, 1, MOST_CHANNELS);
    int64_t pixels = sample_integer(r, 0, MOST_PIXELS);
    bool has_x = sample_integer(r, 0, 3) != 0;
    bool has_dy = !has_x || sample_integer(r, 0, 1) != 0;
    gradient_f32_moments m = {.x = has_x ? x : NULL,
                              .dy = has_dy ? dy : NULL,
                              .pivot = x,
                              .pixels = pixels,
                              .channels = channels,
                              .sums = numbers[0],
                              .squares = numbers[1],
                              .slopes = numbers[2],
                              .products = numbers[3]};

    for (int i = 0; i < 4; i++) {
        numbers[i][channels] = 7.0f;
    }
    kernel->moments(&m);
    for (int64_t c = 0; c < channels; c++) {
        double sums[4] = {0.0};
        double size = 0.0;

        for (int64_t i = 0; i < pixels; i++) {
            double distance = (double)x[i * channels + c] - (double)x[c];
            double slope = (double)dy[i * channels + c];

            sums[0] += distance;
            sums[1] += distance * distance;
            sums[2] += slope;
            sums[3] += slope * distance;
            size += fabs(distance) + distance * distance + fabs(slope) + fabs(slope * distance);
        }
        for (int i = 0; i < 4; i++) {
            if ((i < 2 && has_x) || (i == 2 && has_dy) || (i == 3 && has_x && has_dy)) {
                expect_near(numbers[i][c], sums[i], size);
            }
        }
    }
    for (int i = 0; i < 4; i++) {
        assert_true(numbers[i][channels] == 7.0f);
    }
}

static void check_blend(spry_random *r, const gradient_f32_kernel *kernel)
{
    static float to[MOST_PIXELS * MOST_CHANNELS + 1];
    gradient_f32_blend b = {.x = x,
                            .dy = dy,
                            .to = to,
                            .pixels = sample_integer(r, 0, MOST_PIXELS),
                            .channels = sample_integer(r, 1, MOST_CHANNELS),
                            .mean = numbers[0],
                            .a = numbers[1],
                            .b = numbers[2],
                            .d = numbers[3]};
    int64_t count = b.pixels * b.channels;

    sample_f32(r, &numbers[0][0], sizeof numbers / sizeof(float));
    to[count] = 7.0f;
    kernel->blend(&b);
    for (int64_t i = 0; i < count; i++) {
        int64_t c = i % b.channels;
        double parts[3] = {(double)dy[i] * (double)b.a[c],
                           ((double)x[i] - (double)b.mean[c]) * (double)b.b[c], (double)b.d[c]};

        expect_near(to[i], parts[0] + parts[1] + parts[2],
                    fabs(parts[0]) + fabs(parts[1]) + fabs(parts[2]));
    }
    assert_true(to[count] == 7.0f);
}

static void check_dot(spry_random *r, const gradient_f32_kernel *kernel)
{
    gradient_f32_dot d = {.dy = dy,
                          .x = x,
                          .dy_pitch = MOST_CHANNELS,
                          .channels = sample_integer(r, 1, MOST_CHANNELS),
                          .pixels = sample_integer(r, 0, MOST_PIXELS / 2),
                          .sums = numbers[0]};
    float before[MOST_CHANNELS];

    d.x_pitch = sample_integer(r, 1, 2) * MOST_CHANNELS;
    sample_f32(r, numbers[0], MOST_CHANNELS);
    memcpy(before, numbers[0], sizeof before);
    numbers[0][d.channels] = 7.0f;
    kernel->dot(&d);
    for (int64_t c = 0; c < d.channels; c++) {
        double sum = (double)before[c];
        double size = fabs(sum);

        for (int64_t i = 0; i < d.pixels; i++) {
            double product = (double)dy[i * d.dy_pitch + c] * (double)x[i * d.x_pitch + c];

            sum += product;
            size += fabs(product);
        }
        expect_near(numbers[0][c], sum, size);
    }
    assert_true(numbers[0][d.channels] == 7.0f);
}

static void check_norm(spry_random *r, const gradient_f32_kernel *kernel)
{
    static float dx[MOST_ROW + 1];
    static float sums[2][MOST_ROW];
    static float before[2][MOST_ROW];
    gradient_f32_norm row = {.x = x,
                             .dy = dy,
                             .gamma = sample_integer(r, 0, 3) != 0 ? x + 3 : NULL,
                             .dx = dx,
                             .scale_sums = sums[0],
                             .bias_sums = sums[1],
                             .n = sample_positive_size(r, MOST_ROW),
                             .epsilon = 1e-3f};
    double n = (double)row.n;
    double mean = 0.0;
    double variance = 0.0;
    double sum = 0.0;
    double product = 0.0;
    double inverse;

    sample_f32(r, &sums[0][0], sizeof sums / sizeof(float));
    memcpy(before, sums, sizeof sums);
    dx[row.n] = 7.0f;
    for (int64_t i = 0; i < row.n; i++) {
        mean += (double)x[i] / n;
    }
    for (int64_t i = 0; i < row.n; i++) {
        variance += ((double)x[i] - mean) * ((double)x[i] - mean) / n;
    }
    inverse = 1.0 / sqrt(variance + (double)row.epsilon);
    for (int64_t i = 0; i < row.n; i++) {
        double g = (double)dy[i] * (row.gamma != NULL ? (double)row.gamma[i] : 1.0);

        sum += g / n;
        product += g * ((double)x[i] - mean) * inverse / n;
    }
    kernel->layer_norm(&row);
    for (int64_t i = 0; i < row.n; i++) {
        double g = (double)dy[i] * (row.gamma != NULL ? (double)row.gamma[i] : 1.0);
        double normal = ((double)x[i] - mean) * inverse;

        expect_near(dx[i], inverse * (g - sum - normal * product),
                    inverse * (fabs(g) + fabs(sum) + fabs(normal * product) + fabs(inverse)));
        expect_near(sums[0][i], (double)before[0][i] + (double)dy[i] * normal,
                    1.0 + fabs((double)dy[i]) * (fabs(normal) + inverse));
        expect_near(sums[1][i], (double)before[1][i] + (double)dy[i], 10.0);
    }
    assert_true(dx[row.n] == 7.0f);
}

static void check_softmax(spry_random *r, const gradient_f32_kernel *kernel)
{
    static float to[MOST_ROW + 1];
    int64_t n = sample_positive_size(r, MOST_ROW);
    double sum = 0.0;
    double size = 0.0;

    for (int64_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)dy[i];
        size += fabs((double)x[i] * (double)dy[i]);
    }
    to[n] = 7.0f;
    kernel->softmax(to, x, dy, n);
    for (int64_t i = 0; i < n; i++) {
        expect_near(to[i], (double)x[i] * ((double)dy[i] - sum),
                    fabs((double)x[i]) * (fabs((double)dy[i]) + size));
    }
    assert_true(to[n] == 7.0f);
}

static void check_gelu(spry_random *r, const gradient_f32_kernel *kernel)
{
    static float from[MOST_ROW];
    static float to[MOST_ROW + 1];
    int64_t n = sample_positive_size(r, MOST_ROW);

    spry_random_fill_uniform(r, from, MOST_ROW, -9.0f, 9.0f);
    from[0] = sample_integer(r, 0, 1) != 0 ? -INFINITY : 40.0f;
    to[n] = 7.0f;
    kernel->gelu(to, from, dy, n);
    for (int64_t i = 0; i < n; i++) {
        double a = (double)from[i];
        double slope =
            isinf(a) ? 0.0
                     : 0.5 * erfc(-a / sqrt(2.0)) + a * exp(-0.5 * a * a) / sqrt(8.0 * atan(1.0));

        assert_true(fabs((double)to[i] - (double)dy[i] * slope) <=
                    4e-7 * fabs((double)dy[i]) + 1e-30);
    }
    assert_true(to[n] == 7.0f);
}

typedef void check_function(spry_random *r, const gradient_f32_kernel *kernel);

static void each_variant(check_function *check)
{
    for (int v = 0; v < gradient_f32_variant_count; v++) {
        spry_random r = spry_random_stream(21, 0);

        sample_f32(&r, x, sizeof x / sizeof *x);
        sample_f32(&r, dy, sizeof dy / sizeof *dy);
        for (int i = 0; i < CASES && isa_usable(gradient_f32_variants[v].level); i++) {
            check(&r, gradient_f32_variants[v].table);
        }
    }
}

static void test_moments(void **state)
{
    (void)state;
    each_variant(check_moments);
}

static void test_blend(void **state)
{
    (void)state;
    each_variant(check_blend);
}

static void test_dot(void **state)
{
    (void)state;
    each_variant(check_dot);
}

static void test_norm(void **state)
{
    (void)state;
    each_variant(check_norm);
}

static void test_softmax(void **state)
{
    (void)state;
    each_variant(check_softmax);
}

static void test_gelu(void **state)
{
    (void)state;
    each_variant(check_gelu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moments), cmocka_unit_test(test_blend),   cmocka_unit_test(test_dot),
        cmocka_unit_test(test_norm),    cmocka_unit_test(test_softmax), cmocka_unit_test(test_gelu),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
