/* Architectures: fresh networks by name, with weights drawn from a seed, to be trained.
 *
 *     spry_architecture_options options = spry_architecture_options_default();
 *     options.classes = 10;
 *     spry_model *model = NULL;
 *     spry_status status = spry_architecture_create(NULL, "resnet20", &options, &model, &error);
 *     status = spry_model_save(model, "resnet20.onnx", &error);
 *     spry_model_destroy(model);
 *
 * Models are ONNX of operator set 18 with a free batch dimension "N". Weights are called as PyTorch
 * calls them (layer1.0.conv1.weight, blocks.0.attn.qkv.weight). Batch normalisation stands in its
 * inference form, with running statistics of mean 0 and variance 1. The same name, options and seed
 * give the same file on every machine. */
#ifndef SPRY_ARCHITECTURE_H
#define SPRY_ARCHITECTURE_H

#include <stddef.h>
#include <stdint.h>

#include "spry/allocator.h"
#include "spry/model.h"
#include "spry/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What can be chosen; 0 is the architecture's own value. Not every architecture has every one: a
 * value for one that it lacks is refused. */
typedef struct spry_architecture_options {
    size_t struct_size;              /* sizeof(spry_architecture_options): lets the struct grow */
    int64_t classes;                 /* scores of the output */
    int64_t height, width, channels; /* of the image at the input */
    int64_t patch;                   /* pixels along a side of a patch */
    int64_t units;                   /* of a hidden layer or a token; channels of the first stage */
    int64_t depth;                   /* hidden layers or blocks */
    int64_t heads;                   /* of attention */
    uint64_t seed;                   /* of the weights */
    int64_t frames;                  /* of the clip at the input, beside height, width, channels */
    int64_t features;                /* of a node at the input of graph networks */
} spry_architecture_options;

SPRY_API spry_architecture_options spry_architecture_options_default(void);

typedef struct spry_architecture {
    const char *name;
    const char *summary;                /* one clause */
    spry_architecture_options defaults; /* 0: it has no such option */
} spry_architecture;

/* Architecture `index`; NULL behind the last. */
SPRY_API const spry_architecture *spry_architecture_at(int32_t index);

/* A fresh model. `options` NULL: all defaults.
 * Fails with SPRY_USAGE (no such architecture, an option that it lacks or that is out of range, an
 * image that is too small), SPRY_LIMIT (memory). */
SPRY_API SPRY_MUST_USE spry_status spry_architecture_create(
    const spry_allocator *allocator, const char *name, const spry_architecture_options *options,
    spry_model **model, spry_error *error);

/* How many numbers training may change, running statistics left out, without making the weights.
 * Fails as above. */
SPRY_API SPRY_MUST_USE spry_status spry_architecture_count(const char *name,
                                                           const spry_architecture_options *options,
                                                           int64_t *parameters, spry_error *error);

#ifdef __cplusplus
}
#endif

#endif
