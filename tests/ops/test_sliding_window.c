/* Convolution and pooling against loops that follow the definitions, element by element. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/op_harness.h"
#include "tensor/convert.h"

enum { ROUNDS = 60, MOST_AXES = 3, MOST_ELEMENTS = 20000 };

/* A random window over `axes` axes. */
typedef struct geometry {
    int axes;
    int64_t in[MOST_AXES], kernel[MOST_AXES], stride[MOST_AXES], dilation[MOST_AXES];
    int64_t pads[2 * MOST_AXES];
    int64_t out[MOST_AXES];
} geometry;

static void draw_geometry(op_harness *h, geometry *g, bool small_pads, bool ceil_mode)
{
    g->axes = 1 + (int)op_harness_next(h, MOST_AXES);
    for (int i = 0; i < g->axes; i++) {
        int64_t reach;
        int64_t room;

        g->kernel[i] = 1 + op_harness_next(h, 4);
        g->stride[i] = 1 + op_harness_next(h, 3);
        g->dilation[i] = 1 + op_harness_next(h, 2);
        g->pads[i] = op_harness_next(h, small_pads ? g->kernel[i] : 4);
        g->pads[g->axes + i] = op_harness_next(h, small_pads ? g->kernel[i] : 4);
        reach = (g->kernel[i] - 1) * g->dilation[i] + 1;
        g->in[i] = reach + op_harness_next(h, 8);
        room = g->in[i] + g->pads[i] + g->pads[g->axes + i] - reach;
        g->out[i] = room / g->stride[i] + 1;
        if (ceil_mode && room % g->stride[i] != 0 &&
            g->out[i] * g->stride[i] < g->in[i] + g->pads[i]) {
            g->out[i]++;
        }
    }
}

static void set_geometry(op_harness *h, const geometry *g)
{
    op_harness_ints(h, "strides", g->axes, g->stride);
    op_harness_ints(h, "dilations", g->axes, g->dilation);
    op_harness_ints(h, "pads", 2 * g->axes, g->pads);
    op_harness_ints(h, "kernel_shape", g->axes, g->kernel);
}

static int64_t product_of(const int64_t *sizes, int count)
{
    int64_t product = 1;

    for (int i = 0; i < count; i++) {
        product *= sizes[i];
    }
    return product;
}

/* Offset of the input pixel that output pixel `o` sees through position `k`; -1: padding inside the
 * declared pads; -2: beyond them. */
static int64_t seen(const geometry *g, int64_t o, int64_t k)
{
    int64_t offset = 0;
    int64_t step = 1;
    bool padding = false;

    for (int i = g->axes - 1; i >= 0; i--) {
        int64_t at = o % g->out[i] * g->stride[i] - g->pads[i] + k % g->kernel[i] * g->dilation[i];

        if (at >= g->in[i] + g->pads[g->axes + i]) {
            return -2;
        }
        padding = padding || at < 0 || at >= g->in[i];
        offset += at * step;
        step *= g->in[i];
        o /= g->out[i];
        k /= g->kernel[i];
    }
    return padding ? -1 : offset;
}

/* ---- Conv ---- */

static void expect_conv(const op_harness *h, const geometry *g, int64_t group, double tolerance)
{
    static double expected[MOST_ELEMENTS];
    const tensor *x = &h->inputs[0].tensor;
    const tensor *w = &h->inputs[1].tensor;
    const tensor *y = op_harness_output(h, 0);
    int64_t taps = product_of(g->kernel, g->axes);
    int64_t pixels = product_of(g->out, g->axes);
    int64_t plane = product_of(g->in, g->axes);

    assert_true(tensor_count(y) <= MOST_ELEMENTS);
    assert_int_equal(tensor_count(y), x->shape[0] * w->shape[0] * pixels);
    for (int64_t i = 0; i < tensor_count(y); i++) {
        int64_t m = i / pixels % w->shape[0];
        int64_t n = i / pixels / w->shape[0];
        int64_t first = m / (w->shape[0] / group) * w->shape[1];

        expected[i] = h->input_count > 2 ? convert_get_f64(&h->inputs[2].tensor, m) : 0.0;
        for (int64_t c = 0; c < w->shape[1]; c++) {
            for (int64_t k = 0; k < taps; k++) {
                int64_t at = seen(g, i % pixels, k);

                if (at >= 0) {
                    expected[i] += convert_get_f64(w, (m * w->shape[1] + c) * taps + k) *
                                   convert_get_f64(x, (n * x->shape[1] + first + c) * plane + at);
                }
            }
        }
    }
    op_harness_expect_f64(h, 0, expected, tolerance);
}

static void draw_conv(op_harness *h, geometry *g, spry_dtype dtype, int64_t group, bool bias)
{
    int64_t x[5] = {1 + op_harness_next(h, 2), group * (1 + op_harness_next(h, 3))};
    int64_t w[5] = {group * (1 + op_harness_next(h, 3)), x[1] / group};

    draw_geometry(h, g, false, false);
    set_geometry(h, g);
    op_harness_int(h, "group", group);
    memcpy(x + 2, g->in, sizeof g->in);
    memcpy(w + 2, g->kernel, sizeof g->kernel);
    op_harness_any(h, dtype, 2 + g->axes, x, false);
    op_harness_any(h, dtype, 2 + g->axes, w, false);
    if (bias) {
        op_harness_any(h, dtype, 1, w, false);
    }
}

static void test_conv(void **state)
{
    static const spry_dtype dtypes[] = {SPRY_DTYPE_F32, SPRY_DTYPE_F64, SPRY_DTYPE_F16,
                                        SPRY_DTYPE_BF16};

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        spry_dtype dtype = dtypes[round % 4];
        geometry g;
        op_harness h;
        int64_t group = 1 + round % 3;

        op_harness_init(&h, "", "Conv", 11);
        h.state = (uint64_t)round;
        draw_conv(&h, &g, dtype, group, round % 2 == 0);
        op_harness_run(&h, 1);
        expect_conv(&h, &g, group, dtype == SPRY_DTYPE_BF16 ? 5e-3 : 1e-3);
        op_harness_fini(&h);
    }
}

static void test_conv_integer(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        spry_dtype dtype = round % 2 == 0 ? SPRY_DTYPE_U8 : SPRY_DTYPE_I8;
        geometry g;
        op_harness h;

        op_harness_init(&h, "", "ConvInteger", 10);
        h.state = (uint64_t)round;
        draw_conv(&h, &g, dtype, 1 + round % 2, false);
        op_harness_run(&h, 1);
        expect_conv(&h, &g, 1 + round % 2, 0);
        op_harness_fini(&h);
    }
}

/* y . conv(x) = x . transposed(y) for every x and y: the definition of the transpose. */
static void test_conv_transpose(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t group = 1 + round % 3;
        int64_t shape[5];
        int64_t more[MOST_AXES];
        geometry g;
        op_harness h;
        op_harness t;
        double left = 0.0;
        double right = 0.0;

        op_harness_init(&h, "", "Conv", 11);
        h.state = (uint64_t)round;
        draw_conv(&h, &g, SPRY_DTYPE_F64, group, false);
        op_harness_run(&h, 1);
        op_harness_init(&t, "", "ConvTranspose", 11);
        set_geometry(&t, &g);
        op_harness_int(&t, "group", group);
        for (int i = 0; i < g.axes; i++) {
            more[i] = (g.in[i] + g.pads[i] + g.pads[g.axes + i] -
                       ((g.kernel[i] - 1) * g.dilation[i] + 1)) %
                      g.stride[i];
        }
        op_harness_ints(&t, "output_padding", g.axes, more);
        memcpy(shape, op_harness_output(&h, 0)->shape, sizeof shape);
        op_harness_any(&t, SPRY_DTYPE_F64, 2 + g.axes, shape, false);
        memcpy(shape, h.inputs[1].tensor.shape, sizeof shape);
        op_harness_f64s(&t, SPRY_DTYPE_F64, 2 + g.axes, shape, h.inputs[1].tensor.data);
        op_harness_run(&t, 1);
        op_harness_expect(&t, 0, SPRY_DTYPE_F64, 2 + g.axes, h.inputs[0].tensor.shape);
        for (int64_t i = 0; i < tensor_count(op_harness_output(&h, 0)); i++) {
            left += op_harness_f64_at(&h, 0, i) * convert_get_f64(&t.inputs[0].tensor, i);
        }
        for (int64_t i = 0; i < tensor_count(op_harness_output(&t, 0)); i++) {
            right += op_harness_f64_at(&t, 0, i) * convert_get_f64(&h.inputs[0].tensor, i);
        }
        assert_true(fabs(left - right) <= 1e-9 * (1.0 + fabs(left)));
        op_harness_fini(&t);
        op_harness_fini(&h);
    }
}

/* ---- pooling ---- */

typedef struct pool_law {
    const char *name;
    int opset;
} pool_law;

static double pooled(const op_harness *h, const geometry *g, char kind, bool count_pads, int64_t i)
{
    const tensor *x = &h->inputs[0].tensor;
    int64_t pixels = product_of(g->out, g->axes);
    int64_t base = i / pixels * product_of(g->in, g->axes);
    double sum = 0.0;
    double most = -INFINITY;
    int64_t count = 0;

    for (int64_t k = 0; k < product_of(g->kernel, g->axes); k++) {
        int64_t at = seen(g, i % pixels, k);
        double value_there = at >= 0 ? convert_get_f64(x, base + at) : 0.0;

        count += at >= 0 || (at == -1 && count_pads);
        sum += kind == 'L' ? value_there * value_there : value_there;
        most = at >= 0 && value_there > most ? value_there : most;
    }
    return kind == 'M' ? most : kind == 'L' ? sqrt(sum) : sum / (double)count;
}

static void test_pool(void **state)
{
    static const pool_law laws[] = {{"MaxPool", 12}, {"AveragePool", 19}, {"LpPool", 18}};
    static double expected[MOST_ELEMENTS];

    (void)state;
    for (int round = 0; round < 3 * ROUNDS; round++) {
        const pool_law *law = &laws[round % 3];
        bool ceil_mode = round % 2 == 0;
        bool count_pads = round % 4 < 2 && law->name[0] == 'A';
        int64_t x[5];
        geometry g;
        op_harness h;

        op_harness_init(&h, "", law->name, law->opset);
        h.state = (uint64_t)round;
        draw_geometry(&h, &g, true, ceil_mode);
        set_geometry(&h, &g);
        op_harness_int(&h, "ceil_mode", ceil_mode);
        op_harness_int(&h, "count_include_pad", count_pads);
        x[0] = 1 + op_harness_next(&h, 2);
        x[1] = 1 + op_harness_next(&h, 3);
        memcpy(x + 2, g.in, sizeof g.in);
        op_harness_any(&h, SPRY_DTYPE_F32, 2 + g.axes, x, false);
        op_harness_run(&h, 1);
        assert_int_equal(tensor_count(op_harness_output(&h, 0)),
                         x[0] * x[1] * product_of(g.out, g.axes));
        for (int64_t i = 0; i < tensor_count(op_harness_output(&h, 0)); i++) {
            expected[i] = pooled(&h, &g, law->name[0], count_pads, i);
        }
        op_harness_expect_f64(&h, 0, expected, 1e-6);
        op_harness_fini(&h);
    }
}

/* The second output says where the first came from. */
static void test_max_pool_indices(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t x[5] = {2, 3};
        geometry g;
        op_harness h;

        op_harness_init(&h, "", "MaxPool", 12);
        h.state = (uint64_t)round;
        draw_geometry(&h, &g, true, false);
        for (int i = 0; i < 2 * g.axes; i++) {
            g.pads[i] = 0;
        }
        set_geometry(&h, &g);
        memcpy(x + 2, g.in, sizeof g.in);
        op_harness_any(&h, round % 2 == 0 ? SPRY_DTYPE_F32 : SPRY_DTYPE_U8, 2 + g.axes, x, false);
        op_harness_run(&h, 2);
        for (int64_t i = 0; i < tensor_count(op_harness_output(&h, 0)); i++) {
            int64_t at = op_harness_i64_at(&h, 1, i);

            assert_true(convert_get_f64(&h.inputs[0].tensor, at) == op_harness_f64_at(&h, 0, i));
        }
        op_harness_fini(&h);
    }
}

/* ---- refusals ---- */

static spry_status try_conv(int64_t stride, int64_t pad, int64_t kernel, int64_t group)
{
    op_harness h;
    spry_status status;

    op_harness_init(&h, "", "Conv", 11);
    op_harness_ints(&h, "strides", 1, &stride);
    op_harness_ints(&h, "pads", 2, (int64_t[]){pad, pad});
    op_harness_int(&h, "group", group);
    op_harness_any(&h, SPRY_DTYPE_F32, 3, (int64_t[]){1, 2, 5}, false);
    op_harness_any(&h, SPRY_DTYPE_F32, 3, (int64_t[]){2, 2, kernel}, false);
    status = op_harness_try(&h, 1);
    op_harness_fini(&h);
    return status;
}

static void test_refusals(void **state)
{
    (void)state;
    assert_int_equal(try_conv(1, 0, 3, 1), SPRY_OK);
    assert_int_equal(try_conv(0, 0, 3, 1), SPRY_BAD_INPUT);
    assert_int_equal(try_conv(-1, 0, 3, 1), SPRY_BAD_INPUT);
    assert_int_equal(try_conv(INT64_MAX, 0, 3, 1), SPRY_BAD_INPUT);
    assert_int_equal(try_conv(1, -1, 3, 1), SPRY_BAD_INPUT);
    assert_int_equal(try_conv(1, INT64_MAX, 3, 1), SPRY_BAD_INPUT);
    assert_int_equal(try_conv(1, 0, 6, 1), SPRY_BAD_INPUT);
    assert_int_equal(try_conv(1, 0, 0, 1), SPRY_BAD_INPUT);
    assert_int_equal(try_conv(1, 0, 3, 0), SPRY_BAD_INPUT);
    assert_int_equal(try_conv(1, 0, 3, 2), SPRY_BAD_INPUT);
    assert_int_equal(try_conv(1, 0, 3, INT64_MAX), SPRY_BAD_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv),
        cmocka_unit_test(test_conv_integer),
        cmocka_unit_test(test_conv_transpose),
        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_max_pool_indices),
        cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
