/* Every variant of the batch-reduce tile against naive sums in double precision, with operands that
 * end where memory does. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/brgemm/brgemm.h"
#include "support/guarded.h"
#include "support/sample.h"

enum { MOST_TAPS = 9, CANARY = 0x5A };

static const brgemm_type types[] = {BRGEMM_F32, BRGEMM_BF16, BRGEMM_S8};

/* One random tile. All sizes of A and C are in bytes. */
typedef struct problem {
    const brgemm_kernel *kernel;
    brgemm_tile tile;
    brgemm_finish finish;
    bool has_finish;
    int64_t offsets[MOST_TAPS];
    int64_t k; /* per tap */
    guarded rooms[3];
    unsigned char *a;
    void *weights; /* [taps][k][columns], as brgemm_source wants them */
    void *packed;
    unsigned char *c;      /* result */
    unsigned char *before; /* C before */
    size_t c_bytes;
    float *floats; /* bias, factor, residual */
    int32_t *offset;
} problem;

static void *zeroed(size_t bytes)
{
    void *memory = calloc(bytes + 64, 1);

    assert_non_null(memory);
    return memory;
}

static void halve(float *to, const float *from, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        to[i] = from[i] * 0.5f;
    }
}

static float as_float(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

static int64_t row_offset(const problem *p, int row, int64_t pitch, int64_t second)
{
    int half = p->kernel->mr / 2;

    return row < half ? row * pitch : second + (row - half) * pitch;
}

/* Where the last of the tile's rows begins. */
static int64_t end_of(const problem *p, int64_t pitch, int64_t second)
{
    int64_t last = 0;

    for (int row = 0; row < p->tile.rows; row++) {
        int64_t at = row_offset(p, row, pitch, second);

        last = at > last ? at : last;
    }
    return last;
}

static void fill_a(problem *p, spry_random *r, size_t bytes)
{
    p->rooms[0] = guarded_make(bytes, true);
    p->a = p->rooms[0].data;
    if (p->kernel->type == BRGEMM_S8) {
        sample_u8(r, p->a, bytes);
    } else if (p->kernel->type == BRGEMM_F32) {
        sample_f32(r, (float *)(void *)p->a, bytes / 4);
    } else {
        for (size_t i = 0; i < bytes / 2; i++) {
            float x;

            sample_f32(r, &x, 1);
            ((uint16_t *)(void *)p->a)[i] = brgemm_bf16(x);
        }
    }
}

static void make_a(problem *p, spry_random *r)
{
    int64_t size = brgemm_size(p->kernel->type);
    int64_t wanted = (p->k + p->kernel->group - 1) / p->kernel->group * p->kernel->group;
    int64_t pitch = (wanted + sample_integer(r, 0, 7)) * size;
    int64_t second = (pitch * (p->kernel->mr / 2) + sample_integer(r, 0, 50) * size);
    int64_t last = end_of(p, pitch, second);
    int64_t reach = 0;

    for (int i = 0; i < p->tile.taps; i++) {
        p->offsets[i] = sample_integer(r, 0, 40) * size;
        reach = p->offsets[i] > reach ? p->offsets[i] : reach;
    }
    fill_a(p, r, (size_t)(last + reach + wanted * size));
    p->tile.a = p->a;
    p->tile.a_pitch = pitch;
    p->tile.a_second = second;
    p->tile.tap_offsets = p->offsets;
    p->tile.steps = wanted / p->kernel->group;
    p->tile.flip = p->kernel->type == BRGEMM_S8 && spry_random_below(r, 2) ? 0x80 : 0;
}

static void make_b(problem *p, spry_random *r)
{
    int64_t columns = p->tile.columns;
    size_t count = (size_t)(p->tile.taps * p->k * columns);
    brgemm_source source = {NULL, p->k * columns, columns, 1, 0, 0, 0};

    p->weights = zeroed(count * 4);
    p->rooms[1] =
        guarded_make((size_t)brgemm_packed_size(p->kernel, p->tile.taps, p->k, columns), true);
    p->packed = p->rooms[1].data;
    if (p->kernel->type == BRGEMM_S8) {
        sample_i8(r, p->weights, count);
    } else {
        sample_f32(r, p->weights, count);
    }
    source.data = p->weights;
    brgemm_pack(p->kernel, &source, p->tile.taps, p->k, columns, p->packed);
    p->tile.b = p->packed;
}

static size_t result_size(const problem *p)
{
    return p->has_finish && p->kernel->type == BRGEMM_S8 && p->finish.result == BRGEMM_BYTES ? 1
                                                                                             : 4;
}

static void make_finish(problem *p, spry_random *r)
{
    uint64_t parts = spry_random_below(r, 64);
    int64_t residual_pitch = p->tile.columns + sample_integer(r, 0, 5);
    int64_t second = residual_pitch * (p->kernel->mr / 2) + sample_integer(r, 0, 9);
    size_t floats = 2 * BRGEMM_MOST_NR + (size_t)(second + residual_pitch * BRGEMM_MOST_MR);

    p->floats = zeroed(floats * 4);
    p->offset = zeroed(BRGEMM_MOST_NR * 4);
    sample_f32(r, p->floats, floats);
    for (int i = 0; i < BRGEMM_MOST_NR; i++) {
        p->offset[i] = (int32_t)sample_integer(r, -100000, 100000);
        p->floats[i] *= p->kernel->type == BRGEMM_S8 ? 1e-3f : 1.0f;
    }
    p->has_finish = spry_random_below(r, 4) != 0;
    p->finish = (brgemm_finish){.bias = parts & 1 ? p->floats + BRGEMM_MOST_NR : NULL,
                                .residual = parts & 2 ? p->floats + 2 * BRGEMM_MOST_NR : NULL,
                                .residual_pitch = residual_pitch,
                                .residual_second = second,
                                .activate = (parts & 12) == 12 ? halve : NULL,
                                .lower = parts & 4 ? 0.0f : -INFINITY,
                                .upper = parts & 8 ? 6.0f : INFINITY,
                                .result = (brgemm_result)spry_random_below(r, 3),
                                .offset = parts & 16 ? p->offset : NULL,
                                .factor = parts & 32 ? p->floats : NULL,
                                .zero = parts & 1 ? 128 : -3,
                                .low = parts & 1 ? 0 : -128,
                                .high = parts & 1 ? 255 : 127};
    p->tile.finish = p->has_finish ? &p->finish : NULL;
    p->tile.accumulate = result_size(p) == 4 && spry_random_below(r, 3) == 0;
}

static void make_c(problem *p, spry_random *r)
{
    int64_t size = (int64_t)result_size(p);
    int64_t pitch = (p->tile.columns + sample_integer(r, 0, 5)) * size;
    int64_t second = pitch * (p->kernel->mr / 2) + sample_integer(r, 0, 9) * size;

    p->c_bytes = (size_t)(end_of(p, pitch, second) + p->tile.columns * size);
    p->rooms[2] = guarded_make(p->c_bytes, true);
    p->c = p->rooms[2].data;
    p->before = zeroed(p->c_bytes);
    memset(p->before, CANARY, p->c_bytes);
    if (size == 4) {
        for (size_t i = 0; i < p->c_bytes / 4; i++) {
            int32_t sum = (int32_t)sample_integer(r, -1000, 1000);
            float x = (float)sum / 64.0f;

            memcpy(p->before + 4 * i, p->kernel->type == BRGEMM_S8 ? (void *)&sum : (void *)&x, 4);
        }
    }
    memcpy(p->c, p->before, p->c_bytes);
    p->tile.c = p->c;
    p->tile.c_pitch = pitch;
    p->tile.c_second = second;
}

static void make_problem(problem *p, const brgemm_kernel *kernel, spry_random *r, int rows,
                         int columns)
{
    *p = (problem){.kernel = kernel};
    p->k = sample_positive_size(r, 70);
    p->tile.taps = (int)sample_integer(r, 0, MOST_TAPS); /* 0: all on padding */
    p->tile.rows = rows;
    p->tile.columns = columns;
    make_a(p, r);
    make_b(p, r);
    make_finish(p, r);
    make_c(p, r);
    p->tile.next = spry_random_below(r, 2) != 0 ? p->packed : NULL; /* changes nothing */
}

static void free_problem(problem *p)
{
    for (int i = 0; i < 3; i++) {
        guarded_free(&p->rooms[i]);
    }
    free(p->weights);
    free(p->before);
    free(p->floats);
    free(p->offset);
}

/* ---- expectation ---- */

static double product_at(const problem *p, int row, int tap, int64_t k, int column)
{
    const unsigned char *a =
        p->a + row_offset(p, row, p->tile.a_pitch, p->tile.a_second) + p->offsets[tap];
    size_t at = (size_t)((tap * p->k + k) * p->tile.columns + column);
    float x;

    switch (p->kernel->type) {
    case BRGEMM_F32: memcpy(&x, a + 4 * k, 4); return (double)x * (double)((float *)p->weights)[at];
    case BRGEMM_BF16:
        return (double)as_float(((const uint16_t *)(const void *)a)[k]) *
               (double)as_float(brgemm_bf16(((float *)p->weights)[at]));
    default: return (double)(a[k] ^ p->tile.flip) * ((int8_t *)p->weights)[at];
    }
}

/* The sum, and the sum of magnitudes that bounds its rounding. */
static double sum_at(const problem *p, int row, int column, const unsigned char *before,
                     double *magnitude)
{
    double sum = 0;

    *magnitude = 1;
    if (p->tile.accumulate) {
        float x;
        int32_t whole;

        memcpy(&x, before, 4);
        memcpy(&whole, before, 4);
        sum = p->kernel->type == BRGEMM_S8 ? (double)whole : (double)x;
        *magnitude += fabs(sum);
    }
    for (int tap = 0; tap < p->tile.taps; tap++) {
        for (int64_t k = 0; k < p->k; k++) {
            double product = product_at(p, row, tap, k, column);

            sum += product;
            *magnitude += fabs(product);
        }
    }
    return sum;
}

static double finished_float(const problem *p, int row, int column, double v)
{
    const brgemm_finish *f = &p->finish;

    v += f->bias != NULL ? (double)f->bias[column] : 0;
    if (f->residual != NULL) {
        v +=
            (double)f->residual[row_offset(p, row, f->residual_pitch, f->residual_second) + column];
    }
    if (f->activate != NULL) {
        return v / 2;
    }
    v = v < (double)f->lower ? (double)f->lower : v;
    return v > (double)f->upper ? (double)f->upper : v;
}

/* Checks one element of floats or integers. */
static void check_element(const problem *p, int row, int column, const unsigned char *before,
                          const unsigned char *got)
{
    const brgemm_finish *f = &p->finish;
    double magnitude;
    double v = sum_at(p, row, column, before, &magnitude);
    int32_t whole;
    float x;

    memcpy(&whole, got, result_size(p));
    memcpy(&x, &whole, 4);
    if (p->kernel->type == BRGEMM_S8) {
        if (!p->has_finish) {
            assert_int_equal(whole, (int32_t)v);
            return;
        }
        v += f->offset != NULL ? f->offset[column] : 0;
        if (f->result == BRGEMM_SUMS) {
            assert_int_equal(whole, (int32_t)v);
            return;
        }
        v = (double)((float)v * (f->factor != NULL ? f->factor[column] : 1.0f));
        magnitude = 1 + fabs(v);
        if (f->result == BRGEMM_BYTES) {
            double q = nearbyint(v) + f->zero;

            q = q < f->low ? f->low : q > f->high ? f->high : q;
            assert_int_equal(got[0], (uint8_t)(int32_t)q);
            return;
        }
    }
    v = p->has_finish ? finished_float(p, row, column, v) : v;
    if (!(fabs((double)x - v) <= 1e-6 * (magnitude + fabs(v)))) {
        fail_msg("%s: row %d of %d, column %d of %d: %g, expected %g", p->kernel->name, row,
                 p->tile.rows, column, p->tile.columns, (double)x, v);
    }
}

static void check(const problem *p)
{
    size_t size = result_size(p);
    size_t row_bytes = (size_t)p->tile.columns * size;
    unsigned char *outside = zeroed(p->c_bytes);

    memcpy(outside, p->c, p->c_bytes);
    for (int row = 0; row < p->tile.rows; row++) {
        size_t at = (size_t)row_offset(p, row, p->tile.c_pitch, p->tile.c_second);

        for (int column = 0; column < p->tile.columns; column++) {
            size_t element = at + (size_t)column * size;

            check_element(p, row, column, p->before + element, p->c + element);
        }
        memcpy(outside + at, p->before + at, row_bytes);
    }
    assert_memory_equal(outside, p->before, p->c_bytes); /* nothing else was written */
    free(outside);
}

/* ---- tests ---- */

typedef void check_variant(const brgemm_kernel *kernel);

static void for_each_variant(check_variant *body)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        brgemm_variants variants = brgemm_variants_of(types[i]);

        for (int v = 0; v < variants.count; v++) {
            if (brgemm_usable(&variants.list[v])) {
                body(variants.list[v].table);
            } else {
                print_message("skipped: this machine has no %s\n", variants.list[v].name);
            }
        }
    }
}

/* Every number of rows, and of columns. */
static void check_sizes(const brgemm_kernel *kernel)
{
    spry_random r = spry_random_stream(21, 0);

    for (int i = 0; i < 3 * kernel->mr * kernel->nr; i++) {
        problem p;
        int rows = 1 + i % kernel->mr;
        int columns = i % 3 == 0 ? kernel->nr : (int)sample_integer(&r, 1, kernel->nr);

        make_problem(&p, kernel, &r, rows, columns);
        kernel->tile(&p.tile);
        check(&p);
        free_problem(&p);
    }
}

static void test_sizes(void **state)
{
    (void)state;
    for_each_variant(check_sizes);
}

/* A sum in two calls, over the first taps and the others, has the bits of one call. */
static void check_parts(const brgemm_kernel *kernel)
{
    spry_random r = spry_random_stream(22, 0);

    for (int i = 0; i < 40; i++) {
        problem p;
        unsigned char *whole;
        const brgemm_finish *finish;
        int taps;

        make_problem(&p, kernel, &r, kernel->mr, kernel->nr);
        whole = zeroed(p.c_bytes);
        if (result_size(&p) == 4 && p.tile.taps > 1) {
            kernel->tile(&p.tile);
            memcpy(whole, p.c, p.c_bytes);
            memcpy(p.c, p.before, p.c_bytes);
            finish = p.tile.finish;
            taps = p.tile.taps;
            p.tile.taps = taps / 2;
            p.tile.finish = NULL;
            kernel->tile(&p.tile);
            p.tile.b = (char *)p.packed + brgemm_packed_size(kernel, p.tile.taps, p.k, kernel->nr);
            p.tile.tap_offsets += p.tile.taps;
            p.tile.taps = taps - p.tile.taps;
            p.tile.accumulate = true;
            p.tile.finish = finish;
            kernel->tile(&p.tile);
            assert_memory_equal(p.c, whole, p.c_bytes);
        }
        free(whole);
        free_problem(&p);
    }
}

static void test_parts(void **state)
{
    (void)state;
    for_each_variant(check_parts);
}

/* NaN and infinity pass the clamp as C's comparisons have it; sums that round half to even. */
static void check_special(const brgemm_kernel *kernel)
{
    int64_t offset = 0;
    float weights[] = {1, 1, 1};
    float a[] = {NAN, -1e30f, 1e30f};
    float c[3];
    brgemm_source source = {weights, 0, 0, 1, 0, 0, 0};
    brgemm_finish finish = {.lower = -1, .upper = 1};
    char packed[BRGEMM_MOST_NR * 4];
    uint16_t halves[4] = {0};
    brgemm_tile tile = {.a = a,
                        .tap_offsets = &offset,
                        .taps = 1,
                        .steps = 1,
                        .b = packed,
                        .c = c,
                        .rows = 1,
                        .columns = 3,
                        .finish = &finish};

    if (kernel->type == BRGEMM_S8) {
        return;
    }
    assert_true(brgemm_packed_size(kernel, 1, 1, 3) <= (int64_t)sizeof packed);
    brgemm_pack(kernel, &source, 1, 1, 3, packed);
    for (int i = 0; i < 3; i++) {
        halves[0] = brgemm_bf16(a[i]);
        tile.a = kernel->type == BRGEMM_BF16 ? (const void *)halves : (const void *)&a[i];
        kernel->tile(&tile);
        if (i == 0) {
            assert_true(isnan(c[0]) && isnan(c[1]) && isnan(c[2]));
        } else {
            assert_true(c[0] == (i == 1 ? -1.0f : 1.0f) && c[2] == c[0]);
        }
    }
}

static void test_special(void **state)
{
    (void)state;
    for_each_variant(check_special);
}

/* 255 x 127 four times is 129540: pairs that saturate at 16 bits would give 65534. Then 5, 7 and -5
 * halves go to 2, 4 and -2. */
static void check_bytes(const brgemm_kernel *kernel)
{
    int64_t offset = 0;
    uint8_t a[] = {255, 255, 255, 255};
    uint8_t ones[] = {1, 0, 0, 0};
    int8_t weights[] = {127, 127, 127, 127};
    int8_t numbers[] = {5, 7, -5};
    float halves[] = {0.5f, 0.5f, 0.5f};
    char packed[BRGEMM_MOST_NR * 4];
    int32_t sum = 0;
    uint8_t bytes[3] = {0};
    brgemm_source source = {weights, 0, 1, 1, 0, 0, 0};
    brgemm_finish finish = {
        .result = BRGEMM_BYTES, .factor = halves, .zero = 10, .low = 0, .high = 13};
    brgemm_tile tile = {.a = a,
                        .tap_offsets = &offset,
                        .taps = 1,
                        .steps = 1,
                        .b = packed,
                        .c = &sum,
                        .rows = 1,
                        .columns = 1};

    if (kernel->type != BRGEMM_S8) {
        return;
    }
    brgemm_pack(kernel, &source, 1, 4, 1, packed);
    kernel->tile(&tile);
    assert_int_equal(sum, 129540);
    source = (brgemm_source){numbers, 0, 0, 1, 0, 0, 0};
    brgemm_pack(kernel, &source, 1, 1, 3, packed);
    tile.a = ones;
    tile.c = bytes;
    tile.columns = 3;
    tile.finish = &finish;
    kernel->tile(&tile);
    assert_int_equal(bytes[0], 12);
    assert_int_equal(bytes[1], 13); /* 14, saturated */
    assert_int_equal(bytes[2], 8);
}

static void test_bytes(void **state)
{
    (void)state;
    for_each_variant(check_bytes);
}

static void test_select(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        brgemm_variants variants = brgemm_variants_of(types[i]);

        assert_int_equal(brgemm_select(types[i])->type, types[i]);
        for (int v = 0; v < variants.count; v++) {
            const brgemm_kernel *kernel = variants.list[v].table;

            assert_string_equal(variants.list[v].name, kernel->name);
            assert_true(kernel->mr % 2 == 0 && kernel->mr <= BRGEMM_MOST_MR);
            assert_true(kernel->nr <= BRGEMM_MOST_NR);
        }
    }
}

/* A tile of fewer columns is taken where they suffice and it has more rows, and no other way. */
static void test_select_narrow(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const brgemm_kernel *best = brgemm_select(types[i]);

        for (int64_t columns = 1; columns <= 2 * BRGEMM_MOST_NR; columns++) {
            const brgemm_kernel *kernel = brgemm_select_narrow(types[i], columns);

            assert_int_equal(kernel->type, types[i]);
            assert_true(kernel == best ||
                        (kernel->nr >= columns && kernel->nr < best->nr && kernel->mr > best->mr));
        }
    }
    if (strcmp(brgemm_select(BRGEMM_S8)->name, "brgemm_s8_14x32__avx512vnni") == 0) {
        assert_int_equal(brgemm_select_narrow(BRGEMM_S8, 16)->nr, 16);
        assert_int_equal(brgemm_select_narrow(BRGEMM_S8, 17)->nr, 32);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),   cmocka_unit_test(test_parts),
        cmocka_unit_test(test_special), cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_select),  cmocka_unit_test(test_select_narrow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
