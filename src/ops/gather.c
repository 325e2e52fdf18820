/* Operators that pick elements or blocks by index: Gather and its relatives, Compress. */
#include <string.h>

#include "ops/families.h"
#include "ops/move.h"
#include "ops/operand.h"
#include "tensor/convert.h"

enum { BYTES_PER_TASK = 1 << 16 };

/* Blocks of equal size picked from several outer positions:
 * to[outer][k][block] = from[outer][picks[k]][block]. */
typedef struct pick_plan {
    const int64_t *picks;
    int64_t pick_count;
    int64_t axis_size;
    size_t block_bytes;
    const char *from;
    char *to;
} pick_plan;

static void pick_range(void *context, int64_t begin, int64_t end, int worker)
{
    const pick_plan *p = context;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t from = i / p->pick_count * p->axis_size + p->picks[i % p->pick_count];

        memcpy(p->to + (size_t)i * p->block_bytes, p->from + (size_t)from * p->block_bytes,
               p->block_bytes);
    }
}

/* `out` gets from `x` the blocks `picks` of an axis. */
static void pick_blocks(threads *team, const tensor *x, int axis, const int64_t *picks,
                        int64_t pick_count, tensor *out)
{
    pick_plan p = {.picks = picks,
                   .pick_count = pick_count,
                   .axis_size = x->shape[axis],
                   .from = x->data,
                   .to = out->data};

    p.block_bytes = (size_t)tensor_span(x, axis + 1, x->rank) * move_element_size(x->dtype);
    if (tensor_count(out) > 0) {
        threads_for(team, tensor_span(x, 0, axis) * pick_count,
                    BYTES_PER_TASK / (int64_t)p.block_bytes + 1, pick_range, &p);
    }
}

/* ---- Gather ---- */

/* Picks from the contents of a list. */
static spry_status gather_contents(op_shapes *s)
{
    graph_dim room[OPERAND_CONTENTS];
    int64_t picks[OPERAND_CONTENTS];
    graph_dim *to;
    int32_t length;
    int count;
    const graph_dim *from = operand_integers(s, 0, room, &length);
    const graph_type *indices = op_shapes_ranked(s, 1);
    spry_status status;

    if (from == NULL || s->inputs[0]->rank != 1 || indices == NULL || indices->rank > 1 ||
        (indices->rank == 1 && indices->dims[0].size > OPERAND_CONTENTS)) {
        return SPRY_OK;
    }
    status = op_shapes_ints(s, 1, picks, OPERAND_CONTENTS, &count);
    if (status != SPRY_OK || count < 0) {
        return status;
    }
    status = operand_contents(s, count, &to);
    for (int i = 0; to != NULL && i < count; i++) {
        int64_t at = picks[i] < 0 ? picks[i] + length : picks[i];

        if (at < 0 || at >= length) {
            return op_shapes_fail(s, "index %lld is outside of a list of %d", (long long)picks[i],
                                  (int)length);
        }
        to[i] = from[at];
    }
    return status;
}

static spry_status infer_gather(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    const graph_type *indices = op_shapes_ranked(s, 1);
    graph_dim dims[2 * SPRY_TENSOR_MAX_RANK];
    int rank = 0;
    int axis;

    if (x == NULL || indices == NULL) {
        return operand_unranked(s, 0, operand_dtype(s, 0));
    }
    if (!op_normalize_axis(graph_attribute_int(s->node, "axis", 0), x->rank, &axis) ||
        x->rank - 1 + indices->rank > SPRY_TENSOR_MAX_RANK) {
        return op_shapes_fail(s, "axis or indices do not fit rank %d", x->rank);
    }
    for (int i = 0; i < axis; i++) {
        dims[rank++] = x->dims[i];
    }
    for (int i = 0; i < indices->rank; i++) {
        dims[rank++] = indices->dims[i];
    }
    for (int i = axis + 1; i < x->rank; i++) {
        dims[rank++] = x->dims[i];
    }
    op_shapes_set(s, 0, x->dtype, rank, dims);
    return gather_contents(s);
}

static spry_status run_gather(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    const tensor *indices = op_call_input(call, 1);
    int64_t shape[2 * SPRY_TENSOR_MAX_RANK];
    int64_t *picks;
    tensor *out;
    int axis;
    spry_status status;

    if (!op_normalize_axis(graph_attribute_int(call->node, "axis", 0), x->rank, &axis) ||
        x->rank - 1 + indices->rank > SPRY_TENSOR_MAX_RANK) {
        return op_call_fail(call, SPRY_BAD_INPUT, "axis or indices do not fit rank %d", x->rank);
    }
    memcpy(shape, x->shape, (size_t)axis * sizeof *shape);
    memcpy(shape + axis, indices->shape, (size_t)indices->rank * sizeof *shape);
    memcpy(shape + axis + indices->rank, x->shape + axis + 1,
           (size_t)(x->rank - axis - 1) * sizeof *shape);
    status = operand_indices(call, 1, x->shape[axis], &picks);
    if (status == SPRY_OK) {
        status = op_call_output(call, 0, x->dtype, x->rank - 1 + indices->rank, shape, &out);
    }
    if (status == SPRY_OK && out != NULL) {
        pick_blocks(call->team, x, axis, picks, tensor_count(indices), out);
    }
    return status;
}

/* ---- ArrayFeatureExtractor ---- */

static spry_status infer_features(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    const graph_type *indices = op_shapes_ranked(s, 1);
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    int rank;

    if (x == NULL || x->rank == 0) {
        return operand_unranked(s, 0, operand_dtype(s, 0));
    }
    rank = x->rank == 1 ? 2 : x->rank;
    dims[0] = (graph_dim){.size = 1};
    if (x->rank > 1) {
        memcpy(dims, x->dims, sizeof dims);
    }
    dims[rank - 1] = operand_unknown;
    if (indices != NULL && graph_type_is_static(indices)) {
        dims[rank - 1].size = op_work_count(indices);
    }
    op_shapes_set(s, 0, x->dtype, rank, dims);
    return SPRY_OK;
}

static spry_status run_features(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    int64_t shape[SPRY_TENSOR_MAX_RANK] = {1};
    int64_t count = tensor_count(op_call_input(call, 1));
    int rank = x->rank == 1 ? 2 : x->rank;
    int64_t *picks;
    tensor *out;
    spry_status status;

    if (x->rank == 0) {
        return op_call_fail(call, SPRY_BAD_INPUT, "a scalar has no features");
    }
    if (x->rank > 1) {
        memcpy(shape, x->shape, sizeof shape);
    }
    shape[rank - 1] = count;
    status = operand_indices(call, 1, x->shape[x->rank - 1], &picks);
    if (status == SPRY_OK) {
        status = op_call_output(call, 0, x->dtype, rank, shape, &out);
    }
    if (status == SPRY_OK && out != NULL) {
        pick_blocks(call->team, x, x->rank - 1, picks, count, out);
    }
    return status;
}

/* ---- GatherElements ---- */

static spry_status infer_elements(op_shapes *s)
{
    const graph_type *indices = op_shapes_ranked(s, 1);

    if (indices == NULL) {
        return operand_unranked(s, 0, operand_dtype(s, 0));
    }
    op_shapes_set(s, 0, operand_dtype(s, 0), indices->rank, indices->dims);
    return SPRY_OK;
}

static spry_status run_elements(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    const tensor *indices = op_call_input(call, 1);
    size_t size = move_element_size(x->dtype);
    int64_t *picks;
    tensor *out;
    int axis;
    spry_status status;

    if (!op_normalize_axis(graph_attribute_int(call->node, "axis", 0), x->rank, &axis) ||
        !operand_elements_fit(indices, x, axis)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "axis or indices do not fit the input");
    }
    status = operand_indices(call, 1, x->shape[axis], &picks);
    if (status == SPRY_OK) {
        status = op_call_output_like(call, 0, x->dtype, indices, &out);
    }
    if (status == SPRY_OK && out != NULL) {
        int64_t count = tensor_count(indices);

        for (int64_t i = 0; i < count; i++) {
            int64_t from = operand_element(indices, x, axis, i, picks[i]);

            memcpy((char *)out->data + (size_t)i * size,
                   (const char *)x->data + (size_t)from * size, size);
        }
    }
    return status;
}

/* ---- GatherND ---- */

static spry_status infer_nd(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    const graph_type *indices = op_shapes_ranked(s, 1);
    int64_t batch = graph_attribute_int(s->node, "batch_dims", 0);
    graph_dim dims[2 * SPRY_TENSOR_MAX_RANK];
    int64_t tuple;
    int rank = 0;

    if (x == NULL || indices == NULL || indices->rank == 0 ||
        indices->dims[indices->rank - 1].size < 0) {
        return operand_unranked(s, 0, operand_dtype(s, 0));
    }
    tuple = indices->dims[indices->rank - 1].size;
    if (batch < 0 || batch >= indices->rank || tuple > x->rank - batch ||
        indices->rank - 1 + x->rank - batch - tuple > SPRY_TENSOR_MAX_RANK) {
        return op_shapes_fail(s, "tuples of %lld indices do not fit rank %d", (long long)tuple,
                              x->rank);
    }
    for (int i = 0; i + 1 < indices->rank; i++) {
        dims[rank++] = indices->dims[i];
    }
    for (int i = (int)(batch + tuple); i < x->rank; i++) {
        dims[rank++] = x->dims[i];
    }
    op_shapes_set(s, 0, x->dtype, rank, dims);
    return SPRY_OK;
}

static spry_status run_nd(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    const tensor *indices = op_call_input(call, 1);
    int64_t batch = graph_attribute_int(call->node, "batch_dims", 0);
    int64_t shape[2 * SPRY_TENSOR_MAX_RANK];
    int64_t tuple = indices->rank > 0 ? indices->shape[indices->rank - 1] : 0;
    int64_t tuples;
    int64_t per_batch;
    int rank = indices->rank - 1;
    size_t block;
    tensor *out;
    spry_status status;

    if (indices->rank == 0 || batch < 0 || batch >= indices->rank || tuple > x->rank - batch ||
        rank + x->rank - batch - tuple > SPRY_TENSOR_MAX_RANK ||
        memcmp(x->shape, indices->shape, (size_t)batch * sizeof *shape) != 0) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the indices do not fit rank %d", x->rank);
    }
    memcpy(shape, indices->shape, (size_t)rank * sizeof *shape);
    for (int i = (int)(batch + tuple); i < x->rank; i++) {
        shape[rank++] = x->shape[i];
    }
    status = op_call_output(call, 0, x->dtype, rank, shape, &out);
    if (status != SPRY_OK || out == NULL || tensor_count(out) == 0) {
        return status;
    }
    block = (size_t)tensor_span(x, (int)(batch + tuple), x->rank) * move_element_size(x->dtype);
    tuples = tensor_span(indices, 0, indices->rank - 1);
    per_batch = tensor_span(indices, (int)batch, indices->rank - 1);
    for (int64_t i = 0; i < tuples && status == SPRY_OK; i++) {
        int64_t at = 0;

        status = operand_tuple(call, 1, i, x, (int)batch, &at);
        if (status == SPRY_OK) {
            at += i / per_batch * tensor_span(x, (int)batch, (int)(batch + tuple));
            memcpy((char *)out->data + (size_t)i * block,
                   (const char *)x->data + (size_t)at * block, block);
        }
    }
    return status;
}

/* ---- Compress ---- */

static spry_status infer_compress(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    int axis;

    dims[0] = operand_unknown;
    if (graph_attribute_find(s->node, "axis") == NULL) {
        op_shapes_set(s, 0, operand_dtype(s, 0), 1, dims);
        return SPRY_OK;
    }
    if (x == NULL) {
        return operand_unranked(s, 0, operand_dtype(s, 0));
    }
    if (!op_normalize_axis(graph_attribute_int(s->node, "axis", 0), x->rank, &axis)) {
        return op_shapes_fail(s, "axis is outside of rank %d", x->rank);
    }
    memcpy(dims, x->dims, sizeof dims);
    dims[axis] = operand_unknown;
    op_shapes_set(s, 0, x->dtype, x->rank, dims);
    return SPRY_OK;
}

static spry_status run_compress(op_call *call)
{
    const tensor *condition = op_call_input(call, 1);
    tensor x = *op_call_input(call, 0);
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int64_t kept = 0;
    int64_t *picks;
    void *memory;
    tensor *out;
    int axis = 0;
    spry_status status;

    if (graph_attribute_find(call->node, "axis") == NULL) {
        x.shape[0] = tensor_count(&x);
        x.rank = 1;
    } else if (!op_normalize_axis(graph_attribute_int(call->node, "axis", 0), x.rank, &axis)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "axis is outside of rank %d", x.rank);
    }
    status = op_call_scratch(call, (size_t)tensor_count(condition) * sizeof *picks, &memory);
    if (status != SPRY_OK) {
        return status;
    }
    picks = memory;
    for (int64_t i = 0; i < tensor_count(condition); i++) {
        if (((const unsigned char *)condition->data)[i] != 0) {
            if (i >= x.shape[axis]) {
                return operand_bad_index(call, 1, i, i, x.shape[axis]);
            }
            picks[kept++] = i;
        }
    }
    memcpy(shape, x.shape, sizeof shape);
    shape[axis] = kept;
    status = op_call_output(call, 0, x.dtype, x.rank, shape, &out);
    if (status == SPRY_OK && out != NULL) {
        pick_blocks(call->team, &x, axis, picks, kept, out);
    }
    return status;
}

/* clang-format off */
const op ops_gather[] = {
    {.name = "ArrayFeatureExtractor", .domain = "ai.onnx.ml", .since = 1, .min_inputs = 2,
     .max_inputs = 2, .min_outputs = 1, .max_outputs = 1,
     .types = {MOVE_TYPES, 1u << SPRY_DTYPE_I64}, .infer = infer_features, .run = run_features},
    {.name = "Compress", .domain = "", .since = 9, .min_inputs = 2, .max_inputs = 2,
     .min_outputs = 1, .max_outputs = 1, .types = {MOVE_TYPES, OP_BOOL}, .infer = infer_compress,
     .run = run_compress},
    {.name = "Gather", .domain = "", .since = 1, .min_inputs = 2, .max_inputs = 2,
     .min_outputs = 1, .max_outputs = 1, .types = {MOVE_TYPES, OP_INDEX}, .infer = infer_gather,
     .run = run_gather},
    {.name = "GatherElements", .domain = "", .since = 11, .min_inputs = 2, .max_inputs = 2,
     .min_outputs = 1, .max_outputs = 1, .types = {MOVE_TYPES, OP_INDEX}, .infer = infer_elements,
     .run = run_elements},
    {.name = "GatherND", .domain = "", .since = 11, .min_inputs = 2, .max_inputs = 2,
     .min_outputs = 1, .max_outputs = 1, .types = {MOVE_TYPES, 1u << SPRY_DTYPE_I64},
     .infer = infer_nd, .run = run_nd},
    {.name = NULL},
};
/* clang-format on */
