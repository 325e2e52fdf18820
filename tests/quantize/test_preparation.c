/* Preparations leave what a model computes unchanged, and ranges equal. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "quantize/calibrate/channel_summary.h"
#include "quantize/calibrate/samples.h"
#include "quantize/format/format.h"
#include "quantize/method/method.h"
#include "quantize/prepare/bias_correction.h"
#include "quantize/prepare/intake.h"
#include "quantize/prepare/preparation.h"
#include "support/quantizing.h"
#include "tensor/tensor.h"

enum { NODE = 1, INPUT = 11, OUTPUT = 12, SAMPLES = 8 };

static void expect(spry_status status, const spry_error *error)
{
    if (status != SPRY_OK) {
        fail_msg("%s: %s", error->where, error->what);
    }
}

/* ---- small models ---- */

static const int64_t image[] = {SAMPLES, 4, 9, 7};
static const int64_t rows[] = {SAMPLES, 5, 12};

static proto conv_attributes(int64_t group)
{
    proto a = {0};

    proto_attribute_int(&a, "group", group);
    return a;
}

/* Convolution, depthwise, pointwise, pooled, product: all with ReLU or nothing between. */
static proto make_chain(void)
{
    proto g = {0};
    proto a = conv_attributes(1);

    quantizing_weights(&g, "w1", 4, (int64_t[]){6, 4, 3, 3}, 1);
    quantizing_weights(&g, "b1", 1, (int64_t[]){6}, 2);
    proto_node_with(&g, NODE, "Conv", "x w1 b1", "y1", &a);
    proto_node(&g, NODE, "Relu", "y1", "z1");
    a = conv_attributes(6);
    quantizing_weights(&g, "w2", 4, (int64_t[]){6, 1, 3, 3}, 3);
    quantizing_weights(&g, "b2", 1, (int64_t[]){6}, 4);
    proto_node_with(&g, NODE, "Conv", "z1 w2 b2", "y2", &a);
    proto_node(&g, NODE, "Relu", "y2", "z2");
    a = conv_attributes(1);
    quantizing_weights(&g, "w3", 4, (int64_t[]){5, 6, 1, 1}, 5);
    proto_node_with(&g, NODE, "Conv", "z2 w3", "y3", &a);
    proto_node(&g, NODE, "GlobalAveragePool", "y3", "p");
    proto_node(&g, NODE, "Flatten", "p", "f");
    quantizing_weights(&g, "w4", 2, (int64_t[]){5, 8}, 6);
    quantizing_weights(&g, "b4", 1, (int64_t[]){8}, 7);
    proto_node(&g, NODE, "MatMul", "f w4", "y4");
    proto_node(&g, NODE, "Add", "b4 y4", "s4");
    proto_node(&g, NODE, "Relu", "s4", "z4");
    quantizing_weights(&g, "w5", 2, (int64_t[]){8, 3}, 8);
    proto_node(&g, NODE, "MatMul", "z4 w5", "out");
    proto_value_info(&g, INPUT, "x", SPRY_DTYPE_F32, 4, image);
    proto_value_info(&g, OUTPUT, "out", SPRY_DTYPE_F32, 2, (int64_t[]){SAMPLES, 3});
    return g;
}

/* Two normalizations, one of them in parts, with layers that have a bias and that have none. */
static proto make_normalized(void)
{
    proto g = {0};

    quantizing_weights(&g, "gamma1", 1, (int64_t[]){12}, 1);
    quantizing_weights(&g, "beta1", 1, (int64_t[]){12}, 2);
    proto_node(&g, NODE, "Mul", "x gamma1", "m");
    proto_node(&g, NODE, "Add", "m beta1", "n1");
    quantizing_weights(&g, "w1", 2, (int64_t[]){12, 6}, 3);
    quantizing_weights(&g, "b1", 1, (int64_t[]){6}, 4);
    proto_node(&g, NODE, "MatMul", "n1 w1", "y1");
    proto_node(&g, NODE, "Add", "y1 b1", "s1");
    quantizing_weights(&g, "w2", 2, (int64_t[]){12, 6}, 5);
    proto_node(&g, NODE, "MatMul", "n1 w2", "y2");
    proto_node(&g, NODE, "Add", "s1 y2", "t");
    quantizing_weights(&g, "gamma2", 1, (int64_t[]){6}, 6);
    quantizing_weights(&g, "beta2", 1, (int64_t[]){6}, 7);
    proto_node(&g, NODE, "LayerNormalization", "t gamma2 beta2", "n2");
    quantizing_weights(&g, "w3", 2, (int64_t[]){6, 4}, 8);
    proto_node(&g, NODE, "MatMul", "n2 w3", "out");
    proto_value_info(&g, INPUT, "x", SPRY_DTYPE_F32, 3, rows);
    proto_value_info(&g, OUTPUT, "out", SPRY_DTYPE_F32, 3, (int64_t[]){SAMPLES, 5, 4});
    return g;
}

/* ---- outputs ---- */

typedef struct taken {
    float *numbers;
    int64_t count;
} taken;

static spry_status take(void *context, const samples_view *view, spry_error *error)
{
    taken *t = context;
    int64_t count = spry_tensor_count(view->tensors[0]);

    (void)error;
    t->numbers = realloc(t->numbers, (size_t)(t->count + count) * sizeof *t->numbers);
    assert_non_null(t->numbers);
    memcpy(t->numbers + t->count, view->tensors[0]->data, (size_t)count * sizeof *t->numbers);
    t->count += count;
    return SPRY_OK;
}

static taken outputs_of(const model *m, const spry_quantize_options *options, int32_t value)
{
    spry_error error = {0};
    taken t = {0};

    expect(samples_visit(m, options, &value, 1, "", take, &t, &error), &error);
    return t;
}

static void check_same(const taken *a, const taken *b, double tolerance)
{
    double most = 0.0;
    double difference = 0.0;

    assert_int_equal(a->count, b->count);
    for (int64_t i = 0; i < a->count; i++) {
        most = fmax(most, fabs((double)a->numbers[i]));
        difference = fmax(difference, fabs((double)a->numbers[i] - (double)b->numbers[i]));
    }
    if (!(difference <= tolerance * most)) {
        fail_msg("outputs differ by %g of %g", difference, most);
    }
}

static void check_unchanged(quantizing *q, const char *names)
{
    spry_error error = {0};
    taken before;
    taken after;

    before = outputs_of(q->model, &q->options, q->model->main->outputs[0]);
    q->options.prepare = names;
    expect(prepare(&q->job, &error), &error);
    after = outputs_of(q->job.m, &q->options, q->job.m->main->outputs[0]);
    check_same(&before, &after, 1e-5);
    free(before.numbers);
    free(after.numbers);
}

/* ---- equalisation ---- */

static float peak(const graph *g, const char *name, int64_t outer, int64_t middle, int64_t inner,
                  int64_t index)
{
    const tensor *t = graph_constant(g, graph_find_value(g, name));
    float most = 0.0f;

    assert_non_null(t);
    for (int64_t i = 0; i < outer * inner; i++) {
        most = fmaxf(
            most,
            fabsf(((const float *)t->data)[(i / inner * middle + index) * inner + i % inner]));
    }
    return most;
}

static void ranges_become_equal(void **state)
{
    proto g = make_chain();
    quantizing q;

    (void)state;
    quantizing_init(&q, &g, 4, image, 0);
    check_unchanged(&q, "equalise");
    for (int64_t c = 0; c < 6; c++) {
        const graph *m = q.job.m->main;
        float depthwise = peak(m, "w2", 1, 6, 9, c);

        assert_float_equal(peak(m, "w1", 1, 6, 36, c) / depthwise, 1.0, 0.02);
        assert_float_equal(peak(m, "w3", 5, 6, 1, c) / depthwise, 1.0, 0.02);
    }
    for (int64_t c = 0; c < 5; c++) {
        assert_float_equal(peak(q.job.m->main, "w3", 1, 5, 6, c) /
                               peak(q.job.m->main, "w4", 1, 5, 8, c),
                           1.0, 0.02);
    }
    for (int64_t c = 0; c < 8; c++) {
        assert_float_equal(peak(q.job.m->main, "w4", 5, 8, 1, c) /
                               peak(q.job.m->main, "w5", 1, 8, 3, c),
                           1.0, 0.02);
    }
    quantizing_fini(&q);
}

/* ---- repq ---- */

static void check_spans(quantizing *q, const char *name, int64_t channels)
{
    int32_t value = graph_find_value(q->job.m->main, name);
    taken t = outputs_of(q->job.m, &q->options, value);
    float least = INFINITY;
    float most = 0.0f;

    for (int64_t c = 0; c < channels; c++) {
        float low = INFINITY;
        float high = -INFINITY;

        for (int64_t i = c; i < t.count; i += channels) {
            low = fminf(low, t.numbers[i]);
            high = fmaxf(high, t.numbers[i]);
        }
        least = fminf(least, high - low);
        most = fmaxf(most, high - low);
    }
    assert_float_equal(most / least, 1.0, 1e-4);
    free(t.numbers);
}

static void normalized_channels_get_one_range(void **state)
{
    proto g = make_normalized();
    quantizing q;

    (void)state;
    quantizing_init(&q, &g, 3, rows, 0);
    check_unchanged(&q, "repq");
    check_spans(&q, "n1", 12);
    check_spans(&q, "n2", 6);
    quantizing_fini(&q);
}

/* ---- smoothing ---- */

/* The largest |number| of each channel of a value whose channels are last, or follow the first
 * axis. */
static void reach_of(quantizing *q, const char *name, int64_t channels, bool last, double *reach)
{
    int32_t value = graph_find_value(q->job.m->main, name);
    float low[16];
    float high[16];
    spry_error error = {0};
    channel_summary of = {
        .value = value, .channels = channels, .channels_last = last, .low = low, .high = high};

    expect(channel_summary_find(q->job.m, &q->options, &of, 1, "", &error), &error);
    for (int64_t c = 0; c < channels; c++) {
        reach[c] = fmax(fabs((double)low[c]), fabs((double)high[c]));
    }
}

/* Both become the root of the product of their ranges: equal. */
static void activations_and_weights_share_ranges(void **state)
{
    proto g = make_normalized();
    double reach[12];
    quantizing q;

    (void)state;
    quantizing_init(&q, &g, 3, rows, 0);
    check_unchanged(&q, "smooth");
    reach_of(&q, "n1", 12, true, reach);
    for (int64_t c = 0; c < 12; c++) {
        const graph *m = q.job.m->main;
        float weights = fmaxf(peak(m, "w1_moved", 1, 12, 6, c), peak(m, "w2_moved", 1, 12, 6, c));

        assert_true(fabs(reach[c] / (double)weights - 1.0) < 1e-4);
    }
    quantizing_fini(&q);
    g = make_chain();
    quantizing_init(&q, &g, 4, image, 0);
    check_unchanged(&q, "smooth");
    reach_of(&q, "z4", 8, true, reach);
    for (int64_t c = 0; c < 8; c++) {
        double weights = (double)peak(q.job.m->main, "w5", 1, 8, 3, c);

        if (reach[c] > 0.0 && !(fabs(reach[c] / weights - 1.0) < 1e-4)) { /* never on: stays */
            fail_msg("channel %d: %g and %g", (int)c, reach[c], weights);
        }
    }
    quantizing_fini(&q);
}

/* One after the other, in any order. */
static void preparations_combine(void **state)
{
    static const char *const lists[] = {"equalise,repq,smooth", "smooth,repq,equalise",
                                        "smooth,smooth"};

    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        for (int which = 0; which < 2; which++) {
            proto g = which == 0 ? make_chain() : make_normalized();
            quantizing q;

            quantizing_init(&q, &g, which == 0 ? 4 : 3, which == 0 ? image : rows, 0);
            check_unchanged(&q, lists[i]);
            quantizing_fini(&q);
        }
    }
}

static void lists_are_checked(void **state)
{
    spry_quantize_options options = spry_quantize_options_default();

    (void)state;
    assert_int_equal(preparation_check(&options, NULL), SPRY_OK);
    options.prepare = "equalise";
    assert_int_equal(preparation_check(&options, NULL), SPRY_OK);
    options.prepare = "equalise,repq"; /* looks at samples */
    assert_int_equal(preparation_check(&options, NULL), SPRY_USAGE);
    options.prepare = "polish";
    assert_int_equal(preparation_check(&options, NULL), SPRY_USAGE);
}

/* ---- bias correction ---- */

static void means_come_back(void **state)
{
    static const char *const layers[] = {"y1", "y2", "y3", "s4", "out"};
    static const int64_t channels[] = {6, 6, 5, 8, 3};
    proto g = make_chain();
    spry_error error = {0};
    double means[2][8];
    quantizing q;

    (void)state;
    quantizing_init(&q, &g, 4, image, 0);
    q.options.bias_correction = true;
    for (int32_t i = 0; i < q.job.weight_count; i++) {
        weight_record *r = &q.job.weights[i];
        float *dense = calloc((size_t)weight_count(&r->w), sizeof *dense);
        squant_report report;
        method_call call = {dense, r, &q.job, &report};

        r->bits = 3;
        expect(record_cut(r, 1, r->w.inputs, q.job.memory, &error), &error);
        weight_gather(&r->w, dense);
        expect(method_round(&call, SQUANT_E, &error), &error);
        free(dense);
    }
    expect(correct_biases(&q.job, &error), &error);
    expect(format_qdq.write(&q.job, &error), &error);
    expect(graph_sort(q.job.m->main, &error), &error);
    for (int i = 0; i < 5; i++) {
        for (int side = 0; side < 2; side++) {
            const model *m = side == 0 ? q.model : q.job.m;
            channel_summary of = {.value = graph_find_value(m->main, layers[i]),
                                  .channels = channels[i],
                                  .channels_last = i >= 3,
                                  .means = means[side]};

            expect(channel_summary_find(m, &q.options, &of, 1, "", &error), &error);
        }
        for (int64_t c = 0; c < channels[i]; c++) {
            assert_float_equal(means[0][c], means[1][c], 1e-4);
        }
    }
    quantizing_fini(&q);
}

/* ---- trained models ---- */

static void check_trained(const char *folder, const char *name, const char *data,
                          const char *recipe, const char *names)
{
    spry_quantize_options options = spry_quantize_options_default();
    quantize_job job = {.options = &options, .format = &format_qdq};
    char path[1024];
    spry_preprocess read;
    spry_model *source = NULL;
    spry_error error = {0};
    taken before;
    taken after;

    (void)snprintf(path, sizeof path, "%s/%s.onnx", folder, name);
    expect(spry_model_load(NULL, path, &source, &error), &error);
    expect(spry_preprocess_parse(recipe, &read, &error), &error);
    (void)snprintf(path, sizeof path, data, folder);
    expect(spry_dataset_open(NULL, path, &options.calibration, &error), &error);
    options.recipe = &read;
    options.samples = 2;
    options.prepare = names;
    expect(threads_create(NULL, 2, &job.team, &error), &error);
    expect(model_copy(source, &job.m, &error), &error);
    job.memory = &job.m->memory;
    before = outputs_of(job.m, &options, job.m->main->outputs[0]);
    expect(intake(&job, &error), &error);
    expect(prepare(&job, &error), &error);
    after = outputs_of(job.m, &options, job.m->main->outputs[0]);
    check_same(&before, &after, 1e-5);
    free(before.numbers);
    free(after.numbers);
    threads_destroy(job.team);
    spry_dataset_close(options.calibration);
    spry_model_destroy(job.m);
    spry_model_destroy(source);
}

static void trained_models_stay(void **state)
{
    const char *folder = getenv("SPRY_DATA");
    static const char cifar[] = "cifar10:%s/cifar10/test_batch.bin";

    (void)state;
    if (folder == NULL) {
        skip();
    }
    check_trained(folder, "cifar10-resnet/resnet20_bn", cifar, "imagenet", "equalise");
    check_trained(folder, "mlperf-tiny/kws_fp32", "npz:%s/mlperf-tiny/kws01_features.npz", "raw",
                  "equalise");
    check_trained(folder, "imagenet-models/mobilenet_v2_tf2_224_fp32deq",
                  "labels:%s/imagenet-sample/labels.txt", "tf", "equalise");
    check_trained(folder, "cifar10-vit/vit_d64_preln", cifar, "unit", "repq");
    check_trained(folder, "cifar10-vit/vit_d64_preln", cifar, "unit", "smooth");
    check_trained(folder, "cifar10-resnet/resnet20_bn", cifar, "imagenet", "smooth");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_become_equal),
        cmocka_unit_test(normalized_channels_get_one_range),
        cmocka_unit_test(activations_and_weights_share_ranges),
        cmocka_unit_test(preparations_combine),
        cmocka_unit_test(lists_are_checked),
        cmocka_unit_test(means_come_back),
        cmocka_unit_test(trained_models_stay),
    };

    return cmocka_run_group_tests_name("quantize/preparation", tests, NULL, NULL);
}
