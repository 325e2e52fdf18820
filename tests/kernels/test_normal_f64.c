/* The key stream against its published example, normal numbers against the formulas in plain C and
 * against what a normal distribution has, variants bit for bit against the portable one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "kernels/random/normal_f64.h"
#include "spry/random.h"

typedef uint32_t words_of[NORMAL_F64_STATE][NORMAL_F64_BLOCKS];

static const normal_f64_kernel *variant(int v)
{
    return isa_usable(normal_f64_variants[v].level) ? normal_f64_variants[v].table : NULL;
}

/* RFC 8439, section 2.3.2: key 00 01 ... 1f, nonce 00 00 00 09 00 00 00 4a 00 00 00 00, block 1.
 * Its nonce has three words, of which the first is the upper half of our counter. */
static void test_published(void **state)
{
    static const uint32_t expected[NORMAL_F64_STATE] = {
        0xe4e7f110, 0x15593bd1, 0x1fdd0f50, 0xc47120a3, 0xc7f4d1c7, 0x0368c033,
        0x9aaa2204, 0x4e6cd4c3, 0x466482d2, 0x09aa9f07, 0x05d7c214, 0xa2028bd9,
        0xd19c12b5, 0xb94e16de, 0xe883d0cb, 0x4e3c50a2};
    static const uint32_t tail[2] = {0x4a000000, 0};
    uint32_t key[NORMAL_F64_KEY];

    (void)state;
    for (uint32_t i = 0; i < NORMAL_F64_KEY; i++) {
        key[i] = (4 * i) | (4 * i + 1) << 8 | (4 * i + 2) << 16 | (4 * i + 3) << 24;
    }
    for (int v = 0; v < normal_f64_variant_count; v++) {
        words_of words;

        if (variant(v) == NULL) {
            continue;
        }
        /* also as the last of several */
        for (uint64_t before = 0; before < NORMAL_F64_BLOCKS; before++) {
            variant(v)->words(key, (UINT64_C(0x09000000) << 32) + 1 - before, tail, words);
            for (int i = 0; i < NORMAL_F64_STATE; i++) {
                assert_int_equal(words[i][before], expected[i]);
            }
        }
    }
}

static double uniform(uint32_t low, uint32_t high)
{
    return ((double)(((uint64_t)high << 32 | low) >> 12) + 0.5) * 0x1p-52;
}

static double plain_sum(words_of words, int block)
{
    double sum = 0;

    for (int k = 0; k < NORMAL_F64_TERMS; k++) {
        double u = uniform(words[4 * k][block], words[4 * k + 1][block]);
        double v = uniform(words[4 * k + 2][block], words[4 * k + 3][block]);

        sum += sqrt(-2 * log(u)) * cos(2 * acos(-1.0) * v);
    }
    return sum / 2;
}

/* Random words, and the smallest and largest of both numbers. */
static void fill(spry_random *random, words_of words, int round)
{
    for (int i = 0; i < NORMAL_F64_STATE; i++) {
        for (int b = 0; b < NORMAL_F64_BLOCKS; b++) {
            uint32_t extreme = b % 2 == 0 ? 0 : UINT32_MAX;

            words[i][b] = round > 0 || b > 3 ? spry_random_u32(random)
                          : i % 4 < 2        ? extreme
                                             : (b < 2 ? extreme : ~extreme);
        }
    }
}

static void test_formula(void **state)
{
    spry_random random = spry_random_stream(4, 0);

    (void)state;
    for (int round = 0; round < 2000; round++) {
        double expected[NORMAL_F64_BATCH];
        words_of words;

        fill(&random, words, round);
        for (int v = 0; v < normal_f64_variant_count; v++) {
            double sums[NORMAL_F64_BATCH];

            if (variant(v) == NULL) {
                continue;
            }
            variant(v)->sums(words, sums);
            for (int b = 0; v == 0 && b < NORMAL_F64_BATCH; b++) {
                /* near u = 1 and the angles without cosine the formula in plain C is the rougher */
                assert_true(fabs(sums[b] - plain_sum(words, b)) < 1e-14);
            }
            memcpy(v == 0 ? expected : sums, sums, sizeof sums);
            assert_memory_equal(sums, expected, sizeof sums);
        }
    }
}

/* Moments, and the share beyond one and three deviations, of a million numbers: within five
 * standard errors. Neighbours are not correlated. */
static void test_distribution(void **state)
{
    enum { BATCHES = 62500, COUNT = BATCHES * NORMAL_F64_BATCH };
    static const uint32_t key[NORMAL_F64_KEY] = {3, 1, 4, 1, 5, 9, 2, 6};
    static const uint32_t tail[2] = {0};
    const normal_f64_kernel *kernel = normal_f64_select();
    double moments[5] = {0};
    double beyond[2] = {0};
    double neighbours = 0;
    double last = 0;
    double root = sqrt((double)COUNT);

    (void)state;
    for (uint64_t i = 0; i < BATCHES; i++) {
        double sums[NORMAL_F64_BATCH];
        words_of words;

        kernel->words(key, i * NORMAL_F64_BLOCKS, tail, words);
        kernel->sums(words, sums);
        for (int k = 0; k < NORMAL_F64_BATCH; k++) {
            double x = sums[k];

            for (int p = 1; p < 5; p++) {
                moments[p] += pow(x, p) / COUNT;
            }
            beyond[0] += (fabs(x) > 1) / (double)COUNT;
            beyond[1] += (fabs(x) > 3) / (double)COUNT;
            neighbours += x * last / COUNT;
            last = x;
        }
    }
    assert_true(fabs(moments[1]) < 5 / root);
    assert_true(fabs(moments[2] - 1) < 5 * sqrt(2) / root);
    assert_true(fabs(moments[3]) < 5 * sqrt(15) / root);
    assert_true(fabs(moments[4] - 3) < 5 * sqrt(96) / root);
    assert_true(fabs(beyond[0] - 0.317310508) < 5 * sqrt(0.3173 * 0.6827) / root);
    assert_true(fabs(beyond[1] - 0.002699796) < 5 * sqrt(0.0027) / root);
    assert_true(fabs(neighbours) < 5 / root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_published),
                                       cmocka_unit_test(test_formula),
                                       cmocka_unit_test(test_distribution)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
