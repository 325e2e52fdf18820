/* Channels-last depthwise convolution of floats and bytes: every variant against plain loops over
 * random geometries, with images that end or begin where memory does; and worked examples. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/conv/depthwise_nhwc.h"
#include "support/guarded.h"
#include "support/sample.h"
#include "tensor/quantize.h"

enum { ROUNDS = 150, CANARY = 0xA5 };

typedef struct trial {
    spry_random r;
    depthwise_nhwc_problem p;
    int64_t channels; /* of the output */
    int64_t in_count, out_pixels, taps;
    int64_t y_pitch; /* bytes */
    uint8_t flip, zero, w_flip;
    int32_t w_zero;
    guarded x, y;
    void *weights;
    float *bias, *residual, *factor;
    int32_t *offset;
    brgemm_finish finish;
} trial;

static int64_t pick(trial *t, const int64_t *from, int64_t count)
{
    return from[sample_integer(&t->r, 0, count - 1)];
}

static int64_t outputs(int64_t in, int64_t pads, int64_t kernel, int64_t dilation, int64_t stride)
{
    int64_t room = in + pads - (kernel - 1) * dilation - 1;

    return room < 0 ? 0 : room / stride + 1;
}

/* Often the kernels that have code of their own; false when there is no output. */
static bool make_shape(trial *t)
{
    static const int64_t channels[] = {1, 2, 3, 5, 8, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 130};
    static const int64_t kernels[] = {3, 5, 7};
    conv_f32_shape *s = &t->p.shape;
    bool is_common = sample_integer(&t->r, 0, 2) > 0;
    int64_t size = pick(t, kernels, 3);

    *s = (conv_f32_shape){
        .channels = pick(t, channels, 16),
        .in_h = sample_integer(&t->r, 1, 12),
        .in_w = sample_integer(&t->r, 1, 40),
        .kernel_h = is_common ? size : sample_integer(&t->r, 1, 7),
        .kernel_w = is_common ? size : sample_integer(&t->r, 1, 7),
        .stride_h = sample_integer(&t->r, 1, is_common ? 2 : 4),
        .dilation_h = is_common ? 1 : sample_integer(&t->r, 1, 3),
        .dilation_w = is_common ? 1 : sample_integer(&t->r, 1, 3),
        .pad_h = sample_integer(&t->r, 0, is_common ? size / 2 : 4),
        .pad_w = sample_integer(&t->r, 0, is_common ? size / 2 : 9),
    };
    s->stride_w = is_common ? s->stride_h : sample_integer(&t->r, 1, 4);
    s->out_h = outputs(s->in_h, s->pad_h + sample_integer(&t->r, 0, 4), s->kernel_h, s->dilation_h,
                       s->stride_h);
    s->out_w = outputs(s->in_w, s->pad_w + sample_integer(&t->r, 0, 4), s->kernel_w, s->dilation_w,
                       s->stride_w);
    t->p.batch = sample_integer(&t->r, 1, 3);
    t->p.multiplier = sample_integer(&t->r, 0, 3) == 0 ? sample_integer(&t->r, 2, 5) : 1;
    t->p.depth = 1;
    if (t->p.type == BRGEMM_F32 &&
        sample_integer(&t->r, 0, 2) == 0) { /* groups of a few channels */
        t->p.depth = sample_integer(&t->r, 1, 16);
        t->p.multiplier = sample_integer(&t->r, 1, 20);
        s->channels = t->p.depth * sample_integer(&t->r, 1, 9);
    }
    t->channels = depthwise_nhwc_outputs(&t->p);
    t->taps = s->kernel_h * s->kernel_w;
    t->in_count = t->p.batch * s->in_h * s->in_w * s->channels;
    t->out_pixels = t->p.batch * s->out_h * s->out_w;
    return s->out_h > 0 && s->out_w > 0;
}

static void *room(int64_t bytes)
{
    void *memory = malloc((size_t)bytes);

    assert_non_null(memory);
    return memory;
}

static float *floats(trial *t, int64_t count)
{
    float *values = room(count * (int64_t)sizeof *values);

    sample_f32(&t->r, values, (size_t)count);
    return values;
}

/* Two steps that a vectorised activation may take in any pieces. */
static void twice_plus_one(float *to, const float *from, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        to[i] = from[i] * 2.0f + 1.0f;
    }
}

static void make_images(trial *t, int64_t in_size)
{
    int64_t least = t->channels * (int64_t)t->p.result_size;
    bool at_end = sample_integer(&t->r, 0, 1) == 0;

    t->y_pitch = least;
    if (sample_integer(&t->r, 0, 2) == 0) { /* a slice of more channels */
        t->y_pitch += sample_integer(&t->r, 1, 40) * (int64_t)t->p.result_size;
    }
    t->x = guarded_make((size_t)(t->in_count * in_size), at_end);
    /* The pixels after the last one's channels are nobody's. */
    t->y = guarded_make((size_t)((t->out_pixels - 1) * t->y_pitch + least), at_end);
}

static void make_finish(trial *t)
{
    t->bias = floats(t, t->channels);
    t->residual = floats(t, t->out_pixels * t->channels);
    t->finish = (brgemm_finish){.lower = -INFINITY, .upper = INFINITY};
    if (sample_integer(&t->r, 0, 1) == 0) {
        t->finish.bias = t->bias;
    }
    if (sample_integer(&t->r, 0, 2) == 0) {
        t->finish.residual = t->residual;
    }
    if (sample_integer(&t->r, 0, 3) == 0) {
        t->finish.activate = twice_plus_one;
    } else if (sample_integer(&t->r, 0, 1) == 0) {
        t->finish.lower = 0.0f;
        t->finish.upper = 6.0f;
    }
}

static void free_trial(trial *t)
{
    guarded_free(&t->x);
    guarded_free(&t->y);
    free(t->weights);
    free(t->bias);
    free(t->residual);
    free(t->factor);
    free(t->offset);
}

/* Runs a variant, the pieces of work cut for a random team. */
static void run(trial *t, const depthwise_nhwc_kernel *kernel)
{
    depthwise_nhwc d;
    depthwise_nhwc_call call = {.d = &d,
                                .x = t->x.data,
                                .flip = t->flip,
                                .zero = t->zero,
                                .y = t->y.data,
                                .y_pitch = t->y_pitch,
                                .finish = t->finish};
    guarded packed;

    memset(t->y.data, CANARY,
           (size_t)((t->out_pixels - 1) * t->y_pitch + t->channels * (int64_t)t->p.result_size));
    depthwise_nhwc_plan(&t->p, kernel, (int)sample_integer(&t->r, 1, 9), &d);
    packed = guarded_make((size_t)d.packed_bytes, true);
    depthwise_nhwc_pack(&d, t->weights, t->w_flip, t->w_zero, packed.data);
    call.packed = packed.data;
    for (int64_t piece = d.pieces; piece > 0; piece--) {
        depthwise_nhwc_run(&call, piece - 1, piece, 0);
    }
    guarded_free(&packed);
}

/* The index into x of the first channel that kernel position `tap` of output channel `channel`
 * sees, or -1. */
static int64_t source(const trial *t, int64_t pixel, int64_t channel, int64_t tap)
{
    const conv_f32_shape *s = &t->p.shape;
    int64_t in_image = pixel / (s->out_h * s->out_w) * s->in_h;
    int64_t y =
        pixel / s->out_w % s->out_h * s->stride_h - s->pad_h + tap / s->kernel_w * s->dilation_h;
    int64_t x = pixel % s->out_w * s->stride_w - s->pad_w + tap % s->kernel_w * s->dilation_w;

    if (y < 0 || y >= s->in_h || x < 0 || x >= s->in_w) {
        return -1;
    }
    return ((in_image + y) * s->in_w + x) * s->channels + channel / t->p.multiplier * t->p.depth;
}

/* The finish of a float, in double precision where it matters. */
static double finished(const trial *t, double sum, int64_t pixel, int64_t channel)
{
    const brgemm_finish *f = &t->finish;

    sum += f->bias != NULL ? (double)f->bias[channel] : 0.0;
    sum += f->residual != NULL ? (double)f->residual[pixel * t->channels + channel] : 0.0;
    if (f->activate != NULL) {
        return sum * 2.0 + 1.0;
    }
    sum = sum < (double)f->lower ? (double)f->lower : sum;
    return sum > (double)f->upper ? (double)f->upper : sum;
}

static void check_untouched(const trial *t)
{
    int64_t used = t->channels * (int64_t)t->p.result_size;

    for (int64_t pixel = 0; pixel + 1 < t->out_pixels; pixel++) {
        for (int64_t i = used; i < t->y_pitch; i++) {
            assert_int_equal(t->y.data[pixel * t->y_pitch + i], CANARY);
        }
    }
}

static void check_floats(const trial *t, const char *name)
{
    for (int64_t i = 0; i < t->out_pixels * t->channels; i++) {
        int64_t channel = i % t->channels;
        double sum = 0.0;
        double scale = 1.0;
        float got;
        double wanted;

        for (int64_t tap = 0; tap < t->taps; tap++) {
            int64_t at = source(t, i / t->channels, channel, tap);

            for (int64_t c = 0; at >= 0 && c < t->p.depth; c++) {
                const float *weights =
                    (const float *)t->weights + (channel * t->p.depth + c) * t->taps;
                double product =
                    (double)((const float *)(const void *)t->x.data)[at + c] * (double)weights[tap];

                sum += product;
                scale += fabs(product);
            }
        }
        wanted = finished(t, sum, i / t->channels, channel);
        memcpy(&got, t->y.data + i / t->channels * t->y_pitch + channel * 4, sizeof got);
        if (!(fabs((double)got - wanted) <= 1e-6 * (scale + fabs(wanted)))) {
            fail_msg("%s: element %lld is %g, not %g", name, (long long)i, (double)got, wanted);
        }
    }
    check_untouched(t);
}

static void test_floats(void **state)
{
    depthwise_nhwc_variants all = depthwise_nhwc_variants_of(BRGEMM_F32);

    (void)state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        trial t = {.r = spry_random_stream(61, round)};

        t.p.type = BRGEMM_F32;
        t.p.result_size = sizeof(float);
        if (!make_shape(&t)) {
            continue;
        }
        make_images(&t, sizeof(float));
        make_finish(&t);
        sample_f32(&t.r, (float *)(void *)t.x.data, (size_t)t.in_count);
        t.weights = floats(&t, t.channels * t.p.depth * t.taps);
        for (int v = 0; v < all.count; v++) {
            if (isa_usable(all.list[v].level) &&
                depthwise_nhwc_can(all.list[v].table, &t.p, 0, 0)) {
                run(&t, all.list[v].table);
                check_floats(&t, all.list[v].name);
            }
        }
        free_trial(&t);
    }
}

/* ---- bytes ---- */

static void make_bytes_finish(trial *t)
{
    bool is_signed = sample_integer(&t->r, 0, 1) == 0;

    make_finish(t);
    t->factor = room(t->channels * (int64_t)sizeof(float));
    t->offset = room(t->channels * (int64_t)sizeof(int32_t));
    for (int64_t c = 0; c < t->channels; c++) {
        t->factor[c] = (float)sample_integer(&t->r, 1, 1000) * 1e-5f;
        t->offset[c] = (int32_t)sample_integer(&t->r, -100000, 100000);
    }
    if (sample_integer(&t->r, 0, 7) == 0) { /* beyond what a conversion holds */
        t->factor[0] = 3e8f;
        t->factor[t->channels - 1] = NAN;
    }
    t->finish.offset = sample_integer(&t->r, 0, 3) > 0 ? t->offset : NULL;
    t->finish.factor = sample_integer(&t->r, 0, 5) > 0 ? t->factor : NULL;
    t->finish.low = is_signed ? -128 : 0;
    t->finish.high = t->finish.low + 255;
    t->finish.zero = (int32_t)sample_integer(&t->r, t->finish.low, t->finish.high);
    if (sample_integer(&t->r, 0, 2) == 0) { /* a fused clamp */
        t->finish.low = t->finish.zero;
        t->finish.high = (int32_t)sample_integer(&t->r, t->finish.low, t->finish.high);
    }
    t->finish.result = t->p.result_size == 1              ? BRGEMM_BYTES
                       : sample_integer(&t->r, 0, 1) == 0 ? BRGEMM_SUMS
                                                          : BRGEMM_FLOATS;
}

static int32_t byte_sum(const trial *t, int64_t pixel, int64_t channel)
{
    const uint8_t *weights = t->weights;
    int32_t sum = 0;

    for (int64_t tap = 0; tap < t->taps; tap++) {
        int64_t at = source(t, pixel, channel, tap);
        int32_t x = (at >= 0 ? t->x.data[at] : t->zero) ^ t->flip;

        sum += x * ((int8_t)(weights[channel * t->taps + tap] ^ t->w_flip) - t->w_zero);
    }
    return t->finish.offset != NULL ? sum + t->finish.offset[channel] : sum;
}

static void check_bytes(const trial *t, const char *name)
{
    const brgemm_finish *f = &t->finish;
    quantize_target target = {f->low, f->high, f->zero};

    for (int64_t i = 0; i < t->out_pixels * t->channels; i++) {
        int64_t channel = i % t->channels;
        const uint8_t *y =
            t->y.data + i / t->channels * t->y_pitch + channel * (int64_t)t->p.result_size;
        int32_t sum = byte_sum(t, i / t->channels, channel);
        float scaled = (float)sum * (f->factor != NULL ? f->factor[channel] : 1.0f);
        int32_t got;
        float real;

        if (f->result == BRGEMM_BYTES) {
            if (*y != (uint8_t)quantize_scaled(scaled, target)) {
                fail_msg("%s: element %lld is %d, not %d", name, (long long)i, *y,
                         (uint8_t)quantize_scaled(scaled, target));
            }
        } else if (f->result == BRGEMM_SUMS) {
            memcpy(&got, y, sizeof got);
            assert_int_equal(got, sum);
        } else if (isfinite(scaled)) {
            double wanted = finished(t, (double)scaled, i / t->channels, channel);

            memcpy(&real, y, sizeof real);
            assert_true(fabs((double)real - wanted) <= 1e-6 * (1.0 + fabs((double)scaled)));
        }
    }
    check_untouched(t);
}

static void test_bytes(void **state)
{
    depthwise_nhwc_variants all = depthwise_nhwc_variants_of(BRGEMM_S8);

    (void)state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        trial t = {.r = spry_random_stream(62, round)};

        t.p.type = BRGEMM_S8;
        t.p.result_size = sample_integer(&t.r, 0, 3) > 0 ? 1 : 4;
        if (!make_shape(&t)) {
            continue;
        }
        make_images(&t, 1);
        make_bytes_finish(&t);
        sample_u8(&t.r, t.x.data, (size_t)t.in_count);
        t.weights = room(t.channels * t.taps);
        sample_u8(&t.r, t.weights, (size_t)(t.channels * t.taps));
        t.flip = sample_integer(&t.r, 0, 1) == 0 ? 0x80 : 0;
        t.w_flip = sample_integer(&t.r, 0, 1) == 0 ? 0x80 : 0;
        t.w_zero = sample_integer(&t.r, 0, 2) == 0 ? (int32_t)sample_integer(&t.r, -128, 127) : 0;
        t.zero = (uint8_t)sample_integer(&t.r, 0, 255);
        for (int v = 0; v < all.count; v++) {
            const depthwise_nhwc_kernel *kernel = all.list[v].table;

            if (isa_usable(all.list[v].level) &&
                depthwise_nhwc_can(kernel, &t.p, -128 - t.w_zero, 127 - t.w_zero)) {
                run(&t, kernel);
                check_bytes(&t, kernel->name);
            }
        }
        free_trial(&t);
    }
}

static void test_selection(void **state)
{
    (void)state;
    for (int64_t channels = 1; channels < 200; channels++) {
        depthwise_nhwc_problem p = {
            .shape = {.channels = channels}, .batch = 1, .depth = 1, .type = BRGEMM_S8};

        for (p.multiplier = 1; p.multiplier < 4; p.multiplier++) {
            assert_true(depthwise_nhwc_can(depthwise_nhwc_select(&p, -128, 127), &p, -128, 127));
            assert_true(depthwise_nhwc_can(depthwise_nhwc_select(&p, -255, 255), &p, -255, 255));
        }
        p.type = BRGEMM_F32;
        assert_int_equal(depthwise_nhwc_select(&p, 0, 0)->type, BRGEMM_F32);
    }
}

/* ---- worked examples ---- */

enum { WIDE = 70 }; /* channels: whole blocks of every variant, and a part */

/* A convolution of WIDE equal channels by equal weights; y has room for its pixels. */
static void run_equal(const depthwise_nhwc_kernel *kernel, const conv_f32_shape *shape,
                      const uint8_t *x, uint8_t zero, int8_t weight, const brgemm_finish *finish,
                      void *y)
{
    depthwise_nhwc_problem p = {*shape, 1, 1, 1, BRGEMM_S8, finish->result == BRGEMM_BYTES ? 1 : 4};
    int64_t pixels = shape->in_h * shape->in_w;
    int64_t taps = shape->kernel_h * shape->kernel_w;
    uint8_t *image = room(pixels * WIDE);
    uint8_t *weights = room(taps * WIDE);
    depthwise_nhwc d;
    depthwise_nhwc_call call = {.d = &d, .x = image, .zero = zero, .y = y, .finish = *finish};
    void *packed;

    p.shape.channels = WIDE;
    for (int64_t i = 0; i < pixels * WIDE; i++) {
        image[i] = x[i / WIDE];
    }
    memset(weights, (uint8_t)weight, (size_t)(taps * WIDE));
    depthwise_nhwc_plan(&p, kernel, 1, &d);
    packed = room(d.packed_bytes);
    depthwise_nhwc_pack(&d, weights, 0, 0, packed);
    call.packed = packed;
    call.y_pitch = WIDE * (int64_t)p.result_size;
    depthwise_nhwc_run(&call, 0, d.pieces, 0);
    free(packed);
    free(weights);
    free(image);
}

/* Sums that instructions saturating in 16 bits get wrong: four times 255 x 127. */
static void check_large_products(const depthwise_nhwc_kernel *kernel)
{
    const conv_f32_shape shape = {WIDE, 4, 1, 1, 1, 4, 1, 1, 1, 1, 1, 0, 0};
    const uint8_t x[4] = {255, 255, 255, 255};
    const brgemm_finish finish = {.result = BRGEMM_SUMS};
    int32_t y[WIDE];

    run_equal(kernel, &shape, x, 0, 127, &finish, y);
    for (int i = 0; i < WIDE; i++) {
        assert_int_equal(y[i], 129540);
    }
}

/* Padding is the zero point: an image of nothing else gives the bias everywhere. */
static void check_borders(const depthwise_nhwc_kernel *kernel)
{
    const conv_f32_shape shape = {WIDE, 5, 5, 5, 5, 3, 3, 1, 1, 1, 1, 1, 1};
    uint8_t x[25];
    uint8_t y[25 * WIDE];
    int32_t offset[WIDE];
    float factor[WIDE];
    brgemm_finish finish = {.result = BRGEMM_BYTES, .offset = offset, .factor = factor, .zero = 7};

    memset(x, 128, sizeof x);
    finish.high = 255;
    for (int i = 0; i < WIDE; i++) {
        offset[i] = 40 - 128 * 9 * -3; /* a bias of 40 steps, the zero point taken off */
        factor[i] = 0.25f;
    }
    run_equal(kernel, &shape, x, 128, -3, &finish, y);
    for (int i = 0; i < 25 * WIDE; i++) {
        assert_int_equal(y[i], 17);
    }
}

/* Halves go to even, then the zero point is added, then the result saturates. */
static void check_rounding(const depthwise_nhwc_kernel *kernel)
{
    static const struct {
        int32_t sum, zero, wanted;
    } cases[] = {{5, 0, 2}, {7, 0, 4}, {-5, 0, -2}, {5, 3, 5}, {7, -100, -96}, {600, 0, 127}};
    const conv_f32_shape shape = {WIDE, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0};
    const uint8_t x = 0;

    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        int32_t offset[WIDE];
        float factor[WIDE];
        int8_t y[WIDE];
        brgemm_finish finish = {.result = BRGEMM_BYTES,
                                .offset = offset,
                                .factor = factor,
                                .zero = cases[c].zero,
                                .low = -128,
                                .high = 127};

        for (int i = 0; i < WIDE; i++) {
            offset[i] = cases[c].sum;
            factor[i] = i < 32 ? 0.5f : 0.49999997f;
        }
        run_equal(kernel, &shape, &x, 0, 1, &finish, y);
        assert_int_equal(y[0], cases[c].wanted);
    }
}

static void test_worked_examples(void **state)
{
    depthwise_nhwc_variants all = depthwise_nhwc_variants_of(BRGEMM_S8);

    (void)state;
    for (int v = 0; v < all.count; v++) {
        if (isa_usable(all.list[v].level)) {
            check_large_products(all.list[v].table);
            check_borders(all.list[v].table);
            check_rounding(all.list[v].table);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_selection),
        cmocka_unit_test(test_worked_examples),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
