/* MatMulNBits of com.microsoft: products with weights of 2, 4 or 8 bits, packed as they are read.
 * Convolutions are written as in the format qdq. */
#include <string.h>

#include "base/alloc.h"
#include "model/insert.h"
#include "ops/nbits.h"
#include "quantize/format/format.h"
#include "quantize/format/format_qdq.h"
#include "quantize/format/qdq.h"

enum { BYTE = 8, LEAST_BLOCK = 16, MOST_BLOCK = 128, MICROSOFT_OPSET = 1 };

static const char microsoft[] = "com.microsoft";

/* ---- what can be said ---- */

static const char *forbids(const quantize_job *job)
{
    return job->options->activation_bits != 0
               ? "multiplies f32 activations: leave out --activation-bits"
               : NULL;
}

/* A product that MatMulNBits can be: of f32 rows, with nothing but a bias of one number per
 * column. */
static bool is_plain(const graph *g, const graph_node *n, int64_t outputs)
{
    enum { BIAS_PORT = 2 };
    int32_t id = n->input_count > BIAS_PORT ? n->inputs[BIAS_PORT] : GRAPH_NONE;
    const tensor *bias = id != GRAPH_NONE ? graph_constant(g, id) : NULL;

    if (strcmp(n->type, "MatMul") == 0) {
        return true;
    }
    return strcmp(n->type, "Gemm") == 0 && graph_attribute_int(n, "transA", 0) == 0 &&
           graph_attribute_float(n, "alpha", 1.0f) == 1.0f &&
           (id == GRAPH_NONE ||
            (graph_attribute_float(n, "beta", 1.0f) == 1.0f && bias != NULL &&
             bias->dtype == SPRY_DTYPE_F32 && bias->rank == 1 && bias->shape[0] == outputs));
}

/* True when some user of the weight is no product that MatMulNBits can be. */
static bool needs_qdq(const quantize_job *job, const weight_record *r)
{
    for (int32_t i = 0; i < r->user_count; i++) {
        if (!is_plain(job->m->main, &job->m->main->nodes[r->users[i]], r->w.outputs)) {
            return true;
        }
    }
    return false;
}

/* Bits of a code in the file. */
static int stored_bits(int bits)
{
    return bits <= 2 ? 2 : bits <= 4 ? 4 : BYTE;
}

static const char *refuses(const quantize_job *job, const weight_record *r)
{
    if (!record_is_grouped(r)) {
        return "has steps per output channel, or per group of inputs";
    }
    if (r->real_zeros != NULL && stored_bits(r->bits) == BYTE) {
        return "has zero points that are codes, of weights of more than 4 bits";
    }
    return needs_qdq(job, r) ? format_qdq_refuses(job, r) : NULL;
}

/* Inputs per scale in the file: a power of two; the least padding where one step serves all. */
static int64_t stored_block(const weight_record *r)
{
    int64_t block = MOST_BLOCK;

    if (r->column_blocks > 1) {
        return r->column_block;
    }
    while (block > LEAST_BLOCK && r->w.inputs % block != 0) {
        block /= 2;
    }
    return block;
}

/* ---- what is written ---- */

/* Constants of one weight: inputs 1 to 3. */
typedef struct nbits_constants {
    int32_t codes, scales, zeros;
} nbits_constants;

/* Room that is filled, then copied into the graph. */
typedef struct packing {
    const weight_record *r;
    int bits;
    int64_t block, blocks;
    uint8_t *codes; /* [outputs][blocks][block x bits / 8] */
    float *scales;  /* [outputs][blocks] */
    uint8_t *zeros; /* [outputs][blocks x bits / 8], or likewise as floats */
} packing;

static void put(uint8_t *row, int bits, int64_t index, int code)
{
    int64_t bit = index * bits;

    row[bit / BYTE] = (uint8_t)(row[bit / BYTE] | code << bit % BYTE);
}

static void pack_row(const packing *p, int64_t output)
{
    const weight_record *r = p->r;
    int shift = 1 << (p->bits - 1); /* codes are unsigned here */
    int64_t zero_bytes = (p->blocks * p->bits + BYTE - 1) / BYTE;
    uint8_t *codes = p->codes + output * p->blocks * (p->block * p->bits / BYTE);

    for (int64_t k = 0; k < p->blocks * p->block; k++) {
        int code = k < r->w.inputs ? r->codes[output * r->w.inputs + k] : 0;

        put(codes, p->bits, k, code + shift);
    }
    for (int64_t i = 0; i < p->blocks; i++) {
        int64_t block = record_block(r, output, i * p->block);

        p->scales[output * p->blocks + i] = r->steps[block];
        if (r->real_zeros != NULL) {
            ((float *)p->zeros)[output * p->blocks + i] = r->real_zeros[block] + (float)shift;
        } else {
            put(p->zeros + output * zero_bytes, p->bits, i, r->zeros[block] + shift);
        }
    }
}

static spry_status add_constants(graph *g, const packing *p, nbits_constants *made,
                                 spry_error *error)
{
    const char *name = g->values[p->r->w.value].name;
    int64_t n = p->r->w.outputs;
    bool is_real = p->r->real_zeros != NULL;
    int64_t codes_shape[] = {n, p->blocks, p->block * p->bits / BYTE};
    int64_t scales_shape[] = {n, p->blocks};
    int64_t zeros_shape[] = {n, (p->blocks * p->bits + BYTE - 1) / BYTE};
    spry_status status = insert_constant(g, name, "quantized", SPRY_DTYPE_U8, 3, codes_shape,
                                         p->codes, &made->codes, error);

    if (status == SPRY_OK) {
        status = insert_constant(g, name, "scale", SPRY_DTYPE_F32, 2, scales_shape, p->scales,
                                 &made->scales, error);
    }
    made->zeros = GRAPH_NONE;
    if (status == SPRY_OK && (is_real || !p->r->symmetric)) {
        status =
            insert_constant(g, name, "zero_point", is_real ? SPRY_DTYPE_F32 : SPRY_DTYPE_U8, 2,
                            is_real ? scales_shape : zeros_shape, p->zeros, &made->zeros, error);
    }
    return status;
}

static spry_status pack(quantize_job *job, packing *p, nbits_constants *made, spry_error *error)
{
    const spry_allocator *a = &job->m->allocator;
    size_t scales = (size_t)(p->r->w.outputs * p->blocks);
    size_t codes = scales * (size_t)(p->block * p->bits / BYTE);
    size_t bytes = 2 * scales * sizeof(float) + codes;
    float *room = alloc_zeroed(a, bytes);
    spry_status status;

    if (room == NULL) {
        return alloc_failed(error, bytes);
    }
    p->scales = room;
    p->zeros = (uint8_t *)(room + scales);
    p->codes = p->zeros + scales * sizeof(float);
    for (int64_t i = 0; i < p->r->w.outputs; i++) {
        pack_row(p, i);
    }
    status = add_constants(job->m->main, p, made, error);
    alloc_release(a, room, bytes);
    return status;
}

/* ---- operators ---- */

static spry_status replace(quantize_job *job, int32_t node, const packing *p,
                           const nbits_constants *made, spry_error *error)
{
    enum { BIAS_PORT = 2 };
    graph *g = job->m->main;
    graph_node *n = &g->nodes[node];
    int32_t bias = n->input_count > BIAS_PORT ? n->inputs[BIAS_PORT] : GRAPH_NONE;
    int32_t inputs[] = {n->inputs[0], made->codes, made->scales, made->zeros, GRAPH_NONE, bias};
    const struct {
        const char *name;
        int64_t number;
    } attributes[] = {
        {"K", p->r->w.inputs}, {"N", p->r->w.outputs}, {"bits", p->bits}, {"block_size", p->block}};
    int32_t count = bias != GRAPH_NONE          ? NBITS_BIAS + 1
                    : made->zeros != GRAPH_NONE ? NBITS_ZEROS + 1
                                                : NBITS_SCALES + 1;
    spry_status status = SPRY_OK;

    n->type = "MatMulNBits";
    n->domain = microsoft;
    n->opset = MICROSOFT_OPSET;
    n->op = op_find(microsoft, n->type, MICROSOFT_OPSET);
    n->attribute_count = 0;
    n->input_count = 0;
    for (int32_t i = count - 1; status == SPRY_OK && i >= 0; i--) {
        status = insert_input(g, node, i, inputs[i], error);
    }
    for (size_t i = 0; status == SPRY_OK && i < sizeof attributes / sizeof *attributes; i++) {
        status = graph_set_int(g, node, attributes[i].name, attributes[i].number, error);
    }
    return status;
}

static spry_status import_domain(model *m, spry_error *error)
{
    model_opset *opsets;

    if (model_opset_version(m, microsoft) != 0) {
        return SPRY_OK;
    }
    opsets = arena_array(&m->memory, (size_t)m->opset_count + 1, sizeof *opsets);
    if (opsets == NULL) {
        return alloc_failed(error, sizeof *opsets);
    }
    memcpy(opsets, m->opsets, (size_t)m->opset_count * sizeof *opsets);
    opsets[m->opset_count++] = (model_opset){microsoft, MICROSOFT_OPSET};
    m->opsets = opsets;
    return SPRY_OK;
}

/* Operators that the format cannot say read the weight through DequantizeLinear. */
static spry_status write_weight(quantize_job *job, const weight_record *r, spry_error *error)
{
    packing p = {.r = r, .bits = stored_bits(r->bits), .block = stored_block(r)};
    nbits_constants made = {GRAPH_NONE, GRAPH_NONE, GRAPH_NONE};
    bool is_left = false;
    spry_status status = SPRY_OK;

    p.blocks = (r->w.inputs + p.block - 1) / p.block;
    for (int32_t i = 0; status == SPRY_OK && i < r->user_count; i++) {
        int32_t node = r->users[i];

        if (!is_plain(job->m->main, &job->m->main->nodes[node], r->w.outputs)) {
            is_left = true;
            continue;
        }
        if (made.codes == GRAPH_NONE) {
            status = pack(job, &p, &made, error);
        }
        if (status == SPRY_OK) {
            status = replace(job, node, &p, &made, error);
        }
    }
    if (status == SPRY_OK && made.codes != GRAPH_NONE) {
        status = import_domain(job->m, error);
    }
    return status == SPRY_OK && is_left ? format_qdq_weight(job, r, error) : status;
}

static spry_status write(quantize_job *job, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < job->weight_count; i++) {
        status = write_weight(job, &job->weights[i], error);
    }
    return status;
}

const format format_matmulnbits = {
    .facts = {"matmulnbits", "products with weights of a few bits as MatMulNBits of com.microsoft"},
    .best_opset = format_qdq_best_opset,
    .forbids = forbids,
    .refuses = refuses,
    .write = write};
