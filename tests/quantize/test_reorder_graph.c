/* Channels in another order, and outputs that stay. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/infer.h"
#include "model/pass.h"
#include "quantize/calibrate/samples.h"
#include "quantize/method/channel_classes.h"
#include "quantize/method/method.h"
#include "spry/random.h"
#include "spry/tensor_file.h"
#include "support/data.h"
#include "support/quantizing.h"

enum { NODE = 1, INPUT = 11, OUTPUT = 12, SAMPLES = 2 };

static const int64_t image[] = {SAMPLES, 3, 8, 8};

static void expect(spry_status status, const spry_error *error)
{
    if (status != SPRY_OK) {
        fail_msg("%s: %s", error->where, error->what);
    }
}

/* ---- outputs ---- */

static spry_status take(void *context, const samples_view *view, spry_error *error)
{
    (void)error;
    return spry_tensor_copy(NULL, view->tensors[0], context, error);
}

static spry_tensor *output_of(const model *m, const spry_quantize_options *options)
{
    spry_error error = {0};
    spry_tensor *t = NULL;

    expect(samples_visit(m, options, &m->main->outputs[0], 1, "", take, &t, &error), &error);
    assert_non_null(t);
    return t;
}

/* Sums in another order differ by roundings, which add up over the layers of a network. */
static void check_same(const spry_tensor *a, const spry_tensor *b, double tolerance)
{
    const float *x = a->data;
    const float *y = b->data;
    double low = INFINITY;
    double high = -INFINITY;
    double difference = 0.0;

    for (int64_t i = 0; i < spry_tensor_count(a); i++) {
        low = fmin(low, (double)x[i]);
        high = fmax(high, (double)x[i]);
        difference = fmax(difference, fabs((double)x[i] - (double)y[i]));
    }
    if (!(difference <= tolerance * fmax(high - low, fabs(high)))) {
        fail_msg("outputs differ by %g of %g", difference, high - low);
    }
}

static void draw_orders(const channel_classes *c, arena *room, int32_t **orders)
{
    spry_random random = spry_random_stream(3, 0);

    for (int32_t i = 0; i < c->count; i++) {
        orders[i] = arena_array(room, (size_t)c->sizes[i], sizeof **orders);
        assert_non_null(orders[i]);
        for (int64_t k = 0; k < c->sizes[i]; k++) {
            int64_t at = (int64_t)spry_random_below(&random, (uint64_t)k + 1);

            orders[i][k] = orders[i][at];
            orders[i][at] = (int32_t)k;
        }
    }
}

/* Permutes at random what may be permuted; returns the number of classes. */
static int32_t check_random(model *m, const spry_quantize_options *options, double tolerance)
{
    spry_error error = {0};
    channel_classes classes;
    spry_tensor *before;
    spry_tensor *after;
    int32_t **orders;
    arena room;

    arena_init(&room, &m->allocator, SIZE_MAX);
    expect(infer_graph(m->main, &error), &error);
    expect(channel_classes_find(m->main, &room, &classes, &error), &error);
    orders = arena_array(&room, (size_t)classes.count + 1, sizeof *orders);
    assert_non_null(orders);
    draw_orders(&classes, &room, orders);
    before = output_of(m, options);
    expect(channel_classes_apply(m->main, &classes, orders, &error), &error);
    after = output_of(m, options);
    check_same(before, after, tolerance);
    spry_tensor_destroy(before);
    spry_tensor_destroy(after);
    arena_fini(&room);
    return classes.count;
}

/* ---- small graphs ---- */

static void conv(proto *g, const char *ports, const char *y, const char *w, int64_t outputs,
                 int64_t inputs, int64_t group)
{
    proto a = {0};

    proto_attribute_int(&a, "group", group);
    quantizing_weights(g, w, 4, (int64_t[]){outputs, inputs, 3, 3}, (uint64_t)outputs + 1);
    proto_node_with(g, NODE, "Conv", ports, y, &a);
}

/* Pools, flattens and multiplies value "z" of so many channels. */
static proto close_graph(proto g, int64_t channels)
{
    proto_node(&g, NODE, "GlobalAveragePool", "z", "p");
    proto_node(&g, NODE, "Flatten", "p", "f");
    quantizing_weights(&g, "wf", 2, (int64_t[]){channels, 4}, 90);
    proto_node(&g, NODE, "MatMul", "f wf", "y");
    proto_value_info(&g, INPUT, "x", SPRY_DTYPE_F32, 4, image);
    proto_value_info(&g, OUTPUT, "y", SPRY_DTYPE_F32, 2, (int64_t[]){SAMPLES, 4});
    return g;
}

static void check_small(proto g, int32_t classes)
{
    quantizing q;

    quantizing_init(&q, &g, 4, image, 0);
    assert_int_equal(check_random(q.job.m, &q.options, 1e-6), classes);
    quantizing_fini(&q);
}

/* Normalization, bias, slopes per channel, a window, depthwise, constants per channel. */
static void chains_move_together(void **state)
{
    proto g = {0};

    (void)state;
    quantizing_weights(&g, "b1", 1, (int64_t[]){6}, 1);
    conv(&g, "x w1 b1", "c1", "w1", 6, 3, 1);
    quantizing_weights(&g, "s", 1, (int64_t[]){6}, 2);
    quantizing_weights(&g, "t", 1, (int64_t[]){6}, 3);
    proto_node(&g, NODE, "InstanceNormalization", "c1 s t", "n1");
    quantizing_weights(&g, "slope", 3, (int64_t[]){6, 1, 1}, 4);
    proto_node(&g, NODE, "PRelu", "n1 slope", "r1");
    conv(&g, "r1 w2", "c2", "w2", 6, 1, 6);
    quantizing_weights(&g, "k", 4, (int64_t[]){1, 6, 1, 1}, 5);
    proto_node(&g, NODE, "Mul", "c2 k", "m2");
    conv(&g, "m2 w3", "z", "w3", 5, 6, 1);
    check_small(close_graph(g, 5), 2);
}

static void sums_tie_both_sides(void **state)
{
    proto g = {0};

    (void)state;
    conv(&g, "x w1", "c1", "w1", 6, 3, 1);
    conv(&g, "x w2", "c2", "w2", 6, 3, 1);
    proto_node(&g, NODE, "Sub", "c1 c2", "d");
    proto_node(&g, NODE, "Sigmoid", "d", "e");
    proto_node(&g, NODE, "Mul", "e c1", "z");
    check_small(close_graph(g, 6), 1);
}

/* A constant that two layers read, one of them with the axis fixed. */
static void shared_constants_are_one(void **state)
{
    proto g = {0};

    (void)state;
    conv(&g, "x w1", "c1", "w1", 6, 3, 1);
    conv(&g, "c1 w2", "c2", "w2", 6, 6, 1);
    proto_node(&g, NODE, "Conv", "c2 w2", "z"); /* its inputs and outputs become one class */
    check_small(close_graph(g, 6), 1);
}

static void groups_and_joined_channels_stay(void **state)
{
    proto a = {0};
    proto g = {0};

    (void)state;
    conv(&g, "x w1", "c1", "w1", 6, 3, 1);
    conv(&g, "c1 w2", "c2", "w2", 4, 3, 2);
    conv(&g, "c2 w3", "z", "w3", 5, 4, 1);
    check_small(close_graph(g, 5), 1);
    g = (proto){0};
    conv(&g, "x w1", "c1", "w1", 6, 3, 1);
    conv(&g, "x w2", "c2", "w2", 4, 3, 1);
    proto_attribute_int(&a, "axis", 1);
    proto_node_with(&g, NODE, "Concat", "c1 c2", "j", &a);
    conv(&g, "j w3", "z", "w3", 5, 10, 1);
    check_small(close_graph(g, 5), 1);
}

/* Flatten of several pixels; a transposed convolution before. */
static void pixels_fix_channels(void **state)
{
    proto g = {0};

    (void)state;
    quantizing_weights(&g, "w1", 4, (int64_t[]){3, 6, 2, 2}, 1);
    proto_node(&g, NODE, "ConvTranspose", "x w1", "c1");
    conv(&g, "c1 w2", "c2", "w2", 5, 6, 1); /* [5][7][7] */
    proto_node(&g, NODE, "Flatten", "c2", "f");
    quantizing_weights(&g, "w3", 2, (int64_t[]){245, 4}, 3);
    proto_node(&g, NODE, "MatMul", "f w3", "y");
    proto_value_info(&g, INPUT, "x", SPRY_DTYPE_F32, 4, image);
    proto_value_info(&g, OUTPUT, "y", SPRY_DTYPE_F32, 2, (int64_t[]){SAMPLES, 4});
    check_small(g, 1);
}

/* ---- models ---- */

static void check_model(const char *path)
{
    static const char *const names[] = {"x", "y"};
    spry_quantize_options options = spry_quantize_options_default();
    pass_context context = {.for_file = true};
    spry_random random = spry_random_stream(7, 1);
    const char *folder = data_make_folder();
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    spry_tensor *x = NULL;
    spry_tensor *y = NULL;
    spry_error error = {0};
    char description[700];
    spry_model *source;
    model *m;
    const graph_type *type;

    expect(spry_model_load(NULL, path, &source, &error), &error);
    expect(model_copy(source, &m, &error), &error);
    context.m = m;
    expect(pass_run_all(m->main, &context, &error), &error);
    type = &m->main->values[m->main->inputs[0]].type;
    for (int i = 0; i < type->rank; i++) {
        shape[i] = type->dims[i].size > 0 ? type->dims[i].size : 1;
    }
    expect(spry_tensor_create(NULL, SPRY_DTYPE_F32, type->rank, shape, &x, &error), &error);
    expect(spry_tensor_create(NULL, SPRY_DTYPE_I64, 1, shape, &y, &error), &error);
    spry_random_fill_normal(&random, x->data, (size_t)spry_tensor_count(x), 0.0f, 1.0f);
    expect(spry_archive_save(data_join(folder, "samples.npz"), 2, names,
                             (const spry_tensor *[]){x, y}, &error),
           &error);
    (void)snprintf(description, sizeof description, "npz:%s", data_join(folder, "samples.npz"));
    expect(spry_dataset_open(NULL, description, &options.calibration, &error), &error);
    print_message("%s: %d free classes\n", path, (int)check_random(m, &options, 1e-5));
    spry_dataset_close(options.calibration);
    data_remove_folder(folder);
    spry_tensor_destroy(x);
    spry_tensor_destroy(y);
    spry_model_destroy(m);
    spry_model_destroy(source);
}

static void trained_models_stay(void **state)
{
    (void)state;
    check_model(data_path("cifar10-resnet/resnet20_bn.onnx"));
    check_model(data_path("cifar10-resnet/resnet56.onnx"));
    check_model(data_path("imagenet-models/mobilenet_v2_tf2_224_fp32deq.onnx"));
    check_model(data_path("imagenet-models/squeezenet1.1.onnx"));
    check_model(data_path("cifar10-vit/vit_d64_preln.onnx"));
    check_model(data_path("cifar10-vit/vit_d128_postln.onnx"));
}

static void small_models_stay(void **state)
{
    static const char *const names[] = {"small_cnn", "small_depthwise", "small_mlp",    "small_vit",
                                        "resnet18",  "mobilenet_v2",    "squeezenet1_1"};
    static const char *const folders[] = {"../models", "build/models"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (size_t k = 0; k < 2; k++) {
            char path[128];

            (void)snprintf(path, sizeof path, "%s/%s.onnx", folders[k], names[i]);
            if (access(path, R_OK) == 0) {
                check_model(path);
                break;
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains_move_together),
        cmocka_unit_test(sums_tie_both_sides),
        cmocka_unit_test(shared_constants_are_one),
        cmocka_unit_test(groups_and_joined_channels_stay),
        cmocka_unit_test(pixels_fix_channels),
        cmocka_unit_test(trained_models_stay),
        cmocka_unit_test(small_models_stay),
    };

    return cmocka_run_group_tests_name("quantize/reorder_graph", tests, NULL, NULL);
}
