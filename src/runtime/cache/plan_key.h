/* What a plan's packed weights depend on, as two numbers. */
#ifndef RUNTIME_CACHE_PLAN_KEY_H
#define RUNTIME_CACHE_PLAN_KEY_H

#include <stdint.h>

#include "base/threads.h"
#include "model/graph.h"
#include "spry/session.h"

typedef struct plan_key {
    uint64_t place;   /* where to look: the model's path, shapes of inputs, level of instructions,
                         threads and options */
    uint64_t content; /* what must be the same as well: the build, the processor, the model's files
                         and the graph with its small constants; 0: nobody can tell */
} plan_key;

plan_key plan_key_of(const graph *g, const spry_session_options *options, const threads *team);

#endif
