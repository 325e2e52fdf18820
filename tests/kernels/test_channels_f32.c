/* Channel-wise scaling against direct loops over random sizes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/elementwise/channels_f32.h"
#include "spry/random.h"

enum { MOST_PIXELS = 12, MOST_CHANNELS = 70 };

static void check(spry_random *r, const channels_f32_kernel *kernel)
{
    float x[MOST_PIXELS * MOST_CHANNELS + 1];
    float wanted[MOST_PIXELS * MOST_CHANNELS];
    float scale[MOST_CHANNELS];
    float shift[MOST_CHANNELS];
    channels_f32_image image = {.from = x,
                                .to = x,
                                .pixels = (int64_t)spry_random_below(r, MOST_PIXELS + 1),
                                .channels = 1 + (int64_t)spry_random_below(r, MOST_CHANNELS),
                                .scale = scale,
                                .shift = shift,
                                .lower = -0.5f,
                                .upper = INFINITY};
    int64_t count = image.pixels * image.channels;

    spry_random_fill_uniform(r, x, sizeof x / sizeof *x, -1.0f, 1.0f);
    spry_random_fill_uniform(r, scale, MOST_CHANNELS, -1.0f, 1.0f);
    spry_random_fill_uniform(r, shift, MOST_CHANNELS, -1.0f, 1.0f);
    for (int64_t i = 0; i < count; i++) {
        wanted[i] = x[i] * scale[i % image.channels] + shift[i % image.channels];
        wanted[i] = wanted[i] < -0.5f ? -0.5f : wanted[i];
    }
    x[count] = 7.0f;
    kernel->scale(&image);
    for (int64_t i = 0; i < count; i++) {
        assert_true(fabs((double)x[i] - (double)wanted[i]) < 1e-6);
    }
    assert_true(x[count] == 7.0f);
}

static void test_scale(void **state)
{
    (void)state;
    for (int v = 0; v < channels_f32_variant_count; v++) {
        spry_random r = spry_random_stream(7, 0);

        for (int i = 0; i < 200 && isa_usable(channels_f32_variants[v].level); i++) {
            check(&r, channels_f32_variants[v].table);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scale),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
