/* The function TwinQuantize: as one operator and as its body of standard operators, read from a
 * file; a function of that name that says something else is expanded. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/model.h"
#include "model/twin_function.h"
#include "ops/op.h"
#include "ops/twin.h"
#include "spry/spry.h"
#include "support/data.h"
#include "support/proto.h"
#include "tensor/quantize.h"

enum { COUNT = 1000 };

static const float *numbers(void)
{
    static float x[COUNT];
    spry_random r = spry_random_stream(21, 0);

    for (int i = 0; i < COUNT; i++) {
        x[i] = (3.0f * spry_random_f32(&r) - 1.0f) * ldexpf(1.0f, -(i % 17));
    }
    return x;
}

/* The model reads from `file` as long as it lives. */
static spry_model *parse(proto *file)
{
    proto body = {0};
    spry_model *m = NULL;

    proto_node(&body, 1, "Identity", "x", "y");
    proto_value_info(&body, 11, "x", SPRY_DTYPE_F32, 1, (const int64_t[]){COUNT});
    proto_value_info(&body, 12, "y", SPRY_DTYPE_F32, 1, (const int64_t[]){COUNT});
    proto_model(file, 7, 13, &body);
    assert_int_equal(spry_model_parse(NULL, file->data, file->size, NULL, &m, NULL), SPRY_OK);
    return m;
}

/* Makes a node TwinQuantize, and adds the function. */
static void become_twin(spry_model *m, int32_t node, twin_grid grid)
{
    graph *g = m->main;
    graph_node *n = &g->nodes[node];

    n->type = TWIN_OP;
    n->domain = TWIN_DOMAIN;
    n->opset = 1;
    n->op = op_find(TWIN_DOMAIN, TWIN_OP, 1);
    assert_int_equal(graph_set_int(g, node, TWIN_KIND, grid.kind, NULL), SPRY_OK);
    assert_int_equal(graph_set_int(g, node, TWIN_BITS, grid.bits, NULL), SPRY_OK);
    assert_int_equal(graph_set_float(g, node, TWIN_D1, grid.d1, NULL), SPRY_OK);
    assert_int_equal(graph_set_float(g, node, TWIN_D2, grid.d2, NULL), SPRY_OK);
    assert_int_equal(twin_function_add(m, 13, NULL), SPRY_OK);
}

/* y = T(x). */
static spry_model *make_model(twin_grid grid, proto *file)
{
    spry_model *m = parse(file);

    become_twin(m, 0, grid);
    assert_int_equal(twin_function_add(m, 13, NULL), SPRY_OK); /* once is enough */
    assert_int_equal(m->function_count, 1);
    assert_true(m->ir_version >= 8);
    return m;
}

/* Runs the model; returns how many operators ran. */
static int32_t run(spry_model *m, bool keep_order, float *y)
{
    const char *name = "x";
    spry_session_options options = spry_session_options_default();
    spry_session *session = NULL;
    spry_tensor *t = NULL;
    spry_value *in = NULL;
    spry_value *out = NULL;
    const spry_profile_row *profile;
    int32_t rows;

    options.keep_order = keep_order;
    options.profile = true;
    assert_int_equal(
        spry_tensor_create(NULL, SPRY_DTYPE_F32, 1, (const int64_t[]){COUNT}, &t, NULL), SPRY_OK);
    memcpy(spry_tensor_data(t), numbers(), COUNT * sizeof(float));
    assert_int_equal(spry_value_from_tensor(NULL, t, &in, NULL), SPRY_OK);
    assert_int_equal(spry_session_create(m, &options, &session, NULL), SPRY_OK);
    assert_int_equal(
        spry_session_run(session, 1, &name, (const spry_value *const *)&in, 1, &out, NULL),
        SPRY_OK);
    memcpy(y, spry_tensor_const_data(spry_value_tensor(out)), COUNT * sizeof(float));
    rows = spry_session_profile(session, &profile);
    spry_value_destroy(out);
    spry_value_destroy(in);
    spry_session_destroy(session);
    return rows;
}

static void check_grid(twin_grid grid)
{
    char path[512];
    char folder[256];
    proto file = {0};
    spry_model *made = make_model(grid, &file);
    spry_model *m = NULL;
    twin_terms t = twin_terms_of(grid);
    float whole[COUNT];
    float body[COUNT];

    (void)snprintf(folder, sizeof folder, "%s", data_make_folder());
    (void)snprintf(path, sizeof path, "%s/twin.onnx", folder);
    assert_int_equal(spry_model_save(made, path, NULL), SPRY_OK);
    assert_int_equal(spry_model_load(NULL, path, &m, NULL), SPRY_OK);
    assert_int_equal(run(m, false, whole), 1);
    assert_true(run(m, true, body) > 10);
    for (int i = 0; i < COUNT; i++) {
        assert_true(whole[i] == body[i]);
        assert_true(whole[i] == twin_round(numbers()[i], t));
    }
    spry_model_destroy(m);
    spry_model_destroy(made);
    proto_fini(&file);
    data_remove_folder(folder);
}

static void test_body(void **state)
{
    (void)state;
    for (int bits = 2; bits <= 8; bits++) {
        float top = (float)twin_top(bits);

        check_grid((twin_grid){TWIN_POSITIVE, bits, ldexpf(1.0f / top, -3), 1.0f / top});
        check_grid((twin_grid){TWIN_SIGNED, bits, 0.169971f / top, 0.031f});
    }
}

/* Another body under the same name is run as it is written. */
static void test_impostor(void **state)
{
    proto file = {0};
    spry_model *m = make_model((twin_grid){TWIN_POSITIVE, 8, 0.001f, 0.01f}, &file);
    model_function *f = &m->functions[0];
    float y[COUNT];

    (void)state;
    assert_true(twin_function_is(f));
    for (int32_t i = 0; i < f->body->node_count; i++) {
        if (strcmp(f->body->nodes[i].type, "LessOrEqual") == 0) {
            f->body->nodes[i].type = "Less";
        }
    }
    assert_false(twin_function_is(f));
    assert_true(run(m, false, y) > 1);
    assert_int_equal(twin_function_add(m, 13, NULL), SPRY_USAGE);
    spry_model_destroy(m);
    proto_fini(&file);
}

/* ---- products ---- */

enum { AFFINE_ZERO = 9, BATCH = 2, HEADS = 3, MOST_ROWS = 37, MOST_K = 70, MOST_N = 45 };

/* x [BATCH][HEADS][m][k] by second operands [BATCH][HEADS][k][n] with a step per head, or by
 * weights [k][n] with a step per column and a bias. */
typedef struct product_case {
    int64_t m, k, n;
    bool weights;
    bool twin;
    bool affine; /* not twin: bytes are unsigned, of one step and zero point AFFINE_ZERO */
    twin_grid grid;
    float x[BATCH * HEADS * MOST_ROWS * MOST_K];
    int8_t w[BATCH * HEADS * MOST_K * MOST_N];
    float x_steps[HEADS];
    float w_steps[MOST_N];
    float bias[MOST_N];
} product_case;

static float results[3][BATCH * HEADS * MOST_ROWS * MOST_N];

static void fill_case(product_case *c, uint64_t stream)
{
    spry_random r = spry_random_stream(31, stream);
    int bits = 4 + (int)spry_random_below(&r, 5);
    float top = (float)twin_top(bits);

    c->grid = stream % 2 == 0 ? (twin_grid){TWIN_POSITIVE, bits, ldexpf(1.0f / top, -4), 1.0f / top}
                              : (twin_grid){TWIN_SIGNED, bits, 0.169971f / top, 0.03f};
    for (size_t i = 0; i < sizeof c->x / sizeof *c->x; i++) {
        c->x[i] = (1.2f * spry_random_f32(&r) - 0.2f) * ldexpf(1.0f, -(int)(i / 1000 % 9));
    }
    for (size_t i = 0; i < sizeof c->w; i++) {
        c->w[i] = (int8_t)((int)spry_random_below(&r, 255) - 127);
    }
    for (int i = 0; i < MOST_N; i++) {
        c->w_steps[i] = 0.01f + spry_random_f32(&r);
        c->bias[i] = spry_random_f32(&r) - 0.5f;
    }
    for (int i = 0; i < HEADS; i++) {
        c->x_steps[i] = 0.005f + 0.01f * spry_random_f32(&r);
    }
}

static void add_axis(proto *attributes, int64_t axis)
{
    proto_attribute_int(attributes, "axis", axis);
}

/* The model reads from `file` as long as it lives. */
static spry_model *parse_case(const product_case *c, proto *file)
{
    static const int8_t zeros[HEADS] = {0};
    static const uint8_t affine_zero = AFFINE_ZERO;
    const int64_t x_shape[] = {BATCH, HEADS, c->m, c->k};
    const int64_t v_shape[] = {BATCH, HEADS, c->k, c->n};
    const int64_t w_shape[] = {c->k, c->n};
    const int64_t y_shape[] = {BATCH, HEADS, c->m, c->n};
    const int64_t heads[] = {HEADS};
    const int64_t columns[] = {c->n};
    proto body = {0};
    spry_model *m = NULL;

    proto_tensor(&body, 5, "z", SPRY_DTYPE_I8, 1, heads, zeros, sizeof zeros);
    proto_tensor(&body, 5, "xs", SPRY_DTYPE_F32, 1, heads, c->x_steps, sizeof c->x_steps);
    if (c->twin) {
        proto_node(&body, 1, "Identity", "x", "t");
    } else {
        proto quantize = {0};
        proto dequantize = {0};

        add_axis(&quantize, 1);
        add_axis(&dequantize, 1);
        proto_tensor(&body, 5, "us", SPRY_DTYPE_F32, 0, NULL, c->x_steps, sizeof(float));
        proto_tensor(&body, 5, "u", SPRY_DTYPE_U8, 0, NULL, &affine_zero, 1);
        proto_node_with(&body, 1, "QuantizeLinear", c->affine ? "x us u" : "x xs z", "xq",
                        &quantize);
        proto_node_with(&body, 1, "DequantizeLinear", c->affine ? "xq us u" : "xq xs z", "t",
                        &dequantize);
    }
    proto attributes = {0};
    add_axis(&attributes, 1);
    if (c->weights) {
        proto_tensor(&body, 5, "wq", SPRY_DTYPE_I8, 2, w_shape, c->w, (size_t)(c->k * c->n));
        proto_tensor(&body, 5, "ws", SPRY_DTYPE_F32, 1, columns, c->w_steps,
                     (size_t)c->n * sizeof(float));
        proto_tensor(&body, 5, "bias", SPRY_DTYPE_F32, 1, columns, c->bias,
                     (size_t)c->n * sizeof(float));
        proto_node_with(&body, 1, "DequantizeLinear", "wq ws", "w", &attributes);
        proto_node(&body, 1, "MatMul", "t w", "p");
        proto_node(&body, 1, "Add", "p bias", "y");
    } else {
        proto_tensor(&body, 5, "ws", SPRY_DTYPE_F32, 1, heads, c->w_steps, HEADS * sizeof(float));
        proto_value_info(&body, 11, "wq", SPRY_DTYPE_I8, 4, v_shape);
        proto_node_with(&body, 1, "DequantizeLinear", "wq ws z", "w", &attributes);
        proto_node(&body, 1, "MatMul", "t w", "y");
    }
    proto_value_info(&body, 11, "x", SPRY_DTYPE_F32, 4, x_shape);
    proto_value_info(&body, 12, "y", SPRY_DTYPE_F32, 4, y_shape);
    proto_model(file, 8, 13, &body);
    assert_int_equal(spry_model_parse(NULL, file->data, file->size, NULL, &m, NULL), SPRY_OK);
    for (int32_t i = 0; c->twin && i < m->main->node_count; i++) {
        if (strcmp(m->main->nodes[i].type, "Identity") == 0) {
            become_twin(m, i, c->grid);
        }
    }
    return m;
}

static spry_value *value_of(spry_dtype dtype, int64_t rows, int64_t columns, const void *data,
                            size_t size)
{
    const int64_t shape[] = {BATCH, HEADS, rows, columns};
    spry_tensor *t = NULL;
    spry_value *v = NULL;

    assert_int_equal(spry_tensor_create(NULL, dtype, 4, shape, &t, NULL), SPRY_OK);
    memcpy(spry_tensor_data(t), data, (size_t)(BATCH * HEADS * rows * columns) * size);
    assert_int_equal(spry_value_from_tensor(NULL, t, &v, NULL), SPRY_OK);
    return v;
}

/* Whether the product ran in integers. */
static bool run_case(const product_case *c, int thread_count, bool keep_order, float *y)
{
    const char *const names[] = {"x", "wq"};
    spry_session_options options = spry_session_options_default();
    proto file = {0};
    spry_model *m = parse_case(c, &file);
    spry_session *session = NULL;
    spry_value *x = value_of(SPRY_DTYPE_F32, c->m, c->k, c->x, sizeof *c->x);
    spry_value *w = value_of(SPRY_DTYPE_I8, c->k, c->n, c->w, 1);
    const spry_value *const inputs[] = {x, w};
    spry_value *out = NULL;
    const spry_profile_row *profile;
    spry_error error = {0};
    bool in_integers = false;

    options.threads = thread_count;
    options.keep_order = keep_order;
    options.profile = true;
    if (spry_session_create(m, &options, &session, &error) != SPRY_OK ||
        spry_session_run(session, c->weights ? 1 : 2, names, inputs, 1, &out, &error) != SPRY_OK) {
        fail_msg("%s: %s", error.where, error.what);
    }
    memcpy(y, spry_tensor_const_data(spry_value_tensor(out)),
           (size_t)(BATCH * HEADS * c->m * c->n) * sizeof *y);
    for (int32_t i = 0; i < spry_session_profile(session, &profile); i++) {
        in_integers = in_integers || strncmp(profile[i].kernel, "brgemm_s8", 9) == 0;
    }
    spry_value_destroy(out);
    spry_value_destroy(w);
    spry_value_destroy(x);
    spry_session_destroy(session);
    spry_model_destroy(m);
    proto_fini(&file);
    return in_integers;
}

/* By its definition: exact sums of both planes, then f32 in the order that all kernels keep. */
static float expected_at(const product_case *c, int64_t batch, int64_t row, int64_t column)
{
    const float *x = c->x + (batch * c->m + row) * c->k;
    const int8_t *w = c->w + (c->weights ? 0 : batch * c->k * c->n);
    float step = c->w_steps[c->weights ? column : batch % HEADS];
    twin_terms t = twin_terms_of(c->grid);
    quantize_target target = c->affine ? quantize_target_of(SPRY_DTYPE_U8, AFFINE_ZERO)
                                       : quantize_target_of(SPRY_DTYPE_I8, 0);
    float x_step = c->x_steps[c->affine ? 0 : batch % HEADS];
    int32_t first = 0;
    int32_t second = 0;
    float sum;

    for (int64_t k = 0; k < c->k; k++) {
        int32_t b = w[k * c->n + column];

        if (c->twin) {
            twin_code code = twin_encode(x[k], t);

            first += code.first * b;
            second += code.second * b;
        } else {
            first += (quantize_f32(x[k], x_step, target) - target.zero) * b;
        }
    }
    if (!c->twin) {
        return (float)first * (x_step * step);
    }
    sum = (float)second * (c->grid.d2 * step);
    sum = c->weights ? sum + c->bias[column] : sum;
    return sum + (float)first * (t.sign * c->grid.d1 * step);
}

static void check_case(const product_case *c)
{
    int64_t count = BATCH * HEADS * c->m * c->n;
    double norm = 0.0;
    double distance = 0.0;

    assert_true(run_case(c, 1, false, results[0]));
    assert_true(run_case(c, 3, false, results[1]));
    assert_false(run_case(c, 1, true, results[2]));
    assert_memory_equal(results[0], results[1], (size_t)count * sizeof(float));
    for (int64_t i = 0; i < count; i++) {
        float wanted = expected_at(c, i / c->n / c->m, i / c->n % c->m, i % c->n);
        double d = (double)results[0][i] - (double)results[2][i];

        assert_true(results[0][i] == wanted);
        norm += (double)results[2][i] * (double)results[2][i];
        distance += d * d;
    }
    assert_true(sqrt(distance) <= 1e-6 * sqrt(norm));
}

static void test_products(void **state)
{
    static const int64_t shapes[][3] = {
        {1, 1, 1}, {5, 16, 7}, {37, 70, 45}, {14, 64, 32}, {29, 3, 33}};
    static product_case c;

    (void)state;
    for (uint64_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (int form = 0; form < 6; form++) {
            fill_case(&c, 2 * i + (uint64_t)form % 2);
            c.m = shapes[i][0];
            c.k = shapes[i][1];
            c.n = shapes[i][2];
            c.weights = form < 2;
            c.twin = form < 4;
            c.affine = form == 5;
            check_case(&c);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_body), cmocka_unit_test(test_impostor),
                                       cmocka_unit_test(test_products)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
