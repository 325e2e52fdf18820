/* Two models against one another: which is faster here? */
#ifndef CLI_RACE_H
#define CLI_RACE_H

#include "spry/session.h"

typedef struct race_side {
    const spry_model *model;
    spry_session *session; /* of the model */
} race_side;

typedef struct race_result {
    double ms[2];    /* median latency of each */
    double speed_up; /* median over turns of the first's latency over the second's */
} race_result;

/* Both take turns on random inputs, so that a drift of the machine's speed meets both. Fails as
 * spry_feed_create and spry_bench_session. */
SPRY_MUST_USE spry_status race_run(const race_side sides[2], race_result *result,
                                   spry_error *error);

#endif
