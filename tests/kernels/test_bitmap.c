/* Bitmaps: round trips, the counted examples and the published expectation of steps. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/sparse/bitmap.h"
#include "support/sample.h"

enum { MOST = 150, CASES = 60 };

static void *room(size_t bytes)
{
    void *memory = calloc(bytes + 8, 1);

    assert_non_null(memory);
    return memory;
}

/* Random bytes of which a share is kept; among f32 zeros of both signs and NaN. */
static void fill(spry_random *r, void *data, int64_t count, int bytes, double density)
{
    for (int64_t i = 0; i < count; i++) {
        uint32_t word = (uint32_t)sample_integer(r, 1, 0x3F000000);

        if (bytes == 4 && sample_integer(r, 0, 20) == 0) {
            word = 0x7FC00001; /* NaN */
        }
        if ((double)spry_random_f32(r) >= density) {
            word = bytes > 1 && sample_integer(r, 0, 1) != 0 ? 1u << (bytes * 8 - 1) : 0;
        }
        memcpy((char *)data + i * bytes, &word, (size_t)bytes);
    }
}

/* The same with all zeros positive, as decoding gives them. */
static void assert_same(const char *got, const char *expected, int64_t count, int bytes)
{
    for (int64_t i = 0; i < count; i++) {
        uint32_t a = 0;
        uint32_t b = 0;

        memcpy(&a, got + i * bytes, (size_t)bytes);
        memcpy(&b, expected + i * bytes, (size_t)bytes);
        if (bytes > 1 && b == 1u << (bytes * 8 - 1)) {
            b = 0;
        }
        assert_int_equal(a, b);
    }
}

static const int widths[] = {1, 2, 4};

static void check_round_trip(spry_random *r, int bytes)
{
    static const double densities[] = {0.0, 0.02, 0.3, 0.9, 1.0};
    double density = densities[sample_integer(r, 0, 4)];
    bitmap_matrix m = {
        .rows = sample_size(r, MOST), .columns = sample_size(r, MOST), .element_bytes = bytes};
    int64_t count = m.rows * m.columns;
    int64_t words = m.rows * bitmap_words(m.columns);
    char *data = room((size_t)(count * bytes));
    char *back = room((size_t)(count * bytes));
    char *values = room((size_t)(count * bytes));
    uint64_t *bits = room((size_t)words * 8);
    bitmap_matrix to = m;
    bool is_turned = sample_integer(r, 0, 1) != 0;
    int64_t kept;
    int64_t set = 0;

    fill(r, data, count, bytes, density);
    m.data = data;
    m.row_stride = is_turned ? 1 : m.columns;
    m.column_stride = is_turned ? m.rows : 1;
    kept = bitmap_encode(&m, bits, values);
    assert_int_equal(kept, bitmap_count(&m));
    for (int64_t i = 0; i < words; i++) {
        set += __builtin_popcountll(bits[i]);
    }
    assert_int_equal(set, kept);
    to.data = back;
    to.row_stride = m.row_stride;
    to.column_stride = m.column_stride;
    assert_true(bitmap_decode(bits, values, kept, &to));
    assert_same(back, data, count, bytes);
    assert_false(bitmap_decode(bits, values, kept + 1, &to));
    assert_true(kept == 0 || !bitmap_decode(bits, values, kept - 1, &to));
    if (m.rows > 0 && m.columns % 64 != 0) {
        bits[bitmap_words(m.columns) - 1] |= (uint64_t)1 << 63;
        assert_false(bitmap_decode(bits, values, kept + 1, &to));
    }
    free(data);
    free(back);
    free(values);
    free(bits);
}

static void make_tiles(bitmap_tiles *t, const bitmap_matrix *m, int tile_rows, int tile_columns)
{
    *t = (bitmap_tiles){.rows = m->rows,
                        .columns = m->columns,
                        .tile_rows = tile_rows,
                        .tile_columns = tile_columns,
                        .element_bytes = m->element_bytes};
    bitmap_tiles_measure(m, t);
    t->full = room((size_t)bitmap_words(bitmap_tiles_in_all(t)) * 8);
    t->bits = room((size_t)(t->kept * tile_rows) * 8);
    t->offset = room((size_t)t->kept * 8);
    t->values = room((size_t)(t->count * m->element_bytes));
    bitmap_tiles_encode(m, t);
}

static void free_tiles(bitmap_tiles *t)
{
    free(t->full);
    free(t->bits);
    free(t->offset);
    free(t->values);
}

static void check_tiles(spry_random *r, int bytes)
{
    static const double densities[] = {0.0, 0.005, 0.3, 1.0};
    bitmap_matrix m = {.rows = sample_size(r, MOST),
                       .columns = sample_positive_size(r, MOST),
                       .element_bytes = bytes};
    int64_t count = m.rows * m.columns;
    char *data = room((size_t)(count * bytes));
    char *back = room((size_t)(count * bytes));
    bitmap_matrix to = m;
    bitmap_tiles t;
    int64_t set = 0;
    int64_t full = 0;

    fill(r, data, count, bytes, densities[sample_integer(r, 0, 3)]);
    m.data = data;
    m.row_stride = m.columns;
    m.column_stride = 1;
    make_tiles(&t, &m, (int)sample_integer(r, 1, 32), (int)sample_integer(r, 1, 64));
    for (int64_t i = 0; i < t.kept * t.tile_rows; i++) {
        set += __builtin_popcountll(t.bits[i]);
    }
    for (int64_t i = 0; i < bitmap_words(bitmap_tiles_in_all(&t)); i++) {
        full += __builtin_popcountll(t.full[i]);
    }
    assert_int_equal(set, t.count);
    assert_int_equal(full, t.kept);
    assert_int_equal(t.count, bitmap_count(&m));
    to.data = back;
    to.row_stride = m.columns;
    to.column_stride = 1;
    assert_true(bitmap_tiles_decode(&t, &to));
    assert_same(back, data, count, bytes);
    if (t.kept > 0) { /* damaged */
        int64_t before = t.offset[t.kept - 1];

        t.offset[t.kept - 1] = t.count;
        assert_false(bitmap_tiles_decode(&t, &to));
        t.offset[t.kept - 1] = -1;
        assert_false(bitmap_tiles_decode(&t, &to));
        t.offset[t.kept - 1] = before;
        t.kept--;
        assert_false(bitmap_tiles_decode(&t, &to));
        t.kept += 2;
        assert_false(bitmap_tiles_decode(&t, &to));
    }
    free_tiles(&t);
    free(data);
    free(back);
}

static void test_round_trips(void **state)
{
    (void)state;
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        spry_random r = spry_random_stream(3, w);

        for (int i = 0; i < CASES; i++) {
            check_round_trip(&r, widths[w]);
            check_tiles(&r, widths[w]);
        }
    }
}

static bitmap_matrix of_floats(float *data, int64_t rows, int64_t columns)
{
    return (bitmap_matrix){data, rows, columns, columns, 1, 4};
}

static bitmap_work work_of(const bitmap_matrix *a, const bitmap_matrix *b)
{
    bitmap_tiles left;
    bitmap_tiles right;
    bitmap_work w;

    make_tiles(&left, a, 16, 32);
    make_tiles(&right, b, 16, 32);
    w = bitmap_product_work(&left, &right);
    free_tiles(&left);
    free_tiles(&right);
    return w;
}

/* A = diag(1, 2), B = [[0, 3], [4, 0]]: two steps with one product each. */
static void test_small_product(void **state)
{
    float a[] = {1, 0, 0, 2}; /* transposed: the same */
    float b[] = {0, 3, 4, 0};
    bitmap_matrix left = of_floats(a, 2, 2);
    bitmap_matrix right = of_floats(b, 2, 2);
    bitmap_work w = work_of(&left, &right);

    (void)state;
    assert_int_equal(w.steps, 2);
    assert_int_equal(w.multiplies, 2);
    assert_int_equal(w.dense_steps, 16 * 8);
}

static void test_steps(void **state)
{
    (void)state;
    assert_int_equal(bitmap_steps(20, 12), 3);
    assert_int_equal(bitmap_steps(32, 17), 8);
    assert_int_equal(bitmap_steps(0, 32), 0);
    assert_int_equal(bitmap_steps(32, 0), 0);
    assert_int_equal(bitmap_steps(1, 1), 1);
    assert_int_equal(bitmap_steps(32, 32), 8);
}

/* Steps of a column or a row of 32 whose elements are kept independently: binomial. `*spread`
 * becomes the standard deviation over the mean. */
static double expected_steps(double density, int group, double *spread)
{
    double chance[33] = {1.0};
    double mean = 0.0;
    double square = 0.0;

    for (int i = 0; i < 32; i++) {
        for (int j = i + 1; j > 0; j--) {
            chance[j] = chance[j] * (1.0 - density) + chance[j - 1] * density;
        }
        chance[0] *= 1.0 - density;
    }
    for (int j = 1; j <= 32; j++) {
        double steps = (j + group - 1) / group;

        mean += chance[j] * steps;
        square += chance[j] * steps * steps;
    }
    *spread = sqrt(square - mean * mean) / mean;
    return mean;
}

enum { DEEP = 16 * 16, WIDE = 32 * 8 };

static void random_matrix(spry_random *r, float *data, double density)
{
    for (int64_t i = 0; i < (int64_t)DEEP * WIDE; i++) {
        data[i] = (double)spry_random_f32(r) < density ? 1.0f : 0.0f;
    }
}

/* The table of expectations, and counted steps of random matrices beside it. */
static void test_expectation(void **state)
{
    static const double table[][3] = {
        {1.0, 4, 2},          {0.75, 3.430, 1.998}, {0.5, 2.428, 1.430}, {0.4, 2.034, 1.092},
        {0.3, 1.661, 1.005},  {0.25, 1.407, 1.000}, {0.2, 1.174, 0.999}, {0.1, 0.969, 0.966},
        {0.05, 0.806, 0.806}, {0.01, 0.275, 0.275}};
    static const int count = sizeof table / sizeof *table;
    spry_random r = spry_random_stream(5, 0);
    float *a = room(sizeof(float) * DEEP * WIDE);
    float *b = room(sizeof(float) * DEEP * WIDE);
    bitmap_matrix left = of_floats(a, DEEP, WIDE);
    bitmap_matrix right = of_floats(b, DEEP, WIDE);

    (void)state;
    for (int i = 0; i < count; i++) {
        double left_spread;
        double right_spread;
        double left_mean = expected_steps(table[i][0], 8, &left_spread);

        assert_true(fabs(left_mean - table[i][1]) < 1e-3);
        assert_true(fabs(expected_steps(table[i][0], 16, &right_spread) - table[i][2]) < 1e-3);
        for (int j = i % 2; j < count; j += 2) {
            double mean = left_mean * expected_steps(table[j][0], 16, &right_spread);
            double error = hypot(left_spread, right_spread) / sqrt(DEEP * (WIDE / 32));
            double counted;
            bitmap_work w;

            random_matrix(&r, a, table[i][0]);
            random_matrix(&r, b, table[j][0]);
            w = work_of(&left, &right);
            assert_int_equal(w.dense_steps, DEEP * (WIDE / 32) * (WIDE / 32) * 8);
            counted = 8.0 * (double)w.steps / (double)w.dense_steps;
            assert_true(fabs(counted - mean) <= (4.0 * error + 1e-9) * mean);
        }
    }
    free(a);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips), cmocka_unit_test(test_small_product),
        cmocka_unit_test(test_steps), cmocka_unit_test(test_expectation)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
