/* The walk itself: what is left out, what is refused, shapes that are not known, and the Fisher
 * matrix of a small classifier. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "model/infer.h"
#include "spry/random.h"
#include "support/gradient_check.h"
#include "tensor/convert.h"
#include "tensor/value.h"
#include "train/gradient/gradient.h"

static const int64_t four[] = {4};

static void infer(net *n)
{
    assert_int_equal(graph_sort(n->g, NULL), SPRY_OK);
    assert_int_equal(infer_graph(n->g, NULL), SPRY_OK);
}

static spry_status differentiate(net *n, const char *result, const char *seed, const char *of,
                                 int32_t *gradient, spry_error *error)
{
    int32_t id = net_value(n, of);
    gradient_request r = {.value = net_value(n, result),
                          .seed = seed != NULL ? net_value(n, seed) : GRAPH_NONE,
                          .of = &id,
                          .count = 1};

    return gradient_build(n->g, &r, gradient, error);
}

/* Outputs of the graph, in place of those it had. */
static void set_outputs(net *n, int count, const int32_t *values)
{
    for (int i = 0; i < n->g->output_count; i++) {
        n->g->values[n->g->outputs[i]].is_output = false;
    }
    for (int i = 0; i < count; i++) {
        n->g->outputs[i] = values[i];
        n->g->values[values[i]].is_output = true;
    }
    n->g->output_count = count;
    infer(n);
}

static tensor tensor_of(int rank, const int64_t *shape, double *data)
{
    tensor t;

    assert_int_equal(tensor_init(&t, SPRY_DTYPE_F64, rank, shape, data, NULL), SPRY_OK);
    return t;
}

/* ---- what is left out ---- */

/* x -> first -> second -> y, and an input that y does not depend on. */
static void start_chain(net *n)
{
    static const double w[] = {1, 2, 3, 4};

    net_init(n, 13);
    (void)net_input(n, "x", SPRY_DTYPE_F64, 1, four);
    (void)net_input(n, "idle", SPRY_DTYPE_F64, 1, four);
    (void)net_constant(n, "w", SPRY_DTYPE_F64, 1, four, w);
    (void)net_node(n, "Exp", "x", "first");
    (void)net_node(n, "Mul", "first w", "second");
    (void)net_node(n, "ReduceSum", "second", "y");
    assert_int_equal(graph_set_int(n->g, n->g->node_count - 1, "keepdims", 0, NULL), SPRY_OK);
    (void)net_node(n, "Mul", "idle w", "other");
    infer(n);
}

static void test_only_what_is_needed(void **state)
{
    int32_t gradient;
    int32_t nodes;
    net n;

    (void)state;
    start_chain(&n);
    assert_int_equal(differentiate(&n, "y", NULL, "idle", &gradient, NULL), SPRY_OK);
    assert_int_equal(gradient, GRAPH_NONE);
    net_fini(&n);

    /* Neither Exp nor what is before it is touched for "second". */
    start_chain(&n);
    nodes = net_count(&n, "Mul");
    assert_int_equal(differentiate(&n, "y", NULL, "second", &gradient, NULL), SPRY_OK);
    assert_int_equal(net_count(&n, "Mul"), nodes);
    net_fini(&n);

    /* An initializer, without the way to the input. */
    start_chain(&n);
    assert_int_equal(differentiate(&n, "y", NULL, "w", &gradient, NULL), SPRY_OK);
    assert_int_equal(net_count(&n, "Mul"), nodes + 1);
    net_fini(&n);
}

static void test_value_itself(void **state)
{
    int32_t gradient;
    double x[] = {0, 0, 0, 0};
    tensor inputs[2];
    spry_value *output = NULL;
    net n;

    (void)state;
    start_chain(&n);
    assert_int_equal(differentiate(&n, "y", NULL, "y", &gradient, NULL), SPRY_OK);
    set_outputs(&n, 1, &gradient);
    inputs[0] = inputs[1] = tensor_of(1, four, x);
    gradient_check_execute(n.g, 1, inputs, &output);
    assert_true(convert_get_f64(&output->tensor, 0) == 1.0);
    spry_value_destroy(output);
    net_fini(&n);
}

/* Rounding has no slope, so what is only behind it does not count. */
static void test_steps_stop(void **state)
{
    int32_t gradient;
    net n;

    (void)state;
    net_init(&n, 13);
    (void)net_input(&n, "x", SPRY_DTYPE_F64, 1, four);
    (void)net_node(&n, "Floor", "x", "floor");
    (void)net_node(&n, "Exp", "floor", "y");
    infer(&n);
    assert_int_equal(differentiate(&n, "y", "x", "x", &gradient, NULL), SPRY_OK);
    assert_int_equal(gradient, GRAPH_NONE);
    net_fini(&n);
}

/* ---- what is refused ---- */

static void test_refusals(void **state)
{
    static const int64_t square[] = {3, 3};
    int32_t gradient;
    int32_t of;
    spry_error error;
    net n;

    (void)state;
    net_init(&n, 13);
    (void)net_input(&n, "x", SPRY_DTYPE_F64, 2, square);
    (void)net_input(&n, "count", SPRY_DTYPE_I64, 1, four);
    (void)net_node(&n, "Exp", "x", "e");
    n.g->nodes[net_node(&n, "Det", "e", "y")].name = "the determinant";
    infer(&n);
    assert_int_equal(differentiate(&n, "y", NULL, "x", &gradient, &error), SPRY_UNSUPPORTED);
    assert_non_null(strstr(error.where, "the determinant"));
    assert_non_null(strstr(error.what, "Det"));

    /* More than one element, without a seed. */
    assert_int_equal(differentiate(&n, "e", NULL, "x", &gradient, &error), SPRY_USAGE);
    assert_int_equal(differentiate(&n, "y", NULL, "count", &gradient, &error), SPRY_USAGE);
    of = -5;
    assert_int_equal(
        gradient_build(n.g,
                       &(gradient_request){
                           .value = net_value(&n, "y"), .seed = GRAPH_NONE, .of = &of, .count = 1},
                       &gradient, &error),
        SPRY_USAGE);
    net_fini(&n);
}

/* A slope that a rule does not have is not silently zero. */
static void test_refuses_inputs_without_slope(void **state)
{
    int32_t gradient;
    spry_error error;
    net n;

    (void)state;
    net_init(&n, 13);
    (void)net_input(&n, "x", SPRY_DTYPE_F64, 1, four);
    (void)net_input(&n, "low", SPRY_DTYPE_F64, 0, NULL);
    (void)net_node(&n, "Clip", "x low", "y");
    infer(&n);
    assert_int_equal(differentiate(&n, "y", "x", "low", &gradient, &error), SPRY_UNSUPPORTED);
    assert_non_null(strstr(error.what, "Clip"));
    net_fini(&n);
}

/* ---- unknown sizes ---- */

/* The batch has a symbol, the sum a size that nobody knows before. */
static void test_unknown_sizes(void **state)
{
    static const int64_t x_shape[] = {-1, 3};
    static const int64_t w_shape[] = {3, 2};
    static const int64_t free_shape[] = {-1};
    int32_t of[3];
    int32_t gradients[3];
    double x[] = {1, 2, 3, -1, 0, 2, 0.5, 1, -2};
    double w[] = {0.1, -0.2, 0.3, 0.5, -0.1, 0.7};
    net n;

    (void)state;
    net_init(&n, 13);
    of[0] = net_input(&n, "x", SPRY_DTYPE_F64, 2, x_shape);
    of[1] = net_input(&n, "w", SPRY_DTYPE_F64, 2, w_shape);
    of[2] = net_input(&n, "b", SPRY_DTYPE_F64, 1, free_shape);
    n.g->values[of[2]].type.dims[0].symbol = NULL; /* 1 or 2: both can be added */
    (void)net_node(&n, "MatMul", "x w", "product");
    (void)net_node(&n, "Add", "product b", "sum");
    (void)net_node(&n, "Exp", "sum", "e");
    (void)net_node(&n, "ReduceMean", "e", "y");
    assert_int_equal(graph_set_int(n.g, n.g->node_count - 1, "keepdims", 0, NULL), SPRY_OK);
    infer(&n);
    assert_int_equal(
        gradient_build(n.g,
                       &(gradient_request){
                           .value = net_value(&n, "y"), .seed = GRAPH_NONE, .of = of, .count = 3},
                       gradients, NULL),
        SPRY_OK);
    set_outputs(&n, 3, gradients);
    for (int64_t size = 1; size <= 2; size++) {
        double b[] = {0.3, -0.4};
        tensor inputs[3] = {tensor_of(2, (int64_t[]){3, 3}, x), tensor_of(2, w_shape, w),
                            tensor_of(1, &size, b)};
        spry_value *outputs[3] = {NULL};
        double db[2] = {0};

        gradient_check_execute(n.g, 1, inputs, outputs);
        for (int i = 0; i < 3; i++) {
            for (int j = 0; j < 2; j++) {
                double e = b[size == 1 ? 0 : j];

                for (int k = 0; k < 3; k++) {
                    e += x[i * 3 + k] * w[k * 2 + j];
                }
                db[size == 1 ? 0 : j] += exp(e) / 6;
            }
        }
        for (int j = 0; j < size; j++) {
            assert_true(fabs(convert_get_f64(&outputs[2]->tensor, j) - db[j]) < 1e-12);
        }
        for (int i = 0; i < 3; i++) {
            assert_true(tensor_same_shape(&outputs[i]->tensor, &inputs[i]));
            spry_value_destroy(outputs[i]);
        }
    }
    net_fini(&n);
}

/* ---- dropping out ---- */

/* The backward pass drops what this very run dropped: y = x f means dx = seed f. */
static void test_dropout(void **state)
{
    static const int64_t shape[] = {200};
    static const bool yes = true;
    double ratio = 0.25;
    double x[200];
    double seed[200];
    tensor inputs[2] = {tensor_of(1, shape, x), tensor_of(1, shape, seed)};
    spry_value *outputs[2] = {NULL};
    int32_t made[2];
    int kept = 0;
    net n;

    (void)state;
    net_init(&n, 13);
    (void)net_input(&n, "x", SPRY_DTYPE_F64, 1, shape);
    (void)net_input(&n, "seed", SPRY_DTYPE_F64, 1, shape);
    (void)net_constant(&n, "ratio", SPRY_DTYPE_F64, 0, NULL, &ratio);
    (void)net_constant(&n, "training", SPRY_DTYPE_BOOL, 0, NULL, &yes);
    (void)net_node(&n, "Dropout", "x ratio training", "y");
    infer(&n);
    assert_int_equal(differentiate(&n, "y", "seed", "x", &made[1], NULL), SPRY_OK);
    made[0] = net_value(&n, "y");
    set_outputs(&n, 2, made);
    for (int i = 0; i < 200; i++) {
        x[i] = 1.0 + i;
        seed[i] = 3.0 - 0.125 * i;
    }
    gradient_check_execute(n.g, 1, inputs, outputs);
    for (int i = 0; i < 200; i++) {
        double factor = convert_get_f64(&outputs[0]->tensor, i) / x[i];

        kept += factor != 0.0;
        assert_true(fabs(convert_get_f64(&outputs[1]->tensor, i) - seed[i] * factor) < 1e-12);
    }
    assert_in_range(kept, 120, 180);
    spry_value_destroy(outputs[0]);
    spry_value_destroy(outputs[1]);
    net_fini(&n);
}

/* ---- linear in the seed ---- */

static void run_seeded(net *n, double *x, double *seed, double *to)
{
    tensor inputs[2] = {tensor_of(1, four, x), tensor_of(1, four, seed)};
    spry_value *output = NULL;

    gradient_check_execute(n->g, 1, inputs, &output);
    convert_read_f64(&output->tensor, 0, 4, to);
    spry_value_destroy(output);
}

static void test_linear_in_the_seed(void **state)
{
    double x[] = {0.3, -1.0, 2.0, 0.1};
    double a[] = {1.0, -2.0, 0.5, 0.25};
    double b[] = {0.5, 1.0, -1.5, 2.0};
    double both[4];
    double of_a[4];
    double of_b[4];
    double of_both[4];
    int32_t gradient;
    net n;

    (void)state;
    net_init(&n, 13);
    (void)net_input(&n, "x", SPRY_DTYPE_F64, 1, four);
    (void)net_input(&n, "seed", SPRY_DTYPE_F64, 1, four);
    (void)net_node(&n, "Softmax", "x", "p");
    (void)net_node(&n, "Tanh", "x", "t");
    (void)net_node(&n, "Mul", "p t", "y");
    infer(&n);
    assert_int_equal(differentiate(&n, "y", "seed", "x", &gradient, NULL), SPRY_OK);
    set_outputs(&n, 1, &gradient);
    for (int i = 0; i < 4; i++) {
        both[i] = 3.0 * a[i] - b[i];
    }
    run_seeded(&n, x, a, of_a);
    run_seeded(&n, x, b, of_b);
    run_seeded(&n, x, both, of_both);
    for (int i = 0; i < 4; i++) {
        assert_true(fabs(of_both[i] - (3.0 * of_a[i] - of_b[i])) < 1e-14);
    }
    net_fini(&n);
}

/* ---- the Fisher matrix of a classifier ---- */

enum { FEATURES = 3, HIDDEN = 5, CLASSES = 4 };

/* Hidden activations h of two layers, with logits z = W2 tanh(h) + b2 and loss -log p[class]. */
static void start_classifier(net *n)
{
    static const int64_t x[] = {1, FEATURES};
    static const int64_t w1[] = {FEATURES, HIDDEN};
    static const int64_t w2[] = {HIDDEN, CLASSES};
    static const int64_t one[] = {1};
    double numbers[HIDDEN * CLASSES];
    spry_random r = spry_random_stream(5, 0);

    net_init(n, 13);
    (void)net_input(n, "x", SPRY_DTYPE_F64, 2, x);
    (void)net_input(n, "class", SPRY_DTYPE_I64, 1, one);
    for (int i = 0; i < HIDDEN * CLASSES; i++) {
        numbers[i] = spry_random_normal(&r);
    }
    (void)net_constant(n, "w1", SPRY_DTYPE_F64, 2, w1, numbers);
    (void)net_constant(n, "w2", SPRY_DTYPE_F64, 2, w2, numbers);
    (void)net_node(n, "MatMul", "x w1", "h");
    (void)net_node(n, "Tanh", "h", "t");
    (void)net_node(n, "MatMul", "t w2", "z");
    (void)net_node(n, "Softmax", "z", "p");
    (void)net_node(n, "SoftmaxCrossEntropyLoss", "z class", "loss");
    infer(n);
}

/* J[c][k] = dz[c] / dh[k] = (1 - t[k]^2) W2[k][c], by hand. */
static double jacobian(const net *n, const double *t, int c, int k)
{
    const double *w2 = n->g->values[net_value(n, "w2")].constant->data;

    return (1.0 - t[k] * t[k]) * w2[k * CLASSES + c];
}

static void test_fisher(void **state)
{
    double x[FEATURES] = {0.4, -0.7, 1.1};
    double fisher[HIDDEN] = {0};
    double p[CLASSES];
    double t[HIDDEN];
    int32_t outputs[3];
    net n;

    (void)state;
    start_classifier(&n);
    assert_int_equal(differentiate(&n, "loss", NULL, "h", &outputs[0], NULL), SPRY_OK);
    outputs[1] = net_value(&n, "p");
    outputs[2] = net_value(&n, "t");
    set_outputs(&n, 3, outputs);
    for (int64_t class = 0; class < CLASSES; class ++) {
        tensor inputs[2] = {tensor_of(2, (int64_t[]){1, FEATURES}, x), {.rank = 0}};
        spry_value *made[3] = {NULL};

        assert_int_equal(tensor_init(&inputs[1], SPRY_DTYPE_I64, 1, (int64_t[]){1}, &class, NULL),
                         SPRY_OK);
        gradient_check_execute(n.g, 1, inputs, made);
        convert_read_f64(&made[1]->tensor, 0, CLASSES, p);
        convert_read_f64(&made[2]->tensor, 0, HIDDEN, t);
        for (int k = 0; k < HIDDEN; k++) {
            double g = convert_get_f64(&made[0]->tensor, k);

            fisher[k] += p[class] * g * g;
        }
        for (int i = 0; i < 3; i++) {
            spry_value_destroy(made[i]);
        }
    }
    for (int k = 0; k < HIDDEN; k++) {
        double expected = 0.0; /* of J^T (diag(p) - p p^T) J */

        for (int a = 0; a < CLASSES; a++) {
            for (int b = 0; b < CLASSES; b++) {
                expected += jacobian(&n, t, a, k) * ((a == b ? p[a] : 0.0) - p[a] * p[b]) *
                            jacobian(&n, t, b, k);
            }
        }
        assert_true(fabs(fisher[k] - expected) < 1e-12);
    }
    net_fini(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_what_is_needed),
        cmocka_unit_test(test_value_itself),
        cmocka_unit_test(test_steps_stop),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_refuses_inputs_without_slope),
        cmocka_unit_test(test_unknown_sizes),
        cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_linear_in_the_seed),
        cmocka_unit_test(test_fisher),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
