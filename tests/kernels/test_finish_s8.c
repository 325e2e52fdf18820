/* What becomes of sums of bytes: every variant of the product tile and of the depthwise kernel
 * against the rule, over sums of all sizes, ties, limits and factors that are no numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/conv/depthwise_nhwc.h"
#include "support/cases.h"
#include "support/finish_s8.h"
#include "support/guarded.h"
#include "support/sample.h"

enum { STEP = 4, COLUMNS = BRGEMM_MOST_NR, PACKED = 4096 };

typedef struct trial {
    spry_random r;
    finish_s8 drawn;
    uint8_t x[COLUMNS], w[STEP * COLUMNS];
    float residual[COLUMNS];
    guarded y, packed;
    int columns;
} trial;

static void make_trial(trial *t)
{
    brgemm_finish *f = &t->drawn.finish;

    t->columns = (int)sample_integer(&t->r, 1, COLUMNS);
    finish_s8_draw(&t->r, t->columns, &t->drawn);
    f->residual =
        f->result == BRGEMM_FLOATS && spry_random_below(&t->r, 2) == 0 ? t->residual : NULL;
    sample_bytes(&t->r, t->x, sizeof t->x);
    sample_bytes(&t->r, t->w, sizeof t->w);
}

static void check(const trial *t, const char *name, const uint32_t *sums, int columns)
{
    const brgemm_finish *f = &t->drawn.finish;

    for (int j = 0; j < columns; j++) {
        uint32_t wanted = finish_s8_expected(f, sums[j], j, t->residual[j]);
        uint32_t got = finish_s8_result(f, t->y.data + (size_t)j * finish_s8_size(f));

        if (got != wanted) {
            fail_msg("%s: column %d of %d, result %d, sum %d: %#x, expected %#x", name, j, columns,
                     (int)f->result, (int32_t)sums[j], got, wanted);
        }
    }
}

/* One row by as many columns as a tile has. */
static void run_tile(trial *t, const brgemm_kernel *kernel)
{
    static const int64_t none = 0;
    brgemm_source source = {.data = t->w, .k_stride = COLUMNS, .column_stride = 1};
    int columns = t->columns < kernel->nr ? t->columns : kernel->nr;
    int64_t k = STEP < kernel->group ? STEP : kernel->group;
    uint32_t sums[COLUMNS];
    brgemm_tile tile = {.a = t->x,
                        .tap_offsets = &none,
                        .taps = 1,
                        .steps = 1,
                        .b = t->packed.data,
                        .c = t->y.data,
                        .rows = 1,
                        .columns = columns,
                        .finish = &t->drawn.finish};

    guarded_place(&t->y, (size_t)columns * finish_s8_size(&t->drawn.finish), true);
    tile.c = t->y.data;
    for (int j = 0; j < columns; j++) {
        sums[j] = 0;
        for (int64_t i = 0; i < k; i++) {
            sums[j] += (uint32_t)(t->x[i] * (int8_t)t->w[i * COLUMNS + j]);
        }
    }
    brgemm_pack(kernel, &source, 1, k, columns, t->packed.data);
    kernel->tile(&tile);
    check(t, kernel->name, sums, columns);
}

static void test_products(void **state)
{
    brgemm_variants all = brgemm_variants_of(BRGEMM_S8);
    int64_t cases = cases_of("finishes of products");
    trial t = {.r = spry_random_stream(91, 0)};

    (void)state;
    t.y = guarded_make(COLUMNS * 4, true);
    t.packed = guarded_make(PACKED, true);
    for (int j = 0; j < COLUMNS; j++) {
        t.residual[j] = (float)j - 20.5f;
    }
    for (int64_t i = 0; i < cases; i++) {
        make_trial(&t);
        for (int v = 0; v < all.count; v++) {
            if (brgemm_usable(&all.list[v])) {
                run_tile(&t, all.list[v].table);
            }
        }
    }
    guarded_free(&t.y);
    guarded_free(&t.packed);
}

/* One pixel by a kernel of one. */
static void run_pixel(trial *t, const depthwise_nhwc_kernel *kernel)
{
    size_t size = finish_s8_size(&t->drawn.finish);
    depthwise_nhwc_problem p = {.shape = {t->columns, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0},
                                .batch = 1,
                                .multiplier = 1,
                                .depth = 1,
                                .type = BRGEMM_S8,
                                .result_size = size};
    uint32_t sums[COLUMNS];
    depthwise_nhwc d;
    depthwise_nhwc_call call = {.d = &d,
                                .x = t->x,
                                .packed = t->packed.data,
                                .y_pitch = t->columns * (int64_t)size,
                                .finish = t->drawn.finish};

    if (!depthwise_nhwc_can(kernel, &p, INT8_MIN, INT8_MAX)) {
        return;
    }
    guarded_place(&t->y, (size_t)t->columns * size, true);
    call.y = t->y.data;
    depthwise_nhwc_plan(&p, kernel, 1, &d);
    depthwise_nhwc_pack(&d, t->w, 0, 0, t->packed.data);
    for (int j = 0; j < t->columns; j++) {
        sums[j] = (uint32_t)(t->x[j] * (int8_t)t->w[j]);
    }
    depthwise_nhwc_run(&call, 0, d.pieces, 0);
    check(t, kernel->name, sums, t->columns);
}

static void test_depthwise(void **state)
{
    depthwise_nhwc_variants all = depthwise_nhwc_variants_of(BRGEMM_S8);
    int64_t cases = cases_of("finishes of depthwise convolutions");
    trial t = {.r = spry_random_stream(92, 0)};

    (void)state;
    t.y = guarded_make(COLUMNS * 4, true);
    t.packed = guarded_make(PACKED, false);
    for (int j = 0; j < COLUMNS; j++) {
        t.residual[j] = (float)j - 20.5f;
    }
    for (int64_t i = 0; i < cases; i++) {
        make_trial(&t);
        for (int v = 0; v < all.count; v++) {
            if (isa_usable(all.list[v].level)) {
                run_pixel(&t, all.list[v].table);
            }
        }
    }
    guarded_free(&t.y);
    guarded_free(&t.packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_products),
                                       cmocka_unit_test(test_depthwise)};

    return cmocka_run_group_tests_name("kernels/finish_s8", tests, NULL, NULL);
}
