/* Block-scaled products: every variant against sums by the definition, bit for bit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "kernels/brgemm/blocks_s8.h"
#include "support/sample.h"

enum { MOST = 70, MOST_K = 300, ROOM = 64 };

typedef struct product_case {
    int64_t m, n, k, block, blocks;
    uint8_t a[MOST * MOST_K + ROOM];
    int8_t w[MOST_K * MOST]; /* [k][n] */
    int32_t offsets[MOST_K * MOST];
    float factors[MOST_K * MOST], bias[MOST];
    float expected[MOST * MOST], got[MOST * MOST];
    uint8_t flip;
    float lower, upper;
    bool has_bias;
} product_case;

static void draw(spry_random *random, product_case *c)
{
    c->m = sample_positive_size(random, MOST);
    c->n = sample_positive_size(random, MOST);
    c->k = sample_positive_size(random, MOST_K);
    c->block = 4 * sample_integer(random, 1, 20);
    c->blocks = (c->k + c->block - 1) / c->block;
    c->flip = sample_integer(random, 0, 1) != 0 ? 0x80 : 0;
    c->has_bias = sample_integer(random, 0, 1) != 0;
    c->lower = sample_integer(random, 0, 1) != 0 ? 0.0f : -INFINITY;
    c->upper = sample_integer(random, 0, 3) == 0 ? 60.0f : INFINITY;
    sample_u8(random, c->a, sizeof c->a);
    sample_i8(random, c->w, sizeof c->w);
    sample_f32(random, c->factors, (size_t)(c->blocks * c->n));
    sample_f32(random, c->bias, (size_t)c->n);
    for (int64_t i = 0; i < c->blocks * c->n; i++) {
        c->offsets[i] = (int32_t)sample_integer(random, -1000000, 1000000);
    }
}

static void multiply(product_case *c)
{
    for (int64_t i = 0; i < c->m; i++) {
        for (int64_t j = 0; j < c->n; j++) {
            float v = 0.0f;

            for (int64_t h = 0; h < c->blocks; h++) {
                int32_t sum = c->offsets[h * c->n + j];

                for (int64_t k = h * c->block; k < (h + 1) * c->block && k < c->k; k++) {
                    sum += (int32_t)(c->a[i * MOST_K + k] ^ c->flip) * (int32_t)c->w[k * c->n + j];
                }
                v += (float)sum * c->factors[h * c->n + j];
            }
            v += c->has_bias ? c->bias[j] : 0.0f;
            v = v < c->lower ? c->lower : v;
            c->expected[i * c->n + j] = v > c->upper ? c->upper : v;
        }
    }
}

static void run(const blocks_s8_kernel *kernel, product_case *c)
{
    brgemm_source source = {.data = c->w, .k_stride = c->n, .column_stride = 1};
    uint8_t *packed = malloc((size_t)brgemm_packed_size(kernel->layout, 1, c->k, c->n));
    blocks_s8_problem p = {.m = c->m,
                           .n = c->n,
                           .tile = {.a = c->a,
                                    .a_pitch = MOST_K,
                                    .b = packed,
                                    .steps = (c->k + 3) / 4,
                                    .block = c->block / 4,
                                    .flip = c->flip,
                                    .offsets = c->offsets,
                                    .factors = c->factors,
                                    .pitch = c->n,
                                    .bias = c->has_bias ? c->bias : NULL,
                                    .lower = c->lower,
                                    .upper = c->upper,
                                    .c = c->got,
                                    .c_pitch = c->n}};

    assert_non_null(packed);
    brgemm_pack(kernel->layout, &source, 1, c->k, c->n, packed);
    blocks_s8_run(kernel, &p);
    free(packed);
}

static void variants_give_the_same_bits(void **state)
{
    spry_random random = spry_random_stream(11, 0);

    (void)state;
    for (int trial = 0; trial < 60; trial++) {
        static product_case c;

        draw(&random, &c);
        multiply(&c);
        for (int v = 0; v < blocks_s8_variant_count; v++) {
            if (isa_usable(blocks_s8_variants[v].level)) {
                run(blocks_s8_variants[v].table, &c);
                assert_memory_equal(c.got, c.expected, (size_t)(c.m * c.n) * sizeof *c.got);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variants_give_the_same_bits),
    };

    return cmocka_run_group_tests_name("kernels/blocks_s8", tests, NULL, NULL);
}
