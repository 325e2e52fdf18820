/* Every variant of the 8-bit tile against plain loops, bit for bit: random tiles, extreme bytes,
 * ties, saturation, NaN, with operands that end or begin where memory does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/cases.h"
#include "support/finish_s8.h"
#include "support/guarded.h"
#include "support/sample.h"

enum {
    MOST_TAPS = 5,
    MOST_K = 35,
    IMAGE = 12288,
    RESULT = 9000,
    CANARY = 0x5A,
    COLUMNS = BRGEMM_MOST_NR
};

/* A tile and what it needs. Weights are kept as [tap][k][column]. */
typedef struct trial {
    guarded image, packed, c;
    int8_t weights[MOST_TAPS * MOST_K * COLUMNS];
    uint8_t before[RESULT];
    size_t c_bytes;
    float residual[RESULT / 4];
    int32_t row_offset[BRGEMM_MOST_MR];
    int64_t tap_offsets[MOST_TAPS];
    int64_t k;
    finish_s8 drawn;
    brgemm_finish *finish; /* of `drawn` */
    brgemm_tile tile;
} trial;

static int64_t below(spry_random *r, int64_t n)
{
    return (int64_t)spry_random_below(r, (uint64_t)n);
}

static void make_finish(trial *t, spry_random *r)
{
    finish_s8_draw(r, COLUMNS, &t->drawn);
    t->finish = &t->drawn.finish;
    for (int i = 0; i < BRGEMM_MOST_MR; i++) {
        t->row_offset[i] = (int32_t)(spry_random_u32(r) % 200000) - 100000;
    }
    t->finish->row_offset = below(r, 4) == 0 ? t->row_offset : NULL;
    if (t->finish->result == BRGEMM_FLOATS && below(r, 2) == 0) {
        t->finish->residual = t->residual;
    }
}

static int64_t at_row(int row, int mr, int64_t pitch, int64_t second)
{
    return row < mr / 2 ? row * pitch : second + (row - mr / 2) * pitch;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* One past the last element of rows of `size`. */
static int64_t end_of(const trial *t, int mr, int64_t pitch, int64_t second, int64_t size)
{
    int last = t->tile.rows - 1;

    return larger(at_row(last, mr, pitch, second),
                  at_row(last < mr / 2 ? last : mr / 2 - 1, mr, pitch, second)) +
           size;
}

static size_t element_size(const trial *t)
{
    return t->tile.finish != NULL ? finish_s8_size(t->finish) : 4;
}

/* Puts what the tile reads and writes where memory ends or begins. */
static void place(trial *t, spry_random *r, const brgemm_kernel *kernel)
{
    brgemm_tile *tile = &t->tile;
    int64_t reach = 0;
    int64_t bytes = brgemm_packed_size(kernel, tile->taps, t->k, tile->columns);

    for (int i = 0; i < tile->taps; i++) {
        reach = larger(reach, t->tap_offsets[i]);
    }
    reach += end_of(t, kernel->mr, tile->a_pitch, tile->a_second, tile->steps * kernel->group);
    t->c_bytes = (size_t)end_of(t, kernel->mr, tile->c_pitch, tile->c_second,
                                tile->columns * (int64_t)element_size(t));
    guarded_place(&t->image, (size_t)reach, below(r, 2) == 0);
    guarded_place(&t->packed, (size_t)bytes, true);
    guarded_place(&t->c, t->c_bytes, below(r, 4) != 0);
    tile->a = t->image.data;
    tile->b = t->packed.data;
    tile->c = t->c.data;
}

/* The tile's place among the bytes of the image and of the result. */
static void make_tile(trial *t, spry_random *r, const brgemm_kernel *kernel)
{
    int half = kernel->mr / 2;
    int64_t size;

    t->k = 1 + below(r, MOST_K);
    t->tile = (brgemm_tile){.tap_offsets = t->tap_offsets,
                            .taps = (int)(1 + below(r, below(r, 3) == 0 ? MOST_TAPS : 1)),
                            .steps = (t->k + kernel->group - 1) / kernel->group,
                            .flip = below(r, 2) == 0 ? 0x80 : 0,
                            .rows = (int)(1 + below(r, kernel->mr)),
                            .columns = (int)(1 + below(r, kernel->nr)),
                            .accumulate = below(r, 8) == 0,
                            .finish = below(r, 8) != 0 ? t->finish : NULL};
    if (below(r, 2) == 0) {
        t->tile.rows = kernel->mr;
    }
    if (t->tile.finish != NULL && t->finish->result != BRGEMM_SUMS) {
        t->tile.accumulate = t->tile.accumulate && t->finish->result == BRGEMM_FLOATS;
    }
    size = (int64_t)element_size(t);
    t->tile.a_pitch = below(r, 200);
    t->tile.a_second = below(r, 2) == 0 ? half * t->tile.a_pitch : below(r, 3000);
    t->tile.c_pitch = (t->tile.columns + below(r, 5)) * size;
    t->tile.c_second = (half + below(r, 3)) * t->tile.c_pitch;
    t->finish->residual_pitch = t->tile.columns + below(r, 9);
    t->finish->residual_second = (half + below(r, 3)) * t->finish->residual_pitch;
    for (int i = 0; i < t->tile.taps; i++) {
        t->tap_offsets[i] = below(r, 4000);
    }
}

static uint32_t sum_at(const trial *t, const brgemm_kernel *kernel, int row, int column)
{
    const uint8_t *a = t->image.data + at_row(row, kernel->mr, t->tile.a_pitch, t->tile.a_second);
    uint32_t sum = 0;

    for (int tap = 0; tap < t->tile.taps; tap++) {
        for (int64_t k = 0; k < t->k; k++) {
            int32_t x = a[t->tap_offsets[tap] + k] ^ t->tile.flip;

            sum += (uint32_t)(x * t->weights[(tap * t->k + k) * COLUMNS + column]);
        }
    }
    return sum;
}

/* The four bytes at `c`, or one. */
static uint32_t expected_at(const trial *t, const brgemm_kernel *kernel, int row, int column,
                            const uint8_t *before)
{
    const brgemm_finish *f = t->finish;
    uint32_t sum = sum_at(t, kernel, row, column);
    int64_t residual = at_row(row, kernel->mr, f->residual_pitch, f->residual_second) + column;
    uint32_t there;

    memcpy(&there, before, sizeof there);
    sum += t->tile.accumulate ? there : 0;
    if (t->tile.finish == NULL) {
        return sum;
    }
    sum += f->row_offset != NULL ? (uint32_t)f->row_offset[row] : 0;
    return finish_s8_expected(f, sum, column, t->residual[residual]);
}

/* Checks the tile's elements, and clears them to find what else was written. */
static void check_result(trial *t, const brgemm_kernel *kernel)
{
    static const brgemm_finish plain = {.result = BRGEMM_SUMS};
    const brgemm_finish *f = t->tile.finish != NULL ? t->tile.finish : &plain;
    int64_t size = (int64_t)element_size(t);

    for (int i = 0; i < t->tile.rows; i++) {
        for (int j = 0; j < t->tile.columns; j++) {
            int64_t at = at_row(i, kernel->mr, t->tile.c_pitch, t->tile.c_second) + j * size;
            uint32_t expected = expected_at(t, kernel, i, j, t->before + at);
            uint32_t got = finish_s8_result(f, t->c.data + at);

            if (got != expected) {
                fail_msg("%s rows %d columns %d k %lld taps %d result %d: element (%d, %d) is %#x, "
                         "expected %#x",
                         kernel->name, t->tile.rows, t->tile.columns, (long long)t->k, t->tile.taps,
                         (int)f->result, i, j, got, expected);
            }
        }
    }
    for (int i = 0; i < t->tile.rows; i++) {
        int64_t at = at_row(i, kernel->mr, t->tile.c_pitch, t->tile.c_second);

        memcpy(t->c.data + at, t->before + at, (size_t)(t->tile.columns * size));
    }
    assert_memory_equal(t->c.data, t->before, t->c_bytes);
}

static void run_trial(trial *t, spry_random *r, const brgemm_kernel *kernel)
{
    brgemm_source source = {.data = t->weights, .k_stride = COLUMNS, .column_stride = 1};

    make_finish(t, r);
    make_tile(t, r, kernel);
    place(t, r, kernel);
    source.tap_stride = t->k * COLUMNS;
    sample_bytes(r, t->weights, (size_t)(t->tile.taps * t->k * COLUMNS));
    brgemm_pack(kernel, &source, t->tile.taps, t->k, t->tile.columns, t->packed.data);
    memset(t->c.data, CANARY, t->c_bytes);
    kernel->tile(&t->tile);
    check_result(t, kernel);
}

static void test_random(void **state)
{
    brgemm_variants variants = brgemm_variants_of(BRGEMM_S8);
    spry_random r = spry_random_stream(7, 0);
    int64_t cases = cases_of("products of bytes, each variant");
    trial *t = malloc(sizeof *t);

    (void)state;
    assert_non_null(t);
    t->image = guarded_make(IMAGE, false);
    t->packed = guarded_make((size_t)MOST_TAPS * (MOST_K + 4) * COLUMNS, true);
    t->c = guarded_make(RESULT, true);
    memset(t->before, CANARY, sizeof t->before);
    for (int i = 0; i < RESULT / 4; i++) {
        t->residual[i] = (float)below(&r, 100);
    }
    for (int v = 0; v < variants.count; v++) {
        for (int64_t i = 0; brgemm_usable(&variants.list[v]) && i < cases; i++) {
            if (i % 16 == 0) {
                guarded_place(&t->image, IMAGE, true);
                sample_bytes(&r, t->image.data, IMAGE);
            }
            run_trial(t, &r, variants.list[v].table);
        }
    }
    guarded_free(&t->image);
    guarded_free(&t->packed);
    guarded_free(&t->c);
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
