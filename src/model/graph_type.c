/* Types of values: making, asking, describing. */
#include <inttypes.h>

#include "base/text.h"
#include "model/graph.h"

graph_type graph_type_tensor(spry_dtype dtype, int rank, const int64_t *shape)
{
    graph_type type = {.kind = GRAPH_TYPE_TENSOR, .dtype = dtype, .has_rank = true, .rank = rank};

    for (int i = 0; i < rank; i++) {
        type.dims[i].size = shape[i];
    }
    return type;
}

bool graph_type_is_static(const graph_type *type)
{
    if (type->kind != GRAPH_TYPE_TENSOR || !type->has_rank) {
        return false;
    }
    for (int i = 0; i < type->rank; i++) {
        if (type->dims[i].size < 0) {
            return false;
        }
    }
    return true;
}

bool graph_type_same(const graph_type *a, const graph_type *b)
{
    if (a->kind != b->kind || a->dtype != b->dtype || a->has_rank != b->has_rank ||
        a->rank != b->rank) {
        return false;
    }
    for (int i = 0; i < a->rank; i++) {
        if (a->dims[i].size != b->dims[i].size) {
            return false;
        }
    }
    return true;
}

static void append_tensor(text *to, const graph_type *type)
{
    text_append_format(to, "%s[",
                       type->dtype != SPRY_DTYPE_NONE ? spry_dtype_name(type->dtype) : "?");
    if (!type->has_rank) {
        text_append_format(to, "...");
    }
    for (int i = 0; type->has_rank && i < type->rank; i++) {
        const graph_dim *dim = &type->dims[i];

        text_append_string(to, i > 0 ? "," : "");
        if (dim->size >= 0) {
            text_append_format(to, "%" PRId64, dim->size);
        } else {
            text_append_string(to, dim->symbol != NULL ? dim->symbol : "?");
        }
    }
    text_append_format(to, "]");
}

char *graph_type_describe(const graph_type *type, char *buffer, size_t size)
{
    text cut;
    int depth = 0;

    text_init_fixed(&cut, buffer, size);
    while (type != NULL &&
           (type->kind == GRAPH_TYPE_SEQUENCE || type->kind == GRAPH_TYPE_OPTIONAL)) {
        text_append_string(&cut, type->kind == GRAPH_TYPE_SEQUENCE ? "sequence(" : "optional(");
        type = type->element;
        depth++;
    }
    if (type != NULL && type->kind == GRAPH_TYPE_TENSOR) {
        append_tensor(&cut, type);
    } else {
        text_append_string(&cut, type != NULL && type->kind == GRAPH_TYPE_OTHER ? "other" : "?");
    }
    while (depth-- > 0) {
        text_append_string(&cut, ")");
    }
    return buffer;
}
