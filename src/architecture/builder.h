/* Writes a network layer by layer: every call adds the nodes and the fresh weights of one layer and
 * gives what flows out of it. The first failure is kept and turns all further calls into
 * nothing. */
#ifndef ARCHITECTURE_BUILDER_H
#define ARCHITECTURE_BUILDER_H

#include "model/model.h"
#include "train/emit.h"

typedef struct builder {
    emitter e; /* adds the nodes; its status is the builder's */
    model *m;
    uint64_t seed;
    int64_t parameters; /* elements of all weights so far, without states */
    bool only_counts;   /* weights have shapes and no elements: the model cannot be used */
} builder;

/* A value between two layers. size[0] is the batch: -1. */
typedef struct builder_flow {
    int32_t id;
    int rank;
    int64_t size[5]; /* [N, channels, height, width], [N, channels, frames, height, width],
                        [N, tokens, width] or [N, features] */
} builder_flow;

/* How a weight is drawn. */
typedef enum builder_draw {
    BUILDER_HE,    /* normal, variance 2 / fan: before a rectifier (He and others, ICCV 2015) */
    BUILDER_LECUN, /* uniform, |w| < 1 / sqrt(fan): PyTorch's habit for what no rectifier follows */
    BUILDER_GLOROT,    /* uniform, |w| < sqrt(6 / fan), fan: inputs and outputs (AISTATS 2010) */
    BUILDER_TRUNCATED, /* normal, deviation 0.02, redrawn beyond two deviations: as BERT and ViT */
    BUILDER_ZEROS,
    BUILDER_ONES
} builder_draw;

/* An empty model; only_counts as above. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status builder_open(builder *b, const spry_allocator *allocator, uint64_t seed,
                                       bool only_counts, spry_error *error);
/* Infers the types. The model is the caller's; on failure, the builder's or that of the inference,
 * it is destroyed. */
SPRY_MUST_USE spry_status builder_close(builder *b, model **m);

/* A name such as "layer1.0.conv2" that lives as long as the model; "" once something has failed. */
const char *builder_name(builder *b, const char *format, ...) SPRY_PRINTF(2, 3);
/* Fails with SPRY_USAGE: `where` names the option. */
void builder_refuse(builder *b, const char *where, const char *format, ...) SPRY_PRINTF(3, 4);

/* The input f32[N,channels,height,width], called "image". */
builder_flow builder_image(builder *b, int64_t channels, int64_t height, int64_t width);
/* A further input f32; sizes of -1 are the batch, called "N". */
builder_flow builder_input(builder *b, const char *name, int rank, const int64_t *size);
/* A weight. Its elements depend on the seed, the name and the number of elements only. */
int32_t builder_weight(builder *b, const char *name, int rank, const int64_t *shape,
                       builder_draw draw, int64_t fan);
/* Numbers that training follows and does not learn: [count]. */
int32_t builder_state(builder *b, const char *name, int64_t count, builder_draw draw);
/* Nodes that are added from here on are called so. */
void builder_at(builder *b, const char *name);

/* ---- layers of images ---- */

typedef struct builder_window {
    int64_t outputs; /* of convolutions */
    int64_t size;
    int64_t stride;  /* 0: 1 */
    int64_t padding; /* on all sides */
    int64_t groups;  /* 0: 1 */
    bool has_bias;
    builder_draw draw; /* of the weights; fan: of the way back where it is BUILDER_HE */
} builder_window;

/* NAME.weight [outputs, channels / groups, size, size], NAME.bias [outputs]. */
builder_flow builder_conv(builder *b, builder_flow x, const char *name, builder_window w);
/* Batch normalisation: NAME.weight, .bias, .running_mean, .running_var, epsilon 1e-5, of which a
 * tenth follows each batch in training. */
builder_flow builder_batch_norm(builder *b, builder_flow x, const char *name);
/* A convolution without bias and its batch normalisation. */
builder_flow builder_conv_norm(builder *b, builder_flow x, const char *conv, const char *norm,
                               builder_window w);
builder_flow builder_max_pool(builder *b, builder_flow x, const char *name, builder_window w);
/* The mean of each channel: [N, channels]. */
builder_flow builder_average(builder *b, builder_flow x, const char *name);
/* [N, features] */
builder_flow builder_flatten(builder *b, builder_flow x, const char *name);

/* ---- layers of clips: [N, channels, frames, height, width] ---- */

/* A window over `frames` frames of size x size pixels, without bias. */
typedef struct builder_span {
    int64_t outputs;
    int64_t frames, size;
    int64_t frame_stride, stride; /* 0: 1 */
} builder_span;

/* A convolution with odd sizes, padded by half of them, without bias: NAME.weight [outputs,
 * channels, frames, size, size]; drawn as BUILDER_HE. */
builder_flow builder_conv_clip(builder *b, builder_flow x, const char *name, builder_span w);
/* The mean of each channel: [N, channels]. */
builder_flow builder_average_clip(builder *b, builder_flow x, const char *name);

/* ---- any shape ---- */

/* An operator of one input and equal shape: "Relu". */
builder_flow builder_activation(builder *b, builder_flow x, const char *name, const char *type);
/* x (1 + erf(x / sqrt 2)) / 2, of its parts: runtimes know the formula, older operator sets lack
 * the operator. */
builder_flow builder_gelu(builder *b, builder_flow x, const char *name);
builder_flow builder_add(builder *b, builder_flow x, builder_flow y, const char *name);

/* ---- layers of features and tokens ---- */

/* Over the last axis. Features: NAME.weight [outputs, inputs] of a Gemm; tokens: [inputs, outputs]
 * of a MatMul. NAME.bias [outputs] begins as zeros. */
builder_flow builder_linear(builder *b, builder_flow x, const char *name, int64_t outputs,
                            builder_draw draw);
/* NAME.weight and NAME.bias of the last axis, epsilon 1e-6. */
builder_flow builder_layer_norm(builder *b, builder_flow x, const char *name);
/* Self-attention of `heads` heads: NAME.qkv and NAME.proj are linear layers. `heads` divides the
 * width. */
builder_flow builder_attention(builder *b, builder_flow x, const char *name, int64_t heads);

/* A graph convolution: adjacency (x NAME.weight) + NAME.bias, with weight [inputs, outputs]. */
builder_flow builder_graph_conv(builder *b, builder_flow x, builder_flow adjacency,
                                const char *name, int64_t outputs);
/* Dropped in training with that chance, and the same otherwise. */
builder_flow builder_dropout(builder *b, builder_flow x, const char *name, double chance);

/* Makes `x` the output of the model, under the name "logits". */
void builder_give(builder *b, builder_flow x);
/* The last layer, linear over features: the output of the model, called "logits". */
void builder_scores(builder *b, builder_flow x, const char *name, int64_t classes,
                    builder_draw draw);

#endif
