/* Convolutions behind masks compute the pixels that masks ask for, and give what multiplying all of
 * them by the mask gives: f32 to 1e-5 of the range, integers the bits of the network without a mask
 * where it is one. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "spry/spry.h"
#include "support/proto.h"

/* A block whose results are multiplied by a mask, between two convolutions of single pixels. */
typedef struct block {
    int64_t batch, height, width; /* of its input */
    int64_t channels, inner;
    int64_t stride, patch, groups, kernel, dilation;
    bool is_basic;     /* two kernels of 3 x 3 instead of 1 x 1, k x k, 1 x 1 */
    bool has_shortcut; /* only where sizes agree */
    bool is_quantised;
    bool has_whole_images; /* the mask is not repeated: one cell for all pixels */
    bool shows_inside;     /* what the mask multiplies is an output too: no region */
    bool has_no_mask;
} block;

enum { NAME = 32, SECOND_MASK = 11 };

static int64_t out_size(int64_t in, int64_t stride)
{
    return (in - 1) / stride + 1;
}

static int64_t cells(int64_t size, int64_t patch)
{
    return (size + patch - 1) / patch;
}

/* ---- building ---- */

typedef struct builder {
    proto graph;
    const block *b;
    uint64_t stream;
    int values;
} builder;

static void add_ints(proto *attributes, const char *name, int64_t count, int64_t number)
{
    enum { INTS = 7 };
    proto attribute = {0};

    proto_text(&attribute, 1, name);
    for (int64_t i = 0; i < count; i++) {
        proto_int(&attribute, 8, (uint64_t)number);
    }
    proto_int(&attribute, 20, INTS);
    proto_message(attributes, 5, &attribute);
}

static void add_word(proto *attributes, const char *name, const char *word)
{
    enum { STRING = 3 };
    proto attribute = {0};

    proto_text(&attribute, 1, name);
    proto_text(&attribute, 4, word);
    proto_int(&attribute, 20, STRING);
    proto_message(attributes, 5, &attribute);
}

static void add_floats(builder *m, const char *name, int rank, const int64_t *shape, float size)
{
    spry_random r = spry_random_stream(31, m->stream++);
    size_t count = 1;
    float *values;

    for (int i = 0; i < rank; i++) {
        count *= (size_t)shape[i];
    }
    values = malloc(count * sizeof *values);
    assert_non_null(values);
    spry_random_fill_uniform(&r, values, count, -size, size);
    proto_tensor(&m->graph, 5, name, SPRY_DTYPE_F32, rank, shape, values, count * sizeof *values);
    free(values);
}

static void add_codes(builder *m, const char *name, const int64_t *shape)
{
    spry_random r = spry_random_stream(32, m->stream++);
    size_t count = (size_t)(shape[0] * shape[1] * shape[2] * shape[3]);
    float *values = malloc(count * sizeof *values);
    int8_t *codes = malloc(count);

    assert_true(values != NULL && codes != NULL);
    spry_random_fill_uniform(&r, values, count, -127.0f, 127.0f);
    for (size_t i = 0; i < count; i++) {
        codes[i] = (int8_t)values[i];
    }
    proto_tensor(&m->graph, 5, name, SPRY_DTYPE_I8, 4, shape, codes, count);
    free(values);
    free(codes);
}

static void add_scalar(builder *m, const char *name, float number)
{
    proto_tensor(&m->graph, 5, name, SPRY_DTYPE_F32, 0, NULL, &number, sizeof number);
}

/* Two texts as one list of names. */
static const char *both(const char *a, const char *b)
{
    static char text[4 * NAME];

    (void)snprintf(text, sizeof text, "%s %s", a, b);
    return text;
}

/* Through bytes and back: `x` into `y`. */
static void add_rounding(builder *m, const char *x, const char *y, float scale, uint8_t zero)
{
    char scale_name[NAME], zero_name[NAME], bytes[NAME], inputs[4 * NAME];

    (void)snprintf(scale_name, NAME, "s_%s", y);
    (void)snprintf(zero_name, NAME, "z_%s", y);
    (void)snprintf(bytes, NAME, "q_%s", y);
    add_scalar(m, scale_name, scale);
    proto_tensor(&m->graph, 5, zero_name, SPRY_DTYPE_U8, 0, NULL, &zero, 1);
    (void)snprintf(inputs, sizeof inputs, "%s %s %s", x, scale_name, zero_name);
    proto_node(&m->graph, 1, "QuantizeLinear", inputs, bytes);
    (void)snprintf(inputs, sizeof inputs, "%s %s %s", bytes, scale_name, zero_name);
    proto_node(&m->graph, 1, "DequantizeLinear", inputs, y);
}

/* A convolution with a bias (of integers: without). */
static void add_conv(builder *m, const char *x, const char *y, const int64_t *shape, int64_t stride,
                     int64_t dilation, int64_t groups)
{
    float size = 1.5f / sqrtf((float)(shape[1] * shape[2] * shape[3]));
    char weights[NAME], bias[NAME], inputs[4 * NAME];
    proto attributes = {0};

    (void)snprintf(weights, NAME, "w_%s", y);
    (void)snprintf(bias, NAME, "b_%s", y);
    add_ints(&attributes, "strides", 2, stride);
    add_ints(&attributes, "dilations", 2, dilation);
    add_ints(&attributes, "pads", 4, shape[2] / 2 * dilation);
    proto_attribute_int(&attributes, "group", groups);
    if (m->b->is_quantised) {
        char codes[NAME], scale[NAME];

        (void)snprintf(codes, NAME, "c_%s", y);
        (void)snprintf(scale, NAME, "k_%s", y);
        add_codes(m, codes, shape);
        add_scalar(m, scale, size / 127.0f);
        proto_node(&m->graph, 1, "DequantizeLinear", both(codes, scale), weights);
        (void)snprintf(inputs, sizeof inputs, "%s %s", x, weights);
    } else {
        add_floats(m, weights, 4, shape, size);
        add_floats(m, bias, 1, shape, 0.2f);
        (void)snprintf(inputs, sizeof inputs, "%s %s %s", x, weights, bias);
    }
    proto_node_with(&m->graph, 1, "Conv", inputs, y, &attributes);
}

/* And Relu; rounded where all is. */
static void add_layer(builder *m, const char *x, const char *y, const int64_t *shape,
                      int64_t stride, int64_t dilation, int64_t groups)
{
    char plain[NAME], positive[NAME];

    (void)snprintf(plain, NAME, "p_%s", y);
    (void)snprintf(positive, NAME, "r_%s", y);
    add_conv(m, x, plain, shape, stride, dilation, groups);
    proto_node(&m->graph, 1, "Relu", plain, m->b->is_quantised ? positive : y);
    if (m->b->is_quantised) {
        add_rounding(m, positive, y, 0.02f, 0);
    }
}

static void add_mask(builder *m)
{
    const block *b = m->b;
    int64_t rows = out_size(b->height, b->stride);
    int64_t columns = out_size(b->width, b->stride);
    int64_t sizes[] = {b->batch, 1, rows, columns};
    bool is_repeated = b->patch > 1 && !b->has_whole_images;
    proto cast = {0};
    proto resize = {0};

    add_scalar(m, "nothing", 0.0f);
    proto_node(&m->graph, 1, "GreaterOrEqual", "keep nothing", "kept");
    proto_attribute_int(&cast, "to", 1);
    proto_node_with(&m->graph, 1, "Cast", "kept", is_repeated ? "cells" : "mask", &cast);
    if (is_repeated) {
        add_word(&resize, "mode", "nearest");
        add_word(&resize, "nearest_mode", "floor");
        add_word(&resize, "coordinate_transformation_mode", "asymmetric");
        proto_tensor(&m->graph, 5, "sizes", SPRY_DTYPE_I64, 1, (const int64_t[]){4}, sizes,
                     sizeof sizes);
        proto_tensor(&m->graph, 5, "none", SPRY_DTYPE_F32, 1, (const int64_t[]){0}, NULL, 0);
        proto_node_with(&m->graph, 1, "Resize", "cells none none sizes", "mask", &resize);
    }
}

static void add_block(builder *m)
{
    const block *b = m->b;
    int64_t c = b->channels;

    if (b->is_basic) {
        add_layer(m, "first", "middle", (const int64_t[]){b->inner, c, 3, 3}, b->stride, 1, 1);
        add_conv(m, "middle", "inside", (const int64_t[]){c, b->inner, 3, 3}, 1, 1, 1);
    } else {
        add_layer(m, "first", "narrow", (const int64_t[]){b->inner, c, 1, 1}, 1, 1, 1);
        add_layer(m, "narrow", "middle",
                  (const int64_t[]){b->inner, b->inner / b->groups, b->kernel, b->kernel},
                  b->stride, b->dilation, b->groups);
        add_conv(m, "middle", "inside", (const int64_t[]){c, b->inner, 1, 1}, 1, 1, 1);
    }
    if (b->has_no_mask) {
        add_rounding(m, "inside", "masked", 0.03f, 128);
    } else {
        proto_node(&m->graph, 1, "Mul", "inside mask", b->is_quantised ? "masked_f" : "masked");
    }
    if (b->is_quantised && !b->has_no_mask) {
        add_rounding(m, "masked_f", "masked", 0.03f, 128);
    }
    if (b->has_shortcut && b->stride == 1) {
        proto_node(&m->graph, 1, "Add", "masked first", "sum");
        proto_node(&m->graph, 1, "Relu", "sum", b->is_quantised ? "last_f" : "last");
    } else {
        proto_node(&m->graph, 1, "Relu", "masked", b->is_quantised ? "last_f" : "last");
    }
    if (b->is_quantised) {
        add_rounding(m, "last_f", "last", 0.035f, 0);
    }
}

static proto make_network(const block *b)
{
    builder m = {.b = b};
    proto file = {0};
    int64_t rows = out_size(b->height, b->stride);
    int64_t columns = out_size(b->width, b->stride);

    if (b->is_quantised) {
        add_rounding(&m, "x", "rounded", 0.01f, 128);
    }
    add_layer(&m, b->is_quantised ? "rounded" : "x", "first",
              (const int64_t[]){b->channels, 8, 1, 1}, 1, 1, 1);
    add_mask(&m);
    add_block(&m);
    add_conv(&m, "last", "y", (const int64_t[]){16, b->channels, 1, 1}, 1, 1, 1);
    proto_text(&m.graph, 2, "network");
    proto_value_info(&m.graph, 11, "x", SPRY_DTYPE_F32, 4,
                     (const int64_t[]){b->batch, 8, b->height, b->width});
    proto_value_info(
        &m.graph, 11, "keep", SPRY_DTYPE_F32, 4,
        (const int64_t[]){b->batch, 1, cells(rows, b->patch), cells(columns, b->patch)});
    proto_value_info(&m.graph, 12, "y", SPRY_DTYPE_F32, 4,
                     (const int64_t[]){b->batch, 16, rows, columns});
    if (b->shows_inside) {
        proto_value_info(&m.graph, 12, "inside", SPRY_DTYPE_F32, 4,
                         (const int64_t[]){b->batch, b->channels, rows, columns});
    }
    proto_model(&file, 8, 13, &m.graph);
    return file;
}

/* ---- running ---- */

static spry_value *random_value(const int64_t *shape, uint64_t stream, float low, float high)
{
    spry_random r = spry_random_stream(33, stream);
    spry_tensor *t = NULL;
    spry_value *v = NULL;

    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_F32, 4, shape, &t, NULL), SPRY_OK);
    spry_random_fill_uniform(&r, spry_tensor_data(t),
                             (size_t)(shape[0] * shape[1] * shape[2] * shape[3]), low, high);
    assert_int_equal(spry_value_from_tensor(NULL, t, &v, NULL), SPRY_OK);
    return v;
}

static double region_density(const spry_session *session)
{
    const spry_profile_row *rows;
    int32_t count = spry_session_profile(session, &rows);

    for (int32_t i = 0; i < count; i++) {
        if (strcmp(rows[i].type, "Region") == 0) {
            return rows[i].density;
        }
    }
    return -1.0;
}

/* Runs the network twice; the result of the second image. *density is -1 without a region. */
static spry_value *run(const block *b, float density, int threads, spry_precision precision,
                       double *measured)
{
    proto file = make_network(b);
    int64_t rows = cells(out_size(b->height, b->stride), b->patch);
    int64_t columns = cells(out_size(b->width, b->stride), b->patch);
    spry_session_options options = spry_session_options_default();
    const char *names[2] = {"x", "keep"};
    spry_model *model = NULL;
    spry_session *session = NULL;
    spry_value *out[2] = {NULL, NULL};
    spry_error error = {0};

    options.threads = threads;
    options.precision = precision;
    options.profile = true;
    assert_int_equal(spry_model_parse(NULL, file.data, file.size, NULL, &model, NULL), SPRY_OK);
    if (spry_session_create(model, &options, &session, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    for (uint64_t i = 0; i < 2; i++) {
        const int64_t x_shape[] = {b->batch, 8, b->height, b->width};
        const int64_t keep_shape[] = {b->batch, 1, rows, columns};
        spry_value *in[2] = {random_value(x_shape, i, -1.0f, 1.0f),
                             random_value(keep_shape, 10 + i, density - 1.0f, density)};

        spry_value_destroy(out[0]);
        spry_value_destroy(out[1]);
        if (spry_session_run(session, 2, names, (const spry_value *const *)in,
                             b->shows_inside ? 2 : 1, out, &error) != SPRY_OK) {
            fail_msg("%s: %s", error.where, error.what);
        }
        spry_value_destroy(in[0]);
        spry_value_destroy(in[1]);
    }
    *measured = region_density(session);
    spry_value_destroy(out[1]);
    spry_session_destroy(session);
    spry_model_destroy(model);
    proto_fini(&file);
    return out[0];
}

static void check_equal(const spry_value *a, const spry_value *b, double tolerance)
{
    size_t count = spry_tensor_bytes(spry_value_tensor(a)) / sizeof(float);
    const float *x = spry_tensor_const_data(spry_value_tensor(a));
    const float *y = spry_tensor_const_data(spry_value_tensor(b));
    double range = 0.0;

    for (size_t i = 0; i < count; i++) {
        range = fmax(range, fabs((double)y[i]));
    }
    for (size_t i = 0; i < count; i++) {
        double difference = fabs((double)x[i] - (double)y[i]);

        if (!(difference <= tolerance * range)) {
            fail_msg("number %zu is %g, not %g; range %g", i, (double)x[i], (double)y[i], range);
        }
    }
}

static spry_value *random_mask(const block *b, float density)
{
    const int64_t shape[] = {b->batch, 1, cells(out_size(b->height, b->stride), b->patch),
                             cells(out_size(b->width, b->stride), b->patch)};

    return random_value(shape, SECOND_MASK, density - 1.0f, density);
}

/* Results are `ones` where the mask is one, and `zeros` elsewhere. */
static void check_chosen(const block *b, float density, const spry_value *found,
                         const spry_value *ones, const spry_value *zeros)
{
    enum { RESULTS = 16 };
    int64_t height = out_size(b->height, b->stride);
    int64_t width = out_size(b->width, b->stride);
    int64_t columns = cells(width, b->patch);
    spry_value *keep = random_mask(b, density);
    const float *mask = spry_tensor_const_data(spry_value_tensor(keep));
    const float *y = spry_tensor_const_data(spry_value_tensor(found));
    const float *one = spry_tensor_const_data(spry_value_tensor(ones));
    const float *zero = spry_tensor_const_data(spry_value_tensor(zeros));

    for (int64_t i = 0; i < b->batch * RESULTS * height * width; i++) {
        int64_t image = i / (RESULTS * height * width);
        int64_t row = i / width % height * cells(height, b->patch) / height;
        int64_t column = i % width * columns / width;
        int64_t cell = (image * cells(height, b->patch) + row) * columns + column;

        if (y[i] != (mask[cell] >= 0.0f ? one[i] : zero[i])) {
            fail_msg("number %lld is %g: without a mask %g, without the block %g", (long long)i,
                     (double)y[i], (double)one[i], (double)zero[i]);
        }
    }
    spry_value_destroy(keep);
}

/* The region of integers against the network without a mask, the same where nothing is kept, and
 * against itself with other threads. */
static void check_integers(block b, float density)
{
    double measured, none;
    spry_value *found = run(&b, density, 1, SPRY_PRECISION_F32, &measured);
    spry_value *threaded = run(&b, density, 3, SPRY_PRECISION_F32, &measured);
    spry_value *ones;
    spry_value *zeros;

    b.has_no_mask = true;
    ones = run(&b, density, 1, SPRY_PRECISION_F32, &none);
    b.has_no_mask = false;
    b.shows_inside = true;
    zeros = run(&b, -1.0f, 1, SPRY_PRECISION_F32, &none);
    assert_true(measured >= 0.0 && measured <= 1.0 && none < 0.0);
    check_chosen(&b, density, found, ones, zeros);
    check_equal(threaded, found, 0.0);
    spry_value_destroy(found);
    spry_value_destroy(threaded);
    spry_value_destroy(ones);
    spry_value_destroy(zeros);
}

/* The region against all pixels, and against itself with other threads. */
static void check(block b, float density, spry_precision precision, double tolerance)
{
    double measured, none, again;
    spry_value *found;
    spry_value *threaded;
    spry_value *wanted;

    if (b.is_quantised) {
        check_integers(b, density);
        return;
    }
    found = run(&b, density, 1, precision, &measured);
    threaded = run(&b, density, 3, precision, &again);
    b.shows_inside = true;
    wanted = run(&b, density, 1, precision, &none);
    assert_true(measured >= 0.0 && measured <= 1.0 && none < 0.0);
    if (density <= 0.0f || density >= 1.0f) {
        assert_true(measured == (density <= 0.0f ? 0.0 : 1.0));
    }
    check_equal(found, wanted, tolerance);
    check_equal(threaded, found, 0.0);
    spry_value_destroy(found);
    spry_value_destroy(threaded);
    spry_value_destroy(wanted);
}

static const float densities[] = {-1.0f, 0.1f, 0.5f, 2.0f};

static const block bottleneck = {.batch = 2,
                                 .height = 28,
                                 .width = 28,
                                 .channels = 64,
                                 .inner = 32,
                                 .stride = 1,
                                 .patch = 4,
                                 .groups = 1,
                                 .kernel = 3,
                                 .dilation = 1,
                                 .has_shortcut = true};

static void check_patches(block b, spry_precision precision, double tolerance)
{
    static const int64_t patches[] = {1, 2, 3, 4, 7, 8, 14, 40};

    for (size_t i = 0; i < sizeof patches / sizeof *patches; i++) {
        b.patch = patches[i];
        check(b, densities[i % 4], precision, tolerance);
        check(b, 0.4f, precision, tolerance);
    }
}

static void check_geometry(block b, spry_precision precision, double tolerance)
{
    block other = b;

    other.stride = 2;
    check(other, 0.4f, precision, tolerance);
    other = b;
    other.groups = 4;
    check(other, 0.4f, precision, tolerance);
    other = b;
    other.kernel = 5;
    other.dilation = 2;
    other.height = 23;
    other.width = 17;
    check(other, 0.3f, precision, tolerance);
    other = b;
    other.has_shortcut = false;
    other.height = 9;
    other.width = 31;
    other.inner = 24;
    other.stride = 2;
    other.dilation = 2;
    check(other, 0.5f, precision, tolerance);
    other = b;
    other.height = other.width = 7;
    other.patch = 1;
    other.inner = 33;
    check(other, 0.9f, precision, tolerance);
    other = b;
    other.patch = 28;
    other.has_whole_images = true;
    check(other, 0.5f, precision, tolerance);
}

static void floats_equal_all_pixels_times_the_mask(void **state)
{
    block basic = bottleneck;

    (void)state;
    basic.is_basic = true;
    check_patches(bottleneck, SPRY_PRECISION_F32, 1e-5);
    check_geometry(bottleneck, SPRY_PRECISION_F32, 1e-5);
    check_patches(basic, SPRY_PRECISION_F32, 1e-5);
    check_geometry(basic, SPRY_PRECISION_F32, 1e-5);
}

/* Convolutions by Winograd's method or in bf16 are not chosen alike for all and for some pixels. */
static void bf16_is_near_all_pixels_times_the_mask(void **state)
{
    (void)state;
    check_patches(bottleneck, SPRY_PRECISION_BF16, 1e-2);
    check_geometry(bottleneck, SPRY_PRECISION_BF16, 1e-2);
}

static void integers_equal_the_network_without_a_mask_where_it_is_one(void **state)
{
    block quantised = bottleneck;

    (void)state;
    quantised.is_quantised = true;
    check_patches(quantised, SPRY_PRECISION_F32, 0.0);
    check_geometry(quantised, SPRY_PRECISION_F32, 0.0);
    quantised.is_basic = true;
    check_patches(quantised, SPRY_PRECISION_F32, 0.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_equal_all_pixels_times_the_mask),
        cmocka_unit_test(bf16_is_near_all_pixels_times_the_mask),
        cmocka_unit_test(integers_equal_the_network_without_a_mask_where_it_is_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
