/* Windows and rows of inputs. */
#include "quantize/calibrate/columns.h"

int64_t columns_groups(const graph *g, int32_t node, const weight *w)
{
    const graph_node *n = &g->nodes[node];
    int64_t groups = graph_attribute_int(n, "group", 1);

    if (graph_node_is(n, "ConvTranspose")) {
        return groups == 1 ? 1 : 0;
    }
    if (!graph_node_is(n, "Conv")) {
        return 1;
    }
    return groups >= 1 && w->outputs % groups == 0 ? groups : 0;
}

static spry_status misfit(const graph *g, int32_t node, const char *reason, spry_error *error)
{
    char label[256];

    return spry_fail(error, SPRY_BAD_INPUT,
                     graph_node_label(g, &g->nodes[node], label, sizeof label), NULL, "%s", reason);
}

static spry_status rows_of_input(const graph *g, int32_t node, const spry_tensor *x, columns *c,
                                 spry_error *error)
{
    const graph_node *n = &g->nodes[node];
    bool across = graph_node_is(n, "Gemm") && graph_attribute_int(n, "transA", 0) != 0;
    int64_t last = x->rank >= 1 ? x->shape[x->rank - 1] : 0;
    int64_t others = 1;

    for (int i = 0; i + 1 < x->rank; i++) {
        others *= x->shape[i];
    }
    c->count = across ? last : others;
    c->row_stride = across ? 1 : last;
    c->k_stride = across ? last : 1;
    return (across ? others : last) == c->size
               ? SPRY_OK
               : misfit(g, node, "its input does not fit its weights", error);
}

static spry_status windows_of_input(const graph *g, int32_t node, const weight *w,
                                    const spry_tensor *x, columns *c, spry_error *error)
{
    const graph_node *n = &g->nodes[node];
    int axes = x->rank - 2;
    const char *reason = "its input does not fit its weights";
    bool fits;

    c->is_window = true;
    c->is_transposed = graph_node_is(n, "ConvTranspose");
    c->taps = w->taps;
    if (axes < 1 || axes != w->source->rank - 2 || x->shape[1] != c->groups * w->inputs) {
        return misfit(g, node, reason, error);
    }
    fits = c->is_transposed ? window_transposed_from_node(n, axes, x->shape + 2,
                                                          w->source->shape + 2, &c->w, &reason)
                            : window_from_node(n, axes, x->shape + 2, w->source->shape + 2, false,
                                               &c->w, &reason);
    if (!fits) {
        return misfit(g, node, reason, error);
    }
    c->in_size = 1;
    c->out_size = 1;
    for (int i = 0; i < axes; i++) {
        c->in_size *= c->w.in[i];
        c->out_size *= c->w.out[i];
    }
    c->count = x->shape[0] * c->out_size;
    return SPRY_OK;
}

spry_status columns_of_input(const graph *g, int32_t node, const weight *w, const spry_tensor *x,
                             columns *c, spry_error *error)
{
    const graph_node *n = &g->nodes[node];

    *c = (columns){.groups = columns_groups(g, node, w), .size = w->inputs * w->taps, .x = x->data};
    if (c->groups == 0) {
        return misfit(g, node, "transposed convolutions in groups have no common columns", error);
    }
    return graph_node_is(n, "Conv") || graph_node_is(n, "ConvTranspose")
               ? windows_of_input(g, node, w, x, c, error)
               : rows_of_input(g, node, x, c, error);
}

/* Where output coordinate `out` meets kernel position `tap` on an axis; -1: outside. */
static int64_t meeting(const columns *c, int axis, int64_t out, int64_t tap)
{
    int64_t stride = c->w.stride[axis];
    int64_t reach = tap * c->w.dilation[axis];
    int64_t begin = c->w.pad_begin[axis];
    int64_t at = c->is_transposed ? out + begin - reach : out * stride - begin + reach;

    if (c->is_transposed) {
        at = at >= 0 && at % stride == 0 ? at / stride : -1;
    }
    return at >= 0 && at < c->w.in[axis] ? at : -1;
}

/* Pixel of the input plane under kernel position `tap` for output pixel `pixel`; -1: padding. */
static int64_t pixel_under(const columns *c, int64_t pixel, int64_t tap)
{
    int64_t scale = 1;
    int64_t sum = 0;

    for (int axis = c->w.rank - 1; axis >= 0; axis--) {
        int64_t at = meeting(c, axis, pixel % c->w.out[axis], tap % c->w.kernel[axis]);

        if (at < 0) {
            return -1;
        }
        sum += at * scale;
        scale *= c->w.in[axis];
        pixel /= c->w.out[axis];
        tap /= c->w.kernel[axis];
    }
    return sum;
}

static void gather_window(const columns *c, int64_t index, float *to)
{
    int64_t channels = c->groups * (c->size / c->taps);
    const float *image = c->x + index / c->out_size * channels * c->in_size;

    for (int64_t tap = 0; tap < c->taps; tap++) {
        int64_t pixel = pixel_under(c, index % c->out_size, tap);

        for (int64_t i = 0; i < channels; i++) {
            to[i * c->taps + tap] = pixel >= 0 ? image[i * c->in_size + pixel] : 0.0f;
        }
    }
}

void columns_gather(const columns *c, int64_t index, float *to)
{
    const float *row;

    if (c->is_window) {
        gather_window(c, index, to);
        return;
    }
    row = c->x + index * c->row_stride;
    for (int64_t i = 0; i < c->size; i++) {
        to[i] = row[i * c->k_stride];
    }
}

const float *columns_result(const columns *c, int64_t index, int64_t outputs, const float *result,
                            int64_t *stride)
{
    *stride = c->is_window ? c->out_size : 1;
    if (result == NULL) {
        return NULL;
    }
    return c->is_window ? result + index / c->out_size * outputs * c->out_size + index % c->out_size
                        : result + index * outputs;
}
