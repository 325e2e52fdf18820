/* The search for steps: trials against plain arithmetic, and what the metric promises. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "quantize/method/search.h"
#include "spry/random.h"
#include "tensor/quantize.h"

enum { MOST = 64 };

typedef struct bench {
    arena memory;
    threads *team;
    trial t;
    int32_t unit_of[MOST];
    float low[MOST], high[MOST], base[MOST];
    search_problem p;
} bench;

/* Weights [n][k] with a step for all or for each column, or two activations of `groups` groups. */
static void open_bench(bench *b, int team, int64_t groups, int64_t rows, int64_t k, int64_t n,
                       bool weights, int64_t units)
{
    arena_init(&b->memory, NULL, SIZE_MAX);
    assert_int_equal(threads_create(NULL, team, &b->team, NULL), SPRY_OK);
    for (int64_t i = 0; i < n; i++) {
        b->unit_of[i] = (int32_t)(units == n ? i : 0);
    }
    b->t = (trial){.team = b->team,
                   .metric = FISHER_MODEL,
                   .bits = 6,
                   .groups = groups,
                   .rows = rows,
                   .k = k,
                   .n = n,
                   .heads = weights ? 1 : units,
                   .a_units = weights ? 1 : units,
                   .units = units,
                   .unit_of = weights ? b->unit_of : NULL,
                   .b_codes = {weights ? -31 : -32, 31}};
    assert_int_equal(trial_create(&b->t, &b->memory, NULL), SPRY_OK);
}

static void fill_bench(bench *b, uint64_t seed)
{
    trial *t = &b->t;
    spry_random r = spry_random_stream(41, seed);
    size_t rows = (size_t)(t->groups * t->rows);

    spry_random_fill_normal(&r, t->a, rows * (size_t)t->k, 0.3f, 1.0f);
    spry_random_fill_normal(&r, t->b, (size_t)(t->groups * t->k * t->n), 0.0f, 0.5f);
    spry_random_fill_uniform(&r, t->importance, rows * (size_t)t->n, 0.0f, 1.0f);
}

/* Ranges as they are in the data, and the float product. */
static void begin_bench(bench *b)
{
    trial *t = &b->t;
    int64_t count = t->unit_of != NULL ? t->n : t->heads;

    assert_int_equal(trial_begin(t, &b->memory, NULL), SPRY_OK);
    for (int64_t u = 0; u < t->a_units; u++) {
        b->low[u] = 0.0f;
        b->high[u] = 0.0f;
    }
    for (int64_t i = 0; i < t->groups * t->rows * t->k; i++) {
        int64_t u = i / (t->rows * t->k) % t->a_units;

        b->low[u] = fminf(b->low[u], t->a[i]);
        b->high[u] = fmaxf(b->high[u], t->a[i]);
    }
    for (int64_t i = 0; i < count; i++) {
        b->base[i] = 3.0f / 31.5f;
    }
    b->p = (search_problem){.t = t,
                            .low = 0.169971f,
                            .a_low = b->low,
                            .a_high = b->high,
                            .b_base = b->base,
                            .b_count = count,
                            .from = 0.01,
                            .rounds = 2};
}

static void close_bench(bench *b)
{
    threads_destroy(b->team);
    arena_fini(&b->memory);
}

static search_result find(bench *b, search_form form)
{
    search_result r = {0};

    r.grids = arena_array(&b->memory, MOST, sizeof *r.grids);
    r.steps = arena_array(&b->memory, MOST, sizeof *r.steps);
    assert_int_equal(search_run(&b->p, form, &b->memory, &r, NULL), SPRY_OK);
    return r;
}

/* ---- trials ---- */

static double value_on(const trial_grid *grid, int bits, float x)
{
    tensor_grid whole = {.dtype = grid->dtype, .bits = bits};
    grid_codes codes = tensor_grid_codes(&whole);
    quantize_target target = {codes.low, codes.high, grid->zero};

    if (grid->is_twin) {
        return (double)twin_round(x, twin_terms_of(grid->twin));
    }
    return (double)(quantize_f32(x, grid->step, target) - grid->zero) * (double)grid->step;
}

/* The error of everything, in double. */
static double plain_error(const bench *b, const trial_grid *grids, const float *steps)
{
    const trial *t = &b->t;
    quantize_target target = {t->b_codes.low, t->b_codes.high, 0};
    double total = 0.0;

    for (int64_t i = 0; i < t->groups * t->rows; i++) {
        int64_t g = i / t->rows;

        for (int64_t j = 0; j < t->n; j++) {
            float step = steps[t->unit_of != NULL ? j : g % t->heads];
            double exact = 0.0;
            double found = 0.0;

            for (int64_t k = 0; k < t->k; k++) {
                float x = t->a[i * t->k + k];
                float w = t->unit_of != NULL ? t->b[j * t->k + k] : t->b[(g * t->k + k) * t->n + j];

                exact += (double)x * (double)w;
                found += value_on(&grids[g % t->a_units], t->bits, x) *
                         (quantize_f32(w, step, target) * (double)step);
            }
            total += (double)t->importance[i * t->n + j] * (found - exact) * (found - exact);
        }
    }
    return total / (double)(t->groups * t->rows * t->n);
}

static double measured(bench *b)
{
    double errors[MOST];
    double total = 0.0;

    trial_measure(&b->t, errors);
    for (int64_t u = 0; u < b->t.units; u++) {
        total += errors[u];
    }
    return total;
}

static void check_trial(bool weights, trial_grid grid)
{
    bench b;
    trial_grid grids[MOST];
    float steps[MOST];
    double wanted;

    open_bench(&b, 2, weights ? 1 : 6, 37, 19, 35, weights, weights ? 35 : 3);
    fill_bench(&b, 1);
    begin_bench(&b);
    for (int i = 0; i < MOST; i++) {
        grids[i] = grid;
        steps[i] = 0.04f + 0.001f * (float)i;
    }
    trial_set_a(&b.t, grids);
    trial_set_b(&b.t, steps);
    wanted = plain_error(&b, grids, steps);
    assert_true(fabs(measured(&b) - wanted) <= 1e-4 * wanted);
    close_bench(&b);
}

static void test_trials(void **state)
{
    (void)state;
    for (int weights = 0; weights < 2; weights++) {
        check_trial(weights != 0, (trial_grid){.step = 0.1f, .dtype = SPRY_DTYPE_I8});
        check_trial(weights != 0, (trial_grid){.step = 0.07f, .zero = 20, .dtype = SPRY_DTYPE_U8});
        check_trial(weights != 0,
                    (trial_grid){.is_twin = true, .twin = {TWIN_SIGNED, 6, 0.005f, 0.1f}});
        check_trial(weights != 0,
                    (trial_grid){.is_twin = true, .twin = {TWIN_POSITIVE, 6, 0.004f, 0.03f}});
    }
}

/* ---- searches ---- */

/* Outputs 1 and 2 share a step. Most of row 1 is small and one number large; all of row 2 is large.
 * A small step serves row 1 and ruins row 2. */
static float step_for(fisher_metric metric)
{
    enum { K = 16, ROWS = 8 };
    bench b;
    search_result r;
    float step;

    open_bench(&b, 1, 1, ROWS, K, 2, true, 1);
    b.t.metric = metric;
    for (int i = 0; i < ROWS * K; i++) {
        b.t.a[i] = (float)((i * 7) % 13) - 6.0f;
    }
    for (int i = 0; i < K; i++) {
        b.t.b[i] = 0.03f * (float)(i % 5 + 1);
        b.t.b[K + i] = i % 2 == 0 ? 3.0f : -2.9f;
    }
    for (int i = 0; i < ROWS; i++) {
        b.t.importance[2 * i] = 1.0f;
        b.t.importance[2 * i + 1] = 0.0f;
    }
    if (metric == FISHER_NONE) {
        b.t.importance = NULL;
    }
    begin_bench(&b);
    r = find(&b, SEARCH_SYMMETRIC);
    assert_true(r.after <= r.before);
    step = r.steps[0];
    close_bench(&b);
    return step;
}

static void test_importance_decides(void **state)
{
    (void)state;
    assert_true(step_for(FISHER_MODEL) < 0.06f);
    assert_true(step_for(FISHER_NONE) > 0.08f);
}

static void test_same_for_any_team(void **state)
{
    (void)state;
    for (int form = SEARCH_SYMMETRIC; form <= SEARCH_TWIN_FREE; form++) {
        search_result first = {0};
        double scaled = 0.0;

        for (int round = 0; round < 3; round++) { /* one thread; three; importance times 4 */
            bench b;
            search_result r;

            open_bench(&b, round == 1 ? 3 : 1, 1, 200, 24, 35, true, 35);
            fill_bench(&b, 3);
            for (int64_t i = 0; round == 2 && i < b.t.rows * b.t.n; i++) {
                b.t.importance[i] *= 4.0f;
            }
            begin_bench(&b);
            b.p.twin = TWIN_SIGNED;
            r = find(&b, (search_form)form);
            assert_true(r.after <= r.before);
            if (round == 0) {
                first = r;
                first.steps = malloc(35 * sizeof(float));
                assert_non_null(first.steps);
                memcpy(first.steps, r.steps, 35 * sizeof(float));
                first.grids = malloc(sizeof *r.grids);
                assert_non_null(first.grids);
                memcpy(first.grids, r.grids, sizeof *r.grids);
            }
            scaled = round == 2 ? 4.0 : 1.0;
            assert_memory_equal(r.steps, first.steps, 35 * sizeof(float));
            assert_true(r.grids->step == first.grids->step);
            assert_true(r.grids->twin.d2 == first.grids->twin.d2);
            assert_true(r.after == scaled * first.after);
            close_bench(&b);
        }
        free(first.steps);
        free(first.grids);
    }
}

/* Samples in another order, and every sample twice: the same steps. */
static void test_samples(void **state)
{
    enum { ROWS = 50, K = 12, N = 9 };
    float steps[N];
    float grid = 0.0f;
    double error = 0.0;

    (void)state;
    for (int round = 0; round < 3; round++) {
        int rows = round == 2 ? 2 * ROWS : ROWS;
        bench source;
        bench b;
        search_result r;

        open_bench(&source, 1, 1, ROWS, K, N, true, N);
        fill_bench(&source, 8);
        open_bench(&b, 1, 1, rows, K, N, true, N);
        memcpy(b.t.b, source.t.b, K * N * sizeof(float));
        for (int i = 0; i < rows; i++) {
            int from = round == 1 ? (i * 7 + 3) % ROWS : i % ROWS;

            memcpy(b.t.a + i * K, source.t.a + from * K, K * sizeof(float));
            memcpy(b.t.importance + i * N, source.t.importance + from * N, N * sizeof(float));
        }
        begin_bench(&b);
        r = find(&b, SEARCH_AFFINE);
        if (round == 0) {
            memcpy(steps, r.steps, sizeof steps);
            grid = r.grids->step;
            error = r.after;
        }
        assert_memory_equal(steps, r.steps, sizeof steps);
        assert_true(grid == r.grids->step);
        assert_true(fabs(error - r.after) <= 1e-6 * error);
        close_bench(&b);
        close_bench(&source);
    }
}

/* What a Softmax gives: a fine range beside the coarse one pays, and more rounds never hurt. */
static void test_softmax(void **state)
{
    bench b;
    spry_random r = spry_random_stream(9, 0);
    double twin;

    (void)state;
    open_bench(&b, 2, 6, 40, 33, 16, false, 3);
    b.t.a_units = 1;
    fill_bench(&b, 5);
    for (int64_t i = 0; i < b.t.groups * b.t.rows; i++) {
        double total = 0.0;

        for (int64_t k = 0; k < b.t.k; k++) {
            b.t.a[i * b.t.k + k] = (float)exp(3.0 * spry_random_normal(&r));
            total += (double)b.t.a[i * b.t.k + k];
        }
        for (int64_t k = 0; k < b.t.k; k++) {
            b.t.a[i * b.t.k + k] = (float)((double)b.t.a[i * b.t.k + k] / total);
        }
    }
    begin_bench(&b);
    b.p.twin = TWIN_POSITIVE;
    b.p.rounds = 1;
    twin = find(&b, SEARCH_TWIN).after;
    assert_true(twin < 0.9 * find(&b, SEARCH_AFFINE).after);
    assert_true(twin < 0.5 * find(&b, SEARCH_SYMMETRIC).after);
    b.p.rounds = 3;
    assert_true(find(&b, SEARCH_TWIN).after <= twin);
    close_bench(&b);
}

/* Activations that are always 0, and importance that is all 0: steps stay sane. */
static void test_degenerate(void **state)
{
    bench b;
    search_result r;

    (void)state;
    open_bench(&b, 1, 1, 5, 4, 3, true, 3);
    fill_bench(&b, 6);
    memset(b.t.a, 0, 5 * 4 * sizeof(float));
    memset(b.t.importance, 0, 5 * 3 * sizeof(float));
    begin_bench(&b);
    r = find(&b, SEARCH_SYMMETRIC);
    assert_true(r.grids->step == 1.0f);
    assert_true(r.steps[0] == b.base[0] && r.steps[2] == b.base[2]);
    r = find(&b, SEARCH_AFFINE);
    assert_true(r.grids->step == 1.0f && r.grids->zero == 0);
    assert_true(r.after == 0.0);
    close_bench(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trials),
        cmocka_unit_test(test_importance_decides),
        cmocka_unit_test(test_same_for_any_team),
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_degenerate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
