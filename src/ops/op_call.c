/* Helpers for reference kernels: inputs, outputs, scratch memory and errors of one execution. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "ops/op.h"
#include "tensor/convert.h"

spry_status op_call_fail(const op_call *call, spry_status code, const char *format, ...)
{
    char what[SPRY_ERROR_WHAT_SIZE];
    char label[SPRY_ERROR_WHERE_SIZE];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return spry_fail(call->error, code, graph_node_label(call->g, call->node, label, sizeof label),
                     NULL, "%s", what);
}

const tensor *op_call_input(const op_call *call, int i)
{
    if (i >= call->input_count || call->inputs[i] == NULL ||
        call->inputs[i]->kind != SPRY_VALUE_TENSOR) {
        return NULL;
    }
    return &call->inputs[i]->tensor;
}

bool op_call_wants(const op_call *call, int i)
{
    return i < call->output_count && call->outputs[i] != NULL;
}

static bool same_as(const tensor *t, spry_dtype dtype, int rank, const int64_t *shape)
{
    return t->dtype == dtype && t->rank == rank &&
           (rank == 0 || memcmp(t->shape, shape, (size_t)rank * sizeof *shape) == 0);
}

spry_status op_call_output(op_call *call, int i, spry_dtype dtype, int rank, const int64_t *shape,
                           tensor **out)
{
    value *slot;
    spry_status status;

    *out = NULL;
    if (!op_call_wants(call, i)) {
        return SPRY_OK;
    }
    slot = call->outputs[i];
    if (slot->kind == SPRY_VALUE_TENSOR) {
        char planned[128];

        if (!same_as(&slot->tensor, dtype, rank, shape)) {
            return op_call_fail(call, SPRY_INTERNAL,
                                "output %d was planned as %s but computed otherwise", i,
                                tensor_describe(&slot->tensor, planned, sizeof planned));
        }
        *out = &slot->tensor;
        return SPRY_OK;
    }
    status = tensor_init_owned(&slot->tensor, call->allocator, dtype, rank, shape, call->error);
    if (status != SPRY_OK) {
        return status;
    }
    slot->kind = SPRY_VALUE_TENSOR;
    slot->dtype = dtype;
    *out = &slot->tensor;
    return SPRY_OK;
}

spry_status op_call_output_like(op_call *call, int i, spry_dtype dtype, const tensor *like,
                                tensor **out)
{
    return op_call_output(call, i, dtype, like->rank, like->shape, out);
}

spry_status op_call_scratch(op_call *call, size_t bytes, void **memory)
{
    *memory = arena_bytes(call->scratch, bytes);
    return *memory != NULL ? SPRY_OK : alloc_failed(call->error, bytes);
}

spry_status op_call_text(op_call *call, const char *data, size_t size, spry_text *text)
{
    char *copy = arena_text(call->text, data, size);

    if (copy == NULL) {
        return alloc_failed(call->error, size);
    }
    *text = (spry_text){copy, size};
    return SPRY_OK;
}

spry_status op_call_ints(op_call *call, int i, int64_t *to, int capacity, int *count)
{
    const tensor *t = op_call_input(call, i);
    int64_t length;

    *count = -1;
    if (t == NULL) {
        return SPRY_OK;
    }
    length = tensor_count(t);
    if (t->rank > 1 || length > capacity) {
        return op_call_fail(call, SPRY_BAD_INPUT, "input %d must be a list of at most %d integers",
                            i, capacity);
    }
    convert_read_i64(t, 0, length, to);
    *count = (int)length;
    return SPRY_OK;
}

double op_call_scalar(const op_call *call, int i, double fallback)
{
    const tensor *t = op_call_input(call, i);

    return t != NULL && tensor_count(t) > 0 ? convert_get_f64(t, 0) : fallback;
}

int64_t op_work_count(const graph_type *type)
{
    int64_t count = 1;

    for (int i = 0; i < type->rank; i++) {
        if (!checked_mul_i64(count, type->dims[i].size, &count)) {
            return INT64_MAX; /* described, but too large to exist */
        }
    }
    return count;
}
