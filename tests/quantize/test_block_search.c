/* The search of steps against outputs that are computed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "quantize/method/block_search.h"
#include "spry/random.h"

enum { POINTS = 30, MOST_SIZE = 64, MOST_OUTPUTS = 16 };

typedef struct search_case {
    arena memory;
    weight_record r;
    gram sums;
    int64_t size, groups;
    float x[POINTS][2 * MOST_SIZE], q[POINTS][2 * MOST_SIZE]; /* groups side by side */
    float dense[MOST_OUTPUTS * MOST_SIZE];
    float values[MOST_OUTPUTS * MOST_SIZE];
    double shares[MOST_OUTPUTS];
} search_case;

static double *sum_products(const search_case *c, const float x[][2 * MOST_SIZE],
                            const float y[][2 * MOST_SIZE])
{
    double *m = calloc((size_t)(c->groups * c->size * c->size), sizeof *m);

    assert_non_null(m);
    for (int64_t g = 0; g < c->groups; g++) {
        for (int64_t i = 0; i < c->size; i++) {
            for (int64_t j = 0; j < c->size; j++) {
                for (int p = 0; p < POINTS; p++) {
                    m[(g * c->size + i) * c->size + j] +=
                        (double)x[p][g * c->size + i] * (double)y[p][g * c->size + j];
                }
            }
        }
    }
    return m;
}

static void draw(spry_random *random, search_case *c)
{
    static const int64_t inputs[] = {1, 3, 5, 8};
    static const int64_t outputs[] = {1, 2, 4, 7};
    int64_t taps = spry_random_below(random, 2) == 0 ? 1 : 5;
    bool quantized = spry_random_below(random, 2) == 0;

    c->groups = 1 + (int64_t)spry_random_below(random, 2);
    c->r = (weight_record){.w = {.outputs = c->groups * outputs[spry_random_below(random, 4)],
                                 .inputs = inputs[spry_random_below(random, 4)],
                                 .taps = taps},
                           .bits = 2 + (int)spry_random_below(random, 4),
                           .symmetric = true};
    c->size = c->r.w.inputs * taps;
    for (int p = 0; p < POINTS; p++) {
        for (int64_t i = 0; i < c->groups * c->size; i++) {
            c->x[p][i] = (float)spry_random_normal(random) + 0.5f;
            c->q[p][i] = rintf(c->x[p][i] * 8.0f) / 8.0f;
        }
    }
    for (int64_t i = 0; i < weight_count(&c->r.w); i++) {
        c->dense[i] = (float)spry_random_normal(random);
    }
    c->sums = (gram){.groups = c->groups, .size = c->size, .columns = POINTS};
    c->sums.xx = sum_products(c, c->x, c->x);
    if (quantized) {
        c->sums.xq = sum_products(c, c->x, c->q);
        c->sums.qq = sum_products(c, c->q, c->q);
    }
    for (int64_t m = 0; m < c->r.w.outputs; m++) {
        c->shares[m] = 2.0 * spry_random_f64(random);
    }
    c->sums.outputs = spry_random_below(random, 2) == 0 ? c->shares : NULL;
    arena_init(&c->memory, NULL, SIZE_MAX);
    assert_int_equal(blocks_cut(&c->r, 1 + (int64_t)spry_random_below(random, 4),
                                1 + (int64_t)spry_random_below(random, 4), NULL, NULL, &c->memory,
                                NULL),
                     SPRY_OK);
    blocks_absmax(&c->r, c->dense);
}

static void end(search_case *c)
{
    free(c->sums.xx);
    free(c->sums.xq);
    free(c->sums.qq);
    arena_fini(&c->memory);
}

/* |W X - W' Q|^2 of the record's codes, output by output. */
static double explicit_error(search_case *c)
{
    const weight *w = &c->r.w;
    double sum = 0.0;

    blocks_values(&c->r, c->values);
    for (int64_t m = 0; m < w->outputs; m++) {
        int64_t first = m / (w->outputs / c->groups) * c->size;

        for (int p = 0; p < POINTS; p++) {
            const float *x = c->x[p] + first;
            const float *q = c->sums.qq != NULL ? c->q[p] + first : x;
            double y = 0.0;

            for (int64_t i = 0; i < c->size; i++) {
                y += (double)c->dense[m * c->size + i] * (double)x[i] -
                     (double)c->values[m * c->size + i] * (double)q[i];
            }
            sum += y * y * (c->sums.outputs != NULL ? c->shares[m] : 1.0);
        }
    }
    return sum;
}

static void check_same(double a, double b)
{
    if (!(fabs(a - b) <= 1e-9 * fmax(fabs(a), fabs(b)) + 1e-10)) {
        fail_msg("%.15g is not %.15g", a, b);
    }
}

static void errors_are_those_of_outputs(void **state)
{
    spry_random random = spry_random_stream(3, 0);
    spry_allocator allocator = alloc_resolve(NULL);
    block_search_options options = block_search_options_default();

    (void)state;
    for (int trial = 0; trial < 100; trial++) {
        static search_case c;
        block_search_report report;
        double total = 0.0;

        draw(&random, &c);
        blocks_round(&c.r, c.dense);
        double before = explicit_error(&c);

        assert_int_equal(block_search(&c.r, c.dense, &c.sums, &options, &allocator,
                                      threads_single(), &report, NULL),
                         SPRY_OK);
        check_same(report.before, before);
        check_same(report.after, explicit_error(&c));
        assert_true(report.after <= report.before);
        blocks_values(&c.r, c.values);
        for (int64_t m = 0; m < c.r.w.outputs; m++) {
            total += block_search_error(&c.sums, c.r.w.outputs, m, c.dense + m * c.size,
                                        c.values + m * c.size);
        }
        check_same(total, report.after);
        end(&c);
    }
}

/* One round by the definition: every step tried, outputs computed each time. */
static void search_naively(search_case *c, const block_search_options *o)
{
    float first[MOST_OUTPUTS * MOST_SIZE];

    memcpy(first, c->r.steps, (size_t)record_blocks(&c->r) * sizeof *first);
    for (int64_t h = 0; h < c->r.column_blocks; h++) {
        for (int64_t v = 0; v < c->r.row_blocks; v++) {
            int64_t at = v * c->r.column_blocks + h;
            float best = c->r.steps[at];
            double least;

            blocks_round(&c->r, c->dense);
            least = explicit_error(c);
            for (int i = 0; i < o->candidates; i++) {
                double factor = o->least + (o->most - o->least) * i / (o->candidates - 1);
                double error;

                c->r.steps[at] = (float)((double)first[at] * factor);
                blocks_round(&c->r, c->dense);
                error = explicit_error(c);
                if (error < least) {
                    least = error;
                    best = c->r.steps[at];
                }
            }
            c->r.steps[at] = best;
        }
    }
    blocks_round(&c->r, c->dense);
}

static void steps_are_those_of_an_explicit_search(void **state)
{
    spry_random random = spry_random_stream(4, 0);
    spry_allocator allocator = alloc_resolve(NULL);
    block_search_options options = block_search_options_default();

    (void)state;
    options.rounds = 1;
    options.candidates = 12;
    for (int trial = 0; trial < 40; trial++) {
        static search_case c;
        float fast[MOST_OUTPUTS * MOST_SIZE];
        float first[MOST_OUTPUTS * MOST_SIZE];
        block_search_report report;
        size_t bytes;

        draw(&random, &c);
        bytes = (size_t)record_blocks(&c.r) * sizeof *fast;
        memcpy(first, c.r.steps, bytes);
        assert_int_equal(block_search(&c.r, c.dense, &c.sums, &options, &allocator,
                                      threads_single(), &report, NULL),
                         SPRY_OK);
        memcpy(fast, c.r.steps, bytes);
        memcpy(c.r.steps, first, bytes);
        search_naively(&c, &options);
        assert_memory_equal(c.r.steps, fast, bytes);
        end(&c);
    }
}

/* The error of every metric's own kind falls, with more threads by the same bits. */
static void other_metrics_and_threads(void **state)
{
    spry_random random = spry_random_stream(5, 0);
    spry_allocator allocator = alloc_resolve(NULL);
    threads *team = NULL;

    (void)state;
    assert_int_equal(threads_create(NULL, 3, &team, NULL), SPRY_OK);
    for (int trial = 0; trial < 60; trial++) {
        static const block_metric metrics[] = {BLOCK_METRIC_L2, BLOCK_METRIC_COSINE,
                                               BLOCK_METRIC_WEIGHT};
        block_search_options options = block_search_options_default();
        static search_case c;
        float first[MOST_OUTPUTS * MOST_SIZE];
        float fast[MOST_OUTPUTS * MOST_SIZE];
        block_search_report report;
        double before;
        size_t bytes;

        options.metric = metrics[trial % 3];
        draw(&random, &c);
        bytes = (size_t)record_blocks(&c.r) * sizeof *fast;
        memcpy(first, c.r.steps, bytes);
        blocks_round(&c.r, c.dense);
        before = blocks_error(&c.r, c.dense);
        assert_int_equal(block_search(&c.r, c.dense, &c.sums, &options, &allocator,
                                      threads_single(), &report, NULL),
                         SPRY_OK);
        if (options.metric == BLOCK_METRIC_WEIGHT) {
            check_same(report.after, blocks_error(&c.r, c.dense));
            assert_true(report.after <= before);
        }
        memcpy(fast, c.r.steps, bytes);
        memcpy(c.r.steps, first, bytes);
        assert_int_equal(
            block_search(&c.r, c.dense, &c.sums, &options, &allocator, team, &report, NULL),
            SPRY_OK);
        assert_memory_equal(c.r.steps, fast, bytes);
        end(&c);
    }
    threads_destroy(team);
}

/* Matrices of zeros, as of inputs that are never on. */
static void dead_inputs_do_no_harm(void **state)
{
    spry_random random = spry_random_stream(6, 0);
    spry_allocator allocator = alloc_resolve(NULL);
    block_search_options options = block_search_options_default();
    static search_case c;
    block_search_report report;

    (void)state;
    draw(&random, &c);
    memset(c.sums.xx, 0, (size_t)(c.groups * c.size * c.size) * sizeof *c.sums.xx);
    free(c.sums.xq);
    free(c.sums.qq);
    c.sums.xq = NULL;
    c.sums.qq = NULL;
    for (int metric = 0; metric < 3; metric++) {
        options.metric = (block_metric)metric;
        assert_int_equal(block_search(&c.r, c.dense, &c.sums, &options, &allocator,
                                      threads_single(), &report, NULL),
                         SPRY_OK);
        for (int64_t i = 0; i < record_blocks(&c.r); i++) {
            assert_true(isfinite(c.r.steps[i]) && c.r.steps[i] > 0.0f);
        }
    }
    end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_those_of_outputs),
        cmocka_unit_test(steps_are_those_of_an_explicit_search),
        cmocka_unit_test(other_metrics_and_threads),
        cmocka_unit_test(dead_inputs_do_no_harm),
    };

    return cmocka_run_group_tests_name("quantize/block_search", tests, NULL, NULL);
}
