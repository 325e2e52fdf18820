/* Whole inputs in a type to compute in. */
#include "ops/whole.h"

#include "base/checked.h"
#include "tensor/convert.h"

spry_status whole_room(op_call *call, int64_t count, int64_t each, size_t size, void **memory)
{
    int64_t elements;
    size_t bytes;

    *memory = NULL;
    if (!checked_mul_i64(count, each, &elements) || !checked_mul((size_t)elements, size, &bytes)) {
        return op_call_fail(call, SPRY_LIMIT, "the operator's working memory is too large");
    }
    return op_call_scratch(call, bytes, memory);
}

spry_status whole_f32(op_call *call, const tensor *t, const float **to)
{
    void *memory = NULL;
    spry_status status;

    *to = t != NULL && t->dtype == SPRY_DTYPE_F32 ? t->data : NULL;
    if (t == NULL || t->dtype == SPRY_DTYPE_F32) {
        return SPRY_OK;
    }
    status = whole_room(call, tensor_count(t), 1, sizeof **to, &memory);
    if (status == SPRY_OK) {
        convert_read_f32(t, 0, tensor_count(t), memory);
        *to = memory;
    }
    return status;
}

spry_status whole_f64(op_call *call, const tensor *t, const double **to)
{
    void *memory = NULL;
    spry_status status;

    *to = t != NULL && t->dtype == SPRY_DTYPE_F64 ? t->data : NULL;
    if (t == NULL || t->dtype == SPRY_DTYPE_F64) {
        return SPRY_OK;
    }
    status = whole_room(call, tensor_count(t), 1, sizeof **to, &memory);
    if (status == SPRY_OK) {
        convert_read_f64(t, 0, tensor_count(t), memory);
        *to = memory;
    }
    return status;
}

spry_status whole_i64(op_call *call, const tensor *t, const int64_t **to)
{
    void *memory = NULL;
    spry_status status;

    *to = t != NULL && t->dtype == SPRY_DTYPE_I64 ? t->data : NULL;
    if (t == NULL || t->dtype == SPRY_DTYPE_I64) {
        return SPRY_OK;
    }
    status = whole_room(call, tensor_count(t), 1, sizeof **to, &memory);
    if (status == SPRY_OK) {
        convert_read_i64(t, 0, tensor_count(t), memory);
        *to = memory;
    }
    return status;
}
