/* Products over tiles against a double-precision triple loop: every variant of f32 and bf16, every
 * way of reading A, blocks of k and columns, and the same bits however the work is cut. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/brgemm/brgemm_product.h"
#include "spry/random.h"

enum { WORKERS = 3 };

typedef struct operands {
    brgemm_product_problem problem;
    bool turned_b; /* [n][k] */
    float *a, *b, *c, *residual, *bias;
    brgemm_finish finish;
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
    uint64_t parts = spry_random_below(r, 32);

    *o = (operands){.problem = {.m = m, .n = n, .k = k, .a_row = k, .a_k = 1},
                    .turned_b = (parts & 16) != 0};
    if (parts & 1) {
        o->problem.a_row = 1;
        o->problem.a_k = m;
    }
    o->a = random_floats(r, m * k);
    o->b = random_floats(r, k * n);
    o->c = random_floats(r, m * n);
    o->residual = random_floats(r, m * n);
    o->bias = random_floats(r, n);
    o->finish = (brgemm_finish){.bias = parts & 2 ? o->bias : NULL,
                                .residual = parts & 4 ? o->residual : NULL,
                                .lower = parts & 8 ? 0.0f : -INFINITY,
                                .upper = parts & 8 ? 6.0f : INFINITY};
}

static void free_operands(operands *o)
{
    free(o->a);
    free(o->b);
    free(o->c);
    free(o->residual);
    free(o->bias);
}

static double factor(const brgemm_kernel *kernel, float x)
{
    uint32_t bits;
    float rounded;

    if (kernel->type == BRGEMM_F32) {
        return (double)x;
    }
    bits = (uint32_t)brgemm_bf16(x) << 16;
    memcpy(&rounded, &bits, sizeof rounded);
    return (double)rounded;
}

static void check_element(const operands *o, const brgemm_kernel *kernel, int64_t i, int64_t j)
{
    const brgemm_product_problem *p = &o->problem;
    double got = (double)o->c[i * p->n + j];
    double sum = o->finish.bias != NULL ? (double)o->bias[j] : 0;
    double size = 1;

    for (int64_t k = 0; k < p->k; k++) {
        double term = factor(kernel, o->a[i * p->a_row + k * p->a_k]) *
                      factor(kernel, o->b[o->turned_b ? j * p->k + k : k * p->n + j]);

        sum += term;
        size += fabs(term);
    }
    sum += o->finish.residual != NULL ? (double)o->residual[i * p->n + j] : 0;
    sum = sum < (double)o->finish.lower ? (double)o->finish.lower : sum;
    sum = sum > (double)o->finish.upper ? (double)o->finish.upper : sum;
    if (!(fabs(got - sum) <= 3e-6 * size)) {
        fail_msg("%s %lldx%lldx%lld at %lld,%lld: %g, expected %g", kernel->name, (long long)p->m,
                 (long long)p->n, (long long)p->k, (long long)i, (long long)j, got, sum);
    }
}

/* All pieces, spread over workers in turn. */
static void run(const brgemm_product *p, const operands *o, const void *packed)
{
    char *workspace = aligned_alloc(64, (size_t)p->worker_bytes * WORKERS + 64);
    brgemm_product_call call = {.p = p,
                                .a = o->a,
                                .packed = packed,
                                .c = o->c,
                                .finish = o->finish,
                                .workspace = workspace};

    assert_non_null(workspace);
    for (int64_t piece = 0; piece < p->pieces; piece++) {
        brgemm_product_run(&call, piece, piece + 1, (int)(piece % WORKERS));
    }
    free(workspace);
}

static void check_product(const brgemm_kernel *kernel, operands *o)
{
    const brgemm_product_problem *problem = &o->problem;
    brgemm_source source = {.data = o->b,
                            .k_stride = o->turned_b ? 1 : problem->n,
                            .column_stride = o->turned_b ? problem->k : 1};
    size_t bytes = (size_t)(problem->m * problem->n) * sizeof *o->c;
    float *first = malloc(bytes);
    brgemm_product p;
    void *packed;

    brgemm_product_plan(problem, kernel, 1, &p);
    packed = malloc((size_t)p.packed_bytes);
    assert_true(packed != NULL && first != NULL);
    brgemm_pack(kernel, &source, 1, problem->k, problem->n, packed);
    run(&p, o, packed);
    for (int64_t i = 0; i<problem->m * problem->n; i += problem->m * problem->n> 9000 ? 37 : 1) {
        check_element(o, kernel, i / problem->n, i % problem->n);
    }
    memcpy(first, o->c, bytes);
    brgemm_product_plan(problem, kernel, WORKERS, &p);
    run(&p, o, packed);
    assert_memory_equal(first, o->c, bytes);
    free(packed);
    free(first);
}

typedef void body(const brgemm_kernel *kernel, spry_random *r);

static void for_all_variants(body *check)
{
    static const brgemm_type types[] = {BRGEMM_F32, BRGEMM_BF16};

    for (int i = 0; i < 2; i++) {
        brgemm_variants variants = brgemm_variants_of(types[i]);

        for (int v = 0; v < variants.count; v++) {
            spry_random r = spry_random_stream(17, 0);

            if (brgemm_usable(&variants.list[v])) {
                check(variants.list[v].table, &r);
            } else {
                print_message("skipped: this machine has no %s\n", variants.list[v].name);
            }
        }
    }
}

static int64_t random_extent(spry_random *r)
{
    static const int64_t edges[] = {1, 2, 3, 5, 13, 14, 15, 16, 17, 31, 32, 33, 64, 97};

    return spry_random_below(r, 2) != 0 ? edges[spry_random_below(r, sizeof edges / sizeof *edges)]
                                        : 1 + (int64_t)spry_random_below(r, 120);
}

static void check_random(const brgemm_kernel *kernel, spry_random *r)
{
    for (int i = 0; i < 40; i++) {
        operands o;

        make_operands(&o, r, random_extent(r), random_extent(r), random_extent(r));
        check_product(kernel, &o);
        free_operands(&o);
    }
}

/* Several blocks of k and of columns, rows at a pitch that aliases, pieces for all workers. */
static void check_blocks(const brgemm_kernel *kernel, spry_random *r)
{
    static const int64_t shapes[][3] = {
        {1, 3000, 700}, {30, 700, 2048}, {33, 65, 3001}, {9, 33, 1024}};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        operands o;

        make_operands(&o, r, shapes[i][0], shapes[i][1], shapes[i][2]);
        check_product(kernel, &o);
        free_operands(&o);
    }
}

/* Tiles cover all rows, and only a product of few rows has a tile of few. */
static void check_tile_rows(const brgemm_kernel *kernel, spry_random *r)
{
    (void)r;
    for (int64_t all = 1; all <= 100; all++) {
        int64_t left = all;

        while (left > 0) {
            int rows = brgemm_tile_rows(kernel, left);

            assert_in_range(rows, 1, kernel->mr);
            assert_true(rows > 1 || all == 1 || kernel->mr <= 4);
            left -= rows;
        }
        assert_int_equal(left, 0);
    }
}

static void test_tile_rows(void **state)
{
    (void)state;
    for_all_variants(check_tile_rows);
}

static void test_random_shapes(void **state)
{
    (void)state;
    for_all_variants(check_random);
}

static void test_blocks(void **state)
{
    (void)state;
    for_all_variants(check_blocks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_shapes),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_tile_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
