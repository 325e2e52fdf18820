/* Every variant of the outer-product tile against naive sums in double precision. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/outer/outer.h"
#include "support/sample.h"

enum { MOST_RUNS = 4, MOST_STEPS = 40, CASES = 120 };

static const outer_type types[] = {OUTER_F32, OUTER_BF16};

static double part_of(outer_type type, const void *from, int half)
{
    uint32_t bits;
    float x;

    memcpy(&bits, from, sizeof bits);
    if (type == OUTER_BF16) {
        bits = half != 0 ? bits & 0xFFFF0000u : bits << 16;
    }
    memcpy(&x, &bits, sizeof x);
    return (double)x;
}

/* A random matrix of steps that ends where memory ends, so that reading beyond is caught. */
static char *operand(spry_random *r, outer_type type, int64_t steps, int64_t pitch, size_t bytes)
{
    char *memory = malloc(bytes);

    assert_non_null(memory);
    (void)steps;
    (void)pitch;
    for (size_t i = 0; i < bytes / 4; i++) {
        float x[2];
        uint32_t bits[2];

        sample_f32(r, x, 2);
        memcpy(bits, x, sizeof bits);
        if (type == OUTER_BF16) {
            bits[0] = bits[0] >> 16 | (bits[1] & 0xFFFF0000u);
        }
        memcpy(memory + i * 4, bits, 4);
    }
    return memory;
}

static void check(spry_random *r, const outer_kernel *kernel)
{
    outer_run runs[MOST_RUNS];
    outer_tile t = {.runs = runs,
                    .run_count = sample_integer(r, 0, MOST_RUNS),
                    .rows = (int)sample_integer(r, 1, kernel->mr),
                    .columns = (int)sample_integer(r, 1, kernel->nr),
                    .accumulate = sample_integer(r, 0, 1) != 0};
    int64_t a_width = t.rows + sample_integer(r, 0, 3);
    int64_t b_width = t.columns + sample_integer(r, 0, 3);
    size_t a_bytes = (size_t)((MOST_STEPS - 1) * a_width + t.rows) * 4;
    size_t b_bytes = (size_t)((MOST_STEPS - 1) * b_width + t.columns) * 4;
    char *a = operand(r, kernel->type, MOST_STEPS, a_width, a_bytes);
    char *b = operand(r, kernel->type, MOST_STEPS, b_width, b_bytes);
    float c[16][80];
    float before[16][80];

    for (int64_t i = 0; i < t.run_count; i++) {
        int64_t first = sample_integer(r, 0, MOST_STEPS - 1);
        int64_t steps = sample_integer(r, 0, MOST_STEPS - first);

        runs[i] =
            (outer_run){first * a_width * 4, (MOST_STEPS - first - steps) * b_width * 4, steps};
    }
    sample_f32(r, &c[0][0], sizeof c / 4);
    memcpy(before, c, sizeof c);
    t.a = a;
    t.b = b;
    t.a_pitch = a_width * 4;
    t.b_pitch = b_width * 4;
    t.c = &c[0][0];
    t.c_pitch = 80;
    kernel->tile(&t);
    for (int i = 0; i < 16; i++) {
        for (int j = 0; j < 80; j++) {
            double sum = t.accumulate ? (double)before[i][j] : 0.0;
            double size = fabs(sum);

            if (i >= t.rows || j >= t.columns) {
                assert_memory_equal(&c[i][j], &before[i][j], 4);
                continue;
            }
            for (int64_t k = 0; k < t.run_count; k++) {
                for (int64_t s = 0; s < runs[k].steps; s++) {
                    for (int half = 0; half < kernel->group; half++) {
                        double product =
                            part_of(kernel->type, a + runs[k].a + (s * a_width + i) * 4, half) *
                            part_of(kernel->type, b + runs[k].b + (s * b_width + j) * 4, half);

                        sum += product;
                        size += fabs(product);
                    }
                }
            }
            assert_true(fabs((double)c[i][j] - sum) <= 2e-6 * size + 1e-30);
        }
    }
    free(a);
    free(b);
}

static void test_tiles(void **state)
{
    (void)state;
    for (size_t type = 0; type < sizeof types / sizeof *types; type++) {
        outer_variants variants = outer_variants_of(types[type]);

        for (int v = 0; v < variants.count; v++) {
            spry_random r = spry_random_stream(11, type);

            for (int i = 0; i < CASES && outer_usable(&variants.list[v]); i++) {
                check(&r, variants.list[v].table);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tiles)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
