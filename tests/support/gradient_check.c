/* Gradients against differences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "model/infer.h"
#include "model/model.h"
#include "spry/random.h"
#include "spry/session.h"
#include "support/gradient_check.h"
#include "tensor/convert.h"
#include "tensor/value.h"
#include "train/gradient/gradient.h"

enum { MOST_THREADS = 3 };

/* ---- building ---- */

static gradient_check_value *add_input(gradient_check *c, const char *name, int rank,
                                       const int64_t *shape, int32_t *id)
{
    gradient_check_value *v = &c->inputs[c->input_count++];

    assert_true(c->input_count <= GRADIENT_CHECK_INPUTS);
    *v = (gradient_check_value){.name = name, .rank = rank, .count = 1};
    for (int i = 0; i < rank; i++) {
        v->shape[i] = shape[i];
        v->count *= shape[i];
    }
    v->numbers = arena_array(&c->n.memory, (size_t)v->count + 1, sizeof *v->numbers);
    assert_non_null(v->numbers);
    *id = net_input(&c->n, name, c->dtype, rank, shape);
    return v;
}

static void draw(gradient_check *c, double *to, int64_t count)
{
    spry_random random = spry_random_stream(c->seed, c->drawn++);

    for (int64_t i = 0; i < count; i++) {
        to[i] = (double)(float)spry_random_normal(&random); /* the same number in either type */
    }
}

int32_t gradient_check_input(gradient_check *c, const char *name, int rank, const int64_t *shape)
{
    int32_t id;
    gradient_check_value *v = add_input(c, name, rank, shape, &id);

    draw(c, v->numbers, v->count);
    return id;
}

int32_t gradient_check_given(gradient_check *c, const char *name, int rank, const int64_t *shape,
                             const double *numbers)
{
    int32_t id;
    gradient_check_value *v = add_input(c, name, rank, shape, &id);

    memcpy(v->numbers, numbers, (size_t)v->count * sizeof *numbers);
    return id;
}

int32_t gradient_check_uniform(gradient_check *c, const char *name, int rank, const int64_t *shape,
                               double low, double high)
{
    int32_t id;
    gradient_check_value *v = add_input(c, name, rank, shape, &id);
    spry_random random = spry_random_stream(c->seed, c->drawn++);

    for (int64_t i = 0; i < v->count; i++) {
        v->numbers[i] = (double)(float)(low + (high - low) * spry_random_f64(&random));
    }
    return id;
}

static int32_t add_constant(gradient_check *c, const char *name, int rank, const int64_t *shape,
                            const double *numbers)
{
    tensor t;
    int32_t id;

    assert_int_equal(tensor_init(&t, c->dtype, rank, shape, NULL, NULL), SPRY_OK);
    t.data = arena_bytes(&c->n.memory, t.bytes + 1);
    assert_non_null(t.data);
    convert_write_f64(&t, 0, tensor_count(&t), numbers);
    id = net_constant(&c->n, name, c->dtype, rank, shape, t.data);
    return id;
}

int32_t gradient_check_constant(gradient_check *c, const char *name, int rank, const int64_t *shape)
{
    double *numbers;
    int64_t count = 1;

    for (int i = 0; i < rank; i++) {
        count *= shape[i];
    }
    numbers = arena_array(&c->n.memory, (size_t)count + 1, sizeof *numbers);
    assert_non_null(numbers);
    draw(c, numbers, count);
    return add_constant(c, name, rank, shape, numbers);
}

int32_t gradient_check_number(gradient_check *c, const char *name, double number)
{
    return add_constant(c, name, 0, NULL, &number);
}

int32_t gradient_check_ints(gradient_check *c, const char *name, int64_t count,
                            const int64_t *numbers)
{
    return net_constant(&c->n, name, SPRY_DTYPE_I64, 1, &count, numbers);
}

void gradient_check_set_int(gradient_check *c, int32_t node, const char *name, int64_t number)
{
    assert_int_equal(graph_set_int(c->n.g, node, name, number, NULL), SPRY_OK);
}

void gradient_check_set_float(gradient_check *c, int32_t node, const char *name, float number)
{
    assert_int_equal(graph_set_float(c->n.g, node, name, number, NULL), SPRY_OK);
}

void gradient_check_set_ints(gradient_check *c, int32_t node, const char *name, int64_t count,
                             const int64_t *numbers)
{
    assert_int_equal(graph_set_ints(c->n.g, node, name, count, numbers, NULL), SPRY_OK);
}

void gradient_check_set_string(gradient_check *c, int32_t node, const char *name, const char *text)
{
    assert_int_equal(graph_set_string(c->n.g, node, name, text, NULL), SPRY_OK);
}

/* ---- running ---- */

typedef struct runner {
    spry_model m;
    spry_session *session;
    int32_t input_count, output_count;
    const char *names[GRADIENT_CHECK_INPUTS + 8];
    value inputs[GRADIENT_CHECK_INPUTS + 8];
} runner;

static void expect_ok(spry_status status, const spry_error *error)
{
    if (status != SPRY_OK) {
        fail_msg("%s: %s", error->where, error->what);
    }
}

static void open_runner(runner *r, graph *g, int threads)
{
    spry_session_options options = spry_session_options_default();
    spry_error error = {.what = ""};

    *r = (runner){.m = {.allocator = alloc_resolve(NULL), .path = "check", .main = g},
                  .input_count = g->input_count,
                  .output_count = g->output_count};
    options.threads = threads;
    assert_true(g->input_count <= GRADIENT_CHECK_INPUTS + 8);
    expect_ok(spry_session_create(&r->m, &options, &r->session, &error), &error);
    for (int32_t i = 0; i < g->input_count; i++) {
        r->names[i] = g->values[g->inputs[i]].name;
    }
}

static void run_runner(runner *r, const tensor *inputs, spry_value **outputs)
{
    const spry_value *given[GRADIENT_CHECK_INPUTS + 8];
    spry_error error = {.what = ""};

    for (int32_t i = 0; i < r->input_count; i++) {
        r->inputs[i] = (value){.kind = SPRY_VALUE_TENSOR, .tensor = inputs[i]};
        given[i] = &r->inputs[i];
    }
    expect_ok(spry_session_run(r->session, r->input_count, r->names, given, r->output_count,
                               outputs, &error),
              &error);
}

void gradient_check_execute(graph *g, int threads, const tensor *inputs, spry_value **outputs)
{
    runner r;

    open_runner(&r, g, threads);
    run_runner(&r, inputs, outputs);
    spry_session_destroy(r.session);
}

/* ---- one build ---- */

typedef struct build_state {
    gradient_check *c;
    tensor inputs[GRADIENT_CHECK_INPUTS + 1]; /* the last one in use is the seed */
    double *seed;
    int32_t y;
    int32_t of[GRADIENT_CHECK_INPUTS];
    int32_t gradients[GRADIENT_CHECK_INPUTS];
    int kept; /* gradients that exist */
    int kept_input[GRADIENT_CHECK_INPUTS];
} build_state;

static void fill_tensor(gradient_check *c, tensor *t, int rank, const int64_t *shape,
                        const double *numbers)
{
    assert_int_equal(tensor_init(t, c->dtype, rank, shape, NULL, NULL), SPRY_OK);
    t->data = arena_bytes(&c->n.memory, t->bytes + 1);
    assert_non_null(t->data);
    convert_write_f64(t, 0, tensor_count(t), numbers);
}

static void infer_all(graph *g)
{
    spry_error error = {.what = ""};

    expect_ok(graph_sort(g, &error), &error);
    expect_ok(infer_graph(g, &error), &error);
}

/* The forward graph with "y" as its only output, and the seed as a further input. */
static void prepare_forward(build_state *b)
{
    gradient_check *c = b->c;
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    const graph_type *type;
    int rank;
    int64_t count;

    infer_all(c->n.g);
    b->y = net_value(&c->n, "y");
    type = &c->n.g->values[b->y].type;
    assert_true(graph_type_is_static(type));
    rank = type->rank;
    count = 1;
    for (int i = 0; i < rank; i++) {
        shape[i] = type->dims[i].size;
        count *= shape[i];
    }
    b->seed = arena_array(&c->n.memory, (size_t)count + 1, sizeof *b->seed);
    assert_non_null(b->seed);
    draw(c, b->seed, count);
    for (int i = 0; i < c->input_count; i++) {
        fill_tensor(c, &b->inputs[i], c->inputs[i].rank, c->inputs[i].shape, c->inputs[i].numbers);
        b->of[i] = net_value(&c->n, c->inputs[i].name);
    }
    (void)net_input(&c->n, "seed", c->dtype, rank, shape);
    fill_tensor(c, &b->inputs[c->input_count], rank, shape, b->seed);
    net_output(&c->n, "y");
}

static void prepare_backward(build_state *b)
{
    gradient_check *c = b->c;
    graph *g = c->n.g;
    spry_error error = {.what = ""};
    gradient_request request = {
        .value = b->y, .seed = net_value(&c->n, "seed"), .of = b->of, .count = c->input_count};

    expect_ok(gradient_build(g, &request, b->gradients, &error), &error);
    g->values[b->y].is_output = false;
    g->output_count = 0;
    b->kept = 0;
    for (int i = 0; i < c->input_count; i++) {
        if (b->gradients[i] != GRAPH_NONE) {
            b->kept_input[b->kept++] = i;
            g->outputs[g->output_count++] = b->gradients[i];
            g->values[b->gradients[i]].is_output = true;
        }
    }
    infer_all(g);
}

/* L for the inputs as they are. */
static double loss(const build_state *b, runner *r)
{
    spry_value *y = NULL;
    double sum = 0.0;

    run_runner(r, b->inputs, &y);
    for (int64_t i = 0; i < tensor_count(&y->tensor); i++) {
        sum += b->seed[i] * convert_get_f64(&y->tensor, i);
    }
    spry_value_destroy(y);
    return sum;
}

static void check_differences(const build_state *b, runner *forward)
{
    const gradient_check *c = b->c;

    for (int i = 0; i < c->input_count; i++) {
        const gradient_check_value *v = &c->inputs[i];

        for (int64_t k = 0; k < v->count; k++) {
            double step = 6e-6 * fmax(1.0, fabs(v->numbers[k]));
            double *x = (double *)b->inputs[i].data + k;
            double given = v->gradient != NULL ? v->gradient[k] : 0.0;
            double above;
            double numeric;

            *x = v->numbers[k] + step;
            above = loss(b, forward);
            *x = v->numbers[k] - step;
            numeric = (above - loss(b, forward)) / (2.0 * step);
            *x = v->numbers[k];
            if (!(fabs(numeric - given) <= c->tolerance * (fabs(numeric) + fabs(given)) + 3e-8)) {
                fail_msg("d/d %s[%lld]: %.12g, by differences %.12g", v->name, (long long)k, given,
                         numeric);
            }
        }
    }
}

static void check_length(const gradient_check *c, const gradient_check_value *v, const tensor *t)
{
    double difference = 0.0;
    double length = 0.0;

    assert_int_equal(tensor_count(t), v->count);
    for (int64_t k = 0; k < v->count; k++) {
        double d = convert_get_f64(t, k) - v->gradient[k];

        difference += d * d;
        length += v->gradient[k] * v->gradient[k];
    }
    if (!(sqrt(difference) <= c->f32_tolerance * sqrt(length) + 1e-7)) {
        fail_msg("d/d %s in f32 is off by %.3g of its length", v->name,
                 sqrt(difference) / sqrt(length));
    }
}

static void run_backward(const build_state *b, int threads, spry_value **outputs)
{
    gradient_check_execute(b->c->n.g, threads, b->inputs, outputs);
}

static void release(spry_value **outputs, int count)
{
    for (int i = 0; i < count; i++) {
        spry_value_destroy(outputs[i]);
    }
}

static void check_f64(gradient_check *c)
{
    build_state b = {.c = c};
    spry_value *outputs[GRADIENT_CHECK_INPUTS] = {NULL};
    runner forward;

    prepare_forward(&b);
    open_runner(&forward, c->n.g, 1);
    prepare_backward(&b);
    run_backward(&b, 1, outputs);
    for (int k = 0; k < b.kept; k++) {
        gradient_check_value *v = &c->inputs[b.kept_input[k]];

        v->gradient = arena_array(&c->n.memory, (size_t)v->count + 1, sizeof *v->gradient);
        assert_non_null(v->gradient);
        assert_int_equal(outputs[k]->tensor.rank, v->rank);
        assert_int_equal(tensor_count(&outputs[k]->tensor), v->count);
        convert_read_f64(&outputs[k]->tensor, 0, v->count, v->gradient);
    }
    if (!c->surrogate) {
        check_differences(&b, &forward);
    }
    spry_session_destroy(forward.session);
    release(outputs, b.kept);
}

static void check_f32(gradient_check *c, const gradient_check *exact)
{
    build_state b = {.c = c};
    spry_value *outputs[MOST_THREADS][GRADIENT_CHECK_INPUTS] = {{NULL}};

    prepare_forward(&b);
    prepare_backward(&b);
    for (int t = 0; t < MOST_THREADS; t++) {
        run_backward(&b, 1 + t, outputs[t]);
    }
    for (int k = 0; k < b.kept; k++) {
        check_length(c, &exact->inputs[b.kept_input[k]], &outputs[0][k]->tensor);
        for (int t = 1; t < MOST_THREADS; t++) {
            assert_memory_equal(outputs[0][k]->tensor.data, outputs[t][k]->tensor.data,
                                outputs[0][k]->tensor.bytes);
        }
    }
    for (int t = 0; t < MOST_THREADS; t++) {
        release(outputs[t], b.kept);
    }
}

static void start_build(gradient_check *c, gradient_check_builder *build, const void *detail,
                        int32_t opset, spry_dtype dtype)
{
    *c = (gradient_check){
        .dtype = dtype, .detail = detail, .seed = 7, .tolerance = 1e-6, .f32_tolerance = 1e-5};
    net_init(&c->n, opset);
    build(c);
}

void gradient_check_start(gradient_check *c, gradient_check_builder *build, const void *detail,
                          int32_t opset)
{
    gradient_check narrow;

    start_build(c, build, detail, opset, SPRY_DTYPE_F64);
    check_f64(c);
    start_build(&narrow, build, detail, opset, SPRY_DTYPE_F32);
    check_f32(&narrow, c);
    net_fini(&narrow.n);
}

void gradient_check_fini(gradient_check *c)
{
    net_fini(&c->n);
}

void gradient_check_run(gradient_check_builder *build, const void *detail, int32_t opset)
{
    gradient_check c;

    gradient_check_start(&c, build, detail, opset);
    gradient_check_fini(&c);
}
