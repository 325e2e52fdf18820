/* Ranges without samples: by batch norms, and by noise. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "model/infer.h"
#include "model/model.h"
#include "quantize/calibrate/norm_ranges.h"
#include "quantize/calibrate/synthetic.h"
#include "support/proto.h"
#include "tensor/tensor.h"

enum { NODE = 1, INITIALIZER = 5, INPUT = 11, OUTPUT = 12, CHANNELS = 2 };

static void check_near(double x, double expected, double tolerance)
{
    if (!(fabs(x - expected) <= tolerance)) {
        fail_msg("%g instead of %g", x, expected);
    }
}

/* ---- batch norms ---- */

static const int64_t image[] = {1, CHANNELS, 4, 4};

static void vector(proto *g, const char *name, float first, float second)
{
    const float numbers[] = {first, second};

    proto_tensor(g, INITIALIZER, name, SPRY_DTYPE_F32, 1, (int64_t[]){CHANNELS}, numbers,
                 sizeof numbers);
}

static void norm(proto *g, const char *name, float gamma0, float gamma1, float beta0, float beta1)
{
    char ports[64];
    char gamma[16];
    char beta[16];

    (void)snprintf(gamma, sizeof gamma, "%s_gamma", name);
    (void)snprintf(beta, sizeof beta, "%s_beta", name);
    (void)snprintf(ports, sizeof ports, "x %s %s mean variance", gamma, beta);
    vector(g, gamma, gamma0, gamma1);
    vector(g, beta, beta0, beta1);
    proto_node(g, NODE, "BatchNormalization", ports, name);
}

static void number(proto *g, const char *name, float x)
{
    proto_tensor(g, INITIALIZER, name, SPRY_DTYPE_F32, 0, NULL, &x, sizeof x);
}

static proto make_norms(void)
{
    static const int64_t pads[] = {0, 1, 0, 0, 0, 0, 0, 0};
    proto g = {0};

    vector(&g, "mean", 3.0f, -3.0f); /* of the input: does not matter */
    vector(&g, "variance", 4.0f, 9.0f);
    number(&g, "zero", 0.0f);
    number(&g, "six", 6.0f);
    proto_tensor(&g, INITIALIZER, "pads", SPRY_DTYPE_I64, 1, (int64_t[]){8}, pads, sizeof pads);
    norm(&g, "a", 1.0f, -2.0f, 0.5f, -1.0f);
    norm(&g, "b", 1.0f, 1.0f, 0.0f, 0.0f);
    proto_node(&g, NODE, "Relu", "a", "relu");
    proto_node(&g, NODE, "Clip", "a zero six", "clip");
    proto_node(&g, NODE, "Identity", "relu", "same");
    proto_node(&g, NODE, "Relu", "b", "half");
    proto_node(&g, NODE, "Add", "b half", "sum");
    proto_node(&g, NODE, "Pad", "a pads zero", "padded");
    proto_node(&g, NODE, "Add", "x b", "open");
    proto_node(&g, NODE, "Relu", "open", "still");
    proto_node(&g, NODE, "Sigmoid", "b", "other");
    proto_node(&g, NODE, "Sum", "relu clip sum open still other", "out");
    proto_value_info(&g, INPUT, "x", SPRY_DTYPE_F32, 4, image);
    proto_value_info(&g, OUTPUT, "out", SPRY_DTYPE_F32, 4, image);
    return g;
}

static void check_range(const graph *g, const norm_ranges *r, const char *name, double low,
                        double high)
{
    double found_low = NAN;
    double found_high = NAN;

    assert_true(norm_ranges_find(r, graph_find_value(g, name), &found_low, &found_high));
    check_near(found_low, low, 1e-9);
    check_near(found_high, high, 1e-9);
}

/* a: 0.5 +- 6 and -1 +- 12. b and its positive half have mean 0 and 1 / sqrt(2 pi), variance 1 and
 * 1/2 - 1 / (2 pi); their sum is at least -6 + 0 and at most 6 + 6. */
static void follows_norms(void **state)
{
    const double pi = acos(-1.0);
    const double mean = 1.0 / sqrt(2.0 * pi);
    const double deviation = sqrt(1.5 - 1.0 / (2.0 * pi));
    proto g = make_norms();
    arena memory;
    proto file = {0};
    spry_model *m = NULL;
    norm_ranges r;
    graph *main;
    const channel_stats *half;
    double low;
    double high;

    (void)state;
    arena_init(&memory, NULL, SIZE_MAX);
    proto_model(&file, 10, 15, &g);
    assert_int_equal(spry_model_parse(NULL, file.data, file.size, NULL, &m, NULL), SPRY_OK);
    main = m->main;
    assert_int_equal(infer_graph(main, NULL), SPRY_OK);
    assert_int_equal(norm_ranges_record(main, &memory, &r, NULL), SPRY_OK);
    assert_false(norm_ranges_find(&r, graph_find_value(main, "relu"), &low, &high));
    assert_int_equal(norm_ranges_spread(main, &memory, &r, NULL), SPRY_OK);
    check_range(main, &r, "a", -13.0, 11.0);
    check_range(main, &r, "relu", 0.0, 11.0);
    check_range(main, &r, "same", 0.0, 11.0);
    check_range(main, &r, "clip", 0.0, 6.0);
    check_range(main, &r, "padded", -13.0, 11.0);
    check_range(main, &r, "sum", fmax(mean - 6.0 * deviation, -6.0), mean + 6.0 * deviation);
    half = &r.stats[graph_find_value(main, "half")];
    check_near(half->mean[0], mean, 1e-12);
    check_near(half->deviation[1], sqrt(0.5 - 1.0 / (2.0 * pi)), 1e-12);
    assert_int_equal(r.stats[graph_find_value(main, "padded")].channels, CHANNELS + 1);
    assert_false(norm_ranges_find(&r, graph_find_value(main, "x"), &low, &high));
    assert_false(norm_ranges_find(&r, graph_find_value(main, "open"), &low, &high));
    assert_false(norm_ranges_find(&r, graph_find_value(main, "still"), &low, &high));
    assert_false(norm_ranges_find(&r, graph_find_value(main, "other"), &low, &high));
    spry_model_destroy(m);
    proto_fini(&file);
    arena_fini(&memory);
}

/* ---- noise ---- */

static spry_tensor *make_noise(const char *recipe_name, int rank, const int64_t *shape,
                               int64_t first, int64_t batch)
{
    spry_preprocess recipe;
    spry_port port = {.name = "x", .dtype = SPRY_DTYPE_F32, .rank = rank};
    spry_tensor *made = NULL;

    memcpy(port.shape, shape, (size_t)rank * sizeof *shape);
    assert_int_equal(spry_preprocess_parse(recipe_name, &recipe, NULL), SPRY_OK);
    assert_int_equal(synthetic_batch(NULL, &port, &recipe, first, batch, &made, NULL), SPRY_OK);
    return made;
}

static void check_noise(const char *recipe, double low, double high, double mean, double deviation)
{
    spry_tensor *t = make_noise(recipe, 4, (int64_t[]){-1, 3, 40, 40}, 0, 60);
    const float *x = t->data;
    int64_t count = tensor_count(t);
    double sum = 0.0;
    double squares = 0.0;

    for (int64_t i = 0; i < count; i++) {
        assert_true((double)x[i] >= low - 1e-5 && (double)x[i] <= high + 1e-5);
        sum += (double)x[i];
        squares += (double)x[i] * (double)x[i];
    }
    sum /= (double)count;
    check_near(sum, mean, 0.1 * deviation);
    check_near(sqrt(squares / (double)count - sum * sum), deviation, 0.1 * deviation);
    spry_tensor_destroy(t);
}

static void noise_follows_the_recipe(void **state)
{
    (void)state;
    check_noise("raw", 0.0, 255.0, 127.5, 255.0 / sqrt(12.0));
    check_noise("unit", 0.0, 1.0, 0.5, 1.0 / sqrt(12.0));
    check_noise("imagenet", -2.1179, 2.64, 0.0, 1.0);
    check_noise("tf", -1.0, 1.0, 0.0, 0.72);
}

/* Samples do not depend on the batch they are in, nor on where channels stand. */
static void samples_are_themselves(void **state)
{
    spry_tensor *all = make_noise("imagenet", 4, (int64_t[]){-1, 3, 5, 7}, 0, 9);
    spry_tensor *one = make_noise("imagenet", 4, (int64_t[]){-1, 3, 5, 7}, 6, 1);
    spry_tensor *last = make_noise("raw", 4, (int64_t[]){-1, 5, 7, 3}, 1, 1);
    spry_tensor *row = make_noise("unit", 2, (int64_t[]){-1, 10}, 0, 2);
    const float *x = last->data;

    (void)state;
    assert_memory_equal((const float *)all->data + 6 * 105, one->data, 105 * sizeof(float));
    for (int c = 0; c < 3; c++) { /* squares of 2 x 2 pixels, from the corner on */
        assert_true(x[c] == x[3 + c] && x[c] == x[21 + c] && x[c] == x[24 + c]);
        assert_true(x[c] != x[6 + c]);
    }
    assert_memory_not_equal(row->data, (const float *)row->data + 10, 10 * sizeof(float));
    spry_tensor_destroy(all);
    spry_tensor_destroy(one);
    spry_tensor_destroy(last);
    spry_tensor_destroy(row);
}

static void size_must_be_known(void **state)
{
    spry_preprocess recipe = spry_preprocess_default();
    spry_port port = {.name = "x", .dtype = SPRY_DTYPE_F32, .rank = 3, .shape = {-1, -1, 4}};
    spry_tensor *made = NULL;
    spry_error error = {0};

    (void)state;
    assert_int_equal(synthetic_batch(NULL, &port, &recipe, 0, 1, &made, &error), SPRY_USAGE);
    assert_null(made);
    assert_string_equal(error.remedy, "give samples");
}

/* x -> Neg -> Clip -> Abs -> Add (with x) -> y: four nodes deep. */
static void reach_grows_with_depth(void **state)
{
    proto body = {0};
    proto file = {0};
    spry_model *m = NULL;
    double *reach = NULL;
    const char *const names[] = {"x", "a", "b", "c", "y"};
    const double expected[] = {1.0, 1.25, 1.0, 1.75, 2.0};

    (void)state;
    proto_node(&body, NODE, "Neg", "x", "a");
    proto_node(&body, NODE, "Clip", "a", "b");
    proto_node(&body, NODE, "Abs", "b", "c");
    proto_node(&body, NODE, "Add", "x c", "y");
    proto_value_info(&body, INPUT, "x", SPRY_DTYPE_F32, 4, image);
    proto_value_info(&body, OUTPUT, "y", SPRY_DTYPE_F32, 4, image);
    proto_model(&file, 8, 13, &body);
    assert_int_equal(spry_model_parse(NULL, file.data, file.size, NULL, &m, NULL), SPRY_OK);
    assert_int_equal(synthetic_reach(m->main, &m->memory, &reach, NULL), SPRY_OK);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        check_near(reach[graph_find_value(m->main, names[i])], expected[i], 1e-12);
    }
    spry_model_destroy(m);
    proto_fini(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_norms), cmocka_unit_test(noise_follows_the_recipe),
        cmocka_unit_test(samples_are_themselves), cmocka_unit_test(size_must_be_known),
        cmocka_unit_test(reach_grows_with_depth)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
