/* Patches of bytes and every variant of the integer depthwise kernel against plain loops. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/conv/conv_s8.h"
#include "spry/random.h"
#include "tensor/quantize.h"

enum { CASES = 600 };

typedef struct problem {
    conv_f32_shape shape;
    conv_s8_halo halo;
    uint8_t zero, flip;
    uint8_t *image; /* [channels][in_h][in_w] */
    uint8_t *halos; /* [channels][halo.bytes] */
} problem;

static int64_t between(spry_random *r, int64_t low, int64_t high)
{
    return low + (int64_t)spry_random_below(r, (uint64_t)(high - low + 1));
}

static int64_t windows(int64_t in, int64_t pads, int64_t kernel, int64_t dilation, int64_t stride)
{
    int64_t room = in + pads - (kernel - 1) * dilation - 1;

    return room < 0 ? 0 : room / stride + 1;
}

static bool make_shape(conv_f32_shape *s, spry_random *r)
{
    *s = (conv_f32_shape){.channels = between(r, 1, 7),
                          .in_h = between(r, 1, 12),
                          .in_w = between(r, 1, 90),
                          .kernel_h = between(r, 1, 4),
                          .kernel_w = between(r, 1, 5),
                          .stride_h = between(r, 1, 3),
                          .stride_w = between(r, 1, 4),
                          .dilation_h = between(r, 1, 3),
                          .dilation_w = between(r, 1, 5),
                          .pad_h = between(r, 0, 3),
                          .pad_w = between(r, 0, 3)};
    s->out_h =
        windows(s->in_h, s->pad_h + between(r, 0, 2), s->kernel_h, s->dilation_h, s->stride_h);
    s->out_w =
        windows(s->in_w, s->pad_w + between(r, 0, 2), s->kernel_w, s->dilation_w, s->stride_w);
    return s->out_h > 0 && s->out_w > 0;
}

static void *room(int64_t bytes)
{
    void *memory = malloc((size_t)bytes);

    assert_non_null(memory);
    return memory;
}

/* The planes end where reading more than the promised slack would be caught by sanitizers. */
static bool make_problem(problem *p, spry_random *r)
{
    int64_t pixels;

    if (!make_shape(&p->shape, r)) {
        return false;
    }
    p->halo = conv_s8_halo_of(&p->shape);
    p->zero = (uint8_t)spry_random_below(r, 256);
    p->flip = spry_random_below(r, 2) == 0 ? 0x80 : 0;
    pixels = p->shape.in_h * p->shape.in_w;
    p->image = room(p->shape.channels * pixels);
    p->halos = room(p->shape.channels * p->halo.bytes + CONV_S8_SLACK);
    for (int64_t i = 0; i < p->shape.channels * pixels; i++) {
        p->image[i] = (uint8_t)spry_random_below(r, 256);
    }
    for (int64_t c = 0; c < p->shape.channels; c++) {
        conv_s8_add_halo(&p->shape, &p->halo, p->image + c * pixels, p->zero, p->flip,
                         p->halos + c * p->halo.bytes);
    }
    return true;
}

static void free_problem(problem *p)
{
    free(p->image);
    free(p->halos);
}

/* The byte that patch matrix row `k`, column `n` holds. */
static uint8_t expected_byte(const problem *p, int64_t k, int64_t n)
{
    const conv_f32_shape *s = &p->shape;
    int64_t taps = s->kernel_h * s->kernel_w;
    int64_t y = n / s->out_w * s->stride_h - s->pad_h + k % taps / s->kernel_w * s->dilation_h;
    int64_t x = n % s->out_w * s->stride_w - s->pad_w + k % s->kernel_w * s->dilation_w;

    if (y < 0 || y >= s->in_h || x < 0 || x >= s->in_w) {
        return p->zero ^ p->flip;
    }
    return p->image[(k / taps * s->in_h + y) * s->in_w + x] ^ p->flip;
}

static void check_patches(const problem *p, int64_t first, int64_t count, int width)
{
    const conv_f32_shape *s = &p->shape;
    conv_s8_image image = {s, &p->halo, p->halos};
    int64_t k = s->channels * s->kernel_h * s->kernel_w;
    uint8_t *packed = room(gemm_s8_packed_size(count, k, width) + GEMM_S8_SLACK);

    conv_s8_pack(&image, first, count, width, packed);
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *panel = packed + i / width * width * gemm_s8_padded(k);

        for (int64_t step = 0; step < k; step++) {
            const uint8_t *four = panel + (step / 4 * width + i % width) * 4;

            assert_int_equal(four[step % 4], expected_byte(p, step, first + i));
        }
    }
    free(packed);
}

static void test_patches(void **state)
{
    static const int widths[] = {8, 16, 64};
    spry_random r = spry_random_stream(11, 0);

    (void)state;
    for (int i = 0; i < CASES; i++) {
        problem p;

        if (make_problem(&p, &r)) {
            int64_t columns = p.shape.out_h * p.shape.out_w;
            int width = widths[i % 3];
            int64_t first = between(&r, 0, (columns - 1) / width) * width;

            check_patches(&p, first, between(&r, 1, columns - first), width);
            free_problem(&p);
        }
    }
}

static int32_t expected_sum(const problem *p, const int16_t *weights, int64_t n)
{
    int64_t taps = p->shape.kernel_h * p->shape.kernel_w;
    int32_t sum = 0;

    for (int64_t k = 0; k < taps; k++) {
        sum += weights[k] * expected_byte(p, k, n);
    }
    return sum;
}

static void check_depthwise(const problem *p, const conv_s8_depthwise_kernel *kernel,
                            const int16_t *weights, const gemm_s8_finish *finish)
{
    int64_t columns = p->shape.out_h * p->shape.out_w;
    quantize_target target = {finish->low, finish->high, finish->zero};
    int32_t *out = room(columns * (int64_t)sizeof *out);
    conv_s8_plane plane = {&p->shape, &p->halo, p->halos, weights, finish, 1, out};

    kernel->run(&plane);
    for (int64_t n = 0; n < columns; n++) {
        int32_t sum = expected_sum(p, weights, n) + finish->row_offset[1];

        if (finish->result == GEMM_S8_SUMS) {
            assert_int_equal(out[n], sum);
        } else {
            assert_int_equal(((const uint8_t *)out)[n],
                             (uint8_t)quantize_accumulator(sum, finish->row_factor[1], target));
        }
    }
    free(out);
}

static void test_depthwise(void **state)
{
    spry_random r = spry_random_stream(12, 0);

    (void)state;
    for (int i = 0; i < CASES; i++) {
        int16_t weights[32];
        int32_t offsets[2] = {0, (int32_t)between(&r, -1000, 1000)};
        float factors[2] = {0.0f, i % 5 == 0 ? 0.5f : 0.003f};
        gemm_s8_finish finish = {.result = i % 3 == 0 ? GEMM_S8_SUMS : GEMM_S8_BYTES,
                                 .row_offset = offsets,
                                 .row_factor = factors,
                                 .zero = -3,
                                 .low = -128,
                                 .high = 127};
        problem p;

        for (int k = 0; k < 32; k++) {
            weights[k] = (int16_t)between(&r, -255, 255);
        }
        if (!make_problem(&p, &r)) {
            continue;
        }
        for (int v = 0; v < conv_s8_depthwise_variant_count; v++) {
            if (isa_usable(conv_s8_depthwise_variants[v].level)) {
                check_depthwise(&p, conv_s8_depthwise_variants[v].table, weights, &finish);
            }
        }
        free_problem(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patches),
        cmocka_unit_test(test_depthwise),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
