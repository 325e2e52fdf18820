/* Pooling: MaxPool, AveragePool, LpPool, their global forms, and MaxUnpool.
 *
 * A plane (one channel of one image) is read as f64, pooled, and written back. For every position
 * in the window one strided row of the plane is folded into each row of the result. */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/limits.h"
#include "kernels/elementwise/elementwise_f32.h"
#include "ops/families.h"
#include "ops/operand.h"
#include "ops/sliding_window.h"
#include "ops/whole.h"
#include "tensor/convert.h"

typedef enum pool_kind { POOL_MAX, POOL_AVERAGE, POOL_LP } pool_kind;

/* ---- shapes ---- */

static spry_status infer_pool(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    bool ceil_mode = graph_attribute_int(s->node, "ceil_mode", 0) != 0;
    int64_t count = 0;
    const int64_t *kernel = graph_attribute_ints(s->node, "kernel_shape", &count);
    int64_t in[SPRY_TENSOR_MAX_RANK];
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    const char *reason;
    window w;

    if (kernel == NULL) {
        return op_shapes_fail(s, "kernel_shape is missing");
    }
    if (x == NULL) {
        (void)operand_unranked(s, 0, operand_dtype(s, 0));
        return operand_unranked(s, 1, SPRY_DTYPE_I64);
    }
    if (x->rank < 3 || count != x->rank - 2) {
        return op_shapes_fail(s, "a window of %lld axes does not fit an input of rank %d",
                              (long long)count, x->rank);
    }
    for (int i = 0; i < x->rank - 2; i++) {
        in[i] = x->dims[2 + i].size;
    }
    if (!window_from_node(s->node, x->rank - 2, in, kernel, ceil_mode, &w, &reason)) {
        return op_shapes_fail(s, "%s", reason);
    }
    dims[0] = x->dims[0];
    dims[1] = x->dims[1];
    for (int i = 0; i < w.rank; i++) {
        dims[2 + i] = (graph_dim){.size = w.out[i]};
    }
    op_shapes_set(s, 0, x->dtype, x->rank, dims);
    op_shapes_set(s, 1, SPRY_DTYPE_I64, x->rank, dims);
    return SPRY_OK;
}

static spry_status infer_global(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    graph_dim dims[SPRY_TENSOR_MAX_RANK];

    if (x == NULL) {
        return operand_unranked(s, 0, operand_dtype(s, 0));
    }
    if (x->rank < 2) {
        return op_shapes_fail(s, "the input needs a batch and a channel axis");
    }
    for (int i = 0; i < x->rank; i++) {
        dims[i] = i < 2 ? x->dims[i] : (graph_dim){.size = 1};
    }
    op_shapes_set(s, 0, x->dtype, x->rank, dims);
    return SPRY_OK;
}

static void pool_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    int64_t count = 0;
    const int64_t *kernel = graph_attribute_ints(w->node, "kernel_shape", &count);

    (void)macs;
    *flops = op_work_count(w->outputs[0]);
    for (int64_t i = 0; i < count; i++) {
        (void)checked_mul_i64(*flops, kernel[i], flops);
    }
}

static void global_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    (void)macs;
    *flops = op_work_count(w->inputs[0]);
}

/* ---- planes ---- */

typedef struct pool {
    pool_kind kind;
    window w;
    int64_t taps; /* positions in the window */
    int64_t in_size, out_size;
    double power;    /* POOL_LP */
    bool count_pads; /* POOL_AVERAGE: padding counts as zeros */
    bool by_columns; /* POOL_MAX: indices count the first spatial axis fastest */
    const tensor *x;
    tensor *y;
    tensor *indices; /* POOL_MAX, may be NULL */
    double *room;    /* in_size + 2 * out_size per worker: input, result, indices */
} pool;

/* Next index vector in row-major order over sizes[0..rank). */
static void advance(int64_t *index, const int64_t *sizes, int rank)
{
    for (int i = rank - 1; i >= 0; i--) {
        if (++index[i] < sizes[i]) {
            return;
        }
        index[i] = 0;
    }
}

/* The columns of a result row for which this position of the window is inside the input. */
static void inner_range(const window *w, int64_t tap, int64_t *begin, int64_t *end)
{
    int last = w->rank - 1;
    int64_t first = tap * w->dilation[last] - w->pad_begin[last];
    int64_t step = w->stride[last];

    *begin = first < 0 ? (-first + step - 1) / step : 0;
    *end = first < w->in[last] ? (w->in[last] - first + step - 1) / step : 0;
    *end = *end < w->out[last] ? *end : w->out[last];
}

/* Offset in the plane of the row that result row `at` sees through `tap`; -1: outside. */
static int64_t row_offset(const window *w, const int64_t *at, const int64_t *tap)
{
    int64_t offset = 0;

    for (int i = 0; i < w->rank - 1; i++) {
        int64_t in = at[i] * w->stride[i] - w->pad_begin[i] + tap[i] * w->dilation[i];

        if (in < 0 || in >= w->in[i]) {
            return -1;
        }
        offset = (offset + in) * w->in[i + 1];
    }
    return offset;
}

static void fold_max(double *out, double *where, const double *from, int64_t step, int64_t count,
                     double offset)
{
    for (int64_t j = 0; j < count; j++) {
        double x = from[j * step];

        if (x > out[j] || x != x) {
            out[j] = x;
            where[j] = offset + (double)(j * step);
        }
    }
}

static void fold_values(const pool *p, double *out, const double *from, int64_t step, int64_t count)
{
    if (p->kind == POOL_AVERAGE || p->power == 1.0) {
        bool absolute = p->kind == POOL_LP;

        for (int64_t j = 0; j < count; j++) {
            out[j] += absolute ? fabs(from[j * step]) : from[j * step];
        }
    } else if (p->power == 2.0) {
        for (int64_t j = 0; j < count; j++) {
            out[j] += from[j * step] * from[j * step];
        }
    } else {
        for (int64_t j = 0; j < count; j++) {
            out[j] += pow(fabs(from[j * step]), p->power);
        }
    }
}

/* Folds everything that the window sees into `out`. */
static void fold_plane(const pool *p, const double *plane, double *out, double *where)
{
    const window *w = &p->w;
    int last = w->rank - 1;
    int64_t width = w->out[last];
    int64_t tap[WINDOW_MOST_AXES] = {0};

    for (int64_t t = 0; t < p->taps; t++, advance(tap, w->kernel, w->rank)) {
        int64_t at[WINDOW_MOST_AXES] = {0};
        int64_t begin;
        int64_t end;

        inner_range(w, tap[last], &begin, &end);
        for (int64_t row = 0; row < p->out_size; row += width, advance(at, w->out, last)) {
            int64_t from = row_offset(w, at, tap);

            if (from < 0 || begin >= end) {
                continue;
            }
            from += begin * w->stride[last] + tap[last] * w->dilation[last] - w->pad_begin[last];
            if (p->kind == POOL_MAX) {
                fold_max(out + row + begin, where + row + begin, plane + from, w->stride[last],
                         end - begin, (double)from);
            } else {
                fold_values(p, out + row + begin, plane + from, w->stride[last], end - begin);
            }
        }
    }
}

/* Positions of the window at result index `at` on one axis that count for the mean. */
static int64_t axis_count(const pool *p, int axis, int64_t at)
{
    const window *w = &p->w;
    int64_t first = at * w->stride[axis] - w->pad_begin[axis];
    int64_t low = p->count_pads ? -w->pad_begin[axis] : 0;
    int64_t high = w->in[axis] + (p->count_pads ? w->pad_end[axis] : 0);
    int64_t count = 0;

    for (int64_t k = 0; k < w->kernel[axis]; k++) {
        int64_t in = first + k * w->dilation[axis];

        count += in >= low && in < high;
    }
    return count;
}

static void divide_plane(const pool *p, double *out)
{
    const window *w = &p->w;
    int last = w->rank - 1;
    int64_t at[WINDOW_MOST_AXES] = {0};

    for (int64_t row = 0; row < p->out_size; row += w->out[last], advance(at, w->out, last)) {
        int64_t rows = 1;

        for (int i = 0; i < last; i++) {
            rows *= axis_count(p, i, at[i]);
        }
        for (int64_t j = 0; j < w->out[last]; j++) {
            out[row + j] /= (double)(rows * axis_count(p, last, j));
        }
    }
}

/* Offsets in the plane to indices into the whole input. */
static void write_indices(const pool *p, int64_t plane, double *where)
{
    const window *w = &p->w;

    for (int64_t i = 0; i < p->out_size; i++) {
        int64_t rest = (int64_t)where[i];
        int64_t index = p->by_columns ? 0 : rest;

        for (int d = w->rank - 1; d >= 0 && p->by_columns; d--) {
            int64_t step = 1;

            for (int e = 0; e < d; e++) {
                step *= w->in[e];
            }
            index += rest % w->in[d] * step;
            rest /= w->in[d];
        }
        index += plane * p->in_size;
        convert_write_i64(p->indices, plane * p->out_size + i, 1, &index);
    }
}

static void run_planes(void *context, int64_t begin, int64_t end, int worker)
{
    const pool *p = context;
    double *in = p->room + worker * (p->in_size + 2 * p->out_size);
    double *out = in + p->in_size;
    double *where = out + p->out_size;

    for (int64_t plane = begin; plane < end; plane++) {
        convert_read_f64(p->x, plane * p->in_size, p->in_size, in);
        for (int64_t i = 0; i < p->out_size; i++) {
            out[i] = p->kind == POOL_MAX ? -INFINITY : 0.0;
            where[i] = 0.0;
        }
        fold_plane(p, in, out, where);
        if (p->kind == POOL_AVERAGE) {
            divide_plane(p, out);
        }
        for (int64_t i = 0; i < p->out_size && p->kind == POOL_LP; i++) {
            out[i] = pow(out[i], 1.0 / p->power);
        }
        if (p->y != NULL) {
            convert_write_f64(p->y, plane * p->out_size, p->out_size, out);
        }
        if (p->indices != NULL) {
            write_indices(p, plane, where);
        }
    }
}

/* Pools all planes; the window, kind, input and outputs are set. */
static spry_status run_over_planes(op_call *call, pool *p)
{
    int64_t planes = p->x->shape[0] * p->x->shape[1];
    void *memory = NULL;
    spry_status status;

    p->taps = 1;
    p->in_size = 1;
    p->out_size = 1;
    for (int i = 0; i < p->w.rank; i++) {
        if (!checked_mul_i64(p->taps, p->w.kernel[i], &p->taps) ||
            p->taps > LIMIT_TENSOR_DIMENSION) {
            return op_call_fail(call, SPRY_LIMIT, "the window is too large");
        }
        p->in_size *= p->w.in[i];
        p->out_size *= p->w.out[i];
    }
    if (planes == 0 || p->out_size == 0) {
        return SPRY_OK;
    }
    status = whole_room(call, p->in_size + 2 * p->out_size, threads_count(call->team),
                        sizeof(double), &memory);
    if (status == SPRY_OK) {
        p->room = memory;
        threads_for(call->team, planes, 1, run_planes, p);
    }
    return status;
}

/* ---- operators ---- */

static const pool_kind pool_max = POOL_MAX;
static const pool_kind pool_average = POOL_AVERAGE;
static const pool_kind pool_lp = POOL_LP;

static spry_status read_power(op_call *call, pool *p)
{
    int64_t power = graph_attribute_int(call->node, "p", 2);

    p->power = (double)power;
    return power > 0 ? SPRY_OK
                     : op_call_fail(call, SPRY_BAD_INPUT, "the norm's order p must be positive");
}

static spry_status run_pool(op_call *call)
{
    const op *o = op_of_node(call->node);
    const tensor *x = op_call_input(call, 0);
    bool ceil_mode = graph_attribute_int(call->node, "ceil_mode", 0) != 0;
    int64_t count = 0;
    const int64_t *kernel = graph_attribute_ints(call->node, "kernel_shape", &count);
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    const char *reason;
    pool p = {.kind = *(const pool_kind *)o->detail, .x = x};
    spry_status status = read_power(call, &p);

    if (status != SPRY_OK) {
        return status;
    }
    if (x == NULL || kernel == NULL || x->rank < 3 || count != x->rank - 2) {
        return op_call_fail(call, SPRY_BAD_INPUT, "kernel_shape does not fit the input");
    }
    if (!window_from_node(call->node, x->rank - 2, x->shape + 2, kernel, ceil_mode, &p.w,
                          &reason)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "%s", reason);
    }
    memcpy(shape, x->shape, 2 * sizeof *shape);
    memcpy(shape + 2, p.w.out, (size_t)p.w.rank * sizeof *shape);
    p.count_pads = graph_attribute_int(call->node, "count_include_pad", 0) != 0;
    p.by_columns = graph_attribute_int(call->node, "storage_order", 0) != 0;
    status = op_call_output(call, 0, x->dtype, x->rank, shape, &p.y);
    if (status == SPRY_OK && p.kind == POOL_MAX) {
        status = op_call_output(call, 1, SPRY_DTYPE_I64, x->rank, shape, &p.indices);
    }
    return status == SPRY_OK ? run_over_planes(call, &p) : status;
}

/* ---- global pooling ---- */

static void average_planes(void *context, int64_t begin, int64_t end, int worker)
{
    const pool *p = context;
    const elementwise_f32_kernel *kernel = elementwise_f32_select();
    const float *x = p->x->data;
    float *y = p->y->data;
    int64_t size = p->w.in[0];

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        y[i] = (float)(kernel->sum(x + i * size, size) / (double)size);
    }
}

/* The window is the whole plane, whatever its rank: one long axis. */
static spry_status run_global(op_call *call)
{
    const op *o = op_of_node(call->node);
    const tensor *x = op_call_input(call, 0);
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    pool p = {.kind = *(const pool_kind *)o->detail, .x = x, .w = {.rank = 1}};
    spry_status status = read_power(call, &p);

    if (status == SPRY_OK && (x == NULL || x->rank < 2)) {
        status = op_call_fail(call, SPRY_BAD_INPUT, "the input needs a batch and a channel axis");
    }
    if (status != SPRY_OK) {
        return status;
    }
    for (int i = 0; i < x->rank; i++) {
        shape[i] = i < 2 ? x->shape[i] : 1;
    }
    p.w.in[0] = p.w.kernel[0] = tensor_span(x, 2, x->rank);
    p.w.out[0] = p.w.stride[0] = p.w.dilation[0] = 1;
    status = op_call_output(call, 0, x->dtype, x->rank, shape, &p.y);
    if (status != SPRY_OK || p.y == NULL) {
        return status;
    }
    if (p.kind == POOL_AVERAGE && x->dtype == SPRY_DTYPE_F32 && p.w.in[0] > 0) {
        threads_for(call->team, x->shape[0] * x->shape[1], 16384 / p.w.in[0] + 1, average_planes,
                    &p);
        return SPRY_OK;
    }
    return run_over_planes(call, &p);
}

/* ---- MaxUnpool ---- */

/* Sizes that the pooled input must have had: shape[0..rank). -1 where unknown. */
static bool unpooled_shape(const graph_node *node, int rank, const int64_t *in, int64_t *shape)
{
    int64_t count[3] = {0};
    const int64_t *kernel = graph_attribute_ints(node, "kernel_shape", &count[0]);
    const int64_t *strides = graph_attribute_ints(node, "strides", &count[1]);
    const int64_t *pads = graph_attribute_ints(node, "pads", &count[2]);

    if (rank < 3 || kernel == NULL || count[0] != rank - 2 ||
        (strides != NULL && count[1] != rank - 2) || (pads != NULL && count[2] != 2 * (rank - 2))) {
        return false;
    }
    for (int i = 0; i < rank; i++) {
        shape[i] = in[i];
        if (i >= 2 && in[i] >= 0) {
            int64_t stride = strides != NULL ? strides[i - 2] : 1;
            int64_t before = pads != NULL ? pads[i - 2] : 0;
            int64_t after = pads != NULL ? pads[rank - 2 + i - 2] : 0;

            if (stride < 1 || stride > INT32_MAX || kernel[i - 2] < 1 ||
                kernel[i - 2] > INT32_MAX || before < 0 || before > INT32_MAX || after < 0 ||
                after > INT32_MAX) {
                return false;
            }
            shape[i] = (in[i] - 1) * stride + kernel[i - 2] - before - after;
            if (shape[i] < 0) {
                return false;
            }
        }
    }
    return true;
}

static spry_status infer_unpool(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    int64_t in[SPRY_TENSOR_MAX_RANK];
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    bool given = op_shapes_input(s, 2) != NULL;
    int count = -1;
    spry_status status;

    if (x == NULL) {
        return operand_unranked(s, 0, operand_dtype(s, 0));
    }
    for (int i = 0; i < x->rank; i++) {
        in[i] = x->dims[i].size;
    }
    if (!unpooled_shape(s->node, x->rank, in, shape)) {
        return op_shapes_fail(s, "kernel_shape, strides and pads do not fit the input");
    }
    if (given) {
        status = op_shapes_ints(s, 2, shape, x->rank, &count);
        if (status != SPRY_OK) {
            return status;
        }
    }
    for (int i = 0; i < x->rank; i++) {
        dims[i] = given && count != x->rank ? operand_unknown : (graph_dim){.size = shape[i]};
        if (dims[i].size < 0 && i < 2) {
            dims[i] = x->dims[i];
        }
    }
    op_shapes_set(s, 0, x->dtype, x->rank, dims);
    return SPRY_OK;
}

/* Where an index into a tensor of `shape` lies in a larger tensor `y`; -1 when outside. */
static int64_t relocate(int64_t index, const int64_t *shape, const tensor *y)
{
    int64_t offset = 0;
    int64_t step = 1;

    for (int d = y->rank - 1; d >= 0; d--) {
        int64_t at = shape[d] > 0 ? index % shape[d] : 0;

        if (at < 0 || at >= y->shape[d]) {
            return -1;
        }
        offset += at * step;
        step *= y->shape[d];
        index /= shape[d] > 0 ? shape[d] : 1;
    }
    return index == 0 ? offset : -1;
}

static spry_status run_unpool(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    const tensor *indices = op_call_input(call, 1);
    int64_t pooled[SPRY_TENSOR_MAX_RANK];
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int count;
    tensor *y = NULL;
    spry_status status;

    if (x == NULL || indices == NULL || !tensor_same_shape(x, indices) ||
        !unpooled_shape(call->node, x->rank, x->shape, pooled)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "indices and attributes must fit the input");
    }
    status = op_call_ints(call, 2, shape, x->rank, &count);
    if (status == SPRY_OK && count >= 0 && count != x->rank) {
        status = op_call_fail(call, SPRY_BAD_INPUT, "output_shape needs one number per axis");
    }
    if (status == SPRY_OK) {
        status = op_call_output(call, 0, x->dtype, x->rank, count < 0 ? pooled : shape, &y);
    }
    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    memset(y->data, 0, y->bytes);
    for (int64_t i = 0; i < tensor_count(x); i++) {
        int64_t at = relocate(convert_get_i64(indices, i), pooled, y);
        double number = convert_get_f64(x, i);

        if (at < 0) {
            return op_call_fail(call, SPRY_BAD_INPUT, "an index lies outside the result");
        }
        convert_write_f64(y, at, 1, &number);
    }
    return SPRY_OK;
}

#define POOL(NAME, SINCE, OUTPUTS, TYPES, INFER, RUN, COST, DETAIL)                       \
    {                                                                                     \
        .name = (NAME), .domain = "", .since = (SINCE), .min_inputs = 1, .max_inputs = 1, \
        .min_outputs = 1, .max_outputs = (OUTPUTS), .types = {TYPES}, .infer = (INFER),   \
        .run = (RUN), .cost = (COST), .detail = (DETAIL)                                  \
    }
#define BYTES (1u << SPRY_DTYPE_I8 | 1u << SPRY_DTYPE_U8)

/* clang-format off */
const op ops_pool[] = {
    POOL("AveragePool", 1, 1, OP_FLOATS, infer_pool, run_pool, pool_cost, &pool_average),
    POOL("GlobalAveragePool", 1, 1, OP_FLOATS, infer_global, run_global, global_cost,
         &pool_average),
    POOL("GlobalLpPool", 2, 1, OP_FLOATS, infer_global, run_global, global_cost, &pool_lp),
    POOL("GlobalMaxPool", 1, 1, OP_FLOATS, infer_global, run_global, global_cost, &pool_max),
    POOL("LpPool", 2, 1, OP_FLOATS, infer_pool, run_pool, pool_cost, &pool_lp),
    POOL("MaxPool", 1, 2, OP_FLOATS | BYTES, infer_pool, run_pool, pool_cost, &pool_max),
    {.name = "MaxUnpool", .domain = "", .since = 9, .min_inputs = 2, .max_inputs = 3,
     .min_outputs = 1, .max_outputs = 1,
     .types = {OP_FLOATS, 1u << SPRY_DTYPE_I64, 1u << SPRY_DTYPE_I64},
     .infer = infer_unpool, .run = run_unpool},
    {.name = NULL},
};
/* clang-format on */
