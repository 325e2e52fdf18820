/* Shape arithmetic on tracked contents. */
#include "ops/contents.h"

#include <string.h>

#include "base/alloc.h"
#include "tensor/convert.h"

static bool is_integer(spry_dtype dtype)
{
    dtype_class class = dtype_class_of(dtype);

    return class == DTYPE_CLASS_SIGNED || class == DTYPE_CLASS_UNSIGNED;
}

int contents_get(const op_shapes *s, int i, graph_dim *to)
{
    const tensor *t = i < s->input_count ? s->constants[i] : NULL;
    const graph_dim *content = i < s->input_count ? s->contents[i] : NULL;
    int count = -1;

    if (t != NULL && t->rank <= 1 && is_integer(t->dtype) && tensor_count(t) <= CONTENTS_MAX) {
        count = (int)tensor_count(t);
        for (int k = 0; k < count; k++) {
            to[k] = (graph_dim){.size = convert_get_i64(t, k)};
            if (to[k].size < 0) {
                return -1;
            }
        }
    } else if (content != NULL && s->content_counts[i] <= CONTENTS_MAX) {
        count = s->content_counts[i];
        if (count > 0) {
            memcpy(to, content, (size_t)count * sizeof *to);
        }
    }
    return count;
}

spry_status contents_set(op_shapes *s, int i, int count, const graph_dim *dims)
{
    graph_dim *room;

    if (i >= s->output_count) {
        return SPRY_OK;
    }
    room = arena_array(s->g->memory, (size_t)count + 1, sizeof *room);
    if (room == NULL) {
        return alloc_failed(s->error, (size_t)count * sizeof *room);
    }
    if (count > 0) {
        memcpy(room, dims, (size_t)count * sizeof *room);
    }
    s->output_contents[i] = room;
    s->output_content_counts[i] = count;
    return SPRY_OK;
}

spry_status contents_combine(op_shapes *s, contents_function function)
{
    graph_dim a[CONTENTS_MAX];
    graph_dim b[CONTENTS_MAX];
    graph_dim result[CONTENTS_MAX];
    int a_count = contents_get(s, 0, a);
    int b_count = contents_get(s, 1, b);
    int count;

    if (a_count < 0 || b_count < 0 || s->output_count == 0 || !s->outputs[0].has_rank ||
        s->outputs[0].rank > 1 || !is_integer(s->outputs[0].dtype)) {
        return SPRY_OK;
    }
    count = a_count == 1 ? b_count : a_count;
    if (b_count != 1 && b_count != count) {
        return SPRY_OK; /* the shape rule has complained */
    }
    for (int k = 0; k < count; k++) {
        result[k] = function(a[a_count == 1 ? 0 : k], b[b_count == 1 ? 0 : k]);
    }
    return contents_set(s, 0, count, result);
}
