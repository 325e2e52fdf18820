/* Reductions: the derivative is spread over what was reduced. */
#include <string.h>

#include "train/gradient/gradient_step.h"

typedef struct reduced {
    int32_t x;
    int32_t y, dy; /* with the reduced axes kept as 1 */
    graph_type type;
    int64_t axes[2 * SPRY_TENSOR_MAX_RANK];
    int count;
} reduced;

/* The axes that the node reduces; false where they are not known. */
static bool read_axes(gradient_step *s, reduced *r)
{
    int64_t count;
    const int64_t *list = graph_attribute_ints(&s->node, "axes", &count);

    r->count = 0;
    if (list != NULL && count <= SPRY_TENSOR_MAX_RANK) {
        memcpy(r->axes, list, (size_t)count * sizeof *list);
        r->count = (int)count;
    } else if (gradient_input(s, 1) != GRAPH_NONE) {
        r->count = gradient_constant_ints(s, 1, r->axes);
    }
    if (r->count < 0) {
        return false;
    }
    if (r->count == 0 && graph_attribute_int(&s->node, "noop_with_empty_axes", 0) == 0) {
        for (r->count = 0; r->count < r->type.rank; r->count++) {
            r->axes[r->count] = r->count;
        }
    }
    for (int i = 0; i < r->count; i++) {
        r->axes[i] += r->axes[i] < 0 ? r->type.rank : 0;
        if (r->axes[i] < 0 || r->axes[i] >= r->type.rank) {
            return false;
        }
    }
    return true;
}

static int32_t keep_axes(gradient_step *s, const reduced *r, int32_t id)
{
    return r->count == 0 || graph_attribute_int(&s->node, "keepdims", 1) != 0
               ? id
               : emit_binary(&s->e, "Unsqueeze", id, emit_ints(&s->e, r->count, r->axes));
}

static bool read_reduced(gradient_step *s, reduced *r)
{
    r->x = s->node.inputs[0];
    r->type = gradient_ranked(s, r->x);
    if (s->e.status != SPRY_OK || !read_axes(s, r)) {
        gradient_refuse(s, "its axes are not known");
        return false;
    }
    r->y = s->node.outputs[0];
    r->dy = keep_axes(s, r, s->dy[0]);
    return true;
}

/* y with the reduced axes kept; only where a rule asks, as it costs a node. */
static int32_t kept_result(gradient_step *s, const reduced *r)
{
    return keep_axes(s, r, r->y);
}

static void give_sum(gradient_step *s)
{
    reduced r;

    if (read_reduced(s, &r)) {
        gradient_give(s, 0, emit_expand_like(&s->e, r.dy, r.x));
    }
}

/* Elements per result as a number of x's type. */
static int32_t reduced_count(gradient_step *s, const reduced *r)
{
    spry_dtype dtype = gradient_dtype(s, r->x);
    double count = 1.0;
    int32_t product = GRAPH_NONE;

    for (int i = 0; i < r->count; i++) {
        int64_t size = r->type.dims[r->axes[i]].size;

        if (size < 0) {
            int32_t one = emit_cast(&s->e, emit_size(&s->e, r->x, (int)r->axes[i]), dtype);

            product = product == GRAPH_NONE ? one : emit_binary(&s->e, "Mul", product, one);
        } else {
            count *= (double)size;
        }
    }
    return product == GRAPH_NONE ? emit_number(&s->e, dtype, count)
                                 : emit_scaled(&s->e, dtype, product, count);
}

static void give_mean(gradient_step *s)
{
    reduced r;

    if (read_reduced(s, &r)) {
        int32_t share = emit_binary(&s->e, "Div", r.dy, reduced_count(s, &r));

        gradient_give(s, 0, emit_expand_like(&s->e, share, r.x));
    }
}

static void give_sum_square(gradient_step *s)
{
    reduced r;

    if (read_reduced(s, &r)) {
        int32_t twice = emit_scaled(&s->e, gradient_dtype(s, r.x), r.dy, 2.0);

        gradient_give(s, 0, emit_binary(&s->e, "Mul", twice, r.x));
    }
}

static void give_l1(gradient_step *s)
{
    reduced r;

    if (read_reduced(s, &r)) {
        gradient_give(s, 0, emit_binary(&s->e, "Mul", r.dy, emit_unary(&s->e, "Sign", r.x)));
    }
}

/* x / y, and 0 where all of x is. */
static void give_l2(gradient_step *s)
{
    reduced r;

    if (read_reduced(s, &r)) {
        int32_t y = kept_result(s, &r);
        int32_t zero = emit_number(&s->e, gradient_dtype(s, r.x), 0.0);
        int32_t one = emit_number(&s->e, gradient_dtype(s, r.x), 1.0);
        int32_t none = emit_binary(&s->e, "Equal", y, zero);
        int32_t share = emit_binary(&s->e, "Div", r.dy, emit_where(&s->e, none, one, y));

        gradient_give(s, 0, emit_binary(&s->e, "Mul", share, r.x));
    }
}

/* y = log of the sum of x: 1 / exp(y) */
static void give_log_sum(gradient_step *s)
{
    reduced r;

    if (read_reduced(s, &r)) {
        int32_t share =
            emit_binary(&s->e, "Div", r.dy, emit_unary(&s->e, "Exp", kept_result(s, &r)));

        gradient_give(s, 0, emit_expand_like(&s->e, share, r.x));
    }
}

/* y = log of the sum of exp(x): exp(x - y), which cannot overflow */
static void give_log_sum_exp(gradient_step *s)
{
    reduced r;

    if (read_reduced(s, &r)) {
        int32_t below = emit_binary(&s->e, "Sub", r.x, kept_result(s, &r));

        gradient_give(s, 0, emit_binary(&s->e, "Mul", r.dy, emit_unary(&s->e, "Exp", below)));
    }
}

/* The product of the others: y / x, for factors that are not 0. */
static void give_product(gradient_step *s)
{
    reduced r;

    if (read_reduced(s, &r)) {
        int32_t share = emit_binary(&s->e, "Mul", r.dy, kept_result(s, &r));

        gradient_give(s, 0, emit_binary(&s->e, "Div", share, r.x));
    }
}

/* 0, 1, 2, ... along `axis` of a tensor that has 1 along all others. */
static int32_t ruler(gradient_step *s, int64_t size, int rank, int axis)
{
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int32_t ends[3] = {emit_number(&s->e, SPRY_DTYPE_I64, 0.0),
                       emit_number(&s->e, SPRY_DTYPE_I64, (double)size),
                       emit_number(&s->e, SPRY_DTYPE_I64, 1.0)};

    for (int i = 0; i < rank; i++) {
        shape[i] = i == axis ? size : 1;
    }
    return emit_reshape(&s->e, emit_node(&s->e, "Range", 3, ends), rank, shape);
}

/* dy where x, along one axis, has its first largest (or smallest) element; dy has 1 there. */
static int32_t to_first(gradient_step *s, int32_t x, int32_t dy, int64_t size, int rank, int axis)
{
    bool smallest = strcmp(s->node.type, "ReduceMin") == 0;
    int32_t first = emit_unary(&s->e, smallest ? "ArgMin" : "ArgMax", x);
    int32_t here;

    emit_set_int(&s->e, first, "axis", axis);
    here = emit_binary(&s->e, "Equal", first, ruler(s, size, rank, axis));
    return emit_where(&s->e, here, dy,
                      emit_number(&s->e, gradient_dtype(s, s->node.inputs[0]), 0.0));
}

/* Several axes are brought together at the end and become one. */
static int32_t gather_axes(gradient_step *s, const reduced *r, int32_t *back_from, int64_t *order,
                           int64_t *size)
{
    bool gone[SPRY_TENSOR_MAX_RANK] = {false};
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int kept = 0;
    int32_t turned;

    *size = 1;
    for (int i = 0; i < r->count; i++) {
        gone[r->axes[i]] = true;
    }
    for (int d = 0; d < r->type.rank; d++) {
        if (!gone[d]) {
            order[kept++] = d;
        }
    }
    for (int d = 0, at = kept; d < r->type.rank; d++) {
        if (gone[d]) {
            *size *= r->type.dims[d].size;
            order[at++] = d;
        }
    }
    shape[0] = -1;
    shape[1] = *size;
    turned = emit_transpose(&s->e, r->x, r->type.rank, order);
    *back_from = turned;
    return emit_reshape(&s->e, turned, 2, shape);
}

static void give_extreme(gradient_step *s)
{
    reduced r;
    int64_t order[SPRY_TENSOR_MAX_RANK];
    int64_t back[SPRY_TENSOR_MAX_RANK];
    int64_t size;
    int32_t turned;
    int32_t lines;
    int32_t share;

    if (!read_reduced(s, &r)) {
        return;
    }
    for (int i = 0; i < r.count; i++) {
        if (r.type.dims[r.axes[i]].size < 1) {
            gradient_refuse(s, "the size of a reduced axis is not known");
            return;
        }
    }
    if (r.count <= 1) {
        size = r.count == 1 ? r.type.dims[r.axes[0]].size : 1;
        gradient_give(
            s, 0, r.count == 0 ? r.dy : to_first(s, r.x, r.dy, size, r.type.rank, (int)r.axes[0]));
        return;
    }
    lines = gather_axes(s, &r, &turned, order, &size);
    share = to_first(s, lines, emit_reshape(&s->e, r.dy, 2, (const int64_t[]){-1, 1}), size, 2, 1);
    share = emit_binary(&s->e, "Reshape", share, emit_unary(&s->e, "Shape", turned));
    for (int d = 0; d < r.type.rank; d++) {
        back[order[d]] = d;
    }
    gradient_give(s, 0, emit_transpose(&s->e, share, r.type.rank, back));
}

/* clang-format off */
const gradient_rule gradient_reduce_rules[] = {
    {.name = "ArgMax", .domain = ""},
    {.name = "ArgMin", .domain = ""},
    {.name = "ReduceL1", .domain = "", .run = give_l1},
    {.name = "ReduceL2", .domain = "", .run = give_l2},
    {.name = "ReduceLogSum", .domain = "", .run = give_log_sum},
    {.name = "ReduceLogSumExp", .domain = "", .run = give_log_sum_exp},
    {.name = "ReduceMax", .domain = "", .run = give_extreme},
    {.name = "ReduceMean", .domain = "", .run = give_mean},
    {.name = "ReduceMin", .domain = "", .run = give_extreme},
    {.name = "ReduceProd", .domain = "", .run = give_product},
    {.name = "ReduceSum", .domain = "", .run = give_sum},
    {.name = "ReduceSumSquare", .domain = "", .run = give_sum_square},
    {.name = NULL},
};
/* clang-format on */
