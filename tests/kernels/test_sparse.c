/* The tiles and rows that skip zeros: every variant against naive sums. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/sparse/sparse.h"
#include "kernels/sparse/sparse_lists.h"
#include "support/guarded.h"
#include "support/sample.h"

enum { MOST_ROWS = 9, MOST_ENTRIES = 30, LINES = 40, CASES = 150 };

static const brgemm_type types[] = {BRGEMM_F32, BRGEMM_BF16, BRGEMM_S8};

static float half_of(const void *from, int half)
{
    uint32_t bits;
    float x;

    memcpy(&bits, from, sizeof bits);
    bits = half != 0 ? bits & 0xFFFF0000u : bits << 16;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Product of two entries of four bytes; `*size` grows by the absolute values. */
static double product_of(brgemm_type type, const void *value, const void *b, double *size)
{
    double sum = 0.0;
    int count = type == BRGEMM_F32 ? 1 : type == BRGEMM_BF16 ? 2 : 4;

    for (int i = 0; i < count; i++) {
        double p;

        if (type == BRGEMM_F32) {
            p = (double)*(const float *)value * (double)*(const float *)b;
        } else if (type == BRGEMM_BF16) {
            p = (double)half_of(value, i) * (double)half_of(b, i);
        } else {
            p = ((const int8_t *)value)[i] * ((const uint8_t *)b)[i];
        }
        sum += p;
        *size += fabs(p);
    }
    return sum;
}

static void fill(spry_random *r, brgemm_type type, void *to, size_t words)
{
    float x[2];

    if (type == BRGEMM_S8) {
        sample_bytes(r, to, words * 4);
        return;
    }
    for (size_t i = 0; i < words; i++) {
        uint32_t bits[2];

        sample_f32(r, x, 2);
        memcpy(bits, x, sizeof bits);
        if (type == BRGEMM_BF16) {
            bits[0] = bits[0] >> 16 | (bits[1] & 0xFFFF0000u);
        }
        memcpy((char *)to + i * 4, bits, 4);
    }
}

static double number_at(brgemm_type type, const char *c)
{
    int32_t sum;

    memcpy(&sum, c, sizeof sum);
    return type == BRGEMM_S8 ? (double)sum : (double)*(const float *)(const void *)c;
}

/* B ends where memory ends, so that reading beyond whole vectors is caught. */
static void check_tile(spry_random *r, const sparse_kernel *kernel)
{
    sparse_row rows[MOST_ROWS];
    uint32_t at[MOST_ROWS * MOST_ENTRIES];
    uint32_t value[MOST_ROWS * MOST_ENTRIES];
    static char c[MOST_ROWS * SPARSE_MOST_COLUMNS * 4 + 64];
    static char before[sizeof c];
    sparse_tile t = {.rows = rows,
                     .row_count = sample_integer(r, 0, MOST_ROWS),
                     .at = at,
                     .value = value,
                     .c = c,
                     .columns = (int)sample_integer(r, 1, kernel->columns),
                     .accumulate = sample_integer(r, 0, 1) != 0};
    bool contiguous = sample_integer(r, 0, 1) != 0;
    int64_t line = contiguous ? kernel->columns * 4 : kernel->panel * 4;
    int64_t panels = (t.columns + kernel->panel - 1) / kernel->panel;
    size_t bytes = (size_t)(contiguous ? LINES * line : panels * LINES * line);
    guarded b = guarded_make(bytes, true);
    const char *read = (const char *)b.data;
    int64_t entry = 0;

    t.b = b.data;
    t.b_panel = contiguous ? kernel->panel * 4 : LINES * line;
    t.c_pitch = SPARSE_MOST_COLUMNS * 4;
    fill(r, kernel->type, b.data, bytes / 4);
    fill(r, kernel->type, value, sizeof value / 4);
    fill(r, kernel->type == BRGEMM_BF16 ? BRGEMM_F32 : kernel->type, c, sizeof c / 4);
    memcpy(before, c, sizeof c);
    for (int64_t i = 0; i < t.row_count; i++) {
        rows[i] = (sparse_row){(uint32_t)(MOST_ROWS - 1 - i),
                               (uint32_t)sample_integer(r, 0, MOST_ENTRIES)};
    }
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        at[i] = (uint32_t)(sample_integer(r, 0, LINES - 1) * line);
    }
    kernel->tile(&t);
    for (int64_t i = 0; i < t.row_count; i++) {
        int64_t place = rows[i].row * t.c_pitch;

        for (int column = 0; column < SPARSE_MOST_COLUMNS; column++) {
            const char *got = c + place + column * 4;
            double sum = t.accumulate ? number_at(kernel->type, before + place + column * 4) : 0.0;
            double size = fabs(sum);

            if (column >= t.columns) {
                assert_memory_equal(got, before + place + column * 4, 4);
                continue;
            }
            for (uint32_t j = 0; j < rows[i].count; j++) {
                sum += product_of(kernel->type, &value[entry + j],
                                  read + column / kernel->panel * t.b_panel + at[entry + j] +
                                      column % kernel->panel * 4,
                                  &size);
            }
            if (kernel->type == BRGEMM_S8) { /* wraps */
                int32_t bits;

                memcpy(&bits, got, sizeof bits);
                assert_int_equal((uint32_t)bits, (uint32_t)(int64_t)sum);
            } else {
                assert_true(fabs(number_at(kernel->type, got) - sum) <= 3e-6 * size + 1e-30);
            }
        }
        entry += rows[i].count;
    }
    guarded_free(&b);
}

static void test_tiles(void **state)
{
    (void)state;
    for (size_t type = 0; type < sizeof types / sizeof *types; type++) {
        brgemm_variants variants = sparse_variants_of(types[type]);

        for (int v = 0; v < variants.count; v++) {
            spry_random r = spry_random_stream(21, type);

            for (int i = 0; i < CASES && sparse_usable(&variants.list[v]); i++) {
                check_tile(&r, variants.list[v].table);
            }
        }
    }
}

/* ---- rows ---- */

enum { MOST = 100 };

static void check_list(spry_random *r, const sparse_rows_kernel *kernel)
{
    int64_t n = sample_size(r, MOST);
    guarded x = guarded_make((size_t)n * 4 + 4, true);
    float *numbers = (float *)(void *)(x.data + 4);
    uint32_t at[MOST + SPARSE_LIST_SLACK];
    float value[MOST + SPARSE_LIST_SLACK];
    int64_t count = 0;

    sample_f32(r, numbers, (size_t)n);
    for (int64_t i = 0; i < n; i++) {
        static const float odd[] = {0.0f, -0.0f, NAN, INFINITY};

        numbers[i] = sample_integer(r, 0, 2) == 0 ? odd[sample_integer(r, 0, 3)] : numbers[i];
    }
    assert_int_equal(kernel->list(numbers, n, 12, at, value), kernel->count(numbers, n));
    for (int64_t i = 0; i < n; i++) {
        if (numbers[i] != 0.0f) {
            assert_int_equal(at[count], i * 12);
            assert_memory_equal(&value[count], &numbers[i], 4);
            count++;
        }
    }
    assert_int_equal(kernel->count(numbers, n), count);
    guarded_free(&x);
}

static void check_join(spry_random *r, const sparse_rows_kernel *kernel)
{
    enum { ROWS = 7, MOST_IN_ROW = 50 };
    sparse_row rows[ROWS];
    uint32_t at[ROWS * MOST_IN_ROW];
    float value[ROWS * MOST_IN_ROW];
    sparse_row joined_rows[ROWS];
    uint32_t joined_at[ROWS * MOST_IN_ROW + SPARSE_LIST_SLACK];
    float joined_value[ROWS * MOST_IN_ROW + SPARSE_LIST_SLACK];
    uint16_t keep[SPARSE_KEEP_WORDS];
    sparse_block block = {rows, sample_integer(r, 0, ROWS), at, value};
    sparse_joined to = {keep,
                        (int)sample_integer(r, 2, 7),
                        sample_integer(r, 0, 1) != 0,
                        joined_rows,
                        joined_at,
                        joined_value};
    int64_t entry = 0;
    int64_t kept = 0;
    int64_t row = 0;
    int64_t got;

    sample_bytes(r, keep, sizeof keep);
    sample_f32(r, value, ROWS * MOST_IN_ROW);
    for (int64_t i = 0; i < block.row_count; i++) {
        rows[i] = (sparse_row){(uint32_t)(2 * i + 1), (uint32_t)sample_integer(r, 0, MOST_IN_ROW)};
    }
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        at[i] = (uint32_t)sample_integer(r, 0, SPARSE_KEEP_BITS - 1) << to.shift;
    }
    got = kernel->join(&block, &to);
    for (int64_t i = 0; i < block.row_count; i++) {
        uint32_t count = 0;

        for (uint32_t j = 0; j < rows[i].count; j++, entry++) {
            uint32_t k = at[entry] >> to.shift;

            if ((keep[k / 16] >> k % 16 & 1) != 0) {
                assert_int_equal(joined_at[kept], at[entry]);
                assert_memory_equal(&joined_value[kept], &value[entry], 4);
                kept++;
                count++;
            }
        }
        if (count > 0 || !to.drops) {
            assert_true(row < got);
            assert_int_equal(joined_rows[row].row, rows[i].row);
            assert_int_equal(joined_rows[row].count, count);
            row++;
        }
    }
    assert_int_equal(got, row);
}

static void twice(float *to, const float *from, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        to[i] = 2.0f * from[i];
    }
}

static void check_finish(spry_random *r, const sparse_rows_kernel *kernel)
{
    enum { ROWS = 5, COLUMNS = 40, PITCH = 43 };
    float from[ROWS * PITCH];
    float to[ROWS * PITCH];
    float residual[ROWS * PITCH];
    float bias[COLUMNS];
    brgemm_finish f = {.lower = sample_integer(r, 0, 1) != 0 ? 0.0f : -INFINITY,
                       .upper = sample_integer(r, 0, 1) != 0 ? 0.5f : INFINITY,
                       .residual_pitch = PITCH};
    int64_t columns = sample_integer(r, 1, COLUMNS);

    f.bias = sample_integer(r, 0, 1) != 0 ? bias : NULL;
    f.residual = sample_integer(r, 0, 1) != 0 ? residual : NULL;
    f.activate = sample_integer(r, 0, 2) == 0 ? twice : NULL;
    sample_f32(r, from, ROWS * PITCH);
    sample_f32(r, to, ROWS * PITCH);
    sample_f32(r, residual, ROWS * PITCH);
    sample_f32(r, bias, COLUMNS);
    from[0] = NAN;
    to[columns] = 77.0f;
    kernel->finish(from, PITCH, to, PITCH, ROWS, columns, &f);
    assert_true(columns == PITCH || to[columns] == 77.0f);
    for (int64_t i = 0; i < ROWS; i++) {
        for (int64_t j = 0; j < columns; j++) {
            float x = from[i * PITCH + j] + (f.bias != NULL ? bias[j] : 0.0f);

            x += f.residual != NULL ? residual[i * PITCH + j] : 0.0f;
            if (f.activate != NULL) {
                x *= 2.0f;
            } else if (!isnan(x)) {
                x = fminf(fmaxf(x, f.lower), f.upper);
            }
            assert_true(to[i * PITCH + j] == x || (isnan(x) && isnan(to[i * PITCH + j])));
        }
    }
}

static void test_rows(void **state)
{
    (void)state;
    for (int v = 0; v < sparse_rows_variant_count; v++) {
        spry_random r = spry_random_stream(22, 0);

        for (int i = 0; i < CASES && isa_usable(sparse_rows_variants[v].level); i++) {
            check_list(&r, sparse_rows_variants[v].table);
            check_join(&r, sparse_rows_variants[v].table);
            check_finish(&r, sparse_rows_variants[v].table);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tiles), cmocka_unit_test(test_rows)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
