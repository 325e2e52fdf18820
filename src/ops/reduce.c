/* Reductions over axes: sums, products, norms, extremes, and where the extremes are.
 *
 * The input is walked once per result element, in its order, with an f64 (or i64) accumulator (sums
 * of f32 rows: a vector kernel), so results do not depend on the number of threads. */
#include <math.h>

#include "kernels/elementwise/elementwise_f32.h"
#include "ops/broadcast.h"
#include "ops/families.h"
#include "ops/lines.h"

/* What is accumulated. Sums take function(x); everything is finished once. */
typedef enum reduce_kind {
    REDUCE_SUM,
    REDUCE_MEAN,
    REDUCE_MAX,
    REDUCE_MIN,
    REDUCE_PROD,
    REDUCE_L1,
    REDUCE_L2,
    REDUCE_LOG_SUM,
    REDUCE_LOG_SUM_EXP,
    REDUCE_SUM_SQUARE
} reduce_kind;

typedef struct reduce_row {
    reduce_kind kind;
    int axes_input; /* the axes are input 1, no longer an attribute */
} reduce_row;

/* Which axes go. */
typedef struct reduce_axes {
    bool gone[SPRY_TENSOR_MAX_RANK];
} reduce_axes;

typedef struct reduce {
    reduce_kind kind;
    const tensor *from;
    tensor *to;
    /* Kept and removed axes of the input, each with its stride in elements; neighbours merged. */
    int kept, gone;
    int64_t kept_shape[SPRY_TENSOR_MAX_RANK], kept_stride[SPRY_TENSOR_MAX_RANK];
    int64_t gone_shape[SPRY_TENSOR_MAX_RANK], gone_stride[SPRY_TENSOR_MAX_RANK];
    int64_t gone_count; /* elements behind one result */
} reduce;

/* ---- axes ---- */

/* False when an axis is out of range. */
static bool choose_axes(int rank, int64_t count, const int64_t *list, bool noop, reduce_axes *axes)
{
    for (int d = 0; d < rank; d++) {
        axes->gone[d] = count == 0 && !noop; /* noop: sums, norms... of single elements */
    }
    for (int64_t i = 0; i < count; i++) {
        int axis;

        if (!op_normalize_axis(list[i], rank, &axis)) {
            return false;
        }
        axes->gone[axis] = true;
    }
    return true;
}

static void push_axis(int *rank, int64_t *shape, int64_t *stride, int64_t n, int64_t step)
{
    if (n == 1) {
        return;
    }
    if (*rank > 0 && stride[*rank - 1] == n * step) {
        shape[*rank - 1] *= n;
        stride[*rank - 1] = step;
        return;
    }
    shape[*rank] = n;
    stride[(*rank)++] = step;
}

static void split_axes(reduce *r, const reduce_axes *axes)
{
    const tensor *t = r->from;

    r->gone_count = 1;
    for (int d = 0; d < t->rank; d++) {
        int64_t step = tensor_span(t, d + 1, t->rank);

        if (axes->gone[d]) {
            r->gone_count *= t->shape[d];
            push_axis(&r->gone, r->gone_shape, r->gone_stride, t->shape[d], step);
        } else {
            push_axis(&r->kept, r->kept_shape, r->kept_stride, t->shape[d], step);
        }
    }
}

/* Where position `index` of a merged index space lies. */
static int64_t offset_of(int rank, const int64_t *shape, const int64_t *stride, int64_t index)
{
    int64_t offset = 0;

    for (int d = rank - 1; d >= 0; d--) {
        offset += index % shape[d] * stride[d];
        index /= shape[d];
    }
    return offset;
}

/* ---- floats ---- */

typedef struct total {
    double sum;  /* or product, or extreme */
    double peak; /* log-sum-exp: the largest element so far */
} total;

static total start_of(reduce_kind kind)
{
    switch (kind) {
    case REDUCE_MAX: return (total){-(double)INFINITY, 0.0};
    case REDUCE_MIN: return (total){(double)INFINITY, 0.0};
    case REDUCE_PROD: return (total){1.0, 0.0};
    default: return (total){0.0, -(double)INFINITY};
    }
}

static double sum_of(const double *x, int64_t n)
{
    double parts[4] = {0.0, 0.0, 0.0, 0.0};
    int64_t i = 0;

    for (; i + 4 <= n; i += 4) {
        for (int k = 0; k < 4; k++) {
            parts[k] += x[i + k];
        }
    }
    for (; i < n; i++) {
        parts[0] += x[i];
    }
    return (parts[0] + parts[1]) + (parts[2] + parts[3]);
}

static void add_exponentials(total *t, const double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (x[i] > t->peak) {
            t->sum = t->sum * exp(t->peak - x[i]) + 1.0;
            t->peak = x[i];
        } else if (x[i] == t->peak && isinf(x[i])) {
            t->sum += x[i] > 0.0; /* infinity minus itself is no number */
        } else {
            t->sum += exp(x[i] - t->peak);
        }
    }
}

static void add_block(reduce_kind kind, total *t, double *x, int64_t n)
{
    switch (kind) {
    case REDUCE_MAX:
        for (int64_t i = 0; i < n; i++) {
            t->sum = x[i] > t->sum || x[i] != x[i] ? x[i] : t->sum;
        }
        return;
    case REDUCE_MIN:
        for (int64_t i = 0; i < n; i++) {
            t->sum = x[i] < t->sum || x[i] != x[i] ? x[i] : t->sum;
        }
        return;
    case REDUCE_PROD:
        for (int64_t i = 0; i < n; i++) {
            t->sum *= x[i];
        }
        return;
    case REDUCE_LOG_SUM_EXP: add_exponentials(t, x, n); return;
    case REDUCE_L1:
        for (int64_t i = 0; i < n; i++) {
            x[i] = fabs(x[i]);
        }
        break;
    case REDUCE_L2:
    case REDUCE_SUM_SQUARE:
        for (int64_t i = 0; i < n; i++) {
            x[i] *= x[i];
        }
        break;
    default: break;
    }
    t->sum += sum_of(x, n);
}

static double finish(reduce_kind kind, total t, int64_t count)
{
    switch (kind) {
    case REDUCE_MEAN: return t.sum / (double)count;
    case REDUCE_L2: return sqrt(t.sum);
    case REDUCE_LOG_SUM: return log(t.sum);
    case REDUCE_LOG_SUM_EXP: return isinf(t.peak) && t.sum == t.sum ? t.peak : t.peak + log(t.sum);
    default: return t.sum;
    }
}

static double reduce_one(const reduce *r, int64_t base)
{
    int last = r->gone - 1;
    int64_t row = r->gone == 0 ? r->gone_count : r->gone_shape[last];
    int64_t step = r->gone == 0 ? 1 : r->gone_stride[last];
    total t = start_of(r->kind);
    double block[CONVERT_BLOCK];

    for (int64_t done = 0; done < r->gone_count; done += row) {
        int64_t start =
            base + offset_of(last < 0 ? 0 : last, r->gone_shape, r->gone_stride, done / row);

        for (int64_t i = 0; i < row; i += CONVERT_BLOCK) {
            int64_t n = row - i < CONVERT_BLOCK ? row - i : CONVERT_BLOCK;

            lines_read_f64(r->from, start + i * step, step, n, block);
            add_block(r->kind, &t, block, n);
        }
    }
    return finish(r->kind, t, r->gone_count);
}

static void reduce_floats(void *context, int64_t begin, int64_t end, int worker)
{
    const reduce *r = context;

    (void)worker;
    for (int64_t k = begin; k < end; k++) {
        double result = reduce_one(r, offset_of(r->kept, r->kept_shape, r->kept_stride, k));

        convert_write_f64(r->to, k, 1, &result);
    }
}

/* Sums and means of f32 without gaps. */
static bool is_plain_sum(const reduce *r)
{
    return (r->kind == REDUCE_SUM || r->kind == REDUCE_MEAN) && r->from->dtype == SPRY_DTYPE_F32 &&
           r->gone == 1 && r->gone_stride[0] == 1;
}

static void sum_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const reduce *r = context;
    const elementwise_f32_kernel *kernel = elementwise_f32_select();
    const float *from = r->from->data;
    float *to = r->to->data;

    (void)worker;
    for (int64_t k = begin; k < end; k++) {
        int64_t base = offset_of(r->kept, r->kept_shape, r->kept_stride, k);

        to[k] = (float)finish(r->kind, (total){.sum = kernel->sum(from + base, r->gone_count)},
                              r->gone_count);
    }
}

/* ---- integers ---- */

static int64_t start_of_i64(reduce_kind kind, spry_dtype dtype)
{
    switch (kind) {
    case REDUCE_MAX: return dtype == SPRY_DTYPE_BOOL ? 0 : dtype_integer_min(dtype);
    case REDUCE_MIN:
        return dtype == SPRY_DTYPE_BOOL  ? 1
               : dtype == SPRY_DTYPE_U64 ? -1 /* all bits */
                                         : dtype_integer_max(dtype);
    case REDUCE_PROD: return 1;
    default: return 0;
    }
}

static int64_t combine_i64(reduce_kind kind, int64_t a, int64_t x, bool is_unsigned)
{
    uint64_t flip = is_unsigned ? (uint64_t)1 << 63 : 0;
    int64_t left = (int64_t)((uint64_t)a ^ flip);
    int64_t right = (int64_t)((uint64_t)x ^ flip);

    switch (kind) {
    case REDUCE_MAX: return right > left ? x : a;
    case REDUCE_MIN: return right < left ? x : a;
    case REDUCE_PROD: return (int64_t)((uint64_t)a * (uint64_t)x);
    case REDUCE_L1:
        x = is_unsigned || x >= 0 ? x : (int64_t)(0 - (uint64_t)x);
        return (int64_t)((uint64_t)a + (uint64_t)x);
    case REDUCE_SUM_SQUARE: return (int64_t)((uint64_t)a + (uint64_t)x * (uint64_t)x);
    default: return (int64_t)((uint64_t)a + (uint64_t)x);
    }
}

static void reduce_integers(void *context, int64_t begin, int64_t end, int worker)
{
    const reduce *r = context;
    bool is_unsigned = r->from->dtype == SPRY_DTYPE_U64;

    (void)worker;
    for (int64_t k = begin; k < end; k++) {
        int64_t base = offset_of(r->kept, r->kept_shape, r->kept_stride, k);
        int64_t result = start_of_i64(r->kind, r->from->dtype);

        for (int64_t i = 0; i < r->gone_count; i++) {
            int64_t x;

            convert_read_i64(r->from, base + offset_of(r->gone, r->gone_shape, r->gone_stride, i),
                             1, &x);
            result = combine_i64(r->kind, result, x, is_unsigned);
        }
        if (r->kind == REDUCE_MEAN && r->gone_count > 0) {
            result = is_unsigned ? (int64_t)((uint64_t)result / (uint64_t)r->gone_count)
                                 : result / r->gone_count;
        }
        convert_write_i64(r->to, k, 1, &result);
    }
}

/* Kinds whose result on integers is not an integer go through f64 and truncate. */
static bool computes_in_i64(reduce_kind kind, spry_dtype dtype)
{
    return dtype_class_of(dtype) != DTYPE_CLASS_FLOAT && kind != REDUCE_L2 &&
           kind != REDUCE_LOG_SUM && kind != REDUCE_LOG_SUM_EXP;
}

/* ---- the operators ---- */

static int result_shape(const tensor *t, const reduce_axes *axes, bool keep, int64_t *shape)
{
    int rank = 0;

    for (int d = 0; d < t->rank; d++) {
        if (!axes->gone[d]) {
            shape[rank++] = t->shape[d];
        } else if (keep) {
            shape[rank++] = 1;
        }
    }
    return rank;
}

static spry_status read_axes(op_call *call, const reduce_row *row, int rank, reduce_axes *axes)
{
    bool noop = graph_attribute_int(call->node, "noop_with_empty_axes", 0) != 0;
    int64_t room[SPRY_TENSOR_MAX_RANK];
    const int64_t *list = room;
    int64_t count;

    if (row->axes_input != 0) {
        int given;
        spry_status status = op_call_ints(call, 1, room, SPRY_TENSOR_MAX_RANK, &given);

        if (status != SPRY_OK) {
            return status;
        }
        count = given < 0 ? 0 : given;
    } else {
        list = graph_attribute_ints(call->node, "axes", &count);
    }
    return choose_axes(rank, count, list, noop, axes)
               ? SPRY_OK
               : op_call_fail(call, SPRY_BAD_INPUT, "an axis is outside the input's %d axes", rank);
}

static spry_status run_reduce(op_call *call)
{
    const reduce_row *row = op_of_node(call->node)->detail;
    reduce r = {.kind = row->kind, .from = op_call_input(call, 0)};
    reduce_axes axes;
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int rank;
    threads_body body = reduce_floats;
    spry_status status;

    if (r.from == NULL) {
        return op_call_fail(call, SPRY_BAD_INPUT, "input 0 is missing");
    }
    status = read_axes(call, row, r.from->rank, &axes);
    if (status != SPRY_OK) {
        return status;
    }
    rank = result_shape(r.from, &axes, graph_attribute_int(call->node, "keepdims", 1) != 0, shape);
    status = op_call_output(call, 0, r.from->dtype, rank, shape, &r.to);
    if (status != SPRY_OK || r.to == NULL) {
        return status;
    }
    split_axes(&r, &axes);
    if (computes_in_i64(r.kind, r.from->dtype)) {
        body = reduce_integers;
    } else if (is_plain_sum(&r)) {
        body = sum_rows;
    }
    threads_for(call->team, tensor_count(r.to), lines_grain(r.gone_count, BROADCAST_GRAIN), body,
                &r);
    return SPRY_OK;
}

static void set_reduced(op_shapes *s, const graph_type *x, const reduce_axes *axes, bool keep,
                        spry_dtype dtype)
{
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    int rank = 0;

    for (int d = 0; d < x->rank; d++) {
        if (!axes->gone[d]) {
            dims[rank++] = x->dims[d];
        } else if (keep) {
            dims[rank++] = (graph_dim){.size = 1};
        }
    }
    op_shapes_set(s, 0, dtype, rank, dims);
}

static spry_status infer_reduce(op_shapes *s)
{
    const reduce_row *row = op_of_node(s->node)->detail;
    const graph_type *x = op_shapes_ranked(s, 0);
    bool keep = graph_attribute_int(s->node, "keepdims", 1) != 0;
    bool noop = graph_attribute_int(s->node, "noop_with_empty_axes", 0) != 0;
    int64_t room[SPRY_TENSOR_MAX_RANK];
    const int64_t *list = room;
    int64_t count;
    reduce_axes axes;

    if (x == NULL) {
        return SPRY_OK;
    }
    if (row->axes_input != 0) {
        int given;
        spry_status status = op_shapes_ints(s, 1, room, SPRY_TENSOR_MAX_RANK, &given);

        if (status != SPRY_OK) {
            return status;
        }
        if (given < 0 && op_shapes_input(s, 1) != NULL) { /* known at run time only */
            graph_dim unknown[SPRY_TENSOR_MAX_RANK];

            for (int d = 0; d < x->rank; d++) {
                unknown[d] = (graph_dim){.size = -1};
            }
            if (keep) {
                op_shapes_set(s, 0, x->dtype, x->rank, unknown);
            } else {
                op_shapes_set_unranked(s, 0, x->dtype);
            }
            return SPRY_OK;
        }
        count = given < 0 ? 0 : given;
    } else {
        list = graph_attribute_ints(s->node, "axes", &count);
    }
    if (!choose_axes(x->rank, count, list, noop, &axes)) {
        return op_shapes_fail(s, "an axis is outside the input's %d axes", x->rank);
    }
    set_reduced(s, x, &axes, keep, x->dtype);
    return SPRY_OK;
}

/* One operation per element read. */
static void cost_reduce(const op_work *w, int64_t *macs, int64_t *flops)
{
    (void)macs;
    *flops += op_work_count(w->inputs[0]);
}

/* ---- ArgMax, ArgMin ---- */

typedef struct arg_row {
    bool smallest;
} arg_row;

typedef struct arg {
    const tensor *from;
    int64_t *to;
    lines along;
    bool smallest, last; /* of equal ones */
} arg;

static void arg_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const arg *a = context;
    bool integers = dtype_class_of(a->from->dtype) != DTYPE_CLASS_FLOAT;
    uint64_t flip = a->from->dtype == SPRY_DTYPE_U64 ? (uint64_t)1 << 63 : 0;

    (void)worker;
    for (int64_t k = begin; k < end; k++) {
        int64_t base = lines_start(&a->along, k);
        int64_t best_integer = 0;
        double best = 0.0;

        a->to[k] = 0;
        for (int64_t i = 0; i < a->along.length; i++) {
            int64_t at = base + i * a->along.inner;
            bool better;
            bool equal;

            if (integers) {
                int64_t x = (int64_t)((uint64_t)convert_get_i64(a->from, at) ^ flip);

                better = a->smallest ? x < best_integer : x > best_integer;
                equal = x == best_integer;
                best_integer = i == 0 || better ? x : best_integer;
            } else {
                double x = convert_get_f64(a->from, at);

                /* The first NaN wins, as in NumPy. */
                better = best == best && (x != x || (a->smallest ? x < best : x > best));
                equal = x == best;
                best = i == 0 || better ? x : best;
            }
            if (i > 0 && (better || (equal && a->last))) {
                a->to[k] = i;
            }
        }
    }
}

static spry_status run_arg(op_call *call)
{
    const arg_row *row = op_of_node(call->node)->detail;
    const tensor *x = op_call_input(call, 0);
    reduce_axes axes = {.gone = {false}};
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    arg a = {.from = x, .smallest = row->smallest};
    tensor *out;
    int axis;
    int rank;
    spry_status status;

    if (x == NULL ||
        !op_normalize_axis(graph_attribute_int(call->node, "axis", 0), x->rank, &axis)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the axis does not exist");
    }
    axes.gone[axis] = true;
    a.along = lines_along(x, axis);
    a.last = graph_attribute_int(call->node, "select_last_index", 0) != 0;
    rank = result_shape(x, &axes, graph_attribute_int(call->node, "keepdims", 1) != 0, shape);
    status = op_call_output(call, 0, SPRY_DTYPE_I64, rank, shape, &out);
    if (status != SPRY_OK || out == NULL) {
        return status;
    }
    if (a.along.length == 0 && tensor_count(out) > 0) {
        return op_call_fail(call, SPRY_BAD_INPUT, "there is no largest element of none");
    }
    a.to = out->data;
    threads_for(call->team, tensor_count(out), lines_grain(a.along.length, BROADCAST_GRAIN),
                arg_piece, &a);
    return SPRY_OK;
}

static spry_status infer_arg(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    reduce_axes axes = {.gone = {false}};
    int axis;

    if (x == NULL) {
        op_shapes_set_unranked(s, 0, SPRY_DTYPE_I64);
        return SPRY_OK;
    }
    if (!op_normalize_axis(graph_attribute_int(s->node, "axis", 0), x->rank, &axis)) {
        return op_shapes_fail(s, "the axis does not exist");
    }
    axes.gone[axis] = true;
    set_reduced(s, x, &axes, graph_attribute_int(s->node, "keepdims", 1) != 0, SPRY_DTYPE_I64);
    return SPRY_OK;
}

#define REDUCE_AT(NAME, SINCE, TYPES, KIND, AXES_INPUT)                                           \
    {                                                                                             \
        .name = (NAME), .domain = "", .since = (SINCE), .min_inputs = 1,                          \
        .max_inputs = 1 + (AXES_INPUT), .min_outputs = 1, .max_outputs = 1,                       \
        .types = {TYPES, (AXES_INPUT) != 0 ? 1u << SPRY_DTYPE_I64 : 0}, .infer = infer_reduce,    \
        .run = run_reduce, .cost = cost_reduce, .detail = &((const reduce_row){KIND, AXES_INPUT}) \
    }
/* The axes became an input: for sums in 13, for the others in 18. */
#define REDUCE(NAME, INPUT_SINCE, TYPES, KIND) \
    REDUCE_AT(NAME, 1, TYPES, KIND, 0), REDUCE_AT(NAME, INPUT_SINCE, TYPES, KIND, 1)
#define ARG(NAME, SMALLEST)                                                            \
    {                                                                                  \
        .name = (NAME), .domain = "", .since = 1, .min_inputs = 1, .max_inputs = 1,    \
        .min_outputs = 1, .max_outputs = 1, .types = {OP_NUMERIC}, .infer = infer_arg, \
        .run = run_arg, .cost = cost_reduce, .detail = &((const arg_row){SMALLEST})    \
    }

/* clang-format off */
const op ops_reduce[] = {
    ARG("ArgMax", false),
    ARG("ArgMin", true),
    REDUCE("ReduceL1", 18, OP_NUMERIC, REDUCE_L1),
    REDUCE("ReduceL2", 18, OP_NUMERIC, REDUCE_L2),
    REDUCE("ReduceLogSum", 18, OP_NUMERIC, REDUCE_LOG_SUM),
    REDUCE("ReduceLogSumExp", 18, OP_NUMERIC, REDUCE_LOG_SUM_EXP),
    REDUCE("ReduceMax", 18, OP_NUMERIC | OP_BOOL, REDUCE_MAX),
    REDUCE("ReduceMean", 18, OP_NUMERIC, REDUCE_MEAN),
    REDUCE("ReduceMin", 18, OP_NUMERIC | OP_BOOL, REDUCE_MIN),
    REDUCE("ReduceProd", 18, OP_NUMERIC, REDUCE_PROD),
    REDUCE("ReduceSum", 13, OP_NUMERIC, REDUCE_SUM),
    REDUCE("ReduceSumSquare", 18, OP_NUMERIC, REDUCE_SUM_SQUARE),
    {.name = NULL},
};
/* clang-format on */
