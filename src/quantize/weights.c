/* Layouts of weights. */
#include "quantize/weights.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "kernels/quantize/round_f32.h"

/* [rows][columns][taps...]: output channels are the rows, or the columns. */
static void lay_out(weight *w, bool outputs_first)
{
    const tensor *t = w->source;
    int64_t taps = tensor_span(t, 2, t->rank);

    w->taps = taps;
    w->output_axis = outputs_first ? 0 : 1;
    w->outputs = t->shape[w->output_axis];
    w->inputs = t->shape[1 - w->output_axis];
    w->output_stride = outputs_first ? t->shape[1] * taps : taps;
    w->input_stride = outputs_first ? taps : t->shape[1] * taps;
}

bool weight_of_node(const graph *g, int32_t node, weight *w, const char **reason)
{
    const graph_node *n = &g->nodes[node];
    bool is_conv = graph_node_is(n, "Conv");
    bool is_transposed = graph_node_is(n, "ConvTranspose");
    bool is_gemm = graph_node_is(n, "Gemm");

    *reason = NULL;
    if (n->removed || n->input_count <= WEIGHTS_PORT ||
        !(is_conv || is_transposed || is_gemm || graph_node_is(n, "MatMul"))) {
        return false;
    }
    w->node = node;
    w->value = n->inputs[WEIGHTS_PORT];
    w->source = w->value != GRAPH_NONE ? graph_constant(g, w->value) : NULL;
    if (w->source == NULL) {
        /* A product of two activations is no layer with weights. */
        *reason = is_conv || is_transposed ? "its weights are computed" : NULL;
    } else if (w->source->dtype != SPRY_DTYPE_F32) {
        *reason = "its weights are not f32";
    } else if (w->source->rank < 2 || (!is_conv && !is_transposed && w->source->rank != 2)) {
        *reason = "its weights are not a matrix";
    } else if (tensor_count(w->source) == 0) {
        *reason = "its weights are empty";
    } else {
        lay_out(w, is_conv || (is_gemm && graph_attribute_int(n, "transB", 0) != 0));
        return true;
    }
    return false;
}

void weight_gather(const weight *w, float *dense)
{
    const float *source = w->source->data;

    for (int64_t m = 0; m < w->outputs; m++) {
        for (int64_t n = 0; n < w->inputs; n++) {
            memcpy(dense, source + m * w->output_stride + n * w->input_stride,
                   (size_t)w->taps * sizeof *dense);
            dense += w->taps;
        }
    }
}

const float *weight_dense(const weight *w)
{
    bool is_dense = w->input_stride == w->taps && w->output_stride == w->inputs * w->taps;

    return is_dense ? w->source->data : NULL;
}

void weight_scatter(const weight *w, const int8_t *codes, int8_t *to)
{
    for (int64_t m = 0; m < w->outputs; m++) {
        for (int64_t n = 0; n < w->inputs; n++) {
            memcpy(to + m * w->output_stride + n * w->input_stride, codes, (size_t)w->taps);
            codes += w->taps;
        }
    }
}

spry_status weight_check(const graph *g, const weight *w, spry_error *error)
{
    const float *x = w->source->data;
    int64_t count = weight_count(w);

    for (int64_t i = round_f32_select()->is_finite(x, count) ? count : 0; i < count; i++) {
        if (!isfinite(x[i])) {
            return spry_fail(error, SPRY_BAD_INPUT, g->values[w->value].name,
                             "repair the weights, or exclude the operator",
                             "element %" PRId64 " is %s", i,
                             isnan(x[i]) ? "not a number" : "infinite");
        }
    }
    return SPRY_OK;
}
