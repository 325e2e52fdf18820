/* Products and convolutions of every shape. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "spry/random.h"
#include "support/gradient_check.h"
#include "support/sample.h"

typedef struct matmul {
    int a_rank, b_rank;
    int64_t a[4], b[4];
} matmul;

static void build_matmul(gradient_check *c)
{
    const matmul *m = c->detail;

    (void)gradient_check_input(c, "a", m->a_rank, m->a);
    (void)gradient_check_input(c, "b", m->b_rank, m->b);
    (void)net_node(&c->n, "MatMul", "a b", "y");
}

static void test_matmul(void **state)
{
    static const matmul cases[] = {
        {2, 2, {2, 3}, {3, 4}},
        {2, 2, {1, 1}, {1, 1}},
        {1, 2, {3}, {3, 4}},
        {2, 1, {2, 3}, {3}},
        {1, 1, {3}, {3}},
        {3, 2, {2, 2, 3}, {3, 4}},
        {2, 3, {2, 3}, {5, 3, 2}},
        {3, 3, {2, 2, 3}, {2, 3, 2}},
        {3, 3, {1, 2, 3}, {4, 3, 2}},
        {4, 3, {2, 1, 2, 3}, {4, 3, 2}},
        {1, 3, {3}, {2, 3, 4}},
        {3, 1, {2, 4, 3}, {3}},
        {4, 4, {2, 3, 4, 2}, {2, 3, 2, 5}},
        {4, 2, {2, 1, 3, 2}, {2, 5}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gradient_check_run(build_matmul, &cases[i], 13);
    }
}

/* Bit 0, 1: transposed; bits 2 and 3: which form of C. */
static void build_gemm(gradient_check *c)
{
    static const int64_t shapes[3][2] = {{2, 4}, {1, 4}, {2, 1}};
    int form = *(const int *)c->detail;
    int32_t node;

    (void)gradient_check_input(c, "a", 2, (form & 1) != 0 ? (int64_t[]){3, 2} : (int64_t[]){2, 3});
    (void)gradient_check_input(c, "b", 2, (form & 2) != 0 ? (int64_t[]){4, 3} : (int64_t[]){3, 4});
    if (form >> 2 < 3) {
        (void)gradient_check_input(c, "c", 2, shapes[form >> 2]);
    }
    node = net_node(&c->n, "Gemm", form >> 2 < 3 ? "a b c" : "a b", "y");
    gradient_check_set_int(c, node, "transA", form & 1);
    gradient_check_set_int(c, node, "transB", form >> 1 & 1);
    gradient_check_set_float(c, node, "alpha", 0.5f);
    gradient_check_set_float(c, node, "beta", (form & 1) != 0 ? 1.0f : 2.0f);
}

static void test_gemm(void **state)
{
    (void)state;
    for (int form = 0; form < 16; form++) {
        gradient_check_run(build_gemm, &form, 13);
    }
}

typedef struct conv {
    bool transposed;
    const char *auto_pad; /* NULL: pads */
    int rank;
    int64_t images, group, channels, rows; /* per group */
    int64_t in[3], kernel[3], stride[3], dilation[3], pads[6], more[3];
} conv;

static void build_conv(gradient_check *c)
{
    const conv *v = c->detail;
    int64_t x[5] = {v->images, v->group * v->channels};
    int64_t w[5] = {v->transposed ? v->group * v->channels : v->group * v->rows,
                    v->transposed ? v->rows : v->channels};
    int32_t node;

    for (int i = 0; i < v->rank; i++) {
        x[2 + i] = v->in[i];
        w[2 + i] = v->kernel[i];
    }
    (void)gradient_check_input(c, "x", 2 + v->rank, x);
    (void)gradient_check_input(c, "w", 2 + v->rank, w);
    (void)gradient_check_input(c, "b", 1, (const int64_t[]){v->group * v->rows});
    node = net_node(&c->n, v->transposed ? "ConvTranspose" : "Conv", "x w b", "y");
    gradient_check_set_int(c, node, "group", v->group);
    gradient_check_set_ints(c, node, "kernel_shape", v->rank, v->kernel);
    gradient_check_set_ints(c, node, "strides", v->rank, v->stride);
    gradient_check_set_ints(c, node, "dilations", v->rank, v->dilation);
    if (v->auto_pad != NULL) {
        gradient_check_set_string(c, node, "auto_pad", v->auto_pad);
    } else {
        gradient_check_set_ints(c, node, "pads", 2 * (int64_t)v->rank, v->pads);
    }
    if (v->transposed) {
        gradient_check_set_ints(c, node, "output_padding", v->rank, v->more);
    }
}

/* False when no window fits into the padded input. */
static bool draw_conv(spry_random *r, int rank, bool transposed, conv *v)
{
    static const char *const modes[] = {NULL, NULL, NULL, "SAME_UPPER", "SAME_LOWER", "VALID"};

    *v = (conv){.transposed = transposed,
                .auto_pad = modes[transposed ? 0 : sample_integer(r, 0, 5)],
                .rank = rank,
                .images = sample_integer(r, 1, 3),
                .group = sample_integer(r, 1, 3),
                .channels = sample_integer(r, 1, 2),
                .rows = sample_integer(r, 1, 2)};
    for (int i = 0; i < rank; i++) {
        int64_t reach;

        v->in[i] = sample_integer(r, 1, 5);
        v->kernel[i] = sample_integer(r, 1, 3);
        v->stride[i] = sample_integer(r, 1, 3);
        v->dilation[i] = sample_integer(r, 1, 2);
        v->pads[i] = sample_integer(r, 0, 2);
        v->pads[rank + i] = sample_integer(r, 0, 2);
        v->more[i] = sample_integer(r, 0, v->stride[i] - 1);
        reach = (v->kernel[i] - 1) * v->dilation[i] + 1;
        if (transposed &&
            (v->in[i] - 1) * v->stride[i] + reach + v->more[i] <= v->pads[i] + v->pads[rank + i]) {
            return false;
        }
        if (!transposed &&
            reach > v->in[i] + (v->auto_pad == NULL ? v->pads[i] + v->pads[rank + i] : 0)) {
            return false;
        }
    }
    return true;
}

static void sweep(int rank, bool transposed, int wanted)
{
    spry_random r = spry_random_stream(11, (uint64_t)rank);

    while (wanted > 0) {
        conv v;

        if (draw_conv(&r, rank, transposed, &v)) {
            gradient_check_run(build_conv, &v, 13);
            wanted--;
        }
    }
}

static void test_conv(void **state)
{
    (void)state;
    sweep(1, false, 60);
    sweep(2, false, 60);
    sweep(3, false, 8);
}

static void test_conv_transpose(void **state)
{
    (void)state;
    sweep(1, true, 40);
    sweep(2, true, 30);
    sweep(3, true, 4);
}

/* More weights and places than one block of the product holds, in f32 against f64. */
static void build_large_conv(gradient_check *c)
{
    int32_t node;

    c->surrogate = true; /* too many numbers for differences */
    (void)gradient_check_input(c, "x", 4, (const int64_t[]){3, 38, 31, 29});
    (void)gradient_check_input(c, "w", 4, (const int64_t[]){130, 19, 3, 3});
    node = net_node(&c->n, "Conv", "x w", "y");
    gradient_check_set_int(c, node, "group", 2);
    gradient_check_set_ints(c, node, "pads", 4, (const int64_t[]){1, 1, 1, 1});
}

static void test_large_conv(void **state)
{
    (void)state;
    gradient_check_run(build_large_conv, NULL, 13);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matmul),     cmocka_unit_test(test_gemm),
        cmocka_unit_test(test_conv),       cmocka_unit_test(test_conv_transpose),
        cmocka_unit_test(test_large_conv),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
