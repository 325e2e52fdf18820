/* Samples for tests. */
#include "support/sample.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

int64_t sample_integer(spry_random *random, int64_t least, int64_t most)
{
    uint64_t width = (uint64_t)most - (uint64_t)least;
    uint64_t offset =
        width == UINT64_MAX ? spry_random_u64(random) : spry_random_below(random, width + 1);

    return (int64_t)((uint64_t)least + offset);
}

int64_t sample_size(spry_random *random, int64_t most)
{
    static const int64_t primes[] = {2, 3, 5, 7, 11, 13, 17, 31, 37, 61, 67, 127, 131, 251, 257};
    int64_t size;

    switch (spry_random_below(random, 8)) {
    case 0: size = 0; break;
    case 1: size = 1; break;
    case 2: size = primes[spry_random_below(random, sizeof primes / sizeof *primes)]; break;
    case 3:
        size = ((int64_t)1 << spry_random_below(random, 12)) + sample_integer(random, -1, 1);
        break;
    default: size = sample_integer(random, 0, most);
    }
    return size <= most ? size : sample_integer(random, 0, most);
}

int64_t sample_positive_size(spry_random *random, int64_t most)
{
    int64_t size = sample_size(random, most);

    return size > 0 ? size : 1;
}

void sample_f32(spry_random *random, float *values, size_t count)
{
    spry_random_fill_normal(random, values, count, 0, 1);
    for (size_t i = 0; i < count; i++) {
        if (spry_random_below(random, 16) == 0) {
            values[i] = 0;
        }
    }
}

void sample_u8(spry_random *random, uint8_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        values[i] = (uint8_t)(spry_random_u32(random) >> 24);
    }
}

void sample_i8(spry_random *random, int8_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        values[i] = (int8_t)((int)(spry_random_u32(random) >> 24) - 128);
    }
}

void sample_bytes(spry_random *random, void *bytes, size_t count)
{
    static const uint8_t extremes[8] = {0, 1, 127, 128, 129, 254, 255, 255};
    bool is_extreme = spry_random_below(random, 4) == 0;
    uint8_t *to = bytes;

    for (size_t i = 0; i < count; i += sizeof(uint32_t)) {
        uint32_t word = spry_random_u32(random);
        size_t left = count - i;

        memcpy(to + i, &word, left < sizeof word ? left : sizeof word);
    }
    for (size_t i = 0; is_extreme && i < count; i++) {
        to[i] = extremes[to[i] % 8];
    }
}

static bool is_close(double got, double expected, double absolute, double relative)
{
    if (isnan(expected)) {
        return isnan(got);
    }
    if (isinf(expected) || isinf(got)) {
        return got == expected;
    }
    return fabs(got - expected) <= absolute + relative * fabs(expected);
}

void sample_assert_close(const char *what, const float *got, const float *expected, size_t count,
                         double absolute, double relative)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_close((double)got[i], (double)expected[i], absolute, relative)) {
            fail_msg("%s: element %zu of %zu is %.9g, expected %.9g", what, i, count,
                     (double)got[i], (double)expected[i]);
        }
    }
}
