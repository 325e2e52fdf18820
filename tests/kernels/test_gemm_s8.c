/* Every variant of the 8-bit product against plain loops, bit for bit: random shapes, extreme
 * bytes, ties, saturation, NaN. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/gemm/gemm_s8.h"
#include "spry/random.h"
#include "tensor/quantize.h"

enum { MOST = 150 * 150, MOST_K = 1200, CASES = 20000 };

typedef struct operands {
    int64_t m, n, k;
    uint8_t *a, *b;
    uint8_t *packed_a, *packed_b, *workspace;
    int32_t *offsets;
    float *factors;
    uint32_t *c, *expected;
    bool a_is_unsigned;
    uint8_t flip_a;
    gemm_s8_finish finish;
} operands;

static void *room(size_t bytes)
{
    void *memory = calloc(bytes, 1);

    assert_non_null(memory);
    return memory;
}

static void open_operands(operands *o)
{
    *o = (operands){.a = room(256 * MOST_K), .b = room(256 * MOST_K)};
    o->packed_a = room(256 * MOST_K);
    o->packed_b = room(256 * MOST_K);
    o->workspace = room(256 * MOST_K);
    o->offsets = room(512 * sizeof(int32_t));
    o->factors = room(512 * sizeof(float));
    o->c = room(MOST * sizeof(uint32_t));
    o->expected = room(MOST * sizeof(uint32_t));
}

static void close_operands(operands *o)
{
    free(o->a);
    free(o->b);
    free(o->packed_a);
    free(o->packed_b);
    free(o->workspace);
    free(o->offsets);
    free(o->factors);
    free(o->c);
    free(o->expected);
}

static void fill_bytes(spry_random *r, uint8_t *bytes, int64_t count)
{
    static const uint8_t extremes[] = {0, 1, 127, 128, 129, 255};
    bool is_extreme = spry_random_below(r, 4) == 0;

    for (int64_t i = 0; i < count; i++) {
        bytes[i] =
            is_extreme ? extremes[spry_random_below(r, 6)] : (uint8_t)spry_random_below(r, 256);
    }
}

static float random_factor(spry_random *r)
{
    static const float special[] = {0.5f, 0.25f, 0.0625f, 1.0f, 0.0f, 1e30f, INFINITY, NAN};

    if (spry_random_below(r, 8) == 0) {
        return special[spry_random_below(r, 8)];
    }
    return 0.0001f + 0.00001f * (float)spry_random_below(r, 1000);
}

static void make_finish(operands *o, spry_random *r)
{
    uint64_t parts = spry_random_below(r, 64);
    bool is_unsigned = spry_random_below(r, 2) == 0;
    int32_t low = is_unsigned ? 0 : -128;

    for (int i = 0; i < 512; i++) {
        o->offsets[i] = (int32_t)spry_random_below(r, 200000) - 100000;
        o->factors[i] = parts & 1 ? 0.5f : random_factor(r);
    }
    o->finish = (gemm_s8_finish){.result = (gemm_s8_result)spry_random_below(r, 3),
                                 .row_offset = parts & 2 ? o->offsets : NULL,
                                 .column_offset = parts & 4 ? o->offsets + 256 : NULL,
                                 .row_factor = parts & 8 ? o->factors : NULL,
                                 .column_factor = parts & 16 ? o->factors + 256 : NULL,
                                 .zero = low + (int32_t)spry_random_below(r, 256),
                                 .low = low,
                                 .high = low + 255,
                                 .lower = parts & 32 ? 0.0f : -INFINITY,
                                 .upper = parts & 32 ? 600.0f : INFINITY};
    if (parts & 32) {
        o->finish.low = o->finish.zero;
    }
}

static uint32_t bits_of(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return x == x ? bits : 0x7fc00000u;
}

static uint32_t expected_at(const operands *o, int64_t i, int64_t j)
{
    const gemm_s8_finish *f = &o->finish;
    int64_t sum = 0;
    float scaled;

    for (int64_t k = 0; k < o->k; k++) {
        uint8_t a = o->a[i * o->k + k] ^ o->flip_a;
        uint8_t b = o->b[j * o->k + k];

        sum += o->a_is_unsigned ? (int64_t)a * (int8_t)b : (int64_t)(int8_t)a * b;
    }
    sum += f->row_offset != NULL ? f->row_offset[i] : 0;
    sum += f->column_offset != NULL ? f->column_offset[j] : 0;
    if (f->result == GEMM_S8_SUMS) {
        return (uint32_t)sum;
    }
    scaled = (float)(int32_t)sum;
    scaled *= f->row_factor != NULL ? f->row_factor[i] : 1.0f;
    scaled *= f->column_factor != NULL ? f->column_factor[j] : 1.0f;
    if (f->result == GEMM_S8_BYTES) {
        quantize_target t = {f->low, f->high, f->zero};

        return (uint8_t)quantize_scaled(scaled, t);
    }
    scaled = scaled < f->lower ? f->lower : scaled;
    return bits_of(scaled > f->upper ? f->upper : scaled);
}

static uint32_t result_at(const operands *o, int64_t i)
{
    float x;

    switch (o->finish.result) {
    case GEMM_S8_BYTES: return ((const uint8_t *)o->c)[i];
    case GEMM_S8_SUMS: return o->c[i];
    case GEMM_S8_FLOATS: break;
    }
    memcpy(&x, &o->c[i], sizeof x);
    return bits_of(x);
}

static void check_result(const operands *o, const char *name)
{
    for (int64_t i = 0; i < o->m * o->n; i++) {
        if (result_at(o, i) != o->expected[i]) {
            fail_msg("%s %lldx%lldx%lld result %d, element %lld: %#x, expected %#x", name,
                     (long long)o->m, (long long)o->n, (long long)o->k, (int)o->finish.result,
                     (long long)i, result_at(o, i), o->expected[i]);
        }
    }
}

/* Computes with B packed on the way, and again packed before with the columns in two parts. */
static void run_both_ways(const gemm_s8_kernel *kernel, operands *o)
{
    gemm_s8_matrix a = {o->a, o->k, 1, o->k, o->flip_a};
    gemm_s8_matrix b = {o->b, o->k, 1, o->k, 0};
    gemm_s8_problem p = {.m = o->m,
                         .k = o->k,
                         .n = o->n,
                         .packed_a = o->packed_a,
                         .a_is_unsigned = o->a_is_unsigned,
                         .b = {NULL, gemm_s8_pack, &b},
                         .c = o->c,
                         .c_stride = o->n,
                         .finish = o->finish};
    int64_t half = o->n / 2 / kernel->nr * kernel->nr;

    gemm_s8_pack(&a, 0, o->m, kernel->mr, o->packed_a);
    gemm_s8_run(kernel, &p, o->workspace);
    check_result(o, kernel->name);
    memset(o->c, 0x55, (size_t)(o->m * o->n) * sizeof *o->c);
    gemm_s8_pack(&b, 0, o->n, kernel->nr, o->packed_b);
    p.b = (gemm_s8_source){.packed = o->packed_b};
    p.n = half;
    gemm_s8_run(kernel, &p, NULL);
    p.n_first = half;
    p.n = o->n - half;
    gemm_s8_run(kernel, &p, NULL);
    check_result(o, kernel->name);
}

static void check_shape(operands *o, spry_random *r, int64_t m, int64_t n, int64_t k)
{
    o->m = m;
    o->n = n;
    o->k = k;
    o->a_is_unsigned = spry_random_below(r, 2) == 0;
    o->flip_a = spry_random_below(r, 2) == 0 ? 0x80 : 0;
    fill_bytes(r, o->a, m * k);
    fill_bytes(r, o->b, n * k);
    make_finish(o, r);
    for (int64_t i = 0; i < m * n; i++) {
        o->expected[i] = expected_at(o, i / n, i % n);
    }
    for (int v = 0; v < gemm_s8_variant_count; v++) {
        if (gemm_s8_usable(&gemm_s8_variants[v])) {
            run_both_ways(gemm_s8_variants[v].table, o);
        }
    }
}

static void test_random(void **state)
{
    spry_random random = spry_random_stream(7, 0);
    spry_random *r = &random;
    operands o;

    (void)state;
    open_operands(&o);
    for (int i = 0; i < CASES; i++) {
        bool is_large = i % 500 == 0;
        int64_t m = 1 + (int64_t)spry_random_below(r, is_large ? 149 : 9);
        int64_t n = 1 + (int64_t)spry_random_below(r, is_large ? 149 : 20);
        int64_t k = (int64_t)spry_random_below(r, is_large ? MOST_K : 20);

        check_shape(&o, r, m, n, k);
    }
    check_shape(&o, r, 7, 130, MOST_K);
    close_operands(&o);
}

/* Sums of lines, with whatever after the last step. */
static void test_line_sums(void **state)
{
    spry_random r = spry_random_stream(9, 0);

    (void)state;
    for (int i = 0; i < 500; i++) {
        int64_t count = 1 + (int64_t)spry_random_below(&r, 70);
        int64_t k = 1 + (int64_t)spry_random_below(&r, 30);
        int width = i % 2 == 0 ? 6 : 64;
        uint8_t *packed = room((size_t)gemm_s8_packed_size(count, k, width));
        int32_t sums[70];

        fill_bytes(&r, packed, gemm_s8_packed_size(count, k, width));
        gemm_s8_sum_lines(packed, count, k, width, -7, sums);
        for (int64_t line = 0; line < count; line++) {
            const uint8_t *panel = packed + line / width * width * gemm_s8_padded(k);
            int32_t sum = 0;

            for (int64_t step = 0; step < k; step++) {
                sum += panel[(step / 4 * width + line % width) * 4 + step % 4];
            }
            assert_int_equal(sums[line], -7 * sum);
        }
        free(packed);
    }
}

/* What vpmaddubsw would saturate: 255 x 127 twice. */
static void test_saturation_probe(void **state)
{
    operands o;
    spry_random random = spry_random_stream(8, 0);

    (void)state;
    open_operands(&o);
    check_shape(&o, &random, 3, 70, 8);
    o.a_is_unsigned = true;
    o.flip_a = 0;
    o.finish = (gemm_s8_finish){.result = GEMM_S8_SUMS};
    memset(o.a, 255, (size_t)(o.m * o.k));
    memset(o.b, 127, (size_t)(o.n * o.k));
    for (int64_t i = 0; i < o.m * o.n; i++) {
        o.expected[i] = 255 * 127 * 8;
    }
    for (int v = 0; v < gemm_s8_variant_count; v++) {
        if (gemm_s8_usable(&gemm_s8_variants[v])) {
            run_both_ways(gemm_s8_variants[v].table, &o);
        }
    }
    close_operands(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_line_sums),
        cmocka_unit_test(test_saturation_probe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
