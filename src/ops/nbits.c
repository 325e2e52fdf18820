/* MatMulNBits: products with weights of a few bits. */
#include "ops/nbits.h"

#include <string.h>

#include "base/checked.h"
#include "ops/families.h"
#include "ops/operand.h"
#include "ops/product.h"
#include "ops/whole.h"
#include "tensor/convert.h"

enum { BYTE = 8, LEAST_BLOCK = 16, MOST_BLOCK = 1 << 16 };

/* ---- sizes ---- */

bool nbits_read(const graph_node *n, nbits *b)
{
    int64_t bits = graph_attribute_int(n, "bits", 4);
    int64_t most;

    *b = (nbits){.n = graph_attribute_int(n, "N", 0),
                 .k = graph_attribute_int(n, "K", 0),
                 .bits = (int)bits,
                 .block = graph_attribute_int(n, "block_size", 0)};
    if ((bits != 2 && bits != 4 && bits != BYTE) || b->block < LEAST_BLOCK ||
        b->block > MOST_BLOCK || (b->block & (b->block - 1)) != 0 || b->n <= 0 || b->k <= 0) {
        return false;
    }
    b->blocks = b->k / b->block + (b->k % b->block != 0);
    return checked_mul_i64(b->blocks, b->block, &most) && checked_mul_i64(most, b->n, &most) &&
           checked_mul_i64(most, BYTE, &most);
}

/* Bytes of one row of zero points. */
static int64_t zero_bytes(const nbits *b)
{
    return (b->blocks * b->bits + BYTE - 1) / BYTE;
}

bool nbits_fits(const nbits *b, const tensor *codes, const tensor *scales, const tensor *zeros)
{
    return tensor_count(codes) == b->n * b->blocks * (b->block * b->bits / BYTE) &&
           tensor_count(scales) == b->n * b->blocks &&
           (zeros == NULL ||
            tensor_count(zeros) ==
                b->n * (zeros->dtype == SPRY_DTYPE_U8 ? zero_bytes(b) : b->blocks));
}

/* Code number `index` of a row of bytes. */
static int code_at(const uint8_t *row, int bits, int64_t index)
{
    int64_t bit = index * bits;

    return row[bit / BYTE] >> bit % BYTE & ((1 << bits) - 1);
}

float nbits_zero(const nbits *b, const tensor *zeros, int64_t row, int64_t block)
{
    if (zeros == NULL) {
        return (float)(1 << (b->bits - 1));
    }
    if (zeros->dtype != SPRY_DTYPE_U8) {
        return (float)convert_get_f64(zeros, row * b->blocks + block);
    }
    return (float)code_at((const uint8_t *)zeros->data + row * zero_bytes(b), b->bits, block);
}

/* ---- reference ---- */

/* The block whose scale element k of every row has: its own, or what the index says. */
static bool block_of(const nbits_weights *w, int64_t k, int64_t *block)
{
    *block = k / w->sizes.block;
    if (w->index != NULL) {
        *block = (int64_t)convert_get_f64(w->index, k);
    }
    return *block >= 0 && *block < w->sizes.blocks;
}

bool nbits_expand(const nbits_weights *w, int64_t row_stride, int64_t k_stride, float *to)
{
    const nbits *b = &w->sizes;
    int64_t row_bytes = b->blocks * (b->block * b->bits / BYTE);

    for (int64_t row = 0; row < b->n; row++) {
        const uint8_t *codes = (const uint8_t *)w->codes->data + row * row_bytes;

        for (int64_t k = 0; k < b->k; k++) {
            int64_t block;

            if (!block_of(w, k, &block)) {
                return false;
            }
            to[row * row_stride + k * k_stride] =
                w->scales[row * b->blocks + block] *
                ((float)code_at(codes, b->bits, k) - nbits_zero(b, w->zeros, row, block));
        }
    }
    return true;
}

static spry_status read_weights(op_call *call, nbits_weights *w)
{
    const tensor *a = op_call_input(call, NBITS_A);
    const tensor *scales = op_call_input(call, NBITS_SCALES);
    const tensor *bias = op_call_input(call, NBITS_BIAS);

    *w = (nbits_weights){.codes = op_call_input(call, NBITS_CODES),
                         .zeros = op_call_input(call, NBITS_ZEROS),
                         .index = op_call_input(call, NBITS_INDEX)};
    if (!nbits_read(call->node, &w->sizes)) {
        return op_call_fail(call, SPRY_BAD_INPUT,
                            "N, K, bits (2, 4 or 8) or block_size (a power of two from 16 on) "
                            "make no sense");
    }
    if (a == NULL || a->rank < 1 || a->shape[a->rank - 1] != w->sizes.k || w->codes == NULL ||
        scales == NULL || !nbits_fits(&w->sizes, w->codes, scales, w->zeros) ||
        (w->index != NULL && tensor_count(w->index) < w->sizes.k) ||
        (bias != NULL && tensor_count(bias) != w->sizes.n)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "the inputs do not fit K = %lld and N = %lld",
                            (long long)w->sizes.k, (long long)w->sizes.n);
    }
    return whole_f32(call, scales, &w->scales);
}

/* Adds the bias and writes the product of `count` results. */
static spry_status write_result(op_call *call, const nbits_weights *w, int64_t count, float *c,
                                tensor *y)
{
    const float *bias = NULL;
    spry_status status = whole_f32(call, op_call_input(call, NBITS_BIAS), &bias);

    for (int64_t i = 0; status == SPRY_OK && bias != NULL && i < count; i++) {
        c[i] += bias[i % w->sizes.n];
    }
    if (status == SPRY_OK && y->data != c) {
        convert_write_f32(y, 0, count, c);
    }
    return status;
}

static spry_status run_nbits(op_call *call)
{
    const tensor *a = op_call_input(call, NBITS_A);
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    product p = {.batch = 1};
    const float *rows = NULL;
    void *expanded = NULL;
    tensor *y = NULL;
    nbits_weights w;
    spry_status status = read_weights(call, &w);

    if (status != SPRY_OK) {
        return status;
    }
    memcpy(shape, a->shape, (size_t)a->rank * sizeof *shape);
    shape[a->rank - 1] = w.sizes.n;
    status = op_call_output(call, 0, a->dtype, a->rank, shape, &y);
    if (status != SPRY_OK || y == NULL) {
        return status;
    }
    status = whole_room(call, w.sizes.n, w.sizes.k, sizeof(float), &expanded);
    if (status == SPRY_OK) {
        status = whole_f32(call, a, &rows);
    }
    p.c = y->data;
    if (status == SPRY_OK && y->dtype != SPRY_DTYPE_F32) {
        status = whole_room(call, tensor_count(y), 1, sizeof(float), &p.c);
    }
    if (status != SPRY_OK) {
        return status;
    }
    if (!nbits_expand(&w, w.sizes.k, 1, expanded)) {
        return op_call_fail(call, SPRY_BAD_INPUT, "an index names a block that is not there");
    }
    p.a = rows;
    p.b = expanded;
    p.m = tensor_count(a) / w.sizes.k;
    p.n = w.sizes.n;
    p.k = p.a_row = p.b_column = w.sizes.k;
    p.a_k = p.b_k = 1;
    status = product_f32(call, &p);
    return status == SPRY_OK ? write_result(call, &w, tensor_count(y), p.c, y) : status;
}

/* ---- shape and cost ---- */

static spry_status infer_nbits(op_shapes *s)
{
    const graph_type *a = op_shapes_ranked(s, NBITS_A);
    graph_dim dims[SPRY_TENSOR_MAX_RANK];
    nbits b;

    if (!nbits_read(s->node, &b)) {
        return op_shapes_fail(s, "N, K, bits or block_size make no sense");
    }
    if (a == NULL) {
        return operand_unranked(s, 0, operand_dtype(s, 0));
    }
    if (a->rank == 0 || (a->dims[a->rank - 1].size >= 0 && a->dims[a->rank - 1].size != b.k)) {
        return op_shapes_fail(s, "rows of A must have %lld elements", (long long)b.k);
    }
    memcpy(dims, a->dims, (size_t)a->rank * sizeof *dims);
    dims[a->rank - 1] = (graph_dim){.size = b.n};
    op_shapes_set(s, 0, operand_dtype(s, 0), a->rank, dims);
    return SPRY_OK;
}

static void nbits_cost(const op_work *w, int64_t *macs, int64_t *flops)
{
    *macs = op_work_count(w->outputs[0]) * graph_attribute_int(w->node, "K", 0);
    *flops = 2 * *macs;
}

#define SCALES (1u << SPRY_DTYPE_F32 | 1u << SPRY_DTYPE_F16 | 1u << SPRY_DTYPE_BF16)
#define CODES (1u << SPRY_DTYPE_U8)

/* clang-format off */
const op ops_nbits[] = {
    {.name = "MatMulNBits", .domain = "com.microsoft", .since = 1, .min_inputs = 3, .max_inputs = 6,
     .min_outputs = 1, .max_outputs = 1,
     .types = {SCALES, CODES, SCALES, CODES | SCALES, 1u << SPRY_DTYPE_I32, SCALES},
     .infer = infer_nbits, .run = run_nbits, .cost = nbits_cost},
    {.name = NULL},
};
/* clang-format on */
