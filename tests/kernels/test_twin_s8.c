/* Twin quantisation: the published examples, its properties, and every variant against the rule. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/elementwise/twin_s8.h"
#include "support/cases.h"
#include "support/guarded.h"
#include "support/sample.h"

enum { MOST = 300, SMALL = 40 };

static const float GELU_MIN = 0.169971f;

/* ---- examples ---- */

typedef struct example {
    float x;
    int32_t first, second;
    double value;
} example;

static void check_examples(const example *list, size_t count, twin_grid grid, double tolerance)
{
    twin_terms t = twin_terms_of(grid);

    for (size_t i = 0; i < count; i++) {
        twin_code code = twin_encode(list[i].x, t);
        double value = (double)twin_round(list[i].x, t);

        assert_int_equal(code.first, list[i].first);
        assert_int_equal(code.second, list[i].second);
        assert_true(fabs(value - list[i].value) <= tolerance);
    }
}

/* Steps 2^-14 and 2^-7: the fine range ends at 127 / 16384, just below the first coarse code. */
static void test_softmax_examples(void **state)
{
    static const example list[] = {
        {1e-5f, 0, 0, 0.0},
        {1e-4f, 2, 0, 1.2207e-4},
        {0.003f, 49, 0, 0.00299072},
        {0.0078124f, 0, 1, 0.0078125}, /* its own range gives 127; the other is nearer */
        {0.0078125f, 0, 1, 0.0078125},
        {0.01f, 0, 1, 0.0078125},
        {0.5f, 0, 64, 0.5}, /* one range or the other, never the sum of both */
        {0.999f, 0, 127, 0.9921875},
        {1.0f, 0, 127, 0.9921875},
    };
    twin_grid grid = {TWIN_POSITIVE, 8, 1.0f / 16384.0f, 1.0f / 128.0f};

    (void)state;
    check_examples(list, sizeof list / sizeof *list, grid, 1e-8);
    /* Alone, the fine range keeps what lies just below its end. */
    assert_true(twin_magnitude(0.0078124f, 127.0f * grid.d1, grid.d1) == 127.0f);
}

/* Rounding both halves of a number and adding them up, as some do, is something else. */
static void test_ranges_are_not_added(void **state)
{
    twin_grid grid = {TWIN_POSITIVE, 8, 1.0f / 128.0f / 127.0f, 1.0f / 127.0f};
    twin_terms t = twin_terms_of(grid);
    float border = 1.0f / 128.0f;
    float sum = twin_magnitude(0.5f, t.high2, t.d2) * t.d2 +
                twin_magnitude(fminf(0.5f, border), t.high1, t.d1) * t.d1;

    (void)state;
    assert_true(fabsf(sum - 0.5118f) < 1e-3f);
    assert_true(fabsf(twin_round(0.5f, t) - 0.5f) <= 0.5f * grid.d2);
}

static void test_gelu_examples(void **state)
{
    static const example list[] = {
        {-0.1f, 75, 0, -0.100377},       {1.0f, 0, 23, 0.985030}, {100.0f, 0, 127, 5.43908},
        {-0.169971f, 127, 0, -0.169971}, {0.0f, 0, 0, 0.0},
    };
    float d1 = GELU_MIN / 127.0f;
    twin_grid grid = {TWIN_SIGNED, 8, d1, 32.0f * d1};

    (void)state;
    assert_true(fabs((double)d1 - 0.00133836) < 1e-8);
    check_examples(list, sizeof list / sizeof *list, grid, 1e-5);
}

/* ---- properties ---- */

static twin_grid random_grid(spry_random *r)
{
    int bits = TWIN_LEAST_BITS + (int)spry_random_below(r, TWIN_MOST_BITS - TWIN_LEAST_BITS + 1);
    float top = (float)twin_top(bits);
    int m = (int)spry_random_below(r, 16);

    if (spry_random_below(r, 2) == 0) {
        return (twin_grid){TWIN_POSITIVE, bits, ldexpf(1.0f / top, -m), 1.0f / top};
    }
    return (twin_grid){TWIN_SIGNED, bits, GELU_MIN / top,
                       spry_random_below(r, 2) == 0 ? ldexpf(GELU_MIN / top, m)
                                                    : 0.01f + spry_random_f32(r)};
}

static void check_properties(twin_grid grid, spry_random *r)
{
    twin_terms t = twin_terms_of(grid);
    float low = grid.kind == TWIN_SIGNED ? -t.high1 : 0.0f;
    float before = -INFINITY;
    int values = 0;

    for (int i = 0; i <= 4096; i++) {
        float x = low + (t.high2 - low) * ((float)i + 0.9f * spry_random_f32(r)) / 4096.0f;
        float y = twin_round(x, t);
        float inside = grid.kind == TWIN_SIGNED ? 0.0f : t.high1;
        float step = x < inside ? grid.d1 : grid.d2;
        twin_code code = twin_encode(x, t);

        x = x < t.high2 ? x : t.high2;
        y = twin_round(x, t);
        assert_true(y >= before); /* monotone */
        values += y > before;
        before = y;
        assert_true(twin_round(y, t) == y); /* idempotent */
        assert_true(fabsf(y - x) <= 0.5001f * step);
        assert_true(code.first == 0 || code.second == 0);
        assert_true(code.first <= twin_top(grid.bits) && code.second <= twin_top(grid.bits));
        assert_true(y == (code.first != 0 ? t.sign * ((float)code.first * grid.d1)
                                          : (float)twin_encode(x, t).second * grid.d2));
    }
    assert_true(values <= 1 << grid.bits);
    assert_true(twin_round(0.0f, t) == 0.0f);
    assert_true(twin_round(NAN, t) == 0.0f);
    assert_true(twin_round(1e4f * t.high2, t) == t.high2);
    assert_true(twin_round(-1e4f * t.high1, t) == (grid.kind == TWIN_SIGNED ? -t.high1 : 0.0f));
}

static void test_properties(void **state)
{
    spry_random r = spry_random_stream(11, 0);

    (void)state;
    for (int i = 0; i < 60; i++) {
        check_properties(random_grid(&r), &r);
    }
}

/* ---- variants ---- */

/* Numbers of all sizes, and a few special ones; borders of codes are ties. */
static void fill(spry_random *r, float *x, int64_t n, twin_grid grid)
{
    static const float special[] = {0.25f, -0.0f, -0.17f, 1e30f, -1e30f, INFINITY, -INFINITY, NAN};

    for (int64_t i = 0; i < n; i++) {
        uint32_t word = spry_random_u32(r);
        float code = (float)(int32_t)(word % 256) - 64.5f;

        x[i] = (3e-7f * (float)(word & 0xFFFFFF) - 1.5f) * ldexpf(1.0f, -(int)(word >> 28));
        if ((word >> 24 & 7) == 0) {
            x[i] = special[word % 8];
        } else if ((word >> 24 & 7) == 1) {
            x[i] = code * (word % 2 != 0 ? grid.d1 : grid.d2);
        }
    }
}

/* Operands that end where memory does. */
typedef struct room {
    guarded x, y, first, second;
} room;

static void check_case(const twin_s8_kernel *kernel, spry_random *r, room *m)
{
    int64_t n = (int64_t)spry_random_below(r, spry_random_below(r, 16) == 0 ? MOST + 1 : SMALL);
    twin_grid grid = random_grid(r);
    twin_terms t = twin_terms_of(grid);
    bool any = false;
    bool said;

    guarded_place(&m->x, (size_t)n * sizeof(float), true);
    guarded_place(&m->y, (size_t)n * sizeof(float), true);
    guarded_place(&m->first, (size_t)n, true);
    guarded_place(&m->second, (size_t)n, true);
    float *x = (float *)(void *)m->x.data;
    float *y = (float *)(void *)m->y.data;

    fill(r, x, n, grid);
    memcpy(y, x, (size_t)n * sizeof *y);
    kernel->round(y, y, n, grid);
    said = kernel->split(m->first.data, m->second.data, x, n, grid);
    for (int64_t i = 0; i < n; i++) {
        twin_code code = twin_encode(x[i], t);

        assert_true(y[i] == twin_round(x[i], t));
        assert_int_equal(m->first.data[i], code.first);
        assert_int_equal(m->second.data[i], code.second);
        any = any || code.second != 0;
    }
    assert_int_equal(said, any);
}

static void test_variants(void **state)
{
    spry_random r = spry_random_stream(12, 0);
    int64_t cases = cases_of("numbers on twin grids");
    room m = {guarded_make(MOST * sizeof(float), true), guarded_make(MOST * sizeof(float), true),
              guarded_make(MOST, true), guarded_make(MOST, true)};

    (void)state;
    for (int v = 0; v < twin_s8_variant_count; v++) {
        for (int64_t i = 0; i < cases && isa_usable(twin_s8_variants[v].level); i++) {
            check_case(twin_s8_variants[v].table, &r, &m);
        }
    }
    guarded_free(&m.x);
    guarded_free(&m.y);
    guarded_free(&m.first);
    guarded_free(&m.second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_softmax_examples), cmocka_unit_test(test_ranges_are_not_added),
        cmocka_unit_test(test_gelu_examples),    cmocka_unit_test(test_properties),
        cmocka_unit_test(test_variants),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
