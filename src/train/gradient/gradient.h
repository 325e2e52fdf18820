/* Reverse-mode differentiation by rewriting the graph.
 *
 *     x -> [forward nodes] -> value          before
 *     x -> [forward nodes] -> value
 *            |   |   |                       after: ordinary nodes that read forward values
 *     dx <- [backward nodes] <- seed
 *
 * Nodes are added only where a wanted value influences `value`: a network whose first layers are
 * not asked for has no backward pass through them, and a frozen weight costs nothing. */
#ifndef TRAIN_GRADIENT_H
#define TRAIN_GRADIENT_H

#include "model/graph.h"
#include "spry/status.h"

typedef struct gradient_request {
    int32_t value;     /* what is differentiated: a value of floating-point type */
    int32_t seed;      /* the value that holds dL/d(value), same type and shape; GRAPH_NONE: `value`
                          has one element and L is that element */
    const int32_t *of; /* the values whose gradient is wanted: activations, inputs, initializers;
                          of floating-point type */
    int32_t count;
} gradient_request;

/* Adds backward nodes to `g`, which must be sorted, with operators resolved and types inferred.
 * gradients[i] becomes the value that holds dL/d(of[i]), with the type of of[i]; GRAPH_NONE when
 * `value` does not depend on it through floating-point operations. All of them are different
 * values, none is an input of the graph. Paths through integers, booleans and functions without
 * slope (Floor, Sign, ArgMax...) carry no gradient; a QuantizeLinear whose result goes straight
 * into a DequantizeLinear passes it on unchanged inside of its range.
 *
 * At points without a derivative: Relu, Abs and their like take the derivative of 0 that gives 0,
 * maxima take that of the first largest element.
 *
 * The backward nodes are of the operator set GRADIENT_OPSET whatever that of the model, so they are
 * to be run, not written. New nodes stand behind the old ones in an order that runs, but types must
 * be inferred again. It is cheapest after the passes of model/pass.h have made LayerNormalization
 * and Gelu of their parts.
 *
 * Fails with SPRY_USAGE (a value has no floating-point type; no seed for more than one element),
 * SPRY_UNSUPPORTED (an operator on a needed path has no gradient, or needs shapes that are not
 * known: the error names the node and operator), SPRY_LIMIT (memory). The graph is then changed,
 * and of no use. */
SPRY_MUST_USE spry_status gradient_build(graph *g, const gradient_request *r, int32_t *gradients,
                                         spry_error *error);

#endif
