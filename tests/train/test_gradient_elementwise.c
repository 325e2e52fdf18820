/* Slopes of functions of single elements, and sums over what broadcasting repeats. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "support/gradient_check.h"

typedef struct function {
    const char *name;
    double low, high; /* where it is defined, away from kinks that the numbers might meet */
    const char *a;    /* an attribute; NULL: none */
    float a_value;
    const char *b;
    float b_value;
    int32_t opset; /* the zero: 18 */
} function;

static const function functions[] = {
    {"Abs", -2, 2, NULL, 0, NULL, 0, 0},
    {"Acos", -0.9, 0.9, NULL, 0, NULL, 0, 0},
    {"Acosh", 1.2, 3, NULL, 0, NULL, 0, 0},
    {"Asin", -0.9, 0.9, NULL, 0, NULL, 0, 0},
    {"Asinh", -3, 3, NULL, 0, NULL, 0, 0},
    {"Atan", -3, 3, NULL, 0, NULL, 0, 0},
    {"Atanh", -0.9, 0.9, NULL, 0, NULL, 0, 0},
    {"Celu", -3, 3, "alpha", 0.7f, NULL, 0, 0},
    {"Cos", -3, 3, NULL, 0, NULL, 0, 0},
    {"Cosh", -2, 2, NULL, 0, NULL, 0, 0},
    {"Elu", -3, 3, "alpha", 0.7f, NULL, 0, 0},
    {"Erf", -2, 2, NULL, 0, NULL, 0, 0},
    {"Exp", -2, 2, NULL, 0, NULL, 0, 0},
    {"Gelu", -3, 3, NULL, 0, NULL, 0, 20},
    {"HardSigmoid", -3, 3, "alpha", 0.3f, "beta", 0.4f, 0},
    {"HardSwish", -5, 5, NULL, 0, NULL, 0, 0},
    {"Identity", -5, 5, NULL, 0, NULL, 0, 0},
    {"LeakyRelu", -3, 3, "alpha", 0.2f, NULL, 0, 0},
    {"Log", 0.2, 3, NULL, 0, NULL, 0, 0},
    {"Mish", -3, 3, NULL, 0, NULL, 0, 0},
    {"Neg", -3, 3, NULL, 0, NULL, 0, 0},
    {"Reciprocal", 0.3, 3, NULL, 0, NULL, 0, 0},
    {"Relu", -3, 3, NULL, 0, NULL, 0, 0},
    {"Selu", -3, 3, NULL, 0, NULL, 0, 0},
    {"Shrink", -2, 2, "lambd", 0.4f, "bias", 0.1f, 0},
    {"Sigmoid", -3, 3, NULL, 0, NULL, 0, 0},
    {"Sin", -3, 3, NULL, 0, NULL, 0, 0},
    {"Sinh", -2, 2, NULL, 0, NULL, 0, 0},
    {"Softplus", -3, 3, NULL, 0, NULL, 0, 0},
    {"Softsign", -3, 3, NULL, 0, NULL, 0, 0},
    {"Sqrt", 0.3, 3, NULL, 0, NULL, 0, 0},
    {"Swish", -3, 3, "alpha", 1.3f, NULL, 0, 24},
    {"Tan", -1, 1, NULL, 0, NULL, 0, 0},
    {"Tanh", -2, 2, NULL, 0, NULL, 0, 0},
    {"ThresholdedRelu", -3, 3, "alpha", 0.5f, NULL, 0, 0},
};

static void build_function(gradient_check *c)
{
    const function *f = c->detail;
    int32_t node;

    (void)gradient_check_uniform(c, "x", 2, (const int64_t[]){3, 7}, f->low, f->high);
    node = net_node(&c->n, f->name, "x", "y");
    if (f->a != NULL) {
        gradient_check_set_float(c, node, f->a, f->a_value);
    }
    if (f->b != NULL) {
        gradient_check_set_float(c, node, f->b, f->b_value);
    }
}

static void test_functions(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        gradient_check_run(build_function, &functions[i],
                           functions[i].opset != 0 ? functions[i].opset : 18);
    }
}

static void build_gelu_tanh(gradient_check *c)
{
    (void)gradient_check_input(c, "x", 1, (const int64_t[]){9});
    gradient_check_set_string(c, net_node(&c->n, "Gelu", "x", "y"), "approximate", "tanh");
}

static void test_gelu_tanh(void **state)
{
    (void)state;
    gradient_check_run(build_gelu_tanh, NULL, 20);
}

/* Two operands of broadcasting shapes. */
typedef struct pair {
    const char *name;
    int a_rank, b_rank;
    int64_t a[4], b[4];
} pair;

static const pair pairs[] = {
    {"", 2, 2, {2, 3}, {2, 3}},       {"", 2, 1, {2, 3}, {3}},    {"", 1, 2, {3}, {2, 3}},
    {"", 2, 0, {2, 3}, {0}},          {"", 0, 2, {0}, {2, 3}},    {"", 2, 2, {2, 1}, {1, 3}},
    {"", 3, 3, {2, 1, 3}, {2, 4, 1}}, {"", 3, 1, {2, 2, 1}, {3}}, {"", 4, 2, {2, 1, 2, 1}, {1, 3}},
    {"", 3, 3, {1, 1, 1}, {1, 1, 1}},
};

static void build_pair(gradient_check *c)
{
    const pair *p = c->detail;
    bool power = strcmp(p->name, "Pow") == 0;
    bool division = strcmp(p->name, "Div") == 0;

    (void)gradient_check_uniform(c, "a", p->a_rank, p->a, power ? 0.3 : -2.0, 2.0);
    (void)gradient_check_uniform(c, "b", p->b_rank, p->b, division ? 0.5 : -2.0, 2.0);
    (void)net_node(&c->n, p->name, "a b", "y");
}

static void test_pairs(void **state)
{
    static const char *const names[] = {"Add", "Sub", "Mul",  "Div", "Pow",
                                        "Max", "Min", "Mean", "Sum"};

    (void)state;
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
            pair p = pairs[i];

            p.name = names[n];
            gradient_check_run(build_pair, &p, 13);
        }
    }
}

static void build_square(gradient_check *c)
{
    (void)gradient_check_input(c, "x", 1, (const int64_t[]){5});
    (void)gradient_check_number(c, "two", 2.0);
    (void)gradient_check_number(c, "three", 3.0);
    (void)net_node(&c->n, "Pow", "x two", "square");
    (void)net_node(&c->n, "Pow", "x three", "cube");
    (void)net_node(&c->n, "Mul", "x x", "again");
    (void)net_node(&c->n, "Sum", "square cube again x", "y");
}

static void test_powers(void **state)
{
    (void)state;
    gradient_check_run(build_square, NULL, 13);
}

static void build_many(gradient_check *c)
{
    (void)gradient_check_input(c, "a", 2, (const int64_t[]){2, 3});
    (void)gradient_check_input(c, "b", 1, (const int64_t[]){3});
    (void)gradient_check_input(c, "d", 2, (const int64_t[]){2, 1});
    (void)net_node(&c->n, c->detail, "a b d", "y");
}

static void test_many(void **state)
{
    (void)state;
    gradient_check_run(build_many, "Max", 13);
    gradient_check_run(build_many, "Min", 13);
    gradient_check_run(build_many, "Mean", 13);
    gradient_check_run(build_many, "Sum", 13);
}

static void build_prelu(gradient_check *c)
{
    (void)gradient_check_input(c, "x", 3, (const int64_t[]){2, 3, 2});
    (void)gradient_check_input(c, "slope", 2, (const int64_t[]){3, 1});
    (void)net_node(&c->n, "PRelu", "x slope", "y");
}

static void build_clip(gradient_check *c)
{
    (void)gradient_check_input(c, "x", 1, (const int64_t[]){9});
    (void)gradient_check_number(c, "low", -0.5);
    (void)gradient_check_number(c, "high", 0.7);
    (void)net_node(&c->n, "Clip", c->detail, "y");
}

static void build_old_clip(gradient_check *c)
{
    int32_t node;

    (void)gradient_check_input(c, "x", 1, (const int64_t[]){9});
    node = net_node(&c->n, "Clip", "x", "y");
    gradient_check_set_float(c, node, "max", 0.25f);
}

static void test_selections(void **state)
{
    (void)state;
    gradient_check_run(build_prelu, NULL, 16);
    gradient_check_run(build_clip, "x low high", 13);
    gradient_check_run(build_clip, "x - high", 13);
    gradient_check_run(build_clip, "x low", 13);
    gradient_check_run(build_old_clip, NULL, 6);
}

static void build_where(gradient_check *c)
{
    static const bool chosen[] = {true, false, true};

    (void)net_constant(&c->n, "chosen", SPRY_DTYPE_BOOL, 1, (const int64_t[]){3}, chosen);
    (void)gradient_check_input(c, "a", 2, (const int64_t[]){2, 1});
    (void)gradient_check_input(c, "b", 0, NULL);
    (void)net_node(&c->n, "Where", "chosen a b", "y");
}

/* A function of an element that is chosen by a comparison with another. */
static void build_compared(gradient_check *c)
{
    (void)gradient_check_input(c, "a", 1, (const int64_t[]){6});
    (void)gradient_check_input(c, "b", 1, (const int64_t[]){6});
    (void)net_node(&c->n, "Less", "a b", "less");
    (void)net_node(&c->n, "Cast", "less", "number");
    gradient_check_set_int(c, c->n.g->node_count - 1, "to", (int64_t)c->dtype);
    (void)net_node(&c->n, "Floor", "a", "floor");
    (void)net_node(&c->n, "Mul", "a number", "kept");
    (void)net_node(&c->n, "Where", "less kept b", "either");
    (void)net_node(&c->n, "Add", "either floor", "y");
}

static void test_where(void **state)
{
    (void)state;
    gradient_check_run(build_where, NULL, 16);
    gradient_check_run(build_compared, NULL, 16);
}

static void build_cast(gradient_check *c)
{
    (void)gradient_check_input(c, "x", 1, (const int64_t[]){6});
    (void)net_node(&c->n, "Cast", "x", "wide");
    gradient_check_set_int(c, c->n.g->node_count - 1, "to", SPRY_DTYPE_F64);
    (void)net_node(&c->n, "Exp", "wide", "e");
    (void)net_node(&c->n, "CastLike", "e x", "y");
}

static void build_dropout(gradient_check *c)
{
    static const bool no = false;

    (void)gradient_check_input(c, "x", 1, (const int64_t[]){6});
    (void)gradient_check_number(c, "ratio", 0.4);
    (void)net_constant(&c->n, "training", SPRY_DTYPE_BOOL, 0, NULL, &no);
    (void)net_node(&c->n, "Dropout", c->detail, "dropped");
    (void)net_node(&c->n, "Exp", "dropped", "y");
}

static void test_inference_forms(void **state)
{
    (void)state;
    gradient_check_run(build_cast, NULL, 16);
    gradient_check_run(build_dropout, "x", 13);
    gradient_check_run(build_dropout, "x ratio", 13);
    gradient_check_run(build_dropout, "x ratio training", 13);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_functions), cmocka_unit_test(test_gelu_tanh),
        cmocka_unit_test(test_pairs),     cmocka_unit_test(test_powers),
        cmocka_unit_test(test_many),      cmocka_unit_test(test_selections),
        cmocka_unit_test(test_where),     cmocka_unit_test(test_inference_forms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
