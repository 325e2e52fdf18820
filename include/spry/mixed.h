/* Mixed precision: which operators become integers, and of how many bits, so that a model is as
 * fast and small as a bound on its accuracy allows, or as accurate as a bound on its latency
 * allows, on the machine at hand.
 *
 *     spry_quantize_options quantize = spry_quantize_options_default();
 *     quantize.activation_bits = 8;
 *     quantize.calibration = samples;
 *     spry_mixed_options options = spry_mixed_options_default();
 *     options.max_drop = 0.5;                  // percentage points of top-1
 *     options.data = labelled;
 *     spry_mixed *mixed = NULL;
 *     spry_status status = spry_mixed_search(model, &quantize, &options, &mixed, &error);
 *     quantize.assignment_count = spry_mixed_assignments(mixed, &quantize.assignments);
 *     status = spry_quantize(model, &quantize, &smaller, &facts, &error);
 *     ...
 *     spry_mixed_destroy(mixed);
 *
 * Every layer may stay f32, become integers of 8 bits (weights, and activations where they are
 * asked for), or weights alone of fewer bits (fewest_bits). What a step down costs is what it
 * does to the scores when the layer is quantized alone (spry/sensitivity.h); what it gains is time,
 * by the operator's measured share in the latency on this machine, and bytes. Steps are taken in
 * the order of cost over gain (the greedy solution of a multiple-choice knapsack) as far as
 * measurements of the whole model allow, found by bisection; then single steps are tried that were
 * left out, or undone. */
#ifndef SPRY_MIXED_H
#define SPRY_MIXED_H

#include "spry/dataset.h"
#include "spry/quantize.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spry_mixed_options {
    size_t struct_size;   /* sizeof(spry_mixed_options): lets the struct grow */
    double max_drop;      /* percentage points that top-1 may fall by; negative: no bound */
    double max_ms;        /* median of one run at batch 1; 0: no bound */
    spry_dataset *data;   /* labelled samples, with max_drop */
    int64_t limit;        /* of data at most; 0: all */
    int64_t class_offset; /* class c of data is score c + class_offset */
    int fewest_bits;      /* of weights: 2 to 8 */
    int32_t trials;       /* whole models that are tried, at most */
} spry_mixed_options;

/* Neither bound, 4 bits at the fewest, 24 trials. */
SPRY_API spry_mixed_options spry_mixed_options_default(void);

enum { SPRY_MIXED_LEVELS = 3 }; /* f32, 8 bits, weights of fewest_bits */

typedef struct spry_mixed_row {
    const char *node; /* label; with name, lives as long as the result */
    const char *name;
    int64_t weights;                      /* 0: a product of activations */
    int bits;                             /* chosen: 0 (f32), 8 or fewest_bits */
    double divergence[SPRY_MIXED_LEVELS]; /* of the scores when quantized alone; 0 for f32 */
    double ms[SPRY_MIXED_LEVELS];         /* of the operator in a model all of this level; 0 where
                                             it could not be told apart */
    int64_t bytes[SPRY_MIXED_LEVELS];     /* of its constants in the file */
    bool is_slowed; /* integers would make it slower: left alone unless the whole gains */
} spry_mixed_row;

/* A whole model that was measured. */
typedef struct spry_mixed_trial {
    const char *what;
    int32_t count[SPRY_MIXED_LEVELS]; /* layers of each level */
    double drop;                      /* percentage points; NAN: not measured */
    double ms;                        /* 0: not measured */
    bool is_kept;                     /* it was better than those before it */
} spry_mixed_trial;

typedef struct spry_mixed spry_mixed;

/* quantize.assignments and .exclude stay in force: their operators are not searched.
 * Fails with SPRY_USAGE (no bound, no data, no calibration samples), and as spry_quantize,
 * spry_sensitivity_measure, spry_evaluate and spry_bench_session. */
SPRY_API SPRY_MUST_USE spry_status spry_mixed_search(const spry_model *source,
                                                     const spry_quantize_options *quantize,
                                                     const spry_mixed_options *options,
                                                     spry_mixed **mixed, spry_error *error);
/* NULL is allowed. */
SPRY_API void spry_mixed_destroy(spry_mixed *mixed);

/* Does what was chosen keep the bounds? */
SPRY_API bool spry_mixed_is_met(const spry_mixed *mixed);
/* All return how many there are. */
SPRY_API int32_t spry_mixed_rows(const spry_mixed *mixed, const spry_mixed_row **rows);
SPRY_API int32_t spry_mixed_trials(const spry_mixed *mixed, const spry_mixed_trial **trials);
/* What to quantize with: the chosen bits, then quantize.assignments. */
SPRY_API int32_t spry_mixed_assignments(const spry_mixed *mixed,
                                        const spry_quantize_assignment **assignments);

#ifdef __cplusplus
}
#endif

#endif
