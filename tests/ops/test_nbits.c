/* MatMulNBits against a triple loop, and what it refuses. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "ops/nbits.h"
#include "support/op_harness.h"
#include "tensor/convert.h"

enum { MOST = 4000, ROUNDS = 60 };

static void set_sizes(op_harness *h, int64_t n, int64_t k, int64_t bits, int64_t block)
{
    op_harness_int(h, "N", n);
    op_harness_int(h, "K", k);
    op_harness_int(h, "bits", bits);
    op_harness_int(h, "block_size", block);
}

static uint8_t *random_bytes(op_harness *h, int rank, const int64_t *shape)
{
    tensor *t = op_harness_input(h, SPRY_DTYPE_U8, rank, shape);
    uint8_t *bytes = t->data;

    for (int64_t i = 0; i < tensor_count(t); i++) {
        bytes[i] = (uint8_t)op_harness_next(h, 256);
    }
    return bytes;
}

static int64_t code_at(const uint8_t *row, int64_t bits, int64_t index)
{
    int64_t per_byte = 8 / bits;

    return row[index / per_byte] >> index % per_byte * bits & ((1 << bits) - 1);
}

typedef struct trial {
    int64_t m, n, k, bits, block, blocks;
    const tensor *a, *scales, *real_zeros, *index, *bias; /* the last three may be NULL */
    const uint8_t *codes, *zeros;                         /* zeros may be NULL */
} trial;

static double weight_at(const trial *t, int64_t row, int64_t k)
{
    int64_t block = t->index != NULL ? convert_get_f64(t->index, k) > 0 : k / t->block;
    double scale = convert_get_f64(t->scales, row * t->blocks + block);
    double zero = (double)(1 << (t->bits - 1));

    if (t->zeros != NULL) {
        zero = (double)code_at(t->zeros + row * ((t->blocks * t->bits + 7) / 8), t->bits, block);
    } else if (t->real_zeros != NULL) {
        zero = convert_get_f64(t->real_zeros, row * t->blocks + block);
    }
    return scale *
           ((double)code_at(t->codes + row * t->blocks * t->block * t->bits / 8, t->bits, k) -
            zero);
}

static void expect_result(op_harness *h, const trial *t, double tolerance)
{
    static double expected[MOST];

    for (int64_t i = 0; i < t->m * t->n; i++) {
        expected[i] = t->bias != NULL ? convert_get_f64(t->bias, i % t->n) : 0;
        for (int64_t k = 0; k < t->k; k++) {
            expected[i] += convert_get_f64(t->a, i / t->n * t->k + k) * weight_at(t, i % t->n, k);
        }
    }
    op_harness_expect_f64(h, 0, expected, tolerance);
}

static void run_round(int round)
{
    static const int64_t widths[] = {2, 4, 8};
    spry_dtype dtype = round % 5 == 4 ? SPRY_DTYPE_F16 : SPRY_DTYPE_F32;
    int kind = round % 3; /* of zero points: none, packed, numbers */
    op_harness h;
    trial t;

    op_harness_init(&h, "com.microsoft", "MatMulNBits", 1);
    h.state = (uint64_t)round;
    t = (trial){.m = 1 + op_harness_next(&h, 6),
                .n = 1 + op_harness_next(&h, 40),
                .k = 1 + op_harness_next(&h, 70),
                .bits = widths[round / 3 % 3],
                .block = op_harness_next(&h, 2) == 0 ? 16 : 32};
    t.blocks = (t.k + t.block - 1) / t.block;
    set_sizes(&h, t.n, t.k, t.bits, t.block);
    t.a = op_harness_any(&h, dtype, 3, (int64_t[]){1, t.m, t.k}, false);
    t.codes = random_bytes(&h, 3, (int64_t[]){t.n, t.blocks, t.block * t.bits / 8});
    t.scales = op_harness_any(&h, dtype, 1, (int64_t[]){t.n * t.blocks}, false);
    if (kind == 1) {
        t.zeros = random_bytes(&h, 1, (int64_t[]){t.n * ((t.blocks * t.bits + 7) / 8)});
    } else if (kind == 2) {
        t.real_zeros = op_harness_any(&h, dtype, 2, (int64_t[]){t.n, t.blocks}, false);
    } else {
        op_harness_omit(&h);
    }
    if (round % 7 == 6 && t.blocks > 1) {
        tensor *index = op_harness_input(&h, SPRY_DTYPE_I32, 1, (int64_t[]){t.k});

        for (int64_t k = 0; k < t.k; k++) {
            ((int32_t *)index->data)[k] = (int32_t)(k % 2);
        }
        t.index = index;
    } else {
        op_harness_omit(&h);
    }
    if (round % 2 == 1) {
        t.bias = op_harness_any(&h, dtype, 1, (int64_t[]){t.n}, false);
    }
    op_harness_run(&h, 1);
    op_harness_expect(&h, 0, dtype, 3, (int64_t[]){1, t.m, t.n});
    expect_result(&h, &t, dtype == SPRY_DTYPE_F16 ? 2e-3 : 1e-4);
    op_harness_fini(&h);
}

static void test_random(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        run_round(round);
    }
}

/* Codes 0..15, low half first, scale 0.5, zero point 8: (1, ..., 1) gives 0.5 * (120 - 128). */
static void test_by_hand(void **state)
{
    static const uint8_t codes[] = {0x10, 0x32, 0x54, 0x76, 0x98, 0xBA, 0xDC, 0xFE};
    float ones[16];
    op_harness h;

    (void)state;
    for (int i = 0; i < 16; i++) {
        ones[i] = 1.0f;
    }
    op_harness_init(&h, "com.microsoft", "MatMulNBits", 1);
    set_sizes(&h, 1, 16, 4, 16);
    op_harness_f32(&h, 1, (int64_t[]){16}, ones);
    memcpy(op_harness_input(&h, SPRY_DTYPE_U8, 3, (int64_t[]){1, 1, 8})->data, codes, sizeof codes);
    op_harness_f32(&h, 1, (int64_t[]){1}, (float[]){0.5f});
    op_harness_run(&h, 1);
    op_harness_expect(&h, 0, SPRY_DTYPE_F32, 1, (int64_t[]){1});
    assert_true(op_harness_f32_at(&h, 0, 0) == -4.0f);
    op_harness_fini(&h);
}

static spry_status try_sizes(int64_t n, int64_t k, int64_t bits, int64_t block, int64_t bytes,
                             int64_t scales, int32_t index)
{
    op_harness h;
    spry_status status;

    op_harness_init(&h, "com.microsoft", "MatMulNBits", 1);
    set_sizes(&h, n, k, bits, block);
    op_harness_any(&h, SPRY_DTYPE_F32, 2, (int64_t[]){2, 32}, false);
    (void)random_bytes(&h, 1, &bytes);
    op_harness_any(&h, SPRY_DTYPE_F32, 1, &scales, false);
    op_harness_omit(&h);
    if (index != 0) {
        tensor *t = op_harness_input(&h, SPRY_DTYPE_I32, 1, (int64_t[]){32});

        ((int32_t *)t->data)[31] = index;
    }
    status = op_harness_try(&h, 1);
    op_harness_fini(&h);
    return status;
}

static void test_refused(void **state)
{
    (void)state;
    assert_int_equal(try_sizes(3, 32, 4, 32, 48, 3, 0), SPRY_OK);
    assert_int_equal(try_sizes(3, 32, 3, 32, 48, 3, 0), SPRY_BAD_INPUT);  /* bits */
    assert_int_equal(try_sizes(3, 32, 4, 24, 48, 3, 0), SPRY_BAD_INPUT);  /* block_size */
    assert_int_equal(try_sizes(3, 33, 4, 32, 48, 3, 0), SPRY_BAD_INPUT);  /* K */
    assert_int_equal(try_sizes(-3, 32, 4, 32, 48, 3, 0), SPRY_BAD_INPUT); /* N */
    assert_int_equal(try_sizes(INT64_MAX, 32, 4, 32, 48, 3, 0), SPRY_BAD_INPUT);
    assert_int_equal(try_sizes(3, 32, 4, 32, 47, 3, 0), SPRY_BAD_INPUT); /* codes */
    assert_int_equal(try_sizes(3, 32, 4, 32, 48, 2, 0), SPRY_BAD_INPUT); /* scales */
    assert_int_equal(try_sizes(3, 32, 4, 32, 48, 3, 1), SPRY_BAD_INPUT); /* index */
    assert_int_equal(try_sizes(3, 32, 4, 32, 48, 3, -1), SPRY_BAD_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
