/* Activations from their formulas: every order of factors, and formulas that only look alike. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "model/infer.h"
#include "model/pass.h"
#include "support/net.h"

/* A formula: nodes up to the result "y", of x and the constants below. */
typedef struct formula {
    const char *becomes; /* NULL: nothing */
    const char *nodes;   /* "Type inputs > output; ..." */
    const char *approximate;
    float alpha;
} formula;

static const struct {
    const char *name;
    float number;
} constants[] = {
    {"half", 0.5f},         {"one", 1.0f},         {"two", 2.0f},
    {"three", 3.0f},        {"six", 6.0f},         {"zero", 0.0f},
    {"sixth", 1.0f / 6.0f}, {"root", 1.41421356f}, {"inverse", 0.70710678f},
    {"slope", 0.79788456f}, {"bend", 0.044715f},   {"quick", 1.702f},
};

static const formula formulas[] = {
    {"Gelu", "Div x root > e;Erf e > f;Add f one > a;Mul x a > p;Mul p half > y", "none", 0},
    {"Gelu", "Mul inverse x > e;Erf e > f;Add one f > a;Mul half x > h;Mul a h > y", "none", 0},
    {"Gelu", "Div x root > e;Erf e > f;Add f one > a;Mul a half > h;Mul x h > y", "none", 0},
    {"Gelu", "Div x root > e;Erf e > f;Add f one > a;Mul x a > p;Div p two > y", "none", 0},
    {NULL, "Div x root > e;Erf e > f;Add f one > a;Mul x a > p;Mul p p > y", NULL, 0},
    {NULL, "Div x half > e;Erf e > f;Add f one > a;Mul x a > p;Mul p half > y", NULL, 0},
    {NULL, "Div x root > e;Erf e > f;Add f one > a;Mul x a > p;Mul p three > y", NULL, 0},
    {NULL, "Div x root > e;Erf e > f;Add f one > a;Mul z a > p;Mul p half > y", NULL, 0},
    {"Gelu",
     "Pow x three > c;Mul bend c > b;Add x b > s;Mul slope s > t;Tanh t > u;Add u one > a;"
     "Mul half x > h;Mul h a > y",
     "tanh", 0},
    {"Gelu",
     "Mul x x > q;Mul q x > c;Mul c bend > b;Add b x > s;Mul s slope > t;Tanh t > u;"
     "Add one u > a;Mul a x > h;Mul h half > y",
     "tanh", 0},
    {NULL,
     "Pow x two > c;Mul bend c > b;Add x b > s;Mul slope s > t;Tanh t > u;Add u one > a;"
     "Mul half x > h;Mul h a > y",
     NULL, 0},
    {"Swish", "Sigmoid x > s;Mul s x > y", NULL, 1.0f},
    {"Swish", "Mul x quick > q;Sigmoid q > s;Mul x s > y", NULL, 1.702f},
    {"Swish", "Mul x z > p;Sigmoid p > s;Mul s p > y", NULL, 1.0f},
    {NULL, "Sigmoid x > s;Mul z s > y", NULL, 0},
    {"HardSwish", "Add x three > m;Clip m zero six > c;Mul x c > p;Div p six > y", NULL, 0},
    {"HardSwish", "Add x three > m;Clip m zero six > c;Mul c sixth > p;Mul x p > y", NULL, 0},
    {NULL, "Add x three > m;Clip m zero three > c;Mul x c > p;Div p six > y", NULL, 0},
    {NULL, "HardSigmoid x > s;Mul x s > y", NULL, 0}, /* its slope is 0.2 */
};

static void add_nodes(net *n, const char *nodes)
{
    char copy[512];
    char *rest = copy;

    assert_true(strlen(nodes) < sizeof copy);
    memcpy(copy, nodes, strlen(nodes) + 1);
    for (char *line; (line = strtok_r(rest, ";", &rest)) != NULL;) {
        char *inputs = strchr(line, ' ') + 1;
        char *output = strstr(line, " > ");

        inputs[-1] = '\0';
        *output = '\0';
        net_node(n, graph_text(n->g, line), inputs, output + 3);
    }
}

static void build(net *n, const char *nodes)
{
    static const int64_t shape[] = {-1, 5};

    net_init(n, 13);
    net_input(n, "x", SPRY_DTYPE_F32, 2, shape);
    net_input(n, "z", SPRY_DTYPE_F32, 2, shape);
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        net_constant(n, constants[i].name, SPRY_DTYPE_F32, 0, NULL, &constants[i].number);
    }
    add_nodes(n, nodes);
    net_output(n, "y");
}

static void run(net *n, int64_t changes)
{
    pass_context c = {.m = NULL};

    assert_int_equal(infer_graph(n->g, NULL), SPRY_OK);
    assert_int_equal(pass_activation(n->g, &c, NULL), SPRY_OK);
    assert_int_equal(c.changes, changes);
    assert_int_equal(pass_dead(n->g, &c, NULL), SPRY_OK);
}

static void knows_formulas(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof formulas / sizeof *formulas; i++) {
        const formula *f = &formulas[i];
        net n;

        build(&n, f->nodes);
        run(&n, f->becomes != NULL);
        if (f->becomes != NULL) {
            const graph_node *node = net_find(&n, f->becomes);

            assert_non_null(node->op);
            assert_int_equal(node->input_count, 1);
            assert_string_equal(n.g->values[node->outputs[0]].name, "y");
            assert_string_equal(graph_attribute_string(node, "approximate", "none"),
                                f->approximate != NULL ? f->approximate : "none");
            assert_float_equal(graph_attribute_float(node, "alpha", 0.0f), f->alpha, 0.0f);
        }
        net_fini(&n);
    }
}

static void knows_hard_sigmoid(void **state)
{
    int32_t gate;
    net n;

    (void)state;
    build(&n, "HardSigmoid x > s;Mul x s > y");
    gate = n.g->values[net_value(&n, "s")].producer;
    assert_int_equal(graph_set_float(n.g, gate, "alpha", 1.0f / 6.0f, NULL), SPRY_OK);
    run(&n, 1);
    assert_int_equal(net_find(&n, "HardSwish")->inputs[0], net_value(&n, "x"));
    net_fini(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_formulas),
        cmocka_unit_test(knows_hard_sigmoid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
