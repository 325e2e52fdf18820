/* Recurrent layers back through time: every form of them against differences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "support/gradient_check.h"

enum { MOST_ACTIVATIONS = 6 };

typedef struct form {
    const char *type; /* LSTM, GRU, RNN */
    const char *direction;
    int64_t steps, batch, input, hidden;
    bool batch_first;
    const char *ports;   /* letters of what is given: B, L (lengths), H, C, P */
    const char *results; /* y, h, c: outputs that the loss reads */
    bool flag;           /* linear_before_reset, or input_forget */
    float clip;          /* 0: none */
    const char *activations[MOST_ACTIVATIONS]; /* none: those of the standard */
} form;

static bool has(const char *letters, char c)
{
    return strchr(letters, c) != NULL;
}

static void set_activations(gradient_check *c, int32_t node, const char *const *names)
{
    graph_attribute a = {.name = "activations", .kind = GRAPH_ATTRIBUTE_STRINGS};
    spry_text *list = arena_array(&c->n.memory, MOST_ACTIVATIONS, sizeof *list);

    assert_non_null(list);
    for (; a.count < MOST_ACTIVATIONS && names[a.count] != NULL; a.count++) {
        list[a.count] = (spry_text){.data = names[a.count], .size = strlen(names[a.count])};
    }
    a.as.strings = list;
    assert_int_equal(graph_set_attribute(c->n.g, node, &a, NULL), SPRY_OK);
}

/* All results that count, one after the other, as "y". */
static void join(gradient_check *c, const char *results)
{
    static const char *const names[] = {"ys", "hs", "cs"};
    static const char *const flat[] = {"y_flat", "h_flat", "c_flat"};
    char list[64] = "";

    (void)gradient_check_ints(c, "all", 1, (int64_t[]){-1});
    for (int i = 0; i < 3; i++) {
        char inputs[32];

        if (has(results, "yhc"[i])) {
            (void)snprintf(inputs, sizeof inputs, "%s all", names[i]);
            (void)net_node(&c->n, "Reshape", inputs, flat[i]);
            (void)snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s",
                           list[0] != '\0' ? " " : "", flat[i]);
        }
    }
    gradient_check_set_int(c, net_node(&c->n, "Concat", list, "y"), "axis", 0);
}

static void add_states(gradient_check *c, const form *f, int64_t directions)
{
    int64_t state[] = {directions, f->batch, f->hidden};
    int64_t turned[] = {f->batch, directions, f->hidden};

    if (has(f->ports, 'L')) { /* all of it, then shorter and shorter, down to nothing */
        int32_t lengths[8];

        for (int64_t e = 0; e < f->batch; e++) {
            lengths[e] = (int32_t)(f->steps - e > 0 ? f->steps - e : 0);
        }
        (void)net_constant(&c->n, "L", SPRY_DTYPE_I32, 1, &f->batch, lengths);
    }
    if (has(f->ports, 'H')) {
        (void)gradient_check_input(c, "H", 3, f->batch_first ? turned : state);
    }
    if (has(f->ports, 'C')) {
        (void)gradient_check_input(c, "C", 3, f->batch_first ? turned : state);
    }
    if (has(f->ports, 'P')) {
        (void)gradient_check_input(c, "P", 2, (int64_t[]){directions, 3 * f->hidden});
    }
}

static int32_t add_layer(gradient_check *c, const form *f)
{
    bool is_lstm = f->type[0] == 'L';
    char inputs[64] = "x w r";

    for (const char *port = is_lstm ? "BLHCP" : "BLH"; *port != '\0'; port++) {
        size_t length = strlen(inputs);

        (void)snprintf(inputs + length, sizeof inputs - length, " %c",
                       has(f->ports, *port) ? *port : '-');
    }
    return net_node(&c->n, f->type, inputs, is_lstm ? "ys hs cs" : "ys hs");
}

static void build(gradient_check *c)
{
    const form *f = c->detail;
    int64_t directions = strcmp(f->direction, "bidirectional") == 0 ? 2 : 1;
    int64_t width = (f->type[0] == 'L' ? 4 : f->type[0] == 'G' ? 3 : 1) * f->hidden;
    int64_t rows[] = {f->steps, f->batch, f->input};
    int64_t turned[] = {f->batch, f->steps, f->input};
    int32_t node;

    (void)gradient_check_input(c, "x", 3, f->batch_first ? turned : rows);
    (void)gradient_check_uniform(c, "w", 3, (int64_t[]){directions, width, f->input}, -0.9, 0.9);
    (void)gradient_check_uniform(c, "r", 3, (int64_t[]){directions, width, f->hidden}, -0.9, 0.9);
    if (has(f->ports, 'B')) {
        (void)gradient_check_input(c, "B", 2, (int64_t[]){directions, 2 * width});
    }
    add_states(c, f, directions);
    node = add_layer(c, f);
    gradient_check_set_int(c, node, "hidden_size", f->hidden);
    gradient_check_set_int(c, node, "layout", f->batch_first);
    gradient_check_set_string(c, node, "direction", f->direction);
    gradient_check_set_int(c, node, f->type[0] == 'L' ? "input_forget" : "linear_before_reset",
                           f->flag);
    if (f->clip > 0.0f) {
        gradient_check_set_float(c, node, "clip", f->clip);
    }
    if (f->activations[0] != NULL) {
        set_activations(c, node, f->activations);
    }
    join(c, f->results);
}

static void check(const form *f)
{
    gradient_check_run(build, f, 14);
}

/* ---- */

static void test_lstm(void **state)
{
    static const form forms[] = {
        {"LSTM", "forward", 1, 1, 1, 1, false, "", "y", false, 0, {NULL}},
        {"LSTM", "forward", 4, 2, 3, 5, false, "B", "y", false, 0, {NULL}},
        {"LSTM", "reverse", 3, 2, 3, 4, false, "BHC", "yhc", false, 0, {NULL}},
        {"LSTM", "bidirectional", 3, 3, 2, 3, false, "BLHC", "yhc", false, 0, {NULL}},
        {"LSTM", "bidirectional", 3, 5, 2, 3, true, "BLHC", "yhc", false, 0, {NULL}},
        {"LSTM", "reverse", 4, 3, 2, 3, true, "LP", "hc", false, 0, {NULL}},
        {"LSTM", "bidirectional", 3, 2, 3, 3, false, "BHCP", "yc", false, 0, {NULL}},
        {"LSTM", "forward", 5, 2, 3, 3, false, "BHCP", "h", true, 0, {NULL}},
        {"LSTM", "forward", 3, 2, 2, 3, false, "B", "c", false, 0, {NULL}},
        {"LSTM", "forward", 3, 2, 3, 4, false, "BHC", "yh", false, 0.7f, {NULL}},
        {"LSTM",
         "bidirectional",
         3,
         2,
         2,
         3,
         false,
         "B",
         "y",
         false,
         0,
         {"HardSigmoid", "Softsign", "Affine", "Sigmoid", "ScaledTanh", "Elu"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        check(&forms[i]);
    }
}

static void test_gru(void **state)
{
    static const form forms[] = {
        {"GRU", "forward", 1, 1, 1, 1, false, "", "y", false, 0, {NULL}},
        {"GRU", "forward", 4, 2, 3, 5, false, "B", "y", false, 0, {NULL}},
        {"GRU", "forward", 4, 2, 3, 5, false, "BH", "yh", true, 0, {NULL}},
        {"GRU", "reverse", 3, 2, 3, 4, false, "BH", "h", false, 0, {NULL}},
        {"GRU", "bidirectional", 3, 5, 2, 3, true, "BLH", "yh", false, 0, {NULL}},
        {"GRU", "bidirectional", 3, 4, 2, 3, false, "LH", "yh", true, 0, {NULL}},
        {"GRU", "bidirectional", 3, 2, 2, 3, true, "BH", "yh", true, 0.6f, {NULL}},
        {"GRU",
         "bidirectional",
         3,
         2,
         2,
         3,
         false,
         "B",
         "y",
         false,
         0,
         {"Softplus", "Softsign", "Sigmoid", "LeakyRelu"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        check(&forms[i]);
    }
}

static void test_rnn(void **state)
{
    static const form forms[] = {
        {"RNN", "forward", 4, 2, 3, 5, false, "BH", "yh", false, 0, {NULL}},
        {"RNN", "bidirectional", 3, 4, 2, 3, true, "BLH", "yh", false, 0, {"Tanh", "Relu"}},
        {"RNN", "reverse", 3, 2, 2, 3, false, "", "y", false, 0, {"ThresholdedRelu"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        check(&forms[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lstm),
        cmocka_unit_test(test_gru),
        cmocka_unit_test(test_rnn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
