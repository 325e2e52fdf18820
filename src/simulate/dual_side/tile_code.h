/* The two-level bitmap code of a matrix for products of columns with rows, as in "Dual-side Sparse
 * Tensor Core" (arXiv 2105.09564).
 *
 * An operand of C = A B is a set of lanes (rows of A, columns of B) over the shared depth. Lanes
 * are taken 32 at a time and the depth 16 at a time: a tile of 32 x 16. A tile that is all zero
 * costs one bit; any other has a word of 32 bits per step of the depth, and the values that are not
 * zero, packed in the order of steps and lanes. Values are held as f16 would hold them; what f16
 * rounds to zero is zero. Lanes and steps beyond the matrix are zero. */
#ifndef SIMULATE_DUAL_SIDE_TILE_CODE_H
#define SIMULATE_DUAL_SIDE_TILE_CODE_H

#include "simulate/layers.h"

enum { TILE_LANES = 32, TILE_STEPS = 16 };

typedef struct tile_code {
    arena memory;
    int64_t lanes, depth;
    int64_t tiles;     /* of lanes */
    int64_t slices;    /* of the depth */
    uint32_t *bits;    /* [tiles][slices * TILE_STEPS]: bit i is lane i of the tile */
    int64_t *begin;    /* [tiles][slices + 1]: where a tile's values are */
    uint8_t *occupied; /* [tiles][slices]: 1 where anything is not zero */
    float *values;
    int64_t value_count;
    bool has_odd; /* infinities or NaN: what is skipped would not have been zero */
} tile_code;

/* x[lane * lane_pitch + step * step_pitch]. Undo with tile_code_fini, also after a failure. Fails
 * with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status tile_code_matrix(tile_code *c, const float *x, int64_t lanes,
                                           int64_t depth, int64_t lane_pitch, int64_t step_pitch,
                                           spry_error *error);

/* The patches of a convolution's input x[images][channels][height][width], as if lowered: lanes are
 * output pixels, steps (channel, kernel row, kernel column) of `group`. The input is coded row by
 * row once; the 32 bits of a step are then a shift of a row's bitmap, and its values lie together
 * there: nothing is lowered. Fails as tile_code_matrix. */
SPRY_MUST_USE spry_status tile_code_patches(tile_code *c, const simulate_layer *l, int64_t group,
                                            const float *x, spry_error *error);

/* Back to x[lane * lane_pitch + step * step_pitch], all of it. */
void tile_code_decode(const tile_code *c, float *x, int64_t lane_pitch, int64_t step_pitch);
void tile_code_fini(tile_code *c);

/* What it takes in memory: a bit per tile; for those that are not empty an offset of 32 bits, their
 * bits, and 16 bits per value. */
int64_t tile_code_bytes(const tile_code *c);
/* Share of elements that are not zero. */
double tile_code_density(const tile_code *c);

#endif
