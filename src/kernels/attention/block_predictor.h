/* What Block-Skim (arXiv 2112.08560) reads the relevance of a block from: two stages of a 3 x 3
 * convolution, a batch norm, Relu and a 2 x 2 average, then a product with two results.
 *
 *     image [H][B][B] -> [H][B/2][B/2] -> [H][B/4][B/4] -> logits [2]
 *
 * Images lie in frames: plane h of an image of side S is rows of `pitch` floats, of which columns
 * 1 to S of rows 1 to S are the image and all around must be zeros. */
#ifndef KERNELS_ATTENTION_BLOCK_PREDICTOR_H
#define KERNELS_ATTENTION_BLOCK_PREDICTOR_H

#include <stdint.h>

#include "kernels/isa.h"

enum {
    BLOCK_PREDICTOR_GROUP = 4, /* channels whose sums are kept together */
    BLOCK_PREDICTOR_TAPS = 9,
    BLOCK_PREDICTOR_MOST_LANES = 16
};

typedef struct block_stage {
    int64_t channels; /* H */
    int64_t side;     /* of the input, even */
    /* [groups][H][9][4]: the batch norm's factor is part of them; missing channels are zeros. */
    const float *weights;
    const float *bias; /* [groups * 4] */
} block_stage;

/* Floats from row to row of a frame for images of that side, of its planes, and of all H planes:
 * rows have room for what kernels read behind them. */
static inline int64_t block_predictor_pitch(int64_t side)
{
    return (side + BLOCK_PREDICTOR_MOST_LANES - 1) / BLOCK_PREDICTOR_MOST_LANES *
               BLOCK_PREDICTOR_MOST_LANES +
           BLOCK_PREDICTOR_MOST_LANES;
}
static inline int64_t block_predictor_plane(int64_t side)
{
    return (side + 2) * block_predictor_pitch(side);
}
/* Floats of packed weights of a stage, and of its bias. */
static inline int64_t block_predictor_weights(int64_t channels)
{
    return (channels + BLOCK_PREDICTOR_GROUP - 1) / BLOCK_PREDICTOR_GROUP * BLOCK_PREDICTOR_GROUP *
           channels * BLOCK_PREDICTOR_TAPS;
}

/* Where a stage writes: the pixel (row, column) of channel c at to[c * plane + row * pitch +
 * column]. */
typedef struct block_target {
    float *to;
    int64_t plane, pitch;
} block_target;

typedef struct block_predictor_kernel {
    const char *name;
    void (*stage)(const block_stage *s, const float *frame, block_target target);
    float (*dot)(const float *a, const float *b, int64_t n);
} block_predictor_kernel;

/* The list that dispatch, tests and benchmarks share: lowest level first. */
extern const isa_variant block_predictor_variants[];
extern const int block_predictor_variant_count;
const block_predictor_kernel *block_predictor_select(void);

/* A convolution [H][H][3][3] with its bias, and the batch norm behind it. */
typedef struct block_norm {
    const float *weights, *bias;                    /* of the convolution */
    const float *factor, *offset, *mean, *variance; /* [H] */
} block_norm;

/* Packs a stage: block_predictor_weights(channels) floats, and the groups' channels of bias. */
void block_predictor_pack(const block_norm *from, int64_t channels, float *weights, float *bias);

typedef struct block_predictor {
    int64_t channels, block; /* block: a multiple of 4 */
    block_stage first, second;
    const float *last;      /* [2][channels * block^2 / 16] */
    const float *last_bias; /* [2] */
} block_predictor;

/* Floats of workspace. */
int64_t block_predictor_workspace(const block_predictor *p);

/* The logits of one image, in a frame of side `block`. */
void block_predictor_run(const block_predictor_kernel *kernel, const block_predictor *p,
                         const float *frame, float *workspace, float *logits);

#endif
