/* Quantization: a model whose weights, and on demand activations, are small integers.
 *
 *     spry_quantize_options options = spry_quantize_options_default();
 *     spry_model *smaller = NULL;
 *     spry_quantization *facts = NULL;
 *     spry_status status = spry_quantize(model, &options, &smaller, &facts, &error);
 *     status = spry_model_save(smaller, "small.onnx", &error);
 *     ...
 *     spry_quantization_destroy(facts);
 *     spry_model_destroy(smaller);       // before `model`, whose memory it shares
 *
 * The result is standard ONNX in QDQ form: QuantizeLinear and DequantizeLinear around unchanged
 * operators, weights stored as int8. */
#ifndef SPRY_QUANTIZE_H
#define SPRY_QUANTIZE_H

#include <stdbool.h>
#include <stdint.h>

#include "spry/dataset.h"
#include "spry/model.h"
#include "spry/preprocess.h"
#include "spry/progress.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SPRY_QUANTIZE_AS_ASKED = -1 };

/* Bits of some operators. Of the assignments that match an operator, the last that says something
 * decides. */
typedef struct spry_quantize_assignment {
    const char *node; /* name, or label such as "Conv #3", where '*' stands for any characters and
                            '?' for one; NULL: any */
    const char *type; /* operator, for example "Gemm"; NULL: any */
    int weight_bits;  /* 2 to 8; 0: the operator stays f32; SPRY_QUANTIZE_AS_ASKED: not said */
    int activation_bits; /* 8; 0: it reads f32; SPRY_QUANTIZE_AS_ASKED: not said */
} spry_quantize_assignment;

typedef struct spry_quantize_options {
    size_t struct_size;         /* sizeof(spry_quantize_options): lets the struct grow */
    const char *method;         /* name of a method, see spry_quantize_method_at */
    int weight_bits;            /* 2 to 8 */
    bool symmetric;             /* weights: zero point 0 */
    const char *stages;         /* of squant: "e", "ek", "ec" or "ekc" */
    const char *format;         /* name of a format, see spry_quantize_format_at */
    int activation_bits;        /* 0: activations stay f32; else 2 to 8 */
    const char *const *exclude; /* nodes that stay f32: as assignment.node */
    int32_t exclude_count;
    spry_dataset *calibration; /* samples that activations are measured on; with activation_bits */
    const spry_preprocess *recipe;               /* how samples become inputs; NULL: raw */
    int64_t samples;                             /* of calibration at most; 0: all */
    int threads;                                 /* 0: as many as the process may use */
    const spry_progress *progress;               /* NULL: nobody listens */
    const spry_quantize_assignment *assignments; /* what differs from the bits above */
    int32_t assignment_count;
    int64_t group; /* inputs of a matrix that share a step: 0 for all, or a power of two from 16 on;
                      convolutions have a step per output channel */
    const char *prepare;  /* preparations before anything is chosen, names between commas; NULL or
                             "": none. See spry_quantize_preparation_at */
    const char *range;    /* of activations: "minmax" of the samples, "percentile" (all but 0.01 % at
                             either end), "mse" (least squared error) or "entropy" */
    bool bias_correction; /* biases move the means of rounded layers back, by calibration samples */
    bool weighted;        /* squant: errors count by the mean inputs on calibration samples */
} spry_quantize_options;

SPRY_API spry_quantize_options spry_quantize_options_default(void);

/* Assignments kept in a JSON file, in their order:
 *
 *     {"rules": [{"weight_bits": 4},
 *                {"type": "Gemm", "weight_bits": 8, "activation_bits": 0},
 *                {"name": "Conv #3", "excluded": true}]}
 *
 * A rule without name and type is about all operators. Rules live as long as the recipe. */
typedef struct spry_quantize_recipe spry_quantize_recipe;

/* Fails with SPRY_BAD_INPUT (naming the place in the file), SPRY_IO, SPRY_LIMIT. */
SPRY_API SPRY_MUST_USE spry_status spry_quantize_recipe_load(const spry_allocator *allocator,
                                                             const char *path,
                                                             spry_quantize_recipe **recipe,
                                                             spry_error *error);
/* NULL is allowed. */
SPRY_API void spry_quantize_recipe_destroy(spry_quantize_recipe *recipe);
/* Returns how many. */
SPRY_API int32_t spry_quantize_recipe_rules(const spry_quantize_recipe *recipe,
                                            const spry_quantize_assignment **rules);

/* A method, or another thing that is chosen by name. */
typedef struct spry_quantize_choice {
    const char *name;
    const char *summary; /* one clause */
} spry_quantize_choice;

/* Method `index`, how weights are rounded; NULL behind the last. */
SPRY_API const spry_quantize_choice *spry_quantize_method_at(int32_t index);
/* Preparation `index`, what may be done to the float model; NULL behind the last. */
SPRY_API const spry_quantize_choice *spry_quantize_preparation_at(int32_t index);
/* Format `index`, how the file says it; NULL behind the last. */
SPRY_API const spry_quantize_choice *spry_quantize_format_at(int32_t index);

/* What became of one weight tensor. Strings live as long as the facts. */
typedef struct spry_quantize_row {
    const char *node;   /* label of the first operator that uses it */
    const char *weight; /* name of the initializer */
    int64_t weights;
    int bits;
    float least_step, most_step; /* over output channels */
    double sqnr_db;              /* 10 log10(sum w^2 / sum (w' - w)^2); infinite when equal */
    int64_t kernel_flips, channel_flips;            /* squant: roundings turned round */
    double kernel_error_before, kernel_error_after; /* mean |sum of errors| of kernels, in steps */
    double channel_error_before, channel_error_after; /* of output channels */
    double milliseconds;
} spry_quantize_row;

/* An operator with weights that stays f32, and why. */
typedef struct spry_quantize_skip {
    const char *node;
    const char *reason;
} spry_quantize_skip;

typedef struct spry_quantization spry_quantization;

/* `source` must outlive *quantized. Nothing is changed in `source`. Fails with SPRY_USAGE (unknown
 * method, bits or stages out of range, a name that no operator has, no calibration data where it is
 * needed), SPRY_BAD_INPUT (a weight that is infinite or not a number: the error names tensor and
 * index; a model that is quantized already), SPRY_UNSUPPORTED (nothing to quantize, operators too
 * old to be mixed with per-channel weights), SPRY_LIMIT (memory), and as running the model does. */
SPRY_API SPRY_MUST_USE spry_status spry_quantize(const spry_model *source,
                                                 const spry_quantize_options *options,
                                                 spry_model **quantized, spry_quantization **facts,
                                                 spry_error *error);
/* NULL is allowed. */
SPRY_API void spry_quantization_destroy(spry_quantization *facts);

/* Rows in the order of the graph; returns how many. */
SPRY_API int32_t spry_quantization_rows(const spry_quantization *facts,
                                        const spry_quantize_row **rows);
SPRY_API int32_t spry_quantization_skipped(const spry_quantization *facts,
                                           const spry_quantize_skip **skipped);
/* Number of activations with a grid of their own. */
SPRY_API int32_t spry_quantization_activations(const spry_quantization *facts);

#ifdef __cplusplus
}
#endif

#endif
