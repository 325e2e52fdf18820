/* Helpers for shape rules: what most operators say about their outputs, said once. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ops/op.h"
#include "tensor/convert.h"

spry_status op_shapes_fail(op_shapes *s, const char *format, ...)
{
    char what[SPRY_ERROR_WHAT_SIZE];
    char label[SPRY_ERROR_WHERE_SIZE];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return spry_fail(s->error, SPRY_BAD_INPUT, graph_node_label(s->g, s->node, label, sizeof label),
                     "check the input shapes and the exporter", "%s", what);
}

const graph_type *op_shapes_input(const op_shapes *s, int i)
{
    return i < s->input_count ? s->inputs[i] : NULL;
}

const graph_type *op_shapes_ranked(const op_shapes *s, int i)
{
    const graph_type *type = op_shapes_input(s, i);

    return type != NULL && type->kind == GRAPH_TYPE_TENSOR && type->has_rank ? type : NULL;
}

void op_shapes_set(op_shapes *s, int i, spry_dtype dtype, int rank, const graph_dim *dims)
{
    graph_type *type;

    if (i >= s->output_count) {
        return;
    }
    type = &s->outputs[i];
    *type = (graph_type){.kind = GRAPH_TYPE_TENSOR, .dtype = dtype, .has_rank = true, .rank = rank};
    if (rank > 0) {
        memcpy(type->dims, dims, (size_t)rank * sizeof *dims);
    }
}

void op_shapes_set_unranked(op_shapes *s, int i, spry_dtype dtype)
{
    if (i < s->output_count) {
        s->outputs[i] = (graph_type){.kind = GRAPH_TYPE_TENSOR, .dtype = dtype};
    }
}

void op_shapes_copy(op_shapes *s, int i, int j)
{
    const graph_type *type = op_shapes_input(s, j);

    if (i < s->output_count && type != NULL) {
        s->outputs[i] = *type;
    }
}

spry_status op_shapes_ints(op_shapes *s, int i, int64_t *to, int capacity, int *count)
{
    const tensor *constant = i < s->input_count ? s->constants[i] : NULL;
    const graph_dim *content = i < s->input_count ? s->contents[i] : NULL;
    int64_t length = 0;

    *count = -1;
    if (constant != NULL) {
        dtype_class class = dtype_class_of(constant->dtype);

        if (constant->rank > 1 || (class != DTYPE_CLASS_SIGNED && class != DTYPE_CLASS_UNSIGNED)) {
            return op_shapes_fail(s, "input %d must be a list of integers", i);
        }
        length = tensor_count(constant);
    } else if (content != NULL) {
        length = s->content_counts[i];
        for (int64_t k = 0; k < length; k++) {
            if (content[k].size < 0) {
                return SPRY_OK;
            }
        }
    } else {
        return SPRY_OK;
    }
    if (length > capacity) {
        return op_shapes_fail(s, "input %d has %lld integers, at most %d fit", i, (long long)length,
                              capacity);
    }
    for (int64_t k = 0; k < length; k++) {
        to[k] = constant != NULL ? convert_get_i64(constant, k) : content[k].size;
    }
    *count = (int)length;
    return SPRY_OK;
}

static bool same_symbol(graph_dim a, graph_dim b)
{
    return a.symbol != NULL && b.symbol != NULL && strcmp(a.symbol, b.symbol) == 0;
}

/* The broadcast of two dimensions into *dim; false when they contradict. */
static bool broadcast_dim(graph_dim a, graph_dim b, graph_dim *dim)
{
    if (a.size == 1) {
        *dim = b;
    } else if (b.size == 1) {
        *dim = a;
    } else if (a.size >= 0 && b.size >= 0) {
        *dim = a;
        return a.size == b.size;
    } else if (a.size >= 0) {
        *dim = a; /* the unknown one is this or 1 */
    } else if (b.size >= 0) {
        *dim = b;
    } else {
        *dim = same_symbol(a, b) ? a : (graph_dim){.size = -1};
    }
    return true;
}

spry_status op_shapes_broadcast(op_shapes *s, const graph_type *a, const graph_type *b,
                                graph_dim *dims, int *rank)
{
    const graph_dim one = {.size = 1};

    *rank = a->rank > b->rank ? a->rank : b->rank;
    for (int i = 0; i < *rank; i++) {
        int from_a = i - (*rank - a->rank);
        int from_b = i - (*rank - b->rank);
        graph_dim x = from_a >= 0 ? a->dims[from_a] : one;
        graph_dim y = from_b >= 0 ? b->dims[from_b] : one;

        if (!broadcast_dim(x, y, &dims[i])) {
            return op_shapes_fail(s, "shapes cannot be broadcast: %lld against %lld at axis %d",
                                  (long long)x.size, (long long)y.size, i);
        }
    }
    return SPRY_OK;
}

spry_status op_infer_same(op_shapes *s)
{
    op_shapes_copy(s, 0, 0);
    return SPRY_OK;
}

/* Output 0 becomes the broadcast of all inputs, with element type `dtype`. */
static spry_status infer_broadcast_as(op_shapes *s, spry_dtype dtype)
{
    graph_type joined = {.kind = GRAPH_TYPE_TENSOR, .dtype = dtype, .has_rank = true};

    for (int i = 0; i < s->input_count; i++) {
        const graph_type *type = op_shapes_ranked(s, i);
        graph_dim dims[SPRY_TENSOR_MAX_RANK];
        int rank;
        spry_status status;

        if (type == NULL) {
            op_shapes_set_unranked(s, 0, dtype);
            return SPRY_OK;
        }
        status = op_shapes_broadcast(s, &joined, type, dims, &rank);
        if (status != SPRY_OK) {
            return status;
        }
        joined.rank = rank;
        memcpy(joined.dims, dims, (size_t)joined.rank * sizeof *dims);
    }
    op_shapes_set(s, 0, dtype, joined.rank, joined.dims);
    return SPRY_OK;
}

spry_status op_infer_broadcast(op_shapes *s)
{
    const graph_type *first = op_shapes_input(s, 0);

    return infer_broadcast_as(s, first != NULL ? first->dtype : SPRY_DTYPE_NONE);
}

spry_status op_infer_compare(op_shapes *s)
{
    return infer_broadcast_as(s, SPRY_DTYPE_BOOL);
}

bool op_normalize_axis(int64_t axis, int rank, int *normal)
{
    if (axis < -(int64_t)rank || axis >= rank) {
        return false;
    }
    *normal = (int)(axis < 0 ? axis + rank : axis);
    return true;
}
