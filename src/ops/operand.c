/* Operands wherever an operator set keeps them. */
#include "ops/operand.h"

#include <string.h>

#include "base/alloc.h"
#include "tensor/convert.h"

const graph_dim operand_unknown = {.size = -1};

/* The attribute's integers; -1 when absent, `capacity` + 1 when there are too many. */
static int attribute_ints(const graph_node *node, const char *name, int64_t *to, int capacity)
{
    const graph_attribute *a = name != NULL ? graph_attribute_find(node, name) : NULL;

    if (a == NULL || (a->kind != GRAPH_ATTRIBUTE_INTS && a->kind != GRAPH_ATTRIBUTE_INT)) {
        return -1;
    }
    if (a->count > capacity) {
        return capacity + 1;
    }
    for (int64_t i = 0; i < a->count; i++) {
        to[i] = a->as.ints[i];
    }
    return (int)a->count;
}

spry_status operand_ints(op_call *call, int i, const char *name, int64_t *to, int capacity,
                         int *count)
{
    spry_status status;

    *count = -1;
    if (i >= 0) {
        status = op_call_ints(call, i, to, capacity, count);
        if (status != SPRY_OK || *count >= 0) {
            return status;
        }
    }
    *count = attribute_ints(call->node, name, to, capacity);
    if (*count > capacity) {
        return op_call_fail(call, SPRY_BAD_INPUT, "attribute %s has more than %d integers", name,
                            capacity);
    }
    return SPRY_OK;
}

spry_status operand_known_ints(op_shapes *s, int i, const char *name, int64_t *to, int capacity,
                               int *count, bool *known)
{
    *count = -1;
    *known = true;
    if (i >= 0 && op_shapes_input(s, i) != NULL) {
        spry_status status = op_shapes_ints(s, i, to, capacity, count);

        *known = *count >= 0;
        return status;
    }
    *count = attribute_ints(s->node, name, to, capacity);
    if (*count > capacity) {
        return op_shapes_fail(s, "attribute %s has more than %d integers", name, capacity);
    }
    return SPRY_OK;
}

bool operand_axes(int64_t *axes, int count, int rank, bool *chosen)
{
    bool seen[SPRY_TENSOR_MAX_RANK] = {false};

    for (int i = 0; i < count; i++) {
        int axis;

        if (!op_normalize_axis(axes[i], rank, &axis) || seen[axis]) {
            return false;
        }
        seen[axis] = true;
        axes[i] = axis;
    }
    if (chosen != NULL) {
        memcpy(chosen, seen, (size_t)rank * sizeof *chosen);
    }
    return true;
}

spry_status operand_bad_index(const op_call *call, int i, int64_t position, int64_t index,
                              int64_t dim)
{
    return op_call_fail(call, SPRY_BAD_INPUT,
                        "input %d: index %lld at position %lld is outside of an axis of size %lld",
                        i, (long long)index, (long long)position, (long long)dim);
}

spry_status operand_indices(op_call *call, int i, int64_t dim, int64_t **indices)
{
    const tensor *t = op_call_input(call, i);
    int64_t count = tensor_count(t);
    void *memory;
    spry_status status = op_call_scratch(call, (size_t)count * sizeof **indices, &memory);

    if (status != SPRY_OK) {
        return status;
    }
    *indices = memory;
    convert_read_i64(t, 0, count, *indices);
    for (int64_t k = 0; k < count; k++) {
        int64_t index = (*indices)[k];

        if (index < -dim || index >= dim) {
            return operand_bad_index(call, i, k, index, dim);
        }
        (*indices)[k] = index < 0 ? index + dim : index;
    }
    return SPRY_OK;
}

bool operand_elements_fit(const tensor *indices, const tensor *x, int axis)
{
    bool fit = indices->rank == x->rank;

    for (int i = 0; fit && i < x->rank; i++) {
        fit = i == axis || indices->shape[i] <= x->shape[i];
    }
    return fit;
}

int64_t operand_element(const tensor *indices, const tensor *x, int axis, int64_t position,
                        int64_t index)
{
    int64_t offset = 0;
    int64_t stride = 1;

    for (int i = x->rank - 1; i >= 0; i--) {
        offset += (i == axis ? index : position % indices->shape[i]) * stride;
        position /= indices->shape[i];
        stride *= x->shape[i];
    }
    return offset;
}

spry_status operand_tuple(op_call *call, int i, int64_t position, const tensor *x, int first,
                          int64_t *offset)
{
    const tensor *indices = op_call_input(call, i);
    int64_t length = indices->shape[indices->rank - 1];

    *offset = 0;
    for (int64_t k = 0; k < length; k++) {
        int64_t index = convert_get_i64(indices, position * length + k);
        int64_t dim = x->shape[first + k];

        if (index < -dim || index >= dim) {
            return operand_bad_index(call, i, position * length + k, index, dim);
        }
        *offset = *offset * dim + (index < 0 ? index + dim : index);
    }
    return SPRY_OK;
}

spry_dtype operand_dtype(const op_shapes *s, int i)
{
    const graph_type *type = op_shapes_input(s, i);

    return type != NULL && type->kind == GRAPH_TYPE_TENSOR ? type->dtype : SPRY_DTYPE_NONE;
}

spry_status operand_unranked(op_shapes *s, int i, spry_dtype dtype)
{
    op_shapes_set_unranked(s, i, dtype);
    return SPRY_OK;
}

spry_status operand_contents(op_shapes *s, int64_t count, graph_dim **dims)
{
    *dims = NULL;
    if (count < 0 || count > OPERAND_CONTENTS || s->output_count < 1) {
        return SPRY_OK;
    }
    *dims = arena_array(s->g->memory, (size_t)count + 1, sizeof **dims);
    if (*dims == NULL) {
        return alloc_failed(s->error, (size_t)count * sizeof **dims);
    }
    s->output_contents[0] = *dims;
    s->output_content_counts[0] = (int32_t)count;
    return SPRY_OK;
}

const graph_dim *operand_integers(const op_shapes *s, int i, graph_dim *room, int32_t *count)
{
    const tensor *constant = i < s->input_count ? s->constants[i] : NULL;
    dtype_class class = constant != NULL ? dtype_class_of(constant->dtype) : DTYPE_CLASS_NONE;

    *count = 0;
    if (i >= s->input_count) {
        return NULL;
    }
    if (constant == NULL) {
        *count = s->content_counts[i];
        return s->contents[i];
    }
    if (constant->rank > 1 || tensor_count(constant) > OPERAND_CONTENTS ||
        (class != DTYPE_CLASS_SIGNED && class != DTYPE_CLASS_UNSIGNED)) {
        return NULL;
    }
    *count = (int32_t)tensor_count(constant);
    for (int32_t k = 0; k < *count; k++) {
        int64_t number = convert_get_i64(constant, k);

        room[k] = (graph_dim){.size = number >= 0 ? number : -1};
    }
    return room;
}
