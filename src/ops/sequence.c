/* Operators on sequences and optionals. */
#include "ops/sequence.h"

#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "ops/families.h"
#include "ops/move.h"
#include "ops/operand.h"
#include "tensor/convert.h"

/* ---- shared with loops ---- */

void sequence_output(op_call *call, int i, spry_dtype dtype, value **sequence)
{
    *sequence = op_call_wants(call, i) ? call->outputs[i] : NULL;
    if (*sequence != NULL) {
        (*sequence)->kind = SPRY_VALUE_SEQUENCE;
        (*sequence)->dtype = dtype;
    }
}

spry_status sequence_append_tensor(op_call *call, value *sequence, const tensor *t)
{
    value *item = NULL;
    spry_status status;

    if (sequence->dtype != SPRY_DTYPE_NONE && sequence->dtype != t->dtype) {
        return op_call_fail(call, SPRY_BAD_INPUT, "%s does not belong into a sequence of %s",
                            spry_dtype_name(t->dtype), spry_dtype_name(sequence->dtype));
    }
    status = spry_value_none(call->allocator, &item, call->error);
    if (status != SPRY_OK) {
        return status;
    }
    if (t->storage != NULL) {
        tensor_init_view(&item->tensor, t);
    } else {
        status = tensor_init_copy(&item->tensor, call->allocator, t, call->error);
    }
    if (status != SPRY_OK) {
        spry_value_destroy(item);
        return status;
    }
    item->kind = SPRY_VALUE_TENSOR;
    item->dtype = t->dtype;
    return spry_value_append(sequence, item, call->error);
}

spry_status sequence_append(op_call *call, value *sequence, const value *item)
{
    if (item->kind != SPRY_VALUE_TENSOR) {
        return op_call_fail(call, SPRY_UNSUPPORTED, "only tensors can be items of a sequence");
    }
    return sequence_append_tensor(call, sequence, &item->tensor);
}

spry_status sequence_give(op_call *call, int i, value *from)
{
    if (!op_call_wants(call, i)) {
        return SPRY_OK;
    }
    if (from->kind == SPRY_VALUE_TENSOR &&
        (from->tensor.storage == NULL || call->outputs[i]->kind == SPRY_VALUE_TENSOR)) {
        return move_reshaped(call, i, &from->tensor, from->tensor.rank, from->tensor.shape);
    }
    value_move(call->outputs[i], from);
    return SPRY_OK;
}

spry_status sequence_stack(op_call *call, int i, const value *sequence, int64_t axis, bool reversed)
{
    const tensor *first = sequence->count > 0 ? &sequence->items[0]->tensor : NULL;
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    tensor *out;
    int at;
    spry_status status;

    if (first == NULL || first->rank == SPRY_TENSOR_MAX_RANK ||
        !op_normalize_axis(axis, first->rank + 1, &at)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "nothing to stack, or the axis is out of range");
    }
    for (size_t k = 1; k < sequence->count; k++) {
        const tensor *item = &sequence->items[k]->tensor;

        if (item->dtype != first->dtype || !tensor_same_shape(item, first)) {
            return op_call_fail(call, SPRY_BAD_INPUT, "item %zu differs from the first", k);
        }
    }
    for (int k = 0; k <= first->rank; k++) {
        shape[k] = k < at   ? first->shape[k]
                   : k > at ? first->shape[k - 1]
                            : (int64_t)sequence->count;
    }
    status = op_call_output(call, i, first->dtype, first->rank + 1, shape, &out);
    if (status != SPRY_OK || out == NULL) {
        return status;
    }
    for (size_t k = 0; k < sequence->count; k++) {
        int64_t inner = tensor_span(first, at, first->rank);
        size_t place = reversed ? sequence->count - 1 - k : k;
        size_t size = move_element_size(first->dtype);
        move_plan plan = {.rank = 0};

        move_add_axis(&plan, tensor_span(first, 0, at), inner * (int64_t)sequence->count, inner);
        move_add_axis(&plan, inner, 1, 1);
        move_strided(call->team, &plan, size, (char *)out->data + place * (size_t)inner * size,
                     sequence->items[k]->tensor.data);
    }
    return SPRY_OK;
}

spry_status sequence_type(op_shapes *s, int i, spry_dtype dtype)
{
    graph_type *element;

    if (i >= s->output_count) {
        return SPRY_OK;
    }
    element = arena_zeroed(s->g->memory, sizeof *element);
    if (element == NULL) {
        return alloc_failed(s->error, sizeof *element);
    }
    *element = (graph_type){.kind = GRAPH_TYPE_TENSOR, .dtype = dtype};
    s->outputs[i] = (graph_type){.kind = GRAPH_TYPE_SEQUENCE, .element = element};
    return SPRY_OK;
}

/* ---- helpers ---- */

static const value *sequence_input(const op_call *call, int i)
{
    const value *v = i < call->input_count ? call->inputs[i] : NULL;

    return v != NULL && v->kind == SPRY_VALUE_SEQUENCE ? v : NULL;
}

static spry_status not_a_sequence(const op_call *call)
{
    return op_call_fail(call, SPRY_BAD_INPUT, "input 0 is not a sequence");
}

/* The position input `i` in a sequence of `count`; `past` allows the place after the end. */
static spry_status position(op_call *call, int i, size_t count, bool past, size_t *at)
{
    int64_t size = (int64_t)count;
    int64_t given = past ? size : size - 1;
    int length;
    spry_status status = op_call_ints(call, i, &given, 1, &length);

    if (status != SPRY_OK) {
        return status;
    }
    if (length == 0 || given < -size || given >= size + (past ? 1 : 0)) {
        return operand_bad_index(call, i, 0, given, size);
    }
    *at = (size_t)(given < 0 ? given + size : given);
    return SPRY_OK;
}

static spry_dtype element_dtype(const op_shapes *s, int i)
{
    const graph_type *type = op_shapes_input(s, i);

    return type != NULL && type->kind == GRAPH_TYPE_SEQUENCE && type->element != NULL
               ? type->element->dtype
               : SPRY_DTYPE_NONE;
}

/* ---- SequenceConstruct, SequenceEmpty, SequenceInsert, SequenceErase ---- */

static spry_status infer_construct(op_shapes *s)
{
    return sequence_type(s, 0, operand_dtype(s, 0));
}

static spry_status run_construct(op_call *call)
{
    value *out;
    spry_status status = SPRY_OK;

    sequence_output(call, 0, call->inputs[0]->dtype, &out);
    for (int i = 0; i < call->input_count && out != NULL && status == SPRY_OK; i++) {
        status = sequence_append(call, out, call->inputs[i]);
    }
    return status;
}

static spry_dtype empty_dtype(const graph_node *node)
{
    int64_t dtype = graph_attribute_int(node, "dtype", SPRY_DTYPE_F32);

    return dtype > 0 && dtype < SPRY_DTYPE_COUNT ? (spry_dtype)dtype : SPRY_DTYPE_NONE;
}

static spry_status infer_empty(op_shapes *s)
{
    return sequence_type(s, 0, empty_dtype(s->node));
}

static spry_status run_empty(op_call *call)
{
    value *out;

    sequence_output(call, 0, empty_dtype(call->node), &out);
    return SPRY_OK;
}

static spry_status infer_same_sequence(op_shapes *s)
{
    return sequence_type(s, 0, element_dtype(s, 0));
}

static spry_status run_insert(op_call *call)
{
    const value *from = sequence_input(call, 0);
    const tensor *item = op_call_input(call, 1);
    size_t at = 0;
    value *out;
    spry_status status;

    if (from == NULL || item == NULL) {
        return not_a_sequence(call);
    }
    status = position(call, 2, from->count, true, &at);
    sequence_output(call, 0, from->count > 0 ? from->dtype : item->dtype, &out);
    for (size_t i = 0; i <= from->count && out != NULL && status == SPRY_OK; i++) {
        if (i == at) {
            status = sequence_append_tensor(call, out, item);
        }
        if (i < from->count && status == SPRY_OK) {
            status = sequence_append(call, out, from->items[i]);
        }
    }
    return status;
}

static spry_status run_erase(op_call *call)
{
    const value *from = sequence_input(call, 0);
    size_t at = 0;
    value *out;
    spry_status status;

    if (from == NULL) {
        return not_a_sequence(call);
    }
    status = position(call, 1, from->count, false, &at);
    sequence_output(call, 0, from->dtype, &out);
    for (size_t i = 0; i < from->count && out != NULL && status == SPRY_OK; i++) {
        status = i != at ? sequence_append(call, out, from->items[i]) : SPRY_OK;
    }
    return status;
}

/* ---- SequenceAt, SequenceLength ---- */

static spry_status infer_at(op_shapes *s)
{
    return operand_unranked(s, 0, element_dtype(s, 0));
}

static spry_status run_at(op_call *call)
{
    const value *from = sequence_input(call, 0);
    size_t at = 0;
    spry_status status;

    if (from == NULL) {
        return not_a_sequence(call);
    }
    status = position(call, 1, from->count, false, &at);
    return status == SPRY_OK
               ? move_reshaped(call, 0, &from->items[at]->tensor, from->items[at]->tensor.rank,
                               from->items[at]->tensor.shape)
               : status;
}

static spry_status infer_length(op_shapes *s)
{
    op_shapes_set(s, 0, SPRY_DTYPE_I64, 0, NULL);
    return SPRY_OK;
}

static spry_status run_length(op_call *call)
{
    const value *from = sequence_input(call, 0);
    tensor *out;
    spry_status status;

    if (from == NULL) {
        return not_a_sequence(call);
    }
    status = op_call_output(call, 0, SPRY_DTYPE_I64, 0, NULL, &out);
    if (status == SPRY_OK && out != NULL) {
        *(int64_t *)out->data = (int64_t)from->count;
    }
    return status;
}

/* ---- SplitToSequence, ConcatFromSequence ---- */

/* Appends elements [begin, begin + size) of an axis. */
static spry_status append_part(op_call *call, value *out, const tensor *x, int axis, int64_t begin,
                               int64_t size, bool keep_axis)
{
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int64_t inner = tensor_span(x, axis + 1, x->rank);
    move_plan plan = {.rank = 0};
    tensor part;
    int rank = 0;
    spry_status status;

    for (int i = 0; i < x->rank; i++) {
        if (i != axis || keep_axis) {
            shape[rank++] = i == axis ? size : x->shape[i];
        }
    }
    status = tensor_init_owned(&part, call->allocator, x->dtype, rank, shape, call->error);
    if (status != SPRY_OK) {
        return status;
    }
    move_add_axis(&plan, tensor_span(x, 0, axis), size * inner, x->shape[axis] * inner);
    move_add_axis(&plan, size * inner, 1, 1);
    move_strided(call->team, &plan, move_element_size(x->dtype), part.data,
                 (const char *)x->data + begin * inner * (int64_t)move_element_size(x->dtype));
    status = sequence_append_tensor(call, out, &part);
    tensor_fini(&part);
    return status;
}

static spry_status infer_split(op_shapes *s)
{
    return sequence_type(s, 0, operand_dtype(s, 0));
}

static spry_status run_split(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    const tensor *split = op_call_input(call, 1);
    bool keep_axis = split != NULL || graph_attribute_int(call->node, "keepdims", 1) != 0;
    int64_t begin = 0;
    int axis;
    value *out;
    spry_status status = SPRY_OK;

    if (!op_normalize_axis(graph_attribute_int(call->node, "axis", 0), x->rank, &axis) ||
        (split != NULL && split->rank > 1)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "axis or split do not fit rank %d", x->rank);
    }
    sequence_output(call, 0, x->dtype, &out);
    for (int64_t i = 0; out != NULL && status == SPRY_OK && begin <= x->shape[axis]; i++) {
        int64_t left = x->shape[axis] - begin;
        int64_t size = split == NULL ? 1 : convert_get_i64(split, split->rank == 1 ? i : 0);

        if (split == NULL || split->rank == 0) {
            if (size <= 0) {
                return op_call_fail(call, SPRY_BAD_INPUT, "a part must have elements");
            }
            if (left == 0) {
                return SPRY_OK;
            }
            size = size < left ? size : left;
        }
        if (size < 0 || size > left) {
            return op_call_fail(call, SPRY_BAD_INPUT, "the parts do not add up to the axis");
        }
        status = append_part(call, out, x, axis, begin, size, keep_axis);
        begin += size;
        if (split != NULL && split->rank == 1 && i + 1 == split->shape[0]) {
            break;
        }
    }
    if (status == SPRY_OK && out != NULL && begin != x->shape[axis]) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the parts do not add up to the axis");
    }
    return status;
}

static spry_status infer_concat(op_shapes *s)
{
    return operand_unranked(s, 0, element_dtype(s, 0));
}

static spry_status run_concat(op_call *call)
{
    const value *from = sequence_input(call, 0);
    int64_t given = graph_attribute_int(call->node, "axis", 0);
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    const tensor *first;
    int64_t offset = 0;
    tensor *out;
    int axis;
    spry_status status;

    if (from == NULL) {
        return not_a_sequence(call);
    }
    if (graph_attribute_int(call->node, "new_axis", 0) != 0) {
        return sequence_stack(call, 0, from, given, false);
    }
    first = from->count > 0 ? &from->items[0]->tensor : NULL;
    if (first == NULL || !op_normalize_axis(given, first->rank, &axis)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "nothing to join, or the axis is out of range");
    }
    memcpy(shape, first->shape, sizeof shape);
    for (size_t i = 1; i < from->count; i++) {
        tensor item = from->items[i]->tensor;
        bool fits = item.rank == first->rank && item.dtype == first->dtype &&
                    checked_add_i64(shape[axis], item.shape[axis], &shape[axis]);

        item.shape[axis] = first->shape[axis];
        if (!fits || !tensor_same_shape(&item, first)) {
            return op_call_fail(call, SPRY_BAD_INPUT, "item %zu does not fit to the first", i);
        }
    }
    status = op_call_output(call, 0, first->dtype, first->rank, shape, &out);
    for (size_t i = 0; i < from->count && status == SPRY_OK && out != NULL; i++) {
        const tensor *item = &from->items[i]->tensor;
        int64_t block = tensor_span(item, axis, item->rank);
        size_t size = move_element_size(item->dtype);
        move_plan plan = {.rank = 0};

        move_add_axis(&plan, tensor_span(item, 0, axis), tensor_span(out, axis, out->rank), block);
        move_add_axis(&plan, block, 1, 1);
        move_strided(call->team, &plan, size, (char *)out->data + (size_t)offset * size,
                     item->data);
        offset += block;
    }
    return status;
}

/* ---- optionals ---- */

static spry_status infer_optional(op_shapes *s)
{
    const graph_type *type = op_shapes_input(s, 0);

    if (type != NULL && type->kind == GRAPH_TYPE_OPTIONAL && type->element != NULL &&
        s->output_count > 0) {
        s->outputs[0] = *type->element;
    } else if (strcmp(s->node->type, "Optional") != 0) {
        op_shapes_copy(s, 0, 0);
    }
    return SPRY_OK;
}

static spry_status run_optional(op_call *call)
{
    const value *from = call->input_count > 0 ? call->inputs[0] : NULL;

    if (from == NULL || from->kind == SPRY_VALUE_NONE) {
        return strcmp(call->node->type, "Optional") == 0
                   ? SPRY_OK
                   : op_call_fail(call, SPRY_BAD_INPUT, "the optional is empty");
    }
    if (from->kind == SPRY_VALUE_TENSOR) {
        return move_reshaped(call, 0, &from->tensor, from->tensor.rank, from->tensor.shape);
    }
    return op_call_wants(call, 0) ? value_share(call->outputs[0], from, call->error) : SPRY_OK;
}

static spry_status infer_has(op_shapes *s)
{
    op_shapes_set(s, 0, SPRY_DTYPE_BOOL, 0, NULL);
    return SPRY_OK;
}

static spry_status run_has(op_call *call)
{
    const value *from = call->input_count > 0 ? call->inputs[0] : NULL;
    tensor *out;
    spry_status status = op_call_output(call, 0, SPRY_DTYPE_BOOL, 0, NULL, &out);

    if (status == SPRY_OK && out != NULL) {
        *(unsigned char *)out->data = from != NULL && from->kind != SPRY_VALUE_NONE;
    }
    return status;
}

/* clang-format off */
const op ops_sequence[] = {
    {.name = "ConcatFromSequence", .domain = "", .since = 11, .min_inputs = 1, .max_inputs = 1,
     .min_outputs = 1, .max_outputs = 1, .infer = infer_concat, .run = run_concat},
    {.name = "Optional", .domain = "", .since = 15, .min_inputs = 0, .max_inputs = 1,
     .min_outputs = 1, .max_outputs = 1, .infer = infer_optional, .run = run_optional},
    {.name = "OptionalGetElement", .domain = "", .since = 15, .min_inputs = 1, .max_inputs = 1,
     .min_outputs = 1, .max_outputs = 1, .infer = infer_optional, .run = run_optional},
    {.name = "OptionalHasElement", .domain = "", .since = 15, .min_inputs = 0, .max_inputs = 1,
     .min_outputs = 1, .max_outputs = 1, .infer = infer_has, .run = run_has},
    {.name = "SequenceAt", .domain = "", .since = 11, .min_inputs = 2, .max_inputs = 2,
     .min_outputs = 1, .max_outputs = 1, .types = {0, OP_INDEX}, .infer = infer_at,
     .run = run_at},
    {.name = "SequenceConstruct", .domain = "", .since = 11, .min_inputs = 1,
     .max_inputs = OP_VARIADIC, .min_outputs = 1, .max_outputs = 1,
     .flags = OP_LAST_TYPES_REPEAT, .types = {MOVE_TYPES}, .infer = infer_construct,
     .run = run_construct},
    {.name = "SequenceEmpty", .domain = "", .since = 11, .min_inputs = 0, .max_inputs = 0,
     .min_outputs = 1, .max_outputs = 1, .infer = infer_empty, .run = run_empty},
    {.name = "SequenceErase", .domain = "", .since = 11, .min_inputs = 1, .max_inputs = 2,
     .min_outputs = 1, .max_outputs = 1, .types = {0, OP_INDEX}, .infer = infer_same_sequence,
     .run = run_erase},
    {.name = "SequenceInsert", .domain = "", .since = 11, .min_inputs = 2, .max_inputs = 3,
     .min_outputs = 1, .max_outputs = 1, .types = {0, MOVE_TYPES, OP_INDEX},
     .infer = infer_same_sequence, .run = run_insert},
    {.name = "SequenceLength", .domain = "", .since = 11, .min_inputs = 1, .max_inputs = 1,
     .min_outputs = 1, .max_outputs = 1, .infer = infer_length, .run = run_length},
    {.name = "SplitToSequence", .domain = "", .since = 11, .min_inputs = 1, .max_inputs = 2,
     .min_outputs = 1, .max_outputs = 1, .types = {MOVE_TYPES, OP_INDEX}, .infer = infer_split,
     .run = run_split},
    {.name = NULL},
};
/* clang-format on */
