/* Shape arithmetic on tracked contents. */
#include "ops/contents.h"

spry_status contents_set(op_shapes *s, int count, const graph_dim *dims)
{
    const graph_type *type = &s->outputs[0];
    dtype_class class = s->output_count > 0 ? dtype_class_of(type->dtype) : DTYPE_CLASS_NONE;
    graph_dim *room;
    spry_status status;

    if ((class != DTYPE_CLASS_SIGNED && class != DTYPE_CLASS_UNSIGNED) || !type->has_rank ||
        type->rank > 1) {
        return SPRY_OK;
    }
    status = operand_contents(s, count, &room);
    for (int k = 0; room != NULL && k < count; k++) {
        room[k] = dims[k].size <= dtype_integer_max(type->dtype) ? dims[k] : operand_unknown;
    }
    return status;
}

spry_status contents_combine(op_shapes *s, contents_function function)
{
    graph_dim rooms[2][OPERAND_CONTENTS];
    graph_dim result[OPERAND_CONTENTS];
    int32_t a_count;
    int32_t b_count;
    const graph_dim *a = operand_integers(s, 0, rooms[0], &a_count);
    const graph_dim *b = operand_integers(s, 1, rooms[1], &b_count);
    int32_t count = a_count == 1 ? b_count : a_count;

    if (a == NULL || b == NULL || count > OPERAND_CONTENTS || (b_count != 1 && b_count != count)) {
        return SPRY_OK;
    }
    for (int k = 0; k < count; k++) {
        result[k] = function(a[a_count == 1 ? 0 : k], b[b_count == 1 ? 0 : k]);
    }
    return contents_set(s, count, result);
}
