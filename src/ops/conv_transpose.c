/* ConvTranspose: every input pixel adds the kernel, weighted, to a window of the output. */
#include <string.h>

#include "ops/families.h"
#include "ops/operand.h"
#include "ops/sliding_window.h"
#include "ops/whole.h"
#include "tensor/convert.h"

static spry_status infer_conv_transpose(op_shapes *s)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    const graph_type *weights = op_shapes_ranked(s, 1);
    int64_t group = graph_attribute_int(s->node, "group", 1);
    int64_t in[SPRY_TENSOR_MAX_RANK];
    int64_t kernel[SPRY_TENSOR_MAX_RANK];
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    bool known = true;
    const char *reason;
    window w;

    if (x == NULL || weights == NULL) {
        return operand_unranked(s, 0, operand_dtype(s, 0));
    }
    if (x->rank < 3 || weights->rank != x->rank || group < 1 || group > INT32_MAX) {
        return op_shapes_fail(s, "input of rank %d does not fit weights of rank %d", x->rank,
                              weights->rank);
    }
    if (x->dims[1].size >= 0 && weights->dims[0].size >= 0 &&
        (x->dims[1].size != weights->dims[0].size || x->dims[1].size % group != 0)) {
        return op_shapes_fail(s, "%lld input channels, but weights for %lld in %lld groups",
                              (long long)x->dims[1].size, (long long)weights->dims[0].size,
                              (long long)group);
    }
    dims[0] = x->dims[0];
    dims[1] = operand_unknown;
    if (weights->dims[1].size >= 0) {
        dims[1].size = weights->dims[1].size * group;
    }
    for (int i = 2; i < x->rank; i++) {
        in[i - 2] = x->dims[i].size;
        kernel[i - 2] = weights->dims[i].size;
        known = known && kernel[i - 2] >= 0;
        dims[i] = operand_unknown;
    }
    if (known && !window_transposed_from_node(s->node, x->rank - 2, in, kernel, &w, &reason)) {
        return op_shapes_fail(s, "%s", reason);
    }
    for (int i = 2; i < x->rank && known; i++) {
        dims[i].size = w.out[i - 2];
    }
    op_shapes_set(s, 0, x->dtype, x->rank, dims);
    return SPRY_OK;
}

static void conv_transpose_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    const graph_type *weights = w->inputs[1];
    int64_t channels = weights->dims[0].size;

    *macs = channels > 0 ? op_work_count(w->inputs[0]) * (op_work_count(weights) / channels) : 0;
    *flops = 2 * *macs;
}

typedef struct transposed {
    window w;
    int64_t groups;
    int64_t channels; /* input channels per group */
    int64_t rows;     /* output channels per group */
    int64_t taps, in_size, out_size;
    const double *x;
    const double *weights; /* [groups * channels][rows][taps] */
    const double *bias;    /* NULL: none */
    tensor *y;
    double *planes; /* one output plane per worker */
} transposed;

/* Next index vector in row-major order over sizes[0..rank). */
static void advance(int64_t *index, const int64_t *sizes, int rank)
{
    for (int i = rank - 1; i >= 0; i--) {
        if (++index[i] < sizes[i]) {
            return;
        }
        index[i] = 0;
    }
}

/* Adds weight x one input row to the output row that it meets through `tap`. */
static void paint_row(const window *w, const double *row, const int64_t *at, const int64_t *tap,
                      double weight, double *out)
{
    int last = w->rank - 1;
    int64_t offset = 0;
    int64_t first = tap[last] * w->dilation[last] - w->pad_begin[last];

    for (int i = 0; i < last; i++) {
        int64_t to = at[i] * w->stride[i] - w->pad_begin[i] + tap[i] * w->dilation[i];

        if (to < 0 || to >= w->out[i]) {
            return;
        }
        offset = (offset + to) * w->out[i + 1];
    }
    for (int64_t j = 0; j < w->in[last]; j++) {
        int64_t to = first + j * w->stride[last];

        if (to >= 0 && to < w->out[last]) {
            out[offset + to] += weight * row[j];
        }
    }
}

static void paint_channel(const transposed *t, const double *plane, const double *weights,
                          double *out)
{
    int last = t->w.rank - 1;
    int64_t width = t->w.in[last];
    int64_t tap[WINDOW_MOST_AXES] = {0};

    for (int64_t k = 0; k < t->taps; k++, advance(tap, t->w.kernel, t->w.rank)) {
        int64_t at[WINDOW_MOST_AXES] = {0};

        for (int64_t row = 0; row < t->in_size; row += width, advance(at, t->w.in, last)) {
            paint_row(&t->w, plane + row, at, tap, weights[k], out);
        }
    }
}

static void run_planes(void *context, int64_t begin, int64_t end, int worker)
{
    const transposed *t = context;
    double *out = t->planes + worker * t->out_size;

    for (int64_t p = begin; p < end; p++) {
        int64_t channel = p % (t->groups * t->rows);
        int64_t image = p / (t->groups * t->rows);
        int64_t group = channel / t->rows;

        for (int64_t i = 0; i < t->out_size; i++) {
            out[i] = t->bias != NULL ? t->bias[channel] : 0.0;
        }
        for (int64_t k = group * t->channels; k < (group + 1) * t->channels; k++) {
            paint_channel(t, t->x + (image * t->groups * t->channels + k) * t->in_size,
                          t->weights + (k * t->rows + channel % t->rows) * t->taps, out);
        }
        convert_write_f64(t->y, p * t->out_size, t->out_size, out);
    }
}

static spry_status compute(op_call *call, transposed *t)
{
    void *memory = NULL;
    spry_status status = whole_f64(call, op_call_input(call, 0), &t->x);

    if (status == SPRY_OK) {
        status = whole_f64(call, op_call_input(call, 1), &t->weights);
    }
    if (status == SPRY_OK) {
        status = whole_f64(call, op_call_input(call, 2), &t->bias);
    }
    if (status == SPRY_OK) {
        status =
            whole_room(call, t->out_size, threads_count(call->team), sizeof *t->planes, &memory);
    }
    if (status == SPRY_OK) {
        t->planes = memory;
        threads_for(call->team, t->y->shape[0] * t->y->shape[1], 1, run_planes, t);
    }
    return status;
}

static spry_status run_conv_transpose(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    const tensor *weights = op_call_input(call, 1);
    const tensor *bias = op_call_input(call, 2);
    int64_t group = graph_attribute_int(call->node, "group", 1);
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    const char *reason;
    transposed t = {.groups = group};
    spry_status status;

    if (x == NULL || weights == NULL || x->rank < 3 || weights->rank != x->rank || group < 1 ||
        x->shape[1] != weights->shape[0] || x->shape[1] % group != 0 ||
        weights->shape[1] > INT32_MAX / group ||
        (bias != NULL && tensor_count(bias) != weights->shape[1] * group)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "input, weights and bias do not fit");
    }
    if (!window_transposed_from_node(call->node, x->rank - 2, x->shape + 2, weights->shape + 2,
                                     &t.w, &reason)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "%s", reason);
    }
    shape[0] = x->shape[0];
    shape[1] = weights->shape[1] * group;
    memcpy(shape + 2, t.w.out, (size_t)t.w.rank * sizeof *shape);
    status = op_call_output(call, 0, x->dtype, x->rank, shape, &t.y);
    if (status != SPRY_OK || t.y == NULL || tensor_count(t.y) == 0) {
        return status;
    }
    t.channels = x->shape[1] / group;
    t.rows = weights->shape[1];
    t.taps = tensor_span(weights, 2, weights->rank);
    t.in_size = tensor_span(x, 2, x->rank);
    t.out_size = tensor_span(t.y, 2, t.y->rank);
    return compute(call, &t);
}

/* clang-format off */
const op ops_conv_transpose[] = {
    {.name = "ConvTranspose", .domain = "", .since = 1, .min_inputs = 2, .max_inputs = 3,
     .min_outputs = 1, .max_outputs = 1, .types = {OP_FLOATS, OP_FLOATS, OP_FLOATS},
     .infer = infer_conv_transpose, .run = run_conv_transpose, .cost = conv_transpose_cost},
    {.name = NULL},
};
/* clang-format on */
