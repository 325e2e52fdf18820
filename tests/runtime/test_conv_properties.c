/* What convolutions must be whatever executes them: shifts of the input, linear in the weights and
 * the sum of what each position of the kernel gives, and adjoint to the transposed convolution. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "spry/random.h"
#include "support/net_run.h"

enum { ROUNDS = 60, MOST = 1 << 16 };

/* A convolution of two axes. */
typedef struct geometry {
    spry_random r;
    int64_t x[4], w[4], groups; /* shapes */
    int64_t strides[2], dilations[2], pads[4];
} geometry;

static int64_t between(geometry *g, int64_t low, int64_t high)
{
    return low + (int64_t)spry_random_below(&g->r, (uint64_t)(high - low + 1));
}

static int64_t count_of(const int64_t *shape)
{
    return shape[0] * shape[1] * shape[2] * shape[3];
}

static float *randoms(geometry *g, int64_t count)
{
    float *x = malloc((size_t)(count + 1) * sizeof *x);

    assert_non_null(x);
    spry_random_fill_uniform(&g->r, x, (size_t)count, -1.0f, 1.0f);
    return x;
}

static void set_ints(const net *n, int32_t node, const char *name, int count, const int64_t *ints)
{
    assert_int_equal(graph_set_ints(n->g, node, name, count, ints, NULL), SPRY_OK);
}

/* y of Conv, or of ConvTranspose; *result is released by the caller. */
static void convolve(const geometry *g, const char *type, const int64_t *shape, float *x,
                     const float *w, value *result)
{
    value input = net_floats(4, shape, x);
    const value *inputs[] = {&input};
    int32_t node;
    net n;

    net_init(&n, 13);
    (void)net_input(&n, "x", SPRY_DTYPE_F32, 4, shape);
    (void)net_constant(&n, "w", SPRY_DTYPE_F32, 4, g->w, w);
    node = net_node(&n, type, "x w", "y");
    assert_int_equal(graph_set_int(n.g, node, "group", g->groups, NULL), SPRY_OK);
    set_ints(&n, node, "strides", 2, g->strides);
    set_ints(&n, node, "dilations", 2, g->dilations);
    set_ints(&n, node, "pads", 4, g->pads);
    if (strcmp(type, "ConvTranspose") == 0) {
        int64_t more[2]; /* where strides leave the size open, it is that of x */

        for (int i = 0; i < 2; i++) {
            more[i] = g->x[2 + i] - (shape[2 + i] - 1) * g->strides[i] -
                      (g->w[2 + i] - 1) * g->dilations[i] - 1 + g->pads[i] + g->pads[2 + i];
        }
        set_ints(&n, node, "output_padding", 2, more);
    }
    net_output(&n, "y");
    net_run(&n, true, NULL, 1, inputs, result);
    net_fini(&n);
}

static void draw(geometry *g, uint64_t stream)
{
    int64_t per_group;

    *g = (geometry){.r = spry_random_stream(77, stream)};
    g->groups = between(g, 1, 3);
    per_group = between(g, 1, 17);
    g->w[0] = g->groups * between(g, 1, 17);
    g->w[1] = per_group;
    g->x[0] = between(g, 1, 2);
    g->x[1] = g->groups * per_group;
    for (int i = 0; i < 2; i++) {
        g->w[2 + i] = between(g, 1, 5);
        g->strides[i] = between(g, 1, 3);
        g->dilations[i] = between(g, 1, 2);
        g->x[2 + i] = (g->w[2 + i] - 1) * g->dilations[i] + between(g, 1, 14);
        g->pads[i] = between(g, 0, 2);
        g->pads[2 + i] = between(g, 0, 2);
    }
}

static double depth_of(const geometry *g)
{
    return (double)(g->w[1] * g->w[2] * g->w[3]);
}

/* ---- shifts ---- */

/* A kernel with one 1 per channel copies the input, moved by its position. */
static void test_shift(void **state)
{
    enum { CHANNELS = 7, SIDE = 9, KERNEL = 3 };
    geometry g = {.r = spry_random_stream(5, 0),
                  .x = {1, CHANNELS, SIDE, SIDE},
                  .w = {CHANNELS, CHANNELS, KERNEL, KERNEL},
                  .groups = 1,
                  .strides = {1, 1},
                  .dilations = {1, 1},
                  .pads = {1, 1, 1, 1}};
    float *x = randoms(&g, count_of(g.x));

    (void)state;
    for (int tap = 0; tap < KERNEL * KERNEL; tap++) {
        float *w = calloc((size_t)count_of(g.w), sizeof *w);
        value y;

        assert_non_null(w);
        for (int c = 0; c < CHANNELS; c++) {
            w[(c * CHANNELS + c) * KERNEL * KERNEL + tap] = 1.0f;
        }
        convolve(&g, "Conv", g.x, x, w, &y);
        for (int64_t i = 0; i < count_of(g.x); i++) {
            int64_t row = i / SIDE % SIDE + tap / KERNEL - 1;
            int64_t column = i % SIDE + tap % KERNEL - 1;
            bool inside = row >= 0 && row < SIDE && column >= 0 && column < SIDE;
            float wanted = inside ? x[(i / SIDE / SIDE * SIDE + row) * SIDE + column] : 0.0f;

            /* Winograd's transforms round. */
            assert_true(fabsf(((const float *)y.tensor.data)[i] - wanted) <= 2e-6f);
        }
        value_fini(&y);
        free(w);
    }
    free(x);
}

/* ---- sums ---- */

/* Weights are parted at random: by halves of their numbers, or by positions of the kernel. */
static void test_sums(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        geometry g;
        value whole;
        value parts[2];

        draw(&g, round);
        int64_t count = count_of(g.w);
        int64_t taps = g.w[2] * g.w[3];
        float *x = randoms(&g, count_of(g.x));
        float *w = randoms(&g, count);
        float *a = randoms(&g, count);
        float *b = malloc((size_t)count * sizeof *b);

        assert_non_null(b);
        for (int64_t i = 0; i < count; i++) {
            if (round % 2 == 0) {
                a[i] = i % taps == taps / 2 ? w[i] : 0.0f;
            }
            b[i] = w[i] - a[i];
        }
        convolve(&g, "Conv", g.x, x, w, &whole);
        convolve(&g, "Conv", g.x, x, a, &parts[0]);
        convolve(&g, "Conv", g.x, x, b, &parts[1]);
        for (int64_t i = 0; i < tensor_count(&whole.tensor); i++) {
            float sum =
                ((const float *)parts[0].tensor.data)[i] + ((const float *)parts[1].tensor.data)[i];

            assert_true(fabs((double)sum - (double)((const float *)whole.tensor.data)[i]) <=
                        1e-6 * (4 + depth_of(&g)));
        }
        value_fini(&whole);
        value_fini(&parts[0]);
        value_fini(&parts[1]);
        free(x);
        free(w);
        free(a);
        free(b);
    }
}

/* ---- the adjoint ---- */

static double inner(const float *a, const float *b, int64_t count)
{
    double sum = 0.0;

    for (int64_t i = 0; i < count; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

/* <conv(x), y> = <x, convT(y)> for all x and y. */
static void test_adjoint(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        geometry g;
        value forth;
        value back;

        draw(&g, 1000 + round);
        float *x = randoms(&g, count_of(g.x));
        float *w = randoms(&g, count_of(g.w));

        convolve(&g, "Conv", g.x, x, w, &forth);
        int64_t count = tensor_count(&forth.tensor);
        float *y = randoms(&g, count);

        convolve(&g, "ConvTranspose", forth.tensor.shape, y, w, &back);
        assert_int_equal(tensor_count(&back.tensor), count_of(g.x));
        double left = inner(forth.tensor.data, y, count);
        double right = inner(x, back.tensor.data, count_of(g.x));

        assert_true(fabs(left - right) <= 1e-6 * (1 + depth_of(&g)) * sqrt((double)count));
        value_fini(&forth);
        value_fini(&back);
        free(x);
        free(w);
        free(y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shift), cmocka_unit_test(test_sums),
                                       cmocka_unit_test(test_adjoint)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
