/* The attention operators of com.microsoft against the standard one. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/op_harness.h"
#include "tensor/convert.h"

enum { B = 2, S = 5, T = 7, H = 2, D = 4, W = H * D, PAST = 3 };

/* The same numbers for the same seed, in [-1, 1]. */
static void fill(float *data, int64_t count, unsigned seed)
{
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        data[i] = (float)(seed >> 16) / 32768.0f - 1.0f;
    }
}

static void input(op_harness *h, int rank, const int64_t *shape, unsigned seed)
{
    float data[2048];
    int64_t count = 1;

    for (int i = 0; i < rank; i++) {
        count *= shape[i];
    }
    assert_true(count <= 2048);
    fill(data, count, seed);
    op_harness_f32(h, rank, shape, data);
}

/* Queries, keys and values as three operands of three axes. */
static void operands(op_harness *h)
{
    input(h, 3, (int64_t[]){B, S, W}, 1);
    input(h, 3, (int64_t[]){B, T, W}, 2);
    input(h, 3, (int64_t[]){B, T, W}, 3);
}

static void start(op_harness *h, const char *name)
{
    op_harness_init(h, "com.microsoft", name, 1);
    op_harness_int(h, "num_heads", H);
}

static void start_standard(op_harness *h)
{
    op_harness_init(h, "", "Attention", 23);
    op_harness_int(h, "q_num_heads", H);
    op_harness_int(h, "kv_num_heads", H);
}

static void expect_same(const op_harness *got, const op_harness *wanted, int port)
{
    const tensor *t = op_harness_output(wanted, port);
    double numbers[2048];

    assert_true(tensor_count(t) <= 2048);
    convert_read_f64(t, 0, tensor_count(t), numbers);
    op_harness_expect(got, port, t->dtype, t->rank, t->shape);
    op_harness_expect_f64(got, port, numbers, 1e-6);
}

static void test_plain(void **state)
{
    op_harness a;
    op_harness b;

    (void)state;
    start(&a, "MultiHeadAttention");
    operands(&a);
    op_harness_run(&a, 1);
    start_standard(&b);
    operands(&b);
    op_harness_run(&b, 1);
    expect_same(&a, &b, 0);
    op_harness_fini(&a);
    op_harness_fini(&b);
}

/* A bias on all three, a scale, hidden keys: as lengths and as flags. */
static void test_masks(void **state)
{
    (void)state;
    for (int form = 0; form < 3; form++) {
        op_harness a;
        op_harness b;
        float bias[3 * W];
        float mask[B * H * S * T];
        int64_t flags[B * S * T];
        const int64_t lengths[B] = {4, T};

        fill(bias, 3 * W, 9);
        fill(mask, B * H * S * T, 10);
        start(&a, "MultiHeadAttention");
        op_harness_float(&a, "scale", 0.3f);
        op_harness_float(&a, "mask_filter_value", -50.0f);
        operands(&a);
        op_harness_f32(&a, 1, (int64_t[]){3 * W}, bias);
        for (int i = 0; i < B * S * T; i++) {
            flags[i] = i % T < lengths[i / T / S];
        }
        if (form == 0) {
            op_harness_i64s(&a, SPRY_DTYPE_I32, 1, (int64_t[]){B}, lengths);
        } else if (form == 1) {
            memmove(flags + T, flags + S * T, T * sizeof *flags);
            op_harness_i64s(&a, SPRY_DTYPE_I32, 2, (int64_t[]){B, T}, flags);
        } else {
            op_harness_i64s(&a, SPRY_DTYPE_I32, 3, (int64_t[]){B, S, T}, flags);
        }
        op_harness_f32(&a, 4, (int64_t[]){B, H, S, T}, mask);
        op_harness_run(&a, 1);

        start_standard(&b);
        op_harness_float(&b, "scale", 0.3f);
        operands(&b);
        for (int port = 0; port < 3; port++) {
            tensor *t = &b.inputs[port].tensor;

            for (int64_t i = 0; i < tensor_count(t); i++) {
                ((float *)t->data)[i] += bias[port * W + i % W];
            }
        }
        for (int i = 0; i < B * H * S * T; i++) {
            mask[i] += i % T < lengths[i / T / S / H] ? 0.0f : -50.0f;
        }
        op_harness_f32(&b, 4, (int64_t[]){B, H, S, T}, mask);
        op_harness_run(&b, 1);
        expect_same(&a, &b, 0);
        op_harness_fini(&a);
        op_harness_fini(&b);
    }
}

static void test_cache(void **state)
{
    op_harness a;
    op_harness b;

    (void)state;
    start(&a, "MultiHeadAttention");
    op_harness_int(&a, "unidirectional", 1);
    start_standard(&b);
    op_harness_int(&b, "is_causal", 1);
    for (int i = 0; i < 2; i++) {
        op_harness *h = i == 0 ? &a : &b;

        operands(h);
        op_harness_omit(h);
        if (i == 0) {
            op_harness_omit(h);
            op_harness_omit(h);
        }
        input(h, 4, (int64_t[]){B, H, PAST, D}, 5);
        input(h, 4, (int64_t[]){B, H, PAST, D}, 6);
        op_harness_run(h, 3);
    }
    for (int port = 0; port < 3; port++) {
        expect_same(&a, &b, port);
    }
    op_harness_fini(&a);
    op_harness_fini(&b);
}

/* Projections inside: weights that copy the input give MultiHeadAttention of the input itself. */
static void test_projected(void **state)
{
    op_harness a;
    op_harness b;
    float weights[W * 3 * W] = {0};
    float bias[3 * W];
    double both[2 * B * H * (PAST + S) * D];

    (void)state;
    for (int i = 0; i < W; i++) {
        for (int part = 0; part < 3; part++) {
            weights[i * 3 * W + part * W + i] = 1.0f;
        }
    }
    fill(bias, 3 * W, 11);
    start(&a, "Attention");
    op_harness_int(&a, "unidirectional", 1);
    input(&a, 3, (int64_t[]){B, S, W}, 1);
    op_harness_f32(&a, 2, (int64_t[]){W, 3 * W}, weights);
    op_harness_f32(&a, 1, (int64_t[]){3 * W}, bias);
    op_harness_omit(&a);
    input(&a, 5, (int64_t[]){2, B, H, PAST, D}, 5);
    op_harness_run(&a, 2);

    start(&b, "MultiHeadAttention");
    op_harness_int(&b, "unidirectional", 1);
    for (int i = 0; i < 3; i++) {
        input(&b, 3, (int64_t[]){B, S, W}, 1);
    }
    op_harness_f32(&b, 1, (int64_t[]){3 * W}, bias);
    op_harness_omit(&b);
    op_harness_omit(&b);
    for (int i = 0; i < 2; i++) {
        op_harness_f32(&b, 4, (int64_t[]){B, H, PAST, D},
                       (const float *)a.inputs[4].tensor.data + (int64_t)i * B * H * PAST * D);
    }
    op_harness_run(&b, 3);
    expect_same(&a, &b, 0);
    for (int i = 0; i < 2; i++) {
        convert_read_f64(op_harness_output(&b, 1 + i), 0, B * H * (PAST + S) * D,
                         both + (int64_t)i * B * H * (PAST + S) * D);
    }
    op_harness_expect(&a, 1, SPRY_DTYPE_F32, 5, (int64_t[]){2, B, H, PAST + S, D});
    op_harness_expect_f64(&a, 1, both, 1e-6);
    op_harness_fini(&a);
    op_harness_fini(&b);
}

static void test_refused(void **state)
{
    op_harness h;

    (void)state;
    start(&h, "MultiHeadAttention"); /* one packed operand */
    input(&h, 5, (int64_t[]){1, 3, H, 3, D}, 1);
    assert_int_equal(op_harness_try(&h, 1), SPRY_UNSUPPORTED);
    op_harness_fini(&h);
    start(&h, "MultiHeadAttention"); /* a mask of a packed batch */
    operands(&h);
    op_harness_omit(&h);
    op_harness_i64s(&h, SPRY_DTYPE_I32, 1, (int64_t[]){3 * B + 2},
                    (int64_t[]){1, 2, 3, 4, 5, 6, 7, 8});
    assert_int_equal(op_harness_try(&h, 1), SPRY_UNSUPPORTED);
    op_harness_fini(&h);
    start(&h, "Attention"); /* weights of no three parts */
    input(&h, 3, (int64_t[]){1, 2, W}, 1);
    input(&h, 2, (int64_t[]){W, 3 * W - 1}, 2);
    assert_int_equal(op_harness_try(&h, 1), SPRY_BAD_INPUT);
    op_harness_fini(&h);
    start(&h, "Attention");
    op_harness_int(&h, "do_rotary", 1);
    input(&h, 3, (int64_t[]){1, 2, W}, 1);
    input(&h, 2, (int64_t[]){W, 3 * W}, 2);
    assert_int_equal(op_harness_try(&h, 1), SPRY_UNSUPPORTED);
    op_harness_fini(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),   cmocka_unit_test(test_masks),
        cmocka_unit_test(test_cache),   cmocka_unit_test(test_projected),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
