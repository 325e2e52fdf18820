/* Sensitivity: what it costs to quantize one layer alone.
 *
 *     spry_quantize_options options = spry_quantize_options_default();
 *     options.weight_bits = 4;
 *     options.calibration = data;
 *     spry_sensitivity *sensitivity = NULL;
 *     spry_status status = spry_sensitivity_measure(model, &options, 0, &sensitivity, &error);
 *     const spry_sensitivity_row *rows = NULL;
 *     int32_t count = spry_sensitivity_rows(sensitivity, &rows);
 *     spry_sensitivity_destroy(sensitivity);
 *
 * Each layer becomes what spry_quantize would make of it while all others stay f32, and the samples
 * of options.calibration run through the model: how far its first output moves is the layer's cost.
 * Labels are not needed, but used where the data has them. */
#ifndef SPRY_SENSITIVITY_H
#define SPRY_SENSITIVITY_H

#include "spry/quantize.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spry_sensitivity_row {
    const char *node; /* label of the operator; with name, lives as long as the sensitivity */
    const char *name; /* matches spry_quantize_assignment.node */
    int64_t weights;  /* 0: a product of two activations */
    int64_t macs;     /* of one sample; 0 when unknown */
    int weight_bits;
    double bits_per_weight; /* with steps and zero points */
    double divergence;      /* mean over samples of KL(float || quantized) of the scores, in nats;
                               noise over signal of the output where it is no row of scores */
    double sqnr_db;         /* of the output; infinite when equal */
    double agreement;       /* fraction of samples with the same best score; -1: no scores */
    double top1;            /* fraction of samples that are right; -1: no scores */
} spry_sensitivity_row;

typedef struct spry_sensitivity spry_sensitivity;

/* Rows in the order of the graph. Class c of the data is score c + class_offset.
 * Fails as spry_quantize, and with SPRY_USAGE (no calibration samples). */
SPRY_API SPRY_MUST_USE spry_status spry_sensitivity_measure(const spry_model *source,
                                                            const spry_quantize_options *options,
                                                            int64_t class_offset,
                                                            spry_sensitivity **sensitivity,
                                                            spry_error *error);
/* NULL is allowed. */
SPRY_API void spry_sensitivity_destroy(spry_sensitivity *sensitivity);

/* Returns how many. */
SPRY_API int32_t spry_sensitivity_rows(const spry_sensitivity *sensitivity,
                                       const spry_sensitivity_row **rows);
/* Top-1 of the float model on the same samples; -1: no scores. */
SPRY_API double spry_sensitivity_float_top1(const spry_sensitivity *sensitivity);

#ifdef __cplusplus
}
#endif

#endif
