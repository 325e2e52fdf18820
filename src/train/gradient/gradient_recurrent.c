/* Recurrent layers, by operators of their own (ops/rnn_gradient.c). */
#include <string.h>

#include "train/gradient/gradient_step.h"

enum { PORTS = 8, RESULTS = 3, SHARES = 7 };

/* The input that a result of the operator is the derivative by: all but the lengths. */
static const int port_of[SHARES] = {0, 1, 2, 3, 5, 6, 7};

static void give_recurrent(gradient_step *s)
{
    int32_t inputs[PORTS + RESULTS];
    int32_t shares[SHARES];
    int32_t made;

    for (int i = 0; i < PORTS; i++) {
        inputs[i] = gradient_input(s, i);
    }
    for (int i = 0; i < RESULTS; i++) {
        inputs[PORTS + i] = i < s->node.output_count ? s->dy[i] : GRAPH_NONE;
    }
    made = emit_own(&s->e, s->detail, PORTS + RESULTS, inputs, SHARES, shares);
    emit_set_like(&s->e, made, &s->node);
    for (int i = 0; i < SHARES; i++) {
        if (gradient_wanted(s, port_of[i])) {
            gradient_give(s, port_of[i], shares[i]);
        }
    }
}

/* clang-format off */
const gradient_rule gradient_recurrent_rules[] = {
    {.name = "GRU", .domain = "", .run = give_recurrent, .outputs = 2, .detail = "GRUGradient"},
    {.name = "LSTM", .domain = "", .run = give_recurrent, .outputs = 3, .detail = "LSTMGradient"},
    {.name = "RNN", .domain = "", .run = give_recurrent, .outputs = 2, .detail = "RNNGradient"},
    {.name = NULL},
};
/* clang-format on */
