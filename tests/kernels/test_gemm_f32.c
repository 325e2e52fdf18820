/* Every variant of the f32 product against a double-precision triple loop. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/gemm/gemm_f32.h"
#include "spry/random.h"

typedef struct operands {
    int64_t m, n, k;
    float *a, *b, *c, *residual, *row_bias, *column_bias;
    gemm_f32_finish finish;
} operands;

static float *random_floats(spry_random *r, int64_t count)
{
    float *values = malloc((size_t)(count + 1) * sizeof *values);

    assert_non_null(values);
    spry_random_fill_uniform(r, values, (size_t)count, -1.0f, 1.0f);
    return values;
}

static void make_operands(operands *o, spry_random *r, int64_t m, int64_t n, int64_t k)
{
    uint64_t parts = spry_random_below(r, 16);

    *o = (operands){.m = m, .n = n, .k = k};
    o->a = random_floats(r, m * k);
    o->b = random_floats(r, k * n);
    o->c = random_floats(r, m * n);
    o->residual = random_floats(r, m * n);
    o->row_bias = random_floats(r, m);
    o->column_bias = random_floats(r, n);
    o->finish = (gemm_f32_finish){.row_bias = parts & 1 ? o->row_bias : NULL,
                                  .column_bias = parts & 2 ? o->column_bias : NULL,
                                  .residual = parts & 4 ? o->residual : NULL,
                                  .residual_stride = n,
                                  .lower = parts & 8 ? 0.0f : -INFINITY,
                                  .upper = parts & 8 ? 6.0f : INFINITY};
}

static void free_operands(operands *o)
{
    free(o->a);
    free(o->b);
    free(o->c);
    free(o->residual);
    free(o->row_bias);
    free(o->column_bias);
}

static double expected_at(const operands *o, int64_t i, int64_t j)
{
    double sum = 0;

    for (int64_t k = 0; k < o->k; k++) {
        sum += (double)o->a[i * o->k + k] * (double)o->b[k * o->n + j];
    }
    sum += o->finish.row_bias != NULL ? (double)o->row_bias[i] : 0;
    sum += o->finish.column_bias != NULL ? (double)o->column_bias[j] : 0;
    sum += o->finish.residual != NULL ? (double)o->residual[i * o->n + j] : 0;
    sum = sum < (double)o->finish.lower ? (double)o->finish.lower : sum;
    return sum > (double)o->finish.upper ? (double)o->finish.upper : sum;
}

static void check_result(const operands *o, const char *name)
{
    double tolerance = 4e-7 * sqrt((double)o->k + 1) * 4;

    for (int64_t i = 0; i < o->m; i++) {
        for (int64_t j = 0; j < o->n; j++) {
            double wanted = expected_at(o, i, j);
            double got = (double)o->c[i * o->n + j];

            if (!(fabs(got - wanted) <= tolerance * (1 + fabs(wanted)))) {
                fail_msg("%s %lldx%lldx%lld at %lld,%lld: %g, expected %g", name, (long long)o->m,
                         (long long)o->n, (long long)o->k, (long long)i, (long long)j, got, wanted);
            }
        }
    }
}

/* Computes with B packed on the way, and again with B packed before and the columns in two halves:
 * same bits. */
static void run_both_ways(const gemm_f32_kernel *kernel, operands *o)
{
    float *packed_a = calloc((size_t)gemm_f32_packed_size(o->m, o->k, kernel->mr) + 1, 4);
    float *packed_b = calloc((size_t)gemm_f32_packed_size(o->n, o->k, kernel->nr) + 1, 4);
    float *workspace = calloc((size_t)gemm_f32_workspace(kernel, o->k, o->n) + 1, 4);
    float *first = malloc((size_t)(o->m * o->n + 1) * 4);
    gemm_f32_matrix b = {o->b, o->n, 1};
    gemm_f32_problem p = {.m = o->m,
                          .k = o->k,
                          .n = o->n,
                          .packed_a = packed_a,
                          .b = {NULL, gemm_f32_pack_matrix, &b},
                          .c = o->c,
                          .c_stride = o->n,
                          .finish = o->finish};
    int64_t half = o->n / 2 / kernel->nr * kernel->nr;

    assert_true(packed_a != NULL && packed_b != NULL && workspace != NULL && first != NULL);
    gemm_f32_pack(o->a, o->k, 1, o->m, o->k, kernel->mr, packed_a);
    gemm_f32_pack(o->b, 1, o->n, o->n, o->k, kernel->nr, packed_b);
    gemm_f32_run(kernel, &p, workspace);
    check_result(o, kernel->name);
    memcpy(first, o->c, (size_t)(o->m * o->n) * 4);
    p.b = (gemm_f32_source){.packed = packed_b};
    p.n = half;
    gemm_f32_run(kernel, &p, NULL);
    p.n_first = half;
    p.n = o->n - half;
    gemm_f32_run(kernel, &p, NULL);
    assert_memory_equal(first, o->c, (size_t)(o->m * o->n) * 4);
    free(packed_a);
    free(packed_b);
    free(workspace);
    free(first);
}

static int64_t random_extent(spry_random *r)
{
    static const int64_t edges[] = {1, 2, 3, 5, 13, 14, 15, 16, 17, 31, 32, 33, 64, 97};

    return spry_random_below(r, 2) != 0 ? edges[spry_random_below(r, sizeof edges / sizeof *edges)]
                                        : 1 + (int64_t)spry_random_below(r, 120);
}

static void test_random_shapes(void **state)
{
    (void)state;
    for (int v = 0; v < gemm_f32_variant_count; v++) {
        spry_random r = spry_random_stream(7, 0);

        if (!isa_usable(gemm_f32_variants[v].level)) {
            print_message("skipped: this machine has no %s\n", gemm_f32_variants[v].name);
            continue;
        }
        for (int i = 0; i < 120; i++) {
            operands o;

            make_operands(&o, &r, random_extent(&r), random_extent(&r), random_extent(&r));
            run_both_ways(gemm_f32_variants[v].table, &o);
            free_operands(&o);
        }
    }
}

/* Several blocks of k and of columns. */
static void test_large_shapes(void **state)
{
    static const int64_t shapes[][3] = {{15, 600, 1000}, {1, 1000, 2048}, {100, 17, 3000}};

    (void)state;
    for (int v = 0; v < gemm_f32_variant_count; v++) {
        spry_random r = spry_random_stream(8, 0);

        for (int i = 0; i < 3 && isa_usable(gemm_f32_variants[v].level); i++) {
            operands o;

            make_operands(&o, &r, shapes[i][0], shapes[i][1], shapes[i][2]);
            run_both_ways(gemm_f32_variants[v].table, &o);
            free_operands(&o);
        }
    }
}

/* [1 2; 3 4] x [5 6; 7 8] by hand; NaN survives the clamp; an empty sum is the bias. */
static void test_by_hand(void **state)
{
    float a[] = {1, 2, 3, 4};
    float b[] = {5, 6, NAN, 8};
    float c[4];
    float bias[] = {10, 20};
    float packed[256];
    float workspace[256];
    gemm_f32_matrix matrix = {b, 2, 1};

    (void)state;
    for (int v = 0; v < gemm_f32_variant_count; v++) {
        const gemm_f32_kernel *kernel = gemm_f32_variants[v].table;
        gemm_f32_problem p = {.m = 2,
                              .k = 2,
                              .n = 2,
                              .packed_a = packed,
                              .b = {NULL, gemm_f32_pack_matrix, &matrix},
                              .c = c,
                              .c_stride = 2,
                              .finish = {.row_bias = bias, .lower = 0, .upper = 60}};

        if (!isa_usable(gemm_f32_variants[v].level)) {
            continue;
        }
        gemm_f32_pack(a, 2, 1, 2, 2, kernel->mr, packed);
        gemm_f32_run(kernel, &p, workspace);
        assert_true(isnan(c[0]) && isnan(c[2]));
        assert_true(c[1] == 32 && c[3] == 60); /* 6 + 16 + 10; 18 + 32 + 20 clamped */
        p.k = 0;
        gemm_f32_run(kernel, &p, workspace);
        assert_true(c[0] == 10 && c[1] == 10 && c[2] == 20 && c[3] == 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_random_shapes),
        cmocka_unit_test(test_large_shapes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
