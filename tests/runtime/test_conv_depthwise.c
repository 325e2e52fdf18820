/* Depthwise convolution of bytes: the provider, on planar and on channels-last images, against the
 * reference kernels of QLinearConv and ConvInteger. Results are the same bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/infer.h"
#include "ops/op.h"
#include "runtime/chain.h"
#include "runtime/execute.h"
#include "runtime/layout/layout.h"
#include "runtime/plan.h"
#include "support/net.h"
#include "support/sample.h"

enum { RANK = 4 };

static const op moved_op = {.name = "Moved",
                            .domain = LAYOUT_DOMAIN,
                            .min_inputs = 1,
                            .max_inputs = OP_VARIADIC,
                            .min_outputs = 1,
                            .max_outputs = 1,
                            .run = chain_refuse_to_run,
                            .cost = chain_cost};

typedef struct trial {
    spry_random r;
    bool is_sums; /* ConvInteger */
    spry_dtype x_dtype, w_dtype, y_dtype;
    int64_t x_shape[RANK], w_shape[RANK], y_shape[RANK];
    int64_t strides[2], dilations[2], pads[4];
    uint8_t *x, *w;
    int64_t x_count;
    float *w_scale;
    int32_t *bias;
    uint8_t x_zero, w_zero, y_zero;
} trial;

typedef enum way { REFERENCE, PLANAR, LAST } way;

static void *room(int64_t bytes)
{
    void *memory = malloc((size_t)bytes + 1);

    assert_non_null(memory);
    return memory;
}

/* The pixels of a planar image side by side, or (`back`) the other way. */
static void turn(const int64_t *shape, size_t size, bool back, const uint8_t *from, uint8_t *to)
{
    int64_t pixels = shape[2] * shape[3];

    for (int64_t i = 0; i < shape[0] * shape[1] * pixels; i++) {
        int64_t channel = i / pixels % shape[1];
        int64_t last = (i / pixels / shape[1] * pixels + i % pixels) * shape[1] + channel;

        memcpy(to + (size_t)(back ? i : last) * size, from + (size_t)(back ? last : i) * size,
               size);
    }
}

static void turn_shape(const int64_t *planar, int64_t *last)
{
    last[0] = planar[0];
    last[1] = planar[2];
    last[2] = planar[3];
    last[3] = planar[1];
}

static int32_t add_node(const trial *t, net *n)
{
    static const int64_t none[1] = {0};
    const float x_scale = 0.02f;
    const float y_scale = 0.5f;
    int32_t node;

    (void)net_constant(n, "w", t->w_dtype, RANK, t->w_shape, t->w);
    (void)net_constant(n, "xz", t->x_dtype, 0, none, &t->x_zero);
    (void)net_constant(n, "wz", t->w_dtype, 0, none, &t->w_zero);
    (void)net_constant(n, "yz", t->y_dtype, 0, none, &t->y_zero);
    (void)net_constant(n, "xs", SPRY_DTYPE_F32, 0, none, &x_scale);
    (void)net_constant(n, "ws", SPRY_DTYPE_F32, 1, t->w_shape, t->w_scale);
    (void)net_constant(n, "ys", SPRY_DTYPE_F32, 0, none, &y_scale);
    (void)net_constant(n, "b", SPRY_DTYPE_I32, 1, t->w_shape, t->bias);
    node = t->is_sums ? net_node(n, "ConvInteger", "x w xz wz", "y")
                      : net_node(n, "QLinearConv", "x xs xz w ws wz ys yz b", "y");
    assert_int_equal(graph_set_ints(n->g, node, "strides", 2, t->strides, NULL), SPRY_OK);
    assert_int_equal(graph_set_ints(n->g, node, "dilations", 2, t->dilations, NULL), SPRY_OK);
    assert_int_equal(graph_set_ints(n->g, node, "pads", 4, t->pads, NULL), SPRY_OK);
    assert_int_equal(graph_set_int(n->g, node, "group", t->x_shape[1], NULL), SPRY_OK);
    net_output(n, "y");
    return node;
}

static void execute(const net *n, way how, value *x, value *y)
{
    spry_session_options options = spry_session_options_default();
    spry_error error = {0};
    threads *team = NULL;
    arena scratch;
    arena text;
    plan *p = NULL;
    executor e = {.scratch = &scratch, .text = &text, .error = &error};
    const value *inputs[] = {x};
    value *outputs[] = {y};

    assert_int_equal(threads_create(NULL, 3, &team, NULL), SPRY_OK);
    e.team = team;
    arena_init(&scratch, NULL, SIZE_MAX);
    arena_init(&text, NULL, SIZE_MAX);
    if (plan_create(n->g, &options, team, how == REFERENCE, &p, &error) != SPRY_OK ||
        execute_plan(&e, p, NULL, inputs, 1, outputs, 1) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    if (how != REFERENCE) {
        assert_string_equal(p->steps[0].provider->name, "conv_depthwise");
    }
    plan_destroy(p);
    arena_fini(&text);
    arena_fini(&scratch);
    threads_destroy(team);
}

/* Makes the node one of a channels-last region. */
static void move(trial *t, net *n, int32_t node)
{
    graph_node *moved = &n->g->nodes[node];
    int64_t last[RANK];

    turn_shape(t->y_shape, last);
    moved->domain = LAYOUT_DOMAIN;
    moved->op = &moved_op;
    n->g->values[moved->outputs[0]].type = graph_type_tensor(t->y_dtype, RANK, last);
}

/* The result, planar; NULL when there is no such geometry. */
static uint8_t *run(trial *t, way how)
{
    size_t size = t->is_sums ? sizeof(int32_t) : 1;
    uint8_t *image = room(t->x_count);
    uint8_t *result = NULL;
    int64_t shape[RANK];
    int32_t node;
    value x;
    value y;
    net n;

    net_init(&n, 13);
    value_init(&x, NULL);
    value_init(&y, NULL);
    memcpy(shape, t->x_shape, sizeof shape);
    memcpy(image, t->x, (size_t)t->x_count);
    if (how == LAST) {
        turn_shape(t->x_shape, shape);
        turn(t->x_shape, 1, false, t->x, image);
    }
    (void)net_input(&n, "x", t->x_dtype, RANK, shape);
    node = add_node(t, &n);
    if (how == LAST) {
        assert_int_equal(graph_set_int(n.g, node, LAYOUT_ATTRIBUTE, 1, NULL), SPRY_OK);
        move(t, &n, node);
    }
    if (how == LAST || infer_graph(n.g, NULL) == SPRY_OK) {
        assert_int_equal(tensor_init(&x.tensor, t->x_dtype, RANK, shape, image, NULL), SPRY_OK);
        x.kind = SPRY_VALUE_TENSOR;
        x.dtype = t->x_dtype;
        execute(&n, how, &x, &y);
        if (how != LAST) {
            memcpy(t->y_shape, y.tensor.shape, sizeof t->y_shape);
        }
        result = room(tensor_count(&y.tensor) * (int64_t)size);
        if (how == LAST) {
            turn(t->y_shape, size, true, y.tensor.data, result);
        } else {
            memcpy(result, y.tensor.data, (size_t)tensor_count(&y.tensor) * size);
        }
    }
    value_fini(&y);
    net_fini(&n);
    free(image);
    return result;
}

static void make_trial(trial *t, uint64_t stream)
{
    int64_t channels;
    int64_t filters;
    int64_t taps;

    *t = (trial){.r = spry_random_stream(71, stream), .is_sums = stream % 4 == 0};
    t->x_dtype = stream % 2 == 0 ? SPRY_DTYPE_U8 : SPRY_DTYPE_I8;
    t->w_dtype = stream % 3 == 0 ? SPRY_DTYPE_U8 : SPRY_DTYPE_I8;
    t->y_dtype = t->is_sums ? SPRY_DTYPE_I32 : t->x_dtype;
    channels = sample_integer(&t->r, 2, 70);
    filters = channels * (stream % 5 == 0 ? 2 : 1);
    memcpy(t->x_shape,
           (int64_t[]){sample_integer(&t->r, 1, 2), channels, sample_integer(&t->r, 1, 16),
                       sample_integer(&t->r, 1, 16)},
           sizeof t->x_shape);
    memcpy(t->w_shape,
           (int64_t[]){filters, 1, sample_integer(&t->r, 1, 5), sample_integer(&t->r, 1, 5)},
           sizeof t->w_shape);
    for (int i = 0; i < 2; i++) {
        t->strides[i] = sample_integer(&t->r, 1, 2);
        t->dilations[i] = sample_integer(&t->r, 0, 3) == 0 ? 2 : 1;
        t->pads[i] = sample_integer(&t->r, 0, 3);
        t->pads[2 + i] = sample_integer(&t->r, 0, 3);
    }
    t->x_count = t->x_shape[0] * channels * t->x_shape[2] * t->x_shape[3];
    taps = filters * t->w_shape[2] * t->w_shape[3];
    t->x = room(t->x_count);
    t->w = room(taps);
    t->bias = room(filters * (int64_t)sizeof *t->bias);
    t->w_scale = room(filters * (int64_t)sizeof *t->w_scale);
    sample_u8(&t->r, t->x, (size_t)t->x_count);
    sample_u8(&t->r, t->w, (size_t)taps);
    for (int64_t c = 0; c < filters; c++) {
        t->bias[c] = (int32_t)sample_integer(&t->r, -9000, 9000);
        t->w_scale[c] = (float)sample_integer(&t->r, 1, 90) * 1e-3f;
    }
    t->x_zero = (uint8_t)sample_integer(&t->r, 0, 255);
    t->y_zero = (uint8_t)sample_integer(&t->r, 0, 255);
    t->w_zero = t->w_dtype == SPRY_DTYPE_U8 ? 128 : stream % 7 == 0 ? 19 : 0;
}

static void test_against_reference(void **state)
{
    (void)state;
    for (uint64_t stream = 0; stream < 150; stream++) {
        uint8_t *wanted;
        trial t;

        make_trial(&t, stream);
        wanted = run(&t, REFERENCE);
        if (wanted != NULL) {
            uint8_t *planar = run(&t, PLANAR);
            uint8_t *last = run(&t, LAST);
            size_t bytes = (size_t)(t.y_shape[0] * t.y_shape[1] * t.y_shape[2] * t.y_shape[3]) *
                           (t.is_sums ? sizeof(int32_t) : 1);

            assert_memory_equal(planar, wanted, bytes);
            assert_memory_equal(last, wanted, bytes);
            free(planar);
            free(last);
        }
        free(wanted);
        free(t.x);
        free(t.w);
        free(t.bias);
        free(t.w_scale);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_reference)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
