/* Dot products of few columns against direct sums over random sizes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/gemm/few_f32.h"
#include "spry/random.h"
#include "support/guarded.h"

enum { MOST_ROWS = 9, MOST_K = 133 };

typedef struct room {
    guarded a, b, c;
} room;

static void check(const few_f32_kernel *kernel, spry_random *r, room *m)
{
    float bias[FEW_F32_COLUMNS];
    few_f32_product p = {.rows = (int64_t)spry_random_below(r, MOST_ROWS + 1),
                         .k = 1 + (int64_t)spry_random_below(r, MOST_K),
                         .columns = 1 + (int)spry_random_below(r, FEW_F32_COLUMNS),
                         .bias = spry_random_below(r, 2) == 0 ? bias : NULL,
                         .lower = spry_random_below(r, 2) == 0 ? -0.5f : -INFINITY,
                         .upper = INFINITY};
    float *a;
    float *b;

    guarded_place(&m->a, (size_t)(p.rows * p.k) * sizeof(float), true);
    guarded_place(&m->b, (size_t)(p.columns * p.k) * sizeof(float), true);
    guarded_place(&m->c, (size_t)(p.rows * p.columns) * sizeof(float), true);
    p.a = a = (float *)(void *)m->a.data;
    p.b = b = (float *)(void *)m->b.data;
    p.c = (float *)(void *)m->c.data;
    spry_random_fill_uniform(r, a, (size_t)(p.rows * p.k), -1.0f, 1.0f);
    spry_random_fill_uniform(r, b, (size_t)(p.columns * p.k), -1.0f, 1.0f);
    spry_random_fill_uniform(r, bias, FEW_F32_COLUMNS, -1.0f, 1.0f);
    if (p.rows > 0) {
        a[0] = NAN; /* of the first row alone */
    }
    kernel->multiply(&p);
    for (int64_t i = 0; i < p.rows * p.columns; i++) {
        double wanted = p.bias != NULL ? (double)bias[i % p.columns] : 0.0;

        for (int64_t k = 0; k < p.k; k++) {
            wanted += (double)a[i / p.columns * p.k + k] * (double)b[i % p.columns * p.k + k];
        }
        if (i < p.columns) {
            assert_true(isnan(p.c[i]));
            continue;
        }
        wanted = fmax(wanted, (double)p.lower);
        assert_true(fabs((double)p.c[i] - wanted) <= 1e-5 * (1.0 + fabs(wanted)));
    }
}

static void test_multiply(void **state)
{
    room m = {guarded_make(MOST_ROWS * MOST_K * sizeof(float), true),
              guarded_make(FEW_F32_COLUMNS * MOST_K * sizeof(float), true),
              guarded_make(MOST_ROWS * FEW_F32_COLUMNS * sizeof(float), true)};

    (void)state;
    for (int v = 0; v < few_f32_variant_count; v++) {
        spry_random r = spry_random_stream(9, 0);

        for (int i = 0; i < 400 && isa_usable(few_f32_variants[v].level); i++) {
            check(few_f32_variants[v].table, &r, &m);
        }
    }
    guarded_free(&m.a);
    guarded_free(&m.b);
    guarded_free(&m.c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_multiply)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
