/* Optimisers as operators (ai.onnx.preview.training): one step for any number of tensors.
 *
 * Inputs: rate R, step count T, then all X, all gradients G, and one or two groups of state. The
 * outputs are the new X, then the new states. Arithmetic is in f64, rounded once. */
#include <math.h>
#include <string.h>

#include "ops/broadcast.h"
#include "ops/families.h"

typedef struct step {
    double rate, count; /* R and T */
    double alpha, beta, epsilon, norm, norm_post, decay;
    bool nesterov;
} step;

/* One element: x, its gradient g, the states v and h in and out. */
typedef void (*step_rule)(const step *s, double *x, double g, double *v, double *h);

typedef struct optimizer_row {
    step_rule rule;
    int states;
    float alpha, beta, epsilon; /* defaults */
} optimizer_row;

static void adagrad(const step *s, double *x, double g, double *v, double *h)
{
    double rate = s->rate / (1.0 + s->count * s->decay);

    (void)h;
    g += s->norm * *x;
    *v += g * g;
    *x -= rate * g / (sqrt(*v) + s->epsilon);
}

static void adam(const step *s, double *x, double g, double *v, double *h)
{
    double rate = s->rate;

    g += s->norm * *x;
    *v = s->alpha * *v + (1.0 - s->alpha) * g;
    *h = s->beta * *h + (1.0 - s->beta) * g * g;
    if (s->count > 0.0) {
        rate *= sqrt(1.0 - pow(s->beta, s->count)) / (1.0 - pow(s->alpha, s->count));
    }
    *x = (1.0 - s->norm_post) * (*x - rate * *v / (sqrt(*h) + s->epsilon));
}

static void momentum(const step *s, double *x, double g, double *v, double *h)
{
    double beta = s->count > 0.0 ? s->beta : 1.0;

    (void)h;
    g += s->norm * *x;
    *v = s->alpha * *v + beta * g;
    *x -= s->rate * (s->nesterov ? g + s->alpha * *v : *v);
}

static spry_status run_tensor(op_call *call, const optimizer_row *row, const step *s, int which,
                              int tensors)
{
    const tensor *from[4] = {NULL};
    tensor *to[4] = {NULL};
    int ports = 2 + row->states;

    for (int i = 0; i < ports; i++) {
        from[i] = op_call_input(call, 2 + i * tensors + which);
        if (from[i] == NULL || !tensor_same_shape(from[i], from[0])) {
            return op_call_fail(call, SPRY_BAD_INPUT, "tensor %d and its state differ in shape",
                                which);
        }
    }
    for (int i = 0; i < ports - 1; i++) { /* everything but the gradient */
        const tensor *like = from[i == 0 ? 0 : i + 1];
        spry_status status =
            op_call_output_like(call, i * tensors + which, like->dtype, like, &to[i]);

        if (status != SPRY_OK) {
            return status;
        }
    }
    for (int64_t k = 0; k < tensor_count(from[0]); k++) {
        double x[3] = {convert_get_f64(from[0], k), convert_get_f64(from[2], k),
                       ports == 4 ? convert_get_f64(from[3], k) : 0.0};

        row->rule(s, &x[0], convert_get_f64(from[1], k), &x[1], &x[2]);
        for (int i = 0; i < ports - 1; i++) {
            if (to[i] != NULL) {
                convert_write_f64(to[i], k, 1, &x[i]);
            }
        }
    }
    return SPRY_OK;
}

static spry_status run_optimizer(op_call *call)
{
    const optimizer_row *row = op_of_node(call->node)->detail;
    const graph_node *node = call->node;
    int tensors = (call->input_count - 2) / (2 + row->states);
    step s = {
        .rate = op_call_scalar(call, 0, 0.0),
        .count = op_call_scalar(call, 1, 0.0),
        .alpha = (double)graph_attribute_float(node, "alpha", row->alpha),
        .beta = (double)graph_attribute_float(node, "beta", row->beta),
        .epsilon = (double)graph_attribute_float(node, "epsilon", row->epsilon),
        .norm = (double)graph_attribute_float(node, "norm_coefficient", 0.0f),
        .norm_post = (double)graph_attribute_float(node, "norm_coefficient_post", 0.0f),
        .decay = (double)graph_attribute_float(node, "decay_factor", 0.0f),
        .nesterov = strcmp(graph_attribute_string(node, "mode", "standard"), "nesterov") == 0,
    };

    if (tensors < 1 || call->input_count != 2 + tensors * (2 + row->states)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the tensors and their states do not pair up");
    }
    for (int i = 0; i < tensors; i++) {
        spry_status status = run_tensor(call, row, &s, i, tensors);

        if (status != SPRY_OK) {
            return status;
        }
    }
    return SPRY_OK;
}

static spry_status infer_optimizer(op_shapes *s)
{
    const optimizer_row *row = op_of_node(s->node)->detail;
    int tensors = (s->input_count - 2) / (2 + row->states);

    for (int i = 0; i < s->output_count; i++) {
        op_shapes_copy(s, i, 2 + (i < tensors ? i : i + tensors)); /* the gradients are skipped */
    }
    return SPRY_OK;
}

/* About ten operations per weight. */
static void cost_optimizer(const op_work *w, int64_t *macs, int64_t *flops)
{
    (void)macs;
    for (int i = 0; i < w->output_count; i++) {
        *flops += w->outputs[i] != NULL ? 5 * op_work_count(w->outputs[i]) : 0;
    }
}

#define OPTIMIZER(NAME, ...)                                                                  \
    {                                                                                         \
        .name = (NAME), .domain = "ai.onnx.preview.training", .since = 1, .min_inputs = 3,    \
        .max_inputs = OP_VARIADIC, .min_outputs = 1, .max_outputs = OP_VARIADIC,              \
        .flags = OP_LAST_TYPES_REPEAT, .types = {OP_FLOATS, 1u << SPRY_DTYPE_I64, OP_FLOATS}, \
        .infer = infer_optimizer, .run = run_optimizer, .cost = cost_optimizer,               \
        .detail = &((const optimizer_row){__VA_ARGS__})                                       \
    }

/* clang-format off */
const op ops_optimizer[] = {
    OPTIMIZER("Adagrad", .rule = adagrad, .states = 1, .epsilon = 1e-6f),
    OPTIMIZER("Adam", .rule = adam, .states = 2, .alpha = 0.9f, .beta = 0.999f, .epsilon = 1e-6f),
    OPTIMIZER("Momentum", .rule = momentum, .states = 1),
    {.name = NULL},
};
/* clang-format on */
