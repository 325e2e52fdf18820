/* The part of structure_find that finds blocks, once linears and head are known. */
#ifndef ADAPT_STRUCTURE_BLOCKS_H
#define ADAPT_STRUCTURE_BLOCKS_H

#include "adapt/structure.h"

/* Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status structure_find_blocks(const graph *g, const graph_uses *uses,
                                                arena *memory, structure *found, spry_error *error);

#endif
