/* Normalisation. With n(x) = (x - mean) / sqrt(variance + epsilon), the normalised numbers, and g
 * the derivative by them, NormalizationGradient (ops/gradient.c) gives that by x and n itself:
 *
 *     y = scale n(x) + bias:   g = scale dy,   dscale = sum of n dy,   dbias = sum of dy
 *
 * The operators differ in what is normalised together. */
#include <string.h>

#include "train/gradient/gradient_step.h"

typedef struct normal {
    int32_t dx, n;
} normal;

/* `x` normalised together from `axis` on. */
static normal differentiate(gradient_step *s, int32_t x, int32_t g, int axis, bool centred)
{
    int32_t outputs[2];

    (void)emit_own(&s->e, "NormalizationGradient", 2, (const int32_t[]){x, g}, 2, outputs);
    emit_set_int(&s->e, outputs[0], "axis", axis);
    emit_set_int(&s->e, outputs[0], "centred", centred);
    emit_set_float(&s->e, outputs[0], "epsilon", graph_attribute_float(&s->node, "epsilon", 1e-5f));
    return (normal){outputs[0], outputs[1]};
}

/* Do scale and bias have a number of their own for each that is normalised together? */
static bool is_whole(gradient_step *s, const graph_type *x, int axis)
{
    for (int port = 1; port < 3; port++) {
        int32_t id = gradient_input(s, port);
        graph_type type;

        if (id == GRAPH_NONE) {
            continue;
        }
        type = gradient_ranked(s, id);
        if (type.rank != x->rank - axis) {
            return false;
        }
        for (int i = 0; i < type.rank; i++) {
            if (type.dims[i].size < 0 || type.dims[i].size != x->dims[axis + i].size) {
                return false;
            }
        }
    }
    return true;
}

static void give_layer(gradient_step *s, int axis)
{
    int32_t outputs[3];

    (void)emit_own(&s->e, "LayerNormalizationGradient", 3,
                   (const int32_t[]){s->node.inputs[0], s->node.inputs[1], s->dy[0]}, 3, outputs);
    emit_set_int(&s->e, outputs[0], "axis", axis);
    emit_set_float(&s->e, outputs[0], "epsilon", graph_attribute_float(&s->node, "epsilon", 1e-5f));
    for (int i = 0; i < 3; i++) {
        if (gradient_wanted(s, i)) {
            gradient_give(s, i, outputs[i]);
        }
    }
}

/* LayerNormalization, RMSNormalization: the last axes of every row. */
static void give_rows(gradient_step *s)
{
    const bool *centred = s->detail;
    graph_type type = gradient_ranked(s, s->node.inputs[0]);
    int axis = gradient_axis(s, "axis", -1, type.rank);
    int32_t g;
    normal made;

    if (*centred && is_whole(s, &type, axis)) {
        give_layer(s, axis);
        return;
    }
    g = emit_binary(&s->e, "Mul", s->dy[0], s->node.inputs[1]);
    made = differentiate(s, s->node.inputs[0], g, axis, *centred);
    if (gradient_wanted(s, 0)) {
        gradient_give(s, 0, made.dx);
    }
    if (gradient_wanted(s, 1)) {
        gradient_give_sum(s, 1, emit_binary(&s->e, "Mul", s->dy[0], made.n));
    }
    if (gradient_wanted(s, 2)) {
        gradient_give_sum(s, 2, s->dy[0]);
    }
}

/* ---- one scale and bias per channel ---- */

/* Sums over everything but axis 1. */
static int32_t channel_sums(gradient_step *s, int32_t a, int rank)
{
    int64_t axes[SPRY_TENSOR_MAX_RANK] = {0};

    for (int i = 2; i < rank; i++) {
        axes[i - 1] = i;
    }
    return emit_reduce(&s->e, "ReduceSum", a, rank > 1 ? rank - 1 : 1, axes, false);
}

/* [C] -> [C, 1, ...] to lie over axis 1 of `rank`. */
static int32_t per_channel(gradient_step *s, int32_t a, int rank)
{
    int64_t shape[SPRY_TENSOR_MAX_RANK] = {-1};

    for (int i = 1; i + 1 < rank; i++) {
        shape[i] = 1;
    }
    return emit_reshape(&s->e, a, rank - 1, shape);
}

static void give_scale_and_bias(gradient_step *s, int32_t dy, int32_t n, int rank)
{
    if (gradient_wanted(s, 1)) {
        gradient_give(s, 1, channel_sums(s, emit_binary(&s->e, "Mul", dy, n), rank));
    }
    if (gradient_wanted(s, 2)) {
        gradient_give(s, 2, channel_sums(s, dy, rank));
    }
}

/* Groups of channels of each image: seen as [N, groups, rest]. Below operator set 21 scale and bias
 * of GroupNormalization are per group. */
static void give_groups(gradient_step *s)
{
    bool instance = strcmp(s->node.type, "InstanceNormalization") == 0;
    bool per_group = !instance && s->node.opset < 21;
    int64_t groups = instance ? 0 : graph_attribute_int(&s->node, "num_groups", 1);
    int64_t shape[3] = {0, groups, -1};
    int rank = gradient_ranked(s, s->node.inputs[0]).rank;
    int32_t x = emit_reshape(&s->e, s->node.inputs[0], 3, shape);
    int32_t dy = per_group ? emit_reshape(&s->e, s->dy[0], 3, shape) : s->dy[0];
    int dy_rank = per_group ? 3 : rank;
    int32_t g = emit_binary(&s->e, "Mul", dy, per_channel(s, s->node.inputs[1], dy_rank));
    normal made = differentiate(s, x, per_group ? g : emit_reshape(&s->e, g, 3, shape), 2, true);

    if (gradient_wanted(s, 0)) {
        gradient_give(s, 0, emit_reshape_like(&s->e, made.dx, s->node.inputs[0]));
    }
    give_scale_and_bias(
        s, dy, per_group ? made.n : emit_reshape_like(&s->e, made.n, s->node.inputs[0]), dy_rank);
}

/* ---- BatchNormalization ---- */

/* Statistics of the batch. */
static void give_batch_training(gradient_step *s)
{
    int32_t outputs[3];

    (void)emit_own(&s->e, "BatchNormalizationGradient", 3,
                   (const int32_t[]){s->node.inputs[0], s->node.inputs[1], s->dy[0]}, 3, outputs);
    emit_set_float(&s->e, outputs[0], "epsilon", graph_attribute_float(&s->node, "epsilon", 1e-5f));
    for (int i = 0; i < 3; i++) {
        if (gradient_wanted(s, i)) {
            gradient_give(s, i, outputs[i]);
        }
    }
    gradient_give_nothing(s, 3); /* the running statistics have no part in y */
    gradient_give_nothing(s, 4);
}

/* y = (x - mean) f + bias with f = scale / root, root = sqrt(variance + epsilon). */
static void give_batch_inference(gradient_step *s, int rank)
{
    spry_dtype dtype = gradient_dtype(s, s->node.inputs[0]);
    double epsilon = (double)graph_attribute_float(&s->node, "epsilon", 1e-5f);
    int32_t sum =
        emit_plus(&s->e, gradient_dtype(s, s->node.inputs[4]), s->node.inputs[4], epsilon);
    int32_t root = emit_cast(&s->e, emit_unary(&s->e, "Sqrt", sum), dtype);
    int32_t f = emit_binary(&s->e, "Div", s->node.inputs[1], root);
    int32_t centred;
    int32_t products;

    if (gradient_wanted(s, 0)) {
        gradient_give(s, 0, emit_binary(&s->e, "Mul", s->dy[0], per_channel(s, f, rank)));
    }
    if (gradient_wanted(s, 2)) {
        gradient_give(s, 2, channel_sums(s, s->dy[0], rank));
    }
    if (gradient_wanted(s, 3)) {
        gradient_give(s, 3,
                      emit_unary(&s->e, "Neg",
                                 emit_binary(&s->e, "Mul", channel_sums(s, s->dy[0], rank), f)));
    }
    if (!gradient_wanted(s, 1) && !gradient_wanted(s, 4)) {
        return;
    }
    centred = emit_binary(&s->e, "Sub", s->node.inputs[0],
                          per_channel(s, emit_cast(&s->e, s->node.inputs[3], dtype), rank));
    products = channel_sums(s, emit_binary(&s->e, "Mul", s->dy[0], centred), rank);
    if (gradient_wanted(s, 1)) {
        gradient_give(s, 1, emit_binary(&s->e, "Div", products, root));
    }
    if (gradient_wanted(s, 4)) {
        int32_t square = emit_binary(&s->e, "Mul", root, root);
        int32_t slope = emit_binary(&s->e, "Div", emit_binary(&s->e, "Mul", products, f), square);

        gradient_give(s, 4, emit_scaled(&s->e, dtype, slope, -0.5));
    }
}

static void give_batch(gradient_step *s)
{
    int rank = gradient_ranked(s, s->node.inputs[0]).rank;
    bool training = s->node.opset >= 14 ? graph_attribute_int(&s->node, "training_mode", 0) != 0
                                        : gradient_output(s, 1) != GRAPH_NONE;

    if (rank < 2 || graph_attribute_int(&s->node, "spatial", 1) != 1) {
        gradient_refuse(s, "it has no channels, or statistics per pixel");
    } else if (training) {
        give_batch_training(s);
    } else {
        give_batch_inference(s, rank);
    }
}

/* ---- LpNormalization: y = x / |x|, and 0 where all of x is ---- */

/* (dy - y (sum of dy y)) / |x|, with the sign of x for y in the 1-norm. */
static void give_lp(gradient_step *s)
{
    bool first = graph_attribute_int(&s->node, "p", 2) == 1;
    int rank = gradient_ranked(s, s->node.inputs[0]).rank;
    int64_t axis = gradient_axis(s, "axis", -1, rank);
    spry_dtype dtype = gradient_dtype(s, s->node.inputs[0]);
    int32_t y = s->node.outputs[0];
    int32_t norm =
        emit_reduce(&s->e, first ? "ReduceL1" : "ReduceL2", s->node.inputs[0], 1, &axis, true);
    int32_t none = emit_binary(&s->e, "Equal", norm, emit_number(&s->e, dtype, 0.0));
    int32_t sums =
        emit_reduce(&s->e, "ReduceSum", emit_binary(&s->e, "Mul", s->dy[0], y), 1, &axis, true);
    int32_t along = first ? emit_unary(&s->e, "Sign", s->node.inputs[0]) : y;
    int32_t rest = emit_binary(&s->e, "Sub", s->dy[0], emit_binary(&s->e, "Mul", along, sums));

    norm = emit_where(&s->e, none, emit_number(&s->e, dtype, 1.0), norm);
    gradient_give(s, 0, emit_binary(&s->e, "Div", rest, norm));
}

static const bool is_centred = true;
static const bool is_not_centred = false;

/* clang-format off */
const gradient_rule gradient_norm_rules[] = {
    {.name = "BatchNormalization", .domain = "", .run = give_batch},
    {.name = "GroupNormalization", .domain = "", .run = give_groups},
    {.name = "InstanceNormalization", .domain = "", .run = give_groups},
    {.name = "LayerNormalization", .domain = "", .run = give_rows, .detail = &is_centred},
    {.name = "LpNormalization", .domain = "", .run = give_lp},
    {.name = "RMSNormalization", .domain = "", .run = give_rows, .detail = &is_not_centred},
    {.name = NULL},
};
/* clang-format on */
