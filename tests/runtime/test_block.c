/* Blocks of layers against layers that run one by one: the same bits, for random chains of
 * convolutions, pools and sums of f32, bf16 and bytes, strips, and numbers of threads; whole
 * results are compared. And what cannot be a block is refused. */
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

enum {
    MOST_SIDE = 40,
    MOST_CHANNELS = 48,
    MOST_BATCH = 2,
    MOST_IMAGES = 12,
    MOST_THREADS = 4,
    MOST_STRIP = 8,
    NETWORKS = 20, /* of a type */
    ONE_OF = 4     /* blocks of a network */
};

typedef enum family { FLOATS, NARROW_FLOATS, UNSIGNED_BYTES, SIGNED_BYTES, FAMILIES } family;

typedef struct image {
    char name[16];
    int64_t channels, height, width;
} image;

/* A network as it is being written. */
typedef struct maker {
    proto graph;
    spry_random r;
    family kind;
    int64_t batch;
    image images[MOST_IMAGES];
    int image_count;
    int constants;
} maker;

static int64_t between(maker *m, int64_t low, int64_t high)
{
    return low + (int64_t)spry_random_below(&m->r, (uint64_t)(high - low + 1));
}

static bool is_bytes(const maker *m)
{
    return m->kind == UNSIGNED_BYTES || m->kind == SIGNED_BYTES;
}

static spry_dtype image_dtype(const maker *m)
{
    return m->kind == UNSIGNED_BYTES ? SPRY_DTYPE_U8
           : m->kind == SIGNED_BYTES ? SPRY_DTYPE_I8
                                     : SPRY_DTYPE_F32;
}

static int64_t count_of(int rank, const int64_t *shape)
{
    int64_t count = 1;

    for (int i = 0; i < rank; i++) {
        count *= shape[i];
    }
    return count;
}

/* ---- constants; `name` receives theirs ---- */

static void add_constant(maker *m, spry_dtype dtype, int rank, const int64_t *shape,
                         const void *data, size_t bytes, char name[16])
{
    (void)snprintf(name, 16, "c%d", m->constants++);
    proto_tensor(&m->graph, 5, name, dtype, rank, shape, data, bytes);
}

static void add_floats(maker *m, int rank, const int64_t *shape, char name[16])
{
    size_t count = (size_t)count_of(rank, shape);
    float *values = malloc(count * sizeof *values);

    assert_non_null(values);
    spry_random_fill_uniform(&m->r, values, count, -0.4f, 0.5f);
    add_constant(m, SPRY_DTYPE_F32, rank, shape, values, count * sizeof *values, name);
    free(values);
}

static void add_bytes(maker *m, int rank, const int64_t *shape, char name[16])
{
    size_t count = (size_t)count_of(rank, shape);
    int8_t *values = malloc(count);

    assert_non_null(values);
    for (size_t i = 0; i < count; i++) {
        values[i] = (int8_t)between(m, -127, 127);
    }
    add_constant(m, SPRY_DTYPE_I8, rank, shape, values, count, name);
    free(values);
}

/* All images of bytes have the same scale and zero point. */
static const char *grid_of(const maker *m)
{
    return m->kind == UNSIGNED_BYTES ? "scale zero_u" : "scale zero_s";
}

/* ---- layers ---- */

static void add_ints(proto *attributes, const char *name, int count, const int64_t *numbers)
{
    enum { INTS = 7 };
    proto attribute = {0};

    proto_text(&attribute, 1, name);
    for (int i = 0; i < count; i++) {
        proto_int(&attribute, 8, (uint64_t)numbers[i]);
    }
    proto_int(&attribute, 20, INTS);
    proto_message(attributes, 5, &attribute);
}

static image *next_image(maker *m)
{
    image *to = &m->images[m->image_count];

    (void)snprintf(to->name, sizeof to->name, "i%d", m->image_count++);
    return to;
}

typedef struct frame {
    int64_t kernel[2], stride[2], dilation[2], pads[4], out[2];
} frame;

/* Draws strides, dilations and pads of a window; false where it does not fit the image. */
static bool draw_frame(maker *m, const image *from, int64_t size, bool is_pool, frame *f)
{
    const int64_t in[2] = {from->height, from->width};

    for (int i = 0; i < 2; i++) {
        int64_t reach;
        int64_t most;

        f->kernel[i] = between(m, 0, 7) == 0 ? 1 : size;
        f->stride[i] = between(m, 0, 2) == 0 ? 2 : 1;
        f->dilation[i] = !is_pool && between(m, 0, 3) == 0 ? 2 : 1;
        reach = (f->kernel[i] - 1) * f->dilation[i] + 1;
        most = is_pool ? f->kernel[i] / 2 : reach / 2;
        f->pads[i] = between(m, 0, 3) == 0 ? between(m, 0, most) : most;
        f->pads[i + 2] = between(m, 0, 3) == 0 ? between(m, 0, most) : most;
        f->out[i] = (in[i] + f->pads[i] + f->pads[i + 2] - reach) / f->stride[i] + 1;
        if (in[i] + f->pads[i] + f->pads[i + 2] < reach ||
            (is_pool && (f->out[i] - 1) * f->stride[i] - f->pads[i] >= in[i])) {
            return false;
        }
    }
    return true;
}

static proto attributes_of(const frame *f, bool is_pool)
{
    proto attributes = {0};

    add_ints(&attributes, "kernel_shape", 2, f->kernel);
    add_ints(&attributes, "strides", 2, f->stride);
    add_ints(&attributes, "pads", 4, f->pads);
    if (!is_pool) {
        add_ints(&attributes, "dilations", 2, f->dilation);
    }
    return attributes;
}

/* Relu, Clip or nothing. */
static void add_activation(maker *m, const char *from, const char *to)
{
    static const char *const types[] = {"Identity", "Relu", "Clip"};
    int64_t kind = between(m, 0, 2);
    char inputs[32];

    (void)snprintf(inputs, sizeof inputs, kind == 2 ? "%s nought six" : "%s", from);
    proto_node(&m->graph, 1, types[kind], inputs, to);
}

static void add_conv(maker *m, int64_t size, bool is_depthwise)
{
    const image from = m->images[m->image_count - 1];
    int64_t filters = is_depthwise ? from.channels : between(m, 1, MOST_CHANNELS);
    proto attributes;
    char weights[16], bias[16], inputs[96], made[24];
    image *to;
    frame f;

    if (!draw_frame(m, &from, size, false, &f)) {
        return;
    }
    to = next_image(m);
    to->channels = filters;
    to->height = f.out[0];
    to->width = f.out[1];
    attributes = attributes_of(&f, false);
    proto_attribute_int(&attributes, "group", is_depthwise ? filters : 1);
    if (is_bytes(m)) {
        add_bytes(
            m, 4,
            (const int64_t[]){filters, is_depthwise ? 1 : from.channels, f.kernel[0], f.kernel[1]},
            weights);
        (void)snprintf(inputs, sizeof inputs, "%s %s %s %s zero_s0 %s", from.name, grid_of(m),
                       weights, is_depthwise ? "w_scale_3" : "w_scale", grid_of(m));
        proto_node_with(&m->graph, 1, "QLinearConv", inputs, to->name, &attributes);
        return;
    }
    add_floats(
        m, 4,
        (const int64_t[]){filters, is_depthwise ? 1 : from.channels, f.kernel[0], f.kernel[1]},
        weights);
    add_floats(m, 1, &filters, bias);
    (void)snprintf(inputs, sizeof inputs, "%s %s %s", from.name, weights, bias);
    (void)snprintf(made, sizeof made, "%s_sum", to->name);
    proto_node_with(&m->graph, 1, "Conv", inputs, made, &attributes);
    add_activation(m, made, to->name);
}

static void add_pool(maker *m)
{
    const image from = m->images[m->image_count - 1];
    bool is_average = !is_bytes(m) && between(m, 0, 1) == 0;
    proto attributes;
    image *to;
    frame f;

    if (!draw_frame(m, &from, between(m, 2, 3), true, &f)) {
        return;
    }
    to = next_image(m);
    *to = (image){.channels = from.channels, .height = f.out[0], .width = f.out[1]};
    (void)snprintf(to->name, sizeof to->name, "i%d", m->image_count - 1);
    attributes = attributes_of(&f, true);
    if (is_average) {
        proto_attribute_int(&attributes, "count_include_pad", between(m, 0, 1));
    }
    proto_node_with(&m->graph, 1, is_average ? "AveragePool" : "MaxPool", from.name, to->name,
                    &attributes);
}

/* Numbers behind bytes are added, and become bytes again: one operator in a plan. */
static void add_quantized_sum(maker *m, const char *a, const char *b, const char *to)
{
    char inputs[64], x[32], y[32], z[32];

    (void)snprintf(x, sizeof x, "%s_a", to);
    (void)snprintf(y, sizeof y, "%s_b", to);
    (void)snprintf(z, sizeof z, "%s_c", to);
    (void)snprintf(inputs, sizeof inputs, "%s %s", a, grid_of(m));
    proto_node(&m->graph, 1, "DequantizeLinear", inputs, x);
    (void)snprintf(inputs, sizeof inputs, "%s %s", b, grid_of(m));
    proto_node(&m->graph, 1, "DequantizeLinear", inputs, y);
    (void)snprintf(inputs, sizeof inputs, "%s %s", x, y);
    proto_node(&m->graph, 1, "Add", inputs, z);
    (void)snprintf(inputs, sizeof inputs, "%s %s", z, grid_of(m));
    proto_node(&m->graph, 1, "QuantizeLinear", inputs, to);
}

/* A convolution by single pixels, and the sum of its result and an image before it of that size. */
static void add_sum(maker *m)
{
    const image from = m->images[m->image_count - 1];
    int64_t first = between(m, 0, m->image_count - 1);
    const image other = m->images[first];
    int64_t shape[4] = {other.channels, from.channels, 1, 1};
    char weights[16], inputs[96], made[24];
    image *to;

    if (other.height != from.height || other.width != from.width) {
        return;
    }
    to = next_image(m);
    to->channels = other.channels;
    to->height = from.height;
    to->width = from.width;
    (void)snprintf(made, sizeof made, "%s_conv", to->name);
    if (is_bytes(m)) {
        add_bytes(m, 4, shape, weights);
        (void)snprintf(inputs, sizeof inputs, "%s %s %s w_scale zero_s0 %s", from.name, grid_of(m),
                       weights, grid_of(m));
        proto_node(&m->graph, 1, "QLinearConv", inputs, made);
        add_quantized_sum(m, made, other.name, to->name);
        return;
    }
    add_floats(m, 4, shape, weights);
    (void)snprintf(inputs, sizeof inputs, "%s %s", from.name, weights);
    proto_node(&m->graph, 1, "Conv", inputs, made);
    (void)snprintf(inputs, sizeof inputs, "%s %s", made, other.name);
    (void)snprintf(made, sizeof made, "%s_sum", to->name);
    proto_node(&m->graph, 1, "Add", inputs, made);
    add_activation(m, made, to->name);
}

static void add_layer(maker *m)
{
    switch (between(m, 0, 7)) {
    case 0:
    case 1: add_conv(m, 1, false); break;
    case 2: add_conv(m, 3, false); break;
    case 3: add_conv(m, 5, false); break;
    case 4: add_conv(m, 3, true); break;
    case 5: add_conv(m, 5, true); break;
    case 6: add_pool(m); break;
    default: add_sum(m);
    }
}

static void add_grids(maker *m)
{
    const float numbers[] = {0.0f, 6.0f, 0.05f, 0.002f, 0.02f};
    static const char *const names[] = {"nought", "six", "scale", "w_scale", "w_scale_3"};
    static const int8_t zeros[] = {117, -9, 0};
    static const char *const zero_names[] = {"zero_u", "zero_s", "zero_s0"};

    for (int i = 0; i < 5; i++) {
        proto_tensor(&m->graph, 5, names[i], SPRY_DTYPE_F32, 0, NULL, &numbers[i], sizeof(float));
    }
    for (int i = 0; i < 3; i++) {
        proto_tensor(&m->graph, 5, zero_names[i], i == 0 ? SPRY_DTYPE_U8 : SPRY_DTYPE_I8, 0, NULL,
                     &zeros[i], 1);
    }
}

/* A network of several layers; its images are listed in `m`. */
static proto make_network(uint64_t stream, family kind, maker *m)
{
    proto file = {0};
    image *x;
    const image *y;
    int64_t layers;
    char inputs[64];

    *m = (maker){.r = spry_random_stream(77, stream * FAMILIES + kind), .kind = kind};
    m->batch = between(m, 1, MOST_BATCH);
    add_grids(m);
    x = next_image(m);
    x->channels = between(m, 1, MOST_CHANNELS);
    x->height = between(m, 1, MOST_SIDE);
    x->width = between(m, 1, MOST_SIDE);
    if (is_bytes(m)) {
        (void)snprintf(inputs, sizeof inputs, "x %s", grid_of(m));
        proto_node(&m->graph, 1, "QuantizeLinear", inputs, x->name);
    } else {
        proto_node(&m->graph, 1, "Identity", "x", x->name);
    }
    layers = between(m, 4, MOST_IMAGES - 2);
    for (int64_t i = 0; i < layers; i++) {
        add_layer(m);
    }
    y = &m->images[m->image_count - 1];
    proto_node(&m->graph, 1, "Identity", y->name, "y");
    proto_text(&m->graph, 2, "network");
    proto_value_info(&m->graph, 11, "x", SPRY_DTYPE_F32, 4,
                     (const int64_t[]){m->batch, m->images[0].channels, m->images[0].height,
                                       m->images[0].width});
    proto_value_info(&m->graph, 12, "y", image_dtype(m), 4,
                     (const int64_t[]){m->batch, y->channels, y->height, y->width});
    proto_model(&file, 8, 13, &m->graph);
    return file;
}

/* ---- running ---- */

static spry_session *open_session(const spry_model *model, family kind, int threads,
                                  const spry_blocks *blocks)
{
    spry_session_options options = spry_session_options_default();
    spry_session *session = NULL;
    spry_error error = {0};

    options.threads = threads;
    options.blocks = blocks;
    options.profile = true;
    options.precision = kind == NARROW_FLOATS ? SPRY_PRECISION_BF16 : SPRY_PRECISION_F32;
    if (spry_session_create(model, &options, &session, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    return session;
}

static spry_value *run(spry_session *session, const maker *m)
{
    const int64_t shape[4] = {m->batch, m->images[0].channels, m->images[0].height,
                              m->images[0].width};
    spry_random r = spry_random_stream(78, 1);
    const char *name = "x";
    spry_tensor *t = NULL;
    spry_value *in = NULL;
    spry_value *out = NULL;
    spry_error error = {0};

    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_F32, 4, shape, &t, NULL), SPRY_OK);
    spry_random_fill_uniform(&r, spry_tensor_data(t), (size_t)count_of(4, shape), -3.0f, 3.0f);
    assert_int_equal(spry_value_from_tensor(NULL, t, &in, NULL), SPRY_OK);
    if (spry_session_run(session, 1, &name, (const spry_value *const *)&in, 1, &out, &error) !=
        SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    spry_value_destroy(in);
    return out;
}

static bool is_same(const spry_value *a, const spry_value *b)
{
    const spry_tensor *x = spry_value_tensor(a);
    const spry_tensor *y = spry_value_tensor(b);

    return spry_tensor_bytes(x) == spry_tensor_bytes(y) &&
           memcmp(spry_tensor_const_data(x), spry_tensor_const_data(y), spry_tensor_bytes(x)) == 0;
}

static bool reads(const spry_layer *l, int32_t other)
{
    bool any = false;

    for (int32_t i = 0; i < l->input_count; i++) {
        any = any || l->inputs[i] == other;
    }
    return any;
}

/* Are layers [first, last] a block: do those before the last make what is read inside alone? */
static bool can_be_block(const spry_layer *layers, int32_t first, int32_t last)
{
    for (int32_t i = first; i <= last; i++) {
        int32_t readers = 0;

        for (int32_t k = i + 1; k <= last; k++) {
            readers += reads(&layers[k], i);
        }
        if (!layers[i].can_stream ||
            (i < last && (layers[i].is_output || readers != layers[i].readers))) {
            return false;
        }
    }
    return true;
}

/* Rows of blocks say that nothing went to memory. */
static void check_profile(const spry_session *session)
{
    const spry_profile_row *rows;
    int32_t count = spry_session_profile(session, &rows);
    int blocks = 0;

    for (int32_t i = 0; i < count; i++) {
        if (strcmp(rows[i].type, "Block") == 0) {
            blocks++;
            assert_int_equal(rows[i].block_outside, 0);
            assert_true(rows[i].block_images > 0 && rows[i].block_windows > 0);
            assert_true(rows[i].block_redundancy >= 0.999);
        } else {
            assert_int_equal(rows[i].block_images, -1);
        }
    }
    assert_int_equal(blocks, 1);
}

/* All blocks of two to six layers of one network; returns how many there are. */
static int check_network(const spry_model *model, maker *m)
{
    static const spry_blocks none = {NULL, 0};
    spry_session *plain = open_session(model, m->kind, (int)between(m, 1, MOST_THREADS), &none);
    spry_value *expected = run(plain, m);
    const spry_layer *layers = NULL;
    int32_t count = 0;
    int blocks = 0;

    assert_int_equal(spry_session_layers(plain, &layers, &count, NULL), SPRY_OK);
    for (int32_t first = 0; first < count; first++) {
        for (int32_t last = first + 1; last < count && last < first + 6; last++) {
            const char *names[6];
            spry_block block = {.layers = names,
                                .layer_count = last - first + 1,
                                .threads = (int32_t)between(m, 0, MOST_THREADS),
                                .strip = (int32_t)between(m, 0, MOST_STRIP)};
            const spry_blocks all = {&block, 1};
            spry_session *session;
            spry_value *found;

            if (between(m, 1, ONE_OF) != 1 || !can_be_block(layers, first, last)) {
                continue;
            }
            for (int32_t i = first; i <= last; i++) {
                names[i - first] = layers[i].name;
            }
            session = open_session(model, m->kind, (int)between(m, 1, MOST_THREADS), &all);
            for (int again = 0; again < 2; again++) {
                found = run(session, m);
                if (!is_same(expected, found)) {
                    fail_msg("layers %d to %d (%s to %s), strips of %d: results differ", first,
                             last, names[0], names[last - first], block.strip);
                }
                spry_value_destroy(found);
            }
            check_profile(session);
            spry_session_destroy(session);
            blocks++;
        }
    }
    spry_value_destroy(expected);
    spry_session_destroy(plain);
    return blocks;
}

static void check_family(family kind)
{
    int blocks = 0;

    for (uint64_t stream = 0; stream < NETWORKS; stream++) {
        maker m;
        proto file = make_network(stream, kind, &m);
        spry_model *model = NULL;
        spry_error error = {0};

        if (spry_model_parse(NULL, file.data, file.size, NULL, &model, &error) != SPRY_OK) {
            fail_msg("%s: %s", error.where, error.what);
        }
        blocks += check_network(model, &m);
        spry_model_destroy(model);
        proto_fini(&file);
    }
    printf("%d blocks\n", blocks);
    assert_true(blocks >= NETWORKS / 2);
}

static void floats_have_the_same_bits(void **state)
{
    (void)state;
    check_family(FLOATS);
}

static void narrow_floats_have_the_same_bits(void **state)
{
    (void)state;
    check_family(NARROW_FLOATS);
}

static void bytes_are_the_same(void **state)
{
    (void)state;
    check_family(UNSIGNED_BYTES);
}

static void signed_bytes_are_the_same(void **state)
{
    (void)state;
    check_family(SIGNED_BYTES);
}

/* ---- what is refused ---- */

/* Runs with one block of these layers, and wants it refused for that layer. */
static void check_refused(const spry_model *model, const maker *m, spry_block block,
                          const char *layer)
{
    const spry_blocks blocks = {&block, 1};
    spry_session *session = open_session(model, m->kind, 1, &blocks);
    const int64_t shape[4] = {m->batch, m->images[0].channels, m->images[0].height,
                              m->images[0].width};
    const char *name = "x";
    spry_tensor *t = NULL;
    spry_value *in = NULL;
    spry_value *out = NULL;
    spry_error error = {0};

    assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_F32, 4, shape, &t, NULL), SPRY_OK);
    memset(spry_tensor_data(t), 0, spry_tensor_bytes(t));
    assert_int_equal(spry_value_from_tensor(NULL, t, &in, NULL), SPRY_OK);
    assert_int_equal(
        spry_session_run(session, 1, &name, (const spry_value *const *)&in, 1, &out, &error),
        SPRY_USAGE);
    assert_string_equal(error.where, layer);
    assert_null(out);
    spry_value_destroy(in);
    spry_session_destroy(session);
}

/* Three convolutions by single pixels, of which a sum reads the first again. */
static proto make_fork(maker *m)
{
    proto file = {0};

    *m = (maker){.r = spry_random_stream(79, 0), .batch = 1};
    m->images[0] = (image){.channels = 16, .height = 20, .width = 20};
    for (int i = 0; i < 4; i++) {
        static const char *const images[] = {"x", "a0", "a1", "a2", "a3"};
        char weights[16], inputs[32];

        add_floats(m, 4, (const int64_t[]){16, 16, 1, 1}, weights);
        (void)snprintf(inputs, sizeof inputs, "%s %s", images[i], weights);
        proto_node(&m->graph, 1, "Conv", inputs, images[i + 1]);
    }
    proto_node(&m->graph, 1, "Add", "a3 a1", "y");
    proto_text(&m->graph, 2, "fork");
    proto_value_info(&m->graph, 11, "x", SPRY_DTYPE_F32, 4, (const int64_t[]){1, 16, 20, 20});
    proto_value_info(&m->graph, 12, "y", SPRY_DTYPE_F32, 4, (const int64_t[]){1, 16, 20, 20});
    proto_model(&file, 8, 13, &m->graph);
    return file;
}

static void wrong_blocks_are_refused(void **state)
{
    static const char *const fork[] = {"a1", "a2"};
    static const char *const unknown[] = {"a1", "nothing"};
    static const char *const twice[] = {"a1", "a1"};
    static const char *const reversed[] = {"a2", "a1"};
    maker m;
    proto file = make_fork(&m);
    spry_model *model = NULL;

    (void)state;
    assert_int_equal(spry_model_parse(NULL, file.data, file.size, NULL, &model, NULL), SPRY_OK);
    check_refused(model, &m, (spry_block){.layers = fork, .layer_count = 2}, "a1");
    check_refused(model, &m, (spry_block){.layers = unknown, .layer_count = 2}, "nothing");
    check_refused(model, &m, (spry_block){.layers = twice, .layer_count = 2}, "a1");
    check_refused(model, &m, (spry_block){.layers = reversed, .layer_count = 2}, "a2");
    check_refused(model, &m, (spry_block){.layers = fork, .layer_count = 0}, "blocks");
    check_refused(model, &m, (spry_block){.layers = fork, .layer_count = 2, .strip = -1}, "blocks");
    spry_model_destroy(model);
    proto_fini(&file);
}

/* A layer by itself may have fewer threads than the session. */
static void threads_of_a_layer(void **state)
{
    static const char *const names[] = {"a2"};
    const spry_block block = {.layers = names, .layer_count = 1, .threads = 1};
    const spry_blocks blocks = {&block, 1};
    static const spry_blocks none = {NULL, 0};
    maker m;
    proto file = make_fork(&m);
    spry_model *model = NULL;
    spry_session *plain, *limited;
    spry_value *expected, *found;
    const spry_profile_row *rows;

    (void)state;
    assert_int_equal(spry_model_parse(NULL, file.data, file.size, NULL, &model, NULL), SPRY_OK);
    plain = open_session(model, FLOATS, 2, &none);
    limited = open_session(model, FLOATS, 2, &blocks);
    expected = run(plain, &m);
    found = run(limited, &m);
    assert_true(is_same(expected, found));
    assert_true(spry_session_profile(limited, &rows) > 2);
    assert_int_equal(rows[2].threads, 1);
    spry_value_destroy(expected);
    spry_value_destroy(found);
    spry_session_destroy(plain);
    spry_session_destroy(limited);
    spry_model_destroy(model);
    proto_fini(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_have_the_same_bits),
        cmocka_unit_test(narrow_floats_have_the_same_bits),
        cmocka_unit_test(bytes_are_the_same),
        cmocka_unit_test(signed_bytes_are_the_same),
        cmocka_unit_test(wrong_blocks_are_refused),
        cmocka_unit_test(threads_of_a_layer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
