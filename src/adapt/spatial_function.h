/* A residual block that computes only where a mask says so, as a model-local function of standard
 * operators: one function per distinct structure, weights are its inputs.
 *
 *     P = AveragePool(x)                  window and stride `cell`; GlobalAveragePool; or x itself
 *     keep, skip = Split(Conv1x1(P, masker_weight, masker_bias))
 *     M = Resize(Cast(keep >= skip))      1 or 0 per cell, laid over the block's map
 *     y = Relu(branch(x) * M + shortcut)
 *
 * So every runtime computes the same numbers, and one that sees the pattern need not compute what
 * the mask throws away (LASNet, arXiv 2210.06223). */
#ifndef ADAPT_SPATIAL_FUNCTION_H
#define ADAPT_SPATIAL_FUNCTION_H

#include "adapt/spatial_block.h"
#include "model/model.h"

enum {
    SPATIAL_OPSET = 13, /* the oldest whose operators the functions are made of */
    SPATIAL_WHOLE = 0   /* one cell for the whole map: the block is done or skipped */
};

typedef struct spatial_cell {
    int64_t side;   /* of a cell in pixels of x; SPATIAL_WHOLE */
    bool is_ragged; /* cells at the ends are cut */
} spatial_cell;

/* Cells of `granularity` pixels of the block's map each. */
spatial_cell spatial_cell_of(const spatial_block *b, int64_t granularity);
/* Adds the function for such a block of `s`, a graph with the values of the model's, unless the
 * model has it; *name is its name in domain EMIT_DOMAIN. Its inputs are x, shortcut, weight and
 * bias of the masker, then weight and bias (where there is one) of every convolution.
 * Fails with SPRY_USAGE (the model has another function of that name), SPRY_LIMIT. */
SPRY_MUST_USE spry_status spatial_function_add(model *m, const graph *s, const spatial_block *b,
                                               const spatial_cell *cell, const char **name,
                                               spry_error *error);

#endif
