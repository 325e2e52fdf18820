/* Arithmetic and logic on two or more tensors of one type, broadcast against each other.
 *
 * Each operator is a row of functions: an f32 loop, and scalar forms for f64, i64 and u64. More
 * than two inputs are folded from the left without rounding to f16 or bf16 in between. */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "kernels/elementwise/elementwise_f32.h"
#include "ops/broadcast.h"
#include "ops/contents.h"
#include "ops/families.h"

/* Which vector kernels a function of two f32 tensors has. */
typedef enum arithmetic_kernel {
    KERNEL_NONE,
    KERNEL_ADD,
    KERNEL_SUBTRACT,
    KERNEL_MULTIPLY,
    KERNEL_DIVIDE
} arithmetic_kernel;

typedef struct arithmetic_row {
    void (*f32)(float *restrict to, const float *a, const float *b, int64_t n);
    double (*f64)(double a, double b);
    int64_t (*i64)(int64_t a, int64_t b);
    uint64_t (*u64)(uint64_t a, uint64_t b); /* NULL: the same bits as i64 */
    bool mean;                               /* divide by the number of inputs at the end */
    arithmetic_kernel kernel;
    contents_function contents; /* on shapes; NULL: not tracked */
} arithmetic_row;

/* ---- f32 ---- */

static void add_f32(float *restrict to, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        to[i] = a[i] + b[i];
    }
}

static void sub_f32(float *restrict to, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        to[i] = a[i] - b[i];
    }
}

static void mul_f32(float *restrict to, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        to[i] = a[i] * b[i];
    }
}

static void div_f32(float *restrict to, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        to[i] = a[i] / b[i];
    }
}

static void max_f32(float *restrict to, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        to[i] = a[i] > b[i] || a[i] != a[i] ? a[i] : b[i];
    }
}

static void min_f32(float *restrict to, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        to[i] = a[i] < b[i] || a[i] != a[i] ? a[i] : b[i];
    }
}

static void prelu_f32(float *restrict to, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        to[i] = a[i] < 0.0f ? a[i] * b[i] : a[i];
    }
}

/* ---- f64 ---- */

static double add_f64(double a, double b)
{
    return a + b;
}

static double sub_f64(double a, double b)
{
    return a - b;
}

static double mul_f64(double a, double b)
{
    return a * b;
}

static double div_f64(double a, double b)
{
    return a / b;
}

/* NaN wins, as in NumPy. */
static double max_f64(double a, double b)
{
    return a > b || a != a ? a : b;
}

static double min_f64(double a, double b)
{
    return a < b || a != a ? a : b;
}

static double prelu_f64(double a, double b)
{
    return a < 0.0 ? a * b : a;
}

/* The remainder that has the divisor's sign. */
static double floor_mod_f64(double a, double b)
{
    double rest = fmod(a, b);

    return rest != 0.0 && (rest < 0.0) != (b < 0.0) ? rest + b : rest;
}

/* ---- integers: wrap around; dividing by zero gives zero ---- */

static int64_t add_i64(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

static int64_t sub_i64(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

static int64_t mul_i64(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a * (uint64_t)b);
}

static int64_t div_i64(int64_t a, int64_t b)
{
    if (b == -1) {
        return (int64_t)(0 - (uint64_t)a); /* the smallest number stays itself */
    }
    return b == 0 ? 0 : a / b;
}

static uint64_t div_u64(uint64_t a, uint64_t b)
{
    return b == 0 ? 0 : a / b;
}

static int64_t max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static int64_t prelu_i64(int64_t a, int64_t b)
{
    return a < 0 ? mul_i64(a, b) : a;
}

static uint64_t prelu_u64(uint64_t a, uint64_t b)
{
    (void)b;
    return a;
}

static int64_t fmod_i64(int64_t a, int64_t b)
{
    return b == 0 || b == -1 ? 0 : a % b;
}

static int64_t floor_mod_i64(int64_t a, int64_t b)
{
    int64_t rest = fmod_i64(a, b);

    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

static uint64_t mod_u64(uint64_t a, uint64_t b)
{
    return b == 0 ? 0 : a % b;
}

static int64_t and_i64(int64_t a, int64_t b)
{
    return a & b;
}

static int64_t or_i64(int64_t a, int64_t b)
{
    return a | b;
}

static int64_t xor_i64(int64_t a, int64_t b)
{
    return a ^ b;
}

static uint64_t shift_left(uint64_t a, uint64_t b)
{
    return b < 64 ? a << b : 0;
}

static uint64_t shift_right(uint64_t a, uint64_t b)
{
    return b < 64 ? a >> b : 0;
}

/* ---- shapes ---- */

static graph_dim add_dims(graph_dim a, graph_dim b)
{
    int64_t sum;

    if (a.size == 0) {
        return b;
    }
    if (b.size == 0) {
        return a;
    }
    return a.size >= 0 && b.size >= 0 && checked_add_i64(a.size, b.size, &sum)
               ? (graph_dim){.size = sum}
               : operand_unknown;
}

static graph_dim sub_dims(graph_dim a, graph_dim b)
{
    if (b.size == 0) {
        return a;
    }
    return b.size >= 0 && a.size >= b.size ? (graph_dim){.size = a.size - b.size} : operand_unknown;
}

static graph_dim mul_dims(graph_dim a, graph_dim b)
{
    int64_t product;

    if (a.size == 1) {
        return b;
    }
    if (b.size == 1) {
        return a;
    }
    return checked_mul_i64(a.size, b.size, &product) ? (graph_dim){.size = product}
                                                     : operand_unknown;
}

static graph_dim div_dims(graph_dim a, graph_dim b)
{
    if (b.size == 1) {
        return a;
    }
    return a.size >= 0 && b.size > 0 ? (graph_dim){.size = a.size / b.size} : operand_unknown;
}

static graph_dim max_dims(graph_dim a, graph_dim b)
{
    return a.size >= 0 && b.size >= 0 ? (graph_dim){.size = max_i64(a.size, b.size)}
                                      : operand_unknown;
}

static graph_dim min_dims(graph_dim a, graph_dim b)
{
    return a.size >= 0 && b.size >= 0 ? (graph_dim){.size = min_i64(a.size, b.size)}
                                      : operand_unknown;
}

static spry_status infer_arithmetic(op_shapes *s)
{
    const arithmetic_row *row = op_of_node(s->node)->detail;
    spry_status status = op_infer_broadcast(s);

    if (status == SPRY_OK && row != NULL && row->contents != NULL && s->input_count == 2) {
        return contents_combine(s, row->contents);
    }
    return status;
}

/* ---- the loop over blocks ---- */

typedef struct arithmetic {
    const arithmetic_row *row;
    const broadcast *inputs;
    int count;
    spry_dtype dtype;
    tensor *to;
} arithmetic;

static void fold_f32(const arithmetic *m, int64_t start, int64_t n)
{
    float rooms[2][CONVERT_BLOCK];
    float results[2][CONVERT_BLOCK]; /* used in turn: a fold reads the one and writes the other */
    const float *sum = broadcast_f32(&m->inputs[0], start, n, rooms[0]);

    for (int i = 1; i < m->count; i++) {
        float *to = results[i & 1];

        m->row->f32(to, sum, broadcast_f32(&m->inputs[i], start, n, rooms[1]), n);
        sum = to;
    }
    if (m->row->mean) {
        float *to = results[m->count & 1];

        for (int64_t k = 0; k < n; k++) {
            to[k] = sum[k] / (float)m->count;
        }
        sum = to;
    }
    if (sum != rooms[0] && m->count == 1 && m->to->data == m->inputs[0].input->data) {
        return; /* one input, overwritten by itself */
    }
    convert_write_f32(m->to, start, n, sum);
}

static void fold_f64(const arithmetic *m, int64_t start, int64_t n)
{
    double room[CONVERT_BLOCK];
    double result[CONVERT_BLOCK];
    const double *first = broadcast_f64(&m->inputs[0], start, n, room);

    memcpy(result, first, (size_t)n * sizeof *result);
    for (int i = 1; i < m->count; i++) {
        const double *next = broadcast_f64(&m->inputs[i], start, n, room);

        for (int64_t k = 0; k < n; k++) {
            result[k] = m->row->f64(result[k], next[k]);
        }
    }
    for (int64_t k = 0; m->row->mean && k < n; k++) {
        result[k] /= (double)m->count;
    }
    convert_write_f64(m->to, start, n, result);
}

static void fold_i64(const arithmetic *m, int64_t start, int64_t n)
{
    int64_t room[CONVERT_BLOCK];
    int64_t result[CONVERT_BLOCK];
    const int64_t *first = broadcast_i64(&m->inputs[0], start, n, room);
    bool wide = m->row->i64 == NULL ||
                (m->row->u64 != NULL && dtype_class_of(m->dtype) == DTYPE_CLASS_UNSIGNED);

    memcpy(result, first, (size_t)n * sizeof *result);
    for (int i = 1; i < m->count; i++) {
        const int64_t *next = broadcast_i64(&m->inputs[i], start, n, room);

        for (int64_t k = 0; k < n; k++) {
            result[k] = wide ? (int64_t)m->row->u64((uint64_t)result[k], (uint64_t)next[k])
                             : m->row->i64(result[k], next[k]);
        }
    }
    convert_write_i64(m->to, start, n, result);
}

/* ---- two f32 tensors, at least one of which lies as the result does ---- */

typedef struct arithmetic_pair {
    elementwise_f32_pair *pair;
    elementwise_f32_map_1 *one; /* all of the first with one of the second */
    float sign;                 /* of that one */
    const broadcast *dense;
    const broadcast *other;
    float *to;
} arithmetic_pair;

static void pair_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const arithmetic_pair *p = context;
    const float *dense = p->dense->input->data;
    const float *other = p->other->input->data;
    broadcast_walk w;

    (void)worker;
    if (p->other->rank == 0 && p->other->direct) {
        p->pair(p->to + begin, dense + begin, other + begin, end - begin);
        return;
    }
    if (p->other->rank == 0) {
        p->one(p->to + begin, dense + begin, end - begin, p->sign * other[0]);
        return;
    }
    broadcast_walk_init(&w, p->other, begin);
    for (int64_t at = begin; at < end;) {
        int64_t from;
        int64_t run = broadcast_walk_next(&w, end - at, &from);

        if (p->other->stride[p->other->rank - 1] == 0) {
            p->one(p->to + at, dense + at, run, p->sign * other[from]);
        } else {
            p->pair(p->to + at, dense + at, other + from, run);
        }
        at += run;
    }
}

/* False when the operator, its types or its shapes have no vector kernel. */
static bool choose_pair(const arithmetic *m, arithmetic_pair *p)
{
    const elementwise_f32_kernel *k = elementwise_f32_select();
    bool commutes = m->row->kernel == KERNEL_ADD || m->row->kernel == KERNEL_MULTIPLY;
    int dense;

    if (m->count != 2 || m->dtype != SPRY_DTYPE_F32) {
        return false;
    }
    switch (m->row->kernel) {
    case KERNEL_ADD: *p = (arithmetic_pair){.pair = k->add, .one = k->add_one, .sign = 1.0f}; break;
    case KERNEL_SUBTRACT:
        *p = (arithmetic_pair){.pair = k->subtract, .one = k->add_one, .sign = -1.0f};
        break;
    case KERNEL_MULTIPLY:
        *p = (arithmetic_pair){.pair = k->multiply, .one = k->multiply_one, .sign = 1.0f};
        break;
    case KERNEL_DIVIDE:
        *p = (arithmetic_pair){.pair = k->divide, .one = k->divide_one, .sign = 1.0f};
        break;
    case KERNEL_NONE: return false;
    }
    dense = m->inputs[0].direct || !commutes ? 0 : 1;
    p->dense = &m->inputs[dense];
    p->other = &m->inputs[!dense];
    p->to = m->to->data;
    return p->dense->direct;
}

static void fold_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const arithmetic *m = context;
    bool floats = dtype_class_of(m->dtype) == DTYPE_CLASS_FLOAT;

    (void)worker;
    for (int64_t start = begin; start < end; start += CONVERT_BLOCK) {
        int64_t n = end - start < CONVERT_BLOCK ? end - start : CONVERT_BLOCK;

        if (!floats) {
            fold_i64(m, start, n);
        } else if (m->row->f32 != NULL && broadcast_is_f32(m->dtype)) {
            fold_f32(m, start, n);
        } else {
            fold_f64(m, start, n);
        }
    }
}

static spry_status run_row(op_call *call, const arithmetic_row *row)
{
    arithmetic m = {.row = row, .count = call->input_count};
    arithmetic_pair pair;
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int rank;
    void *room;
    broadcast *inputs;
    spry_status status = broadcast_shape(call, m.count, &rank, shape);

    if (status != SPRY_OK) {
        return status;
    }
    m.dtype = op_call_input(call, 0)->dtype;
    for (int i = 1; i < m.count; i++) {
        if (op_call_input(call, i)->dtype != m.dtype) {
            return op_call_fail(call, SPRY_BAD_INPUT, "inputs differ in element type");
        }
    }
    status = op_call_output(call, 0, m.dtype, rank, shape, &m.to);
    if (status != SPRY_OK || m.to == NULL) {
        return status;
    }
    status = op_call_scratch(call, (size_t)m.count * sizeof *inputs, &room);
    if (status != SPRY_OK) {
        return status;
    }
    inputs = room;
    for (int i = 0; i < m.count; i++) {
        broadcast_init(&inputs[i], op_call_input(call, i), rank, shape);
    }
    m.inputs = inputs;
    if (choose_pair(&m, &pair)) {
        threads_for(call->team, tensor_count(m.to), BROADCAST_GRAIN, pair_piece, &pair);
    } else {
        threads_for(call->team, tensor_count(m.to), BROADCAST_GRAIN, fold_piece, &m);
    }
    return SPRY_OK;
}

static spry_status run_arithmetic(op_call *call)
{
    return run_row(call, op_of_node(call->node)->detail);
}

/* The slope may only be smaller than the data. */
static spry_status run_prelu(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    const tensor *slope = op_call_input(call, 1);

    if (x == NULL || slope == NULL || !broadcast_fits(slope, x->rank, x->shape)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the slope does not fit the data");
    }
    return run_arithmetic(call);
}

static spry_status run_mod(op_call *call)
{
    static const arithmetic_row divisor_sign = {
        .f64 = floor_mod_f64, .i64 = floor_mod_i64, .u64 = mod_u64};
    static const arithmetic_row dividend_sign = {.f64 = fmod, .i64 = fmod_i64, .u64 = mod_u64};

    return run_row(call, graph_attribute_int(call->node, "fmod", 0) != 0 ? &dividend_sign
                                                                         : &divisor_sign);
}

static spry_status run_bit_shift(op_call *call)
{
    static const arithmetic_row left = {.u64 = shift_left};
    static const arithmetic_row right = {.u64 = shift_right};
    const char *direction = graph_attribute_string(call->node, "direction", "");

    if (strcmp(direction, "LEFT") != 0 && strcmp(direction, "RIGHT") != 0) {
        return op_call_fail(call, SPRY_BAD_INPUT, "direction is '%s', not LEFT or RIGHT",
                            direction);
    }
    return run_row(call, direction[0] == 'L' ? &left : &right);
}

#define BINARY_OF(NAME, SINCE, TYPES, RUN, DETAIL)                                          \
    {                                                                                       \
        .name = (NAME), .domain = "", .since = (SINCE), .min_inputs = 2, .max_inputs = 2,   \
        .min_outputs = 1, .max_outputs = 1, .flags = OP_IN_PLACE, .types = {TYPES, TYPES},  \
        .infer = infer_arithmetic, .run = (RUN), .cost = broadcast_cost, .detail = (DETAIL) \
    }
#define BINARY(NAME, SINCE, TYPES, ...) \
    BINARY_OF(NAME, SINCE, TYPES, run_arithmetic, &((const arithmetic_row){__VA_ARGS__}))
#define VARIADIC(NAME, SINCE, TYPES, ...)                                                         \
    {                                                                                             \
        .name = (NAME), .domain = "", .since = (SINCE), .min_inputs = 1,                          \
        .max_inputs = OP_VARIADIC, .min_outputs = 1, .max_outputs = 1,                            \
        .flags = OP_IN_PLACE | OP_LAST_TYPES_REPEAT, .types = {TYPES}, .infer = infer_arithmetic, \
        .run = run_arithmetic, .cost = broadcast_cost,                                            \
        .detail = &((const arithmetic_row){__VA_ARGS__})                                          \
    }

/* Versions below 7 (and Max, Mean, Min, Sum below 8) broadcast by other rules; equal shapes, all
 * that the latter allowed, mean the same. */
/* clang-format off */
const op ops_arithmetic[] = {
    BINARY("Add", 7, OP_NUMERIC, .f32 = add_f32, .f64 = add_f64, .i64 = add_i64,
           .kernel = KERNEL_ADD, .contents = add_dims),
    BINARY("And", 7, OP_BOOL, .i64 = and_i64),
    BINARY_OF("BitShift", 11, OP_UNSIGNED, run_bit_shift, NULL),
    BINARY("BitwiseAnd", 18, OP_INTEGERS, .i64 = and_i64),
    BINARY("BitwiseOr", 18, OP_INTEGERS, .i64 = or_i64),
    BINARY("BitwiseXor", 18, OP_INTEGERS, .i64 = xor_i64),
    BINARY("Div", 7, OP_NUMERIC, .f32 = div_f32, .f64 = div_f64, .i64 = div_i64, .u64 = div_u64,
           .kernel = KERNEL_DIVIDE, .contents = div_dims),
    VARIADIC("Max", 6, OP_NUMERIC, .f32 = max_f32, .f64 = max_f64, .i64 = max_i64, .u64 = max_u64,
             .contents = max_dims),
    VARIADIC("Mean", 6, OP_FLOATS, .f32 = add_f32, .f64 = add_f64, .mean = true),
    VARIADIC("Min", 6, OP_NUMERIC, .f32 = min_f32, .f64 = min_f64, .i64 = min_i64, .u64 = min_u64,
             .contents = min_dims),
    BINARY_OF("Mod", 10, OP_NUMERIC, run_mod, NULL),
    BINARY("Mul", 7, OP_NUMERIC, .f32 = mul_f32, .f64 = mul_f64, .i64 = mul_i64,
           .kernel = KERNEL_MULTIPLY, .contents = mul_dims),
    BINARY("Or", 7, OP_BOOL, .i64 = or_i64),
    BINARY_OF("PRelu", 7, OP_NUMERIC, run_prelu,
              &((const arithmetic_row){
                  .f32 = prelu_f32, .f64 = prelu_f64, .i64 = prelu_i64, .u64 = prelu_u64})),
    BINARY("Sub", 7, OP_NUMERIC, .f32 = sub_f32, .f64 = sub_f64, .i64 = sub_i64,
           .kernel = KERNEL_SUBTRACT, .contents = sub_dims),
    VARIADIC("Sum", 6, OP_FLOATS, .f32 = add_f32, .f64 = add_f64),
    BINARY("Xor", 7, OP_BOOL, .i64 = xor_i64),
    {.name = NULL},
};
/* clang-format on */
