/* Functions of single elements: the slope is a formula in x, or in y where that is shorter. */
#include <math.h>
#include <string.h>

#include "tensor/convert.h"
#include "train/gradient/gradient_step.h"

static const double root_two = 1.41421356237309504880;
static const double root_pi = 1.77245385090551602730;

/* ---- a vocabulary for formulas ---- */

static int32_t mul(gradient_step *s, int32_t a, int32_t b)
{
    return emit_binary(&s->e, "Mul", a, b);
}

static int32_t div(gradient_step *s, int32_t a, int32_t b)
{
    return emit_binary(&s->e, "Div", a, b);
}

static int32_t sub(gradient_step *s, int32_t a, int32_t b)
{
    return emit_binary(&s->e, "Sub", a, b);
}

static int32_t of(gradient_step *s, const char *function, int32_t a)
{
    return emit_unary(&s->e, function, a);
}

static int32_t number(gradient_step *s, double value)
{
    return emit_number(&s->e, gradient_dtype(s, s->node.inputs[0]), value);
}

static int32_t times(gradient_step *s, int32_t a, double factor)
{
    return mul(s, a, number(s, factor));
}

static int32_t plus(gradient_step *s, int32_t a, double added)
{
    return emit_binary(&s->e, "Add", a, number(s, added));
}

/* 1 - a */
static int32_t complement(gradient_step *s, int32_t a)
{
    return sub(s, number(s, 1.0), a);
}

/* `a` where x compares with the limit, `b` elsewhere. */
static int32_t choose(gradient_step *s, const char *comparison, int32_t x, double limit, int32_t a,
                      int32_t b)
{
    return emit_where(&s->e, emit_binary(&s->e, comparison, x, number(s, limit)), a, b);
}

static double attribute(const gradient_step *s, const char *name, float fallback)
{
    return (double)graph_attribute_float(&s->node, name, fallback);
}

/* ---- one input: a table of what dy becomes ---- */

typedef int32_t slope_function(gradient_step *s, int32_t x, int32_t y, int32_t dy);

typedef struct slope {
    slope_function *times_dy;
} slope;

static void give_slope(gradient_step *s)
{
    const slope *one = s->detail;

    gradient_give(s, 0, one->times_dy(s, s->node.inputs[0], s->node.outputs[0], s->dy[0]));
    gradient_give_nothing(s, 1); /* of CastLike, which only looks at its type */
}

static int32_t slope_identity(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)s;
    (void)x;
    (void)y;
    return dy;
}

static int32_t slope_neg(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)x;
    (void)y;
    return of(s, "Neg", dy);
}

static int32_t slope_abs(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)y;
    return mul(s, dy, of(s, "Sign", x));
}

static int32_t slope_exp(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)x;
    return mul(s, dy, y);
}

static int32_t slope_log(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)y;
    return div(s, dy, x);
}

static int32_t slope_sqrt(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)x;
    return div(s, times(s, dy, 0.5), y);
}

static int32_t slope_reciprocal(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)x;
    return of(s, "Neg", mul(s, dy, mul(s, y, y)));
}

/* exp(-x^2) */
static int32_t bell(gradient_step *s, int32_t x)
{
    return of(s, "Exp", of(s, "Neg", mul(s, x, x)));
}

static int32_t slope_erf(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)y;
    return mul(s, dy, times(s, bell(s, x), 2.0 / root_pi));
}

static int32_t slope_tanh(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)x;
    return mul(s, dy, complement(s, mul(s, y, y)));
}

static int32_t slope_sigmoid(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)x;
    return mul(s, dy, mul(s, y, complement(s, y)));
}

static int32_t slope_softplus(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)y;
    return mul(s, dy, of(s, "Sigmoid", x));
}

/* 1 / (1 + |x|)^2 */
static int32_t slope_softsign(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    int32_t root = plus(s, of(s, "Abs", x), 1.0);

    (void)y;
    return div(s, dy, mul(s, root, root));
}

static int32_t slope_sin(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)y;
    return mul(s, dy, of(s, "Cos", x));
}

static int32_t slope_cos(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)y;
    return of(s, "Neg", mul(s, dy, of(s, "Sin", x)));
}

static int32_t slope_tan(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)x;
    return mul(s, dy, plus(s, mul(s, y, y), 1.0));
}

static int32_t slope_sinh(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)y;
    return mul(s, dy, of(s, "Cosh", x));
}

static int32_t slope_cosh(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)y;
    return mul(s, dy, of(s, "Sinh", x));
}

static int32_t slope_asin(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)y;
    return div(s, dy, of(s, "Sqrt", complement(s, mul(s, x, x))));
}

static int32_t slope_acos(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    return of(s, "Neg", slope_asin(s, x, y, dy));
}

static int32_t slope_atan(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)y;
    return div(s, dy, plus(s, mul(s, x, x), 1.0));
}

static int32_t slope_asinh(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)y;
    return div(s, dy, of(s, "Sqrt", plus(s, mul(s, x, x), 1.0)));
}

static int32_t slope_acosh(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)y;
    return div(s, dy, of(s, "Sqrt", plus(s, mul(s, x, x), -1.0)));
}

static int32_t slope_atanh(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)y;
    return div(s, dy, complement(s, mul(s, x, x)));
}

/* dy where low < x < high (or at the ends too, where closed), 0 elsewhere. */
static int32_t gate(gradient_step *s, int32_t x, int32_t dy, double low, double high, bool closed)
{
    int32_t to;

    (void)emit_own(&s->e, "GateGradient", 2, (const int32_t[]){x, dy}, 1, &to);
    emit_set_float(&s->e, to, "low", (float)low);
    emit_set_float(&s->e, to, "high", (float)high);
    emit_set_int(&s->e, to, "closed", closed);
    return to;
}

static int32_t slope_relu(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)x; /* y tells, and x need not be kept */
    return gate(s, y, dy, 0.0, (double)INFINITY, false);
}

static int32_t slope_leaky_relu(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)y;
    return choose(s, "Less", x, 0.0, times(s, dy, attribute(s, "alpha", 0.01f)), dy);
}

static int32_t slope_thresholded_relu(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)y;
    return gate(s, x, dy, attribute(s, "alpha", 1.0f), (double)INFINITY, false);
}

static int32_t slope_shrink(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)y;
    return choose(s, "Greater", of(s, "Abs", x), attribute(s, "lambd", 0.5f), dy, number(s, 0.0));
}

/* Below 0 y is alpha (exp(x) - 1), so its slope is y + alpha. */
static int32_t slope_elu(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    double alpha = attribute(s, "alpha", 1.0f);

    return choose(s, "Less", x, 0.0, mul(s, dy, plus(s, y, alpha)), dy);
}

static int32_t slope_selu(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    double alpha = attribute(s, "alpha", 1.67326319217681884766f);
    double gamma = attribute(s, "gamma", 1.05070102214813232422f);

    return choose(s, "Greater", x, 0.0, times(s, dy, gamma), mul(s, dy, plus(s, y, alpha * gamma)));
}

/* exp(x / alpha) below 0: there y / alpha + 1. */
static int32_t slope_celu(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    double alpha = attribute(s, "alpha", 1.0f);

    return choose(s, "Less", x, 0.0, mul(s, dy, plus(s, times(s, y, 1.0 / alpha), 1.0)), dy);
}

static int32_t slope_hard_sigmoid(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)x;
    return gate(s, y, times(s, dy, attribute(s, "alpha", 0.2f)), 0.0, 1.0, false);
}

/* x (x + 3) / 6 between -3 and 3, x above */
static int32_t slope_hard_swish(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    int32_t bent = mul(s, dy, plus(s, times(s, x, 1.0 / 3.0), 0.5));

    (void)y;
    return emit_binary(&s->e, "Add", gate(s, x, bent, -3.0, 3.0, false),
                       gate(s, x, dy, 3.0, (double)INFINITY, true));
}

/* y = x g(alpha x), g the logistic function: g + alpha y (1 - g) */
static int32_t slope_swish(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    double alpha = attribute(s, "alpha", 1.0f);
    int32_t gate = of(s, "Sigmoid", times(s, x, alpha));

    return mul(s, dy,
               emit_binary(&s->e, "Add", gate, mul(s, times(s, y, alpha), complement(s, gate))));
}

/* y = x t, t = tanh(softplus(x)): t + x (1 - t^2) logistic(x) */
static int32_t slope_mish(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    int32_t t = of(s, "Tanh", of(s, "Softplus", x));
    int32_t bent = mul(s, mul(s, x, of(s, "Sigmoid", x)), complement(s, mul(s, t, t)));

    (void)y;
    return mul(s, dy, emit_binary(&s->e, "Add", t, bent));
}

/* The normal distribution function plus x times its density. */
static int32_t slope_gelu_exact(gradient_step *s, int32_t x, int32_t dy)
{
    int32_t share;

    return emit_own(&s->e, "GeluGradient", 2, (const int32_t[]){x, dy}, 1, &share);
}

/* y = x (1 + t) / 2, t = tanh(u), u = sqrt(2/pi) (x + 0.044715 x^3) */
static int32_t slope_gelu(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    const char *form = graph_attribute_string(&s->node, "approximate", "none");
    double steep = root_two / root_pi;
    int32_t square;
    int32_t t;
    int32_t du;
    int32_t half;

    (void)y;
    if (strcmp(form, "tanh") != 0) {
        return slope_gelu_exact(s, x, dy);
    }
    square = mul(s, x, x);
    t = of(s, "Tanh", mul(s, x, plus(s, times(s, square, 0.044715 * steep), steep)));
    du = plus(s, times(s, square, 3.0 * 0.044715 * steep), steep);
    half = times(s, plus(s, t, 1.0), 0.5);
    return mul(s, dy,
               emit_binary(&s->e, "Add", half,
                           mul(s, times(s, x, 0.5), mul(s, du, complement(s, mul(s, t, t))))));
}

static int32_t slope_cast(gradient_step *s, int32_t x, int32_t y, int32_t dy)
{
    (void)y;
    return emit_cast(&s->e, dy, gradient_dtype(s, x));
}

/* ---- two inputs ---- */

static void give_add(gradient_step *s)
{
    for (int i = 0; i < s->node.input_count; i++) {
        if (gradient_wanted(s, i)) {
            gradient_give_sum(s, i, s->dy[0]);
        }
    }
}

static void give_sub(gradient_step *s)
{
    if (gradient_wanted(s, 0)) {
        gradient_give_sum(s, 0, s->dy[0]);
    }
    if (gradient_wanted(s, 1)) {
        gradient_give_sum(s, 1, of(s, "Neg", s->dy[0]));
    }
}

static void give_mul(gradient_step *s)
{
    for (int i = 0; i < 2; i++) {
        if (gradient_wanted(s, i)) {
            gradient_give_sum(s, i, mul(s, s->dy[0], s->node.inputs[1 - i]));
        }
    }
}

/* y = a / b: 1 / b and -y / b */
static void give_div(gradient_step *s)
{
    int32_t share = div(s, s->dy[0], s->node.inputs[1]);

    if (gradient_wanted(s, 0)) {
        gradient_give_sum(s, 0, share);
    }
    if (gradient_wanted(s, 1)) {
        gradient_give_sum(s, 1, of(s, "Neg", mul(s, share, s->node.outputs[0])));
    }
}

static bool constant_number(const gradient_step *s, int32_t id, double *value)
{
    const tensor *t = graph_constant(s->e.g, id);

    if (t == NULL || tensor_count(t) != 1 || t->rank > 1) {
        return false;
    }
    *value = convert_get_f64(t, 0);
    return true;
}

/* y = a^b: b a^(b - 1), and y log a, which is 0 where a is. */
static void give_pow(gradient_step *s)
{
    int32_t a = s->node.inputs[0];
    int32_t b = s->node.inputs[1];
    double power;

    if (gradient_wanted(s, 0) && constant_number(s, b, &power)) {
        int32_t steep = power == 2.0 ? a : emit_binary(&s->e, "Pow", a, number(s, power - 1.0));

        gradient_give_sum(s, 0, mul(s, s->dy[0], times(s, steep, power)));
    } else if (gradient_wanted(s, 0)) {
        int32_t exponent = emit_cast(&s->e, b, gradient_dtype(s, a));
        int32_t steep = emit_binary(&s->e, "Pow", a, plus(s, exponent, -1.0));

        gradient_give_sum(s, 0, mul(s, s->dy[0], mul(s, steep, exponent)));
    }
    if (gradient_wanted(s, 1)) {
        int32_t steep = mul(s, s->node.outputs[0], of(s, "Log", a));
        int32_t share = mul(s, s->dy[0], choose(s, "Equal", a, 0.0, number(s, 0.0), steep));

        gradient_give_sum(s, 1, emit_cast(&s->e, share, gradient_dtype(s, b)));
    }
}

static void give_prelu(gradient_step *s)
{
    int32_t x = s->node.inputs[0];

    if (gradient_wanted(s, 0)) {
        gradient_give(s, 0,
                      choose(s, "Less", x, 0.0, mul(s, s->dy[0], s->node.inputs[1]), s->dy[0]));
    }
    if (gradient_wanted(s, 1)) {
        gradient_give_sum(s, 1, choose(s, "Less", x, 0.0, mul(s, s->dy[0], x), number(s, 0.0)));
    }
}

/* ---- many inputs ---- */

static void give_mean(gradient_step *s)
{
    int32_t share = times(s, s->dy[0], 1.0 / (double)s->node.input_count);

    for (int i = 0; i < s->node.input_count; i++) {
        if (gradient_wanted(s, i)) {
            gradient_give_sum(s, i, share);
        }
    }
}

/* Max, Min: all to the first input that is the result. */
static void give_extreme(gradient_step *s)
{
    int32_t left = s->dy[0]; /* what nobody has taken yet */

    for (int i = 0; i < s->node.input_count; i++) {
        int32_t taken = emit_binary(&s->e, "Equal", s->node.inputs[i], s->node.outputs[0]);

        if (gradient_wanted(s, i)) {
            gradient_give_sum(s, i, emit_where(&s->e, taken, left, number(s, 0.0)));
        }
        if (i + 1 < s->node.input_count) {
            left = emit_where(&s->e, taken, number(s, 0.0), left);
        }
    }
}

/* A constant that an attribute holds exactly. */
static bool constant_float(const gradient_step *s, int32_t id, double *value)
{
    double found;

    if (!constant_number(s, id, &found) || found != (double)(float)found) {
        return false;
    }
    *value = found;
    return true;
}

/* The ends of the range belong to it. */
static void give_clip(gradient_step *s)
{
    static const char *const outside[] = {"Less", "Greater"};
    static const char *const names[] = {"min", "max"};
    double ends[] = {-(double)INFINITY, (double)INFINITY};
    int32_t x = s->node.inputs[0];
    int32_t share = s->dy[0];

    for (int i = 0; i < 2; i++) {
        int32_t bound = gradient_input(s, 1 + i);

        if (s->node.opset < 11) {
            ends[i] = attribute(s, names[i], (float)ends[i]);
        } else if (bound != GRAPH_NONE && !constant_float(s, bound, &ends[i])) {
            share =
                emit_where(&s->e, emit_binary(&s->e, outside[i], x, bound), number(s, 0.0), share);
        }
    }
    gradient_give(s, 0, gate(s, x, share, ends[0], ends[1], true));
}

static void give_where(gradient_step *s)
{
    int32_t zero = emit_number(&s->e, gradient_dtype(s, s->node.outputs[0]), 0.0);
    int32_t condition = s->node.inputs[0];

    if (gradient_wanted(s, 1)) {
        gradient_give_sum(s, 1, emit_where(&s->e, condition, s->dy[0], zero));
    }
    if (gradient_wanted(s, 2)) {
        gradient_give_sum(s, 2, emit_where(&s->e, condition, zero, s->dy[0]));
    }
}

/* What was dropped is told by the operator's mask; kept elements were divided by what is kept. */
static void give_dropout(gradient_step *s)
{
    int32_t x = s->node.inputs[0];
    int32_t training = gradient_input(s, 2);
    const tensor *flag = training != GRAPH_NONE ? graph_constant(s->e.g, training) : NULL;
    double ratio = 0.5;
    int32_t mask;

    if (s->node.opset < 12 || training == GRAPH_NONE ||
        (flag != NULL && tensor_count(flag) == 1 && convert_get_i64(flag, 0) == 0)) {
        gradient_give(s, 0, s->dy[0]);
        return;
    }
    if (flag == NULL ||
        (gradient_input(s, 1) != GRAPH_NONE && !constant_number(s, gradient_input(s, 1), &ratio))) {
        gradient_refuse(s, "its ratio or mode is not constant");
        return;
    }
    mask = emit_cast(&s->e, gradient_demand_output(s, 1), gradient_dtype(s, x));
    gradient_give(s, 0, mul(s, s->dy[0], times(s, mask, ratio < 1.0 ? 1.0 / (1.0 - ratio) : 0.0)));
}

#define SLOPE(NAME, DOMAIN, FUNCTION)                          \
    {                                                          \
        .name = (NAME), .domain = (DOMAIN), .run = give_slope, \
        .detail = &((const slope){FUNCTION})                   \
    }

/* clang-format off */
const gradient_rule gradient_elementwise_rules[] = {
    SLOPE("Abs", "", slope_abs),
    SLOPE("Acos", "", slope_acos),
    SLOPE("Acosh", "", slope_acosh),
    {.name = "Add", .domain = "", .run = give_add},
    SLOPE("Asin", "", slope_asin),
    SLOPE("Asinh", "", slope_asinh),
    SLOPE("Atan", "", slope_atan),
    SLOPE("Atanh", "", slope_atanh),
    SLOPE("Cast", "", slope_cast),
    SLOPE("CastLike", "", slope_cast),
    {.name = "Ceil", .domain = ""},
    SLOPE("Celu", "", slope_celu),
    {.name = "Clip", .domain = "", .run = give_clip},
    SLOPE("Cos", "", slope_cos),
    SLOPE("Cosh", "", slope_cosh),
    {.name = "Div", .domain = "", .run = give_div},
    {.name = "Dropout", .domain = "", .run = give_dropout},
    SLOPE("Elu", "", slope_elu),
    SLOPE("Erf", "", slope_erf),
    SLOPE("Exp", "", slope_exp),
    {.name = "Floor", .domain = ""},
    SLOPE("Gelu", "", slope_gelu),
    SLOPE("Gelu", "com.microsoft", slope_gelu),
    SLOPE("HardSigmoid", "", slope_hard_sigmoid),
    SLOPE("HardSwish", "", slope_hard_swish),
    SLOPE("Identity", "", slope_identity),
    SLOPE("LeakyRelu", "", slope_leaky_relu),
    SLOPE("Log", "", slope_log),
    {.name = "Max", .domain = "", .run = give_extreme},
    {.name = "Mean", .domain = "", .run = give_mean},
    {.name = "Min", .domain = "", .run = give_extreme},
    SLOPE("Mish", "", slope_mish),
    {.name = "Mul", .domain = "", .run = give_mul},
    SLOPE("Neg", "", slope_neg),
    {.name = "PRelu", .domain = "", .run = give_prelu},
    {.name = "Pow", .domain = "", .run = give_pow},
    SLOPE("Reciprocal", "", slope_reciprocal),
    SLOPE("Relu", "", slope_relu),
    {.name = "Round", .domain = ""},
    SLOPE("Selu", "", slope_selu),
    SLOPE("Shrink", "", slope_shrink),
    SLOPE("Sigmoid", "", slope_sigmoid),
    {.name = "Sign", .domain = ""},
    SLOPE("Sin", "", slope_sin),
    SLOPE("Sinh", "", slope_sinh),
    SLOPE("Softplus", "", slope_softplus),
    SLOPE("Softsign", "", slope_softsign),
    SLOPE("Sqrt", "", slope_sqrt),
    {.name = "Sub", .domain = "", .run = give_sub},
    {.name = "Sum", .domain = "", .run = give_add},
    SLOPE("Swish", "", slope_swish),
    SLOPE("Tan", "", slope_tan),
    SLOPE("Tanh", "", slope_tanh),
    SLOPE("ThresholdedRelu", "", slope_thresholded_relu),
    {.name = "Where", .domain = "", .run = give_where},
    {.name = NULL},
};
/* clang-format on */
