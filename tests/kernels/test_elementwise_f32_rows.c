/* Norms, softmax and simple arithmetic of every variant against double precision. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/elementwise/elementwise_f32.h"
#include "support/sample.h"

/* Buffers of exactly n floats: a sanitizer sees every step outside. */
typedef struct row {
    const elementwise_f32_kernel *kernel;
    int64_t n;
    float *x, *y, *gamma, *beta; /* operands */
    float *got, *expected;
} row;

static float *floats(int64_t n)
{
    float *values = malloc((size_t)n * sizeof *values + (n == 0));

    assert_non_null(values);
    return values;
}

static void make_row(row *r, spry_random *random, int64_t n)
{
    float **operands[] = {&r->x, &r->y, &r->gamma, &r->beta};
    float centre = (float)sample_integer(random, -20, 20);

    r->n = n;
    for (size_t i = 0; i < sizeof operands / sizeof *operands; i++) {
        *operands[i] = floats(n);
        sample_f32(random, *operands[i], (size_t)n);
    }
    for (int64_t i = 0; i < n; i++) {
        r->x[i] += centre;
    }
    r->got = floats(n);
    r->expected = floats(n);
}

static void free_row(row *r)
{
    float *all[] = {r->x, r->y, r->gamma, r->beta, r->got, r->expected};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        free(all[i]);
    }
}

static void check(const row *r, const char *what, double absolute, double relative)
{
    char name[96];

    (void)snprintf(name, sizeof name, "%s of %s, n = %lld", what, r->kernel->name, (long long)r->n);
    sample_assert_close(name, r->got, r->expected, (size_t)r->n, absolute, relative);
}

/* ---- arithmetic ---- */

static void check_arithmetic(row *r)
{
    const elementwise_f32_kernel *k = r->kernel;

    for (int64_t i = 0; i < r->n; i++) {
        r->expected[i] = r->x[i] + r->y[i];
    }
    k->add(r->got, r->x, r->y, r->n);
    check(r, "add", 0, 0);
    for (int64_t i = 0; i < r->n; i++) {
        r->expected[i] = r->expected[i] < 0.0f ? 0.0f : r->expected[i];
    }
    k->add_relu(r->got, r->x, r->y, r->n);
    check(r, "add_relu", 0, 0);
    for (int64_t i = 0; i < r->n; i++) {
        r->expected[i] = r->x[i] * r->y[i];
    }
    memcpy(r->got, r->x, (size_t)r->n * sizeof *r->x);
    k->multiply(r->got, r->got, r->y, r->n);
    check(r, "multiply", 0, 0);
    for (int64_t i = 0; i < r->n; i++) {
        r->expected[i] = 1.7f * r->x[i] + -3.3f;
    }
    k->scale(r->got, r->x, r->n, 1.7f, -3.3f);
    check(r, "scale", 1e-5, 1e-6);
    for (int64_t i = 0; i < r->n; i++) {
        r->expected[i] = fminf(fmaxf(r->x[i], -0.5f), 6.0f);
    }
    k->clamp(r->got, r->x, r->n, -0.5f, 6.0f);
    check(r, "clamp", 0, 0);
}

static void check_more_arithmetic(row *r)
{
    const elementwise_f32_kernel *k = r->kernel;
    const float a = -1.7f;

    for (int64_t i = 0; i < r->n; i++) {
        r->expected[i] = r->x[i] - r->y[i];
    }
    k->subtract(r->got, r->x, r->y, r->n);
    check(r, "subtract", 0, 0);
    for (int64_t i = 0; i < r->n; i++) {
        r->expected[i] = r->x[i] / r->gamma[i];
    }
    k->divide(r->got, r->x, r->gamma, r->n);
    check(r, "divide", 0, 0);
    for (int64_t i = 0; i < r->n; i++) {
        r->expected[i] = r->x[i] + a;
    }
    k->add_one(r->got, r->x, r->n, a);
    check(r, "add_one", 0, 0);
    for (int64_t i = 0; i < r->n; i++) {
        r->expected[i] = r->x[i] * a;
    }
    k->multiply_one(r->got, r->x, r->n, a);
    check(r, "multiply_one", 0, 0);
    for (int64_t i = 0; i < r->n; i++) {
        r->expected[i] = r->x[i] / a;
    }
    k->divide_one(r->got, r->x, r->n, a);
    check(r, "divide_one", 0, 0);
}

static void check_sum(const row *r)
{
    double sum = 0;
    double sizes = 0;

    for (int64_t i = 0; i < r->n; i++) {
        sum += (double)r->x[i];
        sizes += fabs((double)r->x[i]);
    }
    assert_true(fabs(r->kernel->sum(r->x, r->n) - sum) <= 1e-5 * sizes);
}

/* ---- softmax ---- */

static void check_softmax(row *r)
{
    double most = -(double)INFINITY;
    double sum = 0;

    for (int64_t i = 0; i < r->n; i++) {
        most = fmax(most, (double)r->x[i]);
    }
    for (int64_t i = 0; i < r->n; i++) {
        sum += exp((double)r->x[i] - most);
    }
    for (int64_t i = 0; i < r->n; i++) {
        r->expected[i] = (float)(exp((double)r->x[i] - most) / sum);
    }
    r->kernel->softmax(r->got, r->x, r->n);
    check(r, "softmax", 1e-40, 2e-6);
    memcpy(r->got, r->x, (size_t)r->n * sizeof *r->x);
    r->kernel->softmax(r->got, r->got, r->n);
    check(r, "softmax in place", 1e-40, 2e-6);
    for (int64_t i = 0; i < r->n; i++) {
        r->expected[i] = (float)((double)r->x[i] - most - log(sum));
    }
    r->kernel->log_softmax(r->got, r->x, r->n);
    check(r, "log_softmax", 2e-6, 1e-6);
}

/* ---- norms ---- */

typedef struct moments {
    double mean, variance, square; /* the mean of the squares */
} moments;

static moments moments_of(const float *x, int64_t n)
{
    moments m = {0};

    for (int64_t i = 0; i < n; i++) {
        m.mean += (double)x[i] / (double)n;
        m.square += (double)x[i] * (double)x[i] / (double)n;
    }
    for (int64_t i = 0; i < n; i++) {
        m.variance += ((double)x[i] - m.mean) * ((double)x[i] - m.mean) / (double)n;
    }
    return m;
}

static void expect_norm(row *r, double mean, double square, const elementwise_f32_norm *norm)
{
    for (int64_t i = 0; i < r->n; i++) {
        double y = ((double)r->x[i] - mean) / sqrt(square + (double)norm->epsilon);

        y *= norm->gamma != NULL ? (double)norm->gamma[i] : 1;
        r->expected[i] = (float)(y + (norm->beta != NULL ? (double)norm->beta[i] : 0));
    }
}

static void check_norms(row *r, unsigned parts)
{
    elementwise_f32_norm norm = {
        .gamma = parts & 1 ? r->gamma : NULL, .beta = parts & 2 ? r->beta : NULL, .epsilon = 1e-5f};
    moments m = moments_of(r->x, r->n);
    elementwise_f32_moments found;

    expect_norm(r, m.mean, m.variance, &norm);
    found = r->kernel->layer_norm(r->got, r->x, r->n, &norm);
    check(r, "layer_norm", 4e-6, 4e-6);
    if (r->n > 0) {
        double inv_scale = 1 / sqrt(m.variance + (double)norm.epsilon);

        assert_true(fabs((double)found.mean - m.mean) <= 1e-6 * (1 + fabs(m.mean)));
        assert_true(fabs((double)found.inv_scale - inv_scale) <= 2e-6 * inv_scale);
    }
    memcpy(r->got, r->x, (size_t)r->n * sizeof *r->x);
    (void)r->kernel->layer_norm(r->got, r->got, r->n, &norm);
    check(r, "layer_norm in place", 4e-6, 4e-6);
    norm.beta = NULL;
    expect_norm(r, 0, m.square, &norm);
    norm.beta = r->beta; /* rms_norm takes no notice */
    found = r->kernel->rms_norm(r->got, r->x, r->n, &norm);
    check(r, "rms_norm", 2e-6, 2e-6);
    assert_true(found.mean == 0.0f);
}

static void check_row(row *r, spry_random *random, int64_t n)
{
    unsigned parts = (unsigned)sample_integer(random, 0, 3);

    make_row(r, random, n);
    for (int v = 0; v < elementwise_f32_variant_count; v++) {
        if (isa_usable(elementwise_f32_variants[v].level)) {
            r->kernel = elementwise_f32_variants[v].table;
            check_arithmetic(r);
            check_more_arithmetic(r);
            check_sum(r);
            check_softmax(r);
            check_norms(r, parts);
        }
    }
    free_row(r);
}

static void test_random_rows(void **state)
{
    spry_random random = spry_random_stream(42, 0);
    row r;

    (void)state;
    for (int64_t n = 0; n < 140; n++) {
        check_row(&r, &random, n);
    }
    for (int i = 0; i < 60; i++) {
        check_row(&r, &random, sample_size(&random, 20000));
    }
    check_row(&r, &random, 1000003);
}

/* A large offset must not eat the variance. */
static void test_norm_far_from_zero(void **state)
{
    enum { COUNT = 777 };
    elementwise_f32_norm norm = {.epsilon = 0.0f};
    float x[COUNT];
    float y[COUNT];

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        x[i] = 100000.0f + (float)(i % 7) * 0.125f;
    }
    for (int v = 0; v < elementwise_f32_variant_count; v++) {
        const elementwise_f32_kernel *kernel = elementwise_f32_variants[v].table;

        if (isa_usable(elementwise_f32_variants[v].level)) {
            (void)kernel->layer_norm(y, x, COUNT, &norm);
            for (int i = 0; i < COUNT; i++) {
                assert_true(fabs((double)y[i] - (i % 7 - 3) / 2.0) < 1e-5);
            }
        }
    }
}

/* Rows of one value, of masked places, of NaN and infinities. */
static void test_special_rows(void **state)
{
    enum { COUNT = 37 };

    (void)state;
    for (int v = 0; v < elementwise_f32_variant_count; v++) {
        const elementwise_f32_kernel *kernel = elementwise_f32_variants[v].table;
        elementwise_f32_norm norm = {.epsilon = 1e-5f};
        float x[COUNT];
        float y[COUNT];

        if (!isa_usable(elementwise_f32_variants[v].level)) {
            continue;
        }
        for (int i = 0; i < COUNT; i++) {
            x[i] = i % 2 == 0 ? 5.0f : -INFINITY;
        }
        kernel->softmax(y, x, COUNT);
        assert_true(y[1] == 0.0f && fabsf(y[0] - 1.0f / 19.0f) < 1e-8f);
        kernel->log_softmax(y, x, COUNT);
        assert_true(isinf(y[1]) && y[1] < 0 && fabsf(y[0] + logf(19.0f)) < 1e-6f);
        for (int i = 0; i < COUNT; i++) {
            x[i] = 3.0f;
        }
        (void)kernel->layer_norm(y, x, COUNT, &norm);
        assert_true(y[0] == 0.0f && y[COUNT - 1] == 0.0f);
        x[COUNT - 1] = NAN;
        kernel->softmax(y, x, COUNT);
        assert_true(isnan(y[0]) && isnan(y[COUNT - 1]));
        (void)kernel->layer_norm(y, x, COUNT, &norm);
        assert_true(isnan(y[0]));
        kernel->clamp(y, x, COUNT, 0.0f, 1.0f);
        assert_true(y[0] == 1.0f && isnan(y[COUNT - 1]));
        kernel->add_relu(y, x, x, COUNT);
        assert_true(y[0] == 6.0f && isnan(y[COUNT - 1]));
        x[COUNT - 1] = INFINITY;
        kernel->softmax(y, x, COUNT);
        assert_true(isnan(y[0]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_rows),
        cmocka_unit_test(test_norm_far_from_zero),
        cmocka_unit_test(test_special_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
