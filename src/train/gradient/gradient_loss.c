/* Losses of classification. For scores [N, C, d...] and one target per place [N, d...],
 *
 *     l = -w[t] x[t]                     NegativeLogLikelihoodLoss
 *     l = -w[t] log softmax(x)[t]        SoftmaxCrossEntropyLoss
 *
 * and the mean is a weighted one: it divides by the sum of the weights that count. */
#include <string.h>

#include "train/gradient/gradient_step.h"

/* What the places of the targets weigh in the loss, and the targets with ignored ones made 0. */
typedef struct places {
    int32_t weights; /* [N, d...] */
    int32_t targets;
} places;

static places weigh(gradient_step *s, spry_dtype dtype)
{
    int32_t given = gradient_input(s, 2);
    places p = {.targets = s->node.inputs[1]};
    int32_t one = emit_number(&s->e, dtype, 1.0);
    int32_t counts = GRAPH_NONE;

    if (graph_attribute_find(&s->node, "ignore_index") != NULL) {
        spry_dtype index = gradient_dtype(s, p.targets);
        int64_t ignored = graph_attribute_int(&s->node, "ignore_index", 0);
        int32_t skipped =
            emit_binary(&s->e, "Equal", p.targets, emit_number(&s->e, index, (double)ignored));

        p.targets = emit_where(&s->e, skipped, emit_number(&s->e, index, 0.0), p.targets);
        counts = emit_where(&s->e, skipped, emit_number(&s->e, dtype, 0.0), one);
    }
    p.weights = given != GRAPH_NONE ? emit_binary(&s->e, "Gather", given, p.targets) : counts;
    if (given != GRAPH_NONE && counts != GRAPH_NONE) {
        p.weights = emit_binary(&s->e, "Mul", p.weights, counts);
    }
    if (p.weights == GRAPH_NONE) {
        p.weights = emit_expand_like(&s->e, one, p.targets);
    }
    return p;
}

/* Per place: the derivative by what the loss subtracts there. */
static int32_t place_shares(gradient_step *s, int32_t weights)
{
    const char *reduction = graph_attribute_string(&s->node, "reduction", "mean");
    int32_t share = emit_binary(&s->e, "Mul", weights, s->dy[0]);

    if (strcmp(reduction, "mean") == 0) {
        int32_t sum = emit_unary(&s->e, "ReduceSum", weights);

        emit_set_int(&s->e, sum, "keepdims", 0);
        share = emit_binary(&s->e, "Div", share, sum);
    }
    return emit_binary(&s->e, "Unsqueeze", share, emit_ints(&s->e, 1, &(int64_t){1}));
}

/* 1 at the target's class, 0 elsewhere. */
static int32_t one_hot(gradient_step *s, int32_t targets, spry_dtype dtype)
{
    int32_t pair[2] = {emit_number(&s->e, dtype, 0.0), emit_number(&s->e, dtype, 1.0)};
    int32_t axis = emit_ints(&s->e, 1, &(int64_t){0});
    int32_t values;
    int32_t hot;

    pair[0] = emit_binary(&s->e, "Unsqueeze", pair[0], axis);
    pair[1] = emit_binary(&s->e, "Unsqueeze", pair[1], axis);
    values = emit_node(&s->e, "Concat", 2, pair);
    emit_set_int(&s->e, values, "axis", 0);
    hot = emit_node(&s->e, "OneHot", 3,
                    (const int32_t[]){targets, emit_size(&s->e, s->node.inputs[0], 1), values});
    emit_set_int(&s->e, hot, "axis", 1);
    return hot;
}

static void give_likelihood(gradient_step *s)
{
    spry_dtype dtype = gradient_dtype(s, s->node.inputs[0]);
    places p = weigh(s, dtype);
    int32_t share =
        emit_binary(&s->e, "Mul", place_shares(s, p.weights), one_hot(s, p.targets, dtype));

    gradient_give(s, 0, emit_unary(&s->e, "Neg", share));
}

/* Per place softmax - target, weighed; and what flows into the logarithms themselves. */
static void give_cross_entropy(gradient_step *s)
{
    spry_dtype dtype = gradient_dtype(s, s->node.inputs[0]);
    int32_t logs = gradient_demand_output(s, 1);
    int32_t softmax = emit_unary(&s->e, "Exp", logs);

    if (s->dy[0] != GRAPH_NONE) {
        places p = weigh(s, dtype);
        int32_t off = emit_binary(&s->e, "Sub", softmax, one_hot(s, p.targets, dtype));

        gradient_give(s, 0, emit_binary(&s->e, "Mul", place_shares(s, p.weights), off));
    }
    if (s->dy[1] != GRAPH_NONE) {
        int32_t sums = emit_reduce(&s->e, "ReduceSum", s->dy[1], 1, (const int64_t[]){1}, true);

        gradient_give(
            s, 0, emit_binary(&s->e, "Sub", s->dy[1], emit_binary(&s->e, "Mul", softmax, sums)));
    }
}

const gradient_rule gradient_loss_rules[] = {
    {.name = "NegativeLogLikelihoodLoss", .domain = "", .run = give_likelihood},
    {.name = "SoftmaxCrossEntropyLoss", .domain = "", .run = give_cross_entropy, .outputs = 2},
    {.name = NULL},
};
