/* A convolutional network as the latency predictor sees it: residual blocks, each with a mask of
 * squares of its output, and convolutions outside of blocks.
 *
 * A block computes y = f(x) + h(x): convolutions one after the other, perhaps a
 * squeeze-and-excitation behind one of them, and the shortcut h, perhaps a convolution. Where
 * squares are skipped, f is only computed there (arXiv 2210.06223, section 3): the first
 * convolution at the pixels that the second will read, those behind it on squares. The mask comes
 * from a masker, which pools x to one pixel per square and has two filters; it may become one more
 * filter of the first convolution, which then is dense. */
#ifndef TUNE_LATENCY_NETWORK_H
#define TUNE_LATENCY_NETWORK_H

#include "spry/model.h"
#include "tune/latency.h"

enum { LATENCY_BLOCK_CONVS = 4, LATENCY_STAGES = 16, LATENCY_NAME = 64 };

typedef struct latency_block {
    char name[LATENCY_NAME];
    int stage;      /* blocks whose outputs have the same size, from 0 */
    int64_t inputs; /* channels of x */
    int64_t in_height, in_width;
    int conv_count;
    latency_conv convs[LATENCY_BLOCK_CONVS];
    bool has_shortcut; /* a convolution */
    latency_conv shortcut;
    int64_t squeezed;  /* channels between the two layers of squeeze-and-excitation; 0: none */
    int squeeze_after; /* convolution whose output it scales */
} latency_block;

typedef struct latency_network {
    spry_allocator allocator;
    latency_block *blocks;
    size_t block_count, block_capacity;
    latency_conv *others; /* convolutions outside of blocks; none in those from tables */
    size_t other_count, other_capacity;
    int stage_count;
} latency_network;

/* Names of the networks that come from tables, ended by NULL: their blocks only, at 224 x 224. */
extern const char *const latency_network_names[];

/* Undo with latency_network_fini, also after a failure. The allocator may be NULL.
 * Fails with SPRY_USAGE (no such name), SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status latency_network_named(latency_network *n, const spry_allocator *allocator,
                                                const char *name, spry_error *error);
/* Finds the residual blocks of any model by its structure: sums of a path with two or more
 * convolutions and one with at most one, from the same value. The batch is one, open sizes of
 * images are 224. Fails with SPRY_UNSUPPORTED (calls functions; no convolution at all),
 * SPRY_BAD_INPUT (broken shapes), SPRY_LIMIT. */
SPRY_MUST_USE spry_status latency_network_of_model(latency_network *n, const spry_model *m,
                                                   spry_error *error);
void latency_network_fini(latency_network *n);

/* A new block or convolution at the end. Fail with SPRY_LIMIT. */
SPRY_MUST_USE spry_status latency_network_add_block(latency_network *n, const latency_block *block,
                                                    spry_error *error);
SPRY_MUST_USE spry_status latency_network_add_other(latency_network *n, const latency_conv *conv,
                                                    spry_error *error);

/* Do two blocks cost the same, being equal but for their names? */
bool latency_block_equal(const latency_block *a, const latency_block *b);
/* Output of the whole block. */
const latency_conv *latency_block_last(const latency_block *b);

/* What a mask costs beside its squares: pixels of the first convolution that lie around them. */
typedef enum latency_halo {
    LATENCY_HALO_RANDOM, /* as many as masks with independent squares have: the worst case */
    LATENCY_HALO_IGNORE  /* none, as the published program counts */
} latency_halo;

/* Expected share of the pixels of a convolution's input that its squares read, where each square is
 * active independently of the others. Zero padding of half the kernel. */
double latency_dilated(const latency_conv *c, latency_squares q);

/* What skips work in a block. */
typedef enum latency_skip {
    LATENCY_SKIP_SQUARES,  /* pixels, in squares */
    LATENCY_SKIP_CHANNELS, /* filters of all convolutions but the last */
    LATENCY_SKIP_LAYERS    /* the block */
} latency_skip;

typedef struct latency_plan {
    latency_skip skip;
    latency_squares squares; /* the density also counts for channels and layers */
    latency_halo halo;
} latency_plan;

/* The block as it is, on a device of many engines. */
latency latency_block_dense(const latency_device *d, const latency_block *b);
/* With parts left out. *fused, unless NULL, becomes true where the masker is part of the first
 * convolution. */
latency latency_block_sparse(const latency_device *d, const latency_block *b,
                             const latency_plan *plan, bool *fused);

#endif
