/* Operators of the backward pass that the standard lacks, in the domain "ai.spry":
 *
 *     SumTo(x, shape)                      what broadcasting from `shape` to x repeated, added up
 *     GatherGradient(dy, indices, size)    dx of Gather(x, indices) along an axis of `size`
 *     GateGradient(x, dy)                  dy where `low` < x < `high` (with both, where `closed`)
 *     NormalizationGradient(x, g)          dx and n(x), where g is the derivative by n(x)
 *
 * Graphs that hold them are made by train/gradient/gradient.c and are run, not written. Sums run in
 * the order of the elements, whatever the number of threads. */
#include <math.h>
#include <string.h>

#include "ops/broadcast.h"
#include "ops/families.h"
#include "ops/lines.h"
#include "ops/move.h"
#include "ops/operand.h"
#include "ops/whole.h"

#define REAL (1u << SPRY_DTYPE_F32 | 1u << SPRY_DTYPE_F64)

/* ---- SumTo ---- */

static spry_status infer_sum_to(op_shapes *s)
{
    graph_dim room[OPERAND_CONTENTS];
    int32_t count;
    const graph_dim *dims = operand_integers(s, 1, room, &count);
    const graph_type *shape = op_shapes_ranked(s, 1);
    graph_dim unknown[SPRY_TENSOR_MAX_RANK];

    if (dims != NULL && count <= SPRY_TENSOR_MAX_RANK) {
        op_shapes_set(s, 0, operand_dtype(s, 0), (int)count, dims);
        return SPRY_OK;
    }
    if (shape == NULL || shape->rank != 1 || shape->dims[0].size < 0 ||
        shape->dims[0].size > SPRY_TENSOR_MAX_RANK) {
        return operand_unranked(s, 0, operand_dtype(s, 0));
    }
    for (int i = 0; i < SPRY_TENSOR_MAX_RANK; i++) {
        unknown[i] = operand_unknown;
    }
    op_shapes_set(s, 0, operand_dtype(s, 0), (int)shape->dims[0].size, unknown);
    return SPRY_OK;
}

typedef struct sum_to {
    const tensor *x;
    tensor *y;
    int kept_rank, gone_rank; /* axes of x that y has, and that are added up */
    int64_t kept[SPRY_TENSOR_MAX_RANK], kept_stride[SPRY_TENSOR_MAX_RANK];
    int64_t gone[SPRY_TENSOR_MAX_RANK], gone_stride[SPRY_TENSOR_MAX_RANK];
    int64_t gone_count;
} sum_to;

static int64_t offset_of(int64_t index, int rank, const int64_t *sizes, const int64_t *strides)
{
    int64_t offset = 0;

    for (int i = rank - 1; i >= 0; i--) {
        offset += index % sizes[i] * strides[i];
        index /= sizes[i];
    }
    return offset;
}

static void sum_pieces(void *context, int64_t begin, int64_t end, int worker)
{
    const sum_to *t = context;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t from = offset_of(i, t->kept_rank, t->kept, t->kept_stride);
        double sum = 0.0;

        for (int64_t k = 0; k < t->gone_count; k++) {
            sum +=
                convert_get_f64(t->x, from + offset_of(k, t->gone_rank, t->gone, t->gone_stride));
        }
        convert_write_f64(t->y, i, 1, &sum);
    }
}

static spry_status run_sum_to(op_call *call)
{
    sum_to t = {.x = op_call_input(call, 0), .gone_count = 1};
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int64_t stride[SPRY_TENSOR_MAX_RANK];
    int rank;
    spry_status status = op_call_ints(call, 1, shape, SPRY_TENSOR_MAX_RANK, &rank);

    if (status == SPRY_OK && (t.x == NULL || rank < 0 || rank > t.x->rank)) {
        status = op_call_fail(call, SPRY_BAD_INPUT, "the shape does not fit the data");
    }
    if (status != SPRY_OK) {
        return status;
    }
    move_dense_strides(t.x->rank, t.x->shape, stride);
    for (int d = 0; d < t.x->rank; d++) {
        int at = d - (t.x->rank - rank);
        int64_t size = t.x->shape[d];

        if (at >= 0 && shape[at] == size) {
            t.kept[t.kept_rank] = size;
            t.kept_stride[t.kept_rank++] = stride[d];
        } else if (at < 0 || shape[at] == 1) {
            t.gone[t.gone_rank] = size;
            t.gone_stride[t.gone_rank++] = stride[d];
            t.gone_count *= size;
        } else {
            return op_call_fail(call, SPRY_BAD_INPUT, "axis %d of the shape does not broadcast",
                                at);
        }
    }
    status = op_call_output(call, 0, t.x->dtype, rank, shape, &t.y);
    if (status == SPRY_OK && t.y != NULL && t.gone_count == 1) {
        memcpy(t.y->data, t.x->data, t.x->bytes);
    } else if (status == SPRY_OK && t.y != NULL) {
        threads_for(call->team, tensor_count(t.y), lines_grain(t.gone_count, BROADCAST_GRAIN / 4),
                    sum_pieces, &t);
    }
    return status;
}

/* ---- GatherGradient ---- */

static spry_status infer_gather_gradient(op_shapes *s)
{
    const graph_type *dy = op_shapes_ranked(s, 0);
    const graph_type *indices = op_shapes_ranked(s, 1);
    int64_t axis = graph_attribute_int(s->node, "axis", 0);
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    int64_t size = -1;
    int count;
    int rank;
    spry_status status;

    if (dy == NULL || indices == NULL) {
        return operand_unranked(s, 0, operand_dtype(s, 0));
    }
    rank = dy->rank - indices->rank + 1;
    if (rank < 1 || rank > SPRY_TENSOR_MAX_RANK || axis < 0 || axis >= rank) {
        return op_shapes_fail(s, "the axis or the indices do not fit the data");
    }
    status = op_shapes_ints(s, 2, &size, 1, &count);
    if (status != SPRY_OK) {
        return status;
    }
    for (int i = 0; i < rank; i++) {
        dims[i] = i < axis   ? dy->dims[i]
                  : i > axis ? dy->dims[i + indices->rank - 1]
                             : operand_unknown;
    }
    if (count == 1 && size >= 0) {
        dims[axis].size = size;
    }
    op_shapes_set(s, 0, dy->dtype, rank, dims);
    return SPRY_OK;
}

enum { GATHER_COLUMNS = 256 }; /* elements after the axis that one piece of work takes */

typedef struct gather_gradient {
    const tensor *dy;
    tensor *dx;
    const int64_t *indices;
    int64_t count, size, inner; /* indices; of the axis; elements after it */
    int64_t columns;            /* pieces that `inner` is cut into */
} gather_gradient;

/* Adds every line that was taken from a place to that place, first to last. */
static void add_lines(void *context, int64_t begin, int64_t end, int worker)
{
    const gather_gradient *t = context;

    (void)worker;
    for (int64_t piece = begin; piece < end; piece++) {
        int64_t outer = piece / t->columns;
        int64_t first = piece % t->columns * GATHER_COLUMNS;
        int64_t width = t->inner - first < GATHER_COLUMNS ? t->inner - first : GATHER_COLUMNS;

        for (int64_t k = 0; k < t->count; k++) {
            int64_t from = (outer * t->count + k) * t->inner + first;
            int64_t to = (outer * t->size + t->indices[k]) * t->inner + first;

            if (t->dx->dtype == SPRY_DTYPE_F32) {
                const float *a = (const float *)t->dy->data + from;
                float *b = (float *)t->dx->data + to;

                for (int64_t i = 0; i < width; i++) {
                    b[i] += a[i];
                }
            } else {
                const double *a = (const double *)t->dy->data + from;
                double *b = (double *)t->dx->data + to;

                for (int64_t i = 0; i < width; i++) {
                    b[i] += a[i];
                }
            }
        }
    }
}

static spry_status run_gather_gradient(op_call *call)
{
    const tensor *indices = op_call_input(call, 1);
    gather_gradient t = {.dy = op_call_input(call, 0)};
    int64_t axis = graph_attribute_int(call->node, "axis", 0);
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int64_t *found = NULL;
    int given;
    int rank;
    spry_status status = op_call_ints(call, 2, &t.size, 1, &given);

    if (status == SPRY_OK && (t.dy == NULL || indices == NULL || given != 1 || t.size < 0)) {
        status = op_call_fail(call, SPRY_BAD_INPUT, "data, indices or size are missing");
    }
    if (status != SPRY_OK) {
        return status;
    }
    rank = t.dy->rank - indices->rank + 1;
    if (rank < 1 || rank > SPRY_TENSOR_MAX_RANK || axis < 0 || axis >= rank ||
        tensor_span(t.dy, (int)axis, (int)axis + indices->rank) != tensor_count(indices)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the axis or the indices do not fit the data");
    }
    for (int i = 0; i < rank; i++) {
        shape[i] = t.dy->shape[i <= axis ? i : i + indices->rank - 1];
    }
    shape[axis] = t.size;
    status = operand_indices(call, 1, t.size, &found);
    if (status == SPRY_OK) {
        status = op_call_output(call, 0, t.dy->dtype, rank, shape, &t.dx);
    }
    if (status != SPRY_OK || t.dx == NULL) {
        return status;
    }
    memset(t.dx->data, 0, t.dx->bytes);
    t.indices = found;
    t.count = tensor_count(indices);
    t.inner = tensor_span(t.dx, (int)axis + 1, rank);
    t.columns = (t.inner + GATHER_COLUMNS - 1) / GATHER_COLUMNS;
    threads_for(call->team, tensor_span(t.dx, 0, (int)axis) * t.columns,
                lines_grain(t.count, BROADCAST_GRAIN / GATHER_COLUMNS), add_lines, &t);
    return SPRY_OK;
}

/* ---- GateGradient ---- */

typedef struct gate {
    const tensor *x, *dy;
    tensor *to;
    double low, high;
    bool closed;
} gate;

/* The open range of floats that holds the same numbers as a closed one. */
static void widen_f32(const gate *t, float *low, float *high)
{
    *low = (float)t->low;
    *high = (float)t->high;
    if (t->closed) {
        *low = nextafterf(*low, -INFINITY);
        *high = nextafterf(*high, INFINITY);
    }
}

/* A block at a time through memory of its own: loops of a known length without aliases become
 * vector code, and the result may overwrite an input. */
static void gate_f32(const gate *t, int64_t start, int64_t n, float low, float high)
{
    float x[CONVERT_BLOCK] = {0};
    float dy[CONVERT_BLOCK] = {0};

    memcpy(x, (const float *)t->x->data + start, (size_t)n * sizeof *x);
    memcpy(dy, (const float *)t->dy->data + start, (size_t)n * sizeof *dy);
    for (int i = 0; i < CONVERT_BLOCK; i++) {
        dy[i] = x[i] > low && x[i] < high ? dy[i] : 0.0f;
    }
    memcpy((float *)t->to->data + start, dy, (size_t)n * sizeof *dy);
}

static void gate_f64(const gate *t, int64_t start, int64_t n)
{
    const double *x = (const double *)t->x->data + start;
    const double *dy = (const double *)t->dy->data + start;
    double *to = (double *)t->to->data + start;

    for (int64_t i = 0; i < n; i++) {
        bool inside =
            t->closed ? x[i] >= t->low && x[i] <= t->high : x[i] > t->low && x[i] < t->high;

        to[i] = inside ? dy[i] : 0.0;
    }
}

static void gate_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const gate *t = context;
    float low;
    float high;

    (void)worker;
    widen_f32(t, &low, &high);
    for (int64_t start = begin; start < end; start += CONVERT_BLOCK) {
        int64_t n = end - start < CONVERT_BLOCK ? end - start : CONVERT_BLOCK;

        if (t->x->dtype == SPRY_DTYPE_F32) {
            gate_f32(t, start, n, low, high);
        } else {
            gate_f64(t, start, n);
        }
    }
}

static spry_status run_gate_gradient(op_call *call)
{
    gate t = {.x = op_call_input(call, 0),
              .dy = op_call_input(call, 1),
              .low = (double)graph_attribute_float(call->node, "low", -INFINITY),
              .high = (double)graph_attribute_float(call->node, "high", INFINITY),
              .closed = graph_attribute_int(call->node, "closed", 0) != 0};
    spry_status status;

    if (t.x == NULL || t.dy == NULL || !tensor_same_shape(t.x, t.dy) || t.x->dtype != t.dy->dtype) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the inputs differ in shape or type");
    }
    status = op_call_output_like(call, 0, t.x->dtype, t.x, &t.to);
    if (status == SPRY_OK && t.to != NULL) {
        threads_for(call->team, tensor_count(t.x), BROADCAST_GRAIN, gate_piece, &t);
    }
    return status;
}

/* ---- NormalizationGradient ---- */

static spry_status infer_normalization_gradient(op_shapes *s)
{
    op_shapes_copy(s, 0, 0);
    op_shapes_copy(s, 1, 0);
    return SPRY_OK;
}

typedef struct normalization_gradient {
    const tensor *x, *g;
    tensor *dx, *n; /* may be NULL */
    int64_t size;
    double epsilon;
    bool centred;
    double *room; /* 2 * size per worker */
} normalization_gradient;

/* x becomes n(x); returns what it was multiplied by. */
static double normalise(const normalization_gradient *t, double *x)
{
    double mean = 0.0;
    double squares = 0.0;
    double inverse;

    for (int64_t i = 0; i < t->size && t->centred; i++) {
        mean += x[i];
    }
    mean /= (double)t->size;
    for (int64_t i = 0; i < t->size; i++) {
        squares += (x[i] - mean) * (x[i] - mean);
    }
    inverse = 1.0 / sqrt(squares / (double)t->size + t->epsilon);
    for (int64_t i = 0; i < t->size; i++) {
        x[i] = (x[i] - mean) * inverse;
    }
    return inverse;
}

/* dx = inverse (g - mean(g) - n mean(g n)), the first mean only where x was centred. */
static void normalization_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const normalization_gradient *t = context;
    double *n = t->room + worker * 2 * t->size;
    double *g = n + t->size;

    for (int64_t row = begin; row < end; row++) {
        double inverse;
        double sum = 0.0;
        double product = 0.0;

        convert_read_f64(t->x, row * t->size, t->size, n);
        convert_read_f64(t->g, row * t->size, t->size, g);
        inverse = normalise(t, n);
        for (int64_t i = 0; i < t->size; i++) {
            sum += g[i];
            product += g[i] * n[i];
        }
        sum = t->centred ? sum / (double)t->size : 0.0;
        product /= (double)t->size;
        for (int64_t i = 0; i < t->size; i++) {
            g[i] = inverse * (g[i] - sum - n[i] * product);
        }
        if (t->dx != NULL) {
            convert_write_f64(t->dx, row * t->size, t->size, g);
        }
        if (t->n != NULL) {
            convert_write_f64(t->n, row * t->size, t->size, n);
        }
    }
}

static spry_status run_normalization_gradient(op_call *call)
{
    normalization_gradient t = {
        .x = op_call_input(call, 0),
        .g = op_call_input(call, 1),
        .epsilon = (double)graph_attribute_float(call->node, "epsilon", 1e-5f),
        .centred = graph_attribute_int(call->node, "centred", 1) != 0,
    };
    void *memory = NULL;
    int axis;
    spry_status status;

    if (t.x == NULL || t.g == NULL || !tensor_same_shape(t.x, t.g) ||
        !op_normalize_axis(graph_attribute_int(call->node, "axis", -1), t.x->rank, &axis)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the inputs differ in shape, or lack the axis");
    }
    t.size = tensor_span(t.x, axis, t.x->rank);
    status = op_call_output_like(call, 0, t.x->dtype, t.x, &t.dx);
    if (status == SPRY_OK) {
        status = op_call_output_like(call, 1, t.x->dtype, t.x, &t.n);
    }
    if (status == SPRY_OK) {
        status = whole_room(call, 2 * t.size, threads_count(call->team), sizeof(double), &memory);
    }
    if (status == SPRY_OK) {
        t.room = memory;
        threads_for(call->team, tensor_span(t.x, 0, axis), 1 + 16384 / (t.size + 1),
                    normalization_rows, &t);
    }
    return status;
}

static void normalization_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    (void)macs;
    *flops = 12 * op_work_count(w->inputs[0]);
}

/* clang-format off */
const op ops_gradient[] = {
    {.name = "GateGradient", .domain = "ai.spry", .since = 1, .min_inputs = 2, .max_inputs = 2,
     .min_outputs = 1, .max_outputs = 1, .flags = OP_IN_PLACE, .types = {REAL, REAL},
     .infer = op_infer_same, .run = run_gate_gradient, .cost = broadcast_cost},
    {.name = "GatherGradient", .domain = "ai.spry", .since = 1, .min_inputs = 3, .max_inputs = 3,
     .min_outputs = 1, .max_outputs = 1, .types = {REAL, OP_INDEX, OP_INDEX},
     .infer = infer_gather_gradient, .run = run_gather_gradient},
    {.name = "NormalizationGradient", .domain = "ai.spry", .since = 1, .min_inputs = 2,
     .max_inputs = 2, .min_outputs = 1, .max_outputs = 2, .types = {REAL, REAL},
     .infer = infer_normalization_gradient, .run = run_normalization_gradient,
     .cost = normalization_cost},
    {.name = "SumTo", .domain = "ai.spry", .since = 1, .min_inputs = 2, .max_inputs = 2,
     .min_outputs = 1, .max_outputs = 1, .types = {REAL, OP_INDEX}, .infer = infer_sum_to,
     .run = run_sum_to},
    {.name = NULL},
};
/* clang-format on */
