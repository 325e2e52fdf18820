/* Every variant of the loops over quantised bytes against the rule, number by number. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/elementwise/linear_s8.h"
#include "support/cases.h"
#include "support/guarded.h"
#include "support/sample.h"

enum { MOST = 300, SMALL = 40 };

/* Operands that end where memory does. */
typedef struct room {
    guarded x, back, a, b, y;
} room;

static int32_t byte_value(uint8_t byte, bool is_signed)
{
    return is_signed ? (int8_t)byte : byte;
}

static linear_s8_grid random_grid(spry_random *r)
{
    bool is_signed = spry_random_below(r, 2) == 0;
    int32_t zero = (int32_t)spry_random_below(r, 256) - (is_signed ? 128 : 0);

    return (linear_s8_grid){spry_random_below(r, 4) == 0 ? 0.5f : 0.01f + spry_random_f32(r), zero,
                            is_signed};
}

static quantize_target target_of(linear_s8_grid g)
{
    return quantize_target_of(g.is_signed ? SPRY_DTYPE_I8 : SPRY_DTYPE_U8, g.zero);
}

static void place(room *m, int64_t n)
{
    guarded_place(&m->x, (size_t)n * sizeof(float), true);
    guarded_place(&m->back, (size_t)n * sizeof(float), true);
    guarded_place(&m->a, (size_t)n, true);
    guarded_place(&m->b, (size_t)n, true);
    guarded_place(&m->y, (size_t)n, true);
}

static void fill(spry_random *r, float *x, int64_t n, float step)
{
    static const float special[] = {0.25f, 0.75f, -0.25f, 1e30f, -1e30f, INFINITY, -INFINITY, NAN};

    for (int64_t i = 0; i < n; i++) {
        uint32_t word = spry_random_u32(r);

        x[i] = 1e-6f * (float)(int32_t)(word & 0xFFFFFFF) - 134.0f;
        if (word >> 30 == 0) {
            x[i] = special[word % 8];
        } else if (word >> 30 == 1) { /* ties */
            x[i] = ((float)(int32_t)(word % 600) - 300.5f) * step;
        }
    }
}

static void check_add(const linear_s8_kernel *kernel, spry_random *r, const room *m, int64_t n,
                      linear_s8_grid gy)
{
    linear_s8_grid ga = random_grid(r);
    linear_s8_grid gb = random_grid(r);
    quantize_target target = target_of(gy);

    kernel->add(m->y.data, m->a.data, ga, m->b.data, gb, n, gy.scale, target);
    for (int64_t i = 0; i < n; i++) {
        float left =
            quantize_back(byte_value(m->a.data[i], ga.is_signed), ga.scale / gy.scale, ga.zero);
        float right =
            quantize_back(byte_value(m->b.data[i], gb.is_signed), gb.scale / gy.scale, gb.zero);

        assert_int_equal(m->y.data[i], (uint8_t)quantize_scaled(left + right, target));
    }
}

static void check_case(const linear_s8_kernel *kernel, spry_random *r, room *m)
{
    int64_t n = (int64_t)spry_random_below(r, spry_random_below(r, 16) == 0 ? MOST + 1 : SMALL);
    linear_s8_grid g = random_grid(r);
    quantize_target target = target_of(g);
    uint8_t table[256];
    float *x;
    float *back;

    place(m, n);
    x = (float *)(void *)m->x.data;
    back = (float *)(void *)m->back.data;
    fill(r, x, n, g.scale);
    sample_bytes(r, m->a.data, (size_t)n);
    sample_bytes(r, m->b.data, (size_t)n);
    sample_bytes(r, table, sizeof table);
    kernel->quantize(m->y.data, x, n, g.scale, target);
    kernel->dequantize(back, m->a.data, n, g);
    for (int64_t i = 0; i < n; i++) {
        assert_int_equal(m->y.data[i], (uint8_t)quantize_f32(x[i], g.scale, target));
        assert_true(back[i] ==
                    quantize_back(byte_value(m->a.data[i], g.is_signed), g.scale, g.zero));
    }
    check_add(kernel, r, m, n, g);
    kernel->look_up(m->y.data, m->a.data, n, table);
    for (int64_t i = 0; i < n; i++) {
        assert_int_equal(m->y.data[i], table[m->a.data[i]]);
    }
}

static void test_variants(void **state)
{
    spry_random r = spry_random_stream(5, 0);
    int64_t cases = cases_of("bytes one by one: quantised, back, added, looked up");
    room m = {guarded_make(MOST * sizeof(float), true), guarded_make(MOST * sizeof(float), true),
              guarded_make(MOST, true), guarded_make(MOST, true), guarded_make(MOST, true)};

    (void)state;
    for (int v = 0; v < linear_s8_variant_count; v++) {
        for (int64_t i = 0; i < cases && linear_s8_usable(&linear_s8_variants[v]); i++) {
            check_case(linear_s8_variants[v].table, &r, &m);
        }
    }
    guarded_free(&m.x);
    guarded_free(&m.back);
    guarded_free(&m.a);
    guarded_free(&m.b);
    guarded_free(&m.y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_variants)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
