/* Every variant of the product with weights of four and eight bits against a double-precision
 * triple loop, with operands that end where memory does; and, where every sum is exact, bit for
 * bit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/brgemm/w4.h"
#include "support/cases.h"
#include "support/guarded.h"
#include "support/sample.h"

enum { MOST_N = 80, MOST_K = 300, MOST_PADDED = 384 };

/* Weights [n][groups x group / 2] as MatMulNBits holds them, or [k][n] as DequantizeLinear does. */
typedef struct operands {
    int64_t m, n, k, groups;
    int group;
    int bits;      /* of the kernel */
    bool is_exact; /* small integers and powers of two: sums have no rounding */
    uint8_t *codes;
    float *a, *a_sums, *scales, *zeros, *bias, *c;
    w4_source source;
} operands;

/* Where operands lie, one after the other case's. */
typedef struct rooms {
    guarded codes, a, a_sums, scales, zeros, bias, c, packed, panel;
} rooms;

static rooms all;

static void for_rooms(void (*does)(guarded *))
{
    guarded *list[] = {&all.codes, &all.a, &all.a_sums, &all.scales, &all.zeros,
                       &all.bias,  &all.c, &all.packed, &all.panel};

    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        does(list[i]);
    }
}

static void make_room(guarded *g)
{
    *g = guarded_make((size_t)2 * MOST_PADDED * 96 * sizeof(float), true);
}

static float *random_floats(guarded *room, spry_random *r, int64_t count, float low, float high)
{
    guarded_place(room, (size_t)count * sizeof(float), true);
    float *values = (float *)(void *)room->data;

    spry_random_fill_uniform(r, values, (size_t)count, low, high);
    return values;
}

static void round_all(float *values, int64_t count, float step)
{
    for (int64_t i = 0; values != NULL && i < count; i++) {
        values[i] = rintf(values[i] / step) * step;
    }
}

/* Makes every sum exact. */
static void make_exact(operands *o)
{
    round_all(o->a, o->m * o->groups * o->group, 0.25f);
    round_all(o->zeros, o->n * o->groups, 1.0f);
    round_all(o->bias, o->n, 0.5f);
    for (int64_t i = 0; i < o->n * o->groups; i++) {
        o->scales[i] = ldexpf(1.0f, -(int)(i % 4));
    }
}

static void make_operands(operands *o, spry_random *r, int bits, int64_t n, int64_t k, int group,
                          bool is_exact)
{
    uint64_t parts = spry_random_below(r, 8);
    int64_t padded;

    *o = (operands){.m = 1 + (int64_t)spry_random_below(r, W4_MOST_ROWS), .n = n, .k = k};
    o->group = group;
    o->bits = bits;
    o->groups = (k + group - 1) / group;
    padded = o->groups * group;
    o->is_exact = is_exact;
    guarded_place(&all.codes, (size_t)(n * padded), true);
    o->codes = all.codes.data;
    sample_bytes(r, o->codes, (size_t)(n * padded));
    o->a = random_floats(&all.a, r, o->m * padded, -1, 1);
    o->a_sums = random_floats(&all.a_sums, r, o->m * o->groups, 0, 0);
    o->scales = random_floats(&all.scales, r, n * o->groups, 0.01f, 0.2f);
    o->zeros = random_floats(&all.zeros, r, n * o->groups, 0, 15);
    o->bias = parts & 1 ? random_floats(&all.bias, r, n, -1, 1) : NULL;
    o->c = random_floats(&all.c, r, o->m * n, 0, 0);
    if (is_exact) {
        make_exact(o);
    }
    for (int64_t i = 0; i < o->m * padded; i++) {
        int64_t step = i % padded;

        o->a[i] = step < k ? o->a[i] : 0.0f;
        o->a_sums[i / padded * o->groups + step / group] += o->a[i];
    }
    bool is_narrow = bits == 4 && spry_random_below(r, 3) == 0;
    int in_memory = is_narrow ? 2 : bits;

    o->source = (w4_source){.codes = o->codes,
                            .bits = in_memory,
                            .lift = is_narrow ? 6 : 0,
                            .k_stride = parts & 2 ? 1 : n,
                            .column_stride = parts & 2 ? padded : 1,
                            .flip = parts & 2 ? 0 : (uint8_t)w4_centre(in_memory),
                            .scales = o->scales,
                            .zeros = parts & 4 ? o->zeros : NULL,
                            .group_stride = parts & 2 ? 1 : n,
                            .scale_stride = parts & 2 ? o->groups : 1};
}

static double weight_at(const operands *o, int64_t k, int64_t column)
{
    const w4_source *s = &o->source;
    int64_t bit = (k * s->k_stride + column * s->column_stride) * s->bits;
    int64_t scale = k / o->group * s->group_stride + column * s->scale_stride;
    int code = ((s->codes[bit / 8] >> bit % 8 & ((1 << s->bits) - 1)) ^ s->flip) + s->lift;

    double zero = s->zeros != NULL ? (double)s->zeros[scale] : w4_centre(o->bits);

    return (double)s->scales[scale] * (code - zero);
}

static void check_product(const operands *o, const w4_kernel *kernel)
{
    for (int64_t row = 0; row < o->m; row++) {
        for (int64_t column = 0; column < o->n; column++) {
            double wanted = o->bias != NULL ? (double)o->bias[column] : 0;
            double size = 1;
            double got = (double)o->c[row * o->n + column];

            for (int64_t k = 0; k < o->k; k++) {
                double term =
                    (double)o->a[row * o->groups * o->group + k] * weight_at(o, k, column);

                wanted += term;
                size += fabs(term);
            }
            if (!(fabs(got - wanted) <= (o->is_exact ? 0 : 2e-6 * size))) {
                fail_msg("%s %lldx%lldx%lld, groups of %d, at %lld,%lld: %g, expected %g",
                         kernel->name, (long long)o->m, (long long)o->n, (long long)o->k, o->group,
                         (long long)row, (long long)column, got, wanted);
            }
        }
    }
}

static void check_unpacked(const operands *o, const w4_kernel *kernel, const float *panel,
                           int64_t first)
{
    for (int64_t k = 0; k < o->k; k++) {
        for (int64_t j = 0; j < kernel->nr && first + j < o->n; j++) {
            double wanted = weight_at(o, k, first + j);

            assert_true(fabs((double)panel[k * kernel->nr + j] - wanted) <=
                        (o->is_exact ? 0 : 1e-5));
        }
    }
}

static void run_variant(const w4_kernel *kernel, operands *o)
{
    bool has_zeros = o->source.zeros != NULL;
    int64_t bytes = o->groups * w4_group_bytes(kernel, o->group, has_zeros);

    guarded_place(&all.packed, (size_t)w4_packed_size(kernel, o->k, o->n, o->group, has_zeros),
                  true);
    guarded_place(&all.panel, (size_t)(o->groups * o->group * kernel->nr) * sizeof(float), true);
    uint8_t *packed = all.packed.data;
    float *panel = (float *)(void *)all.panel.data;

    w4_pack(kernel, &o->source, o->k, o->n, o->group, packed);
    for (int64_t j = 0; j < o->n; j += kernel->nr) {
        w4_tile t = {.a = o->a,
                     .a_pitch = o->groups * o->group,
                     .a_sums = o->a_sums,
                     .sums_pitch = o->groups,
                     .panel = packed + j / kernel->nr * bytes,
                     .groups = o->groups,
                     .group = o->group,
                     .has_zeros = has_zeros,
                     .bias = o->bias != NULL ? o->bias + j : NULL,
                     .c = o->c + j,
                     .c_pitch = o->n,
                     .rows = (int)o->m,
                     .columns = (int)(o->n - j < kernel->nr ? o->n - j : kernel->nr)};

        kernel->tile(&t);
        kernel->unpack(t.panel, o->groups, o->group, has_zeros, panel);
        check_unpacked(o, kernel, panel, j);
    }
    check_product(o, kernel);
}

static void check_shapes(const isa_variant *variants, int count)
{
    static const int groups[] = {8, 16, 32, 64, 128};

    for (int v = 0; v < count; v++) {
        const w4_kernel *kernel = variants[v].table;
        spry_random r = spry_random_stream(11, 0);

        if (!isa_usable(variants[v].level)) {
            print_message("skipped: this machine has no %s\n", variants[v].name);
            continue;
        }
        for (int i = 0; i < 60; i++) {
            operands o;
            int64_t n = 1 + (int64_t)spry_random_below(&r, MOST_N);

            make_operands(&o, &r, kernel->bits, n, 1 + (int64_t)spry_random_below(&r, MOST_K),
                          groups[i % 5], false);
            run_variant(kernel, &o);
        }
    }
}

static void test_random_shapes(void **state)
{
    (void)state;
    for_rooms(make_room);
    check_shapes(w4_variants, w4_variant_count);
    check_shapes(w8_variants, w8_variant_count);
    for_rooms(guarded_free);
}

static void check_exact(int bits, const isa_variant *variants, int count)
{
    spry_random r = spry_random_stream(12, 0);
    int64_t cases = cases_of(bits == 4 ? "weights of four bits, every variant"
                                       : "weights of eight bits, every variant");

    for (int64_t i = 0; i < cases; i++) {
        int64_t n = sample_integer(&r, 1, i % 20 == 0 ? 40 : 5);
        operands o;

        make_operands(&o, &r, bits, n, sample_integer(&r, 1, i % 50 == 0 ? 140 : 20),
                      i % 10 == 0 ? 32 : (int)sample_integer(&r, 1, 2) * 8, true);
        for (int v = 0; v < count; v++) {
            if (isa_usable(variants[v].level)) {
                run_variant(variants[v].table, &o);
            }
        }
    }
}

/* Whatever the order of additions: small shapes whose sums need no rounding. */
static void test_exact_sums(void **state)
{
    (void)state;
    for_rooms(make_room);
    check_exact(4, w4_variants, w4_variant_count);
    check_exact(8, w8_variants, w8_variant_count);
    for_rooms(guarded_free);
}

/* Codes 0..15 times 1..16, scale 0.5: with x = code + 1, the sum of x (x - 9) for x in 1..16 is
 * 1496 - 1224 = 272. */
static void test_by_hand(void **state)
{
    static const uint8_t codes[] = {0x10, 0x32, 0x54, 0x76, 0x98, 0xBA, 0xDC, 0xFE};
    static const float scale = 0.5f;
    float a[16];

    (void)state;
    for (int k = 0; k < 16; k++) {
        a[k] = (float)(k + 1);
    }
    for (int v = 0; v < w4_variant_count; v++) {
        const w4_kernel *kernel = w4_variants[v].table;
        w4_source source = {.codes = codes,
                            .bits = 4,
                            .k_stride = 1,
                            .column_stride = 16,
                            .scales = &scale,
                            .group_stride = 1,
                            .scale_stride = 1};
        float c = 0;
        char packed[W4_MOST_NR * 12];
        w4_tile t = {
            .a = a, .panel = packed, .groups = 1, .group = 16, .c = &c, .rows = 1, .columns = 1};

        if (isa_usable(w4_variants[v].level)) {
            assert_true(w4_packed_size(kernel, 16, 1, 16, false) <= (int64_t)sizeof packed);
            w4_pack(kernel, &source, 16, 1, 16, packed);
            kernel->tile(&t);
            assert_true(c == 136.0f);
        }
    }
}

/* Codes 120 .. 135 of eight bits, less 128: -8 .. 7 times 1 .. 16, as above. */
static void test_bytes_by_hand(void **state)
{
    static const float scale = 0.5f;
    uint8_t codes[16];
    float a[16];

    (void)state;
    for (int k = 0; k < 16; k++) {
        a[k] = (float)(k + 1);
        codes[k] = (uint8_t)(120 + k);
    }
    for (int v = 0; v < w8_variant_count; v++) {
        const w4_kernel *kernel = w8_variants[v].table;
        w4_source source = {.codes = codes,
                            .bits = 8,
                            .k_stride = 1,
                            .column_stride = 16,
                            .scales = &scale,
                            .group_stride = 1,
                            .scale_stride = 1};
        float c = 0;
        char packed[W4_MOST_NR * 20];
        w4_tile t = {
            .a = a, .panel = packed, .groups = 1, .group = 16, .c = &c, .rows = 1, .columns = 1};

        if (isa_usable(w8_variants[v].level)) {
            assert_true(w4_packed_size(kernel, 16, 1, 16, false) <= (int64_t)sizeof packed);
            w4_pack(kernel, &source, 16, 1, 16, packed);
            kernel->tile(&t);
            assert_true(c == 136.0f);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_shapes),
        cmocka_unit_test(test_exact_sums),
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_bytes_by_hand),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
