/* Small operators on images and sequences that move or clear elements by their coordinates: Trilu,
 * ReverseSequence, Col2Im. */
#include <string.h>

#include "base/checked.h"
#include "base/limits.h"
#include "ops/families.h"
#include "ops/move.h"
#include "ops/operand.h"
#include "tensor/convert.h"

/* ---- Trilu ---- */

static spry_status run_trilu(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    size_t size = move_element_size(x->dtype);
    bool upper = graph_attribute_int(call->node, "upper", 1) != 0;
    int64_t k = 0;
    int64_t rows;
    int64_t columns;
    int64_t total;
    tensor *out;
    int count;
    spry_status status = op_call_ints(call, 1, &k, 1, &count);

    if (status == SPRY_OK && x->rank < 2) {
        return op_call_fail(call, SPRY_BAD_INPUT, "needs matrices, not rank %d", x->rank);
    }
    if (status == SPRY_OK) {
        status = op_call_output_like(call, 0, x->dtype, x, &out);
    }
    if (status != SPRY_OK || out == NULL || tensor_count(out) == 0) {
        return status;
    }
    rows = x->shape[x->rank - 2];
    columns = x->shape[x->rank - 1];
    total = tensor_span(x, 0, x->rank - 1);
    if (out->data != x->data) {
        memcpy(out->data, x->data, x->bytes);
    }
    for (int64_t row = 0; row < total; row++) {
        /* The first column right of (upper: on) the diagonal, within the row. */
        int64_t split = row % rows + (upper ? 0 : 1);
        int64_t at = k < -split ? 0 : k > columns - split ? columns : split + k;
        char *start = (char *)out->data + row * columns * (int64_t)size;

        if (upper && at > 0) {
            memset(start, 0, (size_t)at * size);
        } else if (!upper && at < columns) {
            memset(start + at * (int64_t)size, 0, (size_t)(columns - at) * size);
        }
    }
    return SPRY_OK;
}

/* ---- ReverseSequence ---- */

static spry_status run_reverse(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    const tensor *lengths = op_call_input(call, 1);
    int64_t batch_axis = graph_attribute_int(call->node, "batch_axis", 1);
    int64_t time_axis = graph_attribute_int(call->node, "time_axis", 0);
    int64_t steps[2];
    size_t block;
    tensor *out;
    spry_status status;

    if (x->rank < 2 || batch_axis + time_axis != 1 || batch_axis < 0 || time_axis < 0 ||
        lengths->rank != 1 || lengths->shape[0] != x->shape[batch_axis]) {
        return op_call_fail(call, SPRY_BAD_INPUT, "axes or sequence_lens do not fit the input");
    }
    for (int64_t b = 0; b < lengths->shape[0]; b++) {
        int64_t length = convert_get_i64(lengths, b);

        if (length < 0 || length > x->shape[time_axis]) {
            return op_call_fail(call, SPRY_BAD_INPUT, "sequence length %lld of item %lld",
                                (long long)length, (long long)b);
        }
    }
    status = op_call_output_like(call, 0, x->dtype, x, &out);
    if (status != SPRY_OK || out == NULL || tensor_count(out) == 0) {
        return status;
    }
    block = (size_t)tensor_span(x, 2, x->rank) * move_element_size(x->dtype);
    steps[0] = x->shape[1] * (int64_t)block;
    steps[1] = (int64_t)block;
    for (int64_t b = 0; b < x->shape[batch_axis]; b++) {
        int64_t length = convert_get_i64(lengths, b);

        for (int64_t t = 0; t < x->shape[time_axis]; t++) {
            int64_t from = t < length ? length - 1 - t : t;

            memcpy((char *)out->data + b * steps[batch_axis] + t * steps[time_axis],
                   (const char *)x->data + b * steps[batch_axis] + from * steps[time_axis], block);
        }
    }
    return SPRY_OK;
}

/* ---- Col2Im ---- */

typedef struct fold_plan {
    int rank; /* spatial axes */
    int64_t image[SPRY_TENSOR_MAX_RANK];
    int64_t block[SPRY_TENSOR_MAX_RANK];
    int64_t dilation[SPRY_TENSOR_MAX_RANK];
    int64_t pad[2 * SPRY_TENSOR_MAX_RANK];
    int64_t stride[SPRY_TENSOR_MAX_RANK];
    int64_t steps[SPRY_TENSOR_MAX_RANK]; /* positions of the block along each axis */
    int64_t block_count;
    int64_t step_count;
    int64_t pixels;
} fold_plan;

static bool small(int64_t number, int64_t least)
{
    return number >= least && number <= LIMIT_TENSOR_DIMENSION;
}

/* Completes sizes from image, block and attributes; false when they make no sense. */
static bool fold_complete(fold_plan *p)
{
    p->block_count = p->step_count = p->pixels = 1;
    for (int i = 0; i < p->rank; i++) {
        int64_t extent;

        if (!small(p->image[i], 0) || !small(p->block[i], 1) || !small(p->dilation[i], 1) ||
            !small(p->stride[i], 1) || !small(p->pad[i], 0) || !small(p->pad[p->rank + i], 0)) {
            return false;
        }
        extent =
            p->image[i] + p->pad[i] + p->pad[p->rank + i] - p->dilation[i] * (p->block[i] - 1) - 1;
        p->steps[i] = extent < 0 ? 0 : extent / p->stride[i] + 1;
        if (!checked_mul_i64(p->block_count, p->block[i], &p->block_count) ||
            !checked_mul_i64(p->step_count, p->steps[i], &p->step_count) ||
            !checked_mul_i64(p->pixels, p->image[i], &p->pixels)) {
            return false;
        }
    }
    return true;
}

static spry_status fold_read(op_call *call, fold_plan *p)
{
    static const char *const names[] = {"dilations", "strides", "pads"};
    int64_t *const lists[] = {p->dilation, p->stride, p->pad};
    int blocks;
    spry_status status = op_call_ints(call, 1, p->image, SPRY_TENSOR_MAX_RANK - 2, &p->rank);

    if (status == SPRY_OK) {
        status = op_call_ints(call, 2, p->block, SPRY_TENSOR_MAX_RANK - 2, &blocks);
    }
    if (status == SPRY_OK && blocks != p->rank) {
        return op_call_fail(call, SPRY_BAD_INPUT, "block_shape and image_shape differ in length");
    }
    for (int i = 0; i < 3 && status == SPRY_OK; i++) {
        int wanted = i == 2 ? 2 * p->rank : p->rank;
        int count;

        status = operand_ints(call, OPERAND_NO_INPUT, names[i], lists[i], wanted, &count);
        for (int k = 0; count < 0 && k < wanted; k++) {
            lists[i][k] = i < 2;
        }
        if (status == SPRY_OK && count >= 0 && count != wanted) {
            return op_call_fail(call, SPRY_BAD_INPUT, "%s must have %d entries", names[i], wanted);
        }
    }
    return status;
}

/* Adds one row of columns (one element of the block at every position) to the image. */
static void fold_row(const fold_plan *p, int64_t element, const double *row, double *image)
{
    int64_t at[SPRY_TENSOR_MAX_RANK];

    for (int i = p->rank - 1; i >= 0; i--) {
        at[i] = element % p->block[i] * p->dilation[i] - p->pad[i];
        element /= p->block[i];
    }
    for (int64_t step = 0; step < p->step_count; step++) {
        int64_t rest = step;
        int64_t pixel = 0;
        int64_t scale = 1;
        bool inside = true;

        for (int i = p->rank - 1; i >= 0; i--) {
            int64_t y = at[i] + rest % p->steps[i] * p->stride[i];

            rest /= p->steps[i];
            inside = inside && y >= 0 && y < p->image[i];
            pixel += y * scale;
            scale *= p->image[i];
        }
        if (inside) {
            image[pixel] += row[step];
        }
    }
}

static spry_status infer_fold(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    graph_dim dims[SPRY_TENSOR_MAX_RANK] = {operand_unknown, operand_unknown};
    int64_t image[SPRY_TENSOR_MAX_RANK];
    int64_t block[SPRY_TENSOR_MAX_RANK];
    int64_t elements = 1;
    int counts[2];
    spry_status status = op_shapes_ints(s, 1, image, SPRY_TENSOR_MAX_RANK - 2, &counts[0]);

    if (status == SPRY_OK) {
        status = op_shapes_ints(s, 2, block, SPRY_TENSOR_MAX_RANK - 2, &counts[1]);
    }
    if (status != SPRY_OK || counts[0] < 0) {
        return status != SPRY_OK ? status : operand_unranked(s, 0, operand_dtype(s, 0));
    }
    for (int i = 0; i < counts[1]; i++) {
        elements = checked_mul_i64(elements, block[i], &elements) ? elements : 0;
    }
    if (x != NULL && x->rank == 3) {
        dims[0] = x->dims[0];
        if (counts[1] >= 0 && elements > 0 && x->dims[1].size >= 0) {
            dims[1] = (graph_dim){.size = x->dims[1].size / elements};
        }
    }
    for (int i = 0; i < counts[0]; i++) {
        dims[2 + i] = (graph_dim){.size = image[i] < 0 ? -1 : image[i]};
    }
    op_shapes_set(s, 0, operand_dtype(s, 0), 2 + counts[0], dims);
    return SPRY_OK;
}

static spry_status run_fold(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    fold_plan p = {.rank = 0};
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    double *row;
    double *image;
    void *memory;
    tensor *out;
    spry_status status = fold_read(call, &p);

    if (status != SPRY_OK) {
        return status;
    }
    if (!fold_complete(&p) || x->rank != 3 || x->shape[1] % p.block_count != 0 ||
        x->shape[2] != p.step_count) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the columns do not fit image and block");
    }
    shape[0] = x->shape[0];
    shape[1] = x->shape[1] / p.block_count;
    memcpy(shape + 2, p.image, (size_t)p.rank * sizeof *shape);
    status = op_call_output(call, 0, x->dtype, 2 + p.rank, shape, &out);
    if (status != SPRY_OK || out == NULL || tensor_count(out) == 0) {
        return status;
    }
    status = op_call_scratch(call, (size_t)(p.pixels + p.step_count) * sizeof *row, &memory);
    if (status != SPRY_OK) {
        return status;
    }
    image = memory;
    row = image + p.pixels;
    for (int64_t plane = 0; plane < shape[0] * shape[1]; plane++) {
        memset(image, 0, (size_t)p.pixels * sizeof *image);
        for (int64_t element = 0; element < p.block_count; element++) {
            convert_read_f64(x, (plane * p.block_count + element) * p.step_count, p.step_count,
                             row);
            fold_row(&p, element, row, image);
        }
        convert_write_f64(out, plane * p.pixels, p.pixels, image);
    }
    return SPRY_OK;
}

/* clang-format off */
const op ops_space[] = {
    {.name = "Col2Im",
     .domain = "",
     .since = 18,
     .min_inputs = 3,
     .max_inputs = 3,
     .min_outputs = 1,
     .max_outputs = 1,
     .types = {OP_NUMERIC, 1u << SPRY_DTYPE_I64, 1u << SPRY_DTYPE_I64},
     .infer = infer_fold,
     .run = run_fold},
    {.name = "ReverseSequence",
     .domain = "",
     .since = 10,
     .min_inputs = 2,
     .max_inputs = 2,
     .min_outputs = 1,
     .max_outputs = 1,
     .types = {MOVE_TYPES, 1u << SPRY_DTYPE_I64},
     .infer = op_infer_same,
     .run = run_reverse},
    {.name = "Trilu",
     .domain = "",
     .since = 14,
     .min_inputs = 1,
     .max_inputs = 2,
     .min_outputs = 1,
     .max_outputs = 1,
     .flags = OP_IN_PLACE,
     .types = {OP_NUMERIC | OP_BOOL, 1u << SPRY_DTYPE_I64},
     .infer = op_infer_same,
     .run = run_trilu},
    {.name = NULL},
};
/* clang-format on */
