/* Divergence of scores, and layers quantized alone. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "quantize/calibrate/scores.h"
#include "spry/model.h"
#include "spry/sensitivity.h"

enum { PATH_SIZE = 4096 };

/* p = (1/2, 1/2), q = (3/4, 1/4): (ln 2/3 + ln 2) / 2. */
static void divergence_of_two(void **state)
{
    static const float p[] = {1.0f, 1.0f};
    static const float q[] = {1.0986123f, 0.0f};
    static const float p_chances[] = {0.5f, 0.5f};
    static const float q_chances[] = {0.75f, 0.25f};

    (void)state;
    assert_float_equal(scores_divergence(p, q, 2), 0.1438410f, 1e-6);
    assert_float_equal(scores_divergence(p_chances, q_chances, 2), 0.1438410f, 1e-6);
    assert_float_equal(scores_divergence(p, p, 2), 0.0, 0.0);
}

static void extreme_scores(void **state)
{
    static const float p[] = {1000.0f, -1000.0f, 0.0f};
    static const float q[] = {-1000.0f, 1000.0f, 0.0f};
    static const float bad[] = {NAN, 0.0f, 0.0f};
    static const float sure[] = {1.0f, 0.0f, 0.0f};
    static const float wrong[] = {0.0f, 1.0f, 0.0f};

    (void)state;
    assert_float_equal(scores_divergence(p, q, 3), 2000.0, 1e-3);
    assert_float_equal(scores_divergence(p, p, 3), 0.0, 1e-9);
    assert_true(isinf(scores_divergence(p, bad, 3)));
    assert_true(isinf(scores_divergence(sure, wrong, 3)));
    assert_float_equal(scores_divergence(sure, sure, 3), 0.0, 0.0);
    assert_int_equal(scores_best(p, 3), 0);
}

static const char *glyphs(char *buffer, size_t size, const char *before, const char *file)
{
    (void)snprintf(buffer, size, "%s%s/examples/glyphs/%s", before, getenv("SPRY_SOURCE_DIR"),
                   file);
    return buffer;
}

static spry_model *load(void)
{
    char path[PATH_SIZE];
    spry_model *m = NULL;

    assert_int_equal(spry_model_load(NULL, glyphs(path, sizeof path, "", "glyphs.onnx"), &m, NULL),
                     SPRY_OK);
    return m;
}

/* Fewer bits cost more, and every layer of the network of glyphs has its row. */
static void layers_alone(void **state)
{
    spry_quantize_options options = spry_quantize_options_default();
    spry_preprocess recipe;
    spry_model *m = load();
    char path[PATH_SIZE];
    double costs[2] = {0.0, 0.0};

    (void)state;
    assert_int_equal(spry_preprocess_parse("unit", &recipe, NULL), SPRY_OK);
    assert_int_equal(spry_dataset_open(NULL, glyphs(path, sizeof path, "npz:", "test.npz"),
                                       &options.calibration, NULL),
                     SPRY_OK);
    options.recipe = &recipe;
    options.samples = 20; /* the second batch is filled up */
    options.symmetric = true;
    options.activation_bits = 8;
    for (int i = 0; i < 2; i++) {
        spry_sensitivity *s = NULL;
        const spry_sensitivity_row *rows;

        options.weight_bits = i == 0 ? 8 : 3;
        assert_int_equal(spry_sensitivity_measure(m, &options, 0, &s, NULL), SPRY_OK);
        assert_int_equal(spry_sensitivity_rows(s, &rows), 9);
        assert_true(spry_sensitivity_float_top1(s) > 0.9);
        for (int k = 0; k < 9; k++) {
            assert_true(rows[k].divergence >= 0.0 && rows[k].divergence < 1.0);
            assert_true(rows[k].agreement > 0.5 && rows[k].top1 > 0.5 && rows[k].sqnr_db > 5.0);
            assert_int_equal(rows[k].weight_bits, options.weight_bits);
            costs[i] += rows[k].divergence;
        }
        assert_string_equal(rows[8].name, "classify");
        spry_sensitivity_destroy(s);
    }
    assert_true(costs[1] > 10.0 * costs[0]);
    spry_dataset_close(options.calibration);
    spry_model_destroy(m);
}

static void needs_samples(void **state)
{
    spry_quantize_options options = spry_quantize_options_default();
    spry_sensitivity *s = NULL;
    spry_model *m = load();

    (void)state;
    assert_int_equal(spry_sensitivity_measure(m, &options, 0, &s, NULL), SPRY_USAGE);
    assert_null(s);
    spry_model_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(divergence_of_two),
        cmocka_unit_test(extreme_scores),
        cmocka_unit_test(layers_alone),
        cmocka_unit_test(needs_samples),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
