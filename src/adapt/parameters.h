/* What of a graph are parameters: initializers that training could change, as opposed to numbers
 * that formulas are made of, masks, and the running statistics of batch norms. */
#ifndef ADAPT_PARAMETERS_H
#define ADAPT_PARAMETERS_H

#include "base/sha256.h"
#include "model/model.h"

/* Called with node and port of an input that can hold a parameter, and the initializer `id` that it
 * reads, through reshapes and transpositions. */
typedef spry_status (*parameters_visit)(void *context, int32_t node, int32_t port, int32_t id,
                                        spry_error *error);

/* Visits the parameters of the main graph in the order of the nodes; one that several read comes
 * several times. Fails as `visit` does. */
SPRY_MUST_USE spry_status parameters_walk(const graph *g, parameters_visit visit, void *context,
                                          spry_error *error);

/* Elements of all parameters, each initializer once, and of the `extra_count` initializers `extra`
 * besides. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status parameters_count(const graph *g, const int32_t *extra,
                                           int32_t extra_count, int64_t *total, spry_error *error);

/* SHA-256 over name, type, shape and bytes of all floating-point initializers, by name. The
 * model's weights must be held. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status parameters_hash(const model *m, char text[SHA256_TEXT_SIZE],
                                          spry_error *error);

/* Index of the first element that is infinite or not a number; -1: none. */
int64_t parameters_find_infinite(const tensor *t);

#endif
