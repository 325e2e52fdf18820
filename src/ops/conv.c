/* Conv over any number of spatial axes, groups and dilations.
 *
 * The reference adds, for every output row, one weighted input row per kernel position, in double
 * precision: slow but plain. Fast kernels take the common cases over
 * (runtime/provider/conv_f32.c). */
#include <string.h>

#include "ops/conv.h"
#include "ops/families.h"
#include "ops/operand.h"
#include "ops/whole.h"
#include "tensor/convert.h"

/* ---- shapes ---- */

/* Spatial sizes of the window: the weights' own, or the attribute where those are unknown. */
static bool kernel_sizes(const op_shapes *s, const graph_type *weights, int rank, int64_t *kernel)
{
    int64_t count = 0;
    const int64_t *given = graph_attribute_ints(s->node, "kernel_shape", &count);

    for (int i = 0; i < rank; i++) {
        kernel[i] = weights != NULL && weights->rank == rank + 2 ? weights->dims[2 + i].size : -1;
        if (kernel[i] < 0 && given != NULL && count == rank) {
            kernel[i] = given[i];
        }
        if (kernel[i] < 0) {
            return false;
        }
    }
    return true;
}

spry_status conv_infer(op_shapes *s, int weights_input, spry_dtype dtype)
{
    const graph_type *x = op_shapes_ranked(s, 0);
    const graph_type *weights = op_shapes_ranked(s, weights_input);
    int64_t group = graph_attribute_int(s->node, "group", 1);
    int64_t in[WINDOW_MOST_AXES];
    int64_t kernel[WINDOW_MOST_AXES];
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    const char *reason;
    window w;

    if (x == NULL || weights == NULL) {
        op_shapes_set_unranked(s, 0, dtype);
        return SPRY_OK;
    }
    if (x->rank < 3 || weights->rank != x->rank || group < 1 || group > INT32_MAX) {
        return op_shapes_fail(s, "input of rank %d does not fit weights of rank %d", x->rank,
                              weights->rank);
    }
    if (x->dims[1].size >= 0 && weights->dims[1].size >= 0 &&
        x->dims[1].size != weights->dims[1].size * group) {
        return op_shapes_fail(s, "%lld input channels, but weights for %lld in %lld groups",
                              (long long)x->dims[1].size, (long long)weights->dims[1].size,
                              (long long)group);
    }
    if (weights->dims[0].size >= 0 && weights->dims[0].size % group != 0) {
        return op_shapes_fail(s, "output channels do not divide into %lld groups",
                              (long long)group);
    }
    for (int i = 0; i < x->rank - 2; i++) {
        in[i] = x->dims[2 + i].size;
        dims[2 + i] = (graph_dim){.size = -1};
    }
    dims[0] = x->dims[0];
    dims[1] = weights->dims[0];
    if (kernel_sizes(s, weights, x->rank - 2, kernel)) {
        if (!window_from_node(s->node, x->rank - 2, in, kernel, false, &w, &reason)) {
            return op_shapes_fail(s, "%s", reason);
        }
        for (int i = 0; i < w.rank; i++) {
            dims[2 + i].size = w.out[i];
        }
    }
    op_shapes_set(s, 0, dtype, x->rank, dims);
    return SPRY_OK;
}

static spry_status infer_conv(op_shapes *s)
{
    return conv_infer(s, 1, operand_dtype(s, 0));
}

void conv_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    const graph_type *weights = w->inputs[w->input_count > 4 ? 3 : 1]; /* QLinearConv: number 3 */
    int64_t rows = weights->dims[0].size;

    *macs = rows > 0 ? op_work_count(w->outputs[0]) * (op_work_count(weights) / rows) : 0;
    *flops = 2 * *macs;
}

/* ---- the reference ---- */

/* Adds weight x the input row under the output row whose leading indices are `at`. */
static void add_row(const conv *c, const double *plane, const int64_t *at, const int64_t *tap,
                    double weight, double *out)
{
    const window *w = &c->w;
    int last = w->rank - 1;
    int64_t offset = 0;
    int64_t first = tap[last] * w->dilation[last] - w->pad_begin[last];

    for (int i = 0; i < last; i++) {
        int64_t in = at[i] * w->stride[i] - w->pad_begin[i] + tap[i] * w->dilation[i];

        if (in < 0 || in >= w->in[i]) {
            return;
        }
        offset = (offset + in) * w->in[i + 1];
    }
    for (int64_t j = 0; j < w->out[last]; j++) {
        int64_t in = first + j * w->stride[last];

        if (in >= 0 && in < w->in[last]) {
            out[j] += weight * plane[offset + in];
        }
    }
}

/* Next index vector in row-major order over sizes[0..rank). Returns false after the last. */
static bool advance(int64_t *index, const int64_t *sizes, int rank)
{
    for (int i = rank - 1; i >= 0; i--) {
        if (++index[i] < sizes[i]) {
            return true;
        }
        index[i] = 0;
    }
    return false;
}

/* Adds one input channel to the output plane. */
static void add_channel(const conv *c, const double *plane, const double *weights, double *out)
{
    int64_t tap[WINDOW_MOST_AXES] = {0};
    int64_t width = c->w.out[c->w.rank - 1];

    for (int64_t t = 0; t < c->taps; t++) {
        int64_t at[WINDOW_MOST_AXES] = {0};

        for (int64_t row = 0; row < c->out_size / width; row++) {
            add_row(c, plane, at, tap, weights[t], out + row * width);
            (void)advance(at, c->w.out, c->w.rank - 1);
        }
        (void)advance(tap, c->w.kernel, c->w.rank);
    }
}

/* Output planes [begin, end), counted over images and output channels. */
static void run_planes(void *context, int64_t begin, int64_t end, int worker)
{
    const conv *c = context;
    double *out = c->planes + worker * c->out_size;

    for (int64_t p = begin; p < end; p++) {
        int64_t channel = p % (c->groups * c->rows);
        int64_t image = p / (c->groups * c->rows);
        int64_t first = (image * c->groups + channel / c->rows) * c->channels;

        for (int64_t i = 0; i < c->out_size; i++) {
            out[i] = c->bias != NULL ? c->bias[channel] : 0.0;
        }
        for (int64_t k = 0; k < c->channels; k++) {
            add_channel(c, c->x + (first + k) * c->in_size,
                        c->weights + (channel * c->channels + k) * c->taps, out);
        }
        c->write(c, p, channel, out);
    }
}

static spry_status check_conv(const op_call *call, const tensor *x, const tensor *weights,
                              const tensor *bias, int64_t group)
{
    if (x == NULL || weights == NULL || x->rank < 3 || weights->rank != x->rank || group < 1 ||
        weights->shape[1] > INT32_MAX / group || x->shape[1] != weights->shape[1] * group ||
        weights->shape[0] % group != 0) {
        return op_call_fail(call, SPRY_BAD_INPUT, "input and weights do not fit each other");
    }
    if (bias != NULL && tensor_count(bias) != weights->shape[0]) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the bias needs one number per output channel");
    }
    return SPRY_OK;
}

spry_status conv_init(op_call *call, const tensor *x, const tensor *weights, const tensor *bias,
                      conv *c, int64_t *shape)
{
    int64_t group = graph_attribute_int(call->node, "group", 1);
    const char *reason;
    spry_status status = check_conv(call, x, weights, bias, group);

    if (status != SPRY_OK) {
        return status;
    }
    if (!window_from_node(call->node, x->rank - 2, x->shape + 2, weights->shape + 2, false, &c->w,
                          &reason)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "%s", reason);
    }
    shape[0] = x->shape[0];
    shape[1] = weights->shape[0];
    memcpy(shape + 2, c->w.out, (size_t)c->w.rank * sizeof *shape);
    c->groups = group;
    c->channels = weights->shape[1];
    c->rows = weights->shape[0] / group;
    c->taps = tensor_span(weights, 2, weights->rank);
    c->in_size = tensor_span(x, 2, x->rank);
    return SPRY_OK;
}

spry_status conv_planes(op_call *call, conv *c)
{
    void *memory = NULL;
    spry_status status;

    if (tensor_count(c->y) == 0) {
        return SPRY_OK;
    }
    c->out_size = tensor_span(c->y, 2, c->y->rank);
    status = whole_room(call, c->out_size, threads_count(call->team), sizeof *c->planes, &memory);
    if (status == SPRY_OK) {
        c->planes = memory;
        threads_for(call->team, c->y->shape[0] * c->y->shape[1], 1, run_planes, c);
    }
    return status;
}

/* Input `i` as doubles; NULL when omitted. */
static spry_status read_doubles(op_call *call, int i, const double **to)
{
    return whole_f64(call, op_call_input(call, i), to);
}

static void write_plane(const conv *c, int64_t plane, int64_t channel, double *out)
{
    (void)channel;
    convert_write_f64(c->y, plane * c->out_size, c->out_size, out);
}

static spry_status run_conv(op_call *call)
{
    const tensor *x = op_call_input(call, 0);
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    conv c = {.write = write_plane};
    spry_status status =
        conv_init(call, x, op_call_input(call, 1), op_call_input(call, 2), &c, shape);

    if (status == SPRY_OK) {
        status = op_call_output(call, 0, x->dtype, x->rank, shape, &c.y);
    }
    if (status != SPRY_OK || c.y == NULL) {
        return status;
    }
    status = read_doubles(call, 0, &c.x);
    if (status == SPRY_OK) {
        status = read_doubles(call, 1, &c.weights);
    }
    if (status == SPRY_OK) {
        status = read_doubles(call, 2, &c.bias);
    }
    return status == SPRY_OK ? conv_planes(call, &c) : status;
}

const op ops_conv[] = {
    {.name = "Conv",
     .domain = "",
     .since = 1,
     .min_inputs = 2,
     .max_inputs = 3,
     .min_outputs = 1,
     .max_outputs = 1,
     .types = {OP_FLOATS, OP_FLOATS, OP_FLOATS},
     .infer = infer_conv,
     .run = run_conv,
     .cost = conv_cost},
    {0},
};
