/* What convolutions of integers must be, exactly: the identity, shifts with the zero point at the
 * border, linear in the weights, sums that no 16 bits hold; and what is done with bad inputs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/infer.h"
#include "runtime/execute.h"
#include "runtime/plan.h"
#include "support/net_run.h"
#include "support/sample.h"

enum { ROUNDS = 60, MOST = 1 << 16 };

/* A convolution of two axes, of u8 by s8. */
typedef struct geometry {
    int64_t x[4], w[4]; /* shapes */
    int64_t groups, strides[2], dilations[2], pads[4];
} geometry;

static int64_t count_of(const int64_t *shape)
{
    int64_t count = shape[0] * shape[1] * shape[2] * shape[3];

    assert_true(count <= MOST);
    return count;
}

static value bytes_value(const int64_t *shape, uint8_t *bytes)
{
    value v;

    value_init(&v, NULL);
    assert_int_equal(tensor_init(&v.tensor, SPRY_DTYPE_U8, 4, shape, bytes, NULL), SPRY_OK);
    v.kind = SPRY_VALUE_TENSOR;
    v.dtype = SPRY_DTYPE_U8;
    return v;
}

static void set_attributes(const net *n, int32_t node, const geometry *g)
{
    assert_int_equal(graph_set_int(n->g, node, "group", g->groups, NULL), SPRY_OK);
    assert_int_equal(graph_set_ints(n->g, node, "strides", 2, g->strides, NULL), SPRY_OK);
    assert_int_equal(graph_set_ints(n->g, node, "dilations", 2, g->dilations, NULL), SPRY_OK);
    assert_int_equal(graph_set_ints(n->g, node, "pads", 4, g->pads, NULL), SPRY_OK);
}

/* Exact sums of x - zero by w, executed by `by`; *y is released by the caller. */
static void convolve(const geometry *g, uint8_t *x, uint8_t zero, const int8_t *w, const char *by,
                     value *y)
{
    value input = bytes_value(g->x, x);
    const value *inputs[] = {&input};
    net n;

    net_init(&n, 13);
    (void)net_input(&n, "x", SPRY_DTYPE_U8, 4, g->x);
    (void)net_constant(&n, "w", SPRY_DTYPE_I8, 4, g->w, w);
    (void)net_constant(&n, "zero", SPRY_DTYPE_U8, 0, NULL, &zero);
    set_attributes(&n, net_node(&n, "ConvInteger", "x w zero", "y"), g);
    net_output(&n, "y");
    net_run(&n, true, by, 1, inputs, y);
    net_fini(&n);
}

static geometry plain(int64_t channels, int64_t side, int64_t filters, int64_t kernel, int64_t pad)
{
    return (geometry){.x = {1, channels, side, side},
                      .w = {filters, channels, kernel, kernel},
                      .groups = 1,
                      .strides = {1, 1},
                      .dilations = {1, 1},
                      .pads = {pad, pad, pad, pad}};
}

/* ---- identity and shifts ---- */

/* Bytes in, the same bytes out, moved by the position of the kernel's ones: what comes in at the
 * border is the zero point. */
static void check_shift(int64_t kernel, int64_t tap, uint8_t zero)
{
    enum { CHANNELS = 7, SIDE = 9 };
    geometry g = plain(CHANNELS, SIDE, CHANNELS, kernel, kernel / 2);
    spry_random r = spry_random_stream(41, (uint64_t)tap);
    const float one = 1.0f;
    uint8_t x[CHANNELS * SIDE * SIDE];
    int8_t w[CHANNELS * CHANNELS * 9] = {0};
    value input = bytes_value(g.x, x);
    const value *inputs[] = {&input};
    value y;
    net n;

    sample_u8(&r, x, sizeof x);
    for (int64_t c = 0; c < CHANNELS; c++) {
        w[(c * CHANNELS + c) * kernel * kernel + tap] = 1;
    }
    net_init(&n, 13);
    (void)net_input(&n, "x", SPRY_DTYPE_U8, 4, g.x);
    (void)net_constant(&n, "w", SPRY_DTYPE_I8, 4, g.w, w);
    (void)net_constant(&n, "one", SPRY_DTYPE_F32, 0, NULL, &one);
    (void)net_constant(&n, "zero", SPRY_DTYPE_U8, 0, NULL, &zero);
    (void)net_constant(&n, "none", SPRY_DTYPE_I8, 0, NULL, "");
    set_attributes(&n, net_node(&n, "QLinearConv", "x one zero w one none one zero", "y"), &g);
    net_output(&n, "y");
    net_run(&n, true, "conv_s8", 1, inputs, &y);
    for (int64_t i = 0; i < count_of(g.x); i++) {
        int64_t row = i / SIDE % SIDE + tap / kernel - kernel / 2;
        int64_t column = i % SIDE + tap % kernel - kernel / 2;
        bool inside = row >= 0 && row < SIDE && column >= 0 && column < SIDE;
        uint8_t wanted = inside ? x[(i / SIDE / SIDE * SIDE + row) * SIDE + column] : zero;

        assert_int_equal(((const uint8_t *)y.tensor.data)[i], wanted);
    }
    value_fini(&y);
    net_fini(&n);
}

static void test_shift(void **state)
{
    (void)state;
    check_shift(1, 0, 0);
    check_shift(1, 0, 200);
    for (int64_t tap = 0; tap < 9; tap++) {
        check_shift(3, tap, 0);
        check_shift(3, tap, 128);
        check_shift(3, tap, 255);
    }
}

/* ---- sums ---- */

static geometry draw(spry_random *r)
{
    geometry g = {.groups = sample_integer(r, 1, 3)};

    g.w[1] = sample_integer(r, 2, 17);
    g.w[0] = g.groups * sample_integer(r, 1, 17);
    g.x[0] = sample_integer(r, 1, 2);
    g.x[1] = g.groups * g.w[1];
    for (int i = 0; i < 2; i++) {
        g.w[2 + i] = sample_integer(r, 1, 4);
        g.strides[i] = sample_integer(r, 1, 3);
        g.dilations[i] = sample_integer(r, 1, 2);
        g.x[2 + i] = (g.w[2 + i] - 1) * g.dilations[i] + sample_integer(r, 1, 12);
        g.pads[i] = sample_integer(r, 0, 4);
        g.pads[2 + i] = sample_integer(r, 0, 4);
    }
    return g;
}

/* Weights are parted at random, or by positions of the kernel: results add up, to the bit. */
static void test_sums(void **state)
{
    static uint8_t x[MOST];
    static int8_t w[MOST];
    static int8_t parts[2][MOST];

    (void)state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        spry_random r = spry_random_stream(42, round);
        geometry g = draw(&r);
        int64_t taps = g.w[2] * g.w[3];
        uint8_t zero = (uint8_t)spry_random_u32(&r);
        value whole;
        value y[2];

        sample_bytes(&r, x, (size_t)count_of(g.x));
        for (int64_t i = 0; i < count_of(g.w); i++) {
            parts[0][i] = (int8_t)sample_integer(&r, -64, 63);
            parts[1][i] = (int8_t)sample_integer(&r, -64, 63);
            if (round % 2 == 0) { /* one position, and the others */
                parts[i % taps == taps / 2][i] = 0;
            }
            w[i] = (int8_t)(parts[0][i] + parts[1][i]);
        }
        convolve(&g, x, zero, w, "conv_s8", &whole);
        convolve(&g, x, zero, parts[0], "conv_s8", &y[0]);
        convolve(&g, x, zero, parts[1], "conv_s8", &y[1]);
        for (int64_t i = 0; i < tensor_count(&whole.tensor); i++) {
            assert_int_equal(((const int32_t *)whole.tensor.data)[i],
                             ((const int32_t *)y[0].tensor.data)[i] +
                                 ((const int32_t *)y[1].tensor.data)[i]);
        }
        value_fini(&whole);
        value_fini(&y[0]);
        value_fini(&y[1]);
    }
}

/* One pixel of many channels: 255 x 127 each. */
static void check_depth(int64_t channels, int8_t weight, const char *by)
{
    geometry g = plain(channels, 1, 1, 1, 0);
    uint8_t *x = malloc((size_t)channels);
    int8_t *w = malloc((size_t)channels);
    value y;

    assert_true(x != NULL && w != NULL);
    memset(x, 255, (size_t)channels);
    memset(w, weight, (size_t)channels);
    convolve(&g, x, 0, w, by, &y);
    assert_int_equal(*(const int32_t *)y.tensor.data, 255 * weight * channels);
    value_fini(&y);
    free(x);
    free(w);
}

/* Sums that 16 bits do not hold, and as many as 32 bits surely do: more are somebody else's. */
static void test_large_sums(void **state)
{
    (void)state;
    check_depth(4, 127, "conv_s8");
    check_depth(4, -128, "conv_s8");
    check_depth(32000, 127, "conv_s8");
    check_depth(32001, -128, NULL);
    check_depth(65000, -128, NULL);
}

/* ---- the transposed convolution ---- */

static void test_transposed_by_hand(void **state)
{
    static const int64_t x_shape[] = {1, 1, 2, 2};
    static const int64_t w_shape[] = {1, 1, 3, 3};
    static const int64_t two[] = {2, 2};
    static const float ones[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const float expected[25] = {1, 1, 3, 2, 2, 1, 1, 3, 2, 2, 4, 4, 10,
                                       6, 6, 3, 3, 7, 4, 4, 3, 3, 7, 4, 4};
    float x[] = {1, 2, 3, 4};
    value input = net_floats(4, x_shape, x);
    const value *inputs[] = {&input};

    (void)state;
    for (int with_providers = 0; with_providers < 2; with_providers++) {
        net n;
        value y;

        net_init(&n, 13);
        (void)net_input(&n, "x", SPRY_DTYPE_F32, 4, x_shape);
        (void)net_constant(&n, "w", SPRY_DTYPE_F32, 4, w_shape, ones);
        assert_int_equal(
            graph_set_ints(n.g, net_node(&n, "ConvTranspose", "x w", "y"), "strides", 2, two, NULL),
            SPRY_OK);
        net_output(&n, "y");
        net_run(&n, with_providers != 0, NULL, 1, inputs, &y);
        assert_memory_equal(y.tensor.data, expected, sizeof expected);
        value_fini(&y);
        net_fini(&n);
    }
}

/* ---- bad inputs ---- */

static spry_error error;

/* A convolution of floats of those shapes; the status of inferring its types, or of running it. */
static spry_status try_conv(const geometry *g, const char *auto_pad, float *x, const float *w,
                            value *y)
{
    value input = net_floats(4, g->x, x);
    const value *inputs[] = {&input};
    value *outputs[] = {y};
    spry_session_options options = spry_session_options_default();
    arena scratch;
    arena text;
    plan *p = NULL;
    executor e = {.team = threads_single(), .scratch = &scratch, .text = &text};
    spry_status status;
    int32_t node;
    net n;

    value_init(y, NULL);
    arena_init(&scratch, NULL, SIZE_MAX);
    arena_init(&text, NULL, SIZE_MAX);
    net_init(&n, 13);
    (void)net_input(&n, "x", SPRY_DTYPE_F32, 4, g->x);
    (void)net_constant(&n, "w", SPRY_DTYPE_F32, 4, g->w, w);
    node = net_node(&n, "Conv", "x w", "y");
    set_attributes(&n, node, g);
    if (auto_pad != NULL) {
        assert_int_equal(graph_set_string(n.g, node, "auto_pad", auto_pad, NULL), SPRY_OK);
    }
    net_output(&n, "y");
    status = infer_graph(n.g, &error);
    if (status == SPRY_OK) {
        status = plan_create(n.g, &options, e.team, false, &p, &error);
    }
    if (status == SPRY_OK) {
        status = execute_plan(&e, p, NULL, inputs, 1, outputs, 1);
    }
    plan_destroy(p);
    net_fini(&n);
    arena_fini(&text);
    arena_fini(&scratch);
    return status;
}

static void test_bad_inputs(void **state)
{
    static float zeros[400];
    geometry g = plain(2, 5, 3, 3, 0);
    value y;

    (void)state;
    assert_int_equal(try_conv(&g, NULL, zeros, zeros, &y), SPRY_OK);
    value_fini(&y);
    g.x[0] = 0; /* no images: no results */
    assert_int_equal(try_conv(&g, NULL, zeros, zeros, &y), SPRY_OK);
    assert_int_equal(tensor_count(&y.tensor), 0);
    assert_int_equal(y.tensor.shape[1], 3);
    value_fini(&y);
    g = plain(2, 2, 3, 3, 0); /* the kernel is larger than the image */
    assert_int_equal(try_conv(&g, NULL, zeros, zeros, &y), SPRY_BAD_INPUT);
    assert_non_null(strstr(error.what, "on axis 0, 2 + 0 + 0 < (3 - 1) x 1 + 1"));
    value_fini(&y);
    g = plain(2, 5, 3, 3, 0);
    g.groups = 2; /* of 3 filters */
    assert_int_equal(try_conv(&g, NULL, zeros, zeros, &y), SPRY_BAD_INPUT);
    value_fini(&y);
    g.groups = 1;
    assert_int_equal(try_conv(&g, "SAME_SIDEWAYS", zeros, zeros, &y), SPRY_BAD_INPUT);
    value_fini(&y);
}

/* A weight that is no number, or infinite, spoils its own channel only, all of it. */
static void test_not_numbers(void **state)
{
    static const float bad[] = {NAN, INFINITY};
    geometry g = plain(2, 5, 3, 3, 1);
    float x[2 * 25];
    float w[3 * 2 * 9];
    value y;

    (void)state;
    for (int which = 0; which < 2; which++) {
        for (int i = 0; i < 50; i++) {
            x[i] = 1.0f;
        }
        for (int i = 0; i < 54; i++) {
            w[i] = 0.25f;
        }
        w[18 + 4] = bad[which]; /* the middle of filter 1 */
        assert_int_equal(try_conv(&g, NULL, x, w, &y), SPRY_OK);
        for (int i = 0; i < 75; i++) {
            float result = ((const float *)y.tensor.data)[i];

            assert_true(i / 25 == 1 ? (which == 0 ? isnan(result) : isinf(result))
                                    : isfinite(result));
        }
        value_fini(&y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shift),      cmocka_unit_test(test_sums),
        cmocka_unit_test(test_large_sums), cmocka_unit_test(test_transposed_by_hand),
        cmocka_unit_test(test_bad_inputs), cmocka_unit_test(test_not_numbers),
    };

    return cmocka_run_group_tests_name("runtime/conv_integers", tests, NULL, NULL);
}
