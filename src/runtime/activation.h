/* Names of the activations that kernels finish their results with (FUSE_ACTIVATION). */
#ifndef RUNTIME_ACTIVATION_H
#define RUNTIME_ACTIVATION_H

#include "kernels/elementwise/activation_f32.h"
#include "model/graph.h"

/* The activation that the node computes from its first input, or NULL. */
const char *activation_of_node(const graph_node *n);

/* The function of that name, as brgemm_finish.activate takes it; NULL when there is none. */
elementwise_f32_map *activation_find(const char *name);

#endif
