/* Whole models: the derivative along random directions of inputs and weights together, in f64; the
 * gradient in f32 against that in f64; the same bits for one, two and three threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/infer.h"
#include "model/model.h"
#include "model/pass.h"
#include "spry/random.h"
#include "spry/session.h"
#include "support/data.h"
#include "tensor/convert.h"
#include "tensor/value.h"
#include "train/gradient/gradient.h"

enum { MOST_OF = 160, MOST_INPUTS = 4, BATCH = 2 };

typedef struct subject {
    spry_model *source, *m;
    graph *g;
    int32_t output; /* what is differentiated: the first output of the model */
    tensor seed;
    int32_t of[MOST_OF];
    int32_t count;
    tensor inputs[MOST_INPUTS];
} subject;

static spry_error error;

static void expect_ok(spry_status status)
{
    if (status != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
}

/* ---- models that do not come with the sources ---- */

/* Where small models are made by tools/: beside the build folder. Ends the test when absent. */
static const char *small_path(const char *name)
{
    static char path[256];
    static const char *const folders[] = {"../models", "build/models"};

    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folders[i], name);
        if (access(path, R_OK) == 0) {
            return path;
        }
    }
    print_message("skipped: no data\n");
    skip();
    return NULL;
}

/* ---- making a model ready ---- */

/* Weights of the operators that have most of them. */
static bool holds_weights(const graph_node *n)
{
    static const char *const types[] = {"Conv", "ConvTranspose", "Gemm", "MatMul",
                                        "LayerNormalization"};

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(n->type, types[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_listed(const subject *s, int32_t id)
{
    for (int32_t i = 0; i < s->count; i++) {
        if (s->of[i] == id) {
            return true;
        }
    }
    return false;
}

static void list_of(subject *s)
{
    for (int32_t i = 0; i < s->g->input_count; i++) {
        if (s->g->values[s->g->inputs[i]].type.dtype == SPRY_DTYPE_F32) {
            s->of[s->count++] = s->g->inputs[i];
        }
    }
    for (int32_t i = 0; i < s->g->node_count; i++) {
        const graph_node *n = &s->g->nodes[i];

        for (int32_t k = 0; holds_weights(n) && k < n->input_count && s->count < MOST_OF; k++) {
            const tensor *t =
                n->inputs[k] != GRAPH_NONE ? graph_constant(s->g, n->inputs[k]) : NULL;

            if (t != NULL && t->dtype == SPRY_DTYPE_F32 && !is_listed(s, n->inputs[k])) {
                s->of[s->count++] = n->inputs[k];
            }
        }
    }
}

static void load(subject *s, const char *path)
{
    pass_context c = {.m = NULL};

    *s = (subject){.m = NULL};
    expect_ok(spry_model_load(NULL, path, &s->source, &error));
    expect_ok(model_copy(s->source, &s->m, &error));
    s->g = s->m->main;
    for (int32_t i = 0; i < s->g->input_count; i++) {
        const graph_type *type = &s->g->values[s->g->inputs[i]].type;

        if (type->dims[0].size < 0) {
            expect_ok(infer_bind_symbol(s->g, type->dims[0].symbol, BATCH, &error));
        }
    }
    c.m = s->m;
    expect_ok(pass_run_all(s->g, &c, &error));
    expect_ok(infer_graph(s->g, &error));
    s->output = s->g->outputs[0];
    list_of(s);
}

static void release(subject *s)
{
    spry_model_destroy(s->m);
    spry_model_destroy(s->source);
}

/* ---- f64 ---- */

static bool is_scale_of_resize(const graph *g, int32_t id)
{
    for (int32_t i = 0; i < g->node_count; i++) {
        const graph_node *n = &g->nodes[i];

        for (int32_t k = 1; strcmp(n->type, "Resize") == 0 && k < n->input_count; k++) {
            if (n->inputs[k] == id) {
                return true;
            }
        }
    }
    return false;
}

static const tensor *widen(arena *memory, const tensor *t)
{
    tensor *wide = arena_zeroed(memory, sizeof *wide);

    assert_non_null(wide);
    expect_ok(tensor_init(wide, SPRY_DTYPE_F64, t->rank, t->shape, NULL, &error));
    wide->data = arena_bytes(memory, wide->bytes + 1);
    assert_non_null(wide->data);
    convert_read_f64(t, 0, tensor_count(t), wide->data);
    return wide;
}

/* The same model in f64. */
static void widen_all(subject *s)
{
    for (int32_t i = 0; i < s->g->value_count; i++) {
        graph_value *v = &s->g->values[i];

        if (v->producer != GRAPH_NONE) {
            v->type = (graph_type){.kind = GRAPH_TYPE_UNKNOWN};
        } else if (v->type.dtype == SPRY_DTYPE_F32 && !is_scale_of_resize(s->g, i)) {
            v->type.dtype = SPRY_DTYPE_F64;
            v->constant = v->constant != NULL ? widen(s->g->memory, v->constant) : NULL;
        }
    }
    for (int32_t i = 0; i < s->g->node_count; i++) {
        if (graph_attribute_int(&s->g->nodes[i], "to", 0) == SPRY_DTYPE_F32) {
            expect_ok(graph_set_int(s->g, i, "to", SPRY_DTYPE_F64, &error));
        }
    }
    expect_ok(infer_graph(s->g, &error));
}

/* ---- running ---- */

static void fill(tensor *t, const graph_type *type, arena *memory, spry_random *r)
{
    int64_t shape[SPRY_TENSOR_MAX_RANK];

    assert_true(graph_type_is_static(type));
    for (int i = 0; i < type->rank; i++) {
        shape[i] = type->dims[i].size;
    }
    expect_ok(tensor_init(t, type->dtype, type->rank, shape, NULL, &error));
    t->data = arena_zeroed(memory, t->bytes + 1);
    assert_non_null(t->data);
    for (int64_t i = 0; i < tensor_count(t); i++) {
        /* The same number in f32 and f64; class 0 or 1 of an integer. */
        double number = (double)(float)spry_random_f64(r);

        if (dtype_class_of(t->dtype) == DTYPE_CLASS_FLOAT) {
            convert_write_f64(t, i, 1, &number);
        } else {
            convert_write_i64(t, i, 1, &(int64_t){number > 0.3});
        }
    }
}

static void fill_all(subject *s)
{
    spry_random r = spry_random_stream(9, 0);

    assert_true(s->g->input_count <= MOST_INPUTS);
    for (int32_t i = 0; i < s->g->input_count; i++) {
        fill(&s->inputs[i], &s->g->values[s->g->inputs[i]].type, s->g->memory, &r);
    }
    fill(&s->seed, &s->g->values[s->output].type, s->g->memory, &r);
}

static void execute(const subject *s, int team, spry_value **outputs)
{
    spry_session_options options = spry_session_options_default();
    spry_session *session = NULL;
    const char *names[MOST_INPUTS];
    value given[MOST_INPUTS];
    const spry_value *inputs[MOST_INPUTS];

    options.threads = team;
    expect_ok(spry_session_create(s->m, &options, &session, &error));
    for (int32_t i = 0; i < s->g->input_count; i++) {
        given[i] = (value){.kind = SPRY_VALUE_TENSOR, .tensor = s->inputs[i]};
        inputs[i] = &given[i];
        names[i] = s->g->values[s->g->inputs[i]].name;
    }
    expect_ok(spry_session_run(session, s->g->input_count, names, inputs, s->g->output_count,
                               outputs, &error));
    spry_session_destroy(session);
}

/* sum of seed y */
static double loss(const subject *s)
{
    spry_value *y[MOST_INPUTS] = {NULL};
    double sum = 0.0;

    assert_true(s->g->output_count <= MOST_INPUTS);
    execute(s, 2, y);
    for (int64_t i = 0; i < tensor_count(&s->seed); i++) {
        sum += convert_get_f64(&s->seed, i) * convert_get_f64(&y[0]->tensor, i);
    }
    for (int32_t i = 0; i < s->g->output_count; i++) {
        spry_value_destroy(y[i]);
    }
    return sum;
}

/* The numbers behind what is differentiated by: an input's or a constant's. */
static tensor *numbers_of(subject *s, int32_t id)
{
    for (int32_t i = 0; i < s->g->input_count; i++) {
        if (s->g->inputs[i] == id) {
            return &s->inputs[i];
        }
    }
    return (tensor *)(uintptr_t)s->g->values[id].constant;
}

/* Adds `step` times a random direction, normal numbers. */
static void move_along(subject *s, uint64_t direction, double step)
{
    for (int32_t i = 0; i < s->count; i++) {
        tensor *t = numbers_of(s, s->of[i]);
        spry_random r = spry_random_stream(direction, (uint64_t)i);

        for (int64_t k = 0; k < tensor_count(t); k++) {
            ((double *)t->data)[k] += step * spry_random_normal(&r);
        }
    }
}

static double slope_along(const subject *s, spry_value *const *gradients, uint64_t direction)
{
    double sum = 0.0;
    int32_t next = 0;

    for (int32_t i = 0; i < s->count; i++) {
        const tensor *g = &gradients[next++]->tensor;
        spry_random r = spry_random_stream(direction, (uint64_t)i);

        for (int64_t k = 0; k < tensor_count(g); k++) {
            sum += convert_get_f64(g, k) * spry_random_normal(&r);
        }
    }
    return sum;
}

/* Backward nodes, with the gradients as the only outputs. What the output does not depend on is
 * taken off the list. */
static void differentiate(subject *s)
{
    int32_t *gradients = arena_array(s->g->memory, MOST_OF, sizeof *gradients);
    gradient_request r = {.value = s->output, .of = s->of, .count = s->count};
    int32_t kept = 0;

    assert_non_null(gradients);
    expect_ok(graph_add_constant(s->g, "the seed", &s->seed, &r.seed, &error));
    expect_ok(gradient_build(s->g, &r, gradients, &error));
    for (int32_t i = 0; i < s->g->output_count; i++) {
        s->g->values[s->g->outputs[i]].is_output = false;
    }
    for (int32_t i = 0; i < s->count; i++) {
        if (gradients[i] != GRAPH_NONE) {
            s->of[kept] = s->of[i];
            gradients[kept] = gradients[i];
            s->g->values[gradients[kept]].is_output = true;
            kept++;
        }
    }
    s->count = kept;
    s->g->outputs = gradients;
    s->g->output_count = kept;
    expect_ok(graph_sort(s->g, &error));
    expect_ok(infer_graph(s->g, &error));
}

static void destroy_all(spry_value **values, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        spry_value_destroy(values[i]);
        values[i] = NULL;
    }
}

/* ---- the check ---- */

/* `step` is small enough that hardly any kink of a Relu lies between its two ends. */
static void check_directions(const char *path, int directions, double step, const subject *wide,
                             spry_value *const *gradients)
{
    subject forward;

    load(&forward, path);
    widen_all(&forward);
    fill_all(&forward);
    assert_true(wide->count > 0);
    forward.count = wide->count; /* the same list, less what has no influence */
    memcpy(forward.of, wide->of, sizeof forward.of);
    for (int d = 0; d < directions; d++) {
        double given = slope_along(wide, gradients, (uint64_t)d);
        double above;
        double numeric;

        move_along(&forward, (uint64_t)d, step);
        above = loss(&forward);
        move_along(&forward, (uint64_t)d, -2.0 * step);
        numeric = (above - loss(&forward)) / (2.0 * step);
        move_along(&forward, (uint64_t)d, step);
        if (!(fabs(numeric - given) <= 1e-5 * (fabs(numeric) + fabs(given)) + 1e-7)) {
            fail_msg("%s along direction %d: %.9g, by differences %.9g", path, d, given, numeric);
        }
    }
    release(&forward);
}

static void check_f32(const char *path, const subject *wide, spry_value *const *exact)
{
    spry_value *gradients[3][MOST_OF] = {{NULL}};
    double difference = 0.0;
    double length = 0.0;
    subject s;

    load(&s, path);
    fill_all(&s);
    differentiate(&s);
    assert_int_equal(s.count, wide->count);
    for (int t = 0; t < 3; t++) {
        execute(&s, 1 + t, gradients[t]);
    }
    for (int32_t i = 0; i < s.count; i++) {
        const tensor *g = &gradients[0][i]->tensor;

        for (int64_t k = 0; k < tensor_count(g); k++) {
            double right = convert_get_f64(&exact[i]->tensor, k);
            double d = convert_get_f64(g, k) - right;

            difference += d * d;
            length += right * right;
        }
        for (int t = 1; t < 3; t++) {
            assert_memory_equal(g->data, gradients[t][i]->tensor.data, g->bytes);
        }
    }
    if (!(sqrt(difference) < 1e-4 * sqrt(length))) {
        fail_msg("%s: f32 is off by %.3g of its length", path, sqrt(difference / length));
    }
    for (int t = 0; t < 3; t++) {
        destroy_all(gradients[t], s.count);
    }
    release(&s);
}

static void check_model(const char *path, int directions, double step)
{
    spry_value *gradients[MOST_OF] = {NULL};
    subject wide;

    load(&wide, path);
    widen_all(&wide);
    fill_all(&wide);
    differentiate(&wide);
    execute(&wide, 2, gradients);
    check_directions(path, directions, step, &wide, gradients);
    check_f32(path, &wide, gradients);
    destroy_all(gradients, wide.count);
    release(&wide);
}

static void test_mlp(void **state)
{
    (void)state;
    check_model(small_path("small_mlp.onnx"), 20, 1e-6);
}

static void test_cnn(void **state)
{
    (void)state;
    check_model(small_path("small_cnn.onnx"), 2, 1e-8);
}

static void test_depthwise(void **state)
{
    (void)state;
    check_model(small_path("small_depthwise.onnx"), 3, 1e-8);
}

static void test_decoder(void **state)
{
    (void)state;
    check_model(small_path("small_decoder.onnx"), 3, 1e-6);
}

static void test_transformer(void **state)
{
    (void)state;
    check_model(small_path("small_vit.onnx"), 3, 1e-6);
}

static void test_bert(void **state)
{
    (void)state;
    check_model(small_path("small_bert.onnx"), 3, 1e-6);
}

static void test_real_transformer(void **state)
{
    (void)state;
    check_model(data_path("cifar10-vit/vit_d64_preln.onnx"), 1, 1e-6);
}

static void test_real_convolutions(void **state)
{
    (void)state;
    check_model(data_path("cifar10-resnet/resnet20_bn.onnx"), 1, 1e-8);
}

static void test_recurrent(void **state)
{
    (void)state;
    check_model(small_path("small_recurrent.onnx"), 3, 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mlp),
        cmocka_unit_test(test_cnn),
        cmocka_unit_test(test_depthwise),
        cmocka_unit_test(test_decoder),
        cmocka_unit_test(test_transformer),
        cmocka_unit_test(test_bert),
        cmocka_unit_test(test_real_transformer),
        cmocka_unit_test(test_real_convolutions),
        cmocka_unit_test(test_recurrent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
