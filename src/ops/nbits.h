/* Products with weights of a few bits (com.microsoft MatMulNBits), as reference and provider read
 * them:
 *
 *     Y[..., n] = sum over k of A[..., k] * scale[n][k / block] * (code[n][k] - zero[n][k / block])
 *
 * codes [n][blocks][block x bits / 8] bytes, first code in the low bits; zero points in the same
 * way [n][blocks], each row in whole bytes, or as numbers of A's type; without them 2^(bits - 1).
 * Defined in ONNX Runtime's ContribOperators.md. */
#ifndef OPS_NBITS_H
#define OPS_NBITS_H

#include "ops/op.h"

enum { NBITS_A, NBITS_CODES, NBITS_SCALES, NBITS_ZEROS, NBITS_INDEX, NBITS_BIAS };

typedef struct nbits {
    int64_t n, k;
    int bits; /* 2, 4 or 8 */
    int64_t block, blocks;
} nbits;

/* Sizes from the attributes, into *b; false when they make no sense. */
bool nbits_read(const graph_node *n, nbits *b);

/* True when the tensors have as many elements as the sizes say; `zeros` may be NULL. */
bool nbits_fits(const nbits *b, const tensor *codes, const tensor *scales, const tensor *zeros);

/* The zero point of a block of a row; `zeros` may be NULL. */
float nbits_zero(const nbits *b, const tensor *zeros, int64_t row, int64_t block);

/* The tensors of the weights. */
typedef struct nbits_weights {
    nbits sizes;
    const tensor *codes, *zeros, *index; /* zeros and index may be NULL */
    const float *scales;                 /* [n][blocks] */
} nbits_weights;

/* All weights as floats: element (row, k) to to[row * row_stride + k * k_stride]. False when the
 * index names a block that is not there. */
bool nbits_expand(const nbits_weights *w, int64_t row_stride, int64_t k_stride, float *to);

#endif
