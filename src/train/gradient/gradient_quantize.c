/* Straight-through estimators (Bengio, Leonard, Courville, arXiv 1308.3432).
 *
 * A QuantizeLinear whose result goes straight into a DequantizeLinear is rounding to a grid. Its
 * derivative is taken as that of the identity inside of the grid's range and 0 outside.
 * A gate of 0 or 1 has that of the soft gate behind it (ops/gumbel.c). */
#include <string.h>

#include "train/gradient/gradient_step.h"

/* Do both nodes mean the same scale or zero point? */
static bool same_operand(const gradient_step *s, const graph_node *quantize, int port)
{
    int32_t a = port < quantize->input_count ? quantize->inputs[port] : GRAPH_NONE;
    int32_t b = gradient_input(s, port);
    const tensor *x = a != GRAPH_NONE ? graph_constant(s->e.g, a) : NULL;
    const tensor *y = b != GRAPH_NONE ? graph_constant(s->e.g, b) : NULL;

    return a == b || (x != NULL && y != NULL && x->dtype == y->dtype && x->bytes == y->bytes &&
                      memcmp(x->data, y->data, x->bytes) == 0);
}

/* What the codes `code` stand for, laid over x. */
static int32_t bound(gradient_step *s, const graph_type *x, spry_dtype dtype, int64_t code)
{
    const graph_type *scale = &s->e.g->values[s->node.inputs[1]].type;
    bool per_axis = scale->has_rank && scale->rank == 1 && scale->dims[0].size != 1;
    int axis = per_axis ? gradient_axis(s, "axis", 1, x->rank) : 0;
    int64_t shape[SPRY_TENSOR_MAX_RANK] = {-1};
    int32_t codes = emit_cast(&s->e, emit_number(&s->e, SPRY_DTYPE_I64, (double)code), dtype);
    int32_t inputs[3] = {codes, s->node.inputs[1], gradient_input(s, 2)};
    int32_t value;

    if (!scale->has_rank || scale->rank > 1) {
        gradient_refuse(s, "its scales are per block, or of unknown rank");
        return GRAPH_NONE;
    }
    if (scale->rank == 1) {
        inputs[0] = emit_expand_like(&s->e, codes, s->node.inputs[1]);
    }
    value = emit_node(&s->e, "DequantizeLinear", inputs[2] != GRAPH_NONE ? 3 : 2, inputs);
    emit_set_int(&s->e, value, "axis", 0);
    for (int i = axis + 1; per_axis && i < x->rank; i++) {
        shape[i - axis] = 1;
    }
    return emit_reshape(&s->e, value, per_axis ? x->rank - axis : 0, shape);
}

static void give_dequantized(gradient_step *s)
{
    int32_t codes = s->node.inputs[0];
    int32_t producer = s->e.g->values[codes].producer;
    const graph_node *quantize = producer != GRAPH_NONE ? &s->e.g->nodes[producer] : NULL;
    spry_dtype dtype = gradient_dtype(s, codes);
    graph_type type;
    int32_t x;
    int32_t zero;
    int32_t share;

    if (quantize == NULL || strcmp(quantize->type, "QuantizeLinear") != 0 ||
        !same_operand(s, quantize, 1) || !same_operand(s, quantize, 2)) {
        gradient_refuse(s, "it does not undo a QuantizeLinear of the same scale");
        return;
    }
    x = quantize->inputs[0];
    type = gradient_ranked(s, x);
    zero = emit_number(&s->e, gradient_dtype(s, x), 0.0);
    share = emit_where(
        &s->e, emit_binary(&s->e, "Less", x, bound(s, &type, dtype, dtype_integer_min(dtype))),
        zero, s->dy[0]);
    share = emit_where(
        &s->e, emit_binary(&s->e, "Greater", x, bound(s, &type, dtype, dtype_integer_max(dtype))),
        zero, share);
    gradient_give_nothing(s, 0);
    gradient_add(s, x, share);
}

static void give_gate(gradient_step *s)
{
    if (gradient_wanted(s, 1)) {
        gradient_refuse(s, "its temperature is not learnt");
        return;
    }
    gradient_give(s, 0, emit_binary(&s->e, "Mul", s->dy[0], gradient_demand_output(s, 1)));
}

const gradient_rule gradient_quantize_rules[] = {
    {.name = "DequantizeLinear", .domain = "", .run = give_dequantized},
    {.name = "GumbelGate", .domain = EMIT_DOMAIN, .run = give_gate},
    {.name = NULL},
};
