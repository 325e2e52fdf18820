/* Products of rows of f32 with weights of four bits, or of eight, which share a scale and a zero
 * point per group of consecutive k (32, 64, 128, ...):
 *
 *     C[row][column] = bias[column] + sum over k of A[row][k] * W[k][column]
 *     W[k][column]   = scale[k / group][column] * (code[k][column] - zero[k / group][column])
 *
 * The weights are packed once and are read as they are, so that a product of few rows takes the
 * time of reading half a byte, or a byte, per weight. Products of many rows unpack a block of
 * weights to floats and multiply by the tiles of brgemm.
 *
 *   packed: panels of `nr` columns; a panel is one record per group: scales [nr], zeros - 8 [nr]
 *           (left out when all are 8), codes [group / 8][nr] of 32 bits, each eight k of a column:
 *           bits [4 i, 4 i + 4) hold k = 2 i for i < 4, then k = 2 (i - 4) + 1. Of eight bits: 128
 *           in place of 8, codes - 128 [group][nr] of bytes */
#ifndef KERNELS_BRGEMM_W4_H
#define KERNELS_BRGEMM_W4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/isa.h"

enum {
    W4_MOST_ROWS = 4, /* of a tile */
    W4_MOST_NR = 32,
    W4_WORD = 8,    /* k per 32 bits; groups are a multiple */
    W4_FEW_ROWS = 8 /* as many are multiplied by codes; more by unpacked weights */
};

/* The zero point that costs nothing. */
static inline int w4_centre(int bits)
{
    return 1 << (bits - 1);
}

/* The code of k = `step` within its word begins at this bit. */
static inline int w4_shift(int step)
{
    return (step / 2 + step % 2 * (W4_WORD / 2)) * 4;
}

/* Weights in memory: element (k, column) is code k * k_stride + column * column_stride of `codes`,
 * of 2, 4 or 8 bits, the first in the low bits of a byte, XORed with `flip` (the highest bit turns
 * signed codes into codes without a sign), then raised by `lift` (6 turns codes of 2 bits around 2
 * into codes around 8). Scales and zeros: element group * group_stride + column * scale_stride;
 * zeros, of codes as they have become; NULL: all the centre. */
typedef struct w4_source {
    const uint8_t *codes;
    int bits;
    int64_t k_stride, column_stride;
    uint8_t flip, lift;
    const float *scales;
    const float *zeros;
    int64_t group_stride, scale_stride;
} w4_source;

/* Up to W4_MOST_ROWS rows by one panel. */
typedef struct w4_tile {
    const float *a; /* [rows] at a_pitch; zeros from k on, to whole groups */
    int64_t a_pitch;
    const float *a_sums; /* [rows] at sums_pitch, per group; not read without zeros */
    int64_t sums_pitch;
    const void *panel;
    int64_t groups;
    int group;
    bool has_zeros;
    const float *bias; /* or NULL */
    float *c;
    int64_t c_pitch;
    int rows, columns;
} w4_tile;

/* A variant. Pitches are in floats. */
typedef struct w4_kernel {
    const char *name; /* "w4_4x32__avx512" */
    int bits;         /* 4 (codes of 2 are lifted) or 8 */
    int nr;
    void (*tile)(const w4_tile *t);
    /* `groups` groups of a panel as floats [k][nr]: the packed B of a brgemm tile of f32. */
    void (*unpack)(const void *panel, int64_t groups, int group, bool has_zeros, float *to);
} w4_kernel;

/* The lists that dispatch, tests and benchmarks share: lowest level first. */
extern const isa_variant w4_variants[];
extern const int w4_variant_count;
extern const isa_variant w8_variants[];
extern const int w8_variant_count;

/* The best variant for codes of 4 or 8 bits that may run now. */
const w4_kernel *w4_select(int bits);

/* Bytes of one group of a panel, and of all weights; the caller has checked that they fit. */
int64_t w4_group_bytes(const w4_kernel *kernel, int group, bool has_zeros);
int64_t w4_packed_size(const w4_kernel *kernel, int64_t k, int64_t columns, int group,
                       bool has_zeros);
void w4_pack(const w4_kernel *kernel, const w4_source *source, int64_t k, int64_t columns,
             int group, void *packed);

#endif
