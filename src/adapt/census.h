/* What of a graph are parameters: initializers that training could change, as opposed to numbers
 * that formulas are made of, masks, and the running statistics of batch norms. */
#ifndef ADAPT_CENSUS_H
#define ADAPT_CENSUS_H

#include "base/sha256.h"
#include "model/model.h"

/* Called with node and port of an input that can hold a parameter, and the initializer `id` that it
 * reads, through reshapes and transpositions. */
typedef spry_status (*census_visit)(void *context, int32_t node, int32_t port, int32_t id,
                                    spry_error *error);

/* Visits the parameters of the main graph in the order of the nodes; one that several read comes
 * several times. Fails as `visit` does. */
SPRY_MUST_USE spry_status census_walk(const graph *g, census_visit visit, void *context,
                                      spry_error *error);

/* Elements of all parameters, each initializer once, and of the `extra_count` initializers `extra`
 * besides. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status census_count(const graph *g, const int32_t *extra, int32_t extra_count,
                                       int64_t *total, spry_error *error);

/* SHA-256 over name, type, shape and bytes of all floating-point initializers, by name. The
 * model's weights must be held. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status census_hash(const model *m, char text[SHA256_TEXT_SIZE],
                                      spry_error *error);

/* Index of the first element that is infinite or not a number; -1: none. */
int64_t census_find_infinite(const tensor *t);

#endif
