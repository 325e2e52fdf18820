/* Operators that move elements: the derivative moves back, and where one element went to several
 * places their derivatives are added.
 *
 * Many of these choose elements along one axis at a time by some rule of positions (strides,
 * mirrors, nearest pixels). The rule is asked itself: the operator applied to 0, 1, 2, ... gives
 * the positions, and GatherGradient adds up what went there. */
#include <string.h>

#include "base/limits.h"
#include "train/gradient/gradient_step.h"

/* ---- positions along an axis ---- */

/* 0, 1, 2, ... up to the size of the value along the axis. */
static int32_t positions(gradient_step *s, int32_t like, int axis)
{
    int32_t zero = emit_number(&s->e, SPRY_DTYPE_I64, 0.0);
    int32_t one = emit_number(&s->e, SPRY_DTYPE_I64, 1.0);
    int32_t size = emit_binary(&s->e, "Squeeze", emit_size(&s->e, like, axis),
                               emit_ints(&s->e, 1, &(int64_t){0}));

    return emit_node(&s->e, "Range", 3, (const int32_t[]){zero, size, one});
}

/* Adds what `from` has at each place along `axis` to the position of `like` that it came from. */
static int32_t send_back(gradient_step *s, int32_t from, int32_t places, int32_t like, int axis)
{
    int32_t inputs[3] = {from, places, emit_size(&s->e, like, axis)};
    int32_t to;

    (void)emit_own(&s->e, "GatherGradient", 3, inputs, 1, &to);
    emit_set_int(&s->e, to, "axis", axis);
    return to;
}

static void give_gather(gradient_step *s)
{
    graph_type type = gradient_ranked(s, s->node.inputs[0]);
    int axis = gradient_axis(s, "axis", 0, type.rank);

    gradient_give(s, 0, send_back(s, s->dy[0], s->node.inputs[1], s->node.inputs[0], axis));
}

/* ---- Slice ---- */

/* The operands of a Slice: values, and their integers where those are constant. */
typedef struct slice_terms {
    int count; /* of sliced axes */
    int64_t axes[2 * SPRY_TENSOR_MAX_RANK];
    int64_t starts[2 * SPRY_TENSOR_MAX_RANK], ends[2 * SPRY_TENSOR_MAX_RANK];
    int64_t steps[2 * SPRY_TENSOR_MAX_RANK];
    bool known; /* starts, ends and steps */
} slice_terms;

static bool copy_attribute(const graph_node *node, const char *name, int64_t *to, int *count)
{
    int64_t length;
    const int64_t *from = graph_attribute_ints(node, name, &length);

    if (from == NULL || length > SPRY_TENSOR_MAX_RANK) {
        return false;
    }
    memcpy(to, from, (size_t)length * sizeof *to);
    *count = (int)length;
    return true;
}

/* Axes, normalised; all of them in order where the operand is left out. */
static bool read_axes(gradient_step *s, int port, int rank, slice_terms *t)
{
    int count = -1;

    if (s->node.opset < 10) {
        (void)copy_attribute(&s->node, "axes", t->axes, &count);
    } else if (gradient_input(s, port) != GRAPH_NONE) {
        count = gradient_constant_ints(s, port, t->axes);
        t->count = count;
    }
    for (int i = 0; count < 0 && i < t->count; i++) {
        t->axes[i] = i;
    }
    for (int i = 0; i < t->count; i++) {
        t->axes[i] += t->axes[i] < 0 ? rank : 0;
        if (t->axes[i] < 0 || t->axes[i] >= rank) {
            return false;
        }
    }
    return t->count >= 0 && t->count <= rank;
}

static bool read_slice(gradient_step *s, int rank, slice_terms *t)
{
    int ends;
    int steps = -1;

    for (int i = 0; i < 2 * SPRY_TENSOR_MAX_RANK; i++) {
        t->steps[i] = 1;
    }
    if (s->node.opset < 10) {
        t->known = copy_attribute(&s->node, "starts", t->starts, &t->count) &&
                   copy_attribute(&s->node, "ends", t->ends, &ends) && ends == t->count;
        return t->known && read_axes(s, -1, rank, t);
    }
    t->count = gradient_constant_ints(s, 1, t->starts);
    ends = gradient_constant_ints(s, 2, t->ends);
    if (gradient_input(s, 4) != GRAPH_NONE) {
        steps = gradient_constant_ints(s, 4, t->steps);
    }
    t->known = t->count >= 0 && ends == t->count &&
               (gradient_input(s, 4) == GRAPH_NONE || steps == t->count);
    if (!t->known) {
        const graph_type *type = &s->e.g->values[s->node.inputs[1]].type;

        t->count = type->has_rank && type->rank == 1 ? (int)type->dims[0].size : -1;
    }
    return read_axes(s, 3, rank, t);
}

/* Zeros around: what a slice without steps left away. */
static bool slice_pads(const graph_type *x, const slice_terms *t, int64_t *pads)
{
    memset(pads, 0, 2 * (size_t)x->rank * sizeof *pads);
    for (int i = 0; i < t->count; i++) {
        int64_t axis = t->axes[i];
        int64_t size = x->dims[axis].size;
        int64_t start = t->starts[i] < 0 ? t->starts[i] + size : t->starts[i];
        int64_t end = t->ends[i] < 0 ? t->ends[i] + size : t->ends[i];

        start = start < 0 ? 0 : start;
        end = end > size ? size : end;
        if (!t->known || t->steps[i] != 1 || size < 0 || start > end) {
            return false;
        }
        pads[axis] = start;
        pads[x->rank + axis] = size - end;
    }
    return true;
}

/* One number of a list that is an input. */
static int32_t pick(gradient_step *s, int port, int64_t index)
{
    int32_t one = emit_binary(&s->e, "Gather", s->node.inputs[port], emit_ints(&s->e, 1, &index));

    return emit_cast(&s->e, one, SPRY_DTYPE_I64);
}

/* The positions that the slice takes of one of its axes. */
static int32_t sliced_positions(gradient_step *s, const slice_terms *t, int i)
{
    int32_t inputs[5] = {positions(s, s->node.inputs[0], (int)t->axes[i]), GRAPH_NONE, GRAPH_NONE,
                         emit_ints(&s->e, 1, &(int64_t){0}), GRAPH_NONE};

    if (t->known) {
        inputs[1] = emit_ints(&s->e, 1, &t->starts[i]);
        inputs[2] = emit_ints(&s->e, 1, &t->ends[i]);
        inputs[4] = emit_ints(&s->e, 1, &t->steps[i]);
    } else {
        inputs[1] = pick(s, 1, i);
        inputs[2] = pick(s, 2, i);
        inputs[4] =
            gradient_input(s, 4) != GRAPH_NONE ? pick(s, 4, i) : emit_ints(&s->e, 1, &(int64_t){1});
    }
    return emit_node(&s->e, "Slice", 5, inputs);
}

static void give_slice(gradient_step *s)
{
    graph_type x = gradient_ranked(s, s->node.inputs[0]);
    int64_t pads[2 * SPRY_TENSOR_MAX_RANK];
    int32_t share = s->dy[0];
    slice_terms t;

    if (s->e.status != SPRY_OK || !read_slice(s, x.rank, &t)) {
        gradient_refuse(s, "its axes are not constant");
        return;
    }
    if (slice_pads(&x, &t, pads)) {
        share = emit_binary(&s->e, "Pad", share, emit_ints(&s->e, 2 * (int64_t)x.rank, pads));
        gradient_give(s, 0, share);
        return;
    }
    for (int i = 0; i < t.count; i++) {
        share = send_back(s, share, sliced_positions(s, &t, i), s->node.inputs[0], (int)t.axes[i]);
    }
    gradient_give(s, 0, share);
}

/* ---- Pad ---- */

/* Before and after per axis of x; false where they are not constant. */
static bool read_pads(gradient_step *s, int rank, int64_t *pads)
{
    int64_t given[2 * SPRY_TENSOR_MAX_RANK];
    int64_t axes[2 * SPRY_TENSOR_MAX_RANK];
    int axis_count = rank;
    int count;

    if (s->node.opset < 11) {
        int64_t length;
        const int64_t *list = graph_attribute_ints(&s->node, "pads", &length);

        if (list == NULL || length != 2 * rank) {
            return false;
        }
        memcpy(pads, list, (size_t)length * sizeof *pads);
        return true;
    }
    count = gradient_constant_ints(s, 1, given);
    for (int i = 0; i < rank; i++) {
        axes[i] = i;
    }
    if (gradient_input(s, 3) != GRAPH_NONE) {
        axis_count = gradient_constant_ints(s, 3, axes);
    }
    if (axis_count < 0 || axis_count > rank || count != 2 * axis_count) {
        return false;
    }
    memset(pads, 0, 2 * (size_t)rank * sizeof *pads);
    for (int i = 0; i < axis_count; i++) {
        int64_t axis = axes[i] < 0 ? axes[i] + rank : axes[i];

        if (axis < 0 || axis >= rank) {
            return false;
        }
        pads[axis] = given[i];
        pads[rank + axis] = given[axis_count + i];
    }
    return true;
}

/* Mirrored or repeated edges: the places of each axis, as the operator itself finds them. */
static int32_t unmirror(gradient_step *s, int rank, const int64_t *pads, const char *mode)
{
    int32_t share = s->dy[0];

    for (int axis = 0; axis < rank; axis++) {
        int64_t both[2] = {pads[axis], pads[rank + axis]};
        int32_t places;

        if (both[0] == 0 && both[1] == 0) {
            continue;
        }
        places = emit_binary(&s->e, "Pad", positions(s, s->node.inputs[0], axis),
                             emit_ints(&s->e, 2, both));
        if (s->e.status == SPRY_OK) {
            s->e.status =
                graph_set_string(s->e.g, s->e.g->values[places].producer, "mode", mode, s->e.error);
        }
        share = send_back(s, share, places, s->node.inputs[0], axis);
    }
    return share;
}

/* Constant edges are cut off again; cut edges come back as zeros. */
static void give_pad(gradient_step *s)
{
    graph_type x = gradient_ranked(s, s->node.inputs[0]);
    const char *mode = graph_attribute_string(&s->node, "mode", "constant");
    bool constant = strcmp(mode, "constant") == 0;
    int64_t pads[2 * SPRY_TENSOR_MAX_RANK];
    bool known = s->e.status == SPRY_OK && read_pads(s, x.rank, pads);

    if (known && !constant) {
        gradient_give(s, 0, unmirror(s, x.rank, pads, mode));
    } else if (known) {
        for (int i = 0; i < 2 * x.rank; i++) {
            pads[i] = -pads[i];
        }
        gradient_give(
            s, 0, emit_binary(&s->e, "Pad", s->dy[0], emit_ints(&s->e, 2 * (int64_t)x.rank, pads)));
    } else if (constant && s->node.opset >= 11) {
        int32_t inputs[4] = {s->dy[0], emit_unary(&s->e, "Neg", s->node.inputs[1]), GRAPH_NONE,
                             gradient_input(s, 3)};

        gradient_give(s, 0, emit_node(&s->e, "Pad", inputs[3] != GRAPH_NONE ? 4 : 2, inputs));
    } else {
        gradient_refuse(s, "its pads are not constant");
    }
}

/* ---- Tile, Expand ---- */

static void give_tile(gradient_step *s)
{
    graph_type x = gradient_ranked(s, s->node.inputs[0]);
    int64_t repeats[2 * SPRY_TENSOR_MAX_RANK];
    int count = gradient_constant_ints(s, 1, repeats);
    int32_t share = s->dy[0];

    for (int axis = 0; axis < x.rank; axis++) {
        int32_t times;

        if (count == x.rank && repeats[axis] == 1) {
            continue;
        }
        times = count == x.rank ? emit_ints(&s->e, 1, &repeats[axis]) : pick(s, 1, axis);
        share = send_back(s, share,
                          emit_binary(&s->e, "Tile", positions(s, s->node.inputs[0], axis), times),
                          s->node.inputs[0], axis);
    }
    gradient_give(s, 0, share);
}

static void give_expand(gradient_step *s)
{
    gradient_give_sum(s, 0, s->dy[0]);
}

/* ---- new shapes and orders ---- */

static void give_reshape(gradient_step *s)
{
    gradient_give(s, 0, emit_reshape_like(&s->e, s->dy[0], s->node.inputs[0]));
}

static void give_transpose(gradient_step *s)
{
    graph_type type = gradient_ranked(s, s->node.inputs[0]);
    int64_t count;
    const int64_t *permutation = graph_attribute_ints(&s->node, "perm", &count);
    int64_t back[SPRY_TENSOR_MAX_RANK];

    for (int i = 0; i < type.rank; i++) {
        back[i] = type.rank - 1 - i;
    }
    for (int i = 0; permutation != NULL && i < count && i < type.rank; i++) {
        if (permutation[i] < 0 || permutation[i] >= type.rank) {
            gradient_refuse(s, "its permutation is none");
            return;
        }
        back[permutation[i]] = i;
    }
    gradient_give(s, 0, emit_transpose(&s->e, s->dy[0], type.rank, back));
}

/* Sizes along an axis of all values of a list. */
static int32_t list_sizes(gradient_step *s, const int32_t *values, int32_t count, int axis)
{
    int32_t *sizes = arena_array(s->e.g->memory, (size_t)count + 1, sizeof *sizes);
    int32_t list;

    if (sizes == NULL) {
        gradient_refuse(s, "memory ran out");
        return GRAPH_NONE;
    }
    for (int32_t i = 0; i < count; i++) {
        sizes[i] = emit_size(&s->e, values[i], axis);
    }
    list = emit_node(&s->e, "Concat", count, sizes);
    emit_set_int(&s->e, list, "axis", 0);
    return list;
}

static void give_concat(gradient_step *s)
{
    graph_type type = gradient_ranked(s, s->node.outputs[0]);
    int axis = gradient_axis(s, "axis", 1, type.rank);
    int32_t sizes = list_sizes(s, s->node.inputs, s->node.input_count, axis);
    int32_t *parts = arena_array(s->e.g->memory, (size_t)s->node.input_count + 1, sizeof *parts);

    if (parts == NULL) {
        gradient_refuse(s, "memory ran out");
        return;
    }
    emit_many(&s->e, "Split", 2, (const int32_t[]){s->dy[0], sizes}, s->node.input_count, parts);
    emit_set_int(&s->e, parts[0], "axis", axis);
    for (int i = 0; i < s->node.input_count; i++) {
        if (gradient_wanted(s, i)) {
            gradient_give(s, i, parts[i]);
        }
    }
}

static void give_split(gradient_step *s)
{
    graph_type type = gradient_ranked(s, s->node.inputs[0]);
    int axis = gradient_axis(s, "axis", 0, type.rank);
    int32_t *parts = arena_array(s->e.g->memory, (size_t)s->node.output_count + 1, sizeof *parts);
    int32_t share;

    for (int i = 0; parts != NULL && i < s->node.output_count; i++) {
        parts[i] = s->dy[i];
        if (parts[i] == GRAPH_NONE) {
            int32_t zero = emit_number(&s->e, type.dtype, 0.0);

            parts[i] = emit_expand_like(&s->e, zero, gradient_demand_output(s, i));
        }
    }
    if (parts == NULL) {
        gradient_refuse(s, "memory ran out");
        return;
    }
    share = emit_node(&s->e, "Concat", s->node.output_count, parts);
    emit_set_int(&s->e, share, "axis", axis);
    gradient_give(s, 0, share);
}

/* [.., C b b, H, W] <-> [.., C, H b, W b], depth counted in blocks of all channels (DCR). */
static void give_space(gradient_step *s)
{
    bool to_depth = strcmp(s->node.type, "SpaceToDepth") == 0;
    const char *mode = graph_attribute_string(&s->node, "mode", "DCR");
    int32_t share;

    if (to_depth || strcmp(mode, "DCR") == 0) {
        share = emit_unary(&s->e, to_depth ? "DepthToSpace" : "SpaceToDepth", s->dy[0]);
        emit_set_int(&s->e, share, "blocksize", graph_attribute_int(&s->node, "blocksize", 1));
    } else {
        graph_type x = gradient_sized(s, s->node.inputs[0], 1);
        int64_t b = graph_attribute_int(&s->node, "blocksize", 1);
        int64_t shape[6] = {
            -1, b > 0 ? x.dims[1].size / (b * b) : 0, x.dims[2].size, b, x.dims[3].size, b};

        share = emit_reshape(&s->e, s->dy[0], 6, shape);
        share = emit_transpose(&s->e, share, 6, (const int64_t[]){0, 1, 3, 5, 2, 4});
        share = emit_reshape_like(&s->e, share, s->node.inputs[0]);
    }
    gradient_give(s, 0, share);
}

static void give_trilu(gradient_step *s)
{
    int32_t share = emit_node(&s->e, "Trilu", s->node.input_count,
                              (const int32_t[]){s->dy[0], gradient_input(s, 1)});

    emit_set_like(&s->e, share, &s->node);
    gradient_give(s, 0, share);
}

static void give_cumsum(gradient_step *s)
{
    int32_t share = emit_binary(&s->e, "CumSum", s->dy[0], s->node.inputs[1]);

    emit_set_like(&s->e, share, &s->node);
    emit_set_int(&s->e, share, "reverse", graph_attribute_int(&s->node, "reverse", 0) == 0);
    gradient_give(s, 0, share);
}

/* ---- single elements by index ---- */

static int32_t scatter(gradient_step *s, const char *type, int32_t data, int32_t indices,
                       int32_t updates, const char *reduction)
{
    int32_t to = emit_node(&s->e, type, 3, (const int32_t[]){data, indices, updates});

    if (s->e.status == SPRY_OK) {
        s->e.status = graph_set_string(s->e.g, s->e.g->values[to].producer, "reduction", reduction,
                                       s->e.error);
    }
    return to;
}

static void give_gather_elements(gradient_step *s)
{
    int32_t share = scatter(s, "ScatterElements", emit_zeros_like(&s->e, s->node.inputs[0]),
                            s->node.inputs[1], s->dy[0], "add");

    emit_set_int(&s->e, share, "axis", graph_attribute_int(&s->node, "axis", 0));
    gradient_give(s, 0, share);
}

static void give_gather_nd(gradient_step *s)
{
    if (graph_attribute_int(&s->node, "batch_dims", 0) != 0) {
        gradient_refuse(s, "it has batch axes");
        return;
    }
    gradient_give(s, 0,
                  scatter(s, "ScatterND", emit_zeros_like(&s->e, s->node.inputs[0]),
                          s->node.inputs[1], s->dy[0], "add"));
}

/* ScatterElements, ScatterND: what was written over has no influence, what was written has. */
static void give_scatter(gradient_step *s)
{
    const char *reduction = graph_attribute_string(&s->node, "reduction", "none");
    bool adds = strcmp(reduction, "add") == 0;
    bool elements = strcmp(s->node.type, "ScatterND") != 0;
    int64_t axis = graph_attribute_int(&s->node, "axis", 0);
    int32_t share = s->dy[0];

    if (!adds && strcmp(reduction, "none") != 0) {
        gradient_refuse(s, "its reduction is neither none nor add");
        return;
    }
    if (gradient_wanted(s, 0) && !adds) {
        share = scatter(s, elements ? "ScatterElements" : "ScatterND", share, s->node.inputs[1],
                        emit_zeros_like(&s->e, s->node.inputs[2]), "none");
        if (elements) {
            emit_set_int(&s->e, share, "axis", axis);
        }
    }
    if (gradient_wanted(s, 0)) {
        gradient_give(s, 0, share);
    }
    if (gradient_wanted(s, 2)) {
        share = emit_binary(&s->e, elements ? "GatherElements" : "GatherND", s->dy[0],
                            s->node.inputs[1]);
        if (elements) {
            emit_set_int(&s->e, share, "axis", axis);
        }
        gradient_give(s, 2, share);
    }
}

/* clang-format off */
const gradient_rule gradient_move_rules[] = {
    {.name = "Concat", .domain = "", .run = give_concat},
    {.name = "ConstantOfShape", .domain = ""},
    {.name = "CumSum", .domain = "", .run = give_cumsum},
    {.name = "DepthToSpace", .domain = "", .run = give_space},
    {.name = "Expand", .domain = "", .run = give_expand},
    {.name = "Flatten", .domain = "", .run = give_reshape},
    {.name = "Gather", .domain = "", .run = give_gather},
    {.name = "GatherElements", .domain = "", .run = give_gather_elements},
    {.name = "GatherND", .domain = "", .run = give_gather_nd},
    {.name = "Pad", .domain = "", .run = give_pad},
    {.name = "Reshape", .domain = "", .run = give_reshape},
    {.name = "Scatter", .domain = "", .run = give_scatter},
    {.name = "ScatterElements", .domain = "", .run = give_scatter},
    {.name = "ScatterND", .domain = "", .run = give_scatter},
    {.name = "Shape", .domain = ""},
    {.name = "Size", .domain = ""},
    {.name = "Slice", .domain = "", .run = give_slice},
    {.name = "SpaceToDepth", .domain = "", .run = give_space},
    {.name = "Split", .domain = "", .run = give_split, .outputs = LIMIT_NODE_PORTS},
    {.name = "Squeeze", .domain = "", .run = give_reshape},
    {.name = "Tile", .domain = "", .run = give_tile},
    {.name = "Transpose", .domain = "", .run = give_transpose},
    {.name = "Trilu", .domain = "", .run = give_trilu},
    {.name = "Unsqueeze", .domain = "", .run = give_reshape},
    {.name = NULL},
};
/* clang-format on */
