/* Partitions of a model's layers into blocks, run and timed block by block. */
#ifndef MEASURE_TUNE_TRIALS_H
#define MEASURE_TUNE_TRIALS_H

#include "spry/tune.h"
#include "tune/fusion/partition.h"

/* A block that was timed, the best of its strips. */
typedef struct tune_timed {
    int32_t first, last;
    int32_t team;
    int32_t strip;
    double seconds;
    bool is_refused; /* the runtime cannot run it as one */
} tune_timed;

typedef struct tune_trials {
    const spry_model *model;
    const spry_feed *feed;
    spry_session_options options; /* of sessions: threads, precision */
    const spry_layer *layers;
    int32_t count;
    arena *memory;
    tune_timed *timed;
    size_t timed_count, timed_capacity;
    spry_allocator allocator;
    double slice; /* seconds for the runs of one partition */
    int32_t tried;
} tune_trials;

void tune_trials_init(tune_trials *t, arena *memory);
void tune_trials_fini(tune_trials *t);

/* What is known of a block; NULL: nothing. */
const tune_timed *tune_trials_find(const tune_trials *t, int32_t first, int32_t last, int32_t team);

/* Blocks as sessions take them, from `memory`: those of one layer only where their team is not the
 * session's. `strips` has an entry for each block; NULL: as the runtime chooses. Fails with
 * SPRY_LIMIT. */
SPRY_MUST_USE spry_status tune_trials_blocks(const tune_trials *t, const partition *p,
                                             const int32_t *strips, spry_blocks *blocks,
                                             spry_error *error);

/* Runs the partition and notes the least time of each block. Blocks that the runtime refuses are
 * noted as such, and their layers run one by one. *seconds becomes the least time of a whole run;
 * may be NULL. Fails as spry_session_create and spry_session_run. */
SPRY_MUST_USE spry_status tune_trials_run(tune_trials *t, const partition *p, const int32_t *strips,
                                          double *seconds, spry_error *error);

enum { TUNE_CONTESTANTS_MOST = 3 };

/* Runs up to TUNE_CONTESTANTS_MOST plans in turn, `blocks[i]` each (NULL: as the runtime pairs
 * layers by itself), for about `seconds`, at least 3 rounds; least[i] becomes the least time of a
 * run, in seconds, for others were disturbed. Fails as tune_trials_run. */
SPRY_MUST_USE spry_status tune_trials_compare(const tune_trials *t, int count,
                                              const spry_blocks *const *blocks, double seconds,
                                              double *least, spry_error *error);

#endif
