/* Pruning: what becomes zero by each method, how zeros are spread, and that they stay while a model
 * learns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sparsify/layers.h"
#include "support/data.h"
#include "support/lesson.h"
#include "support/sample.h"

static char folder[256];
static spry_dataset *data;
static spry_error error;

static int open_all(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "%s", data_make_folder());
    data = lesson_data(folder, "train.npz", 120, 1);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    spry_dataset_close(data);
    data_remove_folder(folder);
    return 0;
}

/* ---- masks ---- */

enum { MOST = 8192 };

/* A layer that is no model's, of the method and that ratio. */
static sparsify_layer layer_of(const sparsify_layers *all, sparsify_view view, double ratio)
{
    sparsify_layer l = {.view = view,
                        .count = view.outputs * view.channels * view.taps,
                        .unit = {1, 1, 1, 0},
                        .ratio = ratio};

    if (all->method->unit != NULL) {
        l.unit = all->method->unit(&view);
    }
    l.unit.outputs = l.unit.outputs < view.outputs ? l.unit.outputs : view.outputs;
    l.unit.channels = l.unit.channels < view.channels ? l.unit.channels : view.channels;
    l.unit.taps = l.unit.taps < view.taps ? l.unit.taps : view.taps;
    l.units = (view.outputs + l.unit.outputs - 1) / l.unit.outputs *
              ((view.channels + l.unit.channels - 1) / l.unit.channels) *
              ((view.taps + l.unit.taps - 1) / l.unit.taps);
    return l;
}

static void mask_of(const char *method, sparsify_view view, double ratio, const float *numbers,
                    uint8_t *mask)
{
    static sparsify_score scores[MOST];
    static int32_t places[MOST];
    const sparsify_room room = {scores, places};
    sparsify_layers all = {.keep = 2, .of = 4};
    sparsify_layer l;

    assert_int_equal(sparsify_method_find(method, &all.method, &error), SPRY_OK);
    l = layer_of(&all, view, ratio);
    assert_true(l.count <= MOST);
    sparsify_mask(&all, &l, numbers, 1.0, &room, mask);
}

static sparsify_view dense_view(int64_t outputs, int64_t channels, int64_t taps)
{
    return (sparsify_view){outputs, channels, taps, channels * taps, taps, 1};
}

/* By hand: a matrix of two outputs by four inputs. */
static void small_numbers_go(void **state)
{
    const float numbers[] = {1, -4, 2, 3, -8, 5, -6, 7};
    const uint8_t single[] = {0, 0, 0, 0, 1, 1, 1, 1};
    const uint8_t nm[] = {0, 1, 0, 1, 1, 0, 0, 1};
    const uint8_t panel[] = {1, 0, 0, 1, 1, 0, 0, 1}; /* sums of squares 65, 41, 40, 58 */
    const uint8_t lanes[] = {0, 1, 0, 1, 1, 0, 0, 1}; /* the two largest of each output */
    const uint8_t filter[] = {0, 0, 0, 0, 1, 1, 1, 1};
    uint8_t mask[8];

    (void)state;
    mask_of("magnitude", dense_view(2, 4, 1), 0.5, numbers, mask);
    assert_memory_equal(mask, single, sizeof mask);
    mask_of("nm", dense_view(2, 4, 1), 0.5, numbers, mask);
    assert_memory_equal(mask, nm, sizeof mask);
    mask_of("lanes", dense_view(2, 4, 1), 0.5, numbers, mask);
    assert_memory_equal(mask, lanes, sizeof mask);
    mask_of("filter", dense_view(2, 4, 1), 0.5, numbers, mask);
    assert_memory_equal(mask, filter, sizeof mask);
    mask_of("panel", dense_view(2, 4, 1), 0.5, numbers, mask);
    assert_memory_equal(mask, panel, sizeof mask);
}

/* Of every 16 x 16 x 1 cell each output keeps as many, its largest, and the ratio is met. */
static void lanes_keep_as_many(void **state)
{
    spry_random r = spry_random_stream(71, 0);
    static float numbers[MOST];
    static uint8_t mask[MOST];
    const sparsify_view v = dense_view(32, 20, 9);
    int64_t gone = 0;

    (void)state;
    sample_f32(&r, numbers, 32 * 20 * 9);
    mask_of("lanes", v, 0.7, numbers, mask);
    for (int64_t panel = 0; panel < 32; panel += 16) {
        for (int64_t tap = 0; tap < 9; tap++) {
            for (int64_t first = 0; first < 20; first += 16) {
                int64_t last = first + 16 < 20 ? first + 16 : 20;
                int64_t kept = -1;

                for (int64_t m = panel; m < panel + 16; m++) {
                    float least = INFINITY;
                    float most = 0.0f;
                    int64_t count = 0;

                    for (int64_t c = first; c < last; c++) {
                        int64_t at = m * v.output_stride + c * v.channel_stride + tap;

                        count += mask[at];
                        gone += mask[at] == 0;
                        least = mask[at] ? fminf(least, fabsf(numbers[at])) : least;
                        most = mask[at] ? most : fmaxf(most, fabsf(numbers[at]));
                    }
                    assert_true(kept < 0 || kept == count);
                    assert_true(least >= most);
                    kept = count;
                }
            }
        }
    }
    assert_true(fabs((double)gone / (32 * 20 * 9) - 0.7) < 0.01);
}

static void every_method_meets_the_ratio(void **state)
{
    static const char *const methods[] = {"lanes", "magnitude", "panel", "block", "filter"};
    spry_random r = spry_random_stream(72, 0);
    static float numbers[MOST];
    static uint8_t mask[MOST];

    (void)state;
    sample_f32(&r, numbers, MOST);
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        const sparsify_view v = dense_view(40, 30, 4);
        /* outputs are the columns of a MatMul's weights */
        const sparsify_view turned = {40, 30, 4, 1, 160, 40};
        int64_t gone[2] = {0, 0};

        mask_of(methods[i], v, 0.6, numbers, mask);
        for (int64_t k = 0; k < 4800; k++) {
            gone[0] += mask[k] == 0;
        }
        mask_of(methods[i], turned, 0.6, numbers, mask);
        for (int64_t k = 0; k < 4800; k++) {
            gone[1] += mask[k] == 0;
        }
        for (int k = 0; k < 2; k++) {
            assert_true(fabs((double)gone[k] / 4800.0 - 0.6) < 0.02);
        }
    }
}

/* ---- models ---- */

static double share_of(const spry_model *m, const char *except)
{
    spry_sparsity *s = NULL;
    const spry_sparsity_row *rows;
    int64_t zeros = 0;
    int64_t all = 0;
    int32_t count;

    assert_int_equal(spry_sparsity_of(m, &s, &error), SPRY_OK);
    count = spry_sparsity_rows(s, &rows);
    for (int32_t i = 0; i < count; i++) {
        if (except == NULL || strcmp(rows[i].name, except) != 0) {
            zeros += rows[i].zeros;
            all += rows[i].weights;
        }
    }
    spry_sparsity_destroy(s);
    return (double)zeros / (double)all;
}

static void models_are_pruned(void **state)
{
    static const char *const spreads[] = {"uniform", "global"};
    spry_model *source = lesson_model("lenet");

    (void)state;
    assert_true(share_of(source, NULL) < 0.01);
    for (int i = 0; i < 2; i++) {
        spry_sparsify_options o = spry_sparsify_options_default();
        spry_model *pruned = NULL;

        o.method = "magnitude";
        o.spread = spreads[i];
        o.ratio = 0.6;
        assert_int_equal(spry_sparsify(source, &o, &pruned, &error), SPRY_OK);
        assert_true(fabs(share_of(pruned, NULL) - 0.6) < 0.01);
        assert_true(share_of(source, NULL) < 0.01); /* as it was */
        spry_model_destroy(pruned);
    }
    spry_model_destroy(source);
}

static void ends_and_names_stay(void **state)
{
    const char *const first_pattern[] = {"*"};
    const char *const nothing[] = {"no such weight"};
    spry_model *source = lesson_model("lenet");
    spry_sparsify_options o = spry_sparsify_options_default();
    spry_model *pruned = NULL;
    spry_sparsity *s = NULL;
    const spry_sparsity_row *rows;
    int32_t count;

    (void)state;
    assert_int_equal(spry_sparsify(source, &o, &pruned, &error), SPRY_OK);
    assert_int_equal(spry_sparsity_of(pruned, &s, &error), SPRY_OK);
    count = spry_sparsity_rows(s, &rows);
    assert_true(count > 2);
    assert_int_equal(rows[0].zeros, 0);
    assert_int_equal(rows[count - 1].zeros, 0);
    assert_true(rows[1].zeros > 0);
    spry_sparsity_destroy(s);
    spry_model_destroy(pruned);
    o.exclude = nothing;
    o.exclude_count = 1;
    assert_int_equal(spry_sparsify(source, &o, &pruned, &error), SPRY_USAGE);
    o.exclude = first_pattern; /* nothing may change: the ratio cannot be met */
    assert_int_equal(spry_sparsify(source, &o, &pruned, &error), SPRY_USAGE);
    spry_model_destroy(source);
}

static void odd_weights_are_named(void **state)
{
    spry_model *source = lesson_model("lenet");
    spry_sparsify_options o = spry_sparsify_options_default();
    spry_sparsity *s = NULL;
    const spry_sparsity_row *rows;
    spry_model *pruned = NULL;
    char name[128];
    int64_t count;

    (void)state;
    assert_int_equal(spry_sparsity_of(source, &s, &error), SPRY_OK);
    (void)spry_sparsity_rows(s, &rows);
    (void)snprintf(name, sizeof name, "%s", rows[1].name);
    spry_sparsity_destroy(s);
    ((float *)(uintptr_t)lesson_numbers(source, name, &count))[count - 1] = NAN;
    assert_int_equal(spry_sparsify(source, &o, &pruned, &error), SPRY_BAD_INPUT);
    assert_string_equal(error.where, name);
    assert_null(pruned);
    spry_model_destroy(source);
}

static void bad_options_are_refused(void **state)
{
    spry_model *source = lesson_model("lenet");
    spry_model *pruned = NULL;

    (void)state;
    for (int i = 0; i < 5; i++) {
        spry_sparsify_options o = spry_sparsify_options_default();

        o.method = i == 0 ? "none" : o.method;
        o.ratio = i == 1 ? 1.0 : i == 2 ? NAN : o.ratio;
        o.spread = i == 3 ? "thinly" : o.spread;
        o.keep = i == 4 ? 4 : o.keep;
        assert_int_equal(spry_sparsify(source, &o, &pruned, &error), SPRY_USAGE);
        assert_null(pruned);
    }
    spry_model_destroy(source);
}

/* ---- learning ---- */

static spry_model *learn(const spry_model *source, int threads, double average)
{
    spry_sparsify_options o = spry_sparsify_options_default();
    spry_sparsify_goal goal = spry_sparsify_goal_default();
    spry_train_options t = spry_train_options_default();
    spry_train_objective *objective = NULL;
    spry_model *trained;

    o.ratio = 0.5;
    goal.teacher = source;
    goal.update_steps = 3;
    assert_int_equal(spry_sparsify_objective(source, &o, &goal, &objective, &error), SPRY_OK);
    t.data = data;
    t.batch = 20;
    t.steps = 12;
    t.threads = threads;
    t.average = average;
    t.objective = objective;
    trained = lesson_learn(source, &t, NULL);
    spry_train_objective_destroy(objective);
    return trained;
}

static void zeros_stay_while_it_learns(void **state)
{
    spry_model *source = lesson_model("lenet");
    spry_model *one = learn(source, 1, 0.0);
    spry_model *two = learn(source, 2, 0.0);
    spry_model *mean = learn(source, 1, 0.9);

    (void)state;
    assert_true(fabs(share_of(one, NULL) - 0.5) < 0.01);
    assert_true(lesson_same(one, two, NULL));
    assert_true(fabs(share_of(mean, NULL) - 0.5) < 0.01);
    spry_model_destroy(mean);
    spry_model_destroy(two);
    spry_model_destroy(one);
    spry_model_destroy(source);
}

static void goals_are_checked(void **state)
{
    spry_model *source = lesson_model("lenet");
    spry_sparsify_options o = spry_sparsify_options_default();
    spry_train_objective *objective = NULL;

    (void)state;
    for (int i = 0; i < 4; i++) {
        spry_sparsify_goal goal = spry_sparsify_goal_default();

        goal.begin = i == 0 ? 0.8 : goal.begin;
        goal.update_steps = i == 1 ? 0 : goal.update_steps;
        goal.teacher_temperature = i == 2 ? NAN : goal.teacher_temperature;
        goal.ignore_labels = i == 3; /* without a teacher */
        assert_int_equal(spry_sparsify_objective(source, &o, &goal, &objective, &error),
                         SPRY_USAGE);
        assert_null(objective);
    }
    spry_model_destroy(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_numbers_go),
        cmocka_unit_test(lanes_keep_as_many),
        cmocka_unit_test(every_method_meets_the_ratio),
        cmocka_unit_test(models_are_pruned),
        cmocka_unit_test(ends_and_names_stay),
        cmocka_unit_test(odd_weights_are_named),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(zeros_stay_while_it_learns),
        cmocka_unit_test(goals_are_checked),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
