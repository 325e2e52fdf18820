/* Channels-last pooling variants against direct loops over random geometries; of bytes, many small
 * ones with images that end where memory does. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/pool/pool_nhwc.h"
#include "support/cases.h"
#include "support/guarded.h"
#include "support/sample.h"

enum { MOST_IMAGES = 2, MOST_SIDE = 9, MOST_CHANNELS = 150, MOST_OUT = MOST_SIDE + 4 };

typedef struct pool_case {
    conv_f32_shape s;
    pool_nhwc_rows p;
    int64_t images;
    float in[MOST_IMAGES * MOST_SIDE * MOST_SIDE * MOST_CHANNELS];
    float out[MOST_IMAGES * MOST_OUT * MOST_OUT * MOST_CHANNELS];
    guarded bytes, most;
} pool_case;

enum {
    MOST_BYTES = MOST_IMAGES * MOST_SIDE * MOST_SIDE * MOST_CHANNELS,
    MOST_RESULTS = MOST_IMAGES * MOST_OUT * MOST_OUT * MOST_CHANNELS
};

static pool_case c;

static int64_t between(spry_random *r, int64_t low, int64_t high)
{
    return low + (int64_t)spry_random_below(r, (uint64_t)(high - low + 1));
}

/* A geometry in which every window holds a pixel. */
static void random_case(spry_random *r, int64_t channels, int64_t side)
{
    conv_f32_shape s = {.channels = between(r, 1, channels),
                        .in_h = between(r, 1, side),
                        .in_w = between(r, 1, side),
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
    c.s = s;
    c.images = between(r, 1, MOST_IMAGES);
    c.p = (pool_nhwc_rows){.shape = &c.s,
                           .count_padding = spry_random_below(r, 2) != 0,
                           .end_h = between(r, 0, 3),
                           .end_w = between(r, 0, 3)};
}

static int64_t inputs(void)
{
    return c.images * c.s.in_h * c.s.in_w * c.s.channels;
}

static int64_t results(void)
{
    return c.images * c.s.out_h * c.s.out_w * c.s.channels;
}

static void fill_bytes(spry_random *r)
{
    guarded_place(&c.bytes, (size_t)inputs(), spry_random_below(r, 4) != 0);
    guarded_place(&c.most, (size_t)results(), true);
    sample_bytes(r, c.bytes.data, (size_t)inputs());
}

/* What the window of output element `out` holds. */
typedef struct found {
    float max;
    double sum;
    int64_t bytes, signed_bytes;
    int pixels, counted;
    uint8_t most;
    int8_t most_signed;
} found;

static found look(int64_t out)
{
    const conv_f32_shape *s = &c.s;
    int64_t channel = out % s->channels;
    int64_t column = out / s->channels % s->out_w * s->stride_w - s->pad_w;
    int64_t row = out / s->channels / s->out_w % s->out_h * s->stride_h - s->pad_h;
    int64_t image = out / s->channels / s->out_w / s->out_h;
    found f = {.max = -INFINITY, .most_signed = INT8_MIN};

    for (int64_t y = row; y < row + s->kernel_h; y++) {
        for (int64_t x = column; x < column + s->kernel_w; x++) {
            int64_t at = ((image * s->in_h + y) * s->in_w + x) * s->channels + channel;

            f.counted += y < s->in_h + c.p.end_h && x < s->in_w + c.p.end_w;
            if (y >= 0 && y < s->in_h && x >= 0 && x < s->in_w) {
                uint8_t byte = c.bytes.data[at];

                f.max = c.in[at] > f.max ? c.in[at] : f.max;
                f.sum += (double)c.in[at];
                f.pixels++;
                f.bytes += byte;
                f.signed_bytes += (int8_t)byte;
                f.most = byte > f.most ? byte : f.most;
                f.most_signed = (int8_t)byte > f.most_signed ? (int8_t)byte : f.most_signed;
            }
        }
    }
    return f;
}

/* The rows in two parts, as threads take them. */
static void run(void (*rows)(const pool_nhwc_rows *p), const void *in, void *out)
{
    int64_t all = c.images * c.s.out_h;

    c.p.in = in;
    c.p.out = out;
    c.p.first = 0;
    c.p.count = all / 3;
    rows(&c.p);
    c.p.first = c.p.count;
    c.p.count = all - c.p.first;
    rows(&c.p);
}

static void check_bytes(const pool_nhwc_kernel *kernel)
{
    run(kernel->max_u8, c.bytes.data, c.most.data);
    for (int64_t i = 0; i < results(); i++) {
        assert_int_equal(c.most.data[i], look(i).most);
    }
    run(kernel->max_s8, c.bytes.data, c.most.data);
    for (int64_t i = 0; i < results(); i++) {
        assert_int_equal((int8_t)c.most.data[i], look(i).most_signed);
    }
}

/* Bytes stand for numbers. */
static void check_averages(const pool_nhwc_kernel *kernel, uint8_t flip)
{
    c.p.flip = flip;
    c.p.zero = 131;
    c.p.scale = 0.37f;
    run(kernel->average_bytes, c.bytes.data, c.out);
    for (int64_t i = 0; i < results(); i++) {
        found f = look(i);
        int64_t sum = (flip != 0 ? f.signed_bytes + f.pixels * 128 : f.bytes) - f.pixels * 131;
        double size = c.p.count_padding ? f.counted : f.pixels;
        double wanted = (double)sum * (double)c.p.scale / size;

        assert_true(fabs((double)c.out[i] - wanted) <= 1e-6 * fabs(wanted));
    }
}

static void check_windows(const pool_nhwc_kernel *kernel)
{
    int64_t count = results();

    run(kernel->max_f32, c.in, c.out);
    for (int64_t i = 0; i < count; i++) {
        assert_true(c.out[i] == look(i).max);
    }
    run(kernel->average_f32, c.in, c.out);
    for (int64_t i = 0; i < count; i++) {
        found f = look(i);
        double wanted = f.sum / (c.p.count_padding ? f.counted : f.pixels);

        assert_true(fabs((double)c.out[i] - wanted) < 1e-5);
    }
    check_bytes(kernel);
}

static void check_whole_image(const pool_nhwc_kernel *kernel)
{
    int64_t pixels = c.s.in_h * c.s.in_w;
    int64_t first = c.s.channels / 3;
    pool_nhwc_image p = {.in = c.in + first,
                         .pixels = pixels,
                         .channels = c.s.channels,
                         .count = c.s.channels - first,
                         .divisor = 3 * pixels,
                         .out = c.out};

    for (int kind = 0; kind < 2; kind++) {
        c.out[p.count] = 7.0f;
        (kind == 0 ? kernel->global_max : kernel->global_average)(&p);
        assert_true(c.out[p.count] == 7.0f);
        for (int64_t i = 0; i < p.count; i++) {
            float max = -INFINITY;
            double sum = 0;

            for (int64_t k = 0; k < pixels; k++) {
                float pixel = p.in[k * c.s.channels + i];

                max = pixel > max ? pixel : max;
                sum += (double)pixel;
            }
            assert_true(kind == 0 ? c.out[i] == max
                                  : fabs((double)c.out[i] - sum / (double)p.divisor) < 1e-5);
        }
    }
}

static void make_rooms(void)
{
    c.bytes = guarded_make(MOST_BYTES, true);
    c.most = guarded_make(MOST_RESULTS, true);
}

static void free_rooms(void)
{
    guarded_free(&c.bytes);
    guarded_free(&c.most);
}

static void test_pool(void **state)
{
    (void)state;
    make_rooms();
    for (int v = 0; v < pool_nhwc_variant_count; v++) {
        spry_random r = spry_random_stream(5, 0);

        for (int i = 0; i < 40 && isa_usable(pool_nhwc_variants[v].level); i++) {
            random_case(&r, MOST_CHANNELS, MOST_SIDE);
            fill_bytes(&r);
            spry_random_fill_uniform(&r, c.in, (size_t)inputs(), -1.0f, 1.0f);
            check_windows(pool_nhwc_variants[v].table);
            check_whole_image(pool_nhwc_variants[v].table);
        }
    }
    free_rooms();
}

static void test_bytes(void **state)
{
    spry_random r = spry_random_stream(6, 0);
    int64_t cases = cases_of("pools of bytes, every variant");

    (void)state;
    make_rooms();
    for (int64_t i = 0; i < cases; i++) {
        random_case(&r, i % 20 == 0 ? MOST_CHANNELS : 5, i % 10 == 0 ? 5 : 3);
        fill_bytes(&r);
        for (int v = 0; v < pool_nhwc_variant_count; v++) {
            if (isa_usable(pool_nhwc_variants[v].level)) {
                check_bytes(pool_nhwc_variants[v].table);
                check_averages(pool_nhwc_variants[v].table, 0);
                check_averages(pool_nhwc_variants[v].table, 0x80);
            }
        }
    }
    free_rooms();
}

/* A NaN loses against every number, also where it is seen first. */
static void test_nan(void **state)
{
    (void)state;
    for (int v = 0; v < pool_nhwc_variant_count; v++) {
        const pool_nhwc_kernel *kernel = pool_nhwc_variants[v].table;
        const float in[4] = {NAN, -3.0f, NAN, -5.0f};
        float out;
        pool_nhwc_image p = {.in = in, .pixels = 4, .channels = 1, .count = 1, .out = &out};

        if (isa_usable(pool_nhwc_variants[v].level)) {
            kernel->global_max(&p);
            assert_true(out == -3.0f);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_nan),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
