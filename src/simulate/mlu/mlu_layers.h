/* The layers of an ONNX file as the accelerator launches them: convolutions, products, poolings and
 * sums of images, each with the element-by-element operators behind it. Any other operator is a
 * layer by itself that no block contains. */
#ifndef SIMULATE_MLU_MLU_LAYERS_H
#define SIMULATE_MLU_MLU_LAYERS_H

#include "base/arena.h"
#include "spry/model.h"
#include "tune/fusion/fusion.h"

typedef struct mlu_layers {
    arena memory;
    spry_layer *items;
    int32_t count;
} mlu_layers;

/* Of a model with a batch of one; other open sizes are chosen. Images and weights have elements of
 * so many bytes. Undo with mlu_layers_fini, also after a failure. Fails with SPRY_UNSUPPORTED (no
 * layer at all; a size that depends on the data: names the node), SPRY_BAD_INPUT (broken shapes),
 * SPRY_LIMIT. */
SPRY_MUST_USE spry_status mlu_layers_of_model(mlu_layers *l, const spry_model *m,
                                              int64_t element_bytes, spry_error *error);
void mlu_layers_fini(mlu_layers *l);

#endif
