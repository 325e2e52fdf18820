/* Operators that ask for a shape or give the same elements another one. Their rules carry symbolic
 * dimensions, so that the arithmetic exporters write around Reshape keeps what is known. */
#include <string.h>

#include "base/checked.h"
#include "ops/families.h"
#include "ops/move.h"
#include "ops/operand.h"

/* ---- Shape, Size ---- */

/* The range of axes that Shape reports. */
static void shape_range(const graph_node *node, int rank, int *start, int *end)
{
    int64_t first = graph_attribute_int(node, "start", 0);
    int64_t last = graph_attribute_int(node, "end", rank);

    first = first < 0 ? first + rank : first;
    last = last < 0 ? last + rank : last;
    first = first < 0 ? 0 : first > rank ? rank : first;
    last = last < 0 ? 0 : last > rank ? rank : last;
    *start = (int)first;
    *end = (int)(last < first ? first : last);
}

static spry_status infer_shape(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    graph_dim length = operand_unknown;
    graph_dim *contents = NULL;
    spry_status status = SPRY_OK;
    int start;
    int end;

    if (x != NULL) {
        shape_range(s->node, x->rank, &start, &end);
        length.size = end - start;
        status = operand_contents(s, length.size, &contents);
        if (contents != NULL) {
            memcpy(contents, x->dims + start, (size_t)length.size * sizeof *contents);
        }
    }
    op_shapes_set(s, 0, SPRY_DTYPE_I64, 1, &length);
    return status;
}

static spry_status run_shape(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    tensor *out;
    int64_t length;
    int start;
    int end;
    spry_status status;

    shape_range(call->node, x->rank, &start, &end);
    length = end - start;
    status = op_call_output(call, 0, SPRY_DTYPE_I64, 1, &length, &out);
    if (status == SPRY_OK && out != NULL && length > 0) {
        memcpy(out->data, x->shape + start, (size_t)length * sizeof *x->shape);
    }
    return status;
}

static spry_status infer_size(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    graph_dim *contents = NULL;
    spry_status status = SPRY_OK;

    if (x != NULL && graph_type_is_static(x)) {
        status = operand_contents(s, 1, &contents);
        if (contents != NULL) {
            contents[0].size = op_work_count(x);
        }
    }
    op_shapes_set(s, 0, SPRY_DTYPE_I64, 0, NULL);
    return status;
}

static spry_status run_size(op_call *call)
{
    tensor *out;
    spry_status status = op_call_output(call, 0, SPRY_DTYPE_I64, 0, NULL, &out);

    if (status == SPRY_OK && out != NULL) {
        *(int64_t *)out->data = tensor_count(op_call_input(call, 0));
    }
    return status;
}

/* ---- Reshape ---- */

static bool same_dim(graph_dim a, graph_dim b)
{
    return a.size >= 0 ? a.size == b.size
                       : a.symbol != NULL && b.symbol != NULL && strcmp(a.symbol, b.symbol) == 0;
}

/* What the one unknown target dimension must be: the product of the input's dimensions that no
 * target dimension stands against, over the targets that are left. -1 when symbols are left. */
static int64_t remaining(const graph_type *x, const graph_dim *to, int rank, int unknown)
{
    bool used[SPRY_TENSOR_MAX_RANK] = {false};
    int64_t have = 1;
    int64_t want = 1;

    for (int i = 0; i < rank; i++) {
        int match = 0;

        if (i == unknown) {
            continue;
        }
        while (match < x->rank && (used[match] || !same_dim(x->dims[match], to[i]))) {
            match++;
        }
        if (match < x->rank && x->dims[match].size != 0) {
            used[match] = true;
        } else if (to[i].size < 0 || !checked_mul_i64(want, to[i].size, &want)) {
            return -1;
        }
    }
    for (int i = 0; i < x->rank; i++) {
        if (!used[i] && (x->dims[i].size < 0 || !checked_mul_i64(have, x->dims[i].size, &have))) {
            return -1;
        }
    }
    return want > 0 && have % want == 0 ? have / want : -1;
}

/* Target dimensions from the requested ones: 0 copies, an unknown one is worked out. */
static void resolve(const graph_type *x, const graph_dim *request, int rank, bool allow_zero,
                    graph_dim *to)
{
    int unknown = -1;
    int unknowns = 0;

    for (int i = 0; i < rank; i++) {
        to[i] = request[i];
        if (to[i].size == 0 && !allow_zero) {
            to[i] = i < x->rank ? x->dims[i] : operand_unknown;
        }
        if (request[i].size < 0 && request[i].symbol == NULL) {
            unknown = i;
            unknowns++;
        }
    }
    if (unknowns == 1) {
        to[unknown].size = remaining(x, to, rank, unknown);
    }
}

/* NULL, or what is wrong with a requested shape whose numbers are known. */
static const char *refuse_request(const int64_t *request, int count, int rank, bool allow_zero)
{
    int unknowns = 0;

    for (int i = 0; i < count; i++) {
        if (request[i] < -1) {
            return "a requested dimension is below -1";
        }
        if (request[i] == 0 && !allow_zero && i >= rank) {
            return "a requested 0 copies an axis that the input does not have";
        }
        unknowns += request[i] == -1;
    }
    return unknowns > 1 ? "more than one requested dimension is -1" : NULL;
}

static spry_status infer_reshape(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    const graph_type *request_type = op_shapes_ranked(s, 1);
    bool allow_zero = graph_attribute_int(s->node, "allowzero", 0) != 0;
    graph_type any = {.kind = GRAPH_TYPE_TENSOR, .has_rank = true, .rank = SPRY_TENSOR_MAX_RANK};
    graph_dim room[OPERAND_CONTENTS];
    graph_dim to[SPRY_TENSOR_MAX_RANK];
    int64_t request[SPRY_TENSOR_MAX_RANK];
    const graph_dim *wanted;
    int32_t rank;
    int count;
    spry_status status = op_shapes_ints(s, 1, request, SPRY_TENSOR_MAX_RANK, &count);

    if (status != SPRY_OK) {
        return status;
    }
    for (int i = 0; i < SPRY_TENSOR_MAX_RANK; i++) {
        any.dims[i] = operand_unknown;
        to[i] = operand_unknown;
    }
    wanted = operand_integers(s, 1, room, &rank);
    if (wanted != NULL && rank <= SPRY_TENSOR_MAX_RANK) {
        const char *wrong =
            count >= 0 && x != NULL ? refuse_request(request, count, x->rank, allow_zero) : NULL;

        if (wrong != NULL) {
            return op_shapes_fail(s, "%s", wrong);
        }
        resolve(x != NULL ? x : &any, wanted, (int)rank, allow_zero, to);
    } else if (request_type != NULL && request_type->rank == 1 && request_type->dims[0].size >= 0 &&
               request_type->dims[0].size <= SPRY_TENSOR_MAX_RANK) {
        rank = (int32_t)request_type->dims[0].size;
    } else {
        return operand_unranked(s, 0, operand_dtype(s, 0));
    }
    op_shapes_set(s, 0, operand_dtype(s, 0), (int)rank, to);
    return SPRY_OK;
}

static spry_status run_reshape(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    bool allow_zero = graph_attribute_int(call->node, "allowzero", 0) != 0;
    graph_type from = graph_type_tensor(x->dtype, x->rank, x->shape);
    graph_dim to[SPRY_TENSOR_MAX_RANK];
    graph_dim wanted[SPRY_TENSOR_MAX_RANK] = {{0, NULL}};
    int64_t request[SPRY_TENSOR_MAX_RANK];
    int64_t elements = 1;
    int count;
    const char *wrong;
    spry_status status = op_call_ints(call, 1, request, SPRY_TENSOR_MAX_RANK, &count);

    if (status != SPRY_OK) {
        return status;
    }
    wrong = refuse_request(request, count, x->rank, allow_zero);
    if (wrong != NULL) {
        return op_call_fail(call, SPRY_BAD_INPUT, "%s", wrong);
    }
    for (int i = 0; i < count; i++) {
        wanted[i].size = request[i];
    }
    resolve(&from, wanted, count, allow_zero, to);
    for (int i = 0; i < count; i++) {
        request[i] = to[i].size;
        if (!checked_mul_i64(elements, request[i], &elements)) {
            elements = -1;
        }
    }
    if (elements != tensor_count(x)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "%lld elements do not fit the requested shape",
                            (long long)tensor_count(x));
    }
    return move_reshaped(call, 0, x, count, request);
}

/* ---- Flatten ---- */

static graph_dim dims_product(const graph_dim *dims, int count)
{
    graph_dim product = {.size = 1};

    for (int i = 0; i < count; i++) {
        if (dims[i].size == 1) {
            continue;
        }
        if (product.size == 1) {
            product = dims[i];
        } else if (dims[i].size < 0 || product.size < 0 ||
                   !checked_mul_i64(product.size, dims[i].size, &product.size)) {
            return operand_unknown;
        }
    }
    return product;
}

/* The axis attribute of Flatten, which may also be the rank itself. */
static bool flatten_axis(const graph_node *node, int rank, int *axis)
{
    int64_t given = graph_attribute_int(node, "axis", 1);

    *axis = rank;
    return given == rank || op_normalize_axis(given, rank, axis);
}

static spry_status infer_flatten(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    graph_dim dims[2] = {operand_unknown, operand_unknown};
    int axis;

    if (x != NULL) {
        if (!flatten_axis(s->node, x->rank, &axis)) {
            return op_shapes_fail(s, "axis is outside of rank %d", x->rank);
        }
        dims[0] = dims_product(x->dims, axis);
        dims[1] = dims_product(x->dims + axis, x->rank - axis);
    }
    op_shapes_set(s, 0, operand_dtype(s, 0), 2, dims);
    return SPRY_OK;
}

static spry_status run_flatten(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    int64_t shape[2];
    int axis;

    if (!flatten_axis(call->node, x->rank, &axis)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "axis is outside of rank %d", x->rank);
    }
    shape[0] = tensor_span(x, 0, axis);
    shape[1] = tensor_span(x, axis, x->rank);
    return move_reshaped(call, 0, x, 2, shape);
}

/* ---- Squeeze, Unsqueeze ---- */

/* Contents go through: a list of one integer and the integer itself have the same. */
static spry_status keep_contents(op_shapes *s)
{
    graph_dim room[OPERAND_CONTENTS];
    graph_dim *to;
    int32_t count;
    const graph_dim *from = operand_integers(s, 0, room, &count);
    spry_status status;

    if (from == NULL) {
        return SPRY_OK;
    }
    status = operand_contents(s, count, &to);
    if (to != NULL) {
        memcpy(to, from, (size_t)count * sizeof *to);
    }
    return status;
}

static spry_status infer_squeeze(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    bool chosen[SPRY_TENSOR_MAX_RANK] = {false};
    int64_t axes[SPRY_TENSOR_MAX_RANK];
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    int rank = 0;
    int count;
    bool known;
    spry_status status =
        operand_known_ints(s, 1, "axes", axes, SPRY_TENSOR_MAX_RANK, &count, &known);

    if (status != SPRY_OK || x == NULL || !known) {
        return status != SPRY_OK ? status : operand_unranked(s, 0, operand_dtype(s, 0));
    }
    if (count >= 0 && !operand_axes(axes, count, x->rank, chosen)) {
        return op_shapes_fail(s, "axes are outside of rank %d or repeated", x->rank);
    }
    for (int i = 0; i < x->rank; i++) {
        int64_t size = x->dims[i].size;

        if (count < 0 && size < 0) {
            return operand_unranked(s, 0, x->dtype);
        }
        if (chosen[i] && size >= 0 && size != 1) {
            return op_shapes_fail(s, "axis %d has size %lld, not 1", i, (long long)size);
        }
        if (!chosen[i] && (count >= 0 || size != 1)) {
            dims[rank++] = x->dims[i];
        }
    }
    op_shapes_set(s, 0, x->dtype, rank, dims);
    return rank < x->rank && x->rank <= 1 ? keep_contents(s) : SPRY_OK;
}

static spry_status run_squeeze(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    bool chosen[SPRY_TENSOR_MAX_RANK] = {false};
    int64_t axes[SPRY_TENSOR_MAX_RANK];
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int rank = 0;
    int count;
    spry_status status = operand_ints(call, 1, "axes", axes, SPRY_TENSOR_MAX_RANK, &count);

    if (status != SPRY_OK) {
        return status;
    }
    if (count >= 0 && !operand_axes(axes, count, x->rank, chosen)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "axes are outside of rank %d or repeated",
                            x->rank);
    }
    for (int i = 0; i < x->rank; i++) {
        if (chosen[i] && x->shape[i] != 1) {
            return op_call_fail(call, SPRY_BAD_INPUT, "axis %d has size %lld, not 1", i,
                                (long long)x->shape[i]);
        }
        if (!chosen[i] && (count >= 0 || x->shape[i] != 1)) {
            shape[rank++] = x->shape[i];
        }
    }
    return move_reshaped(call, 0, x, rank, shape);
}

static spry_status infer_unsqueeze(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    bool chosen[SPRY_TENSOR_MAX_RANK] = {false};
    int64_t axes[SPRY_TENSOR_MAX_RANK];
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    int from = 0;
    int count;
    bool known;
    spry_status status =
        operand_known_ints(s, 1, "axes", axes, SPRY_TENSOR_MAX_RANK, &count, &known);

    if (status != SPRY_OK || x == NULL || count < 0) {
        return status != SPRY_OK ? status : operand_unranked(s, 0, operand_dtype(s, 0));
    }
    if (x->rank + count > SPRY_TENSOR_MAX_RANK ||
        !operand_axes(axes, count, x->rank + count, chosen)) {
        return op_shapes_fail(s, "axes are outside of rank %d or repeated", x->rank + count);
    }
    for (int i = 0; i < x->rank + count; i++) {
        dims[i] = chosen[i] ? (graph_dim){.size = 1} : x->dims[from++];
    }
    op_shapes_set(s, 0, x->dtype, x->rank + count, dims);
    return x->rank == 0 ? keep_contents(s) : SPRY_OK;
}

static spry_status run_unsqueeze(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    bool chosen[SPRY_TENSOR_MAX_RANK] = {false};
    int64_t axes[SPRY_TENSOR_MAX_RANK];
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int from = 0;
    int count;
    spry_status status = operand_ints(call, 1, "axes", axes, SPRY_TENSOR_MAX_RANK, &count);

    if (status != SPRY_OK) {
        return status;
    }
    if (count < 0 || x->rank + count > SPRY_TENSOR_MAX_RANK ||
        !operand_axes(axes, count, x->rank + count, chosen)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "axes are missing, too many, or repeated");
    }
    for (int i = 0; i < x->rank + count; i++) {
        shape[i] = chosen[i] ? 1 : x->shape[from++];
    }
    return move_reshaped(call, 0, x, x->rank + count, shape);
}

/* ---- Identity ---- */

static spry_status infer_identity(op_shapes *s)
{
    op_shapes_copy(s, 0, 0);
    return keep_contents(s);
}

static spry_status run_identity(op_call *call)
{
    const tensor *x = op_call_input(call, 0);

    if (x != NULL) {
        return move_reshaped(call, 0, x, x->rank, x->shape);
    }
    return op_call_wants(call, 0) ? value_share(call->outputs[0], call->inputs[0], call->error)
                                  : SPRY_OK;
}

/* clang-format off */
const op ops_shape[] = {
    {.name = "Flatten",
     .domain = "",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .min_outputs = 1,
     .max_outputs = 1,
     .flags = OP_VIEW,
     .types = {MOVE_ANY},
     .infer = infer_flatten,
     .run = run_flatten},
    {.name = "Identity",
     .domain = "",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .min_outputs = 1,
     .max_outputs = 1,
     .flags = OP_VIEW,
     .infer = infer_identity,
     .run = run_identity},
    {.name = "Reshape",
     .domain = "",
     .since = 5,
     .min_inputs = 2,
     .max_inputs = 2,
     .min_outputs = 1,
     .max_outputs = 1,
     .flags = OP_VIEW,
     .types = {MOVE_ANY, 1u << SPRY_DTYPE_I64},
     .infer = infer_reshape,
     .run = run_reshape},
    {.name = "Shape",
     .domain = "",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .min_outputs = 1,
     .max_outputs = 1,
     .flags = OP_SHAPE_ONLY,
     .types = {MOVE_ANY},
     .infer = infer_shape,
     .run = run_shape},
    {.name = "Size",
     .domain = "",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .min_outputs = 1,
     .max_outputs = 1,
     .flags = OP_SHAPE_ONLY,
     .types = {MOVE_ANY},
     .infer = infer_size,
     .run = run_size},
    {.name = "Squeeze",
     .domain = "",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 2,
     .min_outputs = 1,
     .max_outputs = 1,
     .flags = OP_VIEW,
     .types = {MOVE_ANY, OP_INDEX},
     .infer = infer_squeeze,
     .run = run_squeeze},
    {.name = "Unsqueeze",
     .domain = "",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 2,
     .min_outputs = 1,
     .max_outputs = 1,
     .flags = OP_VIEW,
     .types = {MOVE_ANY, OP_INDEX},
     .infer = infer_unsqueeze,
     .run = run_unsqueeze},
    {.name = NULL},
};
/* clang-format on */
