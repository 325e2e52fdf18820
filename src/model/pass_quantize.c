/* Quantize/dequantize pairs that cancel exactly. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "model/pass.h"
#include "tensor/convert.h"

static const tensor *constant_input(const graph *g, const graph_node *n, int32_t port)
{
    return port < n->input_count && n->inputs[port] != GRAPH_NONE
               ? graph_constant(g, n->inputs[port])
               : NULL;
}

/* (q - z) * s / s is within 2^-23 of q - z, relatively: it rounds to q for 16 bits and fewer, as
 * long as no product is subnormal or overflows. */
static bool scales_are_safe(const tensor *scales)
{
    for (int64_t i = 0; i < tensor_count(scales); i++) {
        double scale = convert_get_f64(scales, i);

        if (!(scale >= (double)FLT_MIN) || scale > (double)FLT_MAX / 65536.0) {
            return false;
        }
    }
    return scales->dtype == SPRY_DTYPE_F32;
}

static bool same_constant(const tensor *a, const tensor *b)
{
    return a != NULL && b != NULL && a->dtype == b->dtype && tensor_same_shape(a, b) &&
           memcmp(a->data, b->data, a->bytes) == 0;
}

static bool is_narrow_integer(spry_dtype dtype)
{
    dtype_class class = dtype_class_of(dtype);

    return (class == DTYPE_CLASS_SIGNED || class == DTYPE_CLASS_UNSIGNED) &&
           spry_dtype_bits(dtype) <= 16;
}

static bool same_layout(const graph_node *a, const graph_node *b)
{
    return graph_attribute_int(a, "axis", 1) == graph_attribute_int(b, "axis", 1) &&
           graph_attribute_int(a, "block_size", 0) == graph_attribute_int(b, "block_size", 0);
}

/* The value that DequantizeLinear, QuantizeLinear `n` takes and gives back; else GRAPH_NONE. */
static int32_t undone_input(const graph *g, const graph_node *n)
{
    const graph_node *before;
    const tensor *scale = constant_input(g, n, 1);
    const tensor *zero = constant_input(g, n, 2);
    int32_t producer;

    if (n->removed || n->domain[0] != '\0' || strcmp(n->type, "QuantizeLinear") != 0 ||
        scale == NULL || zero == NULL || n->inputs[0] == GRAPH_NONE) {
        return GRAPH_NONE;
    }
    producer = g->values[n->inputs[0]].producer;
    before = producer != GRAPH_NONE ? &g->nodes[producer] : NULL;
    if (before == NULL || before->domain[0] != '\0' ||
        strcmp(before->type, "DequantizeLinear") != 0 || before->inputs[0] == GRAPH_NONE ||
        !same_layout(n, before)) {
        return GRAPH_NONE;
    }
    if (!is_narrow_integer(zero->dtype) || !same_constant(scale, constant_input(g, before, 1)) ||
        !same_constant(zero, constant_input(g, before, 2)) || !scales_are_safe(scale)) {
        return GRAPH_NONE;
    }
    return before->inputs[0];
}

spry_status pass_quantize(graph *g, pass_context *c, spry_error *error)
{
    for (int32_t i = 0; i < g->node_count; i++) {
        int32_t source = undone_input(g, &g->nodes[i]);
        int32_t result = source != GRAPH_NONE ? g->nodes[i].outputs[0] : GRAPH_NONE;
        spry_status status;

        if (result == GRAPH_NONE ||
            (g->values[result].is_output && !graph_can_be_output(g, source))) {
            continue;
        }
        status = graph_replace_value(g, result, source, error);
        if (status != SPRY_OK) {
            return status;
        }
        graph_remove_node(g, i);
        c->changes++;
    }
    graph_compact(g);
    return SPRY_OK;
}
