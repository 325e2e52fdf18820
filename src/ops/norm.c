/* Normalisation by given statistics or those of each image: BatchNormalization,
 * InstanceNormalization, GroupNormalization, LRN, MeanVarianceNormalization. (Over the last axes:
 * layer_norm.c.) All compute in f64, but for the first three on f32. */
#include <math.h>
#include <string.h>

#include "kernels/elementwise/elementwise_f32.h"
#include "ops/families.h"
#include "ops/operand.h"
#include "ops/whole.h"
#include "tensor/convert.h"

/* y = (x - mean) * factor + bias over `count` elements from `start`, by blocks. */
static void scale_run(const tensor *x, tensor *y, int64_t start, int64_t count, double mean,
                      double factor, double bias)
{
    double room[CONVERT_BLOCK];

    if (x->dtype == SPRY_DTYPE_F32) {
        elementwise_f32_select()->scale((float *)y->data + start, (const float *)x->data + start,
                                        count, (float)factor, (float)(bias - mean * factor));
        return;
    }
    for (int64_t done = 0; done < count; done += CONVERT_BLOCK) {
        int64_t n = count - done < CONVERT_BLOCK ? count - done : CONVERT_BLOCK;

        convert_read_f64(x, start + done, n, room);
        for (int64_t i = 0; i < n; i++) {
            room[i] = (room[i] - mean) * factor + bias;
        }
        convert_write_f64(y, start + done, n, room);
    }
}

/* Adds up x - shift and (x - shift)^2 over a run. */
static void add_run(const tensor *x, int64_t start, int64_t count, double shift, double *sum,
                    double *squares)
{
    double room[CONVERT_BLOCK];

    for (int64_t done = 0; done < count; done += CONVERT_BLOCK) {
        int64_t n = count - done < CONVERT_BLOCK ? count - done : CONVERT_BLOCK;

        convert_read_f64(x, start + done, n, room);
        for (int64_t i = 0; i < n; i++) {
            double d = room[i] - shift;

            *sum += d;
            *squares += d * d;
        }
    }
}

/* `runs` runs of `length` elements, `step` apart: mean and variance (of the population). */
static void moments(const tensor *x, int64_t start, int64_t runs, int64_t length, int64_t step,
                    double *mean, double *variance)
{
    double count = (double)(runs * length);
    double sum = 0.0;
    double squares = 0.0;

    for (int64_t r = 0; r < runs; r++) {
        add_run(x, start + r * step, length, 0.0, &sum, &squares);
    }
    *mean = sum / count;
    sum = 0.0;
    squares = 0.0;
    for (int64_t r = 0; r < runs; r++) {
        add_run(x, start + r * step, length, *mean, &sum, &squares);
    }
    *variance = squares / count;
}

static spry_status check_parameter(const op_call *call, int i, int64_t count)
{
    const tensor *t = op_call_input(call, i);

    if (t == NULL || tensor_count(t) != count) {
        return op_call_fail(call, SPRY_BAD_INPUT, "input %d must have %lld elements", i,
                            (long long)count);
    }
    return SPRY_OK;
}

/* ---- BatchNormalization ---- */

static spry_status infer_batch_norm(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);

    op_shapes_copy(s, 0, 0);
    for (int i = 1; i < s->output_count; i++) {
        if (x != NULL && x->rank > 1) {
            op_shapes_set(s, i, operand_dtype(s, i < 3 ? 2 + i : i), 1, &x->dims[1]);
        }
    }
    for (int i = 1; x != NULL && x->rank > 1 && i < 5; i++) {
        const graph_type *parameter = op_shapes_ranked(s, i);

        if (parameter != NULL && parameter->rank == 1 && parameter->dims[0].size >= 0 &&
            x->dims[1].size >= 0 && parameter->dims[0].size != x->dims[1].size) {
            return op_shapes_fail(s, "input %d has %lld elements for %lld channels", i,
                                  (long long)parameter->dims[0].size, (long long)x->dims[1].size);
        }
    }
    return SPRY_OK;
}

typedef struct batch_norm {
    const tensor *x;
    tensor *y;
    int64_t channels, size; /* size: of one plane */
    const double *scale, *bias;
    const double *mean, *variance;
    double epsilon;
} batch_norm;

static void run_channels(void *context, int64_t begin, int64_t end, int worker)
{
    const batch_norm *b = context;

    (void)worker;
    for (int64_t plane = begin; plane < end; plane++) {
        int64_t c = plane % b->channels;

        scale_run(b->x, b->y, plane * b->size, b->size, b->mean[c],
                  b->scale[c] / sqrt(b->variance[c] + b->epsilon), b->bias[c]);
    }
}

/* Output `i`, one number per channel, typed like input `like`. */
static spry_status write_channels(op_call *call, int i, int like, int64_t channels,
                                  const double *from)
{
    tensor *to;
    spry_status status =
        op_call_output(call, i, op_call_input(call, like)->dtype, 1, &channels, &to);

    if (status == SPRY_OK && to != NULL) {
        convert_write_f64(to, 0, channels, from);
    }
    return status;
}

/* The running statistics after this batch; those of the batch replace b's. (Outputs 3 and 4 are
 * what versions below 14 call saved statistics.) */
static spry_status train_batch_norm(op_call *call, batch_norm *b, int64_t images)
{
    double momentum = (double)graph_attribute_float(call->node, "momentum", 0.9f);
    const double *before[2] = {b->mean, b->variance};
    void *memory = NULL;
    double *own;
    double *running;
    spry_status status = whole_room(call, b->channels, 3, sizeof(double), &memory);

    own = memory;
    running = own + 2 * b->channels;
    for (int64_t c = 0; c < b->channels && status == SPRY_OK; c++) {
        moments(b->x, c * b->size, images, b->size, b->channels * b->size, &own[c],
                &own[b->channels + c]);
    }
    for (int i = 0; i < 2 && status == SPRY_OK; i++) {
        for (int64_t c = 0; c < b->channels; c++) {
            running[c] = before[i][c] * momentum + own[i * b->channels + c] * (1.0 - momentum);
        }
        status = write_channels(call, 1 + i, 3 + i, b->channels, running);
        if (status == SPRY_OK) {
            status = write_channels(call, 3 + i, 3 + i, b->channels, own + i * b->channels);
        }
    }
    b->mean = own;
    b->variance = own + b->channels;
    return status;
}

static spry_status run_batch_norm(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    batch_norm b = {.x = x, .epsilon = (double)graph_attribute_float(call->node, "epsilon", 1e-5f)};
    const double **to[] = {&b.scale, &b.bias, &b.mean, &b.variance};
    bool training = call->node->opset >= 14
                        ? graph_attribute_int(call->node, "training_mode", 0) != 0
                        : op_call_wants(call, 1);
    spry_status status;

    if (x == NULL || x->rank < 1) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the input has no batch axis");
    }
    if (graph_attribute_int(call->node, "spatial", 1) != 1) {
        return op_call_fail(call, SPRY_UNSUPPORTED, "statistics per pixel (spatial = 0)");
    }
    b.channels = x->rank > 1 ? x->shape[1] : 1;
    b.size = tensor_span(x, x->rank > 1 ? 2 : 1, x->rank);
    status = op_call_output_like(call, 0, x->dtype, x, &b.y);
    for (int i = 0; i < 4 && status == SPRY_OK; i++) {
        status = check_parameter(call, 1 + i, b.channels);
        if (status == SPRY_OK) {
            status = whole_f64(call, op_call_input(call, 1 + i), to[i]);
        }
    }
    if (status == SPRY_OK && training) {
        status = train_batch_norm(call, &b, x->shape[0]);
    }
    if (status == SPRY_OK && b.y != NULL && b.size > 0) {
        threads_for(call->team, x->shape[0] * b.channels, 1, run_channels, &b);
    }
    return status;
}

/* ---- statistics of groups of channels of each image ---- */

typedef struct group_norm {
    const tensor *x;
    tensor *y;
    int64_t channels, size, groups;
    const double *scale, *bias; /* one per channel, or (per_group) per group */
    bool per_group;
    double epsilon;
} group_norm;

/* Where the scale and bias of a channel of a group are. */
static int64_t group_parameter(const group_norm *g, int64_t group, int64_t channel)
{
    return g->per_group ? group : group * (g->channels / g->groups) + channel;
}

static void run_group_f32(const group_norm *g, int64_t start, int64_t group)
{
    const elementwise_f32_kernel *kernel = elementwise_f32_select();
    const elementwise_f32_norm norm = {.epsilon = (float)g->epsilon};
    const float *from = (const float *)g->x->data + start;
    float *to = (float *)g->y->data + start;
    int64_t each = g->channels / g->groups;

    (void)kernel->layer_norm(to, from, each * g->size, &norm);
    for (int64_t c = 0; c < each; c++, to += g->size) {
        int64_t at = group_parameter(g, group, c);

        kernel->scale(to, to, g->size, (float)g->scale[at], (float)g->bias[at]);
    }
}

static void run_group(const group_norm *g, int64_t start, int64_t group)
{
    int64_t each = g->channels / g->groups;
    double mean;
    double variance;

    moments(g->x, start, 1, each * g->size, 0, &mean, &variance);
    for (int64_t c = 0; c < each; c++) {
        int64_t at = group_parameter(g, group, c);

        scale_run(g->x, g->y, start + c * g->size, g->size, mean,
                  g->scale[at] / sqrt(variance + g->epsilon), g->bias[at]);
    }
}

static void run_groups(void *context, int64_t begin, int64_t end, int worker)
{
    const group_norm *g = context;

    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t start = i * (g->channels / g->groups) * g->size;

        if (g->x->dtype == SPRY_DTYPE_F32) {
            run_group_f32(g, start, i % g->groups);
        } else {
            run_group(g, start, i % g->groups);
        }
    }
}

static spry_status run_grouped(op_call *call, int64_t groups, bool per_group)
{
    const tensor *x = op_call_input(call, 0);
    group_norm g = {.x = x, .groups = groups, .per_group = per_group};
    spry_status status;

    if (x == NULL || x->rank < 2 || groups < 1 || x->shape[1] % groups != 0) {
        return op_call_fail(call, SPRY_BAD_INPUT, "channels do not divide into %lld groups",
                            (long long)groups);
    }
    g.channels = x->shape[1];
    g.size = tensor_span(x, 2, x->rank);
    g.epsilon = (double)graph_attribute_float(call->node, "epsilon", 1e-5f);
    status = op_call_output_like(call, 0, x->dtype, x, &g.y);
    for (int i = 1; i < 3 && status == SPRY_OK; i++) {
        status = check_parameter(call, i, per_group ? groups : g.channels);
        if (status == SPRY_OK) {
            status = whole_f64(call, op_call_input(call, i), i == 1 ? &g.scale : &g.bias);
        }
    }
    if (status == SPRY_OK && g.y != NULL && tensor_count(x) > 0) {
        threads_for(call->team, x->shape[0] * groups, 1, run_groups, &g);
    }
    return status;
}

static spry_status run_instance_norm(op_call *call)
{
    const tensor *x = op_call_input(call, 0);

    return run_grouped(call, x != NULL && x->rank > 1 && x->shape[1] > 0 ? x->shape[1] : 1, false);
}

static spry_status run_group_norm(op_call *call)
{
    return run_grouped(call, graph_attribute_int(call->node, "num_groups", 0),
                       call->node->opset < 21);
}

/* ---- LRN ---- */

typedef struct lrn {
    const double *x;
    tensor *y;
    int64_t channels, size;
    int64_t before, after; /* neighbours that count */
    double alpha, beta, bias;
    double *room; /* size per worker */
} lrn;

static void run_lrn_planes(void *context, int64_t begin, int64_t end, int worker)
{
    const lrn *l = context;
    double *room = l->room + worker * l->size;

    for (int64_t plane = begin; plane < end; plane++) {
        int64_t c = plane % l->channels;
        int64_t low = c > l->before ? c - l->before : 0;
        int64_t high = l->after < l->channels - 1 - c ? c + l->after : l->channels - 1;

        memset(room, 0, (size_t)l->size * sizeof *room);
        for (int64_t k = low; k <= high; k++) {
            const double *from = l->x + (plane - c + k) * l->size;

            for (int64_t i = 0; i < l->size; i++) {
                room[i] += from[i] * from[i];
            }
        }
        for (int64_t i = 0; i < l->size; i++) {
            room[i] = l->x[plane * l->size + i] / pow(l->bias + l->alpha * room[i], l->beta);
        }
        convert_write_f64(l->y, plane * l->size, l->size, room);
    }
}

static spry_status run_lrn(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    int64_t size = graph_attribute_int(call->node, "size", 0);
    lrn l = {.before = (size - 1) / 2, .after = size / 2};
    void *memory = NULL;
    spry_status status;

    if (x == NULL || x->rank < 2 || size < 1) {
        return op_call_fail(call, SPRY_BAD_INPUT, "LRN needs channels and a positive size");
    }
    l.channels = x->shape[1];
    l.size = tensor_span(x, 2, x->rank);
    l.alpha = (double)graph_attribute_float(call->node, "alpha", 1e-4f) / (double)size;
    l.beta = (double)graph_attribute_float(call->node, "beta", 0.75f);
    l.bias = (double)graph_attribute_float(call->node, "bias", 1.0f);
    status = op_call_output_like(call, 0, x->dtype, x, &l.y);
    if (status != SPRY_OK || l.y == NULL || tensor_count(x) == 0) {
        return status;
    }
    status = whole_f64(call, x, &l.x);
    if (status == SPRY_OK) {
        status = whole_room(call, l.size, threads_count(call->team), sizeof(double), &memory);
    }
    if (status == SPRY_OK) {
        l.room = memory;
        threads_for(call->team, x->shape[0] * l.channels, 1, run_lrn_planes, &l);
    }
    return status;
}

/* ---- MeanVarianceNormalization ---- */

/* Which statistic every element belongs to: its index with the reduced axes left out. */
static int64_t kept_index(const tensor *x, const bool *reduced, int64_t element)
{
    int64_t index = 0;
    int64_t step = 1;

    for (int d = x->rank - 1; d >= 0; d--) {
        if (!reduced[d]) {
            index += element % x->shape[d] * step;
            step *= x->shape[d];
        }
        element /= x->shape[d];
    }
    return index;
}

/* Elementwise over all statistics at once: the axes may be any. */
static void normalize_axes(const tensor *x, const bool *reduced, const double *values,
                           double *statistics, int64_t kept, tensor *y)
{
    int64_t count = tensor_count(x);
    double each = (double)count / (double)kept;
    double *means = statistics;
    double *squares = statistics + kept;

    memset(statistics, 0, (size_t)kept * 2 * sizeof *statistics);
    for (int64_t i = 0; i < count; i++) {
        means[kept_index(x, reduced, i)] += values[i] / each;
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t at = kept_index(x, reduced, i);

        squares[at] += (values[i] - means[at]) * (values[i] - means[at]) / each;
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t at = kept_index(x, reduced, i);
        double normal = (values[i] - means[at]) / (sqrt(squares[at]) + 1e-9);

        convert_write_f64(y, i, 1, &normal);
    }
}

static spry_status run_mean_variance(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    int64_t axes[SPRY_TENSOR_MAX_RANK] = {0, 2, 3};
    bool reduced[SPRY_TENSOR_MAX_RANK] = {false};
    const double *values = NULL;
    void *memory = NULL;
    int64_t kept = 1;
    int count;
    tensor *y = NULL;
    spry_status status =
        operand_ints(call, OPERAND_NO_INPUT, "axes", axes, SPRY_TENSOR_MAX_RANK, &count);

    if (status == SPRY_OK &&
        (x == NULL || !operand_axes(axes, count < 0 ? 3 : count, x->rank, reduced))) {
        status = op_call_fail(call, SPRY_BAD_INPUT, "axes do not fit the input");
    }
    if (status == SPRY_OK) {
        status = op_call_output_like(call, 0, x->dtype, x, &y);
    }
    if (status != SPRY_OK || y == NULL || tensor_count(x) == 0) {
        return status;
    }
    for (int d = 0; d < x->rank; d++) {
        kept *= reduced[d] ? 1 : x->shape[d];
    }
    status = whole_f64(call, x, &values);
    if (status == SPRY_OK) {
        status = whole_room(call, kept, 2, sizeof(double), &memory);
    }
    if (status == SPRY_OK) {
        normalize_axes(x, reduced, values, memory, kept, y);
    }
    return status;
}

static void norm_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    (void)macs;
    *flops = 4 * op_work_count(w->outputs[0]);
}

#define NORM(NAME, SINCE, INPUTS, OUTPUTS, INFER, RUN)                                      \
    {                                                                                       \
        .name = (NAME), .domain = "", .since = (SINCE), .min_inputs = (INPUTS),             \
        .max_inputs = (INPUTS), .min_outputs = 1, .max_outputs = (OUTPUTS),                 \
        .types = {OP_FLOATS, OP_FLOATS, OP_FLOATS, OP_FLOATS, OP_FLOATS}, .infer = (INFER), \
        .run = (RUN), .cost = norm_cost                                                     \
    }

/* clang-format off */
const op ops_norm[] = {
    NORM("BatchNormalization", 1, 5, 5, infer_batch_norm, run_batch_norm),
    NORM("GroupNormalization", 18, 3, 1, op_infer_same, run_group_norm),
    NORM("InstanceNormalization", 6, 3, 1, op_infer_same, run_instance_norm),
    NORM("LRN", 1, 1, 1, op_infer_same, run_lrn),
    NORM("MeanVarianceNormalization", 9, 1, 1, op_infer_same, run_mean_variance),
    {.name = NULL},
};
/* clang-format on */
