/* Predictions as the public API gives them: sums, recommendations, options, models against
 * tables. */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "spry/architecture.h"
#include "spry/predict.h"
#include "support/fault.h"
#include "tune/latency_network.h"

static spry_prediction *predict(const char *name, const spry_predict_options *o)
{
    spry_prediction *p = NULL;
    spry_error error;

    if (spry_predict(NULL, name, NULL, o, &p, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    return p;
}

static void sums_agree(void **state)
{
    spry_predict_options o = spry_predict_options_default();
    const spry_predict_block *blocks = NULL;
    const spry_predict_stage *stages = NULL;
    const spry_predict_totals *t;
    spry_prediction *p;
    double sums[4] = {0};

    (void)state;
    o.target = "tx2";
    p = predict("resnet50", &o);
    t = spry_prediction_totals(p);
    for (int32_t i = 0; i < spry_prediction_blocks(p, &blocks); i++) {
        sums[0] += blocks[i].dense_ms;
        sums[1] += blocks[i].sparse_ms;
    }
    for (int32_t i = 0; i < spry_prediction_stages(p, &stages); i++) {
        sums[2] += stages[i].dense_ms;
        sums[3] += stages[i].sparse_ms;
        assert_int_equal(stages[i].granularity, stages[i].recommended);
        assert_true(stages[i].break_even >= 0 && stages[i].break_even <= 1);
    }
    assert_true(fabs(sums[0] - t->dense_ms) < 1e-9 && fabs(sums[2] - t->dense_ms) < 1e-9);
    assert_true(fabs(sums[1] - t->sparse_ms) < 1e-9 && fabs(sums[3] - t->sparse_ms) < 1e-9);
    assert_true(t->outside_ms == 0);
    assert_non_null(strstr(spry_prediction_target(p), "59.7 GB/s"));
    assert_true(spry_prediction_at(p, 4, 0.3) < spry_prediction_at(p, 4, 0.9));
    assert_true(spry_prediction_at(p, 0, 0.3) == -1 && spry_prediction_at(p, 4, 1.01) == -1);
    spry_prediction_destroy(p);
    spry_prediction_destroy(NULL);
}

/* At the break-even the two are equal; below it squares pay, above they do not. */
static void break_even_is_where_times_meet(void **state)
{
    spry_predict_options o = spry_predict_options_default();
    const spry_predict_totals *t;
    spry_prediction *p;

    (void)state;
    o.granularity_count = 4;
    for (int i = 0; i < 4; i++) {
        o.granularity[i] = 1;
    }
    p = predict("resnet50", &o);
    t = spry_prediction_totals(p);
    assert_true(t->break_even > 0.05 && t->break_even < 0.95);
    assert_true(spry_prediction_at(p, 1, t->break_even) <= t->dense_ms);
    assert_true(spry_prediction_at(p, 1, t->break_even + 0.01) > t->dense_ms);
    spry_prediction_destroy(p);
}

static void models_are_their_tables(void **state)
{
    spry_model *m = NULL;
    latency_network from[2];
    spry_error error;

    (void)state;
    assert_int_equal(latency_network_named(&from[0], NULL, "resnet50", &error), SPRY_OK);
    assert_int_equal(spry_architecture_create(NULL, "resnet50", NULL, &m, &error), SPRY_OK);
    assert_int_equal(latency_network_of_model(&from[1], m, &error), SPRY_OK);
    assert_int_equal(from[1].block_count, from[0].block_count);
    assert_int_equal(from[1].stage_count, 4);
    assert_int_equal(from[1].other_count, 1);
    for (size_t i = 0; i < from[0].block_count; i++) {
        latency_block a = from[0].blocks[i];
        latency_block b = from[1].blocks[i];

        a.squeeze_after = b.squeeze_after = 0;
        assert_true(latency_block_equal(&a, &b));
        assert_string_equal(a.name, b.name);
    }
    latency_network_fini(&from[0]);
    latency_network_fini(&from[1]);
    spry_model_destroy(m);
    /* Blocks of two convolutions, and a model without any. */
    assert_int_equal(spry_architecture_create(NULL, "resnet20", NULL, &m, &error), SPRY_OK);
    assert_int_equal(latency_network_of_model(&from[0], m, &error), SPRY_OK);
    assert_int_equal(from[0].block_count, 9);
    assert_int_equal(from[0].blocks[0].conv_count, 2);
    latency_network_fini(&from[0]);
    spry_model_destroy(m);
    assert_int_equal(spry_architecture_create(NULL, "mlp", NULL, &m, &error), SPRY_OK);
    assert_int_equal(latency_network_of_model(&from[0], m, &error), SPRY_UNSUPPORTED);
    latency_network_fini(&from[0]);
    spry_model_destroy(m);
}

static void options_are_checked(void **state)
{
    spry_prediction *p = NULL;
    spry_error error;

    (void)state;
    for (int wrong = 0; wrong < 9; wrong++) {
        spry_predict_options o = spry_predict_options_default();
        const char *const set[] = {"compute.units=1"};

        switch (wrong) {
        case 0: o.struct_size = 1; break;
        case 1: o.density = -0.1; break;
        case 2: o.density = NAN; break;
        case 3:
            o.granularity_count = 3;
            o.granularity[0] = o.granularity[1] = o.granularity[2] = 1;
            break;
        case 4: o.granularity_count = 4; break;
        case 5: o.target = "v101"; break;
        case 6: o.skip = (spry_predict_skip)3; break;
        case 7: o.granularity_count = SPRY_PREDICT_STAGES + 1; break;
        default:
            o.density = 1.5;
            o.set = set;
            o.set_count = 1;
            break;
        }
        assert_int_equal(spry_predict(NULL, "resnet50", NULL, &o, &p, &error), SPRY_USAGE);
        assert_null(p);
    }
    {
        spry_predict_options o = spry_predict_options_default();

        assert_int_equal(spry_predict(NULL, "resnet", NULL, &o, &p, &error), SPRY_USAGE);
        assert_int_equal(spry_predict(NULL, NULL, NULL, &o, &p, &error), SPRY_USAGE);
    }
}

static spry_status predict_once(const spry_allocator *allocator, void *context, spry_error *error)
{
    spry_predict_options o = spry_predict_options_default();
    spry_prediction *p = NULL;
    spry_status status;

    (void)context;
    o.target = "tx2";
    o.granularity_count = 4;
    for (int i = 0; i < 4; i++) {
        o.granularity[i] = 1;
    }
    status = spry_predict(allocator, "regnety-800m", NULL, &o, &p, error);
    spry_prediction_destroy(p);
    return status;
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    assert_true(fault_sweep(predict_once, NULL) > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_agree),
        cmocka_unit_test(break_even_is_where_times_meet),
        cmocka_unit_test(models_are_their_tables),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(survives_lack_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
