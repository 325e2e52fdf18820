/* Runs a plan once. */
#ifndef RUNTIME_EXECUTE_H
#define RUNTIME_EXECUTE_H

#include "base/trace.h"
#include "runtime/plan.h"
#include "runtime/profile.h"

/* What stays the same during one run of a session, bodies included. */
typedef struct executor {
    threads *team;
    arena *scratch; /* reset after every node */
    arena *text;    /* string results; reset by the caller after copying the outputs */
    uint64_t seed;
    profile *times;    /* NULL: not recorded */
    trace *spans;      /* NULL: not recorded */
    bool check_finite; /* stop at the first result with an infinite number, or none */
    spry_error *error;
} executor;

/* Runs `p`. `inputs` are borrowed, in the order of the graph's inputs; one that is NULL stands for
 * an input whose initializer counts. `outputs` (initialised, none) receive values of their own, in
 * the order of the graph's outputs. `enclosing` is the frame of the plan that holds this body; NULL
 * at top level.
 * Fails as the operators do, and with SPRY_BAD_INPUT where check_finite finds something; outputs
 * may then be partly filled. */
SPRY_MUST_USE spry_status execute_plan(executor *x, plan *p, const value *enclosing,
                                       const value *const *inputs, int32_t input_count,
                                       value *const *outputs, int32_t output_count);

#endif
