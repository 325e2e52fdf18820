/* Sets of axes that are joined operator by operator (union-find), and permuted constants. */
#include "quantize/method/channel_classes.h"

#include <string.h>

#include "base/alloc.h"
#include "model/graph_walk.h"

enum { RANK = SPRY_TENSOR_MAX_RANK };

typedef struct joiner {
    const graph *g;
    int32_t *parent; /* [value_count][RANK] */
    bool *is_fixed;  /* of roots */
} joiner;

/* ---- sets ---- */

static int32_t element(int32_t value, int axis)
{
    return value * RANK + axis;
}

static int32_t root_of(const joiner *j, int32_t e)
{
    while (j->parent[e] != e) {
        j->parent[e] = j->parent[j->parent[e]];
        e = j->parent[e];
    }
    return e;
}

static void fix_axis(joiner *j, int32_t value, int axis)
{
    j->is_fixed[root_of(j, element(value, axis))] = true;
}

static void fix_value(joiner *j, int32_t value)
{
    for (int axis = 0; value != GRAPH_NONE && axis < RANK; axis++) {
        fix_axis(j, value, axis);
    }
}

/* -1 when it is not known. */
static int rank_of(const joiner *j, int32_t value)
{
    const graph_value *v = &j->g->values[value];

    if (v->constant != NULL) {
        return v->constant->rank;
    }
    return v->type.kind == GRAPH_TYPE_TENSOR && v->type.has_rank ? v->type.rank : -1;
}

static int64_t size_of(const joiner *j, int32_t value, int axis)
{
    const graph_value *v = &j->g->values[value];

    return v->constant != NULL ? v->constant->shape[axis] : v->type.dims[axis].size;
}

/* Axes of one channel have no order. */
static void tie(joiner *j, int32_t a, int a_axis, int32_t b, int b_axis)
{
    int64_t size = size_of(j, a, a_axis);

    if (size < 0 || size != size_of(j, b, b_axis)) {
        fix_axis(j, a, a_axis);
        fix_axis(j, b, b_axis);
    } else if (size > 1) {
        int32_t x = root_of(j, element(a, a_axis));
        int32_t y = root_of(j, element(b, b_axis));

        j->parent[x] = y;
        j->is_fixed[y] = j->is_fixed[x] || j->is_fixed[y];
    }
}

/* ---- operators ---- */

/* Joins the axes of what the node reads and gives; false: everything about it is fixed. Ranks are
 * known, and the first input and output are there. */
typedef bool (*rule)(joiner *j, const graph_node *n);

static bool has_input(const graph_node *n, int port)
{
    return port < n->input_count && n->inputs[port] != GRAPH_NONE;
}

static bool gives_one(const graph_node *n)
{
    for (int32_t i = 1; i < n->output_count; i++) {
        if (n->outputs[i] != GRAPH_NONE) {
            return false;
        }
    }
    return true;
}

static void fix_parameters(joiner *j, const graph_node *n)
{
    for (int32_t i = 1; i < n->input_count; i++) {
        fix_value(j, n->inputs[i]);
    }
}

/* Integers of an input that is a constant of i64; -1 when it is none. */
static int64_t constant_ints(const joiner *j, const graph_node *n, int port, const int64_t **ints)
{
    const tensor *t = has_input(n, port) ? graph_constant(j->g, n->inputs[port]) : NULL;

    if (t == NULL || t->dtype != SPRY_DTYPE_I64 || t->rank > 1) {
        return -1;
    }
    *ints = t->data;
    return tensor_count(t);
}

/* Bit per axis; false when one is out of range. */
static bool axis_set(const int64_t *axes, int64_t count, int rank, uint32_t *set)
{
    *set = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t axis = axes[i] < 0 ? axes[i] + rank : axes[i];

        if (axis < 0 || axis >= rank) {
            return false;
        }
        *set |= 1U << axis;
    }
    return true;
}

/* Ties all axes of two values of one rank but some, which are fixed. */
static bool tie_but(joiner *j, int32_t a, int32_t b, uint32_t fixed)
{
    if (rank_of(j, a) != rank_of(j, b)) {
        return false;
    }
    for (int axis = 0; axis < rank_of(j, a); axis++) {
        if ((fixed >> axis & 1U) != 0) {
            fix_axis(j, a, axis);
            fix_axis(j, b, axis);
        } else {
            tie(j, a, axis, b, axis);
        }
    }
    return true;
}

/* The first `count` axes of `from`, whose last axis lies on the last one of `to`; axes of one
 * channel are repeated. */
static bool tie_broadcast(joiner *j, int32_t from, int count, int32_t to)
{
    int shift = rank_of(j, to) - rank_of(j, from);

    if (shift < 0) {
        return false;
    }
    for (int axis = 0; axis < count; axis++) {
        if (size_of(j, from, axis) != 1) {
            tie(j, from, axis, to, axis + shift);
        }
    }
    return true;
}

/* Also functions of a whole row that treat its elements alike. */
static bool elementwise(joiner *j, const graph_node *n)
{
    for (int32_t i = 0; i < n->input_count; i++) {
        if (n->inputs[i] != GRAPH_NONE &&
            !tie_broadcast(j, n->inputs[i], rank_of(j, n->inputs[i]), n->outputs[0])) {
            return false;
        }
    }
    return gives_one(n);
}

static bool expand(joiner *j, const graph_node *n)
{
    fix_parameters(j, n);
    return tie_broadcast(j, n->inputs[0], rank_of(j, n->inputs[0]), n->outputs[0]);
}

static void fix_pixels(joiner *j, int32_t value)
{
    for (int axis = 2; axis < rank_of(j, value); axis++) {
        fix_axis(j, value, axis);
    }
}

static bool convolution(joiner *j, const graph_node *n)
{
    int32_t x = n->inputs[0];
    int32_t y = n->outputs[0];
    int32_t w = has_input(n, 1) ? n->inputs[1] : GRAPH_NONE;
    int64_t group = graph_attribute_int(n, "group", 1);
    bool is_transposed = strcmp(n->type, "ConvTranspose") == 0;
    int input_axis = is_transposed ? 0 : 1;

    if (w == GRAPH_NONE || rank_of(j, x) < 3 || rank_of(j, w) != rank_of(j, x) ||
        rank_of(j, y) != rank_of(j, x)) {
        return false;
    }
    if (group == 1) {
        tie(j, x, 1, w, input_axis);
        tie(j, y, 1, w, 1 - input_axis);
    } else if (!is_transposed && size_of(j, w, 1) == 1 && size_of(j, x, 1) == group &&
               size_of(j, y, 1) == group) {
        tie(j, x, 1, y, 1);
        tie(j, w, 0, y, 1);
    } else {
        return false;
    }
    tie(j, x, 0, y, 0);
    fix_pixels(j, x);
    fix_pixels(j, w);
    fix_pixels(j, y);
    if (has_input(n, 2)) {
        tie(j, n->inputs[2], 0, y, 1);
    }
    return true;
}

static bool gemm(joiner *j, const graph_node *n)
{
    int32_t y = n->outputs[0];
    int a = graph_attribute_int(n, "transA", 0) != 0;
    int b = graph_attribute_int(n, "transB", 0) != 0;

    if (!has_input(n, 1) || rank_of(j, n->inputs[0]) != 2 || rank_of(j, n->inputs[1]) != 2 ||
        rank_of(j, y) != 2) {
        return false;
    }
    tie(j, n->inputs[0], a, y, 0);
    tie(j, n->inputs[0], 1 - a, n->inputs[1], b);
    tie(j, n->inputs[1], 1 - b, y, 1);
    return !has_input(n, 2) || tie_broadcast(j, n->inputs[2], rank_of(j, n->inputs[2]), y);
}

static bool matmul(joiner *j, const graph_node *n)
{
    int32_t y = n->outputs[0];
    int32_t a = n->inputs[0];
    int32_t b = has_input(n, 1) ? n->inputs[1] : GRAPH_NONE;
    int k = rank_of(j, a) - 1;

    if (b == GRAPH_NONE || k < 1 || rank_of(j, b) < 2 || !tie_broadcast(j, a, k, y) ||
        !tie_broadcast(j, b, rank_of(j, b) - 2, y)) {
        return false;
    }
    tie(j, a, k, b, rank_of(j, b) - 2);
    tie(j, b, rank_of(j, b) - 1, y, rank_of(j, y) - 1);
    return true;
}

/* Numbers per channel behind the first input. */
static bool normalization(joiner *j, const graph_node *n)
{
    if (rank_of(j, n->outputs[0]) < 2 || !gives_one(n)) {
        return false;
    }
    for (int port = 1; port < n->input_count; port++) {
        if (has_input(n, port)) {
            tie(j, n->inputs[port], 0, n->outputs[0], 1);
        }
    }
    return tie_but(j, n->inputs[0], n->outputs[0], 0);
}

static bool pool(joiner *j, const graph_node *n)
{
    return gives_one(n) && tie_but(j, n->inputs[0], n->outputs[0], ~3U);
}

/* The order within axes that are summed up does not matter. */
static bool reduce(joiner *j, const graph_node *n)
{
    int32_t x = n->inputs[0];
    int32_t y = n->outputs[0];
    int64_t count = 0;
    const int64_t *axes = graph_attribute_ints(n, "axes", &count);
    bool keeps = graph_attribute_int(n, "keepdims", 1) != 0;
    uint32_t set;

    fix_parameters(j, n);
    if (axes == NULL) {
        count = constant_ints(j, n, 1, &axes);
    }
    if (count < 1 || !axis_set(axes, count, rank_of(j, x), &set)) {
        return false;
    }
    for (int axis = 0, to = 0; axis < rank_of(j, x); axis++) {
        bool is_summed = (set >> axis & 1U) != 0;

        if (!is_summed) {
            tie(j, x, axis, y, to);
        }
        to += !is_summed || keeps;
    }
    return true;
}

/* Elements behind an axis; -1 when not known. */
static int64_t behind(const joiner *j, int32_t value, int axis)
{
    int64_t product = 1;

    for (int i = axis + 1; i < rank_of(j, value); i++) {
        if (size_of(j, value, i) < 1) {
            return -1;
        }
        product *= size_of(j, value, i);
    }
    return product;
}

/* Of one size and with as many elements behind it, an axis is the same one. */
static int same_axis(const joiner *j, int32_t value, int axis, int32_t other)
{
    int64_t size = size_of(j, value, axis);
    int64_t count = behind(j, value, axis);

    for (int i = 0; size > 1 && count > 0 && i < rank_of(j, other); i++) {
        if (size_of(j, other, i) == size && behind(j, other, i) == count) {
            return i;
        }
    }
    return GRAPH_NONE;
}

/* Also Flatten, Squeeze and Unsqueeze: all elements in their order. */
static bool reshape(joiner *j, const graph_node *n)
{
    int32_t value[2] = {n->inputs[0], n->outputs[0]};

    fix_parameters(j, n);
    for (int side = 0; side < 2; side++) {
        for (int axis = 0; axis < rank_of(j, value[side]); axis++) {
            int same = same_axis(j, value[side], axis, value[1 - side]);

            if (same != GRAPH_NONE) {
                tie(j, value[side], axis, value[1 - side], same);
            } else {
                fix_axis(j, value[side], axis);
            }
        }
    }
    return true;
}

static bool transpose(joiner *j, const graph_node *n)
{
    int rank = rank_of(j, n->inputs[0]);
    int64_t count = 0;
    const int64_t *perm = graph_attribute_ints(n, "perm", &count);

    if (rank_of(j, n->outputs[0]) != rank || (perm != NULL && count != rank)) {
        return false;
    }
    for (int axis = 0; axis < rank; axis++) {
        int64_t from = perm != NULL ? perm[axis] : rank - 1 - axis;

        if (from < 0 || from >= rank) {
            return false;
        }
        tie(j, n->inputs[0], (int)from, n->outputs[0], axis);
    }
    return true;
}

static bool concat(joiner *j, const graph_node *n)
{
    int64_t axis = graph_attribute_int(n, "axis", 0);
    uint32_t set;

    if (!axis_set(&axis, 1, rank_of(j, n->outputs[0]), &set)) {
        return false;
    }
    for (int32_t i = 0; i < n->input_count; i++) {
        if (!has_input(n, i) || !tie_but(j, n->inputs[i], n->outputs[0], set)) {
            return false;
        }
    }
    return true;
}

static bool split(joiner *j, const graph_node *n)
{
    int64_t axis = graph_attribute_int(n, "axis", 0);
    uint32_t set;

    fix_parameters(j, n);
    if (!axis_set(&axis, 1, rank_of(j, n->inputs[0]), &set)) {
        return false;
    }
    for (int32_t i = 0; i < n->output_count; i++) {
        if (n->outputs[i] != GRAPH_NONE && !tie_but(j, n->inputs[0], n->outputs[i], set)) {
            return false;
        }
    }
    return true;
}

static bool slice(joiner *j, const graph_node *n)
{
    const int64_t *axes = NULL;
    int64_t count = constant_ints(j, n, 3, &axes);
    uint32_t set;

    fix_parameters(j, n);
    return count >= 0 && axis_set(axes, count, rank_of(j, n->inputs[0]), &set) &&
           tie_but(j, n->inputs[0], n->outputs[0], set);
}

static bool gather(joiner *j, const graph_node *n)
{
    int32_t x = n->inputs[0];
    int64_t axis = graph_attribute_int(n, "axis", 0);
    int rank = rank_of(j, x);
    int behind_axis;

    fix_parameters(j, n);
    axis += axis < 0 ? rank : 0;
    if (!has_input(n, 1) || axis < 0 || axis >= rank) {
        return false;
    }
    behind_axis = rank_of(j, n->inputs[1]) - 1;
    if (rank_of(j, n->outputs[0]) != rank + behind_axis) {
        return false;
    }
    for (int i = 0; i < rank; i++) {
        if (i == axis) {
            fix_axis(j, x, i);
        } else {
            tie(j, x, i, n->outputs[0], i < axis ? i : i + behind_axis);
        }
    }
    for (int i = 0; i <= behind_axis; i++) {
        fix_axis(j, n->outputs[0], (int)axis + i);
    }
    return true;
}

/* What it gives does not depend on the order of channels. */
static bool shape_only(joiner *j, const graph_node *n)
{
    fix_value(j, n->outputs[0]);
    return true;
}

static rule find_rule(const graph_node *n)
{
    static const struct {
        rule ties;
        const char *types; /* with a space around each */
    } rules[] = {
        {convolution, " Conv ConvTranspose "},
        {gemm, " Gemm "},
        {matmul, " MatMul "},
        {normalization, " BatchNormalization InstanceNormalization "},
        {pool, " MaxPool AveragePool LpPool GlobalMaxPool GlobalAveragePool "},
        {reduce, " ReduceMean ReduceSum ReduceMax ReduceMin ReduceL1 ReduceL2 ReduceSumSquare "},
        {reshape, " Reshape Flatten Squeeze Unsqueeze "},
        {transpose, " Transpose "},
        {concat, " Concat "},
        {split, " Split "},
        {slice, " Slice "},
        {gather, " Gather "},
        {expand, " Expand "},
        {shape_only, " Shape Size "},
        {elementwise, " Add Sub Mul Div Pow Min Max Sum Mean Where PRelu Clip Relu LeakyRelu "
                      "Sigmoid Tanh Erf Exp Log Sqrt Abs Neg Reciprocal Elu Selu Celu HardSigmoid "
                      "HardSwish Softplus Softsign Mish Gelu Swish Floor Ceil Round Sign Identity "
                      "Cast ThresholdedRelu Softmax LogSoftmax LayerNormalization "
                      "RMSNormalization "}};
    size_t length = strlen(n->type);

    for (size_t i = 0; n->domain[0] == '\0' && i < sizeof rules / sizeof *rules; i++) {
        const char *at = strstr(rules[i].types, n->type);

        for (; at != NULL; at = strstr(at + 1, n->type)) {
            if (at[-1] == ' ' && at[length] == ' ') {
                return rules[i].ties;
            }
        }
    }
    return NULL;
}

static void fix_read(void *context, int32_t id)
{
    fix_value(context, id);
}

static bool has_ranks(const joiner *j, const int32_t *values, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        if (values[i] != GRAPH_NONE && rank_of(j, values[i]) < 0) {
            return false;
        }
    }
    return true;
}

static void join_node(joiner *j, const graph_node *n)
{
    rule ties = find_rule(n);

    if (ties != NULL && has_input(n, 0) && n->output_count > 0 && n->outputs[0] != GRAPH_NONE &&
        has_ranks(j, n->inputs, n->input_count) && has_ranks(j, n->outputs, n->output_count) &&
        ties(j, n)) {
        return;
    }
    graph_visit_reads(n, fix_read, j);
    for (int32_t i = 0; i < n->output_count; i++) {
        fix_value(j, n->outputs[i]);
    }
}

/* ---- classes ---- */

static bool can_permute(const graph_value *v)
{
    return v->constant != NULL && v->constant->dtype == SPRY_DTYPE_F32 && !v->is_input &&
           !v->is_output && v->producer == GRAPH_NONE && v->outer == GRAPH_NONE &&
           tensor_is_dense(v->constant);
}

static void join_all(joiner *j)
{
    const graph *g = j->g;

    for (int32_t v = 0; v < g->value_count; v++) {
        const graph_value *value = &g->values[v];

        for (int axis = 0; axis < RANK; axis++) {
            j->parent[element(v, axis)] = element(v, axis);
        }
        if (value->is_input || value->is_output || value->outer != GRAPH_NONE ||
            (value->constant != NULL && !can_permute(value))) {
            fix_value(j, v);
        }
    }
    for (int32_t i = 0; i < g->node_count; i++) {
        if (!g->nodes[i].removed) {
            join_node(j, &g->nodes[i]);
        }
    }
}

spry_status channel_classes_find(const graph *g, arena *memory, channel_classes *found,
                                 spry_error *error)
{
    size_t count = (size_t)g->value_count * RANK + 1;
    joiner j = {g, arena_array(memory, count, sizeof *j.parent),
                arena_array(memory, count, sizeof *j.is_fixed)};
    int32_t *class_of_root = arena_array(memory, count, sizeof *class_of_root);

    found->count = 0;
    found->of = arena_array(memory, count, sizeof *found->of);
    found->sizes = arena_array(memory, count, sizeof *found->sizes);
    if (j.parent == NULL || j.is_fixed == NULL || class_of_root == NULL || found->of == NULL ||
        found->sizes == NULL) {
        return alloc_failed(error, count * sizeof *found->sizes);
    }
    join_all(&j);
    memset(class_of_root, 0xff, count * sizeof *class_of_root); /* GRAPH_NONE */
    memset(found->of, 0xff, count * sizeof *found->of);
    for (int32_t v = 0; v < g->value_count; v++) {
        for (int axis = 0; can_permute(&g->values[v]) && axis < rank_of(&j, v); axis++) {
            int32_t root = root_of(&j, element(v, axis));

            if (size_of(&j, v, axis) < 2 || j.is_fixed[root]) {
                continue;
            }
            if (class_of_root[root] == GRAPH_NONE) {
                found->sizes[found->count] = size_of(&j, v, axis);
                class_of_root[root] = found->count++;
            }
            found->of[element(v, axis)] = class_of_root[root];
        }
    }
    return SPRY_OK;
}

/* ---- moving ---- */

/* From axis `axis` on; the axes behind `last` stay as they are. */
static void permute(const tensor *t, const int32_t *const *orders, int axis, int last,
                    const float *from, float *to)
{
    int64_t span = tensor_span(t, axis, t->rank);
    int64_t step = axis <= last ? span / t->shape[axis] : 0;

    if (axis > last) {
        memcpy(to, from, (size_t)span * sizeof *to);
        return;
    }
    for (int64_t i = 0; i < t->shape[axis]; i++) {
        int64_t channel = orders[axis] != NULL ? orders[axis][i] : i;

        permute(t, orders, axis + 1, last, from + channel * step, to + i * step);
    }
}

spry_status channel_classes_apply(graph *g, const channel_classes *c, int32_t *const *orders,
                                  spry_error *error)
{
    for (int32_t v = 0; v < g->value_count; v++) {
        const tensor *source = g->values[v].constant;
        const int32_t *by_axis[RANK] = {NULL};
        int last = GRAPH_NONE;
        tensor *t;

        for (int axis = 0; source != NULL && axis < source->rank; axis++) {
            int32_t index = channel_class(c, v, axis);

            by_axis[axis] = index != GRAPH_NONE ? orders[index] : NULL;
            last = index != GRAPH_NONE ? axis : last;
        }
        if (last == GRAPH_NONE || tensor_count(source) == 0) {
            continue;
        }
        t = arena_zeroed(g->memory, sizeof *t);
        if (t == NULL) {
            return alloc_failed(error, sizeof *t);
        }
        spry_status status =
            tensor_init(t, SPRY_DTYPE_F32, source->rank, source->shape, NULL, error);

        if (status != SPRY_OK) {
            return status;
        }
        t->data = arena_bytes(g->memory, t->bytes);
        if (t->data == NULL) {
            return alloc_failed(error, t->bytes);
        }
        permute(t, by_axis, 0, last, source->data, t->data);
        g->values[v].constant = t;
    }
    return SPRY_OK;
}
