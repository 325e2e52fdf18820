/* Tuning: which layers of a model run together on this machine, and on how many threads, found by a
 * model of the machine and by measuring, and kept in a file.
 *
 *     spry_tune_options options = spry_tune_options_default();
 *     spry_tuning *tuning = NULL;
 *     spry_status status = spry_tune(model, feed, &options, &tuning, &error);
 *     status = spry_tuning_save(tuning, "model.plan.json", &error);
 *     spry_tuning_destroy(tuning);
 *
 *     status = spry_tuning_load(NULL, "model.plan.json", &tuning, &error);
 *     status = spry_tuning_check(tuning, model, &error);           // this model, this machine?
 *     session_options.threads = spry_tuning_totals(tuning)->threads;
 *     session_options.blocks = spry_tuning_blocks(tuning);
 *
 * After DLFusion (arXiv 2011.05630), with a search over all partitions beside its one pass. Results
 * are the same bits with and without a plan. */
#ifndef SPRY_TUNE_H
#define SPRY_TUNE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spry/blocks.h"
#include "spry/feed.h"
#include "spry/progress.h"
#include "spry/session.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum spry_tune_strategy {
    SPRY_TUNE_S1 = 0,      /* every layer by itself, on one thread */
    SPRY_TUNE_S2 = 1,      /* every layer by itself, on all threads */
    SPRY_TUNE_S3 = 2,      /* every layer by itself, on as many threads as it is foretold to want */
    SPRY_TUNE_S4 = 3,      /* everything fused that can be, on all threads */
    SPRY_TUNE_S5 = 4,      /* blocks of four layers, on all threads */
    SPRY_TUNE_S6 = 5,      /* DLFusion's pass */
    SPRY_TUNE_S7 = 6,      /* the partition that is foretold to be the best */
    SPRY_TUNE_MEASURED = 7 /* the best of what was measured here */
} spry_tune_strategy;

/* "s1" to "s7" and "measured", ended by NULL; "greedy" is s6 and "dp" is s7. */
extern SPRY_API const char *const spry_tune_strategy_names[];

typedef struct spry_tune_options {
    size_t struct_size; /* sizeof(spry_tune_options): lets the struct grow */
    spry_tune_strategy strategy;
    double seconds; /* for measuring; what has begun is finished */
    int threads;    /* of the session; 0: as many as the process may use */
    spry_precision precision;
    bool compare;                  /* measure all strategies */
    const char *target;            /* description of this machine; NULL: of spry doctor --calibrate,
                                      or, where there is none, careful guesses */
    const spry_progress *progress; /* asked to stop, tuning ends with the best so far */
} spry_tune_options;

/* Measured, 10 seconds, all threads. */
SPRY_API spry_tune_options spry_tune_options_default(void);

/* Layers that run as one, or one that runs by itself. Times are milliseconds; 0: not known. */
typedef struct spry_tune_row {
    const spry_block *block; /* names, threads, strip, chunk */
    int64_t between;         /* bytes of the images in between */
    double predicted_ms;
    double measured_ms;
    double alone_ms; /* the same layers one by one, measured */
} spry_tune_row;

typedef struct spry_tune_totals {
    int32_t threads;
    spry_precision precision;
    const char *strategy;
    double predicted_ms;
    double measured_ms;  /* of the whole model with the plan */
    double unfused_ms;   /* every layer by itself, on all threads */
    double automatic_ms; /* without a plan */
    double planning_ms;  /* before anything was measured */
    bool is_unfused;     /* no plan was faster: every layer by itself */
    bool is_guessed;     /* the machine was not calibrated */
    bool was_stopped;
    int32_t tried; /* plans that were measured */
} spry_tune_totals;

/* What one strategy came to. */
typedef struct spry_tune_trial {
    const char *strategy;
    const char *what;
    int32_t blocks; /* layers by themselves count too */
    double predicted_ms;
    double measured_ms; /* 0: not measured */
} spry_tune_trial;

typedef struct spry_tuning spry_tuning;

/* Tunes a model for the inputs of `feed`. Fails with SPRY_USAGE (options), SPRY_UNSUPPORTED (an
 * input of unknown rank), and as spry_session_create and spry_session_run. */
SPRY_API SPRY_MUST_USE spry_status spry_tune(const spry_model *model, const spry_feed *feed,
                                             const spry_tune_options *options, spry_tuning **tuning,
                                             spry_error *error);
/* NULL is allowed. */
SPRY_API void spry_tuning_destroy(spry_tuning *tuning);

/* Writes the plan, replacing the file as a whole. Fails with SPRY_IO, SPRY_LIMIT. */
SPRY_API SPRY_MUST_USE spry_status spry_tuning_save(const spry_tuning *tuning, const char *path,
                                                    spry_error *error);
/* Reads a plan. Fails with SPRY_BAD_INPUT (no plan, cut off, made by a newer Spry; names file,
 * place and remedy), SPRY_LIMIT, SPRY_IO. The allocator may be NULL. */
SPRY_API SPRY_MUST_USE spry_status spry_tuning_load(const spry_allocator *allocator,
                                                    const char *path, spry_tuning **tuning,
                                                    spry_error *error);
SPRY_API SPRY_MUST_USE spry_status spry_tuning_parse(const spry_allocator *allocator,
                                                     const char *bytes, size_t size,
                                                     const char *name, spry_tuning **tuning,
                                                     spry_error *error);
/* Is the plan of this model's file and of this machine, and has the model its layers? Fails with
 * SPRY_BAD_INPUT where not, SPRY_IO, and as spry_session_layers. */
SPRY_API SPRY_MUST_USE spry_status spry_tuning_check(const spry_tuning *tuning,
                                                     const spry_model *model, spry_error *error);

/* For spry_session_options; lives as long as the tuning. */
SPRY_API const spry_blocks *spry_tuning_blocks(const spry_tuning *tuning);
SPRY_API const spry_tune_totals *spry_tuning_totals(const spry_tuning *tuning);
/* Return how many. Rows cover all layers of a tuning that was made, and the blocks of one that was
 * read; trials are of options.compare. */
SPRY_API int32_t spry_tuning_rows(const spry_tuning *tuning, const spry_tune_row **rows);
SPRY_API int32_t spry_tuning_trials(const spry_tuning *tuning, const spry_tune_trial **trials);

#ifdef __cplusplus
}
#endif

#endif
