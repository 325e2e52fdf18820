/* Kernels of floats on operands that end, or begin, where memory does: what is read or written
 * outside ends the program, and results do not depend on where the operands lie. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/attention/attention_f32.h"
#include "kernels/brgemm/bf16.h"
#include "kernels/conv/conv_f32.h"
#include "kernels/elementwise/activation_f32.h"
#include "kernels/elementwise/channels_f32.h"
#include "kernels/gemm/gemm_f32.h"
#include "kernels/pool/pool_f32.h"
#include "kernels/pool/pool_nhwc.h"
#include "kernels/transpose/transpose.h"
#include "support/guarded.h"
#include "support/sample.h"

enum { OPERANDS = 4, MOST = 40000, LENGTHS = 70 };

/* Operands of one call, each flush with the same end of its memory. */
static guarded rooms[OPERANDS];

static int make_rooms(void **state)
{
    (void)state;
    for (int i = 0; i < OPERANDS; i++) {
        rooms[i] = guarded_make(MOST * sizeof(float), true);
    }
    return 0;
}

static int free_rooms(void **state)
{
    (void)state;
    for (int i = 0; i < OPERANDS; i++) {
        guarded_free(&rooms[i]);
    }
    return 0;
}

static float *floats_at(int operand, int64_t count, bool at_end)
{
    guarded_place(&rooms[operand], (size_t)count * sizeof(float), at_end);
    return (float *)(void *)rooms[operand].data;
}

/* An operand of always the same numbers. */
static float *given(int operand, int64_t count, bool at_end)
{
    spry_random r = spry_random_stream(9, (uint64_t)operand);
    float *x = floats_at(operand, count, at_end);

    spry_random_fill_uniform(&r, x, (size_t)count, 0.1f, 2.0f);
    return x;
}

/* Runs something at both ends; `count` floats of the result must be the same. */
typedef void body(const void *kernel, int64_t n, bool at_end, float *y);

static void check_both(body *run, const void *kernel, int64_t n, int64_t count)
{
    static float first[MOST];
    float *y = floats_at(0, count, true);

    run(kernel, n, true, y);
    memcpy(first, y, (size_t)count * sizeof *y);
    y = floats_at(0, count, false);
    run(kernel, n, false, y);
    assert_memory_equal(first, y, (size_t)count * sizeof *y);
}

typedef void each(const isa_variant *variant, int64_t n);

static void for_lengths(const isa_variant *variants, int count, each *check)
{
    for (int v = 0; v < count; v++) {
        for (int64_t n = 1; n <= LENGTHS && isa_usable(variants[v].level); n++) {
            check(&variants[v], n);
        }
    }
}

/* ---- elementwise ---- */

static void run_maps(const void *kernel, int64_t n, bool at_end, float *y)
{
    const elementwise_f32_kernel *k = kernel;
    elementwise_f32_map *const maps[] = {k->exp,       k->expm1,   k->log,        k->tanh,
                                         k->erf,       k->sigmoid, k->softplus,   k->gelu,
                                         k->gelu_tanh, k->softmax, k->log_softmax};
    const float *x = given(1, n, at_end);

    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        maps[i](y, x, n);
    }
    k->swish(y, x, n, 1.0f);
    k->elu(y, x, n, 0.5f);
    k->scale(y, x, n, 2.0f, 1.0f);
    k->clamp(y, x, n, 0.5f, 1.0f);
    k->add_one(y, x, n, 1.0f);
    k->multiply_one(y, x, n, 1.5f);
    k->divide_one(y, x, n, 3.0f);
}

static void run_pairs(const void *kernel, int64_t n, bool at_end, float *y)
{
    const elementwise_f32_kernel *k = kernel;
    const float *a = given(1, n, at_end);
    const float *b = given(2, n, at_end);

    k->add(y, a, b, n);
    k->multiply(y, a, b, n);
    k->subtract(y, a, b, n);
    k->add_relu(y, a, b, n);
    k->divide(y, a, b, n);
}

static void run_norms(const void *kernel, int64_t n, bool at_end, float *y)
{
    const elementwise_f32_kernel *k = kernel;
    elementwise_f32_norm norm = {given(2, n, at_end), given(3, n, at_end), 1e-5f};
    const float *x = given(1, n, at_end);

    (void)k->rms_norm(y, x, n, &norm);
    (void)k->layer_norm(y, x, n, &norm);
    y[0] += (float)k->sum(x, n);
}

static void check_elementwise(const isa_variant *variant, int64_t n)
{
    check_both(run_maps, variant->table, n, n);
    check_both(run_pairs, variant->table, n, n);
    check_both(run_norms, variant->table, n, n);
}

static void run_activations(const void *kernel, int64_t n, bool at_end, float *y)
{
    const activation_f32_kernel *k = kernel;
    const float *x = given(1, n, at_end);

    for (int kind = 0; kind < ACTIVATION_F32_KINDS; kind++) {
        k->run[kind](y, x, n);
    }
}

static void check_activations(const isa_variant *variant, int64_t n)
{
    check_both(run_activations, variant->table, n, n);
}

static void run_channels(const void *kernel, int64_t n, bool at_end, float *y)
{
    const channels_f32_kernel *k = kernel;
    channels_f32_image image = {.from = given(1, 3 * n, at_end),
                                .to = y,
                                .pixels = 3,
                                .channels = n,
                                .scale = given(2, n, at_end),
                                .shift = given(3, n, at_end),
                                .lower = 0.0f,
                                .upper = 3.0f};

    k->scale(&image);
}

static void check_channels(const isa_variant *variant, int64_t n)
{
    check_both(run_channels, variant->table, n, 3 * n);
}

static void run_narrow(const void *kernel, int64_t n, bool at_end, float *y)
{
    const bf16_kernel *k = kernel;
    uint16_t *to = (uint16_t *)(void *)y;

    to[2 * n - 1] = 0; /* two results are given one place */
    k->narrow(to + (at_end ? n : 0), given(1, n, at_end), n);
    k->narrow(to + (at_end ? 0 : n), given(1, n, at_end), n);
}

static void test_elementwise(void **state)
{
    (void)state;
    for_lengths(elementwise_f32_variants, elementwise_f32_variant_count, check_elementwise);
    for_lengths(activation_f32_variants, activation_f32_variant_count, check_activations);
    for_lengths(channels_f32_variants, channels_f32_variant_count, check_channels);
    for (int v = 0; v < bf16_variant_count; v++) {
        for (int64_t n = 1; n <= LENGTHS && bf16_usable(&bf16_variants[v]); n++) {
            check_both(run_narrow, bf16_variants[v].table, n, n);
        }
    }
}

/* ---- images ---- */

static const conv_f32_shape window = {2, 5, 0, 5, 0, 3, 3, 1, 1, 1, 1, 1, 1};

static conv_f32_shape shape_of(int64_t width, int64_t channels)
{
    conv_f32_shape s = window;

    s.channels = channels;
    s.in_w = s.out_w = width;
    return s;
}

static void run_pool(const void *kernel, int64_t n, bool at_end, float *y)
{
    const pool_f32_kernel *k = kernel;
    conv_f32_shape s = shape_of(n, 2);
    pool_f32_planes p = {
        .shape = &s, .count = 2, .in = given(1, 2 * 5 * n, at_end), .out = y, .end_w = 1};

    k->max(&p);
    k->average(&p);
}

static void check_pool(const isa_variant *variant, int64_t n)
{
    check_both(run_pool, variant->table, n, 2 * 5 * n);
}

static void run_pool_nhwc(const void *kernel, int64_t n, bool at_end, float *y)
{
    const pool_nhwc_kernel *k = kernel;
    conv_f32_shape s = shape_of(4, n);
    pool_nhwc_rows p = {
        .shape = &s, .count = 5, .in = given(1, 5 * 4 * n, at_end), .out = y, .end_w = 1};
    pool_nhwc_image whole = {.in = p.in, .pixels = 20, .channels = n, .count = n, .divisor = 20};

    k->max_f32(&p);
    k->average_f32(&p);
    whole.out = floats_at(2, n, at_end);
    k->global_max(&whole);
    k->global_average(&whole);
}

static void check_pool_nhwc(const isa_variant *variant, int64_t n)
{
    check_both(run_pool_nhwc, variant->table, n, 5 * 4 * n);
}

static void run_depthwise(const void *kernel, int64_t n, bool at_end, float *y)
{
    const conv_f32_depthwise_kernel *k = kernel;
    conv_f32_shape s = shape_of(n, 1);
    conv_f32_planes p = {.shape = &s,
                         .count = 2,
                         .channels = 2,
                         .multiplier = 1,
                         .in = given(1, 2 * 5 * n, at_end),
                         .weights = given(2, 2 * 9, at_end),
                         .bias = given(3, 2, at_end),
                         .lower = -INFINITY,
                         .upper = INFINITY,
                         .out = y};

    k->run(&p);
}

static void check_depthwise(const isa_variant *variant, int64_t n)
{
    check_both(run_depthwise, variant->table, n, 2 * 5 * n);
}

static void run_patches(const void *kernel, int64_t n, bool at_end, float *y)
{
    const conv_f32_packer *k = kernel;
    conv_f32_shape s = shape_of(n, 2);
    conv_f32_image image = {&s, given(1, 2 * 5 * n, at_end)};

    k->pack(&image, 1, 17, 16, 5 * n - 16, 16, y);
}

static void check_patches(const isa_variant *variant, int64_t n)
{
    if (5 * n > 16) {
        check_both(run_patches, variant->table, n, gemm_f32_packed_size(5 * n - 16, 17, 16));
    }
}

static void run_transpose(const void *kernel, int64_t n, bool at_end, float *y)
{
    const transpose_kernel *k = kernel;
    transpose_matrix words = {.from = given(1, 19 * n, at_end),
                              .to = y,
                              .rows = 19,
                              .columns = n,
                              .from_pitch = n * 4,
                              .to_pitch = 19 * 4};
    transpose_matrix bytes = words;

    k->words(&words);
    bytes.from_pitch = n;
    bytes.to_pitch = 19;
    guarded_place(&rooms[1], (size_t)(19 * n), at_end);
    guarded_place(&rooms[2], (size_t)(19 * n), at_end);
    bytes.from = rooms[1].data;
    bytes.to = rooms[2].data;
    k->bytes(&bytes);
}

static void check_transpose(const isa_variant *variant, int64_t n)
{
    check_both(run_transpose, variant->table, n, 19 * n);
}

static void test_images(void **state)
{
    (void)state;
    for_lengths(pool_f32_variants, pool_f32_variant_count, check_pool);
    for_lengths(pool_nhwc_variants, pool_nhwc_variant_count, check_pool_nhwc);
    for_lengths(conv_f32_depthwise_variants, conv_f32_depthwise_variant_count, check_depthwise);
    for_lengths(conv_f32_pack_variants, conv_f32_pack_variant_count, check_patches);
    for_lengths(transpose_variants, transpose_variant_count, check_transpose);
}

/* ---- products ---- */

/* Rows, columns and steps that are n in turn; packed operands end where memory does as well. */
static void run_gemm(const void *kernel, int64_t n, bool at_end, float *y)
{
    const gemm_f32_kernel *k = kernel;
    int64_t steps = n % 7 + 1;
    int64_t rows = n % 17 + 1;
    float *a = floats_at(2, gemm_f32_packed_size(rows, steps, k->mr), at_end);
    float *b = floats_at(3, gemm_f32_packed_size(n, steps, k->nr), at_end);
    gemm_f32_problem p = {.m = rows,
                          .k = steps,
                          .n = n,
                          .packed_a = a,
                          .b = {.packed = b},
                          .c = y,
                          .c_stride = n,
                          .finish = {.lower = -INFINITY, .upper = INFINITY}};

    gemm_f32_pack(given(1, rows * steps, at_end), steps, 1, rows, steps, k->mr, a);
    gemm_f32_pack(given(1, n * steps, at_end), 1, n, n, steps, k->nr, b);
    gemm_f32_run(k, &p, NULL);
}

static void check_gemm(const isa_variant *variant, int64_t n)
{
    check_both(run_gemm, variant->table, n, (n % 17 + 1) * n);
}

/* n keys of n % 19 + 1 numbers, values of another size; two heads. */
static void run_attention(const void *kernel, int64_t n, bool at_end, float *y)
{
    int64_t size = n % 19 + 1;
    int64_t rows = n % 5 + 1;
    attention_problem p = {.batch = 1,
                           .heads = 2,
                           .kv_heads = 2,
                           .rows = rows,
                           .keys = n,
                           .size = size,
                           .value_size = size,
                           .scale = 0.3f,
                           .q = {given(1, 2 * rows * size, at_end), 0, rows * size, size},
                           .k = {given(2, 2 * n * size, at_end), 0, n * size, size},
                           .v = {given(3, 2 * n * size, at_end), 0, n * size, size},
                           .out = y,
                           .out_head = rows * size,
                           .out_token = size};
    static _Alignas(64) float workspace[1 << 20];

    p.slice = attention_slice(kernel, &p, 1);
    assert_true(attention_workspace(kernel, &p) <= 1 << 20);
    for (int64_t piece = 0; piece < attention_pieces(&p); piece++) {
        attention_run(kernel, &p, piece, workspace);
    }
}

static void check_attention(const isa_variant *variant, int64_t n)
{
    check_both(run_attention, variant->table, n, 2 * (n % 5 + 1) * (n % 19 + 1));
}

static void test_products(void **state)
{
    (void)state;
    for_lengths(gemm_f32_variants, gemm_f32_variant_count, check_gemm);
    for_lengths(attention_f32_variants, attention_f32_variant_count, check_attention);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elementwise),
        cmocka_unit_test(test_images),
        cmocka_unit_test(test_products),
    };

    return cmocka_run_group_tests_name("kernels/guard_pages", tests, make_rooms, free_rooms);
}
