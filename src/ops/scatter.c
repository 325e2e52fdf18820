/* Operators that write elements or blocks at indices: the Scatter group, TensorScatter, OneHot. */
#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "ops/families.h"
#include "ops/move.h"
#include "ops/operand.h"
#include "tensor/convert.h"

/* ---- reductions ---- */

typedef enum scatter_rule {
    SCATTER_REPLACE,
    SCATTER_ADD,
    SCATTER_MUL,
    SCATTER_MIN,
    SCATTER_MAX,
    SCATTER_UNKNOWN
} scatter_rule;

static scatter_rule rule_of(const graph_node *node)
{
    static const char *const names[] = {"none", "add", "mul", "min", "max"};
    const char *given = graph_attribute_string(node, "reduction", "none");
    int rule = SCATTER_REPLACE;

    while (rule < SCATTER_UNKNOWN && strcmp(given, names[rule]) != 0) {
        rule++;
    }
    return (scatter_rule)rule;
}

static double combine_f64(scatter_rule rule, double old, double new)
{
    switch (rule) {
    case SCATTER_ADD: return old + new;
    case SCATTER_MUL: return old * new;
    case SCATTER_MIN: return isnan(old) || old < new ? old : new;
    default: return isnan(old) || old > new ? old : new;
    }
}

/* Sums and products wrap; `flip` makes the order of unsigned 64-bit numbers that of signed ones. */
static int64_t combine_i64(scatter_rule rule, int64_t old, int64_t new, uint64_t flip)
{
    int64_t a = (int64_t)((uint64_t)old ^ flip);
    int64_t b = (int64_t)((uint64_t) new ^ flip);

    switch (rule) {
    case SCATTER_ADD: return (int64_t)((uint64_t)old + (uint64_t) new);
    case SCATTER_MUL: return (int64_t)((uint64_t)old * (uint64_t) new);
    case SCATTER_MIN: return a < b ? old : new;
    default: return a > b ? old : new;
    }
}

/* Combines `count` elements of `updates` from `from` on into `out` from `to` on. */
static void combine(scatter_rule rule, tensor *out, int64_t to, const tensor *updates, int64_t from,
                    int64_t count)
{
    size_t size = move_element_size(out->dtype);
    bool floats = dtype_class_of(out->dtype) == DTYPE_CLASS_FLOAT;
    uint64_t flip = out->dtype == SPRY_DTYPE_U64 ? (uint64_t)1 << 63 : 0;

    if (rule == SCATTER_REPLACE) {
        memcpy((char *)out->data + (size_t)to * size,
               (const char *)updates->data + (size_t)from * size, (size_t)count * size);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        if (floats) {
            double number =
                combine_f64(rule, convert_get_f64(out, to + i), convert_get_f64(updates, from + i));

            convert_write_f64(out, to + i, 1, &number);
        } else {
            int64_t number = combine_i64(rule, convert_get_i64(out, to + i),
                                         convert_get_i64(updates, from + i), flip);

            convert_write_i64(out, to + i, 1, &number);
        }
    }
}

/* Checks what all scatter operators share and starts the output as a copy of x. */
static spry_status start(op_call *call, scatter_rule rule, tensor **out)
{
    const tensor *x = op_call_input(call, 0);
    const tensor *updates = op_call_input(call, 2);
    spry_status status;

    *out = NULL;
    if (rule == SCATTER_UNKNOWN || updates->dtype != x->dtype) {
        return op_call_fail(call, SPRY_BAD_INPUT, "unknown reduction, or updates of another type");
    }
    if (rule != SCATTER_REPLACE && (dtype_bit(x->dtype) & (OP_NUMERIC | OP_BOOL)) == 0) {
        return op_call_fail(call, SPRY_UNSUPPORTED, "reduction of %s", spry_dtype_name(x->dtype));
    }
    status = op_call_output_like(call, 0, x->dtype, x, out);
    if (status == SPRY_OK && *out != NULL && x->bytes > 0) {
        memcpy((*out)->data, x->data, x->bytes);
    }
    return status;
}

/* ---- ScatterElements, Scatter ---- */

static spry_status run_elements(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    const tensor *indices = op_call_input(call, 1);
    const tensor *updates = op_call_input(call, 2);
    scatter_rule rule = rule_of(call->node);
    int64_t *places;
    tensor *out;
    int axis;
    spry_status status;

    if (!op_normalize_axis(graph_attribute_int(call->node, "axis", 0), x->rank, &axis) ||
        !operand_elements_fit(indices, x, axis) || !tensor_same_shape(indices, updates)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "axis, indices or updates do not fit the input");
    }
    status = operand_indices(call, 1, x->shape[axis], &places);
    if (status == SPRY_OK) {
        status = start(call, rule, &out);
    }
    if (status == SPRY_OK && out != NULL) {
        int64_t count = tensor_count(indices);

        for (int64_t i = 0; i < count; i++) {
            combine(rule, out, operand_element(indices, x, axis, i, places[i]), updates, i, 1);
        }
    }
    return status;
}

/* ---- ScatterND ---- */

static spry_status run_nd(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    const tensor *indices = op_call_input(call, 1);
    const tensor *updates = op_call_input(call, 2);
    scatter_rule rule = rule_of(call->node);
    int outer = indices->rank - 1;
    int64_t tuple = indices->rank > 0 ? indices->shape[outer] : 0;
    bool fits = indices->rank > 0 && tuple <= x->rank && updates->rank == outer + x->rank - tuple;
    int64_t block;
    tensor *out;
    spry_status status;

    for (int i = 0; fits && i < updates->rank; i++) {
        fits = updates->shape[i] == (i < outer ? indices->shape[i] : x->shape[tuple + i - outer]);
    }
    if (!fits) {
        return op_call_fail(call, SPRY_BAD_INPUT, "indices or updates do not fit the input");
    }
    status = start(call, rule, &out);
    if (status != SPRY_OK || out == NULL) {
        return status;
    }
    block = tensor_span(x, (int)tuple, x->rank);
    for (int64_t i = 0; i < tensor_span(indices, 0, outer) && status == SPRY_OK; i++) {
        int64_t at;

        status = operand_tuple(call, 1, i, x, 0, &at);
        if (status == SPRY_OK) {
            combine(rule, out, at * block, updates, i * block, block);
        }
    }
    return status;
}

/* ---- TensorScatter ---- */

static spry_status run_cache(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    const tensor *updates = op_call_input(call, 1);
    const tensor *starts = op_call_input(call, 2);
    bool circular = strcmp(graph_attribute_string(call->node, "mode", "linear"), "circular") == 0;
    int64_t outer;
    int64_t length;
    size_t block;
    tensor *out;
    int axis;
    spry_status status;
    bool fits = op_normalize_axis(graph_attribute_int(call->node, "axis", -2), x->rank, &axis) &&
                axis > 0 && updates->rank == x->rank && updates->dtype == x->dtype &&
                (starts == NULL || (starts->rank == 1 && starts->shape[0] == x->shape[0]));

    for (int i = 0; fits && i < x->rank; i++) {
        fits = updates->shape[i] == x->shape[i] || (i == axis && updates->shape[i] < x->shape[i]);
    }
    if (!fits) {
        return op_call_fail(call, SPRY_BAD_INPUT, "axis, update or write_indices do not fit");
    }
    status = op_call_output_like(call, 0, x->dtype, x, &out);
    if (status != SPRY_OK || out == NULL || tensor_count(out) == 0) {
        return status;
    }
    memcpy(out->data, x->data, x->bytes);
    outer = tensor_span(x, 0, axis);
    length = x->shape[axis];
    block = (size_t)tensor_span(x, axis + 1, x->rank) * move_element_size(x->dtype);
    for (int64_t i = 0; i < outer; i++) {
        int64_t batch = i / (outer / x->shape[0]);
        int64_t first = starts != NULL ? convert_get_i64(starts, batch) : 0;

        if (first < 0 || first >= length || (!circular && first > length - updates->shape[axis])) {
            return operand_bad_index(call, 2, batch, first, length);
        }
        for (int64_t k = 0; k < updates->shape[axis]; k++) {
            memcpy((char *)out->data + (size_t)(i * length + (first + k) % length) * block,
                   (const char *)updates->data + (size_t)(i * updates->shape[axis] + k) * block,
                   block);
        }
    }
    return SPRY_OK;
}

/* ---- OneHot ---- */

static spry_status infer_one_hot(op_shapes *s)
{
    const graph_type *indices = op_shapes_ranked(s, 0);
    const tensor *depth = s->constants[1];
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    int axis;

    if (indices == NULL) {
        return operand_unranked(s, 0, operand_dtype(s, 2));
    }
    if (indices->rank == SPRY_TENSOR_MAX_RANK ||
        !op_normalize_axis(graph_attribute_int(s->node, "axis", -1), indices->rank + 1, &axis)) {
        return op_shapes_fail(s, "axis is outside of rank %d", indices->rank + 1);
    }
    for (int i = 0; i <= indices->rank; i++) {
        dims[i] = i < axis ? indices->dims[i] : i > axis ? indices->dims[i - 1] : operand_unknown;
    }
    if (depth != NULL && tensor_count(depth) == 1 && convert_get_i64(depth, 0) >= 0) {
        dims[axis].size = convert_get_i64(depth, 0);
    }
    op_shapes_set(s, 0, operand_dtype(s, 2), indices->rank + 1, dims);
    return SPRY_OK;
}

static spry_status run_one_hot(op_call *call)
{
    const tensor *indices = op_call_input(call, 0);
    const tensor *depths = op_call_input(call, 1);
    const tensor *values = op_call_input(call, 2);
    size_t size = move_element_size(values->dtype);
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int64_t depth = tensor_count(depths) == 1 ? convert_get_i64(depths, 0) : -1;
    int64_t inner;
    tensor *out;
    int axis;
    spry_status status;

    if (depth < 0 || depth > LIMIT_TENSOR_DIMENSION || tensor_count(values) != 2 ||
        indices->rank == SPRY_TENSOR_MAX_RANK ||
        !op_normalize_axis(graph_attribute_int(call->node, "axis", -1), indices->rank + 1, &axis)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "depth, values or axis make no sense");
    }
    for (int i = 0; i <= indices->rank; i++) {
        shape[i] = i < axis ? indices->shape[i] : i > axis ? indices->shape[i - 1] : depth;
    }
    status = op_call_output(call, 0, values->dtype, indices->rank + 1, shape, &out);
    if (status != SPRY_OK || out == NULL) {
        return status;
    }
    move_fill(out->data, tensor_count(out), values->data, size);
    inner = tensor_span(indices, axis, indices->rank);
    for (int64_t i = 0; i < tensor_count(indices); i++) {
        int64_t index = convert_get_i64(indices, i);

        index = index < 0 ? index + depth : index;
        if (index >= 0 && index < depth) {
            int64_t at = (i / inner * depth + index) * inner + i % inner;

            memcpy((char *)out->data + (size_t)at * size, (const char *)values->data + size, size);
        }
    }
    return SPRY_OK;
}

/* clang-format off */
const op ops_scatter[] = {
    {.name = "OneHot", .domain = "", .since = 9, .min_inputs = 3, .max_inputs = 3,
     .min_outputs = 1, .max_outputs = 1, .types = {OP_NUMERIC, OP_NUMERIC, MOVE_TYPES},
     .infer = infer_one_hot, .run = run_one_hot},
    {.name = "Scatter", .domain = "", .since = 9, .min_inputs = 3, .max_inputs = 3,
     .min_outputs = 1, .max_outputs = 1,
     .types = {MOVE_TYPES, OP_INDEX, MOVE_TYPES}, .infer = op_infer_same, .run = run_elements},
    {.name = "ScatterElements", .domain = "", .since = 11, .min_inputs = 3, .max_inputs = 3,
     .min_outputs = 1, .max_outputs = 1, .types = {MOVE_TYPES, OP_INDEX, MOVE_TYPES},
     .infer = op_infer_same, .run = run_elements},
    {.name = "ScatterND", .domain = "", .since = 11, .min_inputs = 3, .max_inputs = 3,
     .min_outputs = 1, .max_outputs = 1,
     .types = {MOVE_TYPES, 1u << SPRY_DTYPE_I64, MOVE_TYPES}, .infer = op_infer_same,
     .run = run_nd},
    {.name = "TensorScatter", .domain = "", .since = 24, .min_inputs = 2, .max_inputs = 3,
     .min_outputs = 1, .max_outputs = 1, .types = {MOVE_TYPES, MOVE_TYPES, 1u << SPRY_DTYPE_I64},
     .infer = op_infer_same, .run = run_cache},
    {.name = NULL},
};
/* clang-format on */
