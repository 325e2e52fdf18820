/* The operands of a network's products in a real run. */
#ifndef SIMULATE_OPERANDS_H
#define SIMULATE_OPERANDS_H

#include "simulate/layers.h"
#include "spry/feed.h"

/* A layer's operands as f32, as the model gives them: of a convolution an input
 * [images][channels][height][width] and weights [filters][channels / groups][height][width]; of a
 * product matrices, transposed where the layer says so. */
typedef struct simulate_operand {
    const float *left, *right;
    const float *result; /* what the model computes */
    const float *bias;   /* that it adds, per filter; NULL: none */
    int64_t left_count, right_count, result_count, bias_count;
} simulate_operand;

typedef struct simulate_operands {
    spry_session *session;
    spry_model *exposed;
    spry_value **outputs;
    int32_t output_count;
    arena memory;
    simulate_operand *items; /* one per layer */
} simulate_operands;

/* Runs the model once with what `feed` holds. Layers must be those of the model, with a batch of
 * one; they get the batch that the feed has (simulate_layers_batch). Undo with
 * simulate_operands_fini, also after a failure. Fails as sessions do, and with SPRY_UNSUPPORTED
 * naming the layer (an operand that is not of floats, or lies inside a function). */
SPRY_MUST_USE spry_status simulate_operands_run(simulate_operands *o, const spry_model *m,
                                                simulate_layers *l, spry_feed *feed,
                                                const spry_session_options *options,
                                                spry_error *error);
void simulate_operands_fini(simulate_operands *o);

#endif
