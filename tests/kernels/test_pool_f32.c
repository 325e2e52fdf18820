/* Pooling variants against direct loops over random geometries. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernels/pool/pool_f32.h"
#include "spry/random.h"

enum { MOST_PLANES = 3, MOST_SIDE = 70 };

static int64_t between(spry_random *r, int64_t low, int64_t high)
{
    return low + (int64_t)spry_random_below(r, (uint64_t)(high - low + 1));
}

/* A geometry in which every window holds a pixel. */
static conv_f32_shape random_shape(spry_random *r)
{
    conv_f32_shape s = {.channels = 1,
                        .in_h = between(r, 1, MOST_SIDE),
                        .in_w = between(r, 1, MOST_SIDE),
                        .kernel_h = between(r, 1, 4),
                        .kernel_w = between(r, 1, 4),
                        .stride_h = between(r, 1, 3),
                        .stride_w = between(r, 1, 3),
                        .dilation_h = 1,
                        .dilation_w = 1};

    s.pad_h = between(r, 0, s.kernel_h - 1);
    s.pad_w = between(r, 0, s.kernel_w - 1);
    s.out_h = (s.in_h + s.pad_h - 1) / s.stride_h + 1;
    s.out_w = (s.in_w + s.pad_w - 1) / s.stride_w + 1;
    return s;
}

/* The maximum and the average of one window. */
static void pool_directly(const conv_f32_shape *s, const float *plane, int64_t out, float *max,
                          double *average)
{
    int64_t row = out / s->out_w * s->stride_h - s->pad_h;
    int64_t column = out % s->out_w * s->stride_w - s->pad_w;
    double sum = 0;
    int count = 0;

    *max = -INFINITY;
    for (int64_t y = row; y < row + s->kernel_h; y++) {
        for (int64_t x = column; x < column + s->kernel_w; x++) {
            if (y >= 0 && y < s->in_h && x >= 0 && x < s->in_w) {
                float pixel = plane[y * s->in_w + x];

                *max = pixel > *max ? pixel : *max;
                sum += (double)pixel;
                count++;
            }
        }
    }
    *average = sum / count;
}

static void check_planes(spry_random *r, const pool_f32_kernel *kernel)
{
    static float in[MOST_PLANES * MOST_SIDE * MOST_SIDE];
    static float max[MOST_PLANES * (MOST_SIDE + 4) * (MOST_SIDE + 4)];
    static float average[MOST_PLANES * (MOST_SIDE + 4) * (MOST_SIDE + 4)];
    conv_f32_shape s = random_shape(r);
    int64_t size = s.out_h * s.out_w;
    pool_f32_planes p = {.shape = &s, .count = between(r, 1, MOST_PLANES), .in = in};

    spry_random_fill_uniform(r, in, sizeof in / sizeof *in, -1.0f, 1.0f);
    p.out = max;
    kernel->max(&p);
    p.out = average;
    kernel->average(&p);
    for (int64_t i = 0; i < p.count * size; i++) {
        float wanted_max;
        double wanted_average;

        pool_directly(&s, in + i / size * s.in_h * s.in_w, i % size, &wanted_max, &wanted_average);
        assert_true(max[i] == wanted_max);
        assert_true(fabs((double)average[i] - wanted_average) < 1e-5);
    }
}

static void test_pool(void **state)
{
    (void)state;
    for (int v = 0; v < pool_f32_variant_count; v++) {
        spry_random r = spry_random_stream(5, 0);

        for (int i = 0; i < 400 && isa_usable(pool_f32_variants[v].level); i++) {
            check_planes(&r, pool_f32_variants[v].table);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
