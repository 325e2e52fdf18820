/* Resize and Upsample: every axis is resized by itself, and linearly in the elements. What one axis
 * does is learnt by resizing: the numbers 0, 1, 2, ... for the nearest modes, which gives the
 * positions taken, and otherwise the unit matrix, which gives the weights. */
#include <string.h>

#include "tensor/convert.h"
#include "train/gradient/gradient_step.h"

/* How one axis is resized: by `scale`, or to `size` where that is not negative. */
typedef struct stretch {
    int axis;
    double scale;
    int64_t size;
} stretch;

/* Up to SPRY_TENSOR_MAX_RANK numbers of a constant input; -1 where there are none. */
static int read_numbers(const gradient_step *s, int port, double *to)
{
    int32_t id = gradient_input(s, port);
    const tensor *t = id != GRAPH_NONE ? graph_constant(s->e.g, id) : NULL;

    if (t == NULL || tensor_count(t) > SPRY_TENSOR_MAX_RANK) {
        return -1;
    }
    convert_read_f64(t, 0, tensor_count(t), to);
    return (int)tensor_count(t);
}

/* The axes that change; -1 where they are not known. */
static int read_stretches(gradient_step *s, const graph_type *x, stretch *to)
{
    bool upsample = strcmp(s->node.type, "Upsample") == 0;
    bool old = upsample || s->node.opset < 11;
    double numbers[SPRY_TENSOR_MAX_RANK];
    int64_t axis_count;
    const int64_t *axes = graph_attribute_ints(&s->node, "axes", &axis_count);
    int64_t scale_count;
    const float *scales = graph_attribute_floats(&s->node, "scales", &scale_count);
    int count =
        upsample && scales != NULL ? (int)scale_count : read_numbers(s, old ? 1 : 2, numbers);
    bool sized = count <= 0 && !old;
    int changed = 0;

    for (int i = 0; scales != NULL && upsample && i < count && i < SPRY_TENSOR_MAX_RANK; i++) {
        numbers[i] = (double)scales[i];
    }
    count = sized ? read_numbers(s, 3, numbers) : count;
    if (count < 0 || count != (axes != NULL ? axis_count : x->rank)) {
        return -1;
    }
    for (int i = 0; i < count; i++) {
        int64_t axis = axes != NULL ? axes[i] : i;
        bool same;

        axis += axis < 0 ? x->rank : 0;
        if (axis < 0 || axis >= x->rank) {
            return -1;
        }
        same = numbers[i] == (sized ? (double)x->dims[axis].size : 1.0);
        to[changed] =
            (stretch){(int)axis, sized ? 0.0 : numbers[i], sized ? (int64_t)numbers[i] : -1};
        changed += !same;
    }
    return changed;
}

/* `x`, of `rank` axes, resized along its last axis as the node does. */
static int32_t resize_last(gradient_step *s, int32_t x, int rank, const stretch *by)
{
    bool old = s->node.opset < 11 || strcmp(s->node.type, "Upsample") == 0;
    int32_t inputs[4] = {x, GRAPH_NONE, GRAPH_NONE, GRAPH_NONE};
    int32_t to;

    if (by->size >= 0) {
        inputs[3] = emit_ints(&s->e, 1, &by->size);
    } else {
        int32_t scale = emit_number(&s->e, SPRY_DTYPE_F32, by->scale);

        inputs[2] = emit_reshape(&s->e, scale, 1, (const int64_t[]){1});
    }
    to = emit_node(&s->e, "Resize", by->size >= 0 ? 4 : 3, inputs);
    emit_set_like(&s->e, to, &s->node);
    emit_set_ints(&s->e, to, "axes", 1, (const int64_t[]){rank - 1});
    if (old && s->e.status == SPRY_OK) {
        int32_t node = s->e.g->values[to].producer;

        s->e.status = graph_set_string(s->e.g, node, "coordinate_transformation_mode", "asymmetric",
                                       s->e.error);
        if (s->e.status == SPRY_OK) {
            s->e.status = graph_set_string(s->e.g, node, "nearest_mode", "floor", s->e.error);
        }
    }
    return to;
}

/* The numbers 0, 1, 2, ... of type `dtype`. */
static int32_t count_up(gradient_step *s, int64_t size, spry_dtype dtype)
{
    return emit_node(&s->e, "Range", 3,
                     (const int32_t[]){emit_number(&s->e, dtype, 0.0),
                                       emit_number(&s->e, dtype, (double)size),
                                       emit_number(&s->e, dtype, 1.0)});
}

static int32_t undo_nearest(gradient_step *s, int32_t dy, int64_t size, const stretch *by)
{
    int32_t taken = resize_last(s, count_up(s, size, SPRY_DTYPE_F32), 1, by);
    int32_t inputs[3] = {dy, emit_cast(&s->e, taken, SPRY_DTYPE_I64), emit_ints(&s->e, 1, &size)};
    int32_t to;

    (void)emit_own(&s->e, "GatherGradient", 3, inputs, 1, &to);
    emit_set_int(&s->e, to, "axis", by->axis);
    return to;
}

/* The axis goes last, is multiplied by the weights the other way round, and goes back. */
static int32_t undo_weights(gradient_step *s, int32_t dy, int rank, int64_t size, const stretch *by)
{
    spry_dtype dtype = gradient_dtype(s, s->node.inputs[0]);
    int32_t line = count_up(s, size, dtype);
    int32_t column = emit_binary(&s->e, "Unsqueeze", line, emit_ints(&s->e, 1, &(int64_t){1}));
    int32_t unit = emit_cast(&s->e, emit_binary(&s->e, "Equal", column, line), dtype);
    int32_t weights = resize_last(s, unit, 2, by);
    int64_t order[SPRY_TENSOR_MAX_RANK];
    int64_t last = rank - 1;

    for (int i = 0; i < rank; i++) {
        order[i] = i == by->axis ? last : i == last ? by->axis : i;
    }
    dy = emit_transpose(&s->e, dy, rank, order);
    dy = emit_binary(&s->e, "MatMul", dy, emit_transpose_matrix(&s->e, weights, 2));
    return emit_transpose(&s->e, dy, rank, order);
}

static void give_resize(gradient_step *s)
{
    graph_type x = gradient_ranked(s, s->node.inputs[0]);
    const char *policy = graph_attribute_string(&s->node, "keep_aspect_ratio_policy", "stretch");
    const char *grid = graph_attribute_string(&s->node, "coordinate_transformation_mode", "");
    bool nearest = strcmp(graph_attribute_string(&s->node, "mode", "nearest"), "nearest") == 0;
    stretch by[SPRY_TENSOR_MAX_RANK];
    int32_t share = s->dy[0];
    int count = read_stretches(s, &x, by);

    if (count < 0 || strcmp(policy, "stretch") != 0 || strcmp(grid, "tf_crop_and_resize") == 0) {
        gradient_refuse(s, "its scales are not constant, or it crops");
        return;
    }
    for (int i = 0; i < count; i++) {
        int64_t size = x.dims[by[i].axis].size;

        if (size < 0) {
            gradient_refuse(s, "the size of a resized axis is not known");
            return;
        }
        share = nearest ? undo_nearest(s, share, size, &by[i])
                        : undo_weights(s, share, x.rank, size, &by[i]);
    }
    gradient_give(s, 0, share);
}

const gradient_rule gradient_resize_rules[] = {
    {.name = "Resize", .domain = "", .run = give_resize},
    {.name = "Upsample", .domain = "", .run = give_resize},
    {.name = NULL},
};
