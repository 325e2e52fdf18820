/* Every variant of the loops over quantised bytes against the rule, number by number. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/elementwise/linear_s8.h"
#include "spry/random.h"

enum { MOST = 300, CASES = 300 };

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

static void fill(spry_random *r, float *x, uint8_t *a, uint8_t *b)
{
    static const float special[] = {0.25f, 0.75f, -0.25f, 1e30f, -1e30f, INFINITY, -INFINITY, NAN};

    for (int i = 0; i < MOST; i++) {
        x[i] = spry_random_below(r, 8) == 0 ? special[spry_random_below(r, 8)]
                                            : 200.0f * spry_random_f32(r) - 100.0f;
        a[i] = (uint8_t)spry_random_below(r, 256);
        b[i] = (uint8_t)spry_random_below(r, 256);
    }
}

static void check_case(const linear_s8_kernel *kernel, spry_random *r)
{
    int64_t n = (int64_t)spry_random_below(r, MOST + 1);
    linear_s8_grid ga = random_grid(r);
    linear_s8_grid gb = random_grid(r);
    linear_s8_grid gy = random_grid(r);
    quantize_target target = target_of(gy);
    float x[MOST];
    float back[MOST];
    uint8_t a[MOST];
    uint8_t b[MOST];
    uint8_t y[MOST];
    uint8_t sum[MOST];
    uint8_t table[256];
    uint8_t found[MOST];

    fill(r, x, a, b);
    kernel->quantize(y, x, n, gy.scale, target);
    kernel->dequantize(back, a, n, ga);
    kernel->add(sum, a, ga, b, gb, n, gy.scale, target);
    for (int i = 0; i < 256; i++) {
        table[i] = (uint8_t)spry_random_below(r, 256);
    }
    kernel->look_up(found, a, n, table);
    for (int64_t i = 0; i < n; i++) {
        float first = quantize_back(byte_value(a[i], ga.is_signed), ga.scale, ga.zero);
        float left = quantize_back(byte_value(a[i], ga.is_signed), ga.scale / gy.scale, ga.zero);
        float right = quantize_back(byte_value(b[i], gb.is_signed), gb.scale / gy.scale, gb.zero);

        assert_int_equal(y[i], (uint8_t)quantize_f32(x[i], gy.scale, target));
        assert_true(back[i] == first);
        assert_int_equal(sum[i], (uint8_t)quantize_scaled(left + right, target));
        assert_int_equal(found[i], table[a[i]]);
    }
}

static void test_variants(void **state)
{
    spry_random r = spry_random_stream(5, 0);

    (void)state;
    for (int v = 0; v < linear_s8_variant_count; v++) {
        for (int i = 0; i < CASES && isa_usable(linear_s8_variants[v].level); i++) {
            check_case(linear_s8_variants[v].table, &r);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_variants)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
