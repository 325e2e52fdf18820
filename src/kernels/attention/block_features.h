/* The weights by which tokens of one block attend to each other, cut from attention while it runs:
 * blocks of `block` neighbouring queries and keys on the diagonal. Nothing of the size of all
 * weights is ever held: the kernel computes those of a block once more, with the sums that it
 * knows by then (attention_observer). */
#ifndef KERNELS_ATTENTION_BLOCK_FEATURES_H
#define KERNELS_ATTENTION_BLOCK_FEATURES_H

#include "kernels/attention/attention_f32.h"

/* Where block b of a head goes: row r of it begins at images + b * image + head * plane + r *
 * pitch. What a last block that is shorter has not, stays as it is. */
typedef struct block_features {
    int64_t block;
    float *images;
    int64_t image, plane, pitch; /* floats */
} block_features;

/* An observer for problems of one sequence, whose context is the description. */
attention_observer block_features_observer(block_features *f);

#endif
