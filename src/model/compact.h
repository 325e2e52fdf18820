/* Smaller files: what a model says twice, and names that nobody chose. */
#ifndef MODEL_COMPACT_H
#define MODEL_COMPACT_H

#include "model/graph.h"

/* Lets constants of up to COMPACT_BYTES that are equal be one. pass_dead then drops the others.
 * Fails with SPRY_LIMIT (memory). */
enum { COMPACT_BYTES = 4096 };
SPRY_MUST_USE spry_status compact_constants(graph *g, spry_error *error);

/* Leaves out what holds without being said: attributes of convolutions, and inputs that are left
 * out behind the last one. */
void compact_defaults(graph *g);

/* Gives short names ("a", "b", ...) to the values from `first` on that only quantization knows:
 * constants, codes, and numbers that are made of codes right away. Nodes that are called like
 * such a value lose their name. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status compact_codes(graph *g, int32_t first, spry_error *error);

#endif
