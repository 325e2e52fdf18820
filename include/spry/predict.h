/* Prediction: how long a convolutional network takes on a described machine, dense and with parts
 * left out, before anything is trained or built.
 *
 *     spry_predict_options options = spry_predict_options_default();
 *     options.target = "v100";
 *     options.density = 0.5;
 *     spry_prediction *prediction = NULL;
 *     spry_status status = spry_predict(NULL, "resnet101", NULL, &options, &prediction, &error);
 *     const spry_predict_totals *t = spry_prediction_totals(prediction);
 *     printf("%.3f ms instead of %.3f\n", t->sparse_ms, t->dense_ms);
 *     spry_prediction_destroy(prediction);
 *
 * Residual blocks are found in the model. In each, a mask says which squares of pixels of its
 * output are computed (or which channels, or whether the block runs at all); elsewhere the shortcut
 * is the result. The predictor is that of LASNet and LAUDNet (arXiv 2210.06223, 2308.15949);
 * targets are described in targets/README.md. */
#ifndef SPRY_PREDICT_H
#define SPRY_PREDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spry/allocator.h"
#include "spry/model.h"
#include "spry/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SPRY_PREDICT_STAGES = 16 };

typedef enum spry_predict_skip {
    SPRY_PREDICT_SQUARES = 0,  /* squares of pixels */
    SPRY_PREDICT_CHANNELS = 1, /* filters */
    SPRY_PREDICT_LAYERS = 2    /* whole blocks */
} spry_predict_skip;

typedef struct spry_predict_options {
    size_t struct_size;     /* sizeof(spry_predict_options): lets the struct grow */
    const char *target;     /* built-in name, "cpu", or path of a description */
    const char *const *set; /* "key=value" in place of what the description says */
    int32_t set_count;
    spry_predict_skip skip;
    double density; /* share of squares, channels or blocks that is computed: 0 to 1 */
    /* Pixels along the side of a square, per stage (blocks with outputs of one size): larger than
     * the map means the map. Recommended is the smallest that is at most 3 % slower than the
     * fastest, for small squares follow objects better. */
    int64_t granularity[SPRY_PREDICT_STAGES];
    int32_t granularity_count; /* 0: as recommended */
    /* Take the first convolution to need just the squares, as the published figures do, instead of
     * the border that random masks need. */
    bool ignore_halo;
    bool as_published; /* count as the published program does, also where it errs */
} spry_predict_options;

/* The target "v100", squares, a density of 0.5, the recommended granularity. */
SPRY_API spry_predict_options spry_predict_options_default(void);

/* Milliseconds per image. */
typedef struct spry_predict_block {
    const char *name; /* lives as long as the prediction */
    int32_t stage;
    int64_t height, width, channels; /* of the output */
    int64_t granularity;
    double dense_ms;
    double sparse_ms;
    bool fused; /* the masker is part of the first convolution, which then is dense */
} spry_predict_block;

typedef struct spry_predict_stage {
    int32_t blocks;
    int64_t height, width;
    int64_t granularity; /* as asked for, or the recommended */
    int64_t recommended;
    double dense_ms;
    double sparse_ms;
    double break_even; /* the density up to which it is not slower than dense; 0: it always is */
} spry_predict_stage;

typedef struct spry_predict_totals {
    double dense_ms; /* of the blocks */
    double sparse_ms;
    double outside_ms; /* convolutions outside of blocks, which are always dense */
    double break_even; /* density, of all blocks together */
    int64_t batch;
} spry_predict_totals;

typedef struct spry_prediction spry_prediction;

/* Predicts for a model, or, where `model` is NULL, for the network that `name` says:
 * spry_predict_names, or an architecture of spry/architecture.h. The allocator may be NULL. Fails
 * with SPRY_USAGE (options, no such target or network), SPRY_BAD_INPUT (the target's description,
 * broken shapes), SPRY_UNSUPPORTED (no convolutions of images), SPRY_LIMIT, SPRY_IO. */
SPRY_API SPRY_MUST_USE spry_status spry_predict(const spry_allocator *allocator, const char *name,
                                                const spry_model *model,
                                                const spry_predict_options *options,
                                                spry_prediction **prediction, spry_error *error);
/* NULL is allowed. */
SPRY_API void spry_prediction_destroy(spry_prediction *prediction);

SPRY_API const spry_predict_totals *spry_prediction_totals(const spry_prediction *prediction);
/* Return how many. */
SPRY_API int32_t spry_prediction_blocks(const spry_prediction *prediction,
                                        const spry_predict_block **blocks);
SPRY_API int32_t spry_prediction_stages(const spry_prediction *prediction,
                                        const spry_predict_stage **stages);
/* Milliseconds per image of all blocks with squares of `side` pixels (clipped to each map) and that
 * density; -1 where either is out of range. Computed when asked. */
SPRY_API double spry_prediction_at(const spry_prediction *prediction, int64_t side, double density);
/* What was read of the target, as JSON text. */
SPRY_API const char *spry_prediction_target(const spry_prediction *prediction);

/* Networks and targets that are known by name, ended by NULL. */
SPRY_API const char *const *spry_predict_names(void);
SPRY_API const char *const *spry_predict_targets(void);

#ifdef __cplusplus
}
#endif

#endif
