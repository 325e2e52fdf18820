/* Blocks: which layers of a session's plan run together, and on how many threads.
 *
 * A layer is a convolution (dense, grouped, depthwise), a pooling over windows or a sum of images,
 * with what is fused behind it, as the plan executes it; it is named by the value that it makes. A
 * block runs its layers strip by strip of the rows of its last one, so that the images in between
 * are never in memory as a whole. Results are the same bits as those of layers that run one by one.
 *
 *     const char *const names[] = {"expanded", "filtered", "narrow"};
 *     const spry_block block = {.layers = names, .layer_count = 3};
 *     const spry_blocks blocks = {.blocks = &block, .count = 1};
 *
 *     options.blocks = &blocks; // of spry_session_create
 */
#ifndef SPRY_BLOCKS_H
#define SPRY_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "spry/session.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SPRY_BLOCK_MOST_LAYERS = 16 };

typedef struct spry_block {
    const char *const *layers; /* names, in order of execution: each reads what one before it, or
                                  something outside the block, has made; only the last one's result
                                  is read outside */
    int32_t layer_count;       /* 1 to SPRY_BLOCK_MOST_LAYERS; 1: a layer by itself, for its threads
                                  alone */
    int32_t threads;           /* 1 to the session's; 0: the session's */
    int32_t strip; /* rows of the last layer's output at a time; 0: chosen by their bytes */
    int32_t chunk; /* channels of a wide image in between at a time (1 x 1 -> depthwise ->
                                  1 x 1); 0: all */
} spry_block;

struct spry_blocks {
    const spry_block *blocks;
    int64_t count; /* 0: every layer by itself */
};

/* A layer of the plan for the session's input shapes, in order of execution. */
typedef struct spry_layer {
    const char *name;  /* of the value it makes */
    const char *type;  /* operator */
    int32_t inputs[4]; /* layers whose images it reads (places in this list); -1: not a layer's. The
                           first is the one it convolves */
    int32_t input_count;
    int64_t in[3], out[3]; /* channels, height, width; of the first input */
    int64_t kernel[2], stride[2], pad[2], dilation[2]; /* rows, columns; pad: before the image */
    int64_t groups;
    int64_t batch;
    int64_t macs; /* per image */
    int64_t weight_bytes;
    int32_t element_bytes; /* of its output: 4, 2 or 1 */
    int32_t readers;       /* how many nodes read its output, layers or not */
    bool is_output;        /* of the model */
    bool can_stream;       /* may stand in a block of several layers */
} spry_layer;

/* Lists the layers of the plan that a run would make for the model's own input shapes without
 * blocks (a dimension that the model leaves open is taken as 1). *layers, *count entries, lives
 * until the session is destroyed. Fails with SPRY_UNSUPPORTED (an input of unknown rank),
 * SPRY_LIMIT, SPRY_BAD_INPUT. */
SPRY_API SPRY_MUST_USE spry_status spry_session_layers(spry_session *session,
                                                       const spry_layer **layers, int32_t *count,
                                                       spry_error *error);

#ifdef __cplusplus
}
#endif

#endif
