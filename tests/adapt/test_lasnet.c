/* Masks of residual blocks: what maskers decide, what blocks compute then, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapt/method.h"
#include "adapt/spatial_objective.h"
#include "model/model.h"
#include "spry/session.h"
#include "support/adapting.h"
#include "support/data.h"
#include "support/proto.h"
#include "support/sample.h"
#include "train/program.h"

enum { BATCH = 2, MOST = 1 << 16 };

static spry_error error;

static void expect(spry_status status)
{
    if (status != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
}

/* ---- numbers ---- */

static void check_bounds(double target, double done, double up, double lo)
{
    double found_up;
    double found_lo;

    spatial_bounds(target, done, 0.33, &found_up, &found_lo);
    assert_true(fabs(found_up - up) < 1e-12);
    assert_true(fabs(found_lo - lo) < 1e-12);
}

/* Of 100 epochs: at the first, in the middle of opening, and from the 33rd on. */
static void test_bounds(void **state)
{
    (void)state;
    check_bounds(0.5, 0.0, 0.5, 0.5);
    check_bounds(0.5, 0.165, 0.75, 0.25);
    check_bounds(0.5, 0.33, 1.0, 0.0);
    check_bounds(0.5, 0.9, 1.0, 0.0);
    check_bounds(0.2, 0.0, 0.2, 0.2);
    assert_true(spatial_aim(0.5, 0.0, 0.0) == 0.5);
    assert_true(spatial_aim(0.5, 0.0, 0.6) == 1.0);
    assert_true(fabs(spatial_aim(0.5, 0.3, 0.6) - 0.75) < 1e-12);
    assert_true(spatial_aim(0.5, 0.6, 0.6) == 0.5 && spatial_aim(0.5, 0.9, 0.6) == 0.5);
    spatial_bounds(0.5, 0.0, 0.0, &(double){0}, &(double){0});
}

static void test_granularity(void **state)
{
    static const char *const wrong[] = {"",    "0",   "4-",   "-4",   "4--4", "4,4",
                                        "4-x", "1.5", "4097", "4 -4", "+4"};
    int64_t sides[64];
    int count;

    (void)state;
    assert_true(lasnet_read_granularity("8-4-7-1", sides, &count));
    assert_int_equal(count, 4);
    assert_true(sides[0] == 8 && sides[1] == 4 && sides[2] == 7 && sides[3] == 1);
    assert_true(lasnet_read_granularity("4096", sides, &count));
    assert_int_equal(count, 1);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(lasnet_read_granularity(wrong[i], sides, &count));
    }
}

/* ---- one block ---- */

/* x -> Conv 3x3 -> Relu -> Conv 3x3 [-> Relu -> Conv 1x1] -> + -> Relu, with a projection. */
typedef struct sizes {
    int64_t channels, height, width, inner, outputs, stride, side, opset;
    bool is_bottleneck;
} sizes;

typedef struct block {
    sizes of;
    float *weights[4]; /* conv1, conv2, conv3 or NULL, projection or NULL */
    spry_model *base, *masked;
    spry_adaptation *facts;
    proto file;
} block;

static void set_list(proto *attributes, const char *name, int count, const int64_t *list)
{
    proto attribute = {0};

    proto_text(&attribute, 1, name);
    for (int i = 0; i < count; i++) {
        proto_int(&attribute, 8, (uint64_t)list[i]);
    }
    proto_int(&attribute, 20, 7);
    proto_message(attributes, 5, &attribute);
}

static float *draw(proto *to, const char *name, const int64_t *dims, spry_random *random)
{
    size_t count = (size_t)(dims[0] * dims[1] * dims[2] * dims[3]);
    float *w = malloc(count * sizeof *w);

    assert_non_null(w);
    spry_random_fill_normal(random, w, count, 0.0f, 0.4f);
    proto_tensor(to, 5, name, SPRY_DTYPE_F32, 4, dims, w, count * sizeof *w);
    return w;
}

static void add_conv(proto *to, const char *inputs, const char *output, int64_t stride, int64_t pad)
{
    proto attributes = {0};

    set_list(&attributes, "strides", 2, (int64_t[]){stride, stride});
    set_list(&attributes, "pads", 4, (int64_t[]){pad, pad, pad, pad});
    proto_node_with(to, 1, "Conv", inputs, output, &attributes);
}

static void make_block(block *b, const sizes *s, uint64_t seed)
{
    spry_random random = spry_random_stream(seed, 3);
    proto net = {0};
    bool projects = s->stride > 1 || s->channels != s->outputs;
    int64_t last = s->is_bottleneck ? s->inner : s->outputs;

    memset(b, 0, sizeof *b);
    b->of = *s;
    add_conv(&net, "x w1", "a1", 1, 1);
    proto_node(&net, 1, "Relu", "a1", "r1");
    add_conv(&net, "r1 w2", "a2", s->stride, 1);
    if (s->is_bottleneck) {
        proto_node(&net, 1, "Relu", "a2", "r2");
        add_conv(&net, "r2 w3", "a3", 1, 0);
    }
    if (projects) {
        add_conv(&net, "x wp", "p", s->stride, 0);
    }
    proto_node(&net, 1, "Add",
               projects           ? s->is_bottleneck ? "a3 p" : "a2 p"
               : s->is_bottleneck ? "x a3"
                                  : "x a2",
               "sum");
    proto_node(&net, 1, "Relu", "sum", "y");
    b->weights[0] = draw(&net, "w1", (int64_t[]){s->inner, s->channels, 3, 3}, &random);
    b->weights[1] = draw(&net, "w2", (int64_t[]){last, s->inner, 3, 3}, &random);
    if (s->is_bottleneck) {
        b->weights[2] = draw(&net, "w3", (int64_t[]){s->outputs, last, 1, 1}, &random);
    }
    if (projects) {
        b->weights[3] = draw(&net, "wp", (int64_t[]){s->outputs, s->channels, 1, 1}, &random);
    }
    proto_value_info(&net, 11, "x", SPRY_DTYPE_F32, 4,
                     (int64_t[]){-1, s->channels, s->height, s->width});
    proto_value_info(&net, 12, "y", SPRY_DTYPE_F32, 4,
                     (int64_t[]){-1, s->outputs, (s->height - 1) / s->stride + 1,
                                 (s->width - 1) / s->stride + 1});
    proto_model(&b->file, 8, s->opset, &net);
    expect(spry_model_parse(NULL, b->file.data, b->file.size, NULL, &b->base, &error));
}

static spry_status mask_block(block *b)
{
    spry_adapt_options o = adapting_options("lasnet");
    char granularity[32];

    (void)snprintf(granularity, sizeof granularity, "%d", (int)b->of.side);
    o.granularity = granularity;
    o.masker_bias = 1e-3;
    return spry_adapt(b->base, &o, &b->masked, &b->facts, &error);
}

static void free_block(block *b)
{
    spry_adaptation_destroy(b->facts);
    spry_model_destroy(b->masked);
    spry_model_destroy(b->base);
    proto_fini(&b->file);
    for (int i = 0; i < 4; i++) {
        free(b->weights[i]);
    }
}

/* ---- the same in the plain way ---- */

/* One image; y [outputs][height'][width'] in doubles. */
static void plain_conv(const double *x, int64_t c, int64_t h, int64_t w, const float *weights,
                       int64_t outputs, int64_t kernel, int64_t stride, int64_t pad, double *y)
{
    int64_t oh = (h + 2 * pad - kernel) / stride + 1;
    int64_t ow = (w + 2 * pad - kernel) / stride + 1;

    for (int64_t i = 0; i < outputs * oh * ow; i++) {
        int64_t k = i / (oh * ow);
        int64_t top = i / ow % oh * stride - pad;
        int64_t left = i % ow * stride - pad;

        y[i] = 0;
        for (int64_t j = 0; j < c * kernel * kernel; j++) {
            int64_t row = top + j / kernel % kernel;
            int64_t column = left + j % kernel;

            if (row >= 0 && row < h && column >= 0 && column < w) {
                y[i] += x[(j / (kernel * kernel) * h + row) * w + column] *
                        (double)weights[k * c * kernel * kernel + j];
            }
        }
    }
}

static void rectify(double *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        x[i] = x[i] > 0 ? x[i] : 0;
    }
}

/* keep - skip of one cell: the mean of x over the cell, and over what it would be if the logits
 * were pooled instead, which is the same. */
static double plain_logit(const block *b, const double *x, int64_t top, int64_t left, int64_t side)
{
    const sizes *s = &b->of;
    int64_t count;
    const float *w = adapting_tensor(b->masked, "sum_masker_weight", &count);
    const float *bias = adapting_tensor(b->masked, "sum_masker_bias", &count);
    double pooled = 0;
    double sum = 0;
    int64_t pixels = 0;

    for (int64_t c = 0; c < s->channels; c++) {
        double channel = 0;

        pixels = 0;
        for (int64_t y = top; y < top + side && y < s->height; y++) {
            for (int64_t z = left; z < left + side && z < s->width; z++) {
                double v = x[(c * s->height + y) * s->width + z];

                channel += v;
                sum += v * ((double)w[c] - (double)w[s->channels + c]);
                pixels++;
            }
        }
        pooled += channel / (double)pixels * ((double)w[c] - (double)w[s->channels + c]);
    }
    assert_true(fabs(pooled - sum / (double)pixels) < 1e-9);
    return pooled + (double)bias[0] - (double)bias[1];
}

/* What the block gives for one image with that mask. */
static void plain_block(const block *b, const double *x, const float *mask, double *y)
{
    static double first[MOST], second[MOST], third[MOST];
    const sizes *s = &b->of;
    int64_t oh = (s->height - 1) / s->stride + 1;
    int64_t ow = (s->width - 1) / s->stride + 1;
    int64_t last = s->is_bottleneck ? s->inner : s->outputs;
    const double *branch = second;

    plain_conv(x, s->channels, s->height, s->width, b->weights[0], s->inner, 3, 1, 1, first);
    rectify(first, s->inner * s->height * s->width);
    plain_conv(first, s->inner, s->height, s->width, b->weights[1], last, 3, s->stride, 1, second);
    if (s->is_bottleneck) {
        rectify(second, last * oh * ow);
        plain_conv(second, last, oh, ow, b->weights[2], s->outputs, 1, 1, 0, third);
        branch = third;
    }
    if (b->weights[3] != NULL) {
        plain_conv(x, s->channels, s->height, s->width, b->weights[3], s->outputs, 1, s->stride, 0,
                   y);
    } else {
        memcpy(y, x, (size_t)(s->outputs * oh * ow) * sizeof *y);
    }
    for (int64_t i = 0; i < s->outputs * oh * ow; i++) {
        y[i] += branch[i] * (double)mask[i % (oh * ow)];
    }
    rectify(y, s->outputs * oh * ow);
}

/* ---- both held against each other ---- */

static void check_mask(const block *b, const double *x, const float *mask)
{
    const sizes *s = &b->of;
    int64_t oh = (s->height - 1) / s->stride + 1;
    int64_t ow = (s->width - 1) / s->stride + 1;
    bool is_whole = s->side >= oh && s->side >= ow;
    int64_t side = is_whole ? s->height + s->width : s->side * s->stride;
    int64_t rows = is_whole ? 1 : (oh + s->side - 1) / s->side;
    int64_t columns = is_whole ? 1 : (ow + s->side - 1) / s->side;

    for (int64_t i = 0; i < oh * ow; i++) {
        int64_t row = i / ow * rows / oh;
        int64_t column = i % ow * columns / ow;
        double logit = plain_logit(b, x, row * side, column * side, side);

        if (fabs(logit) > 1e-5) {
            assert_true((mask[i] == 1.0f) == (logit >= 0) && mask[i] * (1.0f - mask[i]) == 0.0f);
        }
    }
}

static void check_outputs(const block *b, const float *samples, const spry_tensor *y,
                          const spry_tensor *mask)
{
    static double x[MOST], expected[MOST];
    int64_t inputs = b->of.channels * b->of.height * b->of.width;
    int64_t outputs = spry_tensor_count(y) / BATCH;
    int64_t map = spry_tensor_count(mask) / BATCH;

    for (int64_t n = 0; n < BATCH; n++) {
        const float *found = (const float *)spry_tensor_const_data(y) + n * outputs;
        const float *kept = (const float *)spry_tensor_const_data(mask) + n * map;

        for (int64_t i = 0; i < inputs; i++) {
            x[i] = (double)samples[n * inputs + i];
        }
        check_mask(b, x, kept);
        plain_block(b, x, kept, expected);
        for (int64_t i = 0; i < outputs; i++) {
            assert_true(fabs((double)found[i] - expected[i]) <= 1e-4 * (1 + fabs(expected[i])));
        }
    }
}

static void run_block(block *b)
{
    const int64_t dims[] = {BATCH, b->of.channels, b->of.height, b->of.width};
    spry_random random = spry_random_stream(1, (uint64_t)b->of.height);
    spry_model *revealed = NULL;
    spry_session *session = NULL;
    spry_tensor *x = NULL;
    spry_value *input = NULL;
    spry_value *outputs[2] = {NULL, NULL};

    expect(spry_adapt_reveal(b->masked, &revealed, &error));
    assert_int_equal(spry_model_output_count(revealed), 2);
    expect(spry_session_create(revealed, NULL, &session, &error));
    expect(spry_tensor_create(NULL, SPRY_DTYPE_F32, 4, dims, &x, &error));
    spry_random_fill_normal(&random, spry_tensor_data(x), (size_t)spry_tensor_count(x), 0.2f, 1.0f);
    expect(spry_value_from_tensor(NULL, x, &input, &error));
    expect(spry_session_run(session, 1, (const char *[]){"x"}, (const spry_value *[]){input}, 2,
                            outputs, &error));
    check_outputs(b, spry_tensor_const_data(spry_value_tensor(input)),
                  spry_value_tensor(outputs[0]), spry_value_tensor(outputs[1]));
    spry_value_destroy(outputs[0]);
    spry_value_destroy(outputs[1]);
    spry_value_destroy(input);
    spry_session_destroy(session);
    spry_model_destroy(revealed);
}

/* All strides, cells that divide the map and that do not, larger than it, and of one pixel. */
static void test_blocks(void **state)
{
    static const int64_t sides[] = {1, 2, 3, 4, 7, 64};
    spry_random random = spry_random_stream(5, 0);

    (void)state;
    for (int i = 0; i < 60; i++) {
        sizes s = {.channels = sample_positive_size(&random, 5),
                   .height = sample_positive_size(&random, 17),
                   .width = sample_positive_size(&random, 17),
                   .inner = sample_positive_size(&random, 5),
                   .stride = 1 + i % 2,
                   .side = sides[i % 6],
                   .opset = i % 4 < 2 ? 13 : 18,
                   .is_bottleneck = i % 3 == 0};
        block b;

        s.outputs = i % 5 < 2 ? s.channels : sample_positive_size(&random, 5);
        make_block(&b, &s, (uint64_t)i);
        expect(mask_block(&b));
        run_block(&b);
        free_block(&b);
    }
}

/* ---- the work of a block ---- */

/* A masker that keeps cells whose mean is above 1/2, noise or not. */
static void set_masker(block *b)
{
    int64_t count;
    float *w = adapting_tensor(b->masked, "sum_masker_weight", &count);
    float *bias = adapting_tensor(b->masked, "sum_masker_bias", &count);

    w[0] = 1000.0f;
    w[1] = 0.0f;
    bias[0] = -500.0f;
    bias[1] = 0.0f;
}

/* One training step of a block of one channel on 4x4 images: the share of the work that is left,
 * and the loss with bounds that far closed, which is the term alone since a softmax over one
 * channel teaches nothing. */
static void run_step(const block *b, float *samples, double target, double closed, double *work,
                     double *loss)
{
    spry_adapt_goal goal = spry_adapt_goal_default();
    program_options options = {.gates = SPRY_ADAPT_GATES,
                               .session = spry_session_options_default()};
    spry_train_objective *objective = NULL;
    int64_t labels[BATCH] = {0, 0};
    tensor x;
    tensor y;
    const tensor *inputs[] = {&x};
    threads *team = NULL;
    program *p = NULL;

    goal.target = target;
    goal.teacher = b->base;
    goal.ignore_labels = true;
    expect(spry_adapt_objective(b->masked, &goal, &objective, &error));
    options.objective = objective;
    expect(tensor_init(&x, SPRY_DTYPE_F32, 4, (int64_t[]){BATCH, 1, 4, 4}, samples, &error));
    expect(tensor_init(&y, SPRY_DTYPE_I64, 1, (int64_t[]){BATCH}, labels, &error));
    expect(threads_create(NULL, 2, &team, &error));
    expect(program_create(b->masked, &options, inputs, 1, &y, team, &p, &error));
    p->settings[0] = (float)closed;
    p->settings[1] = 1.0f;
    expect(program_run(p, inputs, &y, 3, &error));
    *work = (double)p->watched[0];
    *loss = (double)p->loss;
    program_destroy(p);
    threads_destroy(team);
    spry_train_objective_destroy(objective);
}

/* A kept pixel at (1, 1) needs nine of the first convolution; with stride 2 the kept (0, 1) of a
 * map of 2x2 needs rows 0 to 1 and columns 1 to 3. */
static void test_work(void **state)
{
    static const struct {
        int64_t stride;
        double kept, read, first, second, fixed; /* pixels; work of both convolutions, the rest */
    } cases[] = {{1, 1, 9, 144, 144, 64}, {2, 1, 6, 144, 36, 28 + 4}};

    (void)state;
    for (int i = 0; i < 2; i++) {
        const sizes s = {.channels = 1,
                         .height = 4,
                         .width = 4,
                         .inner = 1,
                         .outputs = 1,
                         .stride = cases[i].stride,
                         .side = 1,
                         .opset = 13};
        double map = 16.0 / (double)(s.stride * s.stride);
        double dense = cases[i].first + cases[i].second + cases[i].fixed;
        double share = (cases[i].fixed + cases[i].first * cases[i].read / 16 / BATCH +
                        cases[i].second * cases[i].kept / map / BATCH) /
                       dense;
        float x[BATCH * 16] = {0};
        double work;
        double loss;
        block b;

        for (int k = 0; k < s.stride * s.stride; k++) {
            int at = s.stride == 1 ? 5 : k / 2 * 4 + 2 + k % 2;

            x[at] = 1.0f;
        }
        make_block(&b, &s, 4);
        expect(mask_block(&b));
        set_masker(&b);
        for (int k = 0; k < 4; k++) {
            double wanted = k % 2 == 0 ? 0.9 : 0.1;
            double closed = k < 2 ? 1.0 : 0.75;
            double over = fmax(share - (1 - closed * (1 - wanted)), 0);
            double under = fmax(closed * wanted - share, 0);

            run_step(&b, x, wanted, closed, &work, &loss);
            assert_true(fabs(work - share) < 1e-6);
            assert_true(fabs(loss - 10 * (pow(share - wanted, 2) + pow(over, 2) + pow(under, 2))) <
                        1e-5);
        }
        free_block(&b);
    }
}

/* ---- whole networks ---- */

static spry_model *make_network(const char *name, int64_t side)
{
    spry_architecture_options o = spry_architecture_options_default();
    spry_model *m = NULL;

    o.height = o.width = side;
    o.channels = 3;
    o.units = 4;
    o.classes = 5;
    o.seed = 3;
    expect(spry_architecture_create(NULL, name, &o, &m, &error));
    return m;
}

/* Maskers that keep everything leave the network as it is, through a file as well, and every
 * structure of blocks gets one function. */
static void test_starts_as_base(void **state)
{
    static const struct {
        const char *name;
        int64_t side;
        int32_t blocks, functions;
    } networks[] = {{"resnet20", 16, 9, 6}, {"resnet18", 70, 8, 6}, {"resnet50", 64, 16, 0}};

    (void)state;
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++) {
        spry_model *base = make_network(networks[i].name, networks[i].side);
        spry_adapt_options o = adapting_options("lasnet");
        spry_adaptation *facts = NULL;
        spry_model *m;
        spry_model *again;
        spry_model *revealed = NULL;

        o.masker_bias = 1000;
        m = adapting_make(base, &o, &facts);
        again = adapting_reload(m);
        assert_true(adapting_difference(m, base) < 1e-5);
        adapting_assert_same(m, again);
        expect(spry_adapt_reveal(again, &revealed, &error));
        assert_int_equal(spry_model_output_count(revealed), 1 + networks[i].blocks);
        assert_true(m->function_count <= networks[i].blocks &&
                    (networks[i].functions == 0 || m->function_count <= networks[i].functions));
        spry_model_destroy(revealed);
        spry_model_destroy(again);
        spry_model_destroy(m);
        spry_adaptation_destroy(facts);
        spry_model_destroy(base);
    }
}

/* ---- what is refused ---- */

static void refuse(const spry_model *m, const spry_adapt_options *o, spry_status wanted,
                   const char *word)
{
    spry_adaptation *facts = NULL;
    spry_model *made = NULL;

    assert_int_equal(spry_adapt(m, o, &made, &facts, &error), wanted);
    assert_null(made);
    assert_null(facts);
    assert_non_null(strstr(error.what, word));
}

static void test_refused(void **state)
{
    const sizes plain = {.channels = 2,
                         .height = 6,
                         .width = 6,
                         .inner = 2,
                         .outputs = 2,
                         .stride = 1,
                         .side = 2,
                         .opset = 12};
    spry_adapt_options o = adapting_options("lasnet");
    spry_adapt_goal goal = spry_adapt_goal_default();
    spry_train_objective *objective = NULL;
    spry_model *vit = adapting_vit(1);
    spry_model *network = make_network("resnet20", 16);
    spry_model *revealed = NULL;
    spry_adaptation *facts = NULL;
    spry_model *masked = NULL;
    block old;

    (void)state;
    refuse(vit, &o, SPRY_UNSUPPORTED, "no residual blocks");
    make_block(&old, &plain, 1);
    refuse(old.base, &o, SPRY_UNSUPPORTED, "operator set 13");
    o.granularity = "0";
    refuse(network, &o, SPRY_USAGE, "no list of sides");
    o.granularity = NULL;
    o.masker_bias = NAN;
    refuse(network, &o, SPRY_USAGE, "bias");
    o.masker_bias = 0;
    masked = adapting_make(network, &o, &facts);
    refuse(masked, &o, SPRY_BAD_INPUT, "adapted already");
    assert_int_equal(spry_adapt_reveal(network, &revealed, &error), SPRY_USAGE);
    assert_int_equal(spry_adapt_objective(network, &goal, &objective, &error), SPRY_USAGE);
    goal.target = NAN;
    assert_int_equal(spry_adapt_objective(masked, &goal, &objective, &error), SPRY_USAGE);
    goal.target = 0.5;
    goal.ignore_labels = true;
    assert_int_equal(spry_adapt_objective(masked, &goal, &objective, &error), SPRY_USAGE);
    assert_non_null(strstr(error.what, "without labels"));
    assert_null(objective);
    spry_model_destroy(masked);
    spry_adaptation_destroy(facts);
    free_block(&old);
    spry_model_destroy(network);
    spry_model_destroy(vit);
}

/* Logits that are no numbers are errors of training, and skip when the model runs. */
static void test_odd_logits(void **state)
{
    const sizes s = {.channels = 3,
                     .height = 8,
                     .width = 8,
                     .inner = 3,
                     .outputs = 3,
                     .stride = 1,
                     .side = 2,
                     .opset = 13};
    block b;
    int64_t count;
    float *y;

    (void)state;
    make_block(&b, &s, 2);
    expect(mask_block(&b));
    adapting_tensor(b.masked, "sum_masker_bias", &count)[0] = NAN;
    y = adapting_run(b.masked, 4, &count);
    for (int64_t i = 0; i < count; i++) {
        assert_true(isfinite(y[i]));
    }
    free(y);
    free_block(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),         cmocka_unit_test(test_granularity),
        cmocka_unit_test(test_blocks),         cmocka_unit_test(test_work),
        cmocka_unit_test(test_starts_as_base), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_odd_logits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
