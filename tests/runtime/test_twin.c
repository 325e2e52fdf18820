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
#include "ops/twin.h"
#include "spry/spry.h"
#include "support/data.h"
#include "support/proto.h"

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

/* The bytes live in `file` and must outlive the model. */
static spry_model *parse(proto *file)
{
    proto body = {0};
    spry_model *m = NULL;

    *file = (proto){0};
    proto_node(&body, 1, "Identity", "x", "y");
    proto_value_info(&body, 11, "x", SPRY_DTYPE_F32, 1, (const int64_t[]){COUNT});
    proto_value_info(&body, 12, "y", SPRY_DTYPE_F32, 1, (const int64_t[]){COUNT});
    proto_model(file, 7, 13, &body);
    assert_int_equal(spry_model_parse(NULL, file->data, file->size, NULL, &m, NULL), SPRY_OK);
    return m;
}

/* y = T(x), with the function added. */
static spry_model *make_model(twin_grid grid, proto *file)
{
    spry_model *m = parse(file);
    graph *g = m->main;
    graph_node *n = &g->nodes[0];

    n->type = TWIN_OP;
    n->domain = TWIN_DOMAIN;
    n->opset = 1;
    n->op = NULL;
    assert_int_equal(graph_set_int(g, 0, TWIN_KIND, grid.kind, NULL), SPRY_OK);
    assert_int_equal(graph_set_int(g, 0, TWIN_BITS, grid.bits, NULL), SPRY_OK);
    assert_int_equal(graph_set_float(g, 0, TWIN_D1, grid.d1, NULL), SPRY_OK);
    assert_int_equal(graph_set_float(g, 0, TWIN_D2, grid.d2, NULL), SPRY_OK);
    assert_int_equal(twin_function_add(m, 13, NULL), SPRY_OK);
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
    proto file;
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
    proto file;
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_body),
                                       cmocka_unit_test(test_impostor)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
