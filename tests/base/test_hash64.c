/* The 64-bit hash against published values, and its sensitivity to every bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash64.h"
#include "support/sample.h"

static void matches_published_values(void **state)
{
    static const char text[] = "Nobody inspects the spammish repetition";

    (void)state;
    assert_int_equal(hash64("", 0, 0), UINT64_C(0xEF46DB3751D8E999));
    assert_int_equal(hash64("a", 1, 0), UINT64_C(0xD24EC4F1A98C6E5B));
    assert_int_equal(hash64("abc", 3, 0), UINT64_C(0x44BC2CF5AD770999));
    assert_int_equal(hash64(text, sizeof text - 1, 0), UINT64_C(0xFBCEA83C8A378BF1));
}

static void every_bit_counts(void **state)
{
    enum { MOST = 100 };
    spry_random r = spry_random_stream(3, 0);
    uint8_t bytes[MOST];

    (void)state;
    sample_bytes(&r, bytes, sizeof bytes);
    for (size_t size = 0; size < MOST; size++) {
        uint64_t hash = hash64(bytes, size, 7);

        assert_true(hash != hash64(bytes, size, 8));
        assert_true(hash != hash64(bytes, size + 1, 7));
        for (size_t bit = 0; bit < 8 * size; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_true(hash != hash64(bytes, size, 7));
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_published_values),
        cmocka_unit_test(every_bit_counts),
    };

    return cmocka_run_group_tests_name("base/hash64", tests, NULL, NULL);
}
