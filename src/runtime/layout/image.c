/* Images and their channels-last twins. */
#include <string.h>

#include "base/alloc.h"
#include "ops/op.h"
#include "runtime/layout/pass.h"

enum { MOST_AXES = 5, EDGE_OPSET = 13 };

int layout_axis(int axis, int rank)
{
    return axis == 0 ? 0 : axis == 1 ? rank - 1 : axis - 1;
}

bool layout_is_image(const graph *g, int32_t id)
{
    const graph_value *v = id != GRAPH_NONE ? &g->values[id] : NULL;

    return v != NULL && v->constant == NULL && graph_type_is_static(&v->type) &&
           v->type.rank >= 3 && v->type.rank <= MOST_AXES && op_work_count(&v->type) > 0 &&
           spry_dtype_bits(v->type.dtype) >= 8;
}

graph_type layout_type(const graph_type *planar)
{
    graph_type type = *planar;

    for (int i = 0; i < planar->rank; i++) {
        type.dims[layout_axis(i, planar->rank)] = planar->dims[i];
    }
    return type;
}

static bool is_same_bytes(const graph_type *planar)
{
    int64_t pixels = 1;

    for (int i = 2; i < planar->rank; i++) {
        pixels *= planar->dims[i].size; /* checked when the type was inferred */
    }
    return pixels == 1 || planar->dims[1].size == 1;
}

double layout_cost(const graph_type *planar)
{
    return is_same_bytes(planar)
               ? 0.0
               : (double)op_work_count(planar) * (double)(spry_dtype_bits(planar->dtype) / 8);
}

spry_status layout_twin(layout_pass *p, int32_t id, int32_t *twin)
{
    spry_status status;

    *twin = p->twins[id];
    if (*twin != GRAPH_NONE) {
        return SPRY_OK;
    }
    status = graph_add_value(p->g, p->g->values[id].name, twin, p->error);
    if (status == SPRY_OK) {
        p->g->values[*twin].type = layout_type(&p->g->values[id].type);
        p->twins[id] = *twin;
    }
    return status;
}

/* ---- constants ---- */

static spry_status add_constant(layout_pass *p, spry_dtype dtype, int rank, const int64_t *shape,
                                void *data, tensor **made, int32_t *id)
{
    tensor *t = arena_bytes(p->g->memory, sizeof *t);
    spry_status status;

    if (t == NULL) {
        return alloc_failed(p->error, sizeof *t);
    }
    *made = t;
    status = tensor_init(t, dtype, rank, shape, data, p->error);
    if (status != SPRY_OK) {
        return status;
    }
    if (data == NULL) {
        t->data = arena_bytes(p->g->memory, t->bytes + 1);
        if (t->data == NULL) {
            return alloc_failed(p->error, t->bytes);
        }
    }
    status = graph_add_constant(p->g, NULL, t, id, p->error);
    if (status == SPRY_OK) {
        p->g->values[*id].type = graph_type_tensor(dtype, rank, shape);
    }
    return status;
}

spry_status layout_ints(layout_pass *p, int64_t count, const int64_t *numbers, int32_t *id)
{
    int64_t *copy = arena_array(p->g->memory, (size_t)count + 1, sizeof *copy);
    tensor *made;

    if (copy == NULL) {
        return alloc_failed(p->error, (size_t)count * sizeof *copy);
    }
    memcpy(copy, numbers, (size_t)count * sizeof *copy);
    return add_constant(p, SPRY_DTYPE_I64, 1, &count, copy, &made, id);
}

spry_status layout_constant(layout_pass *p, int32_t id, int rank, int32_t *twin)
{
    const tensor *t = graph_constant(p->g, id);
    int64_t planar[MOST_AXES];
    int64_t shape[MOST_AXES];
    int permutation[MOST_AXES];
    tensor full;
    tensor turned;
    tensor *made;
    spry_status status;

    *twin = p->twins[id];
    if (*twin != GRAPH_NONE && p->g->values[*twin].type.rank == rank) {
        return SPRY_OK;
    }
    if (tensor_count(t) == 1 && t->rank <= rank) {
        *twin = id;
        return SPRY_OK;
    }
    for (int i = 0; i < rank; i++) {
        int lead = rank - t->rank;

        planar[i] = i < lead ? 1 : t->shape[i - lead];
        shape[layout_axis(i, rank)] = planar[i];
        permutation[layout_axis(i, rank)] = i;
    }
    status = tensor_init(&full, t->dtype, rank, planar, t->data, p->error);
    if (status == SPRY_OK) {
        status = add_constant(p, t->dtype, rank, shape, NULL, &made, twin);
    }
    if (status == SPRY_OK) {
        status = tensor_view_transpose(&turned, &full, permutation, p->error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    tensor_copy_elements(made, &turned);
    tensor_fini(&turned);
    p->twins[id] = *twin;
    return SPRY_OK;
}

spry_status layout_list(layout_pass *p, int32_t id, int rank, int32_t *twin)
{
    const tensor *t = graph_constant(p->g, id);
    size_t size = spry_dtype_bits(t->dtype) / 8;
    tensor *made;
    spry_status status = add_constant(p, t->dtype, 1, t->shape, NULL, &made, twin);

    for (int64_t i = 0; status == SPRY_OK && i < t->shape[0]; i++) {
        int64_t first = i / rank * rank;

        memcpy((char *)made->data + (size_t)(first + layout_axis((int)(i - first), rank)) * size,
               (const char *)t->data + (size_t)i * size, size);
    }
    return status;
}

/* ---- edges ---- */

/* The shape or the permutation that the edge's node is given. */
static void edge_numbers(const graph_type *planar, bool to_twin, bool is_view, int64_t *numbers)
{
    graph_type type = to_twin ? layout_type(planar) : *planar;

    for (int i = 0; i < planar->rank; i++) {
        int at = layout_axis(i, planar->rank);

        if (is_view) {
            numbers[i] = type.dims[i].size;
        } else {
            numbers[to_twin ? at : i] = to_twin ? i : at;
        }
    }
}

spry_status layout_add_edge(layout_pass *p, int32_t image, bool to_twin)
{
    graph *g = p->g;
    const graph_type planar = g->values[image].type;
    bool is_view = is_same_bytes(&planar);
    int64_t numbers[MOST_AXES];
    int32_t twin;
    int32_t shape = GRAPH_NONE;
    int32_t node;
    spry_status status = layout_twin(p, image, &twin);

    if (status == SPRY_OK) {
        status = graph_add_node(g, is_view ? "Reshape" : "Transpose", "", EDGE_OPSET,
                                is_view ? 2 : 1, 1, &node, p->error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    edge_numbers(&planar, to_twin, is_view, numbers);
    if (is_view) {
        status = layout_ints(p, planar.rank, numbers, &shape);
        graph_set_input(g, node, 1, shape);
    } else {
        status = graph_set_ints(g, node, "perm", planar.rank, numbers, p->error);
    }
    g->nodes[node].op = op_find("", g->nodes[node].type, EDGE_OPSET);
    graph_set_input(g, node, 0, to_twin ? image : twin);
    graph_set_output(g, node, 0, to_twin ? twin : image);
    return status;
}
