/* Adds nodes and parameters to the graph of a job, one line each. The first failure is kept and
 * turns all further calls into nothing. All return the id of a value, GRAPH_NONE once something has
 * failed. Names are BASE_SUFFIX. */
#ifndef ADAPT_BUILD_H
#define ADAPT_BUILD_H

#include "adapt/rewrite.h"

typedef struct build {
    rewrite *job;
    const char *base;
    spry_status status;
    spry_error *error;
} build;

/* Names are made of the node that computes `id`, or of the value. */
build build_beside(rewrite *job, int32_t id, spry_error *error);

/* A standard operator with one output. */
int32_t build_node(build *b, const char *type, const char *suffix, int32_t count,
                   const int32_t *inputs);
void build_set_int(build *b, int32_t id, const char *name, int64_t number);

/* Constants: f32 zeros, one f32 of rank 0, integers of rank 1. */
int32_t build_zeros(build *b, const char *suffix, int rank, const int64_t *shape);
int32_t build_number(build *b, const char *suffix, double number);
int32_t build_ints(build *b, const char *suffix, int64_t count, const int64_t *numbers);

/* Elements [from, to) of an axis; `to` INT64_MAX: to the end. */
int32_t build_slice(build *b, const char *suffix, int32_t x, int64_t axis, int64_t from,
                    int64_t to);
/* x Phi(x), exactly. */
int32_t build_gelu(build *b, const char *suffix, int32_t x);

/* Trained initializers: a copy of f32 `data`; uniform in [-bound, bound), normal with a deviation,
 * or zeros. */
int32_t build_parameter(build *b, const char *suffix, int rank, const int64_t *shape,
                        const float *data);
int32_t build_uniform(build *b, const char *suffix, int rank, const int64_t *shape, double bound);
int32_t build_normal(build *b, const char *suffix, int rank, const int64_t *shape,
                     double deviation);
int32_t build_trained_zeros(build *b, const char *suffix, int rank, const int64_t *shape);

/* All that read `from` read `to` instead, but the nodes from index `first_new` on, of which some
 * make `to` of `from`. */
void build_redirect(build *b, int32_t from, int32_t to, int32_t first_new);

#endif
