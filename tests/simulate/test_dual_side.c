/* Tensor cores that skip zeros: codes against the matrices they stand for, counted instructions
 * against hands and against what chance makes of densities, results against the products. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "simulate/dual_side/network.h"
#include "spry/random.h"

enum { CASES = 60 };

static spry_random numbers = {.seed = 11};

static int64_t between(int64_t low, int64_t high)
{
    return low + (int64_t)(spry_random_u32(&numbers) % (uint32_t)(high - low + 1));
}

static bool chance(double p)
{
    return (double)spry_random_u32(&numbers) * 0x1p-32 < p;
}

/* Whole numbers, that f16 holds and sums of which are exact. */
static float *make(int64_t count, double density)
{
    float *x = malloc((size_t)count * sizeof *x + 1);

    assert_non_null(x);
    for (int64_t i = 0; i < count; i++) {
        x[i] = chance(density) ? (float)(between(1, 8) * (chance(0.5) ? 1 : -1)) : 0.0F;
    }
    return x;
}

static tile_code code(const float *x, int64_t lanes, int64_t depth, int64_t lane_pitch,
                      int64_t step_pitch)
{
    tile_code c;
    spry_error error;

    assert_int_equal(tile_code_matrix(&c, x, lanes, depth, lane_pitch, step_pitch, &error),
                     SPRY_OK);
    return c;
}

static dual_side_machine machine(void)
{
    target *t = NULL;
    dual_side_machine m;
    spry_error error;

    assert_int_equal(target_load(NULL, "v100-dual-side", &t, &error), SPRY_OK);
    assert_int_equal(dual_side_machine_read(t, &m, &error), SPRY_OK);
    assert_int_equal(target_finish(t, &error), SPRY_OK);
    target_destroy(t);
    return m;
}

static const outer_core ideal = {.window = 4, .hides_issue = true, .is_double_buffered = true};

/* ---- codes ---- */

static void codes_give_the_matrix_back(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        int64_t lanes = between(1, 100);
        int64_t depth = between(1, 70);
        double density = (double)between(0, 4) / 4.0;
        float *x = make(lanes * depth, density);
        float *back = make(lanes * depth, 1.0);
        tile_code c = code(x, lanes, depth, depth, 1);
        int64_t ones = 0;

        tile_code_decode(&c, back, depth, 1);
        assert_memory_equal(x, back, (size_t)(lanes * depth) * sizeof *x);
        for (int64_t w = 0; w < c.tiles * c.slices * TILE_STEPS; w++) {
            ones += __builtin_popcount(c.bits[w]);
            assert_true(c.bits[w] == 0 || c.occupied[w / TILE_STEPS]);
        }
        assert_int_equal(ones, c.value_count);
        for (int64_t t = 0; t < c.tiles * c.slices; t++) {
            int any = 0;

            for (int s = 0; s < TILE_STEPS; s++) {
                any |= c.bits[t * TILE_STEPS + s] != 0;
            }
            assert_int_equal(any, c.occupied[t]);
        }
        tile_code_fini(&c);
        free(x);
        free(back);
    }
}

static void signs_of_zero_and_odd_numbers(void **state)
{
    const float x[] = {-0.0F, NAN, 1e-9F, INFINITY};
    tile_code c;

    (void)state;
    c = code(x, 4, 1, 1, 1);
    /* -0 is zero, and so is what f16 rounds to it. */
    assert_int_equal(c.bits[0], 0xa);
    assert_true(c.has_odd);
    tile_code_fini(&c);
}

static simulate_layer random_conv(void)
{
    simulate_layer l = {.name = "conv", .is_conv = true};

    l.groups = between(1, 3);
    l.images = between(1, 2);
    l.channels = l.groups * between(1, 4);
    l.filters = l.groups * between(1, 40);
    l.kernel_height = between(1, 4);
    l.kernel_width = between(1, 4);
    l.stride_height = between(1, 3);
    l.stride_width = between(1, 3);
    l.dilation_height = between(1, 2);
    l.dilation_width = between(1, 2);
    l.pad_top = between(0, 2);
    l.pad_left = between(0, 2);
    l.in_height = between(1, 12) + (l.kernel_height - 1) * l.dilation_height;
    l.in_width = between(1, 70) + (l.kernel_width - 1) * l.dilation_width;
    l.out_height = (l.in_height + 2 * l.pad_top - (l.kernel_height - 1) * l.dilation_height - 1) /
                       l.stride_height +
                   1;
    l.out_width = (l.in_width + 2 * l.pad_left - (l.kernel_width - 1) * l.dilation_width - 1) /
                      l.stride_width +
                  1;
    return l;
}

/* What pixel p reads for channel c and place (ky, kx) of the kernel. */
static float patch(const simulate_layer *l, const float *x, int64_t p, int64_t c, int64_t ky,
                   int64_t kx)
{
    int64_t row =
        p / l->out_width % l->out_height * l->stride_height - l->pad_top + ky * l->dilation_height;
    int64_t column = p % l->out_width * l->stride_width - l->pad_left + kx * l->dilation_width;
    int64_t image = p / l->out_width / l->out_height;

    return row < 0 || row >= l->in_height || column < 0 || column >= l->in_width
               ? 0.0F
               : x[((image * l->channels + c) * l->in_height + row) * l->in_width + column];
}

static void patches_are_those_of_the_lowered_matrix(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        simulate_layer l = random_conv();
        int64_t channels = l.channels / l.groups;
        int64_t taps = l.kernel_height * l.kernel_width;
        int64_t pixels = simulate_layer_pixels(&l);
        int64_t group = between(0, l.groups - 1);
        float *x = make(l.images * l.channels * l.in_height * l.in_width, 0.4);
        float *lowered = make(pixels * channels * taps, 1.0);
        tile_code c;
        spry_error error;

        assert_int_equal(tile_code_patches(&c, &l, group, x, &error), SPRY_OK);
        tile_code_decode(&c, lowered, channels * taps, 1);
        for (int64_t at = 0; at < pixels * channels * taps; at++) {
            int64_t k = at % (channels * taps);
            float want = patch(&l, x, at / (channels * taps), group * channels + k / taps,
                               k % taps / l.kernel_width, k % l.kernel_width);

            assert_true(lowered[at] == want);
        }
        tile_code_fini(&c);
        free(x);
        free(lowered);
    }
}

/* Row bits 10110 (places 1, 2, 4: p, q, r), a kernel of three, three results. */
static void a_shift_of_a_row_is_a_step(void **state)
{
    const float x[] = {0.0F, 1.0F, 2.0F, 0.0F, 3.0F};
    simulate_layer l = {.is_conv = true,
                        .images = 1,
                        .channels = 1,
                        .groups = 1,
                        .filters = 1,
                        .in_height = 1,
                        .in_width = 5,
                        .out_height = 1,
                        .out_width = 3,
                        .kernel_height = 1,
                        .kernel_width = 3,
                        .stride_height = 1,
                        .stride_width = 1,
                        .dilation_height = 1,
                        .dilation_width = 1};
    const float values[] = {1.0F, 2.0F, 1.0F, 2.0F, 2.0F, 3.0F};
    tile_code c;
    spry_error error;

    (void)state;
    assert_int_equal(tile_code_patches(&c, &l, 0, x, &error), SPRY_OK);
    assert_int_equal(c.bits[0], 6);
    assert_int_equal(c.bits[1], 3);
    assert_int_equal(c.bits[2], 5);
    assert_memory_equal(c.values, values, sizeof values);
    tile_code_fini(&c);
}

/* Every second of the bits 101101. */
static void a_stride_takes_every_second_bit(void **state)
{
    const float x[] = {1.0F, 0.0F, 1.0F, 1.0F, 0.0F, 1.0F};
    simulate_layer l = {.is_conv = true,
                        .images = 1,
                        .channels = 1,
                        .groups = 1,
                        .filters = 1,
                        .in_height = 1,
                        .in_width = 6,
                        .out_height = 1,
                        .out_width = 3,
                        .kernel_height = 1,
                        .kernel_width = 1,
                        .stride_height = 1,
                        .stride_width = 2,
                        .dilation_height = 1,
                        .dilation_width = 1};
    tile_code c;
    spry_error error;

    (void)state;
    assert_int_equal(tile_code_patches(&c, &l, 0, x, &error), SPRY_OK);
    assert_int_equal(c.bits[0], 3);
    tile_code_fini(&c);
}

/* ---- a core ---- */

static uint64_t steps_of(int a, int b)
{
    float left[TILE_LANES] = {0};
    float right[TILE_LANES] = {0};
    outer_cost cost = {0};
    tile_code codes[2];

    for (int i = 0; i < a; i++) {
        left[TILE_LANES - 1 - i] = 1.0F;
    }
    for (int i = 0; i < b; i++) {
        right[i] = 1.0F;
    }
    codes[0] = code(left, TILE_LANES, 1, 1, 1);
    codes[1] = code(right, TILE_LANES, 1, 1, 1);
    outer_core_run(&ideal, &codes[0], &codes[1], 0, 0, NULL, &cost);
    assert_int_equal(cost.issued, outer_core_count(&codes[0], &codes[1]));
    assert_int_equal(cost.issued + cost.skipped, OUTER_FULL * TILE_STEPS);
    assert_int_equal(cost.products, a * b);
    tile_code_fini(&codes[0]);
    tile_code_fini(&codes[1]);
    return cost.issued;
}

static void instructions_by_hand(void **state)
{
    (void)state;
    assert_int_equal(steps_of(20, 12), 3);
    assert_int_equal(steps_of(32, 17), 8);
    assert_int_equal(steps_of(0, 32), 0);
    assert_int_equal(steps_of(1, 1), 1);
    assert_int_equal(steps_of(32, 32), 8);
}

/* [[1, 0], [0, 2]] [[0, 3], [4, 0]] */
static void a_product_by_hand(void **state)
{
    const float a[] = {1.0F, 0.0F, 0.0F, 2.0F};
    const float b[] = {0.0F, 3.0F, 4.0F, 0.0F};
    float sums[TILE_LANES * TILE_LANES] = {0};
    outer_cost cost = {0};
    tile_code left = code(a, 2, 2, 2, 1);
    tile_code right = code(b, 2, 2, 1, 2);

    (void)state;
    outer_core_run(&ideal, &left, &right, 0, 0, sums, &cost);
    assert_int_equal(cost.issued, 2);
    assert_true(sums[0] == 0.0F && sums[1] == 3.0F);
    assert_true(sums[TILE_LANES] == 8.0F && sums[TILE_LANES + 1] == 0.0F);
    tile_code_fini(&left);
    tile_code_fini(&right);
}

/* Means of ceil(a / 8) and ceil(b / 16) for independent elements of 32. */
static double expected(double p, int group)
{
    double sum = 0.0;

    for (int n = 1; n <= TILE_LANES; n++) {
        double ways = lgamma(TILE_LANES + 1.0) - lgamma(n + 1.0) - lgamma(TILE_LANES - n + 1.0);
        double log_p = n * log(p) + (p < 1.0 ? (TILE_LANES - n) * log1p(-p) : 0.0);

        sum += p < 1.0 || n == TILE_LANES ? exp(ways + log_p) * (double)((n + group - 1) / group)
                                          : 0.0;
    }
    return sum;
}

static void instructions_follow_densities(void **state)
{
    static const double table[][3] = {{1, 4, 2},          {.75, 3.430, 1.998}, {.5, 2.428, 1.430},
                                      {.4, 2.034, 1.092}, {.3, 1.661, 1.005},  {.25, 1.407, 1.0},
                                      {.2, 1.174, .999},  {.1, .969, .966},    {.05, .806, .806},
                                      {.01, .275, .275}};
    enum { LANES = 640, DEPTH = 4096 };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        size_t j = (i + 3) % (sizeof table / sizeof *table);
        float *a = make((int64_t)LANES * DEPTH, table[i][0]);
        float *b = make((int64_t)LANES * DEPTH, table[j][0]);
        tile_code left = code(a, LANES, DEPTH, DEPTH, 1);
        tile_code right = code(b, LANES, DEPTH, DEPTH, 1);
        double sets = (LANES / TILE_LANES) * (LANES / TILE_LANES) * DEPTH;
        double mean = (double)outer_core_count(&left, &right) / sets;

        assert_true(fabs(expected(table[i][0], OUTER_ROWS) - table[i][1]) < 6e-4);
        assert_true(fabs(expected(table[i][0], OUTER_COLUMNS) - table[i][2]) < 6e-4);
        /* Of so rare values the sample itself is off by as much. */
        double allowed = table[i][0] < 0.05 || table[j][0] < 0.05 ? 0.025 : 0.01;

        assert_true(fabs(mean / (table[i][1] * table[j][2]) - 1.0) < allowed);
        tile_code_fini(&left);
        tile_code_fini(&right);
        free(a);
        free(b);
    }
}

/* The buffer has to take every result, a bank one a cycle; more banks or a wider window never take
 * longer, and results in a row do not wait. */
static void banks_hold_results_up(void **state)
{
    static const int banks[] = {128, 64, 32};

    (void)state;
    for (int i = 0; i < CASES; i++) {
        double density = i == 0 ? 1.0 : (double)between(1, 9) / 10.0;
        float *a = make((int64_t)TILE_LANES * TILE_STEPS, density);
        float *b = make((int64_t)TILE_LANES * TILE_STEPS, density);
        tile_code left = code(a, TILE_LANES, TILE_STEPS, TILE_STEPS, 1);
        tile_code right = code(b, TILE_LANES, TILE_STEPS, TILE_STEPS, 1);

        for (int which = 0; which < 2 * 3; which++) {
            outer_core core = ideal;
            outer_cost cost = {0};
            outer_cost single = {0};

            core.banks = banks[which / 2];
            core.banking = which % 2 == 0 ? OUTER_LINEAR : OUTER_XOR;
            outer_core_run(&core, &left, &right, 0, 0, NULL, &cost);
            core.window = 1;
            outer_core_run(&core, &left, &right, 0, 0, NULL, &single);
            assert_true(cost.merge * (uint64_t)core.banks >= cost.products);
            assert_true(single.merge >= cost.merge);
            assert_true(cost.cycles >= cost.issued && cost.cycles >= cost.merge);
            if (density == 1.0 && core.banking == OUTER_LINEAR) {
                assert_int_equal(cost.merge * (uint64_t)core.banks, cost.products);
            }
        }
        tile_code_fini(&left);
        tile_code_fini(&right);
        free(a);
        free(b);
    }
}

static void counting_costs_where_it_is_not_hidden(void **state)
{
    const float one = 1.0F;
    outer_core core = ideal;
    outer_cost cost = {0};
    tile_code c = code(&one, 1, 1, 1, 1);

    (void)state;
    core.hides_issue = false;
    core.is_double_buffered = false;
    outer_core_run(&core, &c, &c, 0, 0, NULL, &cost);
    assert_int_equal(cost.issued, 1);
    assert_int_equal(cost.cycles, TILE_STEPS * OUTER_ISSUE + OUTER_PROLOGUE);
    tile_code_fini(&c);
}

/* ---- the device ---- */

static dual_side_cost product(const dual_side_machine *m, const tile_code *a, const tile_code *b,
                              bool is_swapped, float *y)
{
    dual_side_load load;
    dual_side_cost cost;
    spry_error error;

    assert_int_equal(dual_side_begin(m, &load, &cost, &error), SPRY_OK);
    assert_int_equal(
        dual_side_product(m, &load, a, b, is_swapped, y, threads_single(), &cost, &error), SPRY_OK);
    dual_side_end(m, &load, &cost);
    return cost;
}

static void products_are_exact(void **state)
{
    dual_side_machine m = machine();

    (void)state;
    for (int i = 0; i < CASES; i++) {
        int64_t rows = between(1, 90);
        int64_t columns = between(1, 90);
        int64_t depth = between(1, 60);
        float *a = make(rows * depth, 0.4);
        float *b = make(depth * columns, 0.3);
        float *y = make(rows * columns, 1.0);
        tile_code left = code(a, rows, depth, depth, 1);
        tile_code right = code(b, columns, depth, 1, columns);
        dual_side_cost whole = product(&m, &left, &right, i % 2 == 0, y);
        dual_side_cost counted = product(&m, &left, &right, i % 2 == 0, NULL);

        assert_int_equal(whole.work.issued, counted.work.issued);
        assert_int_equal(whole.cycles, counted.cycles); /* no banks in this machine */
        for (int64_t at = 0; at < rows * columns; at++) {
            double sum = 0.0;

            for (int64_t k = 0; k < depth; k++) {
                sum += (double)a[at / columns * depth + k] * (double)b[k * columns + at % columns];
            }
            assert_true((double)y[at] == sum);
        }
        tile_code_fini(&left);
        tile_code_fini(&right);
        free(a);
        free(b);
        free(y);
    }
}

/* 4096^3 without zeros: MNK / (320 x 128) cycles. With hardly any values, the results alone keep
 * the memory busy: no more than 19 times as fast, however few there are. */
static void limits_of_a_large_product(void **state)
{
    enum { SIDE = 4096 };
    dual_side_machine m = machine();
    float *x = make((int64_t)SIDE * SIDE, 1.0);
    tile_code full = code(x, SIDE, SIDE, SIDE, 1);
    dual_side_cost dense;
    dual_side_cost empty;
    tile_code none;

    (void)state;
    m.launch = 0;
    m.dense_share = 1.0;
    dense = product(&m, &full, &full, false, NULL);
    assert_int_equal(dense.work.issued, (uint64_t)SIDE * SIDE * SIDE / 128);
    assert_int_equal(dense.dense, 128ULL * SIDE / 16 * 52); /* 16,384 tiles: 52 rounds of 320 */
    assert_int_equal(dense.busiest, dense.dense);
    assert_true(fabs(dense.mean - 1677721.6) < 1.0);
    memset(x, 0, (size_t)SIDE * SIDE * sizeof *x);
    none = code(x, SIDE, SIDE, SIDE, 1);
    empty = product(&m, &none, &none, false, NULL);
    assert_int_equal(empty.work.issued, 0);
    assert_true((double)dense.dense / (double)empty.cycles > 18.5);
    assert_true((double)dense.dense / (double)empty.cycles < 20.0);
    tile_code_fini(&full);
    tile_code_fini(&none);
    free(x);
}

/* Half of one side and all of the other: the side of eight skips more of it. */
static void sides_differ(void **state)
{
    enum { SIDE = 512 };
    dual_side_machine m = machine();
    float *a = make((int64_t)SIDE * SIDE, 0.5);
    float *b = make((int64_t)SIDE * SIDE, 1.0);
    tile_code half = code(a, SIDE, SIDE, SIDE, 1);
    tile_code full = code(b, SIDE, SIDE, SIDE, 1);
    double on_eight = (double)product(&m, &half, &full, false, NULL).work.issued;
    double on_sixteen = (double)product(&m, &half, &full, true, NULL).work.issued;

    (void)state;
    assert_true(fabs(on_sixteen / on_eight - 1.430 * 4 / (2.428 * 2)) < 0.01);
    assert_false(dual_side_should_swap(&half, &full));
    assert_true(dual_side_should_swap(&full, &half));
    tile_code_fini(&half);
    tile_code_fini(&full);
    free(a);
    free(b);
}

static void skipping_never_costs(void **state)
{
    dual_side_machine m = machine();
    float *a = make(200 * 300, 0.9);
    uint64_t before = UINT64_MAX;

    (void)state;
    for (int i = 0; i < 8; i++) {
        tile_code c = code(a, 200, 300, 300, 1);
        dual_side_cost cost = product(&m, &c, &c, false, NULL);

        assert_true(cost.cycles <= before);
        before = cost.cycles;
        for (int at = 0; at < 200 * 300; at++) {
            a[at] = chance(0.3) ? 0.0F : a[at];
        }
        tile_code_fini(&c);
    }
    free(a);
}

static void depths_must_agree(void **state)
{
    const float x[] = {1.0F, 2.0F, 3.0F};
    dual_side_machine m = machine();
    dual_side_load load;
    dual_side_cost cost;
    spry_error error;
    tile_code a = code(x, 1, 3, 3, 1);
    tile_code b = code(x, 1, 2, 2, 1);

    (void)state;
    assert_int_equal(dual_side_begin(&m, &load, &cost, &error), SPRY_OK);
    assert_int_equal(
        dual_side_product(&m, &load, &a, &b, false, NULL, threads_single(), &cost, &error),
        SPRY_USAGE);
    dual_side_end(&m, &load, &cost);
    tile_code_fini(&a);
    tile_code_fini(&b);
}

/* ---- layers ---- */

static void layers_compute_the_convolution(void **state)
{
    dual_side_machine m = machine();

    (void)state;
    for (int i = 0; i < CASES / 2; i++) {
        simulate_layer l = random_conv();
        int64_t channels = l.channels / l.groups;
        int64_t filters = l.filters / l.groups;
        int64_t taps = l.kernel_height * l.kernel_width;
        int64_t plane = l.out_height * l.out_width;
        float *x = make(l.images * l.channels * l.in_height * l.in_width, 0.5);
        float *w = make(l.filters * channels * taps, 0.5);
        float *bias = make(l.filters, 1.0);
        float *y = make(l.images * l.filters * plane, 1.0);
        simulate_operand o = {
            .left = x, .right = w, .result = y, .bias = bias, .bias_count = l.filters};
        dual_side_cost cost;
        double difference = 1.0;
        spry_error error;

        for (int64_t at = 0; at < l.images * l.filters * plane; at++) {
            int64_t f = at / plane % l.filters;
            int64_t p = at / plane / l.filters * plane + at % plane;
            double sum = (double)bias[f];

            for (int64_t k = 0; k < channels * taps; k++) {
                sum += (double)w[f * channels * taps + k] *
                       (double)patch(&l, x, p, f / filters * channels + k / taps,
                                     k % taps / l.kernel_width, k % l.kernel_width);
            }
            y[at] = (float)sum;
        }
        assert_int_equal(
            dual_side_layer(&m, &l, &o, true, threads_single(), &cost, &difference, &error),
            SPRY_OK);
        assert_true(difference == 0.0);
        free(x);
        free(w);
        free(bias);
        free(y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_give_the_matrix_back),
        cmocka_unit_test(signs_of_zero_and_odd_numbers),
        cmocka_unit_test(patches_are_those_of_the_lowered_matrix),
        cmocka_unit_test(a_shift_of_a_row_is_a_step),
        cmocka_unit_test(a_stride_takes_every_second_bit),
        cmocka_unit_test(instructions_by_hand),
        cmocka_unit_test(a_product_by_hand),
        cmocka_unit_test(instructions_follow_densities),
        cmocka_unit_test(banks_hold_results_up),
        cmocka_unit_test(counting_costs_where_it_is_not_hidden),
        cmocka_unit_test(products_are_exact),
        cmocka_unit_test(limits_of_a_large_product),
        cmocka_unit_test(sides_differ),
        cmocka_unit_test(skipping_never_costs),
        cmocka_unit_test(depths_must_agree),
        cmocka_unit_test(layers_compute_the_convolution),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
