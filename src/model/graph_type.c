/* Types of values: making, asking, describing. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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

/* Text that is cut off at the end of its buffer instead of failing. */
typedef struct cut_text {
    char *data;
    size_t size;
    size_t used;
} cut_text;

static void append(cut_text *text, const char *format, ...) SPRY_PRINTF(2, 3);
static void append(cut_text *text, const char *format, ...)
{
    va_list arguments;
    int length;

    if (text->used + 1 >= text->size) {
        return;
    }
    va_start(arguments, format);
    length = vsnprintf(text->data + text->used, text->size - text->used, format, arguments);
    va_end(arguments);
    if (length > 0) {
        size_t left = text->size - text->used - 1;

        text->used += (size_t)length < left ? (size_t)length : left;
    }
}

static void append_tensor(cut_text *text, const graph_type *type)
{
    append(text, "%s[", type->dtype != SPRY_DTYPE_NONE ? spry_dtype_name(type->dtype) : "?");
    if (!type->has_rank) {
        append(text, "...");
    }
    for (int i = 0; type->has_rank && i < type->rank; i++) {
        const graph_dim *dim = &type->dims[i];

        append(text, "%s", i > 0 ? "," : "");
        if (dim->size >= 0) {
            append(text, "%" PRId64, dim->size);
        } else {
            append(text, "%s", dim->symbol != NULL ? dim->symbol : "?");
        }
    }
    append(text, "]");
}

char *graph_type_describe(const graph_type *type, char *text, size_t size)
{
    cut_text cut = {text, size, 0};
    int depth = 0;

    if (size > 0) {
        text[0] = '\0';
    }
    while (type != NULL &&
           (type->kind == GRAPH_TYPE_SEQUENCE || type->kind == GRAPH_TYPE_OPTIONAL)) {
        append(&cut, type->kind == GRAPH_TYPE_SEQUENCE ? "sequence(" : "optional(");
        type = type->element;
        depth++;
    }
    if (type != NULL && type->kind == GRAPH_TYPE_TENSOR) {
        append_tensor(&cut, type);
    } else {
        append(&cut, type != NULL && type->kind == GRAPH_TYPE_OTHER ? "other" : "?");
    }
    while (depth-- > 0) {
        append(&cut, ")");
    }
    return text;
}
