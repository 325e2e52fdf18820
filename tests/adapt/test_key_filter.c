/* KeyFilter in all its ways: as the function that files have, as an operator, and inside of the
 * kernels of filtering; what of it is refused; how shares are allocated among heads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "adapt/key_filter.h"
#include "inspect/energon.h"
#include "model/insert.h"
#include "model/key_filter_function.h"
#include "model/model.h"
#include "spry/spry.h"

enum {
    HEADS = 4,
    MOST_TOKENS = 80,
    MOST_SIZE = 40,
    MOST_COUNT = 2 * HEADS * MOST_TOKENS * MOST_SIZE
};

/* What is attended to, and how the graph says it. */
typedef struct problem {
    int64_t batch, groups, rows, keys, size; /* groups: heads that have keys of their own */
    bool has_mask;                           /* an input of f32 [batch, 1, rows, keys] is added */
    bool shows;                              /* the weights are an output too */
    float hidden;                            /* what the mask hides by */
    float bias;                              /* what it adds to some of the others */
    int64_t padding;                         /* keys that it hides, at the end */
    uint64_t seed;
} problem;

enum { Q, K, V, MASK, PORTS };

static int32_t add(graph *g, const char *type, const char *name, int32_t a, int32_t b)
{
    insert_node_of what = {.type = type,
                           .opset = 13,
                           .base = name,
                           .suffix = "node",
                           .inputs = {a, b},
                           .input_count = b == GRAPH_NONE ? 1 : 2};
    int32_t node;
    int32_t result;

    assert_int_equal(insert_node(g, &what, &node, &result, NULL), SPRY_OK);
    return result;
}

static int32_t add_shape(graph *g, const char *name, int64_t count, const int64_t *dims)
{
    int32_t id;

    assert_int_equal(insert_constant(g, name, "shape", SPRY_DTYPE_I64, 1, &count, dims, &id, NULL),
                     SPRY_OK);
    return id;
}

/* [N, groups, T, d] repeated for the heads that share it. */
static int32_t share(graph *g, const problem *p, const char *name, int32_t id)
{
    const int64_t apart[] = {p->batch, p->groups, 1, p->keys, p->size};
    const int64_t wide[] = {p->batch, p->groups, HEADS / p->groups, p->keys, p->size};
    const int64_t flat[] = {p->batch, HEADS, p->keys, p->size};
    char part[32];

    (void)snprintf(part, sizeof part, "%s_apart", name);
    id = add(g, "Reshape", part, id, add_shape(g, part, 5, apart));
    (void)snprintf(part, sizeof part, "%s_wide", name);
    id = add(g, "Expand", part, id, add_shape(g, part, 5, wide));
    (void)snprintf(part, sizeof part, "%s_flat", name);
    return add(g, "Reshape", part, id, add_shape(g, part, 4, flat));
}

static spry_model *make_attention(const problem *p)
{
    static const char *const names[PORTS] = {"q", "k", "v", "mask"};
    static const int64_t perm[] = {0, 1, 3, 2};
    const int64_t shapes[PORTS][4] = {{p->batch, HEADS, p->rows, p->size},
                                      {p->batch, p->groups, p->keys, p->size},
                                      {p->batch, p->groups, p->keys, p->size},
                                      {p->batch, 1, p->rows, p->keys}};
    const float factor = 1.0f / sqrtf((float)p->size);
    spry_model *m = NULL;
    int32_t id[PORTS + 2];
    int32_t *ports;
    int32_t number;
    graph *g;

    assert_int_equal(model_create(NULL, SIZE_MAX, &m, NULL), SPRY_OK);
    assert_int_equal(graph_create(&m->memory, NULL, &m->main, NULL), SPRY_OK);
    g = m->main;
    m->path = "attention";
    m->ir_version = 8;
    m->opsets = arena_array(&m->memory, 1, sizeof *m->opsets);
    m->opsets[0] = (model_opset){"", 13};
    m->opset_count = 1;
    ports = arena_array(&m->memory, PORTS + 2, sizeof *ports);
    for (int i = 0; i < PORTS; i++) {
        assert_int_equal(graph_add_value(g, names[i], &ports[i], NULL), SPRY_OK);
        g->values[ports[i]].type = graph_type_tensor(SPRY_DTYPE_F32, 4, shapes[i]);
        g->values[ports[i]].is_input = g->values[ports[i]].is_declared = true;
    }
    memcpy(id, ports, sizeof id);
    id[K] = add(g, "Transpose", "turned", share(g, p, "k", id[K]), GRAPH_NONE);
    assert_int_equal(graph_set_ints(g, g->values[id[K]].producer, "perm", 4, perm, NULL), SPRY_OK);
    assert_int_equal(
        insert_constant(g, "scores", "factor", SPRY_DTYPE_F32, 0, NULL, &factor, &number, NULL),
        SPRY_OK);
    id[Q] = add(g, "Mul", "scaled", add(g, "MatMul", "scores", id[Q], id[K]), number);
    id[Q] = p->has_mask ? add(g, "Add", "masked", id[Q], id[MASK]) : id[Q];
    id[Q] = add(g, "Softmax", "weights", id[Q], GRAPH_NONE);
    assert_int_equal(graph_set_int(g, g->values[id[Q]].producer, "axis", -1, NULL), SPRY_OK);
    ports[PORTS] = add(g, "MatMul", "mixed", id[Q], share(g, p, "v", id[V]));
    ports[PORTS + 1] = id[Q];
    g->inputs = ports;
    g->input_count = p->has_mask ? PORTS : MASK;
    g->outputs = ports + PORTS;
    g->output_count = p->shows ? 2 : 1;
    for (int i = PORTS; i < PORTS + g->output_count; i++) {
        g->values[ports[i]].type = graph_type_tensor(SPRY_DTYPE_F32, 0, NULL);
        g->values[ports[i]].type.has_rank = false;
        g->values[ports[i]].is_output = g->values[ports[i]].is_declared = true;
    }
    return m;
}

static void write_filters(spry_model *m, double alpha)
{
    graph *g = m->main;
    key_filter_head filters[HEADS];
    key_filter_layer layer = {g->values[g->outputs[0]].name, HEADS, filters};

    for (int h = 0; h < HEADS; h++) {
        /* The last head keeps all; keys go beyond the scale here and there. */
        double own = h == HEADS - 1 ? -1.0 : alpha + 0.03125 * h;

        filters[h] = (key_filter_head){1.9f / 32767.0f, {own, own}};
    }
    assert_int_equal(key_filter_write(m, &layer, 1, NULL), SPRY_OK);
}

/* Numbers that do not depend on how many keys there are. */
static void fill(const problem *p, int port, float *to)
{
    int64_t rows = port == Q ? p->rows : p->keys;
    int64_t heads = port == Q ? HEADS : p->groups;

    for (int64_t n = 0; n < p->batch * heads * rows && port != MASK; n++) {
        spry_random r =
            spry_random_stream(p->seed + (uint64_t)port, (uint64_t)(n / rows * 1000 + n % rows));

        spry_random_fill_uniform(&r, to + n * p->size, (size_t)p->size, -2.0f, 2.0f);
        for (int64_t t = 0; t < p->size && n % rows >= p->keys - p->padding && port == K; t++) {
            to[n * p->size + t] *= 9.0f;
        }
    }
    for (int64_t n = 0; n < p->batch * p->rows * p->keys && port == MASK; n++) {
        int64_t row = n / p->keys % p->rows;
        bool is_hidden = n % p->keys > row + p->keys - p->padding - p->rows ||
                         n % p->keys >= p->keys - p->padding;

        to[n] = is_hidden ? p->hidden : (n % 7 == 0 ? p->bias : 0.0f);
    }
}

static void run(const spry_model *m, const problem *p, bool keep_order,
                const spry_attention_probe *probe, float *result)
{
    static const char *const names[PORTS] = {"q", "k", "v", "mask"};
    spry_session_options how = spry_session_options_default();
    spry_session *session = NULL;
    spry_value *inputs[PORTS] = {NULL};
    spry_value *outputs[2] = {NULL};
    spry_error error;
    spry_status status;

    how.threads = 2;
    how.keep_order = keep_order;
    how.attention = probe;
    assert_int_equal(spry_session_create(m, &how, &session, &error), SPRY_OK);
    for (int i = 0; i < m->main->input_count; i++) {
        int64_t shape[4];
        spry_tensor *t = NULL;

        for (int k = 0; k < 4; k++) {
            shape[k] = m->main->values[m->main->inputs[i]].type.dims[k].size;
        }
        assert_int_equal(spry_tensor_create(NULL, SPRY_DTYPE_F32, 4, shape, &t, NULL), SPRY_OK);
        fill(p, i, spry_tensor_data(t));
        assert_int_equal(spry_value_from_tensor(NULL, t, &inputs[i], NULL), SPRY_OK);
    }
    status =
        spry_session_run(session, m->main->input_count, names, (const spry_value *const *)inputs,
                         m->main->output_count, outputs, &error);
    assert_int_equal(status, SPRY_OK);
    memcpy(result, spry_value_tensor(outputs[0])->data, spry_value_tensor(outputs[0])->bytes);
    for (int i = 0; i < PORTS; i++) {
        spry_value_destroy(inputs[i]);
        spry_value_destroy(i < 2 ? outputs[i] : NULL);
    }
    spry_session_destroy(session);
}

static int filtered_layers;

static void count_layer(void *context, const char *name, const attention_problem *p,
                        const attention_filtered *filtered)
{
    const filter_work *w = filtered->work;
    int64_t fates[4] = {0};

    (void)context;
    (void)name;
    for (int64_t i = 0; i < p->batch * p->heads * p->rows * p->keys; i++) {
        fates[filtered->fate[i]]++;
    }
    /* What is read and multiplied is what survived. */
    assert_int_equal(w->keys, fates[1] + fates[2] + fates[3]);
    assert_int_equal(w->kept[0], fates[2] + fates[3]);
    assert_int_equal(w->kept[1], fates[3]);
    assert_int_equal(w->exact_products, 2 * fates[3] * p->size);
    assert_int_equal(w->key_bytes, fates[3] * filter_pitch(p->size) * (int64_t)sizeof(float));
    assert_int_equal(w->value_bytes, w->key_bytes);
    filtered_layers++;
}

static void test_ways(void **state)
{
    static const problem problems[] = {
        {.batch = 1, .groups = HEADS, .rows = 40, .keys = 40, .size = 16},
        {.batch = 2, .groups = 2, .rows = 33, .keys = 33, .size = 8},
        {.batch = 2,
         .groups = 1,
         .rows = 9,
         .keys = 70,
         .size = 33,
         .has_mask = true,
         .hidden = -INFINITY},
        {.batch = 1,
         .groups = HEADS,
         .rows = 1,
         .keys = 80,
         .size = 40,
         .has_mask = true,
         .hidden = -1e4f,
         .bias = -0.5f,
         .padding = 5},
        {.batch = 1, .groups = 2, .rows = 15, .keys = 15, .size = 16},
        {.batch = 1,
         .groups = 2,
         .rows = 60,
         .keys = 60,
         .size = 16,
         .has_mask = true,
         .hidden = -3e38f,
         .bias = 0.5f,
         .padding = 3}};
    const spry_attention_probe probe = {.filtered = count_layer};
    static float results[4][MOST_COUNT];

    (void)state;
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) {
        problem p = problems[i];
        int64_t count = p.batch * HEADS * p.rows * p.size;
        spry_model *dense = make_attention(&p);
        spry_model *kernel = make_attention(&p);
        spry_model *shown;
        double moved = 0.0;

        p.shows = true;
        shown = make_attention(&p);
        write_filters(kernel, 0.0);
        write_filters(shown, 0.0);
        filtered_layers = 0;
        run(dense, &p, false, &probe, results[0]);
        assert_int_equal(filtered_layers, 0);
        run(kernel, &p, false, &probe, results[1]); /* by the kernels of filtering */
        assert_int_equal(filtered_layers, 1);
        run(shown, &p, false, &probe, results[2]); /* by the operator: the weights are wanted */
        assert_int_equal(filtered_layers, 1);
        run(kernel, &p, true, NULL, results[3]); /* by the function's body */
        for (int64_t n = 0; n < count; n++) {
            assert_true(fabs((double)results[1][n] - (double)results[2][n]) < 1e-5);
            assert_true(fabs((double)results[1][n] - (double)results[3][n]) < 1e-5);
            moved = fmax(moved, fabs((double)results[1][n] - (double)results[0][n]));
        }
        assert_true(p.keys < 16 ? moved < 1e-5 : moved > 0.01);
        spry_model_destroy(dense);
        spry_model_destroy(kernel);
        spry_model_destroy(shown);
    }
}

/* Keys behind the end that a mask hides change nothing, however large they are. */
static void test_padding(void **state)
{
    const problem plain = {.batch = 1,
                           .groups = 2,
                           .rows = 40,
                           .keys = 40,
                           .size = 16,
                           .has_mask = true,
                           .hidden = -INFINITY};
    problem padded = plain;
    static float results[2][MOST_COUNT];
    spry_model *a = make_attention(&plain);
    spry_model *b;

    (void)state;
    padded.keys = 61;
    padded.padding = 21;
    b = make_attention(&padded);
    write_filters(a, 0.1);
    write_filters(b, 0.1);
    run(a, &plain, false, NULL, results[0]);
    run(b, &padded, false, NULL, results[1]);
    assert_memory_equal(results[0], results[1], (size_t)(HEADS * 40 * 16) * sizeof(float));
    spry_model_destroy(a);
    spry_model_destroy(b);
}

/* A query alone, as decoding has it, gets what it gets among others. */
static void test_decoding(void **state)
{
    const problem all = {.batch = 1,
                         .groups = 2,
                         .rows = 50,
                         .keys = 50,
                         .size = 24,
                         .has_mask = true,
                         .hidden = -INFINITY};
    static float whole[MOST_COUNT];
    static float one[MOST_COUNT];
    spry_model *m = make_attention(&all);

    (void)state;
    write_filters(m, 0.0);
    run(m, &all, false, NULL, whole);
    spry_model_destroy(m);
    for (int64_t row = 0; row < 50; row += 7) {
        problem p = {.batch = 1,
                     .groups = 2,
                     .rows = row + 1,
                     .keys = row + 1,
                     .size = 24,
                     .has_mask = true,
                     .hidden = -INFINITY};

        m = make_attention(&p);
        write_filters(m, 0.0);
        run(m, &p, false, NULL, one);
        for (int64_t h = 0; h < HEADS; h++) {
            for (int64_t t = 0; t < 24; t++) {
                assert_true(one[(h * (row + 1) + row) * 24 + t] == whole[(h * 50 + row) * 24 + t]);
            }
        }
        spry_model_destroy(m);
    }
}

/* Something else that is called so is expanded like any function; what is written is checked. */
static void test_refusals(void **state)
{
    const problem p = {.batch = 1, .groups = 2, .rows = 20, .keys = 20, .size = 8};
    const key_filter_head all[HEADS] = {
        {1.0f, {-1, -1}}, {1.0f, {-1, -1}}, {1.0f, {-1, -1}}, {1.0f, {-1, -1}}};
    spry_model *m = make_attention(&p);
    key_filter_layer layer = {m->main->values[m->main->outputs[0]].name, HEADS, all};
    model_function *f;

    (void)state;
    assert_int_equal(key_filter_write(m, &layer, 1, NULL), SPRY_OK);
    assert_int_equal(m->function_count, 0);
    write_filters(m, 0.0);
    assert_int_equal(m->function_count, 1);
    f = &m->functions[0];
    assert_true(key_filter_function_is(f));
    layer.filters = (const key_filter_head[HEADS]){{1.0f, {0, 0}}};
    assert_int_equal(key_filter_write(m, &layer, 1, NULL), SPRY_UNSUPPORTED);
    f->body->nodes[f->body->node_count - 1].type = "Mul";
    assert_false(key_filter_function_is(f));
    assert_int_equal(key_filter_function_add(m, 13, NULL), SPRY_USAGE);
    spry_model_destroy(m);
    m = make_attention(&p);
    m->opsets[0].version = 12;
    assert_int_equal(key_filter_write(m, &layer, 1, NULL), SPRY_UNSUPPORTED);
    spry_model_destroy(m);
    for (int64_t opset = 13; opset <= 21; opset += 8) {
        m = make_attention(&p);
        assert_int_equal(key_filter_function_add(m, opset, NULL), SPRY_OK);
        assert_true(key_filter_function_is(&m->functions[0]));
        spry_model_destroy(m);
    }
}

static void test_allocation(void **state)
{
    /* Of one head, half of the keys cost nothing; of the other each costs much. */
    const energon_choice curves[2][3] = {{{1.0, 0.0}, {0.5, 0.0}, {0.1, 0.01}},
                                         {{1.0, 0.0}, {0.5, 0.2}, {0.1, 0.9}}};
    int32_t chosen[2];

    (void)state;
    assert_true(energon_allocate(&curves[0][0], 2, 3, 0.75, chosen) == 0.75);
    assert_true(chosen[0] == 1 && chosen[1] == 0);
    assert_true(energon_allocate(&curves[0][0], 2, 3, 0.6, chosen) < 0.6);
    assert_true(chosen[0] == 2 && chosen[1] == 0);
    assert_true(fabs(energon_allocate(&curves[0][0], 2, 3, 0.01, chosen) - 0.1) < 1e-12);
    assert_true(energon_allocate(&curves[0][0], 2, 3, 1.0, chosen) == 0.75); /* free of cost */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ways),       cmocka_unit_test(test_padding),
        cmocka_unit_test(test_decoding),   cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
