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
    int activation_bits; /* 2 to 8; 0: it reads f32; SPRY_QUANTIZE_AS_ASKED: not said */
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
    spry_dataset *calibration; /* samples that activations are measured on; NULL: ranges follow from
                                  batch norms, and from noise that is like inputs of the recipe */
    const spry_preprocess *recipe;               /* how samples become inputs; NULL: raw */
    int64_t samples;                             /* of calibration at most; 0: all */
    int threads;                                 /* 0: as many as the process may use */
    const spry_progress *progress;               /* NULL: nobody listens */
    const spry_quantize_assignment *assignments; /* what differs from the bits above */
    int32_t assignment_count;
    bool keep_first_last; /* the first and the last operator with weights stay f32 */
    bool requantize;      /* a quantized model is made float again first */
    int64_t group; /* inputs of a matrix that share a step: 0 for all, or a power of two from 16 on;
                      convolutions have a step per output channel */
    /* Of the method ptq-sl: */
    int64_t block_outputs, block_inputs; /* channels that share a step; 0: all */
    int64_t blocks_down, blocks_across;  /* instead: how many blocks of outputs, of inputs; or 0 */
    const char *reorder; /* before blocks are cut: "off", "sort", "search", "graph" */
    const char *prepare; /* preparations before anything is chosen, names between commas; NULL or
                             "": none. See spry_quantize_preparation_at */
    const char *range;   /* of activations: "minmax" of the samples, "percentile" (all but 0.01 % at
                             either end), "mse" (least squared error) or "entropy" */
    bool bias_correction; /* biases move the means of rounded layers back, by calibration samples */
    bool weighted;        /* squant: errors count by the mean inputs on calibration samples */
    /* Of methods that search: what is minimised, and how many rounds at most; NULL and 0: as the
     * method has it. ptq-sl: "l2", "cosine", "weight", "fisher", "label", "perturb". ptq4vit:
     * "fisher", "label", "perturb", "l2", "cosine". */
    const char *metric;
    int rounds;
    /* Of ptq4vit. */
    const char *twin;  /* where two ranges share a code: "pow2", "free", "softmax", "gelu", "off" */
    const char *grids; /* of other activations: "best", "symmetric" or "affine" */
    const char *units; /* weights that share a step: "channel" or "tensor" */
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

/* The block of a weight tensor that suffers most: what shares a step and a zero point. */
enum { SPRY_QUANTIZE_BINS = 48 };
typedef struct spry_quantize_block {
    int64_t output, input; /* its first channels */
    int64_t weights;
    double sqnr_db;
    float step, zero;
    int32_t low, high;                  /* value = (code - zero) * step, low <= code <= high */
    float least, most;                  /* of its weights */
    int64_t counts[SPRY_QUANTIZE_BINS]; /* weights in equal parts of [least, most] */
} spry_quantize_block;

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
    double bits_per_weight;     /* codes, steps of 32 bits and zero points */
    int64_t macs, integer_macs; /* of one sample: all, and those of integers; 0 when unknown */
    const spry_quantize_block *worst;
    int64_t blocks; /* that have a step of their own */
    /* Of the method ptq-sl; 0 where there is nothing to tell. What makes blocks uneven, before and
     * after channels were sorted, and searched; the squared error of outputs over the samples with
     * the first steps, and at the end. */
    double order_before, order_sorted, order_after;
    double output_error_before, output_error_after;
    const char *remark; /* "" where there is nothing to say */
} spry_quantize_row;

/* What a search found for one product. Strings live as long as the facts. Errors are those of the
 * search's metric, means over what was drawn of the samples. */
typedef struct spry_quantize_layer {
    const char *node;
    const char *grid; /* of the first operand: "symmetric", "affine" or "twin" */
    float step;       /* of the first head where heads have their own; twin: of the coarse range, or
                         of positives */
    float fine_step;  /* twin: of the fine range, or of negatives; else 0 */
    int m;            /* twin: the ratio of both is 2^m (of step and fine_step), where it is so */
    double error_before, error_after; /* with steps of the whole range; with those chosen */
    double gradient;    /* mean squared gradient of the answer by the product; 0: none */
    const char *remark; /* "" where there is nothing to say */
} spry_quantize_layer;

/* An operator with weights that stays f32, and why. */
typedef struct spry_quantize_skip {
    const char *node;
    const char *reason;
} spry_quantize_skip;

/* How many activations have their range from what. */
typedef struct spry_quantize_sources {
    int32_t samples;     /* they were measured on */
    int32_t batch_norms; /* no samples: 6 deviations about the mean that a batch norm gives */
    int32_t noise;       /* no samples: what the model makes of noise */
} spry_quantize_sources;

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
/* Is that, by its extension, a file of bare weights: .npy, .npz or .safetensors? */
SPRY_API bool spry_quantize_is_weights(const char *path);

/* The same for weights without a model: all f32 tensors of a file that have two axes or more,
 * [outputs][inputs][kernel..]. Options about samples and activations do not apply. `output` (.npz
 * or .safetensors; NULL: nothing is written) holds, for a tensor NAME of the file ("weight" in a
 * .npy):
 *
 *     NAME                int8 codes, of the same shape
 *     NAME.scale          f32: per output channel, or [blocks of outputs][blocks of inputs]
 *     NAME.zero_point     int32 of the same shape (f32 with hqq); left out where all are 0
 *     NAME.output_block   int32: block of each output channel, where there are blocks
 *     NAME.input_block    int32: of each input channel
 *
 *     weight = (code - zero_point) * scale
 *
 * and all other tensors as they were. Fails as spry_tensor_load and spry_quantize, and with
 * SPRY_USAGE (options that need a model, another extension of `output`). */
SPRY_API SPRY_MUST_USE spry_status spry_quantize_weights(const char *path,
                                                         const spry_quantize_options *options,
                                                         const char *output,
                                                         spry_quantization **facts,
                                                         spry_error *error);

/* NULL is allowed. */
SPRY_API void spry_quantization_destroy(spry_quantization *facts);

/* Rows in the order of the graph; returns how many. */
SPRY_API int32_t spry_quantization_rows(const spry_quantization *facts,
                                        const spry_quantize_row **rows);
SPRY_API int32_t spry_quantization_skipped(const spry_quantization *facts,
                                           const spry_quantize_skip **skipped);
/* What a search found, in the order of the graph; none with methods that do not search. */
SPRY_API int32_t spry_quantization_layers(const spry_quantization *facts,
                                          const spry_quantize_layer **layers);
/* Number of activations with a grid of their own. */
SPRY_API int32_t spry_quantization_activations(const spry_quantization *facts);
/* Where their ranges come from. */
SPRY_API spry_quantize_sources spry_quantization_sources(const spry_quantization *facts);

/* MACs of one sample; *of_integers are those whose factors both are integers. */
SPRY_API void spry_quantization_macs(const spry_quantization *facts, int64_t *all,
                                     int64_t *of_integers);

#ifdef __cplusplus
}
#endif

#endif
