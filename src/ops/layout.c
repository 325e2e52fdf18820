/* Operators that put whole axes elsewhere: Transpose, Concat, Split, Tile, and the two exchanges of
 * depth and space. */
#include <string.h>

#include "base/checked.h"
#include "base/limits.h"
#include "ops/families.h"
#include "ops/move.h"
#include "ops/operand.h"

/* ---- Transpose ---- */

/* The permutation, reversed axes by default. Returns false when it is none. */
static bool permutation(const graph_node *node, int rank, int64_t *axes)
{
    int64_t count;
    const int64_t *given = graph_attribute_ints(node, "perm", &count);

    for (int i = 0; i < rank; i++) {
        axes[i] = given != NULL && i < count ? given[i] : rank - 1 - i;
    }
    return given == NULL || (count == rank && operand_axes(axes, rank, rank, NULL));
}

static spry_status infer_transpose(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    int64_t axes[SPRY_TENSOR_MAX_RANK];
    graph_dim dims[SPRY_TENSOR_MAX_RANK];

    if (x == NULL) {
        return operand_unranked(s, 0, operand_dtype(s, 0));
    }
    if (!permutation(s->node, x->rank, axes)) {
        return op_shapes_fail(s, "perm is no permutation of %d axes", x->rank);
    }
    for (int i = 0; i < x->rank; i++) {
        dims[i] = x->dims[axes[i]];
    }
    op_shapes_set(s, 0, x->dtype, x->rank, dims);
    return SPRY_OK;
}

static spry_status transpose_packed(op_call *call, const move_plan *plan, const tensor *x,
                                    tensor *out)
{
    size_t count = (size_t)tensor_count(x);
    unsigned char *bytes;
    void *memory;
    spry_status status = op_call_scratch(call, 2 * count, &memory);

    if (status != SPRY_OK) {
        return status;
    }
    bytes = memory;
    move_unpack(x, bytes);
    move_strided(call->team, plan, 1, bytes + count, bytes);
    move_pack(bytes + count, out);
    return SPRY_OK;
}

static spry_status run_transpose(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    int64_t axes[SPRY_TENSOR_MAX_RANK];
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int64_t stride[SPRY_TENSOR_MAX_RANK];
    move_plan plan = {.rank = 0};
    tensor *out;
    spry_status status;

    if (!permutation(call->node, x->rank, axes)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "perm is no permutation of %d axes", x->rank);
    }
    for (int i = 0; i < x->rank; i++) {
        shape[i] = x->shape[axes[i]];
    }
    status = op_call_output(call, 0, x->dtype, x->rank, shape, &out);
    if (status != SPRY_OK || out == NULL) {
        return status;
    }
    move_dense_strides(x->rank, shape, stride);
    for (int i = 0; i < x->rank; i++) {
        move_add_axis(&plan, shape[i], stride[i], tensor_span(x, (int)axes[i] + 1, x->rank));
    }
    if (move_element_size(x->dtype) == 0) {
        return transpose_packed(call, &plan, x, out);
    }
    move_strided(call->team, &plan, move_element_size(x->dtype), out->data, x->data);
    return SPRY_OK;
}

/* ---- Concat ---- */

/* Contents of lists put one after the other. */
static spry_status concat_contents(op_shapes *s)
{
    graph_dim room[OPERAND_CONTENTS];
    graph_dim joined[OPERAND_CONTENTS];
    graph_dim *to;
    int32_t total = 0;
    bool any = false;
    spry_status status;

    for (int i = 0; i < s->input_count; i++) {
        const graph_type *x = op_shapes_ranked(s, i);
        int32_t count;
        const graph_dim *from = operand_integers(s, i, room, &count);

        if (x == NULL || x->rank != 1 || x->dims[0].size < 0 ||
            x->dims[0].size > OPERAND_CONTENTS - total) {
            return SPRY_OK;
        }
        for (int32_t k = 0; k < (int32_t)x->dims[0].size; k++) {
            joined[total++] = from != NULL && k < count ? from[k] : operand_unknown;
        }
        any = any || from != NULL;
    }
    if (!any) {
        return SPRY_OK;
    }
    status = operand_contents(s, total, &to);
    if (to != NULL) {
        memcpy(to, joined, (size_t)total * sizeof *to);
    }
    return status;
}

/* Joins what input x says of the output so far. Returns false on contradiction. */
static bool concat_join(graph_dim *dims, const graph_type *x, int axis)
{
    for (int k = 0; k < x->rank; k++) {
        if (k == axis) {
            dims[k].size =
                dims[k].size < 0 || x->dims[k].size < 0 ? -1 : dims[k].size + x->dims[k].size;
            dims[k].symbol = NULL;
        } else if (dims[k].size < 0) {
            dims[k] = x->dims[k].size >= 0 || dims[k].symbol == NULL ? x->dims[k] : dims[k];
        } else if (x->dims[k].size >= 0 && x->dims[k].size != dims[k].size) {
            return false;
        }
    }
    return true;
}

static spry_status infer_concat(op_shapes *s)
{
    const graph_type *first = op_shapes_ranked(s, 0);
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    int axis;

    for (int i = 0; i < s->input_count; i++) {
        if (op_shapes_ranked(s, i) == NULL) {
            return operand_unranked(s, 0, operand_dtype(s, 0));
        }
    }
    if (!op_normalize_axis(graph_attribute_int(s->node, "axis", 1), first->rank, &axis)) {
        return op_shapes_fail(s, "axis is outside of rank %d", first->rank);
    }
    memcpy(dims, first->dims, sizeof dims);
    for (int i = 1; i < s->input_count; i++) {
        const graph_type *x = op_shapes_ranked(s, i);

        if (x->rank != first->rank || !concat_join(dims, x, axis)) {
            return op_shapes_fail(s, "input %d does not fit to the ones before", i);
        }
    }
    op_shapes_set(s, 0, first->dtype, first->rank, dims);
    return concat_contents(s);
}

static spry_status run_concat(op_call *call)
{
    const tensor *first = op_call_input(call, 0);
    size_t size = move_element_size(first->dtype);
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int64_t offset = 0;
    tensor *out;
    int axis;
    spry_status status;

    if (!op_normalize_axis(graph_attribute_int(call->node, "axis", 1), first->rank, &axis)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "axis is outside of rank %d", first->rank);
    }
    memcpy(shape, first->shape, sizeof shape);
    for (int i = 1; i < call->input_count; i++) {
        const tensor *x = op_call_input(call, i);
        bool fits = x->rank == first->rank && x->dtype == first->dtype;

        for (int k = 0; fits && k < x->rank; k++) {
            fits = k == axis || x->shape[k] == first->shape[k];
        }
        if (!fits || !checked_add_i64(shape[axis], x->shape[axis], &shape[axis])) {
            return op_call_fail(call, SPRY_BAD_INPUT, "input %d does not fit to the first", i);
        }
    }
    status = op_call_output(call, 0, first->dtype, first->rank, shape, &out);
    if (status != SPRY_OK || out == NULL) {
        return status;
    }
    for (int i = 0; i < call->input_count; i++) {
        const tensor *x = op_call_input(call, i);
        move_plan plan = {.rank = 0};
        int64_t block = tensor_span(x, axis, x->rank);

        move_add_axis(&plan, tensor_span(x, 0, axis), tensor_span(out, axis, out->rank), block);
        move_add_axis(&plan, block, 1, 1);
        if (block > 0) {
            move_strided(call->team, &plan, size, (char *)out->data + offset * (int64_t)size,
                         x->data);
        }
        offset += block;
    }
    return SPRY_OK;
}

/* ---- Split ---- */

/* Sizes of the parts of an axis of `dim` elements, `parts` of them when none are given (count -1).
 * Returns false when they do not add up. */
static bool split_sizes(const graph_node *node, int64_t dim, int parts, int64_t *sizes, int count)
{
    int64_t number = graph_attribute_int(node, "num_outputs", parts);
    int64_t sum = 0;

    if (count >= 0) {
        for (int i = 0; i < count; i++) {
            if (sizes[i] < 0 || !checked_add_i64(sum, sizes[i], &sum)) {
                return false;
            }
        }
        return count == parts && sum == dim;
    }
    if (number < parts || (node->opset < 18 && dim % number != 0)) {
        return false;
    }
    for (int i = 0; i < parts; i++) {
        int64_t chunk = (dim + number - 1) / number;
        int64_t left = dim - i * chunk;

        sizes[i] = left < 0 ? 0 : left < chunk ? left : chunk;
    }
    return true;
}

static spry_status infer_split(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    int64_t *sizes = arena_array(s->g->memory, (size_t)s->output_count + 1, sizeof *sizes);
    int axis;
    int count;
    bool known;
    spry_status status;

    if (sizes == NULL) {
        return op_shapes_fail(s, "memory for %d outputs ran out", s->output_count);
    }
    status = operand_known_ints(s, 1, "split", sizes, s->output_count, &count, &known);
    if (status != SPRY_OK) {
        return status;
    }
    if (x != NULL && !op_normalize_axis(graph_attribute_int(s->node, "axis", 0), x->rank, &axis)) {
        return op_shapes_fail(s, "axis is outside of rank %d", x->rank);
    }
    if (x != NULL && known && x->dims[axis].size >= 0 &&
        !split_sizes(s->node, x->dims[axis].size, s->output_count, sizes, count)) {
        return op_shapes_fail(s, "axis %d of size %lld does not split so", axis,
                              (long long)x->dims[axis].size);
    }
    for (int i = 0; i < s->output_count; i++) {
        graph_dim dims[SPRY_TENSOR_MAX_RANK];

        if (x == NULL) {
            op_shapes_set_unranked(s, i, operand_dtype(s, 0));
            continue;
        }
        memcpy(dims, x->dims, sizeof dims);
        dims[axis] = operand_unknown;
        if (known && (x->dims[axis].size >= 0 || count == s->output_count)) {
            dims[axis].size = sizes[i];
        }
        op_shapes_set(s, i, x->dtype, x->rank, dims);
    }
    return SPRY_OK;
}

static spry_status run_split(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    size_t size = move_element_size(x->dtype);
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int64_t *sizes;
    int64_t offset = 0;
    void *memory;
    int axis;
    int count;
    spry_status status =
        op_call_scratch(call, ((size_t)call->output_count + 1) * sizeof *sizes, &memory);

    if (status != SPRY_OK) {
        return status;
    }
    sizes = memory;
    status = operand_ints(call, 1, "split", sizes, call->output_count, &count);
    if (status != SPRY_OK) {
        return status;
    }
    if (!op_normalize_axis(graph_attribute_int(call->node, "axis", 0), x->rank, &axis) ||
        !split_sizes(call->node, x->shape[axis], call->output_count, sizes, count)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "axis or sizes do not fit the input");
    }
    memcpy(shape, x->shape, sizeof shape);
    for (int i = 0; i < call->output_count && status == SPRY_OK; i++) {
        int64_t inner = tensor_span(x, axis + 1, x->rank);
        move_plan plan = {.rank = 0};
        tensor *out;

        shape[axis] = sizes[i];
        status = op_call_output(call, i, x->dtype, x->rank, shape, &out);
        if (status == SPRY_OK && out != NULL && tensor_count(out) > 0) {
            move_add_axis(&plan, tensor_span(x, 0, axis), sizes[i] * inner,
                          tensor_span(x, axis, x->rank));
            move_add_axis(&plan, sizes[i] * inner, 1, 1);
            move_strided(call->team, &plan, size, out->data,
                         (const char *)x->data + offset * (int64_t)size);
        }
        offset += sizes[i] * inner;
    }
    return status;
}

/* ---- Tile ---- */

static spry_status infer_tile(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    int64_t repeats[SPRY_TENSOR_MAX_RANK];
    int count;
    spry_status status = op_shapes_ints(s, 1, repeats, SPRY_TENSOR_MAX_RANK, &count);

    if (status != SPRY_OK || x == NULL) {
        return status != SPRY_OK ? status : operand_unranked(s, 0, operand_dtype(s, 0));
    }
    if (count >= 0 && count != x->rank) {
        return op_shapes_fail(s, "%d repeats for rank %d", count, x->rank);
    }
    for (int i = 0; i < x->rank; i++) {
        dims[i] = operand_unknown;
        if (count >= 0 && repeats[i] == 1) {
            dims[i] = x->dims[i];
        } else if (count >= 0 && x->dims[i].size >= 0 &&
                   !checked_mul_i64(x->dims[i].size, repeats[i], &dims[i].size)) {
            return op_shapes_fail(s, "repeat %lld is not possible", (long long)repeats[i]);
        }
    }
    op_shapes_set(s, 0, x->dtype, x->rank, dims);
    return SPRY_OK;
}

static spry_status run_tile(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    int64_t repeats[SPRY_TENSOR_MAX_RANK];
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int64_t stride[SPRY_TENSOR_MAX_RANK];
    move_plan plan = {.rank = 0};
    tensor *out;
    int count;
    spry_status status = op_call_ints(call, 1, repeats, SPRY_TENSOR_MAX_RANK, &count);

    if (status != SPRY_OK) {
        return status;
    }
    for (int i = 0; i < x->rank; i++) {
        if (count != x->rank || !checked_mul_i64(x->shape[i], repeats[i], &shape[i])) {
            return op_call_fail(call, SPRY_BAD_INPUT, "the repeats do not fit rank %d", x->rank);
        }
    }
    status = op_call_output(call, 0, x->dtype, x->rank, shape, &out);
    if (status != SPRY_OK || out == NULL) {
        return status;
    }
    move_dense_strides(x->rank, shape, stride);
    for (int i = 0; i < x->rank; i++) {
        move_add_axis(&plan, repeats[i], stride[i] * x->shape[i], 0);
        move_add_axis(&plan, x->shape[i], stride[i], tensor_span(x, i + 1, x->rank));
    }
    move_strided(call->team, &plan, move_element_size(x->dtype), out->data, x->data);
    return SPRY_OK;
}

/* ---- DepthToSpace, SpaceToDepth ---- */

static bool to_space(const graph_node *node)
{
    return strcmp(node->type, "DepthToSpace") == 0;
}

/* NULL and the output's dimensions, or what is wrong; unknown dimensions stay unknown. */
static const char *depth_dims(const graph_node *node, const graph_dim *x, graph_dim *dims)
{
    int64_t block = graph_attribute_int(node, "blocksize", 0);
    int64_t area;

    if (block < 1 || block > LIMIT_TENSOR_DIMENSION) {
        return "blocksize is not positive";
    }
    area = block * block;
    dims[0] = x[0];
    for (int i = 1; i < 4; i++) {
        bool grows = to_space(node) == (i > 1);
        int64_t factor = i == 1 ? area : block;

        dims[i] = operand_unknown;
        if (x[i].size < 0) {
            continue;
        }
        if (grows && !checked_mul_i64(x[i].size, factor, &dims[i].size)) {
            return "the result is too large";
        }
        if (!grows && x[i].size % factor != 0) {
            return "a dimension is not a multiple of the block";
        }
        dims[i].size = grows ? dims[i].size : x[i].size / factor;
    }
    return NULL;
}

static spry_status infer_depth(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    graph_dim dims[4];
    const char *wrong;

    if (x == NULL) {
        return operand_unranked(s, 0, operand_dtype(s, 0));
    }
    wrong = x->rank != 4 ? "the rank is not 4" : depth_dims(s->node, x->dims, dims);
    if (wrong != NULL) {
        return op_shapes_fail(s, "%s", wrong);
    }
    op_shapes_set(s, 0, x->dtype, 4, dims);
    return SPRY_OK;
}

/* Axes of both operators, as the finer image sees them: n, c, y, block y, x, block x. The coarse
 * side keeps the block's axes in its channels. */
static spry_status run_depth(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    int64_t block = graph_attribute_int(call->node, "blocksize", 0);
    const char *mode = graph_attribute_string(call->node, "mode", "DCR");
    graph_type from = graph_type_tensor(x->dtype, x->rank, x->shape);
    graph_dim dims[4];
    int64_t shape[4];
    move_plan plan = {.rank = 0};
    tensor *out;
    const char *wrong =
        x->rank != 4 ? "the rank is not 4" : depth_dims(call->node, from.dims, dims);
    spry_status status;

    if (wrong != NULL) {
        return op_call_fail(call, SPRY_BAD_INPUT, "%s", wrong);
    }
    for (int i = 0; i < 4; i++) {
        shape[i] = dims[i].size;
    }
    status = op_call_output(call, 0, x->dtype, 4, shape, &out);
    if (status == SPRY_OK && out != NULL) {
        bool spread = to_space(call->node);
        const tensor *fine = spread ? out : x;
        const tensor *coarse = spread ? x : out;
        int64_t c = fine->shape[1];
        int64_t height = coarse->shape[2];
        int64_t width = coarse->shape[3];
        int64_t plane = height * width;
        bool last = spread && strcmp(mode, "CRD") == 0; /* channels before the block's axes */
        int64_t c_coarse = last ? block * block * plane : plane;
        int64_t b_coarse = last ? plane : c * plane;
        const int64_t axes[6][3] = {
            {x->shape[0], c * plane * block * block, c * plane * block * block},
            {c, plane * block * block, c_coarse},
            {height, block * block * width, width},
            {block, block * width, block * b_coarse},
            {width, block, 1},
            {block, 1, b_coarse},
        };

        for (int i = 0; i < 6; i++) {
            move_add_axis(&plan, axes[i][0], axes[i][spread ? 1 : 2], axes[i][spread ? 2 : 1]);
        }
        move_strided(call->team, &plan, move_element_size(x->dtype), out->data, x->data);
    }
    return status;
}

/* clang-format off */
const op ops_layout[] = {
    {.name = "Concat",
     .domain = "",
     .since = 4,
     .min_inputs = 1,
     .max_inputs = OP_VARIADIC,
     .min_outputs = 1,
     .max_outputs = 1,
     .flags = OP_LAST_TYPES_REPEAT,
     .types = {MOVE_TYPES},
     .infer = infer_concat,
     .run = run_concat},
    {.name = "DepthToSpace",
     .domain = "",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .min_outputs = 1,
     .max_outputs = 1,
     .types = {MOVE_TYPES},
     .infer = infer_depth,
     .run = run_depth},
    {.name = "SpaceToDepth",
     .domain = "",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .min_outputs = 1,
     .max_outputs = 1,
     .types = {MOVE_TYPES},
     .infer = infer_depth,
     .run = run_depth},
    {.name = "Split",
     .domain = "",
     .since = 2,
     .min_inputs = 1,
     .max_inputs = 2,
     .min_outputs = 1,
     .max_outputs = OP_VARIADIC,
     .types = {MOVE_TYPES, 1u << SPRY_DTYPE_I64},
     .infer = infer_split,
     .run = run_split},
    {.name = "Tile",
     .domain = "",
     .since = 6,
     .min_inputs = 2,
     .max_inputs = 2,
     .min_outputs = 1,
     .max_outputs = 1,
     .types = {MOVE_TYPES, 1u << SPRY_DTYPE_I64},
     .infer = infer_tile,
     .run = run_tile},
    {.name = "Transpose",
     .domain = "",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 1,
     .min_outputs = 1,
     .max_outputs = 1,
     .types = {MOVE_ANY},
     .infer = infer_transpose,
     .run = run_transpose},
    {.name = NULL},
};
/* clang-format on */
