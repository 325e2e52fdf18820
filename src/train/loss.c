/* Losses from standard operators, so that their gradients are those of the operators. */
#include "train/loss.h"

static spry_dtype type_of(const emitter *e, int32_t value)
{
    return e->g->values[value].type.dtype;
}

/* The mean over all elements, of rank 0. */
static int32_t mean(emitter *e, int32_t a)
{
    return emit_reduce(e, "ReduceMean", a, 0, NULL, false);
}

/* ---- classes ---- */

/* What every example counts: the weight of its target, 0 where it is ignored. */
static int32_t counts_of(emitter *e, const loss_options *o, int32_t targets, int32_t weights,
                         spry_dtype dtype)
{
    int32_t skipped = GRAPH_NONE;
    int32_t counts;

    if (o->ignores) {
        skipped =
            emit_binary(e, "Equal", targets, emit_number(e, SPRY_DTYPE_I64, (double)o->ignored));
        targets = emit_where(e, skipped, emit_number(e, SPRY_DTYPE_I64, 0.0), targets);
    }
    counts = weights != GRAPH_NONE ? emit_binary(e, "Gather", weights, targets)
                                   : emit_expand_like(e, emit_number(e, dtype, 1.0), targets);
    return skipped != GRAPH_NONE ? emit_where(e, skipped, emit_number(e, dtype, 0.0), counts)
                                 : counts;
}

/* The weights [C] to lie over axis 1 of the scores. */
static int32_t over_classes(emitter *e, int32_t weights, int rank)
{
    int64_t shape[SPRY_TENSOR_MAX_RANK] = {-1};

    for (int i = 2; i < rank; i++) {
        shape[i - 1] = 1;
    }
    return rank > 2 ? emit_reshape(e, weights, rank - 1, shape) : weights;
}

/* What smoothing mixes in: each class as target alike, with its own weight, divided by the sum of
 * the weights of the true targets. */
static int32_t even_loss(emitter *e, const loss_options *o, int32_t logs, int32_t targets,
                         int32_t weights, const graph_type *type)
{
    int32_t per_example;
    int32_t counts;

    if (weights != GRAPH_NONE) {
        logs = emit_binary(e, "Mul", logs, over_classes(e, weights, type->rank));
    }
    per_example = emit_unary(e, "Neg", emit_reduce(e, "ReduceMean", logs, 1, &(int64_t){1}, false));
    if (weights == GRAPH_NONE && !o->ignores) {
        return mean(e, per_example);
    }
    counts = counts_of(e, o, targets, weights, type->dtype);
    if (o->ignores) {
        int32_t none = emit_number(e, type->dtype, 0.0);

        per_example = emit_where(e, emit_binary(e, "Greater", counts, none), per_example, none);
    }
    return emit_binary(e, "Div", emit_reduce(e, "ReduceSum", per_example, 0, NULL, false),
                       emit_reduce(e, "ReduceSum", counts, 0, NULL, false));
}

static int32_t cross_entropy(emitter *e, const loss_options *o, int32_t scores, int32_t targets)
{
    graph_type type = e->g->values[scores].type;
    int32_t weights = o->class_weights != NULL
                          ? emit_numbers(e, type.dtype, o->class_count, o->class_weights)
                          : GRAPH_NONE;
    int32_t outputs[2]; /* the loss, and the logarithms of the softmax */

    emit_many(e, "SoftmaxCrossEntropyLoss", weights != GRAPH_NONE ? 3 : 2,
              (const int32_t[]){scores, targets, weights}, 2, outputs);
    if (o->ignores) {
        emit_set_int(e, outputs[0], "ignore_index", o->ignored);
    }
    if (o->smoothing <= 0 || e->status != SPRY_OK) {
        return outputs[0];
    }
    return emit_binary(e, "Add", emit_scaled(e, type.dtype, outputs[0], 1.0 - o->smoothing),
                       emit_scaled(e, type.dtype,
                                   even_loss(e, o, outputs[1], targets, weights, &type),
                                   o->smoothing));
}

/* ---- numbers ---- */

/* log(1 + exp(-|z|)) + max(z, 0) is Softplus; with the weight q of positive targets the loss is
 * (1 - t) softplus(z) + q t softplus(-z). */
static int32_t binary(emitter *e, const loss_options *o, int32_t scores, int32_t targets)
{
    spry_dtype dtype = type_of(e, scores);
    double positive = o->positive > 0 ? o->positive : 1.0;
    int32_t none = emit_binary(e, "Sub", emit_number(e, dtype, 1.0), targets);
    int32_t over = emit_unary(e, "Softplus", scores);
    int32_t under = emit_unary(e, "Softplus", emit_unary(e, "Neg", scores));

    return mean(
        e, emit_binary(e, "Add", emit_binary(e, "Mul", none, over),
                       emit_scaled(e, dtype, emit_binary(e, "Mul", targets, under), positive)));
}

static int32_t squared(emitter *e, const loss_options *o, int32_t scores, int32_t targets)
{
    int32_t off = emit_binary(e, "Sub", scores, targets);

    (void)o;
    return mean(e, emit_binary(e, "Mul", off, off));
}

static int32_t relative(emitter *e, const loss_options *o, int32_t scores, int32_t targets)
{
    static const double least = 1e-12; /* of the targets' mean square, where all are 0 */
    int32_t square = mean(e, emit_binary(e, "Mul", targets, targets));

    return emit_binary(e, "Div", squared(e, o, scores, targets),
                       emit_plus(e, type_of(e, scores), square, least));
}

/* With c = min(|d|, delta): c |d| - c^2 / 2. */
static int32_t huber(emitter *e, const loss_options *o, int32_t scores, int32_t targets)
{
    spry_dtype dtype = type_of(e, scores);
    double delta = o->delta > 0 ? o->delta : 1.0;
    int32_t off = emit_unary(e, "Abs", emit_binary(e, "Sub", scores, targets));
    int32_t near = emit_binary(e, "Min", off, emit_number(e, dtype, delta));
    int32_t square = emit_binary(e, "Mul", near, near);

    return mean(e, emit_binary(e, "Sub", emit_binary(e, "Mul", near, off),
                               emit_scaled(e, dtype, square, 0.5)));
}

static int32_t log_softmax(emitter *e, int32_t scores)
{
    int32_t logs = emit_unary(e, "LogSoftmax", scores);

    emit_set_int(e, logs, "axis", 1);
    return logs;
}

static int32_t distillation(emitter *e, const loss_options *o, int32_t scores, int32_t targets)
{
    spry_dtype dtype = type_of(e, scores);
    double temperature = o->temperature > 0 ? o->temperature : 1.0;
    int32_t q = log_softmax(e, emit_scaled(e, dtype, scores, 1.0 / temperature));
    int32_t p = log_softmax(e, emit_scaled(e, dtype, targets, 1.0 / temperature));
    int32_t gap = emit_binary(e, "Mul", emit_unary(e, "Exp", p), emit_binary(e, "Sub", p, q));
    int32_t sums = emit_reduce(e, "ReduceSum", gap, 1, &(int64_t){1}, false);

    return emit_scaled(e, dtype, mean(e, sums), temperature * temperature);
}

int32_t loss_emit(emitter *e, const loss_options *o, int32_t scores, int32_t targets)
{
    static int32_t (*const emitters[])(emitter *, const loss_options *, int32_t, int32_t) = {
        [LOSS_CROSS_ENTROPY] = cross_entropy,
        [LOSS_BINARY] = binary,
        [LOSS_SQUARED] = squared,
        [LOSS_HUBER] = huber,
        [LOSS_DISTILLATION] = distillation,
        [LOSS_RELATIVE] = relative,
    };

    return e->status == SPRY_OK ? emitters[o->kind](e, o, scores, targets) : GRAPH_NONE;
}
