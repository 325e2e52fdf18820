/* Nodes and constants, with the first failure kept. */
#include "train/emit.h"

#include <string.h>

#include "base/alloc.h"
#include "tensor/convert.h"

static void add_node(emitter *e, const char *type, const char *domain, int32_t count,
                     const int32_t *inputs, int32_t output_count, int32_t *outputs)
{
    int32_t id = GRAPH_NONE;

    for (int32_t i = 0; i < output_count; i++) {
        outputs[i] = GRAPH_NONE;
    }
    if (e->status != SPRY_OK) {
        return;
    }
    e->status = graph_add_node(e->g, type, domain, domain[0] != '\0' ? 1 : EMIT_OPSET, count,
                               output_count, &id, e->error);
    if (e->status != SPRY_OK) {
        return;
    }
    e->g->nodes[id].name = e->name;
    for (int32_t i = 0; i < count; i++) {
        graph_set_input(e->g, id, i, inputs[i]);
    }
    for (int32_t i = 0; i < output_count && e->status == SPRY_OK; i++) {
        e->status = graph_add_value(e->g, e->name, &outputs[i], e->error);
        if (e->status == SPRY_OK) {
            graph_set_output(e->g, id, i, outputs[i]);
        }
    }
}

int32_t emit_node(emitter *e, const char *type, int32_t count, const int32_t *inputs)
{
    int32_t output;

    add_node(e, type, "", count, inputs, 1, &output);
    return output;
}

int32_t emit_unary(emitter *e, const char *type, int32_t a)
{
    return emit_node(e, type, 1, &a);
}

int32_t emit_binary(emitter *e, const char *type, int32_t a, int32_t b)
{
    return emit_node(e, type, 2, (const int32_t[]){a, b});
}

int32_t emit_where(emitter *e, int32_t condition, int32_t a, int32_t b)
{
    return emit_node(e, "Where", 3, (const int32_t[]){condition, a, b});
}

int32_t emit_own(emitter *e, const char *type, int32_t count, const int32_t *inputs,
                 int32_t output_count, int32_t *outputs)
{
    add_node(e, type, EMIT_DOMAIN, count, inputs, output_count, outputs);
    return outputs[0];
}

void emit_many(emitter *e, const char *type, int32_t count, const int32_t *inputs,
               int32_t output_count, int32_t *outputs)
{
    add_node(e, type, "", count, inputs, output_count, outputs);
}

/* ---- attributes ---- */

void emit_set_int(emitter *e, int32_t id, const char *name, int64_t number)
{
    if (e->status == SPRY_OK) {
        e->status = graph_set_int(e->g, e->g->values[id].producer, name, number, e->error);
    }
}

void emit_set_ints(emitter *e, int32_t id, const char *name, int64_t count, const int64_t *numbers)
{
    if (e->status == SPRY_OK) {
        e->status = graph_set_ints(e->g, e->g->values[id].producer, name, count, numbers, e->error);
    }
}

void emit_set_float(emitter *e, int32_t id, const char *name, float number)
{
    if (e->status == SPRY_OK) {
        e->status = graph_set_float(e->g, e->g->values[id].producer, name, number, e->error);
    }
}

void emit_set_like(emitter *e, int32_t id, const graph_node *node)
{
    for (int32_t i = 0; i < node->attribute_count && e->status == SPRY_OK; i++) {
        if (node->attributes[i].kind != GRAPH_ATTRIBUTE_GRAPH) {
            e->status = graph_set_attribute(e->g, e->g->values[id].producer, &node->attributes[i],
                                            e->error);
        }
    }
}

/* ---- constants ---- */

/* A tensor in the graph's arena and its value; its elements are not set. */
static tensor *add_constant(emitter *e, spry_dtype dtype, int rank, const int64_t *shape,
                            int32_t *id)
{
    tensor *t = NULL;

    *id = GRAPH_NONE;
    if (e->status == SPRY_OK) {
        t = arena_zeroed(e->g->memory, sizeof *t);
        e->status = t != NULL ? tensor_init(t, dtype, rank, shape, NULL, e->error)
                              : alloc_failed(e->error, sizeof *t);
    }
    if (e->status == SPRY_OK) {
        t->data = arena_zeroed(e->g->memory, t->bytes + 1);
        e->status = t->data != NULL ? graph_add_constant(e->g, e->name, t, id, e->error)
                                    : alloc_failed(e->error, t->bytes);
    }
    return e->status == SPRY_OK ? t : NULL;
}

int32_t emit_number(emitter *e, spry_dtype dtype, double number)
{
    int32_t id;
    tensor *t = add_constant(e, dtype, 0, NULL, &id);

    if (t != NULL) {
        convert_write_f64(t, 0, 1, &number);
    }
    return id;
}

int32_t emit_numbers(emitter *e, spry_dtype dtype, int64_t count, const double *numbers)
{
    int32_t id;
    tensor *t = add_constant(e, dtype, 1, &count, &id);

    if (t != NULL) {
        convert_write_f64(t, 0, count, numbers);
    }
    return id;
}

int32_t emit_ints(emitter *e, int64_t count, const int64_t *numbers)
{
    int32_t id;
    tensor *t = add_constant(e, SPRY_DTYPE_I64, 1, &count, &id);

    if (t != NULL) {
        convert_write_i64(t, 0, count, numbers);
    }
    return id;
}

int32_t emit_scaled(emitter *e, spry_dtype dtype, int32_t a, double factor)
{
    return emit_binary(e, "Mul", a, emit_number(e, dtype, factor));
}

int32_t emit_plus(emitter *e, spry_dtype dtype, int32_t a, double number)
{
    return emit_binary(e, "Add", a, emit_number(e, dtype, number));
}

int32_t emit_cast(emitter *e, int32_t a, spry_dtype dtype)
{
    int32_t to = emit_unary(e, "Cast", a);

    emit_set_int(e, to, "to", (int64_t)dtype);
    return to;
}

/* ---- shapes ---- */

static bool is_static(const emitter *e, int32_t like)
{
    return graph_type_is_static(&e->g->values[like].type);
}

int32_t emit_shape(emitter *e, int32_t like)
{
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    const graph_type *type;

    if (e->status != SPRY_OK) {
        return GRAPH_NONE;
    }
    type = &e->g->values[like].type;
    if (!is_static(e, like)) {
        return emit_unary(e, "Shape", like);
    }
    for (int i = 0; i < type->rank; i++) {
        shape[i] = type->dims[i].size;
    }
    return emit_ints(e, type->rank, shape);
}

int32_t emit_size(emitter *e, int32_t like, int axis)
{
    int64_t size;
    int32_t shape;

    if (e->status != SPRY_OK) {
        return GRAPH_NONE;
    }
    size = e->g->values[like].type.dims[axis].size;
    if (size >= 0) {
        return emit_ints(e, 1, &size);
    }
    shape = emit_unary(e, "Shape", like);
    emit_set_int(e, shape, "start", axis);
    emit_set_int(e, shape, "end", axis + 1);
    return shape;
}

int32_t emit_reshape(emitter *e, int32_t a, int64_t count, const int64_t *shape)
{
    return emit_binary(e, "Reshape", a, emit_ints(e, count, shape));
}

/* One size may be left to the elements: then a shape with a symbol is a constant all the same. */
static bool constant_shape(const graph_type *type, int64_t *shape)
{
    int unknown = 0;

    for (int i = 0; i < type->rank; i++) {
        shape[i] = type->dims[i].size;
        unknown += shape[i] < 0;
        if (shape[i] == 0) {
            return false; /* would mean "as before" */
        }
    }
    return type->has_rank && unknown <= 1;
}

int32_t emit_reshape_like(emitter *e, int32_t a, int32_t like)
{
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int32_t to;

    if (e->status != SPRY_OK) {
        return GRAPH_NONE;
    }
    if (constant_shape(&e->g->values[like].type, shape)) {
        return emit_reshape(e, a, e->g->values[like].type.rank, shape);
    }
    to = emit_binary(e, "Reshape", a, emit_shape(e, like));
    emit_set_int(e, to, "allowzero", 1);
    return to;
}

int32_t emit_expand_like(emitter *e, int32_t a, int32_t like)
{
    return emit_binary(e, "Expand", a, emit_shape(e, like));
}

int32_t emit_zeros_like(emitter *e, int32_t like)
{
    return e->status != SPRY_OK
               ? GRAPH_NONE
               : emit_expand_like(e, emit_number(e, e->g->values[like].type.dtype, 0.0), like);
}

/* The axes of `from` along which `to` was repeated; false where that is not known. */
static bool repeated_axes(const graph_type *from, const graph_type *to, int64_t *axes, int *count)
{
    int lead = from->rank - to->rank;

    *count = 0;
    for (int i = 0; i < from->rank; i++) {
        const graph_dim *large = &from->dims[i];
        const graph_dim *small = i < lead ? NULL : &to->dims[i - lead];

        if (small == NULL || (small->size == 1 && large->size != 1)) {
            axes[(*count)++] = i;
        } else if (small->size < 0 && (small->symbol == NULL || large->symbol == NULL ||
                                       strcmp(small->symbol, large->symbol) != 0)) {
            return false;
        }
    }
    return from->has_rank && to->has_rank && lead >= 0;
}

int32_t emit_sum_to(emitter *e, int32_t a, const graph_type *from, int32_t like)
{
    int64_t axes[SPRY_TENSOR_MAX_RANK];
    graph_type to;
    int count;
    int32_t sum;

    if (e->status != SPRY_OK) {
        return GRAPH_NONE;
    }
    to = e->g->values[like].type;
    if (!repeated_axes(from, &to, axes, &count)) {
        return emit_own(e, "SumTo", 2, (const int32_t[]){a, emit_shape(e, like)}, 1, &sum);
    }
    if (count == 0) {
        return a;
    }
    if (count == from->rank - to.rank && axes[count - 1] == count - 1) {
        return emit_reduce(e, "ReduceSum", a, count, axes, false);
    }
    sum = emit_reduce(e, "ReduceSum", a, count, axes, true);
    return from->rank == to.rank ? sum : emit_reshape_like(e, sum, like);
}

/* ---- moves and reductions ---- */

int32_t emit_transpose(emitter *e, int32_t a, int rank, const int64_t *permutation)
{
    int32_t to = emit_unary(e, "Transpose", a);

    emit_set_ints(e, to, "perm", rank, permutation);
    return to;
}

int32_t emit_transpose_matrix(emitter *e, int32_t a, int rank)
{
    int64_t permutation[SPRY_TENSOR_MAX_RANK];

    for (int i = 0; i < rank; i++) {
        permutation[i] = i < rank - 2 ? i : 2 * rank - 3 - i;
    }
    return emit_transpose(e, a, rank, permutation);
}

int32_t emit_reduce(emitter *e, const char *type, int32_t a, int64_t count, const int64_t *axes,
                    bool keep)
{
    int32_t to = emit_binary(e, type, a, emit_ints(e, count, axes));

    emit_set_int(e, to, "keepdims", keep);
    return to;
}
