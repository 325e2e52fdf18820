/* Block-scaled products: every variant against sums by the definition, bit for bit, with operands
 * that end where memory does. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernels/brgemm/blocks_s8.h"
#include "support/cases.h"
#include "support/guarded.h"
#include "support/sample.h"

enum { MOST = 70, MOST_K = 300, LARGE = 60 };

typedef struct product_case {
    int64_t m, n, k, block, blocks;
    guarded a, packed, c;
    int64_t a_pitch;
    int8_t w[MOST_K * MOST]; /* [k][n] */
    int32_t offsets[MOST_K * MOST];
    float factors[MOST_K * MOST], bias[MOST];
    float expected[MOST * MOST];
    uint8_t flip;
    float lower, upper;
    bool has_bias;
} product_case;

/* `a` may be read up to three bytes beyond the last step. */
static int64_t a_bytes(const product_case *c)
{
    return (c->m - 1) * c->a_pitch + (c->k + 3) / 4 * 4 + 3;
}

/* Every LARGE-th case is large. */
static void draw(spry_random *random, int64_t number, product_case *c)
{
    int64_t most = number % LARGE == 0 ? MOST : 1 + number % 9;
    int64_t most_k = number % LARGE == 0 ? MOST_K : 33;

    c->m = sample_positive_size(random, most);
    c->n = sample_positive_size(random, number % 8 == 0 ? MOST : most);
    c->k = sample_positive_size(random, most_k);
    c->a_pitch = c->k + sample_integer(random, 0, 9);
    c->block = 4 * sample_integer(random, 1, number % 2 == 0 ? 20 : 3);
    c->blocks = (c->k + c->block - 1) / c->block;
    c->flip = sample_integer(random, 0, 1) != 0 ? 0x80 : 0;
    c->has_bias = sample_integer(random, 0, 1) != 0;
    c->lower = sample_integer(random, 0, 1) != 0 ? 0.0f : -INFINITY;
    c->upper = sample_integer(random, 0, 3) == 0 ? 60.0f : INFINITY;
    guarded_place(&c->a, (size_t)a_bytes(c), true);
    sample_bytes(random, c->a.data, (size_t)a_bytes(c));
    sample_bytes(random, c->w, (size_t)(c->k * c->n));
    spry_random_fill_uniform(random, c->factors, (size_t)(c->blocks * c->n), -1.0f, 1.0f);
    spry_random_fill_uniform(random, c->bias, (size_t)c->n, -9.0f, 9.0f);
    for (int64_t i = 0; i < c->blocks * c->n; i++) {
        c->offsets[i] = (int32_t)(spry_random_u32(random) % 2000000) - 1000000;
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
                    sum += (int32_t)(c->a.data[i * c->a_pitch + k] ^ c->flip) *
                           (int32_t)c->w[k * c->n + j];
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
    blocks_s8_problem p = {.m = c->m,
                           .n = c->n,
                           .tile = {.a = c->a.data,
                                    .a_pitch = c->a_pitch,
                                    .steps = (c->k + 3) / 4,
                                    .block = c->block / 4,
                                    .flip = c->flip,
                                    .offsets = c->offsets,
                                    .factors = c->factors,
                                    .pitch = c->n,
                                    .bias = c->has_bias ? c->bias : NULL,
                                    .lower = c->lower,
                                    .upper = c->upper,
                                    .c_pitch = c->n}};

    guarded_place(&c->packed, (size_t)brgemm_packed_size(kernel->layout, 1, c->k, c->n), true);
    guarded_place(&c->c, (size_t)(c->m * c->n) * sizeof(float), true);
    p.tile.b = c->packed.data;
    p.tile.c = (float *)(void *)c->c.data;
    brgemm_pack(kernel->layout, &source, 1, c->k, c->n, c->packed.data);
    blocks_s8_run(kernel, &p);
}

static void variants_give_the_same_bits(void **state)
{
    static product_case c;
    spry_random random = spry_random_stream(11, 0);
    int64_t cases = cases_of("products with weights in blocks");

    (void)state;
    c.a = guarded_make((size_t)MOST * (MOST_K + 12), true);
    c.packed = guarded_make((size_t)(MOST_K + 4) * 2 * MOST, true);
    c.c = guarded_make((size_t)MOST * MOST * sizeof(float), true);
    for (int64_t i = 0; i < cases; i++) {
        draw(&random, i, &c);
        multiply(&c);
        for (int v = 0; v < blocks_s8_variant_count; v++) {
            if (isa_usable(blocks_s8_variants[v].level)) {
                run(blocks_s8_variants[v].table, &c);
                assert_memory_equal(c.c.data, c.expected, (size_t)(c.m * c.n) * sizeof(float));
            }
        }
    }
    guarded_free(&c.a);
    guarded_free(&c.packed);
    guarded_free(&c.c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variants_give_the_same_bits),
    };

    return cmocka_run_group_tests_name("kernels/blocks_s8", tests, NULL, NULL);
}
