/* Attention to the keys that matter, in a trained model: Energon's multi-round filtering (arXiv
 * 2110.09310) with thresholds calibrated head by head on real data. Nothing is trained.
 *
 *     spry_energon_options options = spry_energon_options_default();
 *     options.images = dataset;
 *     options.recipe = &recipe;
 *     spry_model *adapted = NULL;
 *     spry_energon *report = NULL;
 *     spry_status status = spry_energon_adapt(model, &options, &adapted, &report, &error);
 *     const spry_energon_head *heads = NULL;
 *     int32_t count = spry_energon_heads(report, &heads);
 *     ... heads[i].kept, heads[i].mass ...
 *     spry_energon_destroy(report);
 *     spry_model_destroy(adapted);
 *
 * Half of the samples choose, the other half is held out: what is reported as held out was measured
 * there, with dense attention in all other layers. */
#ifndef SPRY_ENERGON_H
#define SPRY_ENERGON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spry/dataset.h"
#include "spry/model.h"
#include "spry/preprocess.h"
#include "spry/progress.h"
#include "spry/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SPRY_ENERGON_ROUNDS = 2 }; /* products with keys of 2 bits, then of 4 */

typedef struct spry_energon_options {
    size_t struct_size; /* sizeof(spry_energon_options): lets the struct grow */
    double keep;        /* share of the keys that a query sees which is to stay, in (0, 1) */
    /* Least cosine of a layer's held-out results with those over all keys; heads look at all keys
     * again, the worst first, until it is reached. 0: as the filters give it. */
    double cosine;
    int64_t limit; /* most samples, at least 2 */
    /* Images for a model of one input, or a text for a model of tokens. */
    spry_dataset *images;
    const spry_preprocess *recipe;
    const spry_tokenizer *tokenizer;
    const char *text;
    size_t text_size;
    int64_t window; /* tokens of a sequence */
    int threads;
    const spry_progress *progress;
    const spry_allocator *allocator;
} spry_energon_options;

/* A fifth of the keys, 64 samples, sequences of 256 tokens. */
SPRY_API spry_energon_options spry_energon_options_default(void);

/* What filtering does to a head on one half of the samples. */
typedef struct spry_energon_effect {
    double kept;   /* share of the visible keys that is read for exact products */
    double first;  /* share that survives round 1 */
    double mass;   /* mean share of a query's softmax weight that is kept */
    double cosine; /* of its results with those over all keys */
    /* What a query is certain to lose at most, by bounds from codes alone: mean, and the most. */
    double certificate, worst_certificate;
} spry_energon_effect;

typedef struct spry_energon_head {
    int32_t layer, head;
    bool is_dense; /* filtering would gain nothing, or cost too much: all keys */
    double alpha[SPRY_ENERGON_ROUNDS];
    float scale; /* of the codes of keys */
    spry_energon_effect calibrated, held_out;
} spry_energon_head;

/* Of one layer, on the held-out half; work is counted where kernels do it. */
typedef struct spry_energon_layer {
    const char *name; /* of the value that the attention computes */
    int32_t first, heads;
    int64_t size; /* elements of a key */
    spry_energon_effect held_out;
    int64_t queries, keys; /* keys: visible, over all queries */
    int64_t kept[SPRY_ENERGON_ROUNDS];
    int64_t low_products;           /* multiply-adds of 4 by 2 bits */
    int64_t exact_products;         /* multiply-adds of floats */
    int64_t code_bytes;             /* of planes of keys */
    int64_t key_bytes, value_bytes; /* of rows */
} spry_energon_layer;

typedef struct spry_energon spry_energon;

/* A copy of `source`, with which it shares memory, whose attention filters its keys. Outputs that
 * show maps of attention are left out, for they need all weights; the first stays.
 * Fails with SPRY_USAGE (options; no samples; a text of fewer than two sequences), SPRY_UNSUPPORTED
 * (no attention was found; operator set below 13), SPRY_UNVERIFIED (held-out queries keep 5 points
 * of mass less than those that thresholds were chosen on), SPRY_BAD_INPUT (numbers that are not
 * finite), SPRY_LIMIT, SPRY_CANCELLED, and as sessions and data sets do. */
SPRY_API SPRY_MUST_USE spry_status spry_energon_adapt(const spry_model *source,
                                                      const spry_energon_options *options,
                                                      spry_model **adapted, spry_energon **report,
                                                      spry_error *error);
/* NULL is allowed. */
SPRY_API void spry_energon_destroy(spry_energon *report);

/* Lists live as long as the report; heads are ordered by layer and number. */
SPRY_API int32_t spry_energon_heads(const spry_energon *report, const spry_energon_head **list);
SPRY_API int32_t spry_energon_layers(const spry_energon *report, const spry_energon_layer **list);
/* Outputs that were left out. */
SPRY_API int32_t spry_energon_dropped_outputs(const spry_energon *report);

#ifdef __cplusplus
}
#endif

#endif
