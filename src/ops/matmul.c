/* Products of matrices: MatMul, MatMulInteger, QLinearMatMul, Gemm. */
#include <string.h>

#include "base/checked.h"
#include "ops/broadcast.h"
#include "ops/families.h"
#include "ops/operand.h"
#include "ops/product.h"
#include "ops/whole.h"
#include "tensor/quantize.h"

/* ---- shapes of stacked products ---- */

/* The type of a product of `a` and `b` by NumPy's rule, as output 0. */
static spry_status infer_stacked(op_shapes *s, const graph_type *a, const graph_type *b,
                                 spry_dtype dtype)
{
    graph_type left = {.rank = 0};
    graph_type right = {.rank = 0};
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    graph_dim k;
    graph_dim l;
    int rank;
    spry_status status;

    if (a == NULL || b == NULL) {
        return operand_unranked(s, 0, dtype);
    }
    if (a->rank == 0 || b->rank == 0) {
        return op_shapes_fail(s, "operands of a matrix product need one dimension or more");
    }
    k = a->dims[a->rank - 1];
    l = b->dims[b->rank > 1 ? b->rank - 2 : 0];
    if (k.size >= 0 && l.size >= 0 && k.size != l.size) {
        return op_shapes_fail(s, "rows of %lld elements against columns of %lld", (long long)k.size,
                              (long long)l.size);
    }
    left.rank = a->rank > 2 ? a->rank - 2 : 0;
    right.rank = b->rank > 2 ? b->rank - 2 : 0;
    memcpy(left.dims, a->dims, (size_t)left.rank * sizeof *dims);
    memcpy(right.dims, b->dims, (size_t)right.rank * sizeof *dims);
    status = op_shapes_broadcast(s, &left, &right, dims, &rank);
    if (status != SPRY_OK) {
        return status;
    }
    if (a->rank > 1) {
        dims[rank++] = a->dims[a->rank - 2];
    }
    if (b->rank > 1) {
        dims[rank++] = b->dims[b->rank - 1];
    }
    op_shapes_set(s, 0, dtype, rank, dims);
    return SPRY_OK;
}

static spry_status infer_matmul(op_shapes *s)
{
    return infer_stacked(s, op_shapes_ranked(s, 0), op_shapes_ranked(s, 1), operand_dtype(s, 0));
}

static spry_status infer_matmul_integer(op_shapes *s)
{
    return infer_stacked(s, op_shapes_ranked(s, 0), op_shapes_ranked(s, 1), SPRY_DTYPE_I32);
}

static spry_status infer_qlinear_matmul(op_shapes *s)
{
    return infer_stacked(s, op_shapes_ranked(s, 0), op_shapes_ranked(s, 3), operand_dtype(s, 7));
}

static void stacked_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    const graph_type *a = w->inputs[0];

    *macs = op_work_count(w->outputs[0]) * (a->rank > 0 ? a->dims[a->rank - 1].size : 0);
    *flops = 2 * *macs;
}

/* ---- stacked products ---- */

typedef struct stack {
    product p;
    int rank; /* of the result */
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int64_t count; /* elements of the result */
} stack;

/* Offsets of the operands of each product, in elements of the whole operand. */
static void fill_offsets(const tensor *t, int64_t matrix, int rank, const int64_t *shape,
                         int64_t batch, int64_t *offsets)
{
    int own = t->rank > 2 ? t->rank - 2 : 0;

    for (int64_t i = 0; i < batch; i++) {
        int64_t rest = i;
        int64_t step = matrix;

        offsets[i] = 0;
        for (int d = rank - 1; d >= rank - own; d--) {
            int64_t size = t->shape[d - (rank - own)];

            offsets[i] += size == 1 ? 0 : rest % shape[d] * step;
            step *= size;
            rest /= shape[d];
        }
    }
}

/* Broadcasts the leading dimensions; false when they do not fit. */
static bool join_batch(const tensor *a, const tensor *b, stack *s)
{
    int from_a = a->rank > 2 ? a->rank - 2 : 0;
    int from_b = b->rank > 2 ? b->rank - 2 : 0;

    s->rank = from_a > from_b ? from_a : from_b;
    s->p.batch = 1;
    for (int d = 0; d < s->rank; d++) {
        int x = d - (s->rank - from_a);
        int y = d - (s->rank - from_b);
        int64_t m = x >= 0 ? a->shape[x] : 1;
        int64_t n = y >= 0 ? b->shape[y] : 1;

        if (m != n && m != 1 && n != 1) {
            return false;
        }
        s->shape[d] = m == 1 ? n : m;
        if (!checked_mul_i64(s->p.batch, s->shape[d], &s->p.batch)) {
            return false;
        }
    }
    return true;
}

/* The geometry of the product of `a` and `b`; operands and result are still to be set. */
static spry_status stack_init(op_call *call, const tensor *a, const tensor *b, stack *s)
{
    void *offsets = NULL;
    spry_status status;
    int rank;

    *s = (stack){.rank = 0};
    if (a == NULL || b == NULL || a->rank == 0 || b->rank == 0) {
        return op_call_fail(call, SPRY_BAD_INPUT,
                            "operands of a matrix product need one dimension or more");
    }
    s->p.k = a->shape[a->rank - 1];
    s->p.m = a->rank > 1 ? a->shape[a->rank - 2] : 1;
    s->p.n = b->rank > 1 ? b->shape[b->rank - 1] : 1;
    if (b->shape[b->rank > 1 ? b->rank - 2 : 0] != s->p.k || !join_batch(a, b, s)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "operands of the product do not fit");
    }
    status = whole_room(call, s->p.batch, 2, sizeof(int64_t), &offsets);
    if (status != SPRY_OK) {
        return status;
    }
    rank = s->rank;
    s->p.a_offset = offsets;
    s->p.b_offset = s->p.a_offset + s->p.batch;
    fill_offsets(a, s->p.m * s->p.k, rank, s->shape, s->p.batch, offsets);
    fill_offsets(b, s->p.n * s->p.k, rank, s->shape, s->p.batch, (int64_t *)offsets + s->p.batch);
    if (a->rank > 1) {
        s->shape[s->rank++] = s->p.m;
    }
    if (b->rank > 1) {
        s->shape[s->rank++] = s->p.n;
    }
    s->p.a_row = s->p.k;
    s->p.a_k = 1;
    s->p.b_k = s->p.n;
    s->p.b_column = 1;
    if (!checked_mul_i64(s->p.batch, s->p.m, &s->count) ||
        !checked_mul_i64(s->count, s->p.n, &s->count)) {
        return op_call_fail(call, SPRY_LIMIT, "the result is too large");
    }
    return SPRY_OK;
}

/* ---- a product in the type that `y` computes in, without what comes after ---- */

typedef enum hub { HUB_F32, HUB_F64, HUB_I64 } hub;

static hub hub_of(spry_dtype dtype)
{
    return broadcast_is_f32(dtype)                      ? HUB_F32
           : dtype_class_of(dtype) == DTYPE_CLASS_FLOAT ? HUB_F64
                                                        : HUB_I64;
}

/* Multiplies into `c`, or into scratch memory when c is NULL; p->c says where. */
static spry_status multiply(op_call *call, hub h, const tensor *a, const tensor *b, product *p,
                            int64_t count)
{
    const float *single[2] = {NULL, NULL};
    const double *wide[2] = {NULL, NULL};
    const int64_t *whole[2] = {NULL, NULL};
    spry_status status = SPRY_OK;

    if (p->c == NULL) {
        status = whole_room(call, count, 1, h == HUB_F32 ? sizeof(float) : sizeof(double), &p->c);
    }
    for (int i = 0; i < 2 && status == SPRY_OK; i++) {
        const tensor *t = i == 0 ? a : b;

        status = h == HUB_F32   ? whole_f32(call, t, &single[i])
                 : h == HUB_F64 ? whole_f64(call, t, &wide[i])
                                : whole_i64(call, t, &whole[i]);
    }
    if (status != SPRY_OK) {
        return status;
    }
    switch (h) {
    case HUB_F32:
        p->a = single[0];
        p->b = single[1];
        return product_f32(call, p);
    case HUB_F64:
        p->a = wide[0];
        p->b = wide[1];
        return product_f64(call, p);
    case HUB_I64: break;
    }
    p->a = whole[0];
    p->b = whole[1];
    return product_i64(call, p);
}

/* Results may be computed in place when the output has the type that is computed in. */
static bool is_hub(spry_dtype dtype)
{
    return dtype == SPRY_DTYPE_F32 || dtype == SPRY_DTYPE_F64 || dtype == SPRY_DTYPE_I64 ||
           dtype == SPRY_DTYPE_U64;
}

static void write_hub(hub h, tensor *y, int64_t count, const void *from)
{
    switch (h) {
    case HUB_F32: convert_write_f32(y, 0, count, from); break;
    case HUB_F64: convert_write_f64(y, 0, count, from); break;
    case HUB_I64: convert_write_i64(y, 0, count, from); break;
    }
}

static spry_status run_matmul(op_call *call)
{
    const tensor *a = op_call_input(call, 0);
    const tensor *b = op_call_input(call, 1);
    stack s;
    tensor *y = NULL;
    spry_status status = stack_init(call, a, b, &s);

    if (status == SPRY_OK) {
        status = op_call_output(call, 0, a->dtype, s.rank, s.shape, &y);
    }
    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    s.p.c = is_hub(y->dtype) ? y->data : NULL;
    status = multiply(call, hub_of(y->dtype), a, b, &s.p, s.count);
    if (status == SPRY_OK && !is_hub(y->dtype)) {
        write_hub(hub_of(y->dtype), y, s.count, s.p.c);
    }
    return status;
}

/* ---- quantised products ---- */

/* Scales and zero points: one for all, one per row (or column), or one per row of every product. */
typedef struct parameter {
    const tensor *t; /* NULL: zero */
    int64_t count;
    bool by_column;
} parameter;

static spry_status parameter_init(op_call *call, int input, bool by_column, const stack *s,
                                  parameter *p)
{
    const tensor *t = op_call_input(call, input);
    int64_t extent = by_column ? s->p.n : s->p.m;

    *p = (parameter){.t = t, .count = t != NULL ? tensor_count(t) : 1, .by_column = by_column};
    if (p->count != 1 && p->count != extent && p->count != extent * s->p.batch) {
        return op_call_fail(call, SPRY_BAD_INPUT,
                            "input %d must have one element, or one per row or column", input);
    }
    return SPRY_OK;
}

static int64_t parameter_index(const parameter *p, const stack *s, int64_t batch, int64_t row,
                               int64_t column)
{
    int64_t extent = p->by_column ? s->p.n : s->p.m;
    int64_t at = p->by_column ? column : row;

    return p->count == 1 ? 0 : p->count == extent ? at : batch * extent + at;
}

static int64_t parameter_i64(const parameter *p, const stack *s, int64_t batch, int64_t row,
                             int64_t column)
{
    return p->t != NULL ? convert_get_i64(p->t, parameter_index(p, s, batch, row, column)) : 0;
}

static float parameter_f32(const parameter *p, const stack *s, int64_t batch, int64_t row,
                           int64_t column)
{
    return (float)convert_get_f64(p->t, parameter_index(p, s, batch, row, column));
}

/* Copies of the operands of every product with zero points taken off. */
static spry_status centre(op_call *call, const tensor *t, const parameter *zero, const stack *s,
                          const int64_t *offsets, const int64_t **to, int64_t *own_offsets)
{
    bool by_column = zero->by_column;
    int64_t rows = by_column ? s->p.k : s->p.m;
    int64_t columns = by_column ? s->p.n : s->p.k;
    void *memory = NULL;
    int64_t *out;
    spry_status status = whole_room(call, rows * columns, s->p.batch, sizeof(int64_t), &memory);

    out = memory;
    *to = out;
    for (int64_t b = 0; b < s->p.batch && status == SPRY_OK; b++) {
        own_offsets[b] = b * rows * columns;
        for (int64_t i = 0; i < rows; i++) {
            int64_t *line = out + own_offsets[b] + i * columns;

            convert_read_i64(t, offsets[b] + i * columns, columns, line);
            for (int64_t j = 0; j < columns; j++) {
                line[j] -= parameter_i64(zero, s, b, i, j);
            }
        }
    }
    return status;
}

/* Exact integer product of a and b (inputs number `b_input` and the zero points) into s->p.c. */
static spry_status multiply_integers(op_call *call, stack *s, int b_input, int a_zero, int b_zero)
{
    parameter zero;
    const int64_t *a = NULL;
    const int64_t *b = NULL;
    void *offsets = NULL;
    spry_status status = whole_room(call, s->p.batch, 2, sizeof(int64_t), &offsets);
    int64_t *own = offsets;

    if (status == SPRY_OK) {
        status = parameter_init(call, a_zero, false, s, &zero);
    }
    if (status == SPRY_OK) {
        status = centre(call, op_call_input(call, 0), &zero, s, s->p.a_offset, &a, own);
    }
    if (status == SPRY_OK) {
        status = parameter_init(call, b_zero, true, s, &zero);
    }
    if (status == SPRY_OK) {
        status = centre(call, op_call_input(call, b_input), &zero, s, s->p.b_offset, &b,
                        own + s->p.batch);
    }
    if (status == SPRY_OK) {
        status = whole_room(call, s->count, 1, sizeof(int64_t), &s->p.c);
    }
    if (status != SPRY_OK) {
        return status;
    }
    s->p.a = a;
    s->p.b = b;
    s->p.a_offset = own;
    s->p.b_offset = own + s->p.batch;
    return product_i64(call, &s->p);
}

static spry_status run_matmul_integer(op_call *call)
{
    stack s;
    tensor *y = NULL;
    spry_status status = stack_init(call, op_call_input(call, 0), op_call_input(call, 1), &s);

    if (status == SPRY_OK) {
        status = op_call_output(call, 0, SPRY_DTYPE_I32, s.rank, s.shape, &y);
    }
    if (status == SPRY_OK && y != NULL) {
        status = multiply_integers(call, &s, 1, 2, 3);
        if (status == SPRY_OK) {
            convert_write_i64(y, 0, s.count, s.p.c);
        }
    }
    return status;
}

static void requantize(const stack *s, const parameter scales[3], const parameter *y_zero,
                       tensor *y)
{
    const int64_t *sums = s->p.c;

    for (int64_t i = 0; i < s->count; i++) {
        int64_t column = i % s->p.n;
        int64_t row = i / s->p.n % s->p.m;
        int64_t batch = i / (s->p.n * s->p.m);
        float multiplier = parameter_f32(&scales[0], s, batch, row, column) *
                           parameter_f32(&scales[1], s, batch, row, column) /
                           parameter_f32(&scales[2], s, batch, row, column);
        int32_t zero = (int32_t)parameter_i64(y_zero, s, batch, row, column);
        int64_t q =
            quantize_accumulator((int32_t)sums[i], multiplier, quantize_target_of(y->dtype, zero));

        convert_write_i64(y, i, 1, &q);
    }
}

static spry_status run_qlinear_matmul(op_call *call)
{
    static const int scale_inputs[] = {1, 4, 6};
    const tensor *y_zero = op_call_input(call, 7);
    parameter scales[3];
    parameter zero;
    stack s;
    tensor *y = NULL;
    spry_status status = stack_init(call, op_call_input(call, 0), op_call_input(call, 3), &s);

    for (int i = 0; i < 3 && status == SPRY_OK; i++) {
        status = parameter_init(call, scale_inputs[i], i == 1, &s, &scales[i]);
        if (status == SPRY_OK && scales[i].t == NULL) {
            status = op_call_fail(call, SPRY_BAD_INPUT, "input %d is missing", scale_inputs[i]);
        }
    }
    if (status == SPRY_OK) {
        status = parameter_init(call, 7, false, &s, &zero);
    }
    if (status == SPRY_OK && y_zero == NULL) {
        status = op_call_fail(call, SPRY_BAD_INPUT, "input 7 is missing");
    }
    if (status == SPRY_OK) {
        status = op_call_output(call, 0, y_zero->dtype, s.rank, s.shape, &y);
    }
    if (status == SPRY_OK && y != NULL) {
        status = multiply_integers(call, &s, 3, 2, 5);
        if (status == SPRY_OK) {
            requantize(&s, scales, &zero, y);
        }
    }
    return status;
}

/* ---- Gemm ---- */

static spry_status infer_gemm(op_shapes *s)
{
    const graph_type *a = op_shapes_ranked(s, 0);
    const graph_type *b = op_shapes_ranked(s, 1);
    bool turn_a = graph_attribute_int(s->node, "transA", 0) != 0;
    bool turn_b = graph_attribute_int(s->node, "transB", 0) != 0;
    graph_dim dims[2] = {{.size = -1}, {.size = -1}};
    graph_dim k = {.size = -1};
    graph_dim l = {.size = -1};

    if ((a != NULL && a->rank != 2) || (b != NULL && b->rank != 2)) {
        return op_shapes_fail(s, "A and B must be matrices");
    }
    if (a != NULL) {
        dims[0] = a->dims[turn_a];
        k = a->dims[!turn_a];
    }
    if (b != NULL) {
        dims[1] = b->dims[!turn_b];
        l = b->dims[turn_b];
    }
    if (k.size >= 0 && l.size >= 0 && k.size != l.size) {
        return op_shapes_fail(s, "rows of %lld elements against columns of %lld", (long long)k.size,
                              (long long)l.size);
    }
    op_shapes_set(s, 0, operand_dtype(s, 0), 2, dims);
    return SPRY_OK;
}

static void gemm_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    bool turn_a = graph_attribute_int(w->node, "transA", 0) != 0;

    *macs = op_work_count(w->outputs[0]) * w->inputs[0]->dims[!turn_a].size;
    *flops = 2 * *macs + (w->input_count > 2 ? op_work_count(w->outputs[0]) : 0);
}

/* Towards zero, as far as an integer reaches. */
static int64_t truncated(double x)
{
    const double most = 9.2e18;

    return (int64_t)(x < -most ? -most : x > most ? most : x == x ? x : 0.0);
}

/* y = alpha * product + beta * c for elements [start, start + count). */
static void finish_block(hub h, product *p, const broadcast *c, float alpha, float beta,
                         int64_t start, int64_t count)
{
    float *single = (float *)p->c + (h == HUB_F32 ? start : 0);
    double *wide = (double *)p->c + (h == HUB_F64 ? start : 0);
    int64_t *whole = (int64_t *)p->c + (h == HUB_I64 ? start : 0);
    union {
        float f32[CONVERT_BLOCK];
        double f64[CONVERT_BLOCK];
        int64_t i64[CONVERT_BLOCK];
    } room;

    if (h == HUB_F32) {
        const float *add = c != NULL ? broadcast_f32(c, start, count, room.f32) : NULL;

        for (int64_t i = 0; i < count; i++) {
            single[i] = alpha * single[i] + (add != NULL ? beta * add[i] : 0.0f);
        }
    } else if (h == HUB_F64) {
        const double *add = c != NULL ? broadcast_f64(c, start, count, room.f64) : NULL;

        for (int64_t i = 0; i < count; i++) {
            wide[i] = (double)alpha * wide[i] + (add != NULL ? (double)beta * add[i] : 0.0);
        }
    } else {
        const int64_t *add = c != NULL ? broadcast_i64(c, start, count, room.i64) : NULL;
        bool plain = alpha == 1.0f && beta == 1.0f;

        for (int64_t i = 0; i < count; i++) {
            int64_t more = add != NULL ? add[i] : 0;

            whole[i] =
                plain ? (int64_t)((uint64_t)whole[i] + (uint64_t)more)
                      : truncated((double)alpha * (double)whole[i] + (double)beta * (double)more);
        }
    }
}

static void finish_gemm(hub h, product *p, const tensor *c, float alpha, float beta)
{
    int64_t shape[2] = {p->m, p->n};
    broadcast over;

    if (c == NULL && alpha == 1.0f) {
        return;
    }
    if (c != NULL) {
        broadcast_init(&over, c, 2, shape);
    }
    for (int64_t start = 0; start < p->m * p->n; start += CONVERT_BLOCK) {
        int64_t left = p->m * p->n - start;

        finish_block(h, p, c != NULL ? &over : NULL, alpha, beta, start,
                     left < CONVERT_BLOCK ? left : CONVERT_BLOCK);
    }
}

static spry_status run_gemm(op_call *call)
{
    const tensor *a = op_call_input(call, 0);
    const tensor *b = op_call_input(call, 1);
    const tensor *c = op_call_input(call, 2);
    bool turn_a = graph_attribute_int(call->node, "transA", 0) != 0;
    bool turn_b = graph_attribute_int(call->node, "transB", 0) != 0;
    int64_t shape[2];
    product p = {.batch = 1};
    tensor *y = NULL;
    spry_status status;

    if (a == NULL || b == NULL || a->rank != 2 || b->rank != 2 ||
        a->shape[!turn_a] != b->shape[turn_b]) {
        return op_call_fail(call, SPRY_BAD_INPUT, "A and B must be matrices that fit");
    }
    p.m = shape[0] = a->shape[turn_a];
    p.n = shape[1] = b->shape[!turn_b];
    p.k = a->shape[!turn_a];
    p.a_row = turn_a ? 1 : p.k;
    p.a_k = turn_a ? p.m : 1;
    p.b_k = turn_b ? 1 : p.n;
    p.b_column = turn_b ? p.k : 1;
    if (c != NULL && !broadcast_fits(c, 2, shape)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "C cannot be broadcast to the result");
    }
    status = op_call_output(call, 0, a->dtype, 2, shape, &y);
    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    p.c = is_hub(y->dtype) ? y->data : NULL;
    status = multiply(call, hub_of(y->dtype), a, b, &p, p.m * p.n);
    if (status == SPRY_OK) {
        finish_gemm(hub_of(y->dtype), &p, c, graph_attribute_float(call->node, "alpha", 1.0f),
                    graph_attribute_float(call->node, "beta", 1.0f));
        if (!is_hub(y->dtype)) {
            write_hub(hub_of(y->dtype), y, p.m * p.n, p.c);
        }
    }
    return status;
}

#define PRODUCT_TYPES (OP_FLOATS | OP_INDEX | 1u << SPRY_DTYPE_U32 | 1u << SPRY_DTYPE_U64)
#define BYTES (1u << SPRY_DTYPE_I8 | 1u << SPRY_DTYPE_U8)
#define SCALES (1u << SPRY_DTYPE_F32 | 1u << SPRY_DTYPE_F16 | 1u << SPRY_DTYPE_BF16)

/* clang-format off */
const op ops_matmul[] = {
    {.name = "Gemm", .domain = "", .since = 1, .min_inputs = 2, .max_inputs = 3,
     .min_outputs = 1, .max_outputs = 1, .types = {PRODUCT_TYPES, PRODUCT_TYPES, PRODUCT_TYPES},
     .infer = infer_gemm, .run = run_gemm, .cost = gemm_cost},
    {.name = "MatMul", .domain = "", .since = 1, .min_inputs = 2, .max_inputs = 2,
     .min_outputs = 1, .max_outputs = 1, .types = {PRODUCT_TYPES, PRODUCT_TYPES},
     .infer = infer_matmul, .run = run_matmul, .cost = stacked_cost},
    {.name = "MatMulInteger", .domain = "", .since = 10, .min_inputs = 2, .max_inputs = 4,
     .min_outputs = 1, .max_outputs = 1, .types = {BYTES, BYTES, BYTES, BYTES},
     .infer = infer_matmul_integer, .run = run_matmul_integer, .cost = stacked_cost},
    {.name = "QLinearMatMul", .domain = "", .since = 10, .min_inputs = 8, .max_inputs = 8,
     .min_outputs = 1, .max_outputs = 1,
     .types = {BYTES, SCALES, BYTES, BYTES, SCALES, BYTES, SCALES, BYTES},
     .infer = infer_qlinear_matmul, .run = run_qlinear_matmul, .cost = stacked_cost},
    {.name = NULL},
};
/* clang-format on */
