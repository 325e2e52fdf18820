/* Activations without parameters, for results that have just been computed: brgemm_activation is
 * this signature.
 *
 * Every function reads n >= 0 floats and writes n; `to` may be `from`. NaN gives NaN. How exact
 * they are stands in elementwise_f32_math.h; those of straight lines round like f32 arithmetic. */
#ifndef KERNELS_ELEMENTWISE_ACTIVATION_F32_H
#define KERNELS_ELEMENTWISE_ACTIVATION_F32_H

#include "kernels/elementwise/elementwise_f32.h"

typedef enum activation_f32_kind {
    ACTIVATION_F32_ELU,
    ACTIVATION_F32_GELU,
    ACTIVATION_F32_GELU_TANH,
    ACTIVATION_F32_HARD_SIGMOID,       /* of slope 1/5: ONNX */
    ACTIVATION_F32_HARD_SIGMOID_SIXTH, /* of slope 1/6: MobileNetV3 */
    ACTIVATION_F32_HARD_SWISH,
    ACTIVATION_F32_LEAKY_RELU,       /* of slope 1/100 */
    ACTIVATION_F32_LEAKY_RELU_TENTH, /* of slope 1/10: YOLO */
    ACTIVATION_F32_MISH,             /* x tanh(softplus(x)) */
    ACTIVATION_F32_SIGMOID,
    ACTIVATION_F32_SOFTPLUS,
    ACTIVATION_F32_SWISH, /* x sigmoid(x) */
    ACTIVATION_F32_TANH,
    ACTIVATION_F32_KINDS
} activation_f32_kind;

/* A variant. */
typedef struct activation_f32_kernel {
    const char *name;
    elementwise_f32_map *run[ACTIVATION_F32_KINDS];
} activation_f32_kernel;

/* The list that dispatch, tests and benchmarks share: lowest level first. */
extern const isa_variant activation_f32_variants[];
extern const int activation_f32_variant_count;

/* The best variant that may run now. */
const activation_f32_kernel *activation_f32_select(void);

#endif
