/* Losses: values worked out by hand, and gradients against differences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "support/gradient_check.h"
#include "tensor/convert.h"
#include "train/loss.h"

enum { CLASSES = 3, EXAMPLES = 4 };

static const double class_weights[CLASSES] = {0.5, 2.0, 1.25};
static const int64_t places[EXAMPLES] = {2, 0, 1, 2};

/* ---- gradients ---- */

/* Scores [4, 3], and targets that fit the kind. */
static void build(gradient_check *c)
{
    const loss_options *o = c->detail;
    emitter e = {.g = c->n.g, .name = "loss", .error = NULL};
    const int64_t shape[2] = {EXAMPLES, CLASSES};
    int32_t scores = gradient_check_input(c, "scores", 2, shape);
    int32_t targets;
    int32_t loss;

    if (o->kind == LOSS_CROSS_ENTROPY) {
        targets = gradient_check_ints(c, "targets", EXAMPLES, places);
    } else if (o->kind == LOSS_BINARY) {
        targets = gradient_check_uniform(c, "targets", 2, shape, 0.05, 0.95);
    } else {
        targets = gradient_check_input(c, "targets", 2, shape);
    }
    loss = loss_emit(&e, o, scores, targets);
    assert_int_equal(e.status, SPRY_OK);
    (void)net_node(&c->n, "Identity", c->n.g->values[loss].name, "y");
}

static void test_gradients(void **state)
{
    static const loss_options cases[] = {
        {.kind = LOSS_CROSS_ENTROPY},
        {.kind = LOSS_CROSS_ENTROPY, .smoothing = 0.1},
        {.kind = LOSS_CROSS_ENTROPY, .class_weights = class_weights, .class_count = CLASSES},
        {.kind = LOSS_CROSS_ENTROPY,
         .class_weights = class_weights,
         .class_count = CLASSES,
         .smoothing = 0.2},
        {.kind = LOSS_CROSS_ENTROPY, .ignores = true, .ignored = 2},
        {.kind = LOSS_CROSS_ENTROPY, .ignores = true, .ignored = 2, .smoothing = 0.3},
        {.kind = LOSS_BINARY},
        {.kind = LOSS_BINARY, .positive = 3},
        {.kind = LOSS_SQUARED},
        {.kind = LOSS_HUBER},
        {.kind = LOSS_HUBER, .delta = 0.5},
        {.kind = LOSS_DISTILLATION, .temperature = 4},
        {.kind = LOSS_RELATIVE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gradient_check_run(build, &cases[i], 18);
    }
}

/* ---- values ---- */

/* The loss of given scores; `targets` as the kind wants them. */
static double value_of(const loss_options *o, int64_t examples, int64_t classes,
                       const double *scores, const void *targets)
{
    const int64_t shape[2] = {examples, classes};
    bool by_class = o->kind == LOSS_CROSS_ENTROPY;
    spry_value *outputs[1] = {NULL};
    tensor inputs[2];
    double found;
    net n;
    emitter e;
    int32_t given;
    int32_t targeted;
    int32_t loss;

    net_init(&n, 18);
    e = (emitter){.g = n.g, .name = "loss"};
    given = net_input(&n, "scores", SPRY_DTYPE_F64, 2, shape);
    targeted = net_input(&n, "targets", by_class ? SPRY_DTYPE_I64 : SPRY_DTYPE_F64,
                         by_class ? 1 : 2, shape);
    loss = loss_emit(&e, o, given, targeted);
    assert_int_equal(e.status, SPRY_OK);
    net_output(&n, n.g->values[loss].name);
    assert_int_equal(tensor_init(&inputs[0], SPRY_DTYPE_F64, 2, shape, (void *)scores, NULL),
                     SPRY_OK);
    assert_int_equal(tensor_init(&inputs[1], by_class ? SPRY_DTYPE_I64 : SPRY_DTYPE_F64,
                                 by_class ? 1 : 2, shape, (void *)targets, NULL),
                     SPRY_OK);
    gradient_check_execute(n.g, 1, inputs, outputs);
    assert_int_equal(spry_tensor_count(spry_value_tensor(outputs[0])), 1);
    found = *(const double *)spry_tensor_data((spry_tensor *)spry_value_tensor(outputs[0]));
    spry_value_destroy(outputs[0]);
    net_fini(&n);
    return found;
}

static void expect(double found, double wanted)
{
    if (!(fabs(found - wanted) < 1e-6)) {
        fail_msg("%.9g instead of %.9g", found, wanted);
    }
}

static void test_values(void **state)
{
    static const double logits[] = {2, 1, 0.1};
    static const double two[] = {2, 1, 0.1, 0, 0, 0};
    static const double halves[] = {0.5, 0.5, 0.5};
    loss_options o = {.kind = LOSS_CROSS_ENTROPY};
    double even = (0.4170300 + 1.4170300 + 2.3170300) / 3;

    (void)state;
    expect(value_of(&o, 1, 3, logits, (const int64_t[]){0}), 0.417030);
    expect(value_of(&o, 2, 3, two, (const int64_t[]){0, 1}), (0.417030 + log(3)) / 2);
    o.smoothing = 0.3;
    expect(value_of(&o, 1, 3, logits, (const int64_t[]){0}), 0.7 * 0.4170300 + 0.3 * even);
    o = (loss_options){
        .kind = LOSS_CROSS_ENTROPY, .class_weights = class_weights, .class_count = 3};
    /* divided by the weights of the targets, 0.5 and 2, not by 2 */
    expect(value_of(&o, 2, 3, two, (const int64_t[]){0, 1}), (0.5 * 0.417030 + 2 * log(3)) / 2.5);
    o = (loss_options){.kind = LOSS_CROSS_ENTROPY, .ignores = true, .ignored = 1};
    expect(value_of(&o, 2, 3, two, (const int64_t[]){0, 1}), 0.417030);
    o = (loss_options){.kind = LOSS_BINARY};
    expect(value_of(&o, 1, 1, (const double[]){0.3}, (const double[]){1}), log1p(exp(-0.3)));
    expect(value_of(&o, 1, 1, (const double[]){-800}, (const double[]){1}), 800);
    o = (loss_options){.kind = LOSS_SQUARED};
    expect(value_of(&o, 1, 3, logits, halves), (2.25 + 0.25 + 0.16) / 3);
    o = (loss_options){.kind = LOSS_HUBER};
    expect(value_of(&o, 1, 3, logits, halves), (1.0 + 0.125 + 0.08) / 3);
    o = (loss_options){.kind = LOSS_DISTILLATION, .temperature = 2};
    expect(value_of(&o, 1, 3, logits, logits), 0);
    o = (loss_options){.kind = LOSS_RELATIVE};
    expect(value_of(&o, 1, 3, logits, halves), (2.25 + 0.25 + 0.16) / 0.75);
    expect(value_of(&o, 1, 3, halves, logits), (2.25 + 0.25 + 0.16) / (4 + 1 + 0.01));
    expect(value_of(&o, 1, 1, (const double[]){0}, (const double[]){0}), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
