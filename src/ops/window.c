/* Operators that keep, move or surround a part of each axis: Slice, Pad, CenterCropPad. */
#include <string.h>

#include "base/checked.h"
#include "base/limits.h"
#include "ops/families.h"
#include "ops/move.h"
#include "ops/operand.h"
#include "tensor/convert.h"

/* ---- Slice ---- */

typedef struct slice_range {
    int64_t first, step, count;
} slice_range;

/* Python's rule for start:end:step on an axis of `dim` elements; step is not 0. */
static slice_range slice_axis(int64_t dim, int64_t start, int64_t end, int64_t step)
{
    const int64_t far = LIMIT_TENSOR_DIMENSION + 1;
    int64_t low = step > 0 ? 0 : -1;
    int64_t high = step > 0 ? dim : dim - 1;
    int64_t span;

    step = step > far ? far : step < -far ? -far : step;
    start = start < 0 ? start + dim : start;
    end = end < 0 ? end + dim : end;
    start = start < low ? low : start > high ? high : start;
    end = end < low ? low : end > high ? high : end;
    if (step < 0 && start < 0) {
        return (slice_range){0, step, 0};
    }
    span = step > 0 ? end - start : start - end;
    return (slice_range){start, step, span <= 0 ? 0 : (span - 1) / (step > 0 ? step : -step) + 1};
}

typedef struct slice_request {
    int64_t starts[SPRY_TENSOR_MAX_RANK];
    int64_t ends[SPRY_TENSOR_MAX_RANK];
    int64_t axes[SPRY_TENSOR_MAX_RANK];
    int64_t steps[SPRY_TENSOR_MAX_RANK];
    int counts[4]; /* of the four; -1 when absent */
} slice_request;

static const char *const slice_names[] = {"starts", "ends", "axes", "steps"};

static int64_t *slice_list(slice_request *r, int i)
{
    int64_t *const lists[] = {r->starts, r->ends, r->axes, r->steps};

    return lists[i];
}

/* Fills in the defaults. NULL, or what is wrong. */
static const char *slice_complete(slice_request *r, int rank)
{
    int count = r->counts[0];

    if (count < 0 || r->counts[1] != count || (r->counts[2] >= 0 && r->counts[2] != count) ||
        (r->counts[3] >= 0 && r->counts[3] != count) || count > rank) {
        return "starts, ends, axes and steps differ in length or exceed the rank";
    }
    for (int i = 0; i < count; i++) {
        r->axes[i] = r->counts[2] >= 0 ? r->axes[i] : i;
        r->steps[i] = r->counts[3] >= 0 ? r->steps[i] : 1;
        if (r->steps[i] == 0) {
            return "a step is 0";
        }
    }
    return operand_axes(r->axes, count, rank, NULL) ? NULL : "axes are out of range or repeated";
}

/* The result of slicing an axis of a size that may be unknown. */
static graph_dim slice_dim(graph_dim dim, const slice_request *r, int i)
{
    if (dim.size >= 0) {
        return (graph_dim){.size =
                               slice_axis(dim.size, r->starts[i], r->ends[i], r->steps[i]).count};
    }
    if (r->starts[i] == 0 && r->ends[i] >= LIMIT_TENSOR_DIMENSION && r->steps[i] == 1) {
        return dim;
    }
    return operand_unknown;
}

/* Slices the contents of a list. */
static spry_status slice_contents(op_shapes *s, const slice_request *r)
{
    graph_dim room[OPERAND_CONTENTS];
    graph_dim *to;
    int32_t length;
    const graph_dim *from = operand_integers(s, 0, room, &length);
    slice_range range;
    spry_status status;

    if (from == NULL || s->inputs[0]->rank != 1 || r->counts[0] != 1) {
        return SPRY_OK;
    }
    range = slice_axis(length, r->starts[0], r->ends[0], r->steps[0]);
    status = operand_contents(s, range.count, &to);
    for (int64_t i = 0; to != NULL && i < range.count; i++) {
        to[i] = from[range.first + i * range.step];
    }
    return status;
}

static spry_status infer_slice(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    slice_request r;
    bool all_known = true;
    const char *wrong;

    for (int i = 0; i < 4; i++) {
        bool known;
        spry_status status = operand_known_ints(s, i + 1, slice_names[i], slice_list(&r, i),
                                                SPRY_TENSOR_MAX_RANK, &r.counts[i], &known);

        if (status != SPRY_OK) {
            return status;
        }
        all_known = all_known && known;
    }
    if (x == NULL) {
        return operand_unranked(s, 0, operand_dtype(s, 0));
    }
    if (!all_known) {
        for (int i = 0; i < x->rank; i++) {
            dims[i] = operand_unknown;
        }
        op_shapes_set(s, 0, x->dtype, x->rank, dims);
        return SPRY_OK;
    }
    wrong = slice_complete(&r, x->rank);
    if (wrong != NULL) {
        return op_shapes_fail(s, "%s", wrong);
    }
    memcpy(dims, x->dims, sizeof dims);
    for (int i = 0; i < r.counts[0]; i++) {
        dims[r.axes[i]] = slice_dim(dims[r.axes[i]], &r, i);
    }
    op_shapes_set(s, 0, x->dtype, x->rank, dims);
    return slice_contents(s, &r);
}

static spry_status run_slice(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    size_t size = move_element_size(x->dtype);
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int64_t to_stride[SPRY_TENSOR_MAX_RANK];
    int64_t from_stride[SPRY_TENSOR_MAX_RANK];
    int64_t offset = 0;
    move_plan plan = {.rank = 0};
    slice_request r;
    tensor *out;
    const char *wrong;
    spry_status status = SPRY_OK;

    for (int i = 0; i < 4 && status == SPRY_OK; i++) {
        status = operand_ints(call, i + 1, slice_names[i], slice_list(&r, i), SPRY_TENSOR_MAX_RANK,
                              &r.counts[i]);
    }
    wrong = status == SPRY_OK ? slice_complete(&r, x->rank) : NULL;
    if (wrong != NULL) {
        return op_call_fail(call, SPRY_BAD_INPUT, "%s", wrong);
    }
    if (status != SPRY_OK) {
        return status;
    }
    memcpy(shape, x->shape, sizeof shape);
    move_dense_strides(x->rank, x->shape, from_stride);
    for (int i = 0; i < r.counts[0]; i++) {
        int64_t axis = r.axes[i];
        slice_range range = slice_axis(shape[axis], r.starts[i], r.ends[i], r.steps[i]);

        offset += range.count > 0 ? range.first * from_stride[axis] : 0;
        from_stride[axis] *= range.step;
        shape[axis] = range.count;
    }
    status = op_call_output(call, 0, x->dtype, x->rank, shape, &out);
    if (status != SPRY_OK || out == NULL || tensor_count(out) == 0) {
        return status;
    }
    move_dense_strides(x->rank, shape, to_stride);
    for (int i = 0; i < x->rank; i++) {
        move_add_axis(&plan, shape[i], to_stride[i], shape[i] > 1 ? from_stride[i] : 0);
    }
    move_strided(call->team, &plan, size, out->data,
                 (const char *)x->data + offset * (int64_t)size);
    return SPRY_OK;
}

/* ---- Pad ---- */

typedef enum pad_mode { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP, PAD_UNKNOWN } pad_mode;

static pad_mode pad_mode_of(const graph_node *node)
{
    static const char *const names[] = {"constant", "reflect", "edge", "wrap"};
    const char *given = graph_attribute_string(node, "mode", "constant");
    int mode = PAD_CONSTANT;

    while (mode < PAD_UNKNOWN && strcmp(given, names[mode]) != 0) {
        mode++;
    }
    return (pad_mode)mode;
}

/* Spreads `count` pads for some axes over all: before[rank], after[rank]. NULL, or what is
 * wrong. */
static const char *pad_spread(const int64_t *pads, int count, int64_t *axes, int axis_count,
                              int rank, int64_t *before, int64_t *after)
{
    if (axis_count < 0) {
        axis_count = rank;
        for (int i = 0; i < rank; i++) {
            axes[i] = i;
        }
    }
    if (count != 2 * axis_count || !operand_axes(axes, axis_count, rank, NULL)) {
        return "pads or axes do not fit the rank";
    }
    for (int i = 0; i < rank; i++) {
        before[i] = after[i] = 0;
    }
    for (int i = 0; i < axis_count; i++) {
        before[axes[i]] = pads[i];
        after[axes[i]] = pads[axis_count + i];
    }
    return NULL;
}

/* dim + before + after, or -1 when that is not a dimension. */
static int64_t padded_size(int64_t dim, int64_t before, int64_t after)
{
    int64_t size;

    return checked_add_i64(dim, before, &size) && checked_add_i64(size, after, &size) &&
                   size >= 0 && size <= LIMIT_TENSOR_DIMENSION
               ? size
               : -1;
}

static spry_status infer_pad(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    int64_t pads[2 * SPRY_TENSOR_MAX_RANK];
    int64_t axes[SPRY_TENSOR_MAX_RANK];
    int64_t before[SPRY_TENSOR_MAX_RANK];
    int64_t after[SPRY_TENSOR_MAX_RANK];
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    int counts[2];
    bool known[2];
    const char *wrong;
    spry_status status =
        operand_known_ints(s, 1, "pads", pads, 2 * SPRY_TENSOR_MAX_RANK, &counts[0], &known[0]);

    if (status == SPRY_OK) {
        status = operand_known_ints(s, 3, NULL, axes, SPRY_TENSOR_MAX_RANK, &counts[1], &known[1]);
    }
    if (status != SPRY_OK || x == NULL) {
        return status != SPRY_OK ? status : operand_unranked(s, 0, operand_dtype(s, 0));
    }
    wrong = known[0] && known[1]
                ? pad_spread(pads, counts[0], axes, counts[1], x->rank, before, after)
                : NULL;
    if (wrong != NULL) {
        return op_shapes_fail(s, "%s", wrong);
    }
    for (int i = 0; i < x->rank; i++) {
        dims[i] = operand_unknown;
        if (!known[0] || !known[1]) {
            continue;
        }
        if (x->dims[i].size >= 0) {
            dims[i].size = padded_size(x->dims[i].size, before[i], after[i]);
        } else if (before[i] == 0 && after[i] == 0) {
            dims[i] = x->dims[i];
        }
    }
    op_shapes_set(s, 0, x->dtype, x->rank, dims);
    return SPRY_OK;
}

/* The element of an axis of `dim` elements that stands at `at`, which may lie outside. */
static int64_t pad_source(pad_mode mode, int64_t at, int64_t dim)
{
    int64_t period = mode == PAD_REFLECT ? 2 * (dim - 1) : dim;

    if (at >= 0 && at < dim) {
        return at;
    }
    if (mode == PAD_EDGE) {
        return at < 0 ? 0 : dim - 1;
    }
    if (period == 0) {
        return 0;
    }
    at %= period;
    at = at < 0 ? at + period : at;
    return at < dim ? at : period - at;
}

/* Fills out from x where each axis has its own list of source indices. */
static spry_status pad_mapped(op_call *call, pad_mode mode, const tensor *x, const int64_t *before,
                              tensor *out)
{
    size_t size = move_element_size(x->dtype);
    int64_t index[SPRY_TENSOR_MAX_RANK] = {0};
    int64_t *maps[SPRY_TENSOR_MAX_RANK];
    int last = x->rank - 1;
    unsigned char *to = out->data;
    int axis;

    for (int i = 0; i < x->rank; i++) {
        int64_t step = tensor_span(x, i + 1, x->rank);
        void *memory;
        spry_status status = op_call_scratch(call, (size_t)out->shape[i] * sizeof **maps, &memory);

        if (status != SPRY_OK) {
            return status;
        }
        maps[i] = memory;
        for (int64_t k = 0; k < out->shape[i]; k++) {
            maps[i][k] = pad_source(mode, k - before[i], x->shape[i]) * step * (int64_t)size;
        }
    }
    do {
        const unsigned char *from = x->data;

        for (int i = 0; i < last; i++) {
            from += maps[i][index[i]];
        }
        for (int64_t k = 0; k < out->shape[last]; k++) {
            memcpy(to, from + maps[last][k], size);
            to += size;
        }
        for (axis = last - 1; axis >= 0 && ++index[axis] == out->shape[axis]; axis--) {
            index[axis] = 0;
        }
    } while (axis >= 0);
    return SPRY_OK;
}

/* Copies the part of x that lies in `out`, whose origin is at -before. */
static void pad_copy(threads *team, const tensor *x, const int64_t *before, tensor *out)
{
    size_t size = move_element_size(x->dtype);
    int64_t from_offset = 0;
    int64_t to_offset = 0;
    move_plan plan = {.rank = 0};

    for (int i = 0; i < x->rank; i++) {
        int64_t from = before[i] < 0 ? -before[i] : 0;
        int64_t to = before[i] < 0 ? 0 : before[i];
        int64_t have = x->shape[i] - from;
        int64_t room = out->shape[i] - to;
        int64_t from_step = tensor_span(x, i + 1, x->rank);
        int64_t to_step = tensor_span(out, i + 1, x->rank);

        if (have <= 0 || room <= 0) {
            return;
        }
        move_add_axis(&plan, have < room ? have : room, to_step, from_step);
        from_offset += from * from_step;
        to_offset += to * to_step;
    }
    move_strided(team, &plan, size, (char *)out->data + to_offset * (int64_t)size,
                 (const char *)x->data + from_offset * (int64_t)size);
}

/* The element for constant padding. */
static spry_status pad_value(op_call *call, const tensor *x, tensor *filler)
{
    const tensor *given = op_call_input(call, 2);
    static const spry_text nothing = {"", 0};
    spry_status status;

    if (given != NULL && tensor_count(given) > 0) {
        if (given->dtype != x->dtype || tensor_count(given) != 1) {
            return op_call_fail(call, SPRY_BAD_INPUT, "the padding value must be one %s",
                                spry_dtype_name(x->dtype));
        }
        *filler = *given;
        return SPRY_OK;
    }
    status = op_call_scratch(call, 16, &filler->data);
    if (status == SPRY_OK) {
        float number = graph_attribute_float(call->node, "value", 0);

        status = tensor_init(filler, x->dtype, 0, NULL, filler->data, call->error);
        memset(filler->data, 0, 16);
        if (x->dtype == SPRY_DTYPE_STRING) {
            memcpy(filler->data, &nothing, sizeof nothing);
        } else if (number != 0) {
            convert_write_f32(filler, 0, 1, &number);
        }
    }
    return status;
}

static spry_status run_pad(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    pad_mode mode = pad_mode_of(call->node);
    int64_t pads[2 * SPRY_TENSOR_MAX_RANK];
    int64_t axes[SPRY_TENSOR_MAX_RANK];
    int64_t before[SPRY_TENSOR_MAX_RANK];
    int64_t after[SPRY_TENSOR_MAX_RANK];
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    tensor filler;
    tensor *out;
    int counts[2];
    const char *wrong;
    spry_status status = operand_ints(call, 1, "pads", pads, 2 * SPRY_TENSOR_MAX_RANK, &counts[0]);

    if (status == SPRY_OK) {
        status = operand_ints(call, 3, NULL, axes, SPRY_TENSOR_MAX_RANK, &counts[1]);
    }
    if (status != SPRY_OK) {
        return status;
    }
    wrong = mode == PAD_UNKNOWN
                ? "unknown mode"
                : pad_spread(pads, counts[0], axes, counts[1], x->rank, before, after);
    for (int i = 0; i < x->rank && wrong == NULL; i++) {
        shape[i] = padded_size(x->shape[i], before[i], after[i]);
        if (shape[i] < 0 || (mode != PAD_CONSTANT && x->shape[i] == 0 && shape[i] > 0)) {
            wrong = "an axis cannot be padded so";
        }
    }
    if (wrong != NULL) {
        return op_call_fail(call, SPRY_BAD_INPUT, "%s", wrong);
    }
    status = op_call_output(call, 0, x->dtype, x->rank, shape, &out);
    if (status != SPRY_OK || out == NULL || tensor_count(out) == 0) {
        return status;
    }
    if (mode != PAD_CONSTANT && x->rank > 0) {
        return pad_mapped(call, mode, x, before, out);
    }
    status = pad_value(call, x, &filler);
    if (status == SPRY_OK) {
        move_fill(out->data, tensor_count(out), filler.data, move_element_size(x->dtype));
        pad_copy(call->team, x, before, out);
    }
    return status;
}

/* ---- CenterCropPad ---- */

static spry_status infer_center(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    graph_dim room[OPERAND_CONTENTS];
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    int64_t axes[SPRY_TENSOR_MAX_RANK];
    int count;
    int32_t length;
    bool known;
    const graph_dim *wanted = operand_integers(s, 1, room, &length);
    spry_status status =
        operand_known_ints(s, OPERAND_NO_INPUT, "axes", axes, SPRY_TENSOR_MAX_RANK, &count, &known);

    if (status != SPRY_OK || x == NULL) {
        return status != SPRY_OK ? status : operand_unranked(s, 0, operand_dtype(s, 0));
    }
    for (int i = 0; count < 0 && i < x->rank; i++) {
        axes[i] = i;
    }
    count = count < 0 ? x->rank : count;
    if (!operand_axes(axes, count, x->rank, NULL) || (wanted != NULL && length != count)) {
        return op_shapes_fail(s, "axes or shape do not fit rank %d", x->rank);
    }
    memcpy(dims, x->dims, sizeof dims);
    for (int i = 0; i < count; i++) {
        dims[axes[i]] = wanted != NULL ? wanted[i] : operand_unknown;
    }
    op_shapes_set(s, 0, x->dtype, x->rank, dims);
    return SPRY_OK;
}

static spry_status run_center(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    int64_t wanted[SPRY_TENSOR_MAX_RANK];
    int64_t axes[SPRY_TENSOR_MAX_RANK];
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int64_t before[SPRY_TENSOR_MAX_RANK] = {0};
    tensor filler;
    tensor *out;
    int counts[2];
    spry_status status = op_call_ints(call, 1, wanted, SPRY_TENSOR_MAX_RANK, &counts[0]);

    if (status == SPRY_OK) {
        status =
            operand_ints(call, OPERAND_NO_INPUT, "axes", axes, SPRY_TENSOR_MAX_RANK, &counts[1]);
    }
    if (status != SPRY_OK) {
        return status;
    }
    for (int i = 0; counts[1] < 0 && i < x->rank; i++) {
        axes[i] = i;
    }
    counts[1] = counts[1] < 0 ? x->rank : counts[1];
    if (counts[0] != counts[1] || !operand_axes(axes, counts[1], x->rank, NULL)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "axes or shape do not fit rank %d", x->rank);
    }
    memcpy(shape, x->shape, sizeof shape);
    for (int i = 0; i < counts[1]; i++) {
        int64_t have = x->shape[axes[i]];

        if (wanted[i] < 0) {
            return op_call_fail(call, SPRY_BAD_INPUT, "dimension %d is negative", i);
        }
        shape[axes[i]] = wanted[i];
        before[axes[i]] = wanted[i] < have ? -((have - wanted[i]) / 2) : (wanted[i] - have) / 2;
    }
    status = op_call_output(call, 0, x->dtype, x->rank, shape, &out);
    if (status != SPRY_OK || out == NULL || tensor_count(out) == 0) {
        return status;
    }
    status = pad_value(call, x, &filler);
    if (status == SPRY_OK) {
        move_fill(out->data, tensor_count(out), filler.data, move_element_size(x->dtype));
        pad_copy(call->team, x, before, out);
    }
    return status;
}

/* clang-format off */
const op ops_window[] = {
    {.name = "CenterCropPad",
     .domain = "",
     .since = 18,
     .min_inputs = 2,
     .max_inputs = 2,
     .min_outputs = 1,
     .max_outputs = 1,
     .types = {MOVE_TYPES, OP_INDEX},
     .infer = infer_center,
     .run = run_center},
    {.name = "Pad",
     .domain = "",
     .since = 2,
     .min_inputs = 1,
     .max_inputs = 4,
     .min_outputs = 1,
     .max_outputs = 1,
     .types = {MOVE_TYPES, 1u << SPRY_DTYPE_I64, MOVE_TYPES, OP_INDEX},
     .infer = infer_pad,
     .run = run_pad},
    {.name = "Slice",
     .domain = "",
     .since = 1,
     .min_inputs = 1,
     .max_inputs = 5,
     .min_outputs = 1,
     .max_outputs = 1,
     .types = {MOVE_TYPES, OP_INDEX, OP_INDEX, OP_INDEX, OP_INDEX},
     .infer = infer_slice,
     .run = run_slice},
    {.name = NULL},
};
/* clang-format on */
