/* Every variant of the 8-bit tile against plain loops, bit for bit: random tiles, extreme bytes,
 * ties, saturation, NaN. SPRY_TEST_CASES=N tries that many tiles instead of the usual number. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/brgemm/brgemm.h"
#include "spry/random.h"
#include "tensor/quantize.h"

enum {
    CASES = 20000,
    MOST_TAPS = 5,
    MOST_K = 35,
    IMAGE = 12000,
    RESULT = 9000,
    CANARY = 0x5A,
    COLUMNS = BRGEMM_MOST_NR
};

/* A tile and what it needs. Weights are kept as [tap][k][column]. */
typedef struct trial {
    uint8_t image[IMAGE];
    int8_t weights[MOST_TAPS * MOST_K * COLUMNS];
    uint8_t packed[MOST_TAPS * (MOST_K + 4) * COLUMNS];
    uint8_t c[RESULT], before[RESULT];
    float residual[RESULT / 4];
    int32_t offset[COLUMNS], row_offset[BRGEMM_MOST_MR];
    float factor[COLUMNS], bias[COLUMNS];
    int64_t tap_offsets[MOST_TAPS];
    int64_t k;
    brgemm_finish finish;
    brgemm_tile tile;
} trial;

static int64_t below(spry_random *r, int64_t n)
{
    return (int64_t)spry_random_below(r, (uint64_t)n);
}

static void fill_bytes(spry_random *r, void *bytes, int64_t count)
{
    static const uint8_t extremes[] = {0, 1, 127, 128, 129, 255};
    bool is_extreme = below(r, 4) == 0;
    uint8_t *to = bytes;

    for (int64_t i = 0; i < count; i++) {
        to[i] = is_extreme ? extremes[below(r, 6)] : (uint8_t)below(r, 256);
    }
}

static float random_factor(spry_random *r, bool is_usual)
{
    static const float special[] = {0.5f, 0.25f, 0.0625f, 1.0f, 0.0f, 1e30f, INFINITY, NAN};

    if (!is_usual && below(r, 8) == 0) {
        return special[below(r, 8)];
    }
    return (is_usual ? 1.0f : 3.0f) * (0.0001f + 0.00001f * (float)below(r, 1000));
}

static void halve(float *to, const float *from, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        to[i] = from[i] * 0.5f;
    }
}

static void make_finish(trial *t, spry_random *r)
{
    bool is_unsigned = below(r, 2) == 0;
    bool is_usual = below(r, 2) == 0;
    bool is_tie = below(r, 4) == 0;
    bool is_clamped = below(r, 3) == 0;
    int32_t low = is_unsigned ? 0 : -128;

    for (int i = 0; i < COLUMNS; i++) {
        t->offset[i] = (int32_t)below(r, 200000) - 100000;
        t->factor[i] = is_tie ? 0.5f : random_factor(r, is_usual);
        t->bias[i] = (float)below(r, 100) - 50.0f;
    }
    for (int i = 0; i < BRGEMM_MOST_MR; i++) {
        t->row_offset[i] = (int32_t)below(r, 200000) - 100000;
    }
    t->finish = (brgemm_finish){.result = (brgemm_result)below(r, 3),
                                .offset = below(r, 4) != 0 ? t->offset : NULL,
                                .row_offset = below(r, 4) == 0 ? t->row_offset : NULL,
                                .factor = below(r, 8) != 0 ? t->factor : NULL,
                                .zero = low + (int32_t)below(r, 256),
                                .low = low,
                                .high = low + 255,
                                .lower = is_clamped ? 0.0f : -INFINITY,
                                .upper = is_clamped ? 600.0f : INFINITY};
    if (is_clamped) {
        t->finish.low = t->finish.zero;
        t->finish.high = t->finish.zero + (int32_t)below(r, low + 256 - t->finish.zero);
    }
    if (t->finish.result == BRGEMM_FLOATS) {
        t->finish.bias = below(r, 2) == 0 ? t->bias : NULL;
        t->finish.residual = below(r, 2) == 0 ? t->residual : NULL;
        t->finish.activate = below(r, 4) == 0 ? halve : NULL;
    }
}

/* The tile's place among the bytes of the image and of the result. */
static void make_tile(trial *t, spry_random *r, const brgemm_kernel *kernel)
{
    int half = kernel->mr / 2;
    int size;

    t->k = 1 + below(r, MOST_K);
    t->tile = (brgemm_tile){.a = t->image,
                            .tap_offsets = t->tap_offsets,
                            .taps = (int)(1 + below(r, below(r, 3) == 0 ? MOST_TAPS : 1)),
                            .steps = (t->k + 3) / 4,
                            .b = t->packed,
                            .flip = below(r, 2) == 0 ? 0x80 : 0,
                            .c = t->c + 16,
                            .rows = (int)(1 + below(r, kernel->mr)),
                            .columns = (int)(1 + below(r, kernel->nr)),
                            .accumulate = below(r, 8) == 0,
                            .finish = below(r, 8) != 0 ? &t->finish : NULL};
    if (below(r, 2) == 0) {
        t->tile.rows = kernel->mr;
    }
    if (t->tile.finish != NULL && t->finish.result != BRGEMM_SUMS) {
        t->tile.accumulate = t->tile.accumulate && t->finish.result == BRGEMM_FLOATS;
    }
    size = t->tile.finish != NULL && t->finish.result == BRGEMM_BYTES ? 1 : 4;
    t->tile.a_pitch = below(r, 200);
    t->tile.a_second = below(r, 2) == 0 ? half * t->tile.a_pitch : below(r, 3000);
    t->tile.c_pitch = (t->tile.columns + below(r, 5)) * size;
    t->tile.c_second = (half + below(r, 3)) * t->tile.c_pitch;
    t->finish.residual_pitch = t->tile.columns + below(r, 9);
    t->finish.residual_second = (half + below(r, 3)) * t->finish.residual_pitch;
    for (int i = 0; i < t->tile.taps; i++) {
        t->tap_offsets[i] = below(r, 4000);
    }
}

static int64_t at_row(int row, int mr, int64_t pitch, int64_t second)
{
    return row < mr / 2 ? row * pitch : second + (row - mr / 2) * pitch;
}

static uint32_t sum_at(const trial *t, const brgemm_kernel *kernel, int row, int column)
{
    const uint8_t *a = t->image + at_row(row, kernel->mr, t->tile.a_pitch, t->tile.a_second);
    uint32_t sum = 0;

    for (int tap = 0; tap < t->tile.taps; tap++) {
        for (int64_t k = 0; k < t->k; k++) {
            int32_t x = a[t->tap_offsets[tap] + k] ^ t->tile.flip;

            sum += (uint32_t)(x * t->weights[(tap * t->k + k) * COLUMNS + column]);
        }
    }
    return sum;
}

/* NaNs are all the same here, and so are zeros. */
static uint32_t bits_of(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return x != x ? 0x7fc00000u : x != 0.0f ? bits : 0;
}

static float finish_float(const trial *t, const brgemm_kernel *kernel, int row, int column, float v)
{
    const brgemm_finish *f = &t->finish;

    v += f->bias != NULL ? f->bias[column] : 0.0f;
    if (f->residual != NULL) {
        v += f->residual[at_row(row, kernel->mr, f->residual_pitch, f->residual_second) + column];
    }
    if (f->activate != NULL) {
        return v * 0.5f;
    }
    v = v < f->lower ? f->lower : v;
    return v > f->upper ? f->upper : v;
}

/* The four bytes at `c`, or one. */
static uint32_t expected_at(const trial *t, const brgemm_kernel *kernel, int row, int column,
                            const uint8_t *before)
{
    const brgemm_finish *f = &t->finish;
    uint32_t sum = sum_at(t, kernel, row, column);
    uint32_t there;
    float v;

    memcpy(&there, before, sizeof there);
    sum += t->tile.accumulate ? there : 0;
    if (t->tile.finish == NULL) {
        return sum;
    }
    sum += f->offset != NULL ? (uint32_t)f->offset[column] : 0;
    sum += f->row_offset != NULL ? (uint32_t)f->row_offset[row] : 0;
    if (f->result == BRGEMM_SUMS) {
        return sum;
    }
    v = (float)(int32_t)sum * (f->factor != NULL ? f->factor[column] : 1.0f);
    if (f->result == BRGEMM_BYTES) {
        return (uint8_t)quantize_scaled(v, (quantize_target){f->low, f->high, f->zero});
    }
    return bits_of(finish_float(t, kernel, row, column, v));
}

static uint32_t result_at(const trial *t, const uint8_t *c)
{
    uint32_t bits;
    float x;

    if (t->tile.finish != NULL && t->finish.result == BRGEMM_BYTES) {
        return *c;
    }
    memcpy(&bits, c, sizeof bits);
    memcpy(&x, c, sizeof x);
    return t->tile.finish != NULL && t->finish.result == BRGEMM_FLOATS ? bits_of(x) : bits;
}

/* Checks the tile's elements, and clears them to find what else was written. */
static void check_result(trial *t, const brgemm_kernel *kernel)
{
    int size = t->tile.finish != NULL && t->finish.result == BRGEMM_BYTES ? 1 : 4;

    for (int i = 0; i < t->tile.rows; i++) {
        for (int j = 0; j < t->tile.columns; j++) {
            int64_t at = 16 + at_row(i, kernel->mr, t->tile.c_pitch, t->tile.c_second) + j * size;
            uint32_t expected = expected_at(t, kernel, i, j, t->before + at);
            uint32_t got = result_at(t, t->c + at);

            if (got != expected) {
                fail_msg("%s rows %d columns %d k %lld taps %d result %d: element (%d, %d) is %#x, "
                         "expected %#x",
                         kernel->name, t->tile.rows, t->tile.columns, (long long)t->k, t->tile.taps,
                         (int)t->finish.result, i, j, got, expected);
            }
        }
    }
    for (int i = 0; i < t->tile.rows; i++) {
        int64_t at = 16 + at_row(i, kernel->mr, t->tile.c_pitch, t->tile.c_second);

        memcpy(t->c + at, t->before + at, (size_t)(t->tile.columns * size));
    }
    assert_memory_equal(t->c, t->before, RESULT);
}

static void run_trial(trial *t, spry_random *r, const brgemm_kernel *kernel)
{
    brgemm_source source = {.data = t->weights, .k_stride = COLUMNS, .column_stride = 1};

    make_finish(t, r);
    make_tile(t, r, kernel);
    source.tap_stride = t->k * COLUMNS;
    fill_bytes(r, t->weights, t->tile.taps * t->k * COLUMNS);
    brgemm_pack(kernel, &source, t->tile.taps, t->k, t->tile.columns, t->packed);
    memset(t->before, CANARY, sizeof t->before);
    memcpy(t->c, t->before, sizeof t->c);
    kernel->tile(&t->tile);
    check_result(t, kernel);
}

static int cases(void)
{
    const char *wanted = getenv("SPRY_TEST_CASES");
    long number = wanted != NULL ? strtol(wanted, NULL, 10) : 0;

    return number > 0 && number < INT32_MAX ? (int)number : CASES;
}

static void test_random(void **state)
{
    brgemm_variants variants = brgemm_variants_of(BRGEMM_S8);
    spry_random r = spry_random_stream(7, 0);
    trial *t = malloc(sizeof *t);

    (void)state;
    assert_non_null(t);
    for (int i = 0; i < RESULT / 4; i++) {
        t->residual[i] = (float)below(&r, 100);
    }
    for (int v = 0; v < variants.count; v++) {
        for (int i = 0; brgemm_usable(&variants.list[v]) && i < cases(); i++) {
            if (i % 16 == 0) {
                fill_bytes(&r, t->image, IMAGE);
            }
            run_trial(t, &r, variants.list[v].table);
        }
    }
    free(t);
}

/* What vpmaddubsw would saturate: 255 x 127 four times is 129540. */
static void test_saturation_probe(void **state)
{
    brgemm_variants variants = brgemm_variants_of(BRGEMM_S8);
    uint8_t a[4] = {255, 255, 255, 255};
    int8_t w[4] = {127, 127, 127, 127};
    uint8_t packed[4 * COLUMNS];
    brgemm_source source = {.data = w, .k_stride = 1};
    int64_t none = 0;
    int32_t c = 0;

    (void)state;
    for (int v = 0; v < variants.count; v++) {
        const brgemm_kernel *kernel = variants.list[v].table;
        brgemm_tile tile = {.a = a,
                            .tap_offsets = &none,
                            .taps = 1,
                            .steps = 1,
                            .b = packed,
                            .c = &c,
                            .rows = 1,
                            .columns = 1};

        if (brgemm_usable(&variants.list[v])) {
            brgemm_pack(kernel, &source, 1, 4, 1, packed);
            kernel->tile(&tile);
            assert_int_equal(c, 129540);
        }
    }
}

/* 5 x 0.5 is 2, 7 x 0.5 is 4, -5 x 0.5 is -2: to even, then the zero point, then the limits. */
static void test_rounding(void **state)
{
    static const int32_t offsets[] = {5, 7, -5, 1000, -1000};
    static const float factors[] = {0.5f, 0.5f, 0.5f, 0.5f, 0.5f};
    static const int8_t expected[] = {3, 5, -1, 127, -128};
    brgemm_variants variants = brgemm_variants_of(BRGEMM_S8);
    brgemm_finish finish = {.result = BRGEMM_BYTES,
                            .offset = offsets,
                            .factor = factors,
                            .zero = 1,
                            .low = -128,
                            .high = 127};
    uint8_t packed[4 * COLUMNS] = {0};
    uint8_t a[4] = {1, 2, 3, 4};
    int64_t none = 0;
    int8_t c[5];

    (void)state;
    for (int v = 0; v < variants.count; v++) {
        const brgemm_kernel *kernel = variants.list[v].table;
        brgemm_tile tile = {.a = a,
                            .tap_offsets = &none,
                            .taps = 1,
                            .steps = 1,
                            .b = packed,
                            .c = c,
                            .rows = 1,
                            .columns = 5,
                            .finish = &finish};

        if (brgemm_usable(&variants.list[v])) {
            kernel->tile(&tile);
            assert_memory_equal(c, expected, sizeof c);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_saturation_probe),
        cmocka_unit_test(test_rounding),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
