/* Operators that make tensors from few numbers: constants, repetition, sequences of numbers. */
#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "ops/families.h"
#include "ops/move.h"
#include "ops/operand.h"
#include "tensor/convert.h"

/* ---- Constant ---- */

/* Fills `t` as a view of the node's value attribute. Returns false when there is none. */
static bool constant_view(const graph_node *node, tensor *t)
{
    static const struct {
        const char *name;
        graph_attribute_kind kind;
        spry_dtype dtype;
        int rank;
    } forms[] = {
        {"value", GRAPH_ATTRIBUTE_TENSOR, SPRY_DTYPE_NONE, 0},
        {"value_float", GRAPH_ATTRIBUTE_FLOAT, SPRY_DTYPE_F32, 0},
        {"value_floats", GRAPH_ATTRIBUTE_FLOATS, SPRY_DTYPE_F32, 1},
        {"value_int", GRAPH_ATTRIBUTE_INT, SPRY_DTYPE_I64, 0},
        {"value_ints", GRAPH_ATTRIBUTE_INTS, SPRY_DTYPE_I64, 1},
        {"value_string", GRAPH_ATTRIBUTE_STRING, SPRY_DTYPE_STRING, 0},
        {"value_strings", GRAPH_ATTRIBUTE_STRINGS, SPRY_DTYPE_STRING, 1},
    };

    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const graph_attribute *a = graph_attribute_find(node, forms[i].name);

        if (a == NULL || a->kind != forms[i].kind) {
            continue;
        }
        if (a->kind == GRAPH_ATTRIBUTE_TENSOR) {
            *t = a->as.tensors[0];
            return true;
        }
        /* The attribute's numbers are only read through the view. */
        return tensor_init(t, forms[i].dtype, forms[i].rank, &a->count,
                           (void *)(uintptr_t)a->as.ints, NULL) == SPRY_OK;
    }
    return false;
}

static spry_status infer_constant(op_shapes *s)
{
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    graph_dim *contents;
    tensor t;
    spry_status status = SPRY_OK;

    if (!constant_view(s->node, &t)) {
        return op_shapes_fail(s, "there is no value attribute of a kind that can be run");
    }
    for (int i = 0; i < t.rank; i++) {
        dims[i] = (graph_dim){.size = t.shape[i]};
    }
    op_shapes_set(s, 0, t.dtype, t.rank, dims);
    if (t.dtype == SPRY_DTYPE_I64 && t.rank <= 1) {
        status = operand_contents(s, tensor_count(&t), &contents);
        for (int64_t i = 0; contents != NULL && i < tensor_count(&t); i++) {
            int64_t number = convert_get_i64(&t, i);

            contents[i].size = number >= 0 ? number : -1;
        }
    }
    return status;
}

static spry_status run_constant(op_call *call)
{
    tensor t;

    if (!constant_view(call->node, &t)) {
        return op_call_fail(call, SPRY_UNSUPPORTED, "the value attribute is missing or sparse");
    }
    return move_reshaped(call, 0, &t, t.rank, t.shape);
}

/* ---- ConstantOfShape, Expand ---- */

/* The element that ConstantOfShape repeats; a zero when the attribute is absent. */
static const tensor *fill_value(const graph_node *node)
{
    const graph_attribute *a = graph_attribute_find(node, "value");

    return a != NULL && a->kind == GRAPH_ATTRIBUTE_TENSOR ? &a->as.tensors[0] : NULL;
}

/* Dimensions known of a shape given as input `i`; rank -1 when not even their number is. */
static spry_status shape_operand(op_shapes *s, int i, graph_dim *dims, int *rank)
{
    const graph_type *type = op_shapes_ranked(s, i);
    graph_dim room[OPERAND_CONTENTS];
    int32_t count;
    const graph_dim *known = operand_integers(s, i, room, &count);

    *rank = -1;
    if (known == NULL && type != NULL && type->rank == 1 && type->dims[0].size >= 0) {
        count = type->dims[0].size > SPRY_TENSOR_MAX_RANK ? SPRY_TENSOR_MAX_RANK + 1
                                                          : (int32_t)type->dims[0].size;
    } else if (known == NULL) {
        return SPRY_OK;
    }
    if (count > SPRY_TENSOR_MAX_RANK) {
        return op_shapes_fail(s, "more than %d dimensions are requested", SPRY_TENSOR_MAX_RANK);
    }
    for (int32_t k = 0; k < count; k++) {
        dims[k] = known != NULL ? known[k] : operand_unknown;
    }
    *rank = (int)count;
    return SPRY_OK;
}

static spry_status infer_constant_of_shape(op_shapes *s)
{
    const tensor *fill = fill_value(s->node);
    spry_dtype dtype = fill != NULL ? fill->dtype : SPRY_DTYPE_F32;
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    int rank;
    spry_status status = shape_operand(s, 0, dims, &rank);

    if (status != SPRY_OK || rank < 0) {
        return status != SPRY_OK ? status : operand_unranked(s, 0, dtype);
    }
    op_shapes_set(s, 0, dtype, rank, dims);
    return SPRY_OK;
}

static spry_status run_constant_of_shape(op_call *call)
{
    const tensor *fill = fill_value(call->node);
    spry_dtype dtype = fill != NULL ? fill->dtype : SPRY_DTYPE_F32;
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    tensor *out;
    int rank;
    spry_status status = op_call_ints(call, 0, shape, SPRY_TENSOR_MAX_RANK, &rank);

    if (status != SPRY_OK) {
        return status;
    }
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0) {
            return op_call_fail(call, SPRY_BAD_INPUT, "dimension %d is negative", i);
        }
    }
    if (move_element_size(dtype) == 0) {
        return op_call_fail(call, SPRY_UNSUPPORTED, "%s elements", spry_dtype_name(dtype));
    }
    if (fill != NULL && tensor_count(fill) != 1) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the value attribute must have one element");
    }
    status = op_call_output(call, 0, dtype, rank, shape, &out);
    if (status == SPRY_OK && out != NULL) {
        static const float zero = 0;

        move_fill(out->data, tensor_count(out), fill != NULL ? fill->data : &zero,
                  move_element_size(dtype));
    }
    return status;
}

static spry_status infer_expand(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    graph_type wanted = {.kind = GRAPH_TYPE_TENSOR, .has_rank = true};
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    int rank;
    spry_status status = shape_operand(s, 1, wanted.dims, &wanted.rank);

    if (status != SPRY_OK || x == NULL || wanted.rank < 0) {
        return status != SPRY_OK ? status : operand_unranked(s, 0, operand_dtype(s, 0));
    }
    status = op_shapes_broadcast(s, x, &wanted, dims, &rank);
    if (status != SPRY_OK) {
        return status;
    }
    op_shapes_set(s, 0, x->dtype, rank, dims);
    return SPRY_OK;
}

static spry_status run_expand(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int64_t stride[SPRY_TENSOR_MAX_RANK];
    move_plan plan = {.rank = 0};
    tensor *out;
    int count;
    int rank;
    spry_status status = op_call_ints(call, 1, shape, SPRY_TENSOR_MAX_RANK, &count);

    if (status != SPRY_OK) {
        return status;
    }
    rank = count > x->rank ? count : x->rank;
    for (int i = rank - 1; i >= 0; i--) {
        int64_t have = i >= rank - x->rank ? x->shape[i - (rank - x->rank)] : 1;
        int64_t want = i >= rank - count ? shape[i - (rank - count)] : 1;

        if (want < 0 || (have != want && have != 1 && want != 1)) {
            return op_call_fail(call, SPRY_BAD_INPUT, "axis %d: %lld does not expand to %lld", i,
                                (long long)have, (long long)want);
        }
        shape[i] = have == 1 ? want : have;
    }
    status = op_call_output(call, 0, x->dtype, rank, shape, &out);
    if (status != SPRY_OK || out == NULL) {
        return status;
    }
    move_dense_strides(rank, shape, stride);
    for (int i = 0; i < rank; i++) {
        int from = i - (rank - x->rank);
        bool repeated = from < 0 || x->shape[from] == 1;

        move_add_axis(&plan, shape[i], stride[i], repeated ? 0 : tensor_span(x, from + 1, x->rank));
    }
    move_strided(call->team, &plan, move_element_size(x->dtype), out->data, x->data);
    return SPRY_OK;
}

/* ---- EyeLike, Range ---- */

static spry_dtype eye_dtype(const graph_node *node, spry_dtype like)
{
    int64_t given = graph_attribute_int(node, "dtype", like);

    return given > 0 && given < SPRY_DTYPE_COUNT ? (spry_dtype)given : SPRY_DTYPE_NONE;
}

static spry_status infer_eye_like(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    spry_dtype dtype = eye_dtype(s->node, operand_dtype(s, 0));

    if (x == NULL) {
        return operand_unranked(s, 0, dtype);
    }
    op_shapes_set(s, 0, dtype, x->rank, x->dims);
    return SPRY_OK;
}

static spry_status run_eye_like(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    int64_t k = graph_attribute_int(call->node, "k", 0);
    spry_dtype dtype = eye_dtype(call->node, x->dtype);
    const int64_t one = 1;
    tensor *out;
    spry_status status;

    if (x->rank != 2 || (dtype_bit(dtype) & (OP_NUMERIC | OP_BOOL)) == 0) {
        return op_call_fail(call, SPRY_BAD_INPUT, "needs a matrix, and a numeric type to make");
    }
    status = op_call_output_like(call, 0, dtype, x, &out);
    if (status != SPRY_OK || out == NULL) {
        return status;
    }
    if (out->bytes > 0) {
        memset(out->data, 0, out->bytes);
    }
    for (int64_t row = 0; row < x->shape[0]; row++) {
        if (k >= -row && k < x->shape[1] - row) {
            convert_write_i64(out, row * x->shape[1] + row + k, 1, &one);
        }
    }
    return SPRY_OK;
}

static bool is_float(spry_dtype dtype)
{
    return dtype_class_of(dtype) == DTYPE_CLASS_FLOAT;
}

/* Numbers in [start, limit) with that step; -1 when the step is 0 or they are too many. */
static int64_t range_count(const tensor *start, const tensor *limit, const tensor *step)
{
    int64_t first = convert_get_i64(start, 0);
    int64_t last = convert_get_i64(limit, 0);
    int64_t by = convert_get_i64(step, 0);
    uint64_t span;
    uint64_t stride;

    if (is_float(start->dtype)) {
        double count = ceil((convert_get_f64(limit, 0) - convert_get_f64(start, 0)) /
                            convert_get_f64(step, 0));

        return convert_get_f64(step, 0) == 0 || !(count <= (double)LIMIT_TENSOR_DIMENSION) ? -1
               : count > 0 ? (int64_t)count
                           : 0;
    }
    if (by == 0) {
        return -1;
    }
    if (by > 0 ? last <= first : last >= first) {
        return 0;
    }
    span = by > 0 ? (uint64_t)last - (uint64_t)first : (uint64_t)first - (uint64_t)last;
    stride = by > 0 ? (uint64_t)by : 0 - (uint64_t)by;
    span = (span - 1) / stride + 1;
    return span <= (uint64_t)LIMIT_TENSOR_DIMENSION ? (int64_t)span : -1;
}

static spry_status infer_range(op_shapes *s)
{
    graph_dim length = operand_unknown;
    bool known = true;

    for (int i = 0; i < 3; i++) {
        const tensor *t = s->constants[i];

        known = known && t != NULL && tensor_count(t) == 1 && t->dtype == s->constants[0]->dtype;
    }
    if (known) {
        length.size = range_count(s->constants[0], s->constants[1], s->constants[2]);
    }
    op_shapes_set(s, 0, operand_dtype(s, 0), 1, &length);
    return SPRY_OK;
}

static spry_status run_range(op_call *call)
{
    const tensor *start = op_call_input(call, 0);
    const tensor *step = op_call_input(call, 2);
    int64_t count;
    tensor *out;
    spry_status status;

    for (int i = 0; i < 3; i++) {
        if (tensor_count(op_call_input(call, i)) != 1 ||
            op_call_input(call, i)->dtype != start->dtype) {
            return op_call_fail(call, SPRY_BAD_INPUT, "needs three numbers of one type");
        }
    }
    count = range_count(start, op_call_input(call, 1), step);
    if (count < 0) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the step is 0 or the range too long");
    }
    status = op_call_output(call, 0, start->dtype, 1, &count, &out);
    if (status != SPRY_OK || out == NULL) {
        return status;
    }
    if (is_float(start->dtype)) {
        for (int64_t i = 0; i < count; i++) {
            double number = convert_get_f64(start, 0) + (double)i * convert_get_f64(step, 0);

            convert_write_f64(out, i, 1, &number);
        }
    } else {
        for (int64_t i = 0; i < count; i++) {
            int64_t number = (int64_t)((uint64_t)convert_get_i64(start, 0) +
                                       (uint64_t)i * (uint64_t)convert_get_i64(step, 0));

            convert_write_i64(out, i, 1, &number);
        }
    }
    return SPRY_OK;
}

#define RANGE_TYPES (OP_FLOATS | OP_SIGNED)

/* clang-format off */
const op ops_fill[] = {
    {.name = "Constant",
     .domain = "",
     .since = 1,
     .min_inputs = 0,
     .max_inputs = 0,
     .min_outputs = 1,
     .max_outputs = 1,
     .infer = infer_constant,
     .run = run_constant},
    {.name = "ConstantOfShape",
     .domain = "",
     .since = 9,
     .min_inputs = 1,
     .max_inputs = 1,
     .min_outputs = 1,
     .max_outputs = 1,
     .types = {1u << SPRY_DTYPE_I64},
     .infer = infer_constant_of_shape,
     .run = run_constant_of_shape},
    {.name = "Expand",
     .domain = "",
     .since = 8,
     .min_inputs = 2,
     .max_inputs = 2,
     .min_outputs = 1,
     .max_outputs = 1,
     .types = {MOVE_TYPES, 1u << SPRY_DTYPE_I64},
     .infer = infer_expand,
     .run = run_expand},
    {.name = "EyeLike",
     .domain = "",
     .since = 9,
     .min_inputs = 1,
     .max_inputs = 1,
     .min_outputs = 1,
     .max_outputs = 1,
     .types = {OP_NUMERIC | OP_BOOL},
     .infer = infer_eye_like,
     .run = run_eye_like},
    {.name = "Range",
     .domain = "",
     .since = 11,
     .min_inputs = 3,
     .max_inputs = 3,
     .min_outputs = 1,
     .max_outputs = 1,
     .types = {RANGE_TYPES, RANGE_TYPES, RANGE_TYPES},
     .infer = infer_range,
     .run = run_range},
    {.name = NULL},
};
/* clang-format on */
