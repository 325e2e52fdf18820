/* Networks of convolutions, whose backward pass runs channels-last: f32 against f64, and the same
 * bits for one, two and three threads. Nothing is turned but at the ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "support/gradient_check.h"

typedef struct block {
    int64_t batch, channels, side, filters;
    int64_t kernel, stride, group;
    const char *pool;
    bool training;
} block;

static void build_block(gradient_check *c)
{
    const block *b = c->detail;
    int64_t last = b->pool != NULL && strcmp(b->pool, "GlobalAveragePool") == 0 ? 1 : 3;
    int64_t pad = b->kernel / 2;
    int32_t node;

    c->surrogate = true; /* the rules are checked by differences elsewhere, in f64 */
    c->f32_tolerance = 2e-5;
    (void)gradient_check_input(c, "x", 4, (int64_t[]){b->batch, b->channels, b->side, b->side});
    (void)gradient_check_input(
        c, "w1", 4, (int64_t[]){b->filters, b->channels / b->group, b->kernel, b->kernel});
    (void)gradient_check_input(c, "w2", 4, (int64_t[]){b->filters, b->filters, last, last});
    (void)gradient_check_input(c, "scale", 1, &b->filters);
    (void)gradient_check_input(c, "bias", 1, &b->filters);
    (void)gradient_check_input(c, "mean", 1, &b->filters);
    (void)gradient_check_uniform(c, "variance", 1, &b->filters, 0.5, 2.0);
    node = net_node(&c->n, "Conv", "x w1", "a");
    gradient_check_set_ints(c, node, "pads", 4, (const int64_t[]){pad, pad, pad, pad});
    gradient_check_set_ints(c, node, "strides", 2, (const int64_t[]){b->stride, b->stride});
    gradient_check_set_int(c, node, "group", b->group);
    node = net_node(&c->n, "BatchNormalization", "a scale bias mean variance",
                    b->training ? "b running_mean running_variance" : "b");
    gradient_check_set_int(c, node, "training_mode", b->training);
    (void)net_node(&c->n, "Relu", "b", "r");
    node = net_node(&c->n, b->pool != NULL ? b->pool : "Identity", "r", "p");
    if (b->pool != NULL && last == 3) {
        gradient_check_set_ints(c, node, "kernel_shape", 2, (const int64_t[]){3, 2});
        gradient_check_set_ints(c, node, "strides", 2, (const int64_t[]){2, 2});
        gradient_check_set_ints(c, node, "pads", 4, (const int64_t[]){1, 0, 1, 0});
    }
    node = net_node(&c->n, "Conv", "p w2 bias", "y");
    if (last == 3) {
        gradient_check_set_ints(c, node, "pads", 4, (const int64_t[]){1, 1, 1, 1});
    }
}

static void test_blocks(void **state)
{
    static const block cases[] = {
        {2, 16, 12, 24, 3, 1, 1, "MaxPool", true},
        {3, 8, 11, 16, 3, 2, 1, "AveragePool", true},
        {2, 3, 13, 20, 5, 1, 1, "MaxPool", false},
        {2, 12, 9, 18, 3, 2, 3, NULL, true},
        {2, 16, 8, 32, 1, 2, 1, "GlobalAveragePool", true},
        {1, 40, 7, 33, 1, 1, 1, NULL, true},
        {2, 6, 8, 6, 3, 1, 6, "MaxPool", true},
        {3, 70, 23, 70, 5, 2, 70, NULL, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gradient_check_run(build_block, &cases[i], 15);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_blocks)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
