/* Gates that learn: how often they open, what their gradient is, and that training holds them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "model/model.h"
#include "ops/gumbel.h"
#include "ops/op.h"
#include "spry/random.h"
#include "support/data.h"
#include "support/gradient_check.h"
#include "support/lesson.h"
#include "support/op_harness.h"
#include "tensor/convert.h"
#include "train/gumbel.h"

static spry_error error;

/* ---- numbers ---- */

/* Logits 1 and 0, Gumbel numbers 0.3 and -0.2, temperature 0.67. */
static void test_example(void **state)
{
    (void)state;
    assert_true(fabs(gumbel_soft(1.0, 0.5, 0.67) - 0.9036806) < 1e-7);
    assert_true(fabs(gumbel_slope(1.0, 0.5, 0.67) - 0.1299134) < 1e-7);
    assert_true(isfinite(gumbel_noise(0)) && gumbel_noise(0) < -36);
    assert_true(isfinite(gumbel_noise(UINT64_MAX)) && gumbel_noise(UINT64_MAX) > 36);
    assert_true(fabs(gumbel_noise((uint64_t)1 << 63)) < 1e-15);
    assert_true(gumbel_slope(1e6, 0.0, 0.1) == 0.0 && gumbel_slope(-1e6, 0.0, 0.1) == 0.0);
}

static void test_schedule(void **state)
{
    schedule s = gumbel_schedule(SCHEDULE_EXPONENTIAL, 5.0, 0.1, 1000);

    (void)state;
    assert_true(fabs(schedule_at(&s, 0) - 5.0) < 1e-12);
    assert_true(fabs(schedule_at(&s, 500) - 0.70710678) < 1e-8);
    assert_true(fabs(schedule_at(&s, 1000) - 0.1) < 1e-9);
    s = gumbel_schedule(SCHEDULE_POLYNOMIAL, 5.0, 0.1, 1000);
    assert_true(fabs(schedule_at(&s, 250) - 3.775) < 1e-12);
    s = gumbel_schedule(SCHEDULE_COSINE, 5.0, 0.1, 1000);
    assert_true(fabs(schedule_at(&s, 0) - 5.0) < 1e-12);
    assert_true(fabs(schedule_at(&s, 500) - 2.55) < 1e-12);
    assert_true(fabs(schedule_at(&s, 1000) - 0.1) < 1e-12);
    s = gumbel_schedule(SCHEDULE_CONSTANT, 0.7, 0.1, 1000);
    assert_true(schedule_at(&s, 900) == 0.7);
}

/* ---- the operator ---- */

static void run_gate(op_harness *h, spry_dtype dtype, int64_t count, double difference,
                     double temperature, double noise)
{
    const double cooling[GUMBEL_COOLING] = {temperature, noise};
    tensor *t;

    op_harness_init(h, OP_OWN_DOMAIN, "GumbelGate", 1);
    h->seed = 11;
    t = op_harness_input(h, dtype, 1, &count);
    for (int64_t i = 0; i < count; i++) {
        convert_write_f64(t, i, 1, &difference);
    }
    if (noise == 1.0) { /* may be left out */
        (void)op_harness_f64s(h, SPRY_DTYPE_F32, 0, NULL, cooling);
    } else {
        (void)op_harness_f64s(h, SPRY_DTYPE_F32, 1, (int64_t[]){GUMBEL_COOLING}, cooling);
    }
    op_harness_run(h, 2);
}

/* The chance of an open gate is sigmoid(difference), within four standard errors, and the same
 * gates open at every temperature. */
static void test_rate(void **state)
{
    static const double temperatures[] = {5.0, 0.67, 0.1};
    static const double differences[] = {-2.0, 0.0, 0.5, 3.0};
    const int64_t count = 100000;

    (void)state;
    for (int d = 0; d < 4; d++) {
        static float first[100000];
        double chance = 1.0 / (1.0 + exp(-differences[d]));

        for (int k = 0; k < 3; k++) {
            double open = 0;
            op_harness h;

            run_gate(&h, SPRY_DTYPE_F32, count, differences[d], temperatures[k], 1.0);
            for (int64_t i = 0; i < count; i++) {
                open += (double)op_harness_f32_at(&h, 0, i);
            }
            assert_true(fabs(open / (double)count - chance) <
                        4.0 * sqrt(chance * (1.0 - chance) / (double)count));
            if (k == 0) {
                memcpy(first, op_harness_output(&h, 0)->data, sizeof first);
            }
            assert_memory_equal(first, op_harness_output(&h, 0)->data, sizeof first);
            op_harness_fini(&h);
        }
    }
}

/* Half the noise is twice the difference; without noise the sign decides. */
static void test_noise(void **state)
{
    const int64_t count = 50000;

    (void)state;
    for (int k = 0; k < 2; k++) {
        op_harness half;
        op_harness none;
        op_harness whole;

        run_gate(&half, SPRY_DTYPE_F32, count, k == 0 ? 0.75 : -0.25, 0.5, 0.5);
        run_gate(&whole, SPRY_DTYPE_F32, count, k == 0 ? 1.5 : -0.5, 1.0, 1.0);
        run_gate(&none, SPRY_DTYPE_F32, count, k == 0 ? 0.75 : -0.25, 0.5, 0.0);
        assert_memory_equal(op_harness_output(&half, 0)->data, op_harness_output(&whole, 0)->data,
                            (size_t)count * sizeof(float));
        for (int64_t i = 0; i < count; i++) {
            assert_true(op_harness_f32_at(&none, 0, i) == (k == 0 ? 1.0f : 0.0f));
        }
        op_harness_fini(&none);
        op_harness_fini(&whole);
        op_harness_fini(&half);
    }
}

/* Against differences of the soft gate under the same noise. */
static void test_slope(void **state)
{
    static const double temperatures[] = {5.0, 1.0, 0.1};
    const double step = 6e-6;

    (void)state;
    for (int k = 0; k < 9; k++) {
        double temperature = temperatures[k / 3];
        double difference = 0.4 * (k % 3) - 0.5;
        spry_random r = spry_random_stream(11, 0);
        op_harness h;

        run_gate(&h, SPRY_DTYPE_F64, 1001, difference, (double)(float)temperature,
                 k % 2 == 0 ? 1.0 : 0.25);
        for (int64_t i = 0; i < 1001; i++) {
            double t = (double)(float)temperature;
            double noise = gumbel_noise(spry_random_u64(&r)) * (k % 2 == 0 ? 1.0 : 0.25);
            double numeric = (gumbel_soft(difference + step, noise, t) -
                              gumbel_soft(difference - step, noise, t)) /
                             (2.0 * step);

            assert_true(op_harness_f64_at(&h, 0, i) == (double)(difference + noise >= 0.0));
            assert_true(fabs(op_harness_f64_at(&h, 1, i) - numeric) < 1e-6 * (1.0 + numeric));
        }
        op_harness_fini(&h);
    }
}

static void test_refused(void **state)
{
    static const struct {
        int64_t numbers;
        float cooling[3];
    } cases[] = {{1, {0.0f}},        {1, {-1.0f}},     {1, {NAN}},
                 {2, {1.0f, -0.1f}}, {2, {1.0f, NAN}}, {3, {1.0f, 1.0f, 1.0f}}};
    int64_t count = 3;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        op_harness h;

        op_harness_init(&h, OP_OWN_DOMAIN, "GumbelGate", 1);
        (void)op_harness_any(&h, SPRY_DTYPE_F32, 1, &count, false);
        (void)op_harness_f32(&h, 1, &cases[i].numbers, cases[i].cooling);
        assert_int_equal(op_harness_try(&h, 1), SPRY_BAD_INPUT);
        op_harness_fini(&h);
    }
}

/* ---- the gradient ---- */

static void build_gate(gradient_check *c)
{
    emitter e = {.g = c->n.g, .name = "difference"};
    int32_t keep = gradient_check_input(c, "keep", 2, (int64_t[]){7, 301});
    int32_t skip = gradient_check_input(c, "skip", 2, (int64_t[]){1, 301});
    int32_t difference = emit_binary(&e, "Sub", keep, skip);

    e.name = "y";
    (void)gumbel_emit(&e, difference, gradient_check_number(c, "temperature", 0.5));
    assert_int_equal(e.status, SPRY_OK);
    c->surrogate = true;
}

/* What `keep` gets, summed over the rows that `skip` was repeated to, is what `skip` loses. */
static void test_gradient(void **state)
{
    gradient_check c;

    (void)state;
    gradient_check_start(&c, build_gate, NULL, 18);
    for (int k = 0; k < 301; k++) {
        double sum = c.inputs[1].gradient[k];

        for (int row = 0; row < 7; row++) {
            assert_true(fabs(c.inputs[0].gradient[row * 301 + k]) > 0.0);
            sum += c.inputs[0].gradient[row * 301 + k];
        }
        assert_true(fabs(sum) < 1e-12);
    }
    gradient_check_fini(&c);
}

/* ---- training ---- */

/* The perceptron whose hidden units are switched off where they, plus a number each, are below 0.
 */
static spry_model *gated_model(void)
{
    static const float zeros[24] = {0};
    const int64_t units = 24;
    spry_model *m = lesson_model("mlp");
    graph *g = m->main;
    emitter e = {.g = g, .name = "gate", .error = &error};
    tensor *offset = arena_zeroed(g->memory, sizeof *offset);
    int32_t relu = 0;
    int32_t bias;
    int32_t open;
    int32_t to;

    while (!graph_node_is(&g->nodes[relu], "Relu")) {
        relu++;
    }
    assert_int_equal(tensor_init(offset, SPRY_DTYPE_F32, 1, &units, (void *)zeros, NULL), SPRY_OK);
    assert_int_equal(graph_add_constant(g, "gate.bias", offset, &bias, NULL), SPRY_OK);
    open = emit_binary(&e, "GreaterOrEqual", emit_binary(&e, "Add", g->nodes[relu].inputs[0], bias),
                       emit_number(&e, SPRY_DTYPE_F32, 0.0));
    assert_int_equal(e.status, SPRY_OK);
    g->nodes[g->values[open].producer].name = "gate/compare";
    to = g->nodes[relu].outputs[0];
    for (int32_t i = relu + 1, count = g->node_count; i < count; i++) {
        if (g->nodes[i].inputs[0] == to) {
            graph_set_input(g, i, 0,
                            emit_binary(&e, "Mul", to, emit_cast(&e, open, SPRY_DTYPE_F32)));
            break;
        }
    }
    assert_int_equal(e.status, SPRY_OK);
    assert_int_equal(graph_sort(g, NULL), SPRY_OK);
    return m;
}

static spry_model *learn(const spry_model *source, spry_dataset *data, const char *gates, int team,
                         spry_training **facts)
{
    spry_train_options o = spry_train_options_default();

    o.data = data;
    o.batch = 20;
    o.epochs = 6;
    o.threads = team;
    o.gates = gates;
    return lesson_learn(source, &o, facts);
}

static bool bias_moved(const spry_model *m)
{
    int64_t count;
    const float *bias = lesson_numbers(m, "gate.bias", &count);

    for (int64_t i = 0; i < count; i++) {
        if (bias[i] != 0.0f) {
            return true;
        }
    }
    return false;
}

static void test_training(void **state)
{
    const char *folder = data_make_folder();
    spry_dataset *data = lesson_data(folder, "gates.npz", 200, 1);
    spry_model *source = gated_model();
    const spry_train_epoch *epochs = NULL;
    spry_training *facts = NULL;
    spry_model *hard;
    spry_model *soft;
    spry_model *again;

    (void)state;
    hard = learn(source, data, NULL, 1, NULL);
    assert_false(bias_moved(hard));
    soft = learn(source, data, "gate/*", 1, &facts);
    assert_true(bias_moved(soft));
    assert_int_equal(spry_training_epochs(facts, &epochs), 6);
    assert_true(epochs[5].loss < 0.5 * epochs[0].loss);
    for (int32_t i = 0; i < soft->main->node_count; i++) {
        assert_string_equal(soft->main->nodes[i].domain, "");
    }
    again = learn(source, data, "gate/*", 3, NULL);
    assert_true(lesson_same(soft, again, NULL));
    spry_model_destroy(again);
    spry_training_destroy(facts);
    spry_model_destroy(soft);
    spry_model_destroy(hard);
    spry_model_destroy(source);
    spry_dataset_close(data);
    data_remove_folder(folder);
}

static void test_pattern_without_gates(void **state)
{
    spry_model *m = gated_model();
    int32_t cooling;

    (void)state;
    assert_int_equal(gumbel_form(m, "masker*", &cooling, &error), SPRY_USAGE);
    assert_non_null(strstr(error.where, "masker*"));
    spry_model_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_example),  cmocka_unit_test(test_schedule),
        cmocka_unit_test(test_rate),     cmocka_unit_test(test_slope),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_gradient),
        cmocka_unit_test(test_training), cmocka_unit_test(test_pattern_without_gates),
        cmocka_unit_test(test_noise),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
