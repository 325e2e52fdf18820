/* Softmax and LogSoftmax. Below operator set 13 all axes from the given one on are one line. */
#include "train/gradient/gradient_step.h"

/* The axes of a line. */
static int line_axes(gradient_step *s, int64_t *axes)
{
    graph_type type = gradient_ranked(s, s->node.outputs[0]);
    bool flatten = s->node.opset < 13;
    int axis = type.rank > 0 ? gradient_axis(s, "axis", flatten ? 1 : -1, type.rank + flatten) : 0;
    int count = 0;

    for (int i = axis; i < type.rank && (flatten || i == axis); i++) {
        axes[count++] = i;
    }
    return count;
}

static int32_t line_sums(gradient_step *s, int32_t a)
{
    int64_t axes[SPRY_TENSOR_MAX_RANK];
    int count = line_axes(s, axes);

    /* A scalar is a line of its own: there is nothing to add up. */
    return count == 0 ? a : emit_reduce(&s->e, "ReduceSum", a, count, axes, true);
}

/* y (dy - sum of dy y) */
static void give_softmax(gradient_step *s)
{
    int32_t y = s->node.outputs[0];
    int64_t axes[SPRY_TENSOR_MAX_RANK];
    int32_t sums;

    if (s->node.opset >= 13 && line_axes(s, axes) == 1) {
        int32_t share;

        (void)emit_own(&s->e, "SoftmaxGradient", 2, (const int32_t[]){y, s->dy[0]}, 1, &share);
        emit_set_int(&s->e, share, "axis", axes[0]);
        gradient_give(s, 0, share);
        return;
    }
    sums = line_sums(s, emit_binary(&s->e, "Mul", s->dy[0], y));

    gradient_give(s, 0, emit_binary(&s->e, "Mul", y, emit_binary(&s->e, "Sub", s->dy[0], sums)));
}

/* dy - exp(y) sum of dy */
static void give_log_softmax(gradient_step *s)
{
    int32_t p = emit_unary(&s->e, "Exp", s->node.outputs[0]);
    int32_t sums = line_sums(s, s->dy[0]);

    gradient_give(s, 0, emit_binary(&s->e, "Sub", s->dy[0], emit_binary(&s->e, "Mul", p, sums)));
}

const gradient_rule gradient_softmax_rules[] = {
    {.name = "Hardmax", .domain = ""},
    {.name = "LogSoftmax", .domain = "", .run = give_log_softmax},
    {.name = "Softmax", .domain = "", .run = give_softmax},
    {.name = NULL},
};
