/* Following a value to the memory that it is read from. */
#include "runtime/view.h"

#include "base/checked.h"
#include "model/match.h"
#include "ops/op.h"
#include "runtime/chain.h"
#include "tensor/convert.h"

enum { MOST_STEPS = 64 };

static bool is_static(const graph *g, int32_t id)
{
    return id != GRAPH_NONE && graph_type_is_static(&g->values[id].type);
}

/* Do the dimensions multiply to a number? Types may say anything. */
static bool fits(int rank, const int64_t *dims)
{
    int64_t count = 1;

    for (int i = 0; i < rank; i++) {
        if (dims[i] < 1 || !checked_mul_i64(count, dims[i], &count)) {
            return false;
        }
    }
    return true;
}

static void append(view *v, int64_t size, int64_t stride)
{
    if (size != 1 && v->part_count < VIEW_MOST_PARTS) {
        v->parts[v->part_count++] = (view_part){size, stride};
    }
}

bool view_of_value(const graph *g, int32_t id, view *v)
{
    const graph_type *type = &g->values[id].type;
    int64_t stride = 1;

    if (!is_static(g, id)) {
        return false;
    }
    *v = (view){.base = id, .factor = 1.0, .rank = type->rank};
    for (int i = 0; i < type->rank; i++) {
        v->dims[i] = type->dims[i].size;
    }
    if (!fits(type->rank, v->dims)) {
        return false;
    }
    for (int i = 0; i < type->rank; i++) {
        stride *= v->dims[i];
    }
    for (int i = 0; i < type->rank; i++) {
        stride /= v->dims[i];
        append(v, v->dims[i], stride);
    }
    return true;
}

/* The first part of `axis`; that of the next axis follows its last. */
static int first_part(const view *v, int axis)
{
    int part = 0;

    for (int i = 0; i < axis; i++) {
        for (int64_t left = v->dims[i]; left > 1; left /= v->parts[part++].size) {
        }
    }
    return part;
}

/* ---- operators ---- */

bool view_reshape(view *v, int rank, const int64_t *dims)
{
    view to = *v;
    view_part rest = {1, 0};
    int next = 0;

    to.rank = rank;
    to.part_count = 0;
    for (int i = 0; i < rank; i++) {
        to.dims[i] = dims[i];
        for (int64_t left = dims[i]; left > 1;) {
            if (rest.size == 1 && next < v->part_count) {
                rest = v->parts[next++];
            }
            if (rest.size <= 1 || to.part_count == VIEW_MOST_PARTS) {
                return false;
            }
            if (left % rest.size == 0) { /* takes all of it */
                append(&to, rest.size, rest.stride);
                left /= rest.size;
                rest.size = 1;
            } else if (rest.size % left == 0) { /* takes its outer half */
                rest.size /= left;
                append(&to, left, rest.stride * rest.size);
                left = 1;
            } else {
                return false;
            }
        }
    }
    if (rest.size != 1 || next != v->part_count) {
        return false;
    }
    *v = to;
    return true;
}

bool view_transpose(view *v, const int64_t *perm)
{
    view to = *v;

    to.part_count = 0;
    for (int i = 0; i < v->rank; i++) {
        int axis = perm != NULL ? (int)perm[i] : v->rank - 1 - i;
        int end = first_part(v, axis + 1);

        to.dims[i] = v->dims[axis];
        for (int part = first_part(v, axis); part < end; part++) {
            append(&to, v->parts[part].size, v->parts[part].stride);
        }
    }
    *v = to;
    return true;
}

bool view_expand(view *v, int rank, const int64_t *dims)
{
    view to = *v;
    int added = rank - v->rank;

    if (added < 0 || !fits(rank, dims)) {
        return false;
    }
    to.rank = rank;
    to.part_count = 0;
    for (int i = 0; i < rank; i++) {
        int64_t own = i < added ? 1 : v->dims[i - added];
        int end = i < added ? 0 : first_part(v, i - added + 1);

        if ((own != dims[i] && own != 1) || to.part_count >= VIEW_MOST_PARTS - 1) {
            return false;
        }
        to.dims[i] = dims[i];
        if (own != dims[i]) {
            append(&to, dims[i], 0);
        }
        for (int part = i < added ? 0 : first_part(v, i - added); part < end; part++) {
            append(&to, v->parts[part].size, v->parts[part].stride);
        }
    }
    *v = to;
    return true;
}

int view_axes(const view *v, int axis, int count, view_part *parts)
{
    int end = first_part(v, axis + count);
    int made = 0;

    for (int part = first_part(v, axis); part < end; part++) {
        view_part p = v->parts[part];

        if (made > 0 && parts[made - 1].stride == p.stride * p.size) {
            parts[made - 1] = (view_part){parts[made - 1].size * p.size, p.stride};
        } else {
            parts[made++] = p;
        }
    }
    return made;
}

bool view_stride(const view *v, int axis, int64_t *stride)
{
    view_part parts[VIEW_MOST_PARTS];
    int count = view_axes(v, axis, 1, parts);

    *stride = count == 1 ? parts[0].stride : 0;
    return count <= 1;
}

/* Elements [start, start + size) of an axis. */
static bool cut(view *v, int axis, int64_t start, int64_t size)
{
    view to = *v;
    int64_t stride;
    int first = first_part(v, axis);
    int end = first_part(v, axis + 1);

    if (v->dims[axis] == size) {
        return start == 0;
    }
    if (start < 0 || size < 1 || start + size > v->dims[axis] || !view_stride(v, axis, &stride)) {
        return false;
    }
    to.dims[axis] = size;
    to.offset += start * stride;
    to.part_count = first;
    append(&to, size, stride);
    for (int part = end; part < v->part_count; part++) {
        append(&to, v->parts[part].size, v->parts[part].stride);
    }
    *v = to;
    return true;
}

/* ---- nodes ---- */

static bool reshape_to(view *v, const graph_type *type)
{
    int64_t dims[SPRY_TENSOR_MAX_RANK];

    for (int i = 0; i < type->rank; i++) {
        dims[i] = type->dims[i].size;
    }
    return view_reshape(v, type->rank, dims);
}

static bool expand_to(view *v, const graph_type *type)
{
    int64_t dims[SPRY_TENSOR_MAX_RANK];

    for (int i = 0; i < type->rank; i++) {
        dims[i] = type->dims[i].size;
    }
    return view_expand(v, type->rank, dims);
}

static bool take_transpose(const graph_node *n, view *v)
{
    int64_t count;
    const int64_t *perm = graph_attribute_ints(n, "perm", &count);

    return perm == NULL || count == v->rank ? view_transpose(v, perm) : false;
}

static bool take_split(const graph *g, const graph_node *n, int32_t id, view *v)
{
    int64_t start = 0;
    int axis;

    if (!op_normalize_axis(graph_attribute_int(n, "axis", 0), v->rank, &axis)) {
        return false;
    }
    for (int32_t i = 0; i < n->output_count; i++) {
        if (n->outputs[i] == id) {
            return cut(v, axis, start, g->values[id].type.dims[axis].size);
        }
        if (!is_static(g, n->outputs[i])) {
            return false;
        }
        start += g->values[n->outputs[i]].type.dims[axis].size;
    }
    return false;
}

/* The integers of a constant, at most as many as there are axes; -1 when it is none. */
static int read_ints(const graph *g, int32_t id, int64_t *numbers)
{
    const tensor *t = id != GRAPH_NONE ? graph_constant(g, id) : NULL;

    if (t == NULL || t->rank != 1 || tensor_count(t) > SPRY_TENSOR_MAX_RANK) {
        return -1;
    }
    for (int64_t i = 0; i < tensor_count(t); i++) {
        numbers[i] = convert_get_i64(t, i);
    }
    return (int)tensor_count(t);
}

static bool take_slice(const graph *g, const graph_node *n, const graph_type *type, view *v)
{
    int64_t starts[SPRY_TENSOR_MAX_RANK];
    int64_t axes[SPRY_TENSOR_MAX_RANK];
    int64_t steps[SPRY_TENSOR_MAX_RANK];
    int count = read_ints(g, chain_input(n, 1), starts);
    bool has_axes = chain_input(n, 3) != GRAPH_NONE;
    bool has_steps = chain_input(n, 4) != GRAPH_NONE;

    if (count < 0 || (has_axes && read_ints(g, n->inputs[3], axes) != count) ||
        (has_steps && read_ints(g, n->inputs[4], steps) != count)) {
        return false;
    }
    for (int i = 0; i < count; i++) {
        int64_t extent;
        int axis;

        if (!op_normalize_axis(has_axes ? axes[i] : i, v->rank, &axis) ||
            (has_steps && steps[i] != 1)) {
            return false;
        }
        extent = v->dims[axis];
        starts[i] = starts[i] < 0 ? starts[i] + extent : starts[i];
        starts[i] = starts[i] < 0 ? 0 : starts[i];
        if (!cut(v, axis, starts[i], type->dims[axis].size)) {
            return false;
        }
    }
    return true;
}

/* One constant index. */
static bool take_gather(const graph *g, const graph_node *n, const graph_type *type, view *v)
{
    const tensor *index = graph_constant(g, chain_input(n, 1));
    int64_t at;
    int axis;

    if (index == NULL || tensor_count(index) != 1 ||
        !op_normalize_axis(graph_attribute_int(n, "axis", 0), v->rank, &axis)) {
        return false;
    }
    at = convert_get_i64(index, 0);
    return cut(v, axis, at < 0 ? at + v->dims[axis] : at, 1) && reshape_to(v, type);
}

/* The value that the node's view reads from, or GRAPH_NONE; `factor` of a product. */
static int32_t source_of(const graph *g, const graph_node *n, bool takes_factors, double *factor)
{
    static const char *const movers[] = {"Identity",  "Reshape", "Flatten", "Squeeze", "Unsqueeze",
                                         "Transpose", "Split",   "Slice",   "Gather",  "Expand"};
    bool is_quotient = graph_node_is(n, "Div");

    *factor = 1.0;
    for (size_t i = 0; i < sizeof movers / sizeof *movers; i++) {
        if (graph_node_is(n, movers[i])) {
            return n->inputs[0];
        }
    }
    if (!takes_factors || !(is_quotient || graph_node_is(n, "Mul")) || n->input_count != 2) {
        return GRAPH_NONE;
    }
    if (is_quotient) {
        if (!match_scalar(g, n->inputs[1], factor) || *factor == 0.0) {
            return GRAPH_NONE;
        }
        *factor = 1.0 / *factor;
        return n->inputs[0];
    }
    return match_beside_scalar(g, n, factor);
}

static bool apply(const graph *g, const graph_node *n, int32_t id, view *v)
{
    const graph_type *type = &g->values[id].type;

    if (graph_node_is(n, "Transpose")) {
        return take_transpose(n, v);
    }
    if (graph_node_is(n, "Split")) {
        return take_split(g, n, id, v);
    }
    if (graph_node_is(n, "Slice")) {
        return take_slice(g, n, type, v);
    }
    if (graph_node_is(n, "Gather")) {
        return take_gather(g, n, type, v);
    }
    return graph_node_is(n, "Expand") ? expand_to(v, type) : reshape_to(v, type);
}

bool view_trace(const graph *g, int32_t id, bool takes_factors, view *v)
{
    int32_t path[MOST_STEPS];
    int steps = 0;
    double factor = 1.0;
    double total = 1.0;

    if (!is_static(g, id)) {
        return false;
    }
    for (path[0] = id; steps + 1 < MOST_STEPS; steps++) {
        int32_t producer = g->values[path[steps]].producer;
        int32_t source = producer != GRAPH_NONE && g->values[path[steps]].constant == NULL
                             ? source_of(g, &g->nodes[producer], takes_factors, &factor)
                             : GRAPH_NONE;

        if (!is_static(g, source)) {
            break;
        }
        path[steps + 1] = source;
    }
    /* Forwards again: where a step cannot be seen as strides, its result is the base. */
    if (!view_of_value(g, path[steps], v)) {
        return false;
    }
    for (int i = steps - 1; i >= 0; i--) {
        const graph_node *n = &g->nodes[g->values[path[i]].producer];

        (void)source_of(g, n, takes_factors, &factor);
        total = v->factor * factor;
        if (!apply(g, n, path[i], v)) {
            if (!view_of_value(g, path[i], v)) {
                return false;
            }
            continue;
        }
        v->factor = total;
    }
    return true;
}
