/* Normalisation over the last axes: LayerNormalization, RMSNormalization, and ONNX Runtime's forms
 * that add a residual first. All compute in f64, but for rows of f32 without a residual. */
#include <math.h>
#include <string.h>

#include "kernels/elementwise/elementwise_f32.h"
#include "ops/broadcast.h"
#include "ops/families.h"
#include "ops/operand.h"
#include "ops/whole.h"

/* How one operator's ports and defaults differ. */
typedef struct layer_form {
    bool centred;      /* subtract the mean */
    int skip;          /* input added before; 0: none */
    int scale, bias;   /* inputs; 0: none */
    int skip_bias;     /* input added with the skip; 0: none */
    int mean, inverse; /* outputs; 0: none */
    int sum;           /* output: what was normalised; 0: none */
    float epsilon;
} layer_form;

typedef struct layer {
    const layer_form *form;
    const tensor *x;
    int64_t size; /* elements normalised together */
    double epsilon;
    bool has_skip, has_scale, has_bias, has_skip_bias;
    broadcast skip, scale, bias, skip_bias; /* over x */
    tensor *y, *mean, *inverse, *sum;
    double *room;                    /* size per worker */
    elementwise_f32_normalise *fast; /* NULL: in f64 */
    elementwise_f32_norm norm;       /* its operands */
} layer;

static spry_dtype statistics_dtype(const graph_node *node)
{
    return graph_attribute_int(node, "stash_type", 1) == 16 ? SPRY_DTYPE_BF16 : SPRY_DTYPE_F32;
}

static spry_status infer_layer(op_shapes *s)
{
    const layer_form *form = op_of_node(s->node)->detail;
    const graph_type *x = op_shapes_ranked(s, 0);
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    int axis;

    op_shapes_copy(s, 0, 0);
    if (form->sum > 0) {
        op_shapes_copy(s, form->sum, 0);
    }
    if (x == NULL) {
        return SPRY_OK;
    }
    if (!op_normalize_axis(graph_attribute_int(s->node, "axis", -1), x->rank, &axis)) {
        return op_shapes_fail(s, "the axis is outside an input of rank %d", x->rank);
    }
    for (int i = 0; i < x->rank; i++) {
        dims[i] = i < axis ? x->dims[i] : (graph_dim){.size = 1};
    }
    if (form->mean > 0) {
        op_shapes_set(s, form->mean, statistics_dtype(s->node), x->rank, dims);
        op_shapes_set(s, form->inverse, statistics_dtype(s->node), x->rank, dims);
    }
    return SPRY_OK;
}

static void layer_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    (void)macs;
    *flops = 6 * op_work_count(w->outputs[0]);
}

/* Combines a block of row elements from `start` with a broadcast operand. */
static void add_block(const broadcast *b, int64_t start, int64_t count, double *row)
{
    double room[CONVERT_BLOCK];
    const double *add = broadcast_f64(b, start, count, room);

    for (int64_t i = 0; i < count; i++) {
        row[i] += add[i];
    }
}

static void multiply_block(const broadcast *b, int64_t start, int64_t count, double *row)
{
    double room[CONVERT_BLOCK];
    const double *factor = broadcast_f64(b, start, count, room);

    for (int64_t i = 0; i < count; i++) {
        row[i] *= factor[i];
    }
}

/* What is to be normalised, in f64. */
static void read_row(const layer *l, int64_t start, double *row)
{
    convert_read_f64(l->x, start, l->size, row);
    for (int64_t done = 0; done < l->size; done += CONVERT_BLOCK) {
        int64_t n = l->size - done < CONVERT_BLOCK ? l->size - done : CONVERT_BLOCK;

        if (l->has_skip) {
            add_block(&l->skip, start + done, n, row + done);
        }
        if (l->has_skip_bias) {
            add_block(&l->skip_bias, start + done, n, row + done);
        }
    }
    if (l->sum != NULL) {
        convert_write_f64(l->sum, start, l->size, row);
    }
}

static void normalize_row(const layer *l, int64_t index, double *row)
{
    double mean = 0.0;
    double squares = 0.0;
    double inverse;

    for (int64_t i = 0; i < l->size && l->form->centred; i++) {
        mean += row[i];
    }
    mean /= (double)l->size;
    for (int64_t i = 0; i < l->size; i++) {
        squares += (row[i] - mean) * (row[i] - mean);
    }
    inverse = 1.0 / sqrt(squares / (double)l->size + l->epsilon);
    for (int64_t i = 0; i < l->size; i++) {
        row[i] = (row[i] - mean) * inverse;
    }
    if (l->mean != NULL) {
        convert_write_f64(l->mean, index, 1, &mean);
    }
    if (l->inverse != NULL) {
        convert_write_f64(l->inverse, index, 1, &inverse);
    }
}

static void run_rows(void *context, int64_t begin, int64_t end, int worker)
{
    const layer *l = context;
    double *row = l->room + worker * l->size;

    for (int64_t r = begin; r < end; r++) {
        int64_t start = r * l->size;

        read_row(l, start, row);
        normalize_row(l, r, row);
        for (int64_t done = 0; done < l->size; done += CONVERT_BLOCK) {
            int64_t n = l->size - done < CONVERT_BLOCK ? l->size - done : CONVERT_BLOCK;

            if (l->has_scale) {
                multiply_block(&l->scale, start + done, n, row + done);
            }
            if (l->has_bias) {
                add_block(&l->bias, start + done, n, row + done);
            }
        }
        if (l->y != NULL) {
            convert_write_f64(l->y, start, l->size, row);
        }
    }
}

static void run_rows_f32(void *context, int64_t begin, int64_t end, int worker)
{
    const layer *l = context;

    (void)worker;
    for (int64_t r = begin; r < end; r++) {
        const float *from = (const float *)l->x->data + r * l->size;
        float *to = (float *)l->y->data + r * l->size;
        elementwise_f32_moments found = l->fast(to, from, l->size, &l->norm);

        if (l->mean != NULL) {
            convert_write_f64(l->mean, r, 1, &(double){(double)found.mean});
        }
        if (l->inverse != NULL) {
            convert_write_f64(l->inverse, r, 1, &(double){(double)found.inv_scale});
        }
    }
}

/* True when input `i` is absent, or f32 and one number per element of a row: then *row is it. */
static bool is_row_f32(const op_call *call, const layer *l, int i, int axis, const float **row)
{
    const tensor *t = i > 0 ? op_call_input(call, i) : NULL;
    int first;

    *row = NULL;
    if (t == NULL) {
        return true;
    }
    first = t->rank - (l->x->rank - axis);
    if (t->dtype != SPRY_DTYPE_F32 || tensor_count(t) != l->size || first < 0 ||
        tensor_span(t, first, t->rank) != l->size) {
        return false;
    }
    *row = t->data;
    return true;
}

/* Chooses the vector kernel where the operands are what it takes. */
static void choose_fast(const op_call *call, layer *l, int axis)
{
    const elementwise_f32_kernel *kernel = elementwise_f32_select();

    l->norm.epsilon = (float)l->epsilon;
    if (l->x->dtype == SPRY_DTYPE_F32 && l->y != NULL && l->sum == NULL && l->size > 0 &&
        !l->has_skip && !l->has_skip_bias &&
        is_row_f32(call, l, l->form->scale, axis, &l->norm.gamma) &&
        is_row_f32(call, l, l->form->bias, axis, &l->norm.beta)) {
        l->fast = l->form->centred ? kernel->layer_norm : kernel->rms_norm;
    }
}

/* Lays input `i` (0: none) over x; *has says whether it is there. */
static spry_status lay(op_call *call, const layer *l, int i, broadcast *b, bool *has)
{
    const tensor *t = i > 0 ? op_call_input(call, i) : NULL;

    *has = t != NULL;
    if (t == NULL) {
        return SPRY_OK;
    }
    if (!broadcast_fits(t, l->x->rank, l->x->shape)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "input %d cannot be broadcast to input 0", i);
    }
    broadcast_init(b, t, l->x->rank, l->x->shape);
    return SPRY_OK;
}

static spry_status lay_operands(op_call *call, layer *l)
{
    spry_status status = lay(call, l, l->form->skip, &l->skip, &l->has_skip);

    if (status == SPRY_OK) {
        status = lay(call, l, l->form->scale, &l->scale, &l->has_scale);
    }
    if (status == SPRY_OK) {
        status = lay(call, l, l->form->bias, &l->bias, &l->has_bias);
    }
    if (status == SPRY_OK) {
        status = lay(call, l, l->form->skip_bias, &l->skip_bias, &l->has_skip_bias);
    }
    return status;
}

static spry_status make_outputs(op_call *call, layer *l, int axis)
{
    const tensor *x = l->x;
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    spry_dtype dtype = statistics_dtype(call->node);
    spry_status status = op_call_output_like(call, 0, x->dtype, x, &l->y);

    for (int i = 0; i < x->rank; i++) {
        shape[i] = i < axis ? x->shape[i] : 1;
    }
    if (status == SPRY_OK && l->form->mean > 0) {
        status = op_call_output(call, l->form->mean, dtype, x->rank, shape, &l->mean);
    }
    if (status == SPRY_OK && l->form->inverse > 0) {
        status = op_call_output(call, l->form->inverse, dtype, x->rank, shape, &l->inverse);
    }
    if (status == SPRY_OK && l->form->sum > 0) {
        status = op_call_output_like(call, l->form->sum, x->dtype, x, &l->sum);
    }
    return status;
}

static spry_status run_layer(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    layer l = {.form = op_of_node(call->node)->detail, .x = x};
    void *memory = NULL;
    spry_status status;
    int axis;

    if (x == NULL ||
        !op_normalize_axis(graph_attribute_int(call->node, "axis", -1), x->rank, &axis)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the axis is outside the input");
    }
    l.size = tensor_span(x, axis, x->rank);
    l.epsilon = (double)graph_attribute_float(call->node, "epsilon", l.form->epsilon);
    status = lay_operands(call, &l);
    if (status == SPRY_OK) {
        status = make_outputs(call, &l, axis);
    }
    if (status == SPRY_OK) {
        choose_fast(call, &l, axis);
    }
    if (status == SPRY_OK && l.fast == NULL) {
        status = whole_room(call, l.size, threads_count(call->team), sizeof(double), &memory);
    }
    if (status == SPRY_OK) {
        l.room = memory;
        threads_for(call->team, tensor_span(x, 0, axis), 1 + 16384 / (l.size + 1),
                    l.fast != NULL ? run_rows_f32 : run_rows, &l);
    }
    return status;
}

#define LAYER(NAME, DOMAIN, SINCE, LEAST, MOST, OUTPUTS, ...)                                   \
    {                                                                                           \
        .name = (NAME), .domain = (DOMAIN), .since = (SINCE), .min_inputs = (LEAST),            \
        .max_inputs = (MOST), .min_outputs = 1, .max_outputs = (OUTPUTS),                       \
        .types = {OP_FLOATS, OP_FLOATS, OP_FLOATS, OP_FLOATS, OP_FLOATS}, .infer = infer_layer, \
        .run = run_layer, .cost = layer_cost, .detail = &((const layer_form){__VA_ARGS__})      \
    }

/* clang-format off */
const op ops_layer_norm[] = {
    LAYER("LayerNormalization", "", 17, 2, 3, 3, .centred = true, .scale = 1, .bias = 2,
          .mean = 1, .inverse = 2, .epsilon = 1e-5f),
    LAYER("RMSNormalization", "", 23, 2, 2, 1, .scale = 1, .epsilon = 1e-5f),
    LAYER("SkipLayerNormalization", "com.microsoft", 1, 3, 5, 4, .centred = true, .skip = 1,
          .scale = 2, .bias = 3, .skip_bias = 4, .mean = 1, .inverse = 2, .sum = 3,
          .epsilon = 1e-12f),
    LAYER("SkipSimplifiedLayerNormalization", "com.microsoft", 1, 3, 4, 4, .skip = 1, .scale = 2,
          .skip_bias = 3, .mean = 1, .inverse = 2, .sum = 3, .epsilon = 1e-12f),
    {.name = NULL},
};
/* clang-format on */
