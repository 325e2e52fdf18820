/* The derivatives of functions that are worth an operator of their own, in the domain "ai.spry":
 *
 *     SoftmaxGradient(y, dy)    y (dy - sum of y dy), along `axis`
 *     GeluGradient(x, dy)       dy (Phi(x) + x phi(x)) */
#include <math.h>

#include "kernels/elementwise/gradient_f32.h"
#include "ops/broadcast.h"
#include "ops/families.h"
#include "ops/lines.h"
#include "ops/whole.h"

#define REAL (1u << SPRY_DTYPE_F32 | 1u << SPRY_DTYPE_F64)

static void function_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    (void)macs;
    *flops = 4 * op_work_count(w->inputs[0]);
}

/* Two inputs of one shape, and the output. */
typedef struct pair {
    const tensor *left, *dy;
    tensor *to;
    lines along;
    double *room; /* SoftmaxGradient: two lines per worker; NULL: f32 lines in one run */
} pair;

static spry_status read_pair(op_call *call, pair *p)
{
    p->left = op_call_input(call, 0);
    p->dy = op_call_input(call, 1);
    if (p->left == NULL || p->dy == NULL || !tensor_same_shape(p->left, p->dy) ||
        p->left->dtype != p->dy->dtype) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the inputs differ in shape or type");
    }
    return op_call_output_like(call, 0, p->left->dtype, p->left, &p->to);
}

/* ---- SoftmaxGradient ---- */

static void softmax_line(const pair *p, int64_t line, double *y)
{
    double *dy = y + p->along.length;
    int64_t start = lines_start(&p->along, line);
    double sum = 0.0;

    lines_read_f64(p->left, start, p->along.inner, p->along.length, y);
    lines_read_f64(p->dy, start, p->along.inner, p->along.length, dy);
    for (int64_t i = 0; i < p->along.length; i++) {
        sum += y[i] * dy[i];
    }
    for (int64_t i = 0; i < p->along.length; i++) {
        y[i] *= dy[i] - sum;
    }
    lines_write_f64(p->to, start, p->along.inner, p->along.length, y);
}

static void softmax_lines(void *context, int64_t begin, int64_t end, int worker)
{
    const pair *p = context;
    int64_t n = p->along.length;

    for (int64_t line = begin; line < end; line++) {
        if (p->room != NULL) {
            softmax_line(p, line, p->room + worker * 2 * n);
        } else {
            gradient_f32_select()->softmax((float *)p->to->data + line * n,
                                           (const float *)p->left->data + line * n,
                                           (const float *)p->dy->data + line * n, n);
        }
    }
}

static spry_status run_softmax_gradient(op_call *call)
{
    pair p = {.left = NULL};
    void *memory = NULL;
    int axis;
    spry_status status = read_pair(call, &p);

    if (status != SPRY_OK || p.to == NULL) {
        return status;
    }
    if (!op_normalize_axis(graph_attribute_int(call->node, "axis", -1), p.left->rank, &axis)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the axis does not exist");
    }
    p.along = lines_along(p.left, axis);
    if (p.left->dtype != SPRY_DTYPE_F32 || p.along.inner != 1) {
        status = whole_room(call, 2 * p.along.length, threads_count(call->team), sizeof(double),
                            &memory);
        p.room = memory;
    }
    if (status == SPRY_OK) {
        threads_for(call->team, p.along.count, lines_grain(p.along.length, BROADCAST_GRAIN),
                    softmax_lines, &p);
    }
    return status;
}

/* ---- GeluGradient ---- */

static void gelu_piece(void *context, int64_t begin, int64_t end, int worker)
{
    const double root_half = 0.70710678118654752440;
    const double bell = 0.39894228040143267794; /* 1 / sqrt(2 pi) */
    const pair *p = context;

    (void)worker;
    if (p->left->dtype == SPRY_DTYPE_F32) {
        gradient_f32_select()->gelu((float *)p->to->data + begin,
                                    (const float *)p->left->data + begin,
                                    (const float *)p->dy->data + begin, end - begin);
        return;
    }
    for (int64_t i = begin; i < end; i++) {
        double x = ((const double *)p->left->data)[i];
        double slope = 0.5 * (1.0 + erf(x * root_half)) + x * bell * exp(-0.5 * x * x);

        ((double *)p->to->data)[i] = ((const double *)p->dy->data)[i] * slope;
    }
}

static spry_status run_gelu_gradient(op_call *call)
{
    pair p = {.left = NULL};
    spry_status status = read_pair(call, &p);

    if (status == SPRY_OK && p.to != NULL) {
        threads_for(call->team, tensor_count(p.left), BROADCAST_GRAIN, gelu_piece, &p);
    }
    return status;
}

#define FUNCTION_GRADIENT(NAME, RUN)                                                       \
    {                                                                                      \
        .name = (NAME), .domain = "ai.spry", .since = 1, .min_inputs = 2, .max_inputs = 2, \
        .min_outputs = 1, .max_outputs = 1, .flags = OP_IN_PLACE, .types = {REAL, REAL},   \
        .infer = op_infer_same, .run = (RUN), .cost = function_cost                        \
    }

/* clang-format off */
const op ops_gradient_function[] = {
    FUNCTION_GRADIENT("GeluGradient", run_gelu_gradient),
    FUNCTION_GRADIENT("SoftmaxGradient", run_softmax_gradient),
    {.name = NULL},
};
/* clang-format on */
