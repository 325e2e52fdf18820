/* Losses of classification: scores [N, C, d...], targets [N, d...] with the class of each place.
 *
 *     NegativeLogLikelihoodLoss   l = -w[t] x[t]
 *     SoftmaxCrossEntropyLoss     l = -w[t] log softmax(x)[t]
 *
 * "mean" divides by the sum of the weights used. */
#include <math.h>
#include <string.h>

#include "ops/broadcast.h"
#include "ops/families.h"
#include "ops/lines.h"

typedef struct loss_row {
    bool softmax;
} loss_row;

typedef struct loss {
    const tensor *scores, *targets, *weights; /* weights may be NULL */
    tensor *result;                           /* may be NULL */
    tensor *log_probabilities;                /* may be NULL */
    lines along;                              /* one line of classes per place */
    bool softmax;
    bool ignores;
    int64_t ignored;
    double sum, weight;
} loss;

static double log_sum_exp(const loss *l, int64_t start)
{
    double largest = -(double)INFINITY;
    double sum = 0.0;

    for (int64_t c = 0; c < l->along.length; c++) {
        double x = convert_get_f64(l->scores, start + c * l->along.inner);

        largest = x > largest || x != x ? x : largest;
    }
    for (int64_t c = 0; c < l->along.length; c++) {
        sum += exp(convert_get_f64(l->scores, start + c * l->along.inner) - largest);
    }
    return largest + log(sum);
}

/* The loss of one place, into sum and weight too. False when the class does not exist. */
static bool add_place(loss *l, int64_t place, double *result)
{
    int64_t start = lines_start(&l->along, place);
    int64_t target = convert_get_i64(l->targets, place);
    double shift = l->softmax ? log_sum_exp(l, start) : 0.0;
    double weight = 1.0;

    for (int64_t c = 0; l->log_probabilities != NULL && c < l->along.length; c++) {
        int64_t at = start + c * l->along.inner;
        double x = convert_get_f64(l->scores, at) - shift;

        convert_write_f64(l->log_probabilities, at, 1, &x);
    }
    *result = 0.0;
    if (l->ignores && target == l->ignored) {
        return true;
    }
    if (target < 0 || target >= l->along.length) {
        return false;
    }
    if (l->weights != NULL) {
        weight = convert_get_f64(l->weights, target);
    }
    *result = -weight * (convert_get_f64(l->scores, start + target * l->along.inner) - shift);
    l->sum += *result;
    l->weight += weight;
    return true;
}

static bool inputs_fit(const loss *l)
{
    const tensor *x = l->scores;
    const tensor *t = l->targets;

    if (x == NULL || t == NULL || x->rank < 2 || t->rank != x->rank - 1 ||
        x->shape[0] != t->shape[0]) {
        return false;
    }
    for (int d = 2; d < x->rank; d++) {
        if (x->shape[d] != t->shape[d - 1]) {
            return false;
        }
    }
    return l->weights == NULL || tensor_count(l->weights) == x->shape[1];
}

static spry_status run_loss(op_call *call)
{
    const loss_row *row = op_of_node(call->node)->detail;
    const char *reduction = graph_attribute_string(call->node, "reduction", "mean");
    bool none = strcmp(reduction, "none") == 0;
    loss l = {.scores = op_call_input(call, 0),
              .targets = op_call_input(call, 1),
              .weights = op_call_input(call, 2),
              .softmax = row->softmax};
    double total;
    spry_status status;

    if (!inputs_fit(&l) ||
        (!none && strcmp(reduction, "mean") != 0 && strcmp(reduction, "sum") != 0)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "scores, targets, weights or reduction misfit");
    }
    l.along = lines_along(l.scores, 1);
    l.ignores = graph_attribute_find(call->node, "ignore_index") != NULL;
    l.ignored = graph_attribute_int(call->node, "ignore_index", 0);
    status = op_call_output(call, 0, l.scores->dtype, none ? l.targets->rank : 0, l.targets->shape,
                            &l.result);
    if (status == SPRY_OK) {
        status = op_call_output_like(call, 1, l.scores->dtype, l.scores, &l.log_probabilities);
    }
    for (int64_t place = 0; status == SPRY_OK && place < l.along.count; place++) {
        double one;

        if (!add_place(&l, place, &one)) {
            return op_call_fail(call, SPRY_BAD_INPUT, "target %lld is no class",
                                (long long)convert_get_i64(l.targets, place));
        }
        if (none && l.result != NULL) {
            convert_write_f64(l.result, place, 1, &one);
        }
    }
    total = strcmp(reduction, "mean") == 0 ? l.sum / l.weight : l.sum;
    if (status == SPRY_OK && !none && l.result != NULL) {
        convert_write_f64(l.result, 0, 1, &total);
    }
    return status;
}

static spry_status infer_loss(op_shapes *s)
{
    const graph_type *scores = op_shapes_input(s, 0);
    const graph_type *targets = op_shapes_ranked(s, 1);
    const char *reduction = graph_attribute_string(s->node, "reduction", "mean");

    if (scores == NULL || scores->kind != GRAPH_TYPE_TENSOR) {
        return SPRY_OK;
    }
    if (strcmp(reduction, "none") != 0) {
        op_shapes_set(s, 0, scores->dtype, 0, NULL);
    } else if (targets != NULL) {
        op_shapes_set(s, 0, scores->dtype, targets->rank, targets->dims);
    } else {
        op_shapes_set_unranked(s, 0, scores->dtype);
    }
    op_shapes_copy(s, 1, 0);
    return SPRY_OK;
}

static void cost_loss(const op_work *w, int64_t *macs, int64_t *flops)
{
    (void)macs;
    *flops += 4 * op_work_count(w->inputs[0]);
}

#define LOSS(NAME, OUTPUTS, SOFTMAX)                                                           \
    {                                                                                          \
        .name = (NAME), .domain = "", .since = 12, .min_inputs = 2, .max_inputs = 3,           \
        .min_outputs = 1, .max_outputs = (OUTPUTS), .types = {OP_FLOATS, OP_INDEX, OP_FLOATS}, \
        .infer = infer_loss, .run = run_loss, .cost = cost_loss,                               \
        .detail = &((const loss_row){SOFTMAX})                                                 \
    }

/* clang-format off */
const op ops_loss[] = {
    LOSS("NegativeLogLikelihoodLoss", 1, false),
    LOSS("SoftmaxCrossEntropyLoss", 2, true),
    {.name = NULL},
};
/* clang-format on */
