/* QOperator: operators on integers. Written as in the format qdq first; then a product or
 * convolution between DequantizeLinear and QuantizeLinear becomes QLinearMatMul or QLinearConv, and
 * one whose result stays f32
 *
 *     MatMulInteger | ConvInteger [-> + integer bias] -> Cast -> Mul by both steps
 *
 * which is all that standard ONNX has; the rest keeps its QuantizeLinear and DequantizeLinear. */
#include <math.h>

#include "base/alloc.h"
#include "model/insert.h"
#include "quantize/format/format.h"
#include "quantize/format/format_qdq.h"
#include "quantize/format/qdq.h"
#include "runtime/chain.h"

static const char *forbids(const quantize_job *job)
{
    if (job->options->activation_bits == 0) {
        return "multiplies integers: give --activation-bits 8";
    }
    return job->options->symmetric ? NULL : "has weights without zero points: give --symmetric";
}

/* What a DequantizeLinear reads. */
typedef struct dequantized {
    int32_t data, scale, zero; /* zero: may be GRAPH_NONE */
} dequantized;

/* An operator on its way to integers. */
typedef struct rewriting {
    graph *g;
    const graph_uses *uses;
    int32_t value_count; /* that the uses know */
    int32_t opset;
    int32_t node;
    bool is_conv, is_gemm;
    dequantized x, w;
    int32_t bias;     /* i32 codes, or GRAPH_NONE */
    int64_t channels; /* results with a step of their own; 1: one step for all */
    const char *name; /* of the result */
    spry_error *error;
} rewriting;

/* ---- reading ---- */

static bool read_dequantized(const graph *g, int32_t id, dequantized *d)
{
    int32_t producer = id != GRAPH_NONE ? g->values[id].producer : GRAPH_NONE;
    const graph_node *n = producer != GRAPH_NONE ? &g->nodes[producer] : NULL;

    if (n == NULL || n->removed || !graph_node_is(n, "DequantizeLinear") ||
        graph_attribute_int(n, "block_size", 0) != 0) {
        return false;
    }
    *d = (dequantized){n->inputs[0], n->inputs[1], chain_input(n, 2)};
    return true;
}

static bool is_one_number(const graph *g, int32_t id)
{
    const tensor *t = graph_constant(g, id);

    return t != NULL && tensor_count(t) == 1;
}

/* Steps of the operator's second factor are its channels', or one. */
static bool read_factors(rewriting *r)
{
    const graph *g = r->g;
    const graph_node *n = &g->nodes[r->node];
    const tensor *scale;

    if (!read_dequantized(g, chain_input(n, 0), &r->x) ||
        !read_dequantized(g, chain_input(n, 1), &r->w) || r->x.zero == GRAPH_NONE) {
        return false;
    }
    scale = graph_constant(g, r->w.scale);
    r->channels = scale != NULL ? tensor_count(scale) : 0;
    return r->channels > 0 && is_one_number(g, r->x.scale) &&
           (graph_constant(g, r->w.data) != NULL || (r->w.zero != GRAPH_NONE && r->channels == 1));
}

static bool read_bias(rewriting *r)
{
    int32_t id = chain_input(&r->g->nodes[r->node], 2);
    dequantized d;

    r->bias = GRAPH_NONE;
    if (id == GRAPH_NONE) {
        return true;
    }
    if (!read_dequantized(r->g, id, &d) || r->g->values[d.data].constant == NULL ||
        r->g->values[d.data].constant->dtype != SPRY_DTYPE_I32) {
        return false;
    }
    r->bias = d.data;
    return true;
}

static bool read_operator(rewriting *r)
{
    const graph_node *n = &r->g->nodes[r->node];

    r->is_conv = graph_node_is(n, "Conv");
    r->is_gemm = graph_node_is(n, "Gemm");
    if (n->removed || (!r->is_conv && !r->is_gemm && !graph_node_is(n, "MatMul")) ||
        (r->is_gemm && (graph_attribute_int(n, "transA", 0) != 0 ||
                        graph_attribute_float(n, "alpha", 1.0f) != 1.0f ||
                        graph_attribute_float(n, "beta", 1.0f) != 1.0f))) {
        return false;
    }
    r->name = r->g->values[n->outputs[0]].name;
    return read_factors(r) && read_bias(r);
}

/* ---- the end of the chain ---- */

static int32_t only_user(const rewriting *r, int32_t id)
{
    return id < r->value_count ? chain_only_user(r->g, r->uses, id) : GRAPH_NONE;
}

/* Codes that say all that the clamp leaves: then it does nothing beyond them. */
static bool is_implied(const graph *g, const chain_end *end, const graph_node *q)
{
    const tensor *scale = graph_constant(g, q->inputs[1]);
    const tensor *zero = graph_constant(g, chain_input(q, 2));
    int low = 0;
    int high = UINT8_MAX;
    int z;

    if (scale == NULL || zero == NULL) {
        return false;
    }
    z = zero->dtype == SPRY_DTYPE_I8 ? *(const int8_t *)zero->data : *(const uint8_t *)zero->data;
    if (zero->dtype == SPRY_DTYPE_I8) {
        low = INT8_MIN;
        high = INT8_MAX;
    }
    return end->lower <= (float)(low - z) * *(const float *)scale->data &&
           end->upper >= (float)(high - z) * *(const float *)scale->data;
}

/* The QuantizeLinear that follows, behind a clamp that its codes imply; GRAPH_NONE: none does. */
static int32_t find_quantize(const rewriting *r, int32_t *clamp)
{
    const graph *g = r->g;
    chain_end end = {.result = g->nodes[r->node].outputs[0], .lower = -INFINITY, .upper = INFINITY};
    int32_t user = only_user(r, end.result);

    *clamp = GRAPH_NONE;
    if (user != GRAPH_NONE && chain_take_clamp(g, &g->nodes[user], &end)) {
        *clamp = user;
        user = only_user(r, g->nodes[user].outputs[0]);
    }
    return user != GRAPH_NONE && graph_node_is(&g->nodes[user], "QuantizeLinear") &&
                   is_implied(g, &end, &g->nodes[user])
               ? user
               : GRAPH_NONE;
}

/* ---- rewriting ---- */

static spry_status set_node(rewriting *r, const char *type, const int32_t *inputs, int32_t count)
{
    graph_node *n = &r->g->nodes[r->node];
    spry_status status = SPRY_OK;

    n->type = type;
    n->op = op_find("", type, n->opset);
    n->input_count = 0;
    for (int32_t i = count - 1; status == SPRY_OK && i >= 0; i--) {
        status = insert_input(r->g, r->node, i, inputs[i], r->error);
    }
    return status;
}

/* A zero point for every step of the second factor. */
static spry_status zeros_of_weights(rewriting *r, int32_t *zeros)
{
    const tensor *scale = graph_constant(r->g, r->w.scale);
    int8_t *bytes;

    *zeros = r->w.zero;
    if (r->w.zero != GRAPH_NONE) {
        return SPRY_OK;
    }
    bytes = arena_zeroed(r->g->memory, (size_t)r->channels);
    if (bytes == NULL) {
        return alloc_failed(r->error, (size_t)r->channels);
    }
    return insert_constant(r->g, r->name, "weight_zero_point", SPRY_DTYPE_I8, scale->rank,
                           scale->shape, bytes, zeros, r->error);
}

/* The codes of a Gemm with transB as MatMul reads them, [k][n]. */
static spry_status turn_weights(rewriting *r)
{
    const tensor *t = graph_constant(r->g, r->w.data);
    int64_t shape[2];
    int8_t *turned;

    if (!r->is_gemm || graph_attribute_int(&r->g->nodes[r->node], "transB", 0) == 0) {
        return SPRY_OK;
    }
    shape[0] = t->shape[1];
    shape[1] = t->shape[0];
    turned = arena_bytes(r->g->memory, t->bytes);
    if (turned == NULL) {
        return alloc_failed(r->error, t->bytes);
    }
    for (int64_t i = 0; i < shape[1]; i++) {
        for (int64_t k = 0; k < shape[0]; k++) {
            turned[k * shape[1] + i] = ((const int8_t *)t->data)[i * shape[0] + k];
        }
    }
    return insert_constant(r->g, r->name, "weight_turned", t->dtype, 2, shape, turned, &r->w.data,
                           r->error);
}

/* From codes to codes: `quantize` and the clamp before it are gone. */
static spry_status write_linear(rewriting *r, int32_t quantize, int32_t clamp)
{
    graph *g = r->g;
    const graph_node q = g->nodes[quantize];
    int32_t result = q.outputs[0];
    int32_t zeros;
    spry_status status = zeros_of_weights(r, &zeros);
    int32_t inputs[] = {r->x.data, r->x.scale,  r->x.zero,          r->w.data, r->w.scale,
                        zeros,     q.inputs[1], chain_input(&q, 2), r->bias};
    int32_t count = r->bias != GRAPH_NONE ? 9 : 8;

    if (status == SPRY_OK) {
        status = set_node(r, r->is_conv ? "QLinearConv" : "QLinearMatMul", inputs, count);
    }
    if (clamp != GRAPH_NONE) {
        graph_remove_node(g, clamp);
    }
    graph_remove_node(g, quantize);
    graph_set_output(g, r->node, 0, result);
    return status;
}

/* Shape of a constant with a number per channel, beside the result. */
static int channel_shape(const rewriting *r, int64_t shape[SPRY_TENSOR_MAX_RANK])
{
    int rank = r->is_conv ? graph_constant(r->g, r->w.data)->rank : 1;

    for (int i = 0; i < rank; i++) {
        shape[i] = 1;
    }
    shape[r->is_conv ? 1 : 0] = r->channels;
    return r->channels == 1 && !r->is_conv ? 0 : rank;
}

static spry_status add_after(rewriting *r, const char *type, const char *suffix, int32_t other,
                             int32_t *sums)
{
    insert_node_of what = {.type = type,
                           .opset = r->opset,
                           .base = r->name,
                           .suffix = suffix,
                           .inputs = {*sums, other},
                           .input_count = other != GRAPH_NONE ? 2 : 1};
    int32_t node;
    spry_status status = insert_node(r->g, &what, &node, sums, r->error);

    return status == SPRY_OK && other == GRAPH_NONE
               ? graph_set_int(r->g, node, "to", SPRY_DTYPE_F32, r->error)
               : status;
}

/* Both steps as one constant. */
static spry_status multiply_steps(rewriting *r, int32_t *steps)
{
    float x = *(const float *)graph_constant(r->g, r->x.scale)->data;
    const float *w = graph_constant(r->g, r->w.scale)->data;
    float *products = arena_array(r->g->memory, (size_t)r->channels, sizeof *products);
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int rank = channel_shape(r, shape);

    if (products == NULL) {
        return alloc_failed(r->error, (size_t)r->channels * sizeof *products);
    }
    for (int64_t i = 0; i < r->channels; i++) {
        products[i] = x * w[i];
    }
    return insert_constant(r->g, r->name, "step", SPRY_DTYPE_F32, rank, shape, products, steps,
                           r->error);
}

/* From codes to f32. */
static spry_status write_sums(rewriting *r)
{
    graph *g = r->g;
    int32_t result = g->nodes[r->node].outputs[0];
    int32_t inputs[] = {r->x.data, r->w.data, r->x.zero, r->w.zero};
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int32_t steps = GRAPH_NONE;
    int32_t biases = GRAPH_NONE;
    int32_t sums;
    spry_status status = set_node(r, r->is_conv ? "ConvInteger" : "MatMulInteger", inputs,
                                  r->w.zero != GRAPH_NONE ? 4 : 3);

    if (status == SPRY_OK) {
        status = graph_add_value(g, NULL, &sums, r->error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    graph_set_output(g, r->node, 0, sums);
    if (r->bias != GRAPH_NONE) {
        int rank = channel_shape(r, shape);

        status = insert_constant(g, r->name, "bias", SPRY_DTYPE_I32, rank, shape,
                                 graph_constant(g, r->bias)->data, &biases, r->error);
        if (status == SPRY_OK) {
            status = add_after(r, "Add", "sum", biases, &sums);
        }
    }
    if (status == SPRY_OK) {
        status = add_after(r, "Cast", "float", GRAPH_NONE, &sums);
    }
    if (status == SPRY_OK) {
        status = multiply_steps(r, &steps);
    }
    if (status == SPRY_OK) {
        status = add_after(r, "Mul", "scaled", steps, &sums);
    }
    if (status == SPRY_OK) {
        graph_set_output(g, g->values[sums].producer, 0, result);
    }
    return status;
}

static spry_status rewrite(rewriting *r)
{
    int32_t clamp;
    int32_t quantize;
    spry_status status;

    if (!read_operator(r)) {
        return SPRY_OK;
    }
    quantize = find_quantize(r, &clamp);
    status = turn_weights(r);
    if (r->is_gemm) {
        r->g->nodes[r->node].attribute_count = 0;
    }
    if (status != SPRY_OK) {
        return status;
    }
    return quantize != GRAPH_NONE && (r->is_conv || r->bias == GRAPH_NONE)
               ? write_linear(r, quantize, clamp)
               : write_sums(r);
}

static spry_status write(quantize_job *job, spry_error *error)
{
    graph *g = job->m->main;
    arena memory;
    graph_uses uses;
    spry_status status = format_qdq_write(job, error);

    arena_init(&memory, &job->m->allocator, SIZE_MAX);
    if (status == SPRY_OK) {
        status = graph_find_uses(g, &memory, &uses, error);
    }
    rewriting r = {
        .g = g, .uses = &uses, .value_count = g->value_count, .opset = job->opset, .error = error};
    for (r.node = 0; status == SPRY_OK && r.node < job->node_count; r.node++) {
        status = rewrite(&r);
    }
    arena_fini(&memory);
    return status;
}

const format format_qoperator = {
    .facts = {"qoperator", "QLinearConv, QLinearMatMul and products of integers, where they are"},
    .forbids = forbids,
    .refuses = format_qdq_refuses,
    .write = write};
