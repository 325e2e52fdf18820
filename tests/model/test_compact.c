/* What compacting keeps, what it drops, and that results stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "model/compact.h"
#include "model/model.h"
#include "spry/spry.h"
#include "support/proto.h"

enum { SIDE = 4, PLANES = 2, CHANNELS = 3, TAPS = 9, RESULTS = CHANNELS * SIDE * SIDE };

static void ints(proto *attributes, const char *name, int count, int64_t number)
{
    proto a = {0};

    proto_text(&a, 1, name);
    for (int i = 0; i < count; i++) {
        proto_int(&a, 8, (uint64_t)number);
    }
    proto_int(&a, 20, 7);
    proto_message(attributes, 5, &a);
}

static void add_axis(proto *body, const char *type, const char *in, const char *out, int64_t axis)
{
    proto attributes = {0};

    proto_attribute_int(&attributes, "axis", axis);
    proto_node_with(body, 1, type, in, out, &attributes);
}

/* x -> codes -> Conv with a bias in integers -> Relu -> codes -> y, each constant of its own; the
 * code that stands for 0 at the end is `last_zero`. */
static spry_model *make_model(uint8_t last_zero, proto *file)
{
    static const int64_t kernel[] = {CHANNELS, PLANES, 3, 3};
    static const int64_t channels[] = {CHANNELS};
    static const int64_t image[] = {1, PLANES, SIDE, SIDE};
    static const int64_t result[] = {1, CHANNELS, SIDE, SIDE};
    static const int32_t bias[] = {100, -2000, 7};
    static const float steps[] = {0.01f, 0.02f, 0.03f};
    static const float products[] = {0.0005f, 0.001f, 0.0015f};
    static const float step = 0.05f;
    static const uint8_t zero = 128;
    static const uint8_t none = 0;
    static const uint8_t nones[CHANNELS] = {0};
    int8_t codes[CHANNELS * PLANES * TAPS];
    proto attributes = {0};
    proto body = {0};
    spry_model *m = NULL;

    for (size_t i = 0; i < sizeof codes; i++) {
        codes[i] = (int8_t)((i * 37) % 255 - 127);
    }
    ints(&attributes, "dilations", 2, 1);
    ints(&attributes, "kernel_shape", 2, 3);
    ints(&attributes, "pads", 4, 1);
    ints(&attributes, "strides", 2, 1);
    proto_attribute_int(&attributes, "group", 1);
    proto_node(&body, 1, "QuantizeLinear", "x x_step x_zero", "x_codes");
    proto_node(&body, 1, "DequantizeLinear", "x_codes same_step same_zero", "x_numbers");
    add_axis(&body, "DequantizeLinear", "w w_steps w_zeros", "w_numbers", 0);
    add_axis(&body, "DequantizeLinear", "b b_steps", "b_numbers", 0);
    proto_node_with(&body, 1, "Conv", "x_numbers w_numbers b_numbers", "sums", &attributes);
    proto_node(&body, 1, "Relu", "sums", "positive");
    proto_node(&body, 1, "QuantizeLinear", "positive y_step y_zero", "y_codes");
    proto_node(&body, 1, "DequantizeLinear", "y_codes y_step y_zero", "y");
    proto_tensor(&body, 5, "x_step", SPRY_DTYPE_F32, 0, NULL, &step, sizeof step);
    proto_tensor(&body, 5, "same_step", SPRY_DTYPE_F32, 0, NULL, &step, sizeof step);
    proto_tensor(&body, 5, "y_step", SPRY_DTYPE_F32, 1, (const int64_t[]){1}, &step, sizeof step);
    proto_tensor(&body, 5, "x_zero", SPRY_DTYPE_U8, 0, NULL, &zero, 1);
    proto_tensor(&body, 5, "same_zero", SPRY_DTYPE_U8, 0, NULL, &zero, 1);
    proto_tensor(&body, 5, "y_zero", SPRY_DTYPE_U8, 1, (const int64_t[]){1},
                 last_zero != 0 ? &last_zero : &none, 1);
    proto_tensor(&body, 5, "w", SPRY_DTYPE_I8, 4, kernel, codes, sizeof codes);
    proto_tensor(&body, 5, "w_steps", SPRY_DTYPE_F32, 1, channels, steps, sizeof steps);
    proto_tensor(&body, 5, "w_zeros", SPRY_DTYPE_I8, 1, channels, nones, sizeof nones);
    proto_tensor(&body, 5, "b", SPRY_DTYPE_I32, 1, channels, bias, sizeof bias);
    proto_tensor(&body, 5, "b_steps", SPRY_DTYPE_F32, 1, channels, products, sizeof products);
    proto_value_info(&body, 11, "x", SPRY_DTYPE_F32, 4, image);
    proto_value_info(&body, 12, "y", SPRY_DTYPE_F32, 4, result);
    proto_value_info(&body, 13, "sums", SPRY_DTYPE_F32, 4, result);
    proto_model(file, 8, 13, &body);
    assert_int_equal(spry_model_parse(NULL, file->data, file->size, NULL, &m, NULL), SPRY_OK);
    return m;
}

static void run(const spry_model *m, bool keep_order, float *y)
{
    const char *name = "x";
    const int64_t shape[] = {1, PLANES, SIDE, SIDE};
    spry_session_options options = spry_session_options_default();
    spry_random r = spry_random_stream(5, 0);
    spry_tensor *x = NULL;
    spry_value *in = NULL;
    spry_value *out = NULL;
    spry_session *session = NULL;

    options.keep_order = keep_order;
    options.threads = 1;
    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_F32, 4, shape, &x, NULL), SPRY_OK);
    spry_random_fill_uniform(&r, spry_tensor_data(x), (size_t)spry_tensor_count(x), -4.0f, 4.0f);
    assert_int_equal(spry_value_from_tensor(NULL, x, &in, NULL), SPRY_OK);
    assert_int_equal(spry_session_create(m, &options, &session, NULL), SPRY_OK);
    assert_int_equal(
        spry_session_run(session, 1, &name, (const spry_value *const *)&in, 1, &out, NULL),
        SPRY_OK);
    memcpy(y, spry_tensor_const_data(spry_value_tensor(out)), RESULTS * sizeof *y);
    spry_value_destroy(in);
    spry_value_destroy(out);
    spry_session_destroy(session);
}

static int count_nodes(const graph *g, const char *type)
{
    int count = 0;

    for (int32_t i = 0; i < g->node_count; i++) {
        count += !g->nodes[i].removed && strcmp(g->nodes[i].type, type) == 0;
    }
    return count;
}

static const graph_node *find_node(const graph *g, const char *type)
{
    for (int32_t i = 0; i < g->node_count; i++) {
        if (!g->nodes[i].removed && strcmp(g->nodes[i].type, type) == 0) {
            return &g->nodes[i];
        }
    }
    return NULL;
}

static void check_everything_goes(uint8_t last_zero, int relus)
{
    proto file = {0};
    spry_model *m = make_model(last_zero, &file);
    const graph *g = m->main;
    const graph_node *conv;
    float before[2][RESULTS];
    float after[2][RESULTS];

    for (int i = 0; i < 2; i++) {
        run(m, i == 1, before[i]);
    }
    assert_int_equal(spry_model_compact(m, NULL), SPRY_OK);
    for (int i = 0; i < 2; i++) {
        run(m, i == 1, after[i]);
        assert_memory_equal(before[i], after[i], sizeof after[i]);
    }
    assert_int_equal(count_nodes(g, "Relu"), relus);
    assert_int_equal(count_nodes(g, "DequantizeLinear"), 3); /* the bias is of floats */
    conv = find_node(g, "Conv");
    assert_non_null(conv);
    assert_int_equal(conv->attribute_count, 1);
    assert_string_equal(conv->attributes[0].name, "pads");
    assert_string_equal(conv->name, "");
    for (int i = 0; i < conv->input_count; i++) {
        assert_int_equal(strlen(g->values[conv->inputs[i]].name), 1);
    }
    /* Weights need no zero point; the first codes keep theirs, which both nodes share. */
    assert_int_equal(g->nodes[g->values[conv->inputs[1]].producer].input_count, 2);
    assert_int_equal(find_node(g, "QuantizeLinear")->input_count, 3);
    assert_int_equal(find_node(g, "QuantizeLinear")->inputs[2],
                     find_node(g, "DequantizeLinear")->inputs[2]);
    assert_string_equal(g->values[g->inputs[0]].name, "x");
    assert_string_equal(g->values[g->outputs[0]].name, "y");
    spry_model_destroy(m);
    proto_fini(&file);
}

static void test_everything_goes(void **state)
{
    (void)state;
    check_everything_goes(0, 0);
    check_everything_goes(9, 1); /* codes below 9 are negative numbers: Relu stays */
}

static void test_only_codes_are_renamed(void **state)
{
    proto file = {0};
    spry_model *m = make_model(0, &file);
    graph *g = m->main;
    int32_t weights = graph_find_value(g, "w"); /* constants were added in the order above */
    int32_t steps = graph_find_value(g, "w_steps");
    int32_t before = graph_find_value(g, "x_step");
    int32_t sums = graph_find_value(g, "sums");

    (void)state;
    assert_int_equal(compact_constants(g, NULL), SPRY_OK);
    assert_int_equal(compact_codes(g, weights, NULL), SPRY_OK);
    assert_int_equal(strlen(g->values[steps].name), 1);
    assert_int_equal(strlen(g->values[weights].name), 1);
    assert_string_not_equal(g->values[weights].name, "w");
    assert_string_equal(g->values[before].name, "x_step");
    assert_string_equal(g->values[sums].name, "sums");
    assert_string_equal(g->values[g->outputs[0]].name, "y");
    spry_model_destroy(m);
    proto_fini(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_goes),
        cmocka_unit_test(test_only_codes_are_renamed),
    };

    return cmocka_run_group_tests_name("compact", tests, NULL, NULL);
}
