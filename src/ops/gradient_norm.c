/* The derivatives of normalisation that are worth an operator of their own, in the domain
 * "ai.spry". With n(x) = (x - mean) / sqrt(variance + epsilon) and y = scale n(x) + bias:
 *
 *     LayerNormalizationGradient(x, scale, dy)    dx, dscale, dbias; scale over the axes from
 *                                                 `axis` on, or omitted: ones
 *     BatchNormalizationGradient(x, scale, dy)    the same, where mean and variance are those of
 *                                                 each channel (axis 1) of the batch
 *
 * Rows are summed in blocks whose number depends on the shape alone. */
#include <math.h>
#include <string.h>

#include "kernels/elementwise/gradient_f32.h"
#include "ops/families.h"
#include "ops/operand.h"
#include "ops/whole.h"
#include "tensor/convert.h"

#define REAL (1u << SPRY_DTYPE_F32 | 1u << SPRY_DTYPE_F64)

enum { MOST_BLOCKS = 64, LEAST_ROWS = 16 };

static void norm_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    (void)macs;
    *flops = 12 * op_work_count(w->inputs[0]);
}

/* ---- rows ---- */

static spry_status infer_layer_gradient(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    int axis;

    op_shapes_copy(s, 0, 0);
    if (x == NULL) {
        return SPRY_OK;
    }
    if (!op_normalize_axis(graph_attribute_int(s->node, "axis", -1), x->rank, &axis)) {
        return op_shapes_fail(s, "the axis is outside an input of rank %d", x->rank);
    }
    op_shapes_set(s, 1, x->dtype, x->rank - axis, x->dims + axis);
    op_shapes_set(s, 2, x->dtype, x->rank - axis, x->dims + axis);
    return SPRY_OK;
}

typedef struct layer_gradient {
    const tensor *x, *scale, *dy;
    tensor *dx, *dscale, *dbias; /* may be NULL */
    int64_t size, rows, block;
    double epsilon;
    /* Sums of block b: of dscale, then dbias, `size` numbers each; floats in f32. */
    void *sums;
    double *room; /* f64: 3 x size per worker */
} layer_gradient;

static void rows_f32(const layer_gradient *t, int64_t begin, int64_t end, float *sums)
{
    const gradient_f32_kernel *kernel = gradient_f32_select();

    for (int64_t row = begin; row < end; row++) {
        gradient_f32_norm of = {.x = (const float *)t->x->data + row * t->size,
                                .dy = (const float *)t->dy->data + row * t->size,
                                .gamma = t->scale != NULL ? t->scale->data : NULL,
                                .dx = t->dx != NULL ? (float *)t->dx->data + row * t->size : NULL,
                                .scale_sums = t->dscale != NULL ? sums : NULL,
                                .bias_sums = t->dbias != NULL ? sums + t->size : NULL,
                                .n = t->size,
                                .epsilon = (float)t->epsilon};

        kernel->layer_norm(&of);
    }
}

/* n and g = scale dy are made in `room`; returns 1 / sqrt(variance + epsilon). */
static double normalise(const layer_gradient *t, double *n)
{
    double mean = 0.0;
    double squares = 0.0;
    double inverse;

    for (int64_t i = 0; i < t->size; i++) {
        mean += n[i];
    }
    mean /= (double)t->size;
    for (int64_t i = 0; i < t->size; i++) {
        squares += (n[i] - mean) * (n[i] - mean);
    }
    inverse = 1.0 / sqrt(squares / (double)t->size + t->epsilon);
    for (int64_t i = 0; i < t->size; i++) {
        n[i] = (n[i] - mean) * inverse;
    }
    return inverse;
}

static void row_f64(const layer_gradient *t, int64_t row, double *sums, double *room)
{
    double *n = room;
    double *g = n + t->size;
    double *scale = g + t->size;
    double inverse;
    double sum = 0.0;
    double product = 0.0;

    convert_read_f64(t->x, row * t->size, t->size, n);
    convert_read_f64(t->dy, row * t->size, t->size, g);
    if (t->scale != NULL) {
        convert_read_f64(t->scale, 0, t->size, scale);
    }
    inverse = normalise(t, n);
    for (int64_t i = 0; i < t->size; i++) {
        sums[i] += g[i] * n[i];
        sums[t->size + i] += g[i];
        g[i] *= t->scale != NULL ? scale[i] : 1.0;
        sum += g[i];
        product += g[i] * n[i];
    }
    sum /= (double)t->size;
    product /= (double)t->size;
    for (int64_t i = 0; i < t->size; i++) {
        g[i] = inverse * (g[i] - sum - n[i] * product);
    }
    if (t->dx != NULL) {
        convert_write_f64(t->dx, row * t->size, t->size, g);
    }
}

static void layer_blocks(void *context, int64_t begin, int64_t end, int worker)
{
    const layer_gradient *t = context;

    for (int64_t b = begin; b < end; b++) {
        int64_t first = b * t->block;
        int64_t last = first + t->block < t->rows ? first + t->block : t->rows;

        if (t->x->dtype == SPRY_DTYPE_F32) {
            rows_f32(t, first, last, (float *)t->sums + b * 2 * t->size);
            continue;
        }
        for (int64_t row = first; row < last; row++) {
            row_f64(t, row, (double *)t->sums + b * 2 * t->size, t->room + worker * 3 * t->size);
        }
    }
}

/* The blocks' sums, added in their order. `part`: 0 of dscale, 1 of dbias. */
static void add_blocks(const layer_gradient *t, int64_t blocks, int part, tensor *to)
{
    for (int64_t i = 0; to != NULL && i < t->size; i++) {
        double sum = 0.0;

        for (int64_t b = 0; b < blocks; b++) {
            int64_t at = (b * 2 + part) * t->size + i;

            sum += t->x->dtype == SPRY_DTYPE_F32 ? (double)((const float *)t->sums)[at]
                                                 : ((const double *)t->sums)[at];
        }
        convert_write_f64(to, i, 1, &sum);
    }
}

static spry_status run_layer_gradient(op_call *call)
{
    layer_gradient t = {
        .x = op_call_input(call, 0),
        .scale = op_call_input(call, 1),
        .dy = op_call_input(call, 2),
        .epsilon = (double)graph_attribute_float(call->node, "epsilon", 1e-5f),
    };
    tensor **to[3] = {&t.dx, &t.dscale, &t.dbias};
    void *memory = NULL;
    int64_t blocks;
    int axis;
    spry_status status = SPRY_OK;

    if (t.x == NULL || t.dy == NULL || !tensor_same_shape(t.x, t.dy) ||
        !op_normalize_axis(graph_attribute_int(call->node, "axis", -1), t.x->rank, &axis)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the inputs differ in shape, or lack the axis");
    }
    t.size = tensor_span(t.x, axis, t.x->rank);
    t.rows = tensor_span(t.x, 0, axis);
    if (t.scale != NULL && tensor_count(t.scale) != t.size) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the scale does not fit the axes");
    }
    for (int i = 0; i < 3 && status == SPRY_OK; i++) {
        int from = i == 0 ? 0 : axis;

        status = op_call_output(call, i, t.x->dtype, t.x->rank - from, t.x->shape + from, to[i]);
    }
    blocks = (t.rows + LEAST_ROWS - 1) / LEAST_ROWS;
    blocks = blocks < MOST_BLOCKS ? blocks : MOST_BLOCKS;
    t.block = blocks > 0 ? (t.rows + blocks - 1) / blocks : 1;
    blocks = (t.rows + t.block - 1) / t.block;
    if (status == SPRY_OK) {
        status = whole_room(call, 2 * t.size, blocks + 1, sizeof(double), &t.sums);
    }
    if (status == SPRY_OK && t.x->dtype != SPRY_DTYPE_F32) {
        status = whole_room(call, 3 * t.size, threads_count(call->team), sizeof(double), &memory);
        t.room = memory;
    }
    if (status == SPRY_OK) {
        memset(t.sums, 0, (size_t)(2 * t.size * blocks) * sizeof(double));
        threads_for(call->team, blocks, 1, layer_blocks, &t);
        add_blocks(&t, blocks, 0, t.dscale);
        add_blocks(&t, blocks, 1, t.dbias);
    }
    return status;
}

/* ---- channels ---- */

static spry_status infer_batch_gradient(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);

    op_shapes_copy(s, 0, 0);
    if (x == NULL) {
        return SPRY_OK;
    }
    if (x->rank < 2) {
        return op_shapes_fail(s, "an input of rank %d has no channels", x->rank);
    }
    op_shapes_set(s, 1, x->dtype, 1, x->dims + 1);
    op_shapes_set(s, 2, x->dtype, 1, x->dims + 1);
    return SPRY_OK;
}

typedef struct batch_gradient {
    const tensor *x, *scale, *dy;
    tensor *dx, *dscale, *dbias;      /* may be NULL */
    int64_t images, channels, pixels; /* pixels: of one image */
    double epsilon;
} batch_gradient;

static double at(const tensor *t, const batch_gradient *b, int64_t channel, int64_t i)
{
    int64_t plane = i / b->pixels * b->channels + channel;

    return convert_get_f64(t, plane * b->pixels + i % b->pixels);
}

static void channel_gradient(const batch_gradient *b, int64_t c)
{
    int64_t count = b->images * b->pixels;
    double mean = 0.0;
    double variance = 0.0;
    double sum = 0.0;
    double product = 0.0;
    double inverse;
    double factor;

    for (int64_t i = 0; i < count; i++) {
        mean += at(b->x, b, c, i) / (double)count;
    }
    for (int64_t i = 0; i < count; i++) {
        double distance = at(b->x, b, c, i) - mean;

        variance += distance * distance / (double)count;
        sum += at(b->dy, b, c, i);
        product += at(b->dy, b, c, i) * distance;
    }
    inverse = 1.0 / sqrt(variance + b->epsilon);
    product *= inverse;
    factor = inverse * (b->scale != NULL ? convert_get_f64(b->scale, c) : 1.0);
    for (int64_t i = 0; b->dx != NULL && i < count; i++) {
        double n = (at(b->x, b, c, i) - mean) * inverse;
        double dx = factor * (at(b->dy, b, c, i) - (sum + n * product) / (double)count);

        convert_write_f64(b->dx, (i / b->pixels * b->channels + c) * b->pixels + i % b->pixels, 1,
                          &dx);
    }
    if (b->dscale != NULL) {
        convert_write_f64(b->dscale, c, 1, &product);
    }
    if (b->dbias != NULL) {
        convert_write_f64(b->dbias, c, 1, &sum);
    }
}

static void channel_gradients(void *context, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    for (int64_t c = begin; c < end; c++) {
        channel_gradient(context, c);
    }
}

static spry_status run_batch_gradient(op_call *call)
{
    batch_gradient b = {.x = op_call_input(call, 0),
                        .scale = op_call_input(call, 1),
                        .dy = op_call_input(call, 2),
                        .epsilon = (double)graph_attribute_float(call->node, "epsilon", 1e-5f)};
    tensor **to[3] = {&b.dx, &b.dscale, &b.dbias};
    spry_status status = SPRY_OK;

    if (b.x == NULL || b.dy == NULL || b.x->rank < 2 || !tensor_same_shape(b.x, b.dy) ||
        (b.scale != NULL && tensor_count(b.scale) != b.x->shape[1])) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the inputs differ in shape");
    }
    b.images = b.x->shape[0];
    b.channels = b.x->shape[1];
    b.pixels = tensor_span(b.x, 2, b.x->rank);
    for (int i = 0; i < 3 && status == SPRY_OK; i++) {
        status = op_call_output(call, i, b.x->dtype, i == 0 ? b.x->rank : 1,
                                i == 0 ? b.x->shape : b.x->shape + 1, to[i]);
    }
    if (status == SPRY_OK) {
        threads_for(call->team, b.channels, 1, channel_gradients, &b);
    }
    return status;
}

#define NORM_GRADIENT(NAME, INFER, RUN)                                                    \
    {                                                                                      \
        .name = (NAME), .domain = "ai.spry", .since = 1, .min_inputs = 3, .max_inputs = 3, \
        .min_outputs = 1, .max_outputs = 3, .types = {REAL, REAL, REAL}, .infer = (INFER), \
        .run = (RUN), .cost = norm_cost                                                    \
    }

/* clang-format off */
const op ops_gradient_norm[] = {
    NORM_GRADIENT("BatchNormalizationGradient", infer_batch_gradient, run_batch_gradient),
    NORM_GRADIENT("LayerNormalizationGradient", infer_layer_gradient, run_layer_gradient),
    {.name = NULL},
};
/* clang-format on */
