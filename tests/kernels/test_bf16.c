/* Every variant of the conversion to bf16: the rule bit by bit, and equal to the portable one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/brgemm/bf16.h"
#include "spry/random.h"

enum { COUNT = 4096, MOST_LENGTH = 100 };

static float float_of(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

static void test_by_hand(void **state)
{
    static const struct {
        uint32_t from;
        uint16_t to;
    } cases[] = {
        {0x3F800000, 0x3F80}, /* 1 */
        {0x3F808000, 0x3F80}, /* halfway: to even, down */
        {0x3F818000, 0x3F82}, /* halfway: to even, up */
        {0x3F808001, 0x3F81}, /* above halfway */
        {0x7F7FFFFF, 0x7F80}, /* the largest number overflows to infinity */
        {0xFF800000, 0xFF80}, /* -infinity */
        {0x7F800001, 0x7FC0}, /* a signalling NaN becomes quiet, not infinity */
        {0xFFFFFFFF, 0xFFFF}, /* NaN keeps sign and payload */
        {0x80000000, 0x8000}, /* -0 */
        {0x007FFFFF, 0x0000}, /* below the least normal number */
        {0x80400000, 0x8000}, {0x00800000, 0x0080}, /* the least normal number */
    };

    (void)state;
    for (int v = 0; v < bf16_variant_count; v++) {
        const bf16_kernel *kernel = bf16_variants[v].table;

        for (size_t i = 0; bf16_usable(&bf16_variants[v]) && i < sizeof cases / sizeof *cases;
             i++) {
            float from = float_of(cases[i].from);
            uint16_t to = 1;

            kernel->narrow(&to, &from, 1);
            assert_int_equal(to, cases[i].to);
        }
    }
}

static void test_same_bits(void **state)
{
    static float from[COUNT];
    static uint16_t wanted[COUNT];
    static uint16_t got[COUNT + 1];
    const bf16_kernel *portable = bf16_variants[0].table;
    spry_random r = spry_random_stream(3, 0);

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        from[i] = float_of((uint32_t)spry_random_below(&r, UINT64_C(1) << 32));
    }
    portable->narrow(wanted, from, COUNT);
    for (int v = 1; v < bf16_variant_count; v++) {
        const bf16_kernel *kernel = bf16_variants[v].table;

        if (!bf16_usable(&bf16_variants[v])) {
            print_message("skipped: this machine has no %s\n", bf16_variants[v].name);
            continue;
        }
        kernel->narrow(got, from, COUNT);
        assert_memory_equal(got, wanted, sizeof wanted);
        for (int64_t n = 0; n < MOST_LENGTH; n++) { /* nothing beyond the end */
            memset(got, 0xA5, sizeof got);
            kernel->narrow(got, from + n, n);
            assert_memory_equal(got, wanted + n, (size_t)n * sizeof *got);
            assert_int_equal(got[n], 0xA5A5);
        }
    }
}

static void test_pairs(void **state)
{
    static float from[2 * COUNT];
    static uint16_t halves[2 * COUNT];
    static uint32_t got[MOST_LENGTH + 1];
    spry_random r = spry_random_stream(4, 0);

    (void)state;
    for (int i = 0; i < 2 * COUNT; i++) {
        from[i] = float_of((uint32_t)spry_random_below(&r, UINT64_C(1) << 32));
    }
    for (int v = 0; v < bf16_variant_count; v++) {
        const bf16_kernel *kernel = bf16_variants[v].table;

        for (int64_t n = 0; n < MOST_LENGTH && bf16_usable(&bf16_variants[v]); n++) {
            const float *odd = n % 3 == 0 ? NULL : from + COUNT;

            got[n] = 7;
            kernel->narrow(halves, from, 2 * COUNT);
            kernel->pair(got, from, odd, n);
            for (int64_t i = 0; i < n; i++) {
                uint32_t upper = odd != NULL ? halves[COUNT + i] : 0;

                assert_int_equal(got[i], halves[i] | upper << 16);
            }
            assert_int_equal(got[n], 7);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_pairs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
