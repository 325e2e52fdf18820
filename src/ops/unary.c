/* Functions of one tensor, element by element: mathematics, activations, tests.
 *
 * Every function is a row: exactly rounded as far as libm is in f64, which narrower types use too
 * unless a row has an f32 loop; integers compute in i64. */
#include <math.h>
#include <string.h>

#include "kernels/elementwise/activation_f32.h"
#include "kernels/elementwise/elementwise_f32.h"
#include "ops/broadcast.h"
#include "ops/families.h"

typedef struct unary_row unary_row;

/* One application: the attributes with their values. */
typedef struct unary {
    const unary_row *row;
    const tensor *from;
    tensor *to;
    const elementwise_f32_kernel *fast; /* for f32 rows */
    double a, b;
    bool is_unsigned;
} unary;

struct unary_row {
    double (*plain)(double x);                 /* a function without attributes, or... */
    double (*f64)(double x, const unary *u);   /* ...one with */
    int64_t (*i64)(int64_t x, const unary *u); /* NULL: no integers */
    void (*f32)(float *restrict to, const float *restrict from, int64_t n, const unary *u);
    bool in_place;     /* the f32 loop may overwrite what it reads */
    const char *a, *b; /* names of float attributes, or NULL */
    float a_default, b_default;
};

/* ---- integers ---- */

static int64_t abs_i64(int64_t x, const unary *u)
{
    return u->is_unsigned || x >= 0 ? x : (int64_t)(0 - (uint64_t)x);
}

static int64_t neg_i64(int64_t x, const unary *u)
{
    (void)u;
    return (int64_t)(0 - (uint64_t)x);
}

static int64_t sign_i64(int64_t x, const unary *u)
{
    return u->is_unsigned ? x != 0 : (x > 0) - (x < 0);
}

static int64_t relu_i64(int64_t x, const unary *u)
{
    return u->is_unsigned || x > 0 ? x : 0;
}

static int64_t invert_i64(int64_t x, const unary *u)
{
    (void)u;
    return ~x;
}

static int64_t not_i64(int64_t x, const unary *u)
{
    (void)u;
    return x == 0;
}

static int64_t shrink_i64(int64_t x, const unary *u)
{
    double number = u->is_unsigned ? (double)(uint64_t)x : (double)x;

    if (number < -u->a) {
        return (int64_t)(number + u->b);
    }
    return number > u->a ? (int64_t)(number - u->b) : 0;
}

/* ---- f64 ---- */

static double negate(double x)
{
    return -x;
}

static double reciprocal(double x)
{
    return 1.0 / x;
}

static double sign(double x)
{
    return x > 0.0 ? 1.0 : x < 0.0 ? -1.0 : x; /* NaN and zeros stay */
}

static double sigmoid(double x)
{
    double e = exp(-fabs(x));

    return x >= 0.0 ? 1.0 / (1.0 + e) : e / (1.0 + e);
}

static double relu(double x)
{
    return x < 0.0 ? 0.0 : x;
}

static double softplus(double x)
{
    return (x > 0.0 ? x : 0.0) + log1p(exp(-fabs(x)));
}

static double softsign(double x)
{
    return x / (1.0 + fabs(x));
}

static double hard_swish(double x)
{
    double gate = x / 6.0 + 0.5;

    return x * (gate < 0.0 ? 0.0 : gate > 1.0 ? 1.0 : gate);
}

static double mish(double x)
{
    return x * tanh(softplus(x));
}

static double leaky_relu(double x, const unary *u)
{
    return x < 0.0 ? u->a * x : x;
}

static double elu(double x, const unary *u)
{
    return x < 0.0 ? u->a * expm1(x) : x;
}

static double selu(double x, const unary *u)
{
    return u->b * (x > 0.0 ? x : u->a * expm1(x));
}

static double celu(double x, const unary *u)
{
    return x < 0.0 ? u->a * expm1(x / u->a) : x;
}

static double thresholded_relu(double x, const unary *u)
{
    return x > u->a || x != x ? x : 0.0;
}

static double hard_sigmoid(double x, const unary *u)
{
    double y = u->a * x + u->b;

    return y < 0.0 ? 0.0 : y > 1.0 ? 1.0 : y;
}

static double shrink(double x, const unary *u)
{
    return x < -u->a ? x + u->b : x > u->a ? x - u->b : x != x ? x : 0.0;
}

static double swish(double x, const unary *u)
{
    return x * sigmoid(u->a * x);
}

static double gelu(double x)
{
    return 0.5 * x * (1.0 + erf(x * 0.70710678118654752440));
}

static double gelu_tanh(double x)
{
    return 0.5 * x * (1.0 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
}

/* ---- f32 ---- */

static void abs_f32(float *restrict to, const float *restrict from, int64_t n, const unary *u)
{
    (void)u;
    for (int64_t i = 0; i < n; i++) {
        to[i] = fabsf(from[i]);
    }
}

static void negate_f32(float *restrict to, const float *restrict from, int64_t n, const unary *u)
{
    (void)u;
    for (int64_t i = 0; i < n; i++) {
        to[i] = -from[i];
    }
}

static void sqrt_f32(float *restrict to, const float *restrict from, int64_t n, const unary *u)
{
    (void)u;
    for (int64_t i = 0; i < n; i++) {
        to[i] = sqrtf(from[i]);
    }
}

static void reciprocal_f32(float *restrict to, const float *restrict from, int64_t n,
                           const unary *u)
{
    (void)u;
    for (int64_t i = 0; i < n; i++) {
        to[i] = 1.0f / from[i];
    }
}

static void exp_f32(float *to, const float *from, int64_t n, const unary *u)
{
    u->fast->exp(to, from, n);
}

static void log_f32(float *to, const float *from, int64_t n, const unary *u)
{
    u->fast->log(to, from, n);
}

static void floor_f32(float *restrict to, const float *restrict from, int64_t n, const unary *u)
{
    (void)u;
    for (int64_t i = 0; i < n; i++) {
        to[i] = floorf(from[i]);
    }
}

static void ceil_f32(float *restrict to, const float *restrict from, int64_t n, const unary *u)
{
    (void)u;
    for (int64_t i = 0; i < n; i++) {
        to[i] = ceilf(from[i]);
    }
}

/* Halves to even: the rounding mode that everything here runs in. */
static void round_f32(float *restrict to, const float *restrict from, int64_t n, const unary *u)
{
    (void)u;
    for (int64_t i = 0; i < n; i++) {
        to[i] = rintf(from[i]);
    }
}

static void tanh_f32(float *to, const float *from, int64_t n, const unary *u)
{
    u->fast->tanh(to, from, n);
}

static void erf_f32(float *to, const float *from, int64_t n, const unary *u)
{
    u->fast->erf(to, from, n);
}

static void sigmoid_f32(float *to, const float *from, int64_t n, const unary *u)
{
    u->fast->sigmoid(to, from, n);
}

static void relu_f32(float *restrict to, const float *restrict from, int64_t n, const unary *u)
{
    (void)u;
    for (int64_t i = 0; i < n; i++) {
        to[i] = from[i] < 0.0f ? 0.0f : from[i];
    }
}

static void leaky_relu_f32(float *restrict to, const float *restrict from, int64_t n,
                           const unary *u)
{
    float slope = (float)u->a;

    for (int64_t i = 0; i < n; i++) {
        to[i] = from[i] < 0.0f ? slope * from[i] : from[i];
    }
}

static void hard_sigmoid_f32(float *restrict to, const float *restrict from, int64_t n,
                             const unary *u)
{
    float scale = (float)u->a;
    float shift = (float)u->b;

    for (int64_t i = 0; i < n; i++) {
        float y = scale * from[i] + shift;

        y = y < 0.0f ? 0.0f : y;
        to[i] = y > 1.0f ? 1.0f : y;
    }
}

static void hard_swish_f32(float *to, const float *from, int64_t n, const unary *u)
{
    (void)u;
    activation_f32_select()->run[ACTIVATION_F32_HARD_SWISH](to, from, n);
}

static void mish_f32(float *to, const float *from, int64_t n, const unary *u)
{
    (void)u;
    activation_f32_select()->run[ACTIVATION_F32_MISH](to, from, n);
}

static void gelu_f32(float *to, const float *from, int64_t n, const unary *u)
{
    u->fast->gelu(to, from, n);
}

static void swish_f32(float *to, const float *from, int64_t n, const unary *u)
{
    u->fast->swish(to, from, n, (float)u->a);
}

static void gelu_tanh_f32(float *to, const float *from, int64_t n, const unary *u)
{
    u->fast->gelu_tanh(to, from, n);
}

static void softplus_f32(float *to, const float *from, int64_t n, const unary *u)
{
    u->fast->softplus(to, from, n);
}

static void elu_f32(float *to, const float *from, int64_t n, const unary *u)
{
    u->fast->elu(to, from, n, (float)u->a);
}

/* elu with its slope, times gamma. */
static void selu_f32(float *to, const float *from, int64_t n, const unary *u)
{
    u->fast->elu(to, from, n, (float)u->a);
    u->fast->scale(to, to, n, (float)u->b, 0.0f);
}

/* ---- the loop over blocks ---- */

static double apply_f64(const unary *u, double x)
{
    return u->row->plain != NULL ? u->row->plain(x) : u->row->f64(x, u);
}

static void map_floats(const unary *u, int64_t start, int64_t count)
{
    double block[CONVERT_BLOCK];

    convert_read_f64(u->from, start, count, block);
    for (int64_t i = 0; i < count; i++) {
        block[i] = apply_f64(u, block[i]);
    }
    convert_write_f64(u->to, start, count, block);
}

static void map_f32(const unary *u, int64_t start, int64_t count)
{
    float room[CONVERT_BLOCK];
    float result[CONVERT_BLOCK];
    const float *from = room;

    if (u->from->dtype == SPRY_DTYPE_F32) {
        from = (const float *)u->from->data + start;
        if (u->row->in_place || u->to->data != u->from->data) {
            u->row->f32((float *)u->to->data + start, from, count, u);
            return;
        }
    } else {
        convert_read_f32(u->from, start, count, room);
    }
    u->row->f32(result, from, count, u);
    convert_write_f32(u->to, start, count, result);
}

static void map_integers(const unary *u, int64_t start, int64_t count)
{
    int64_t block[CONVERT_BLOCK];

    convert_read_i64(u->from, start, count, block);
    for (int64_t i = 0; i < count; i++) {
        block[i] = u->row->i64(block[i], u);
    }
    convert_write_i64(u->to, start, count, block);
}

static void map_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const unary *u = context;
    bool floats = dtype_class_of(u->from->dtype) == DTYPE_CLASS_FLOAT;

    (void)worker;
    for (int64_t start = begin; start < end; start += CONVERT_BLOCK) {
        int64_t count = end - start < CONVERT_BLOCK ? end - start : CONVERT_BLOCK;

        if (!floats) {
            map_integers(u, start, count);
        } else if (u->row->f32 != NULL && broadcast_is_f32(u->from->dtype)) {
            map_f32(u, start, count);
        } else {
            map_floats(u, start, count);
        }
    }
}

static spry_status run_row(op_call *call, const unary_row *row)
{
    unary u = {.row = row, .from = op_call_input(call, 0), .fast = elementwise_f32_select()};
    spry_status status;

    if (u.from == NULL) {
        return op_call_fail(call, SPRY_BAD_INPUT, "input 0 is missing");
    }
    status = op_call_output_like(call, 0, u.from->dtype, u.from, &u.to);
    if (status != SPRY_OK || u.to == NULL) {
        return status;
    }
    if (row->a != NULL) {
        u.a = (double)graph_attribute_float(call->node, row->a, row->a_default);
    }
    if (row->b != NULL) {
        u.b = (double)graph_attribute_float(call->node, row->b, row->b_default);
    }
    u.is_unsigned = dtype_class_of(u.from->dtype) == DTYPE_CLASS_UNSIGNED;
    threads_for(call->team, tensor_count(u.from), BROADCAST_GRAIN, map_piece, &u);
    return SPRY_OK;
}

static spry_status run_unary(op_call *call)
{
    return run_row(call, op_of_node(call->node)->detail);
}

static spry_status run_gelu(op_call *call)
{
    static const unary_row exact = {.plain = gelu, .f32 = gelu_f32, .in_place = true};
    static const unary_row approximate = {
        .plain = gelu_tanh, .f32 = gelu_tanh_f32, .in_place = true};
    const char *form = graph_attribute_string(call->node, "approximate", "none");

    if (strcmp(form, "tanh") != 0 && strcmp(form, "none") != 0) {
        return op_call_fail(call, SPRY_BAD_INPUT, "approximate is '%s', not none or tanh", form);
    }
    return run_row(call, form[0] == 't' ? &approximate : &exact);
}

/* ---- tests: bool results ---- */

typedef struct unary_test {
    const tensor *from;
    tensor *to;
    bool nan, positive, negative; /* what counts as true */
} unary_test;

static void test_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const unary_test *t = context;
    uint8_t *to = t->to->data;
    double block[CONVERT_BLOCK];

    (void)worker;
    for (int64_t start = begin; start < end; start += CONVERT_BLOCK) {
        int64_t count = end - start < CONVERT_BLOCK ? end - start : CONVERT_BLOCK;

        convert_read_f64(t->from, start, count, block);
        for (int64_t i = 0; i < count; i++) {
            double x = block[i];

            to[start + i] = (t->nan && x != x) || (t->positive && x == (double)INFINITY) ||
                            (t->negative && x == -(double)INFINITY);
        }
    }
}

static spry_status run_test(op_call *call, unary_test t)
{
    spry_status status;

    t.from = op_call_input(call, 0);
    if (t.from == NULL) {
        return op_call_fail(call, SPRY_BAD_INPUT, "input 0 is missing");
    }
    status = op_call_output_like(call, 0, SPRY_DTYPE_BOOL, t.from, &t.to);
    if (status == SPRY_OK && t.to != NULL) {
        threads_for(call->team, tensor_count(t.from), BROADCAST_GRAIN, test_piece, &t);
    }
    return status;
}

static spry_status run_is_nan(op_call *call)
{
    return run_test(call, (unary_test){.nan = true});
}

static spry_status run_is_inf(op_call *call)
{
    return run_test(call,
                    (unary_test){
                        .positive = graph_attribute_int(call->node, "detect_positive", 1) != 0,
                        .negative = graph_attribute_int(call->node, "detect_negative", 1) != 0,
                    });
}

#define SMALL_FLOATS                                                                     \
    (1u << SPRY_DTYPE_F8E4M3FN | 1u << SPRY_DTYPE_F8E4M3FNUZ | 1u << SPRY_DTYPE_F8E5M2 | \
     1u << SPRY_DTYPE_F8E5M2FNUZ)

/* A row of the table: every function here takes one tensor and gives one of its shape. */
#define UNARY_OF(NAME, DOMAIN, SINCE, TYPES, RUN, INFER, FLAGS, DETAIL)                           \
    {                                                                                             \
        .name = (NAME), .domain = (DOMAIN), .since = (SINCE), .min_inputs = 1, .max_inputs = 1,   \
        .min_outputs = 1, .max_outputs = 1, .flags = (FLAGS), .types = {TYPES}, .infer = (INFER), \
        .run = (RUN), .cost = broadcast_cost, .detail = (DETAIL)                                  \
    }
#define UNARY(NAME, SINCE, TYPES, ...)                                      \
    UNARY_OF(NAME, "", SINCE, TYPES, run_unary, op_infer_same, OP_IN_PLACE, \
             &((const unary_row){__VA_ARGS__}))
#define UNARY_TEST(NAME, SINCE, TYPES, RUN) \
    UNARY_OF(NAME, "", SINCE, TYPES, RUN, op_infer_compare, 0, NULL)

/* clang-format off */
const op ops_unary[] = {
    UNARY("Abs", 1, OP_NUMERIC, .plain = fabs, .f32 = abs_f32, .i64 = abs_i64),
    UNARY("Acos", 7, OP_FLOATS, .plain = acos),
    UNARY("Acosh", 9, OP_FLOATS, .plain = acosh),
    UNARY("Asin", 7, OP_FLOATS, .plain = asin),
    UNARY("Asinh", 9, OP_FLOATS, .plain = asinh),
    UNARY("Atan", 7, OP_FLOATS, .plain = atan),
    UNARY("Atanh", 9, OP_FLOATS, .plain = atanh),
    UNARY("BitwiseNot", 18, OP_INTEGERS, .i64 = invert_i64),
    UNARY("Ceil", 1, OP_FLOATS, .plain = ceil, .f32 = ceil_f32),
    UNARY("Celu", 12, OP_FLOATS, .f64 = celu, .a = "alpha", .a_default = 1.0f),
    UNARY("Cos", 7, OP_FLOATS, .plain = cos),
    UNARY("Cosh", 9, OP_FLOATS, .plain = cosh),
    UNARY("Elu", 6, OP_FLOATS, .f64 = elu, .f32 = elu_f32, .in_place = true, .a = "alpha",
          .a_default = 1.0f),
    UNARY("Erf", 9, OP_FLOATS, .plain = erf, .f32 = erf_f32, .in_place = true),
    UNARY("Exp", 6, OP_FLOATS, .plain = exp, .f32 = exp_f32, .in_place = true),
    UNARY("Floor", 1, OP_FLOATS, .plain = floor, .f32 = floor_f32),
    UNARY_OF("Gelu", "", 20, OP_FLOATS, run_gelu, op_infer_same, OP_IN_PLACE, NULL),
    UNARY_OF("Gelu", "com.microsoft", 1, OP_FLOATS, run_gelu, op_infer_same, OP_IN_PLACE, NULL),
    UNARY("HardSigmoid", 6, OP_FLOATS, .f64 = hard_sigmoid, .f32 = hard_sigmoid_f32,
          .a = "alpha", .a_default = 0.2f, .b = "beta", .b_default = 0.5f),
    UNARY("HardSwish", 14, OP_FLOATS, .plain = hard_swish, .f32 = hard_swish_f32,
          .in_place = true),
    UNARY_TEST("IsInf", 10, OP_FLOATS | SMALL_FLOATS, run_is_inf),
    UNARY_TEST("IsNaN", 9, OP_FLOATS | SMALL_FLOATS, run_is_nan),
    UNARY("LeakyRelu", 6, OP_FLOATS, .f64 = leaky_relu, .f32 = leaky_relu_f32,
          .a = "alpha", .a_default = 0.01f),
    UNARY("Log", 6, OP_FLOATS, .plain = log, .f32 = log_f32, .in_place = true),
    UNARY("Mish", 18, OP_FLOATS, .plain = mish, .f32 = mish_f32, .in_place = true),
    UNARY("Neg", 6, OP_FLOATS | OP_SIGNED, .plain = negate, .f32 = negate_f32, .i64 = neg_i64),
    UNARY("Not", 1, OP_BOOL, .i64 = not_i64),
    UNARY("Reciprocal", 6, OP_FLOATS, .plain = reciprocal, .f32 = reciprocal_f32),
    UNARY("Relu", 6, OP_FLOATS | OP_INTEGERS, .plain = relu, .f32 = relu_f32, .i64 = relu_i64),
    UNARY("Round", 11, OP_FLOATS, .plain = rint, .f32 = round_f32),
    UNARY("Selu", 6, OP_FLOATS, .f64 = selu, .f32 = selu_f32, .in_place = true,
          .a = "alpha", .a_default = 1.67326319217681884766f,
          .b = "gamma", .b_default = 1.05070102214813232422f),
    UNARY("Shrink", 9, OP_NUMERIC, .f64 = shrink, .i64 = shrink_i64, .a = "lambd",
          .a_default = 0.5f, .b = "bias", .b_default = 0.0f),
    UNARY("Sigmoid", 6, OP_FLOATS, .plain = sigmoid, .f32 = sigmoid_f32, .in_place = true),
    UNARY("Sign", 9, OP_NUMERIC, .plain = sign, .i64 = sign_i64),
    UNARY("Sin", 7, OP_FLOATS, .plain = sin),
    UNARY("Sinh", 9, OP_FLOATS, .plain = sinh),
    UNARY("Softplus", 1, OP_FLOATS, .plain = softplus, .f32 = softplus_f32, .in_place = true),
    UNARY("Softsign", 1, OP_FLOATS, .plain = softsign),
    UNARY("Sqrt", 6, OP_FLOATS, .plain = sqrt, .f32 = sqrt_f32),
    UNARY("Swish", 24, OP_FLOATS, .f64 = swish, .f32 = swish_f32, .in_place = true, .a = "alpha",
          .a_default = 1.0f),
    UNARY("Tan", 7, OP_FLOATS, .plain = tan),
    UNARY("Tanh", 6, OP_FLOATS, .plain = tanh, .f32 = tanh_f32, .in_place = true),
    UNARY("ThresholdedRelu", 10, OP_FLOATS, .f64 = thresholded_relu, .a = "alpha",
          .a_default = 1.0f),
    {.name = NULL},
};
/* clang-format on */
