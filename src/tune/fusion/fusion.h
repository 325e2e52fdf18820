/* Which layers of a network may run as one block, and which rows of their images that takes.
 *
 * Layers stand in the order of execution, so a block is a run of neighbours [first, last]. Only the
 * image of its last layer may be read outside, so a region between a fork and its join is a block
 * of its own or lies in one; a search over such runs therefore needs no graph beside the list.
 * After DLFusion (arXiv 2011.05630). */
#ifndef TUNE_FUSION_FUSION_H
#define TUNE_FUSION_FUSION_H

#include <stdbool.h>

#include "spry/blocks.h"

enum { FUSION_LAYERS_MOST = 4096, FUSION_TEAM_MOST = 1024, FUSION_TEAMS_MOST = 16 };

typedef struct fusion_network {
    const spry_layer *layers;
    int32_t count;
    /* May a layer add an image from outside that is not the block's input? */
    bool outside_addends;
} fusion_network;

/* Operations: two per multiply-add. */
double fusion_layer_operations(const spry_layer *l);
/* Bytes of its result, and of its first input at the same width. */
double fusion_layer_out_bytes(const spry_layer *l);
double fusion_layer_in_bytes(const spry_layer *l);

/* Can layers [first, last] run as one block? One layer always can. Otherwise all can stream; every
 * image but the last is read inside alone and no output of the model; and what is read is an image
 * inside, the input of the first layer, or an addend from outside where the network allows it. */
bool fusion_is_block(const fusion_network *n, int32_t first, int32_t last);

/* The next end behind `last` at which a block from `first` can end, at most `most` layers long; -1:
 * there is none. */
int32_t fusion_next_end(const fusion_network *n, int32_t first, int32_t last, int32_t most);

/* Rows [from, to) of an image. */
typedef struct fusion_rows {
    int64_t from, to;
} fusion_rows;

/* Rows of its first input that rows of a layer's result need. Beyond the image lies padding. */
fusion_rows fusion_rows_read(const spry_layer *l, fusion_rows made);
/* The part that lies in an image of `height` rows; empty is [0, 0). */
fusion_rows fusion_rows_clip(fusion_rows r, int64_t height);

/* For rows of the last layer of a block: the rows that each layer has to make, clipped; `need` has
 * an entry for each of [first, last]. Returns the rows of the block's input. */
fusion_rows fusion_rows_needed(const fusion_network *n, int32_t first, int32_t last,
                               fusion_rows made, fusion_rows *need);

/* Part `index` of `height` rows that are shared among `parts`, as evenly as whole rows allow. */
fusion_rows fusion_rows_part(int64_t height, int64_t parts, int64_t index);

#endif
