/* Gathered patches and depthwise planes against direct loops over random geometries. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernels/conv/conv_f32.h"
#include "spry/random.h"

static int64_t between(spry_random *r, int64_t low, int64_t high)
{
    return low + (int64_t)spry_random_below(r, (uint64_t)(high - low + 1));
}

/* A geometry whose kernel fits at least once into the padded image. */
static conv_f32_shape random_shape(spry_random *r)
{
    conv_f32_shape s = {.channels = between(r, 1, 5),
                        .in_h = between(r, 1, 20),
                        .in_w = between(r, 1, 90),
                        .kernel_h = between(r, 1, 5),
                        .kernel_w = between(r, 1, 5),
                        .stride_h = between(r, 1, 3),
                        .stride_w = between(r, 1, 3),
                        .dilation_h = between(r, 1, 2),
                        .dilation_w = between(r, 1, 2)};
    int64_t extent_h = (s.kernel_h - 1) * s.dilation_h + 1;
    int64_t extent_w = (s.kernel_w - 1) * s.dilation_w + 1;
    int64_t end_h;
    int64_t end_w;

    s.pad_h = between(r, 0, extent_h);
    s.pad_w = between(r, 0, extent_w);
    end_h = between(r, extent_h, 2 * extent_h);
    end_w = between(r, extent_w, 2 * extent_w);
    if (spry_random_below(r, 3) == 0) { /* the usual kind: as many pixels as before */
        s.stride_h = s.stride_w = 1;
        s.pad_h = (extent_h - 1) / 2;
        s.pad_w = (extent_w - 1) / 2;
        s.out_h = s.in_h;
        s.out_w = s.in_w;
        return s;
    }
    s.out_h = (s.in_h + s.pad_h + end_h - extent_h) / s.stride_h + 1;
    s.out_w = (s.in_w + s.pad_w + end_w - extent_w) / s.stride_w + 1;
    return s;
}

/* Input value under a kernel position of an output pixel; zero outside. */
static float patch_value(const conv_f32_shape *s, const float *plane, int64_t out, int64_t y,
                         int64_t x)
{
    int64_t row = out / s->out_w * s->stride_h - s->pad_h + y * s->dilation_h;
    int64_t column = out % s->out_w * s->stride_w - s->pad_w + x * s->dilation_w;

    if (row < 0 || row >= s->in_h || column < 0 || column >= s->in_w) {
        return 0.0f;
    }
    return plane[row * s->in_w + column];
}

static float *random_image(spry_random *r, int64_t count)
{
    float *image = malloc((size_t)count * sizeof *image);

    assert_non_null(image);
    spry_random_fill_uniform(r, image, (size_t)count, -1.0f, 1.0f);
    return image;
}

static void check_pack(spry_random *r, int width, const conv_f32_packer *packer)
{
    conv_f32_shape s = random_shape(r);
    int64_t taps = s.kernel_h * s.kernel_w;
    int64_t k0 = between(r, 0, s.channels * taps - 1);
    int64_t k = between(r, 1, s.channels * taps - k0);
    int64_t n0 = between(r, 0, s.out_h * s.out_w - 1);
    int64_t n = between(r, 1, s.out_h * s.out_w - n0);
    float *data = random_image(r, s.channels * s.in_h * s.in_w);
    float *packed = malloc((size_t)((n + width) * k) * sizeof *packed);
    conv_f32_image image = {&s, data};

    assert_non_null(packed);
    packer->pack(&image, k0, k, n0, n, width, packed);
    for (int64_t column = 0; column < (n + width - 1) / width * width; column++) {
        for (int64_t step = 0; step < k; step++) {
            int64_t tap = (k0 + step) % taps;
            const float *plane = data + (k0 + step) / taps * s.in_h * s.in_w;
            float wanted =
                column < n ? patch_value(&s, plane, n0 + column, tap / s.kernel_w, tap % s.kernel_w)
                           : 0.0f;

            assert_true(packed[column / width * width * k + step * width + column % width] ==
                        wanted);
        }
    }
    free(data);
    free(packed);
}

static void test_pack(void **state)
{
    static const int widths[] = {16, 32, 64};

    (void)state;
    for (int v = 0; v < conv_f32_pack_variant_count; v++) {
        spry_random r = spry_random_stream(3, 0);

        for (int i = 0; i < 900 && isa_usable(conv_f32_pack_variants[v].level); i++) {
            check_pack(&r, widths[i % 3], conv_f32_pack_variants[v].table);
        }
    }
}

static void check_depthwise(spry_random *r, conv_f32_depthwise run)
{
    conv_f32_shape s = random_shape(r);
    int64_t multiplier = between(r, 1, 2);
    int64_t channels = multiplier * between(r, 1, 3);
    int64_t planes = channels * between(r, 1, 2); /* of one or two images */
    int64_t taps = s.kernel_h * s.kernel_w;
    int64_t size = s.out_h * s.out_w;
    int64_t first = between(r, 0, planes - 1);
    float *in = random_image(r, planes / multiplier * s.in_h * s.in_w);
    float *weights = random_image(r, channels * taps);
    float *bias = random_image(r, channels);
    float *out = random_image(r, planes * size);
    float *residual = random_image(r, planes * size);
    conv_f32_planes p = {&s,      first, planes - first, channels, multiplier, in,
                         weights, bias,  residual,       -0.5f,    1.0f,       out};

    run(&p);
    for (int64_t i = first * size; i < planes * size; i++) {
        int64_t channel = i / size % channels;
        const float *plane = in + i / size / multiplier * s.in_h * s.in_w;
        double sum = (double)bias[channel] + (double)residual[i];

        for (int64_t tap = 0; tap < taps; tap++) {
            sum += (double)weights[channel * taps + tap] *
                   (double)patch_value(&s, plane, i % size, tap / s.kernel_w, tap % s.kernel_w);
        }
        sum = sum < -0.5 ? -0.5 : sum > 1.0 ? 1.0 : sum;
        assert_true(fabs(sum - (double)out[i]) < 1e-5);
    }
    free(in);
    free(weights);
    free(bias);
    free(out);
    free(residual);
}

static void test_depthwise(void **state)
{
    (void)state;
    for (int v = 0; v < conv_f32_depthwise_variant_count; v++) {
        const conv_f32_depthwise_kernel *kernel = conv_f32_depthwise_variants[v].table;
        spry_random r = spry_random_stream(4, 0);

        for (int i = 0; i < 300 && isa_usable(conv_f32_depthwise_variants[v].level); i++) {
            check_depthwise(&r, kernel->run);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pack),
        cmocka_unit_test(test_depthwise),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
