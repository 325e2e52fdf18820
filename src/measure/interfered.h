/* A model beside somebody else's work: how much slower it runs, what its own times tell about that,
 * and which of several versions of it is best (tune/tenants/). */
#ifndef MEASURE_INTERFERED_H
#define MEASURE_INTERFERED_H

#include "measure/aggressor.h"
#include "measure/contention.h"
#include "spry/feed.h"
#include "spry/progress.h"
#include "spry/session.h"
#include "tune/tenants/versions.h"

/* ---- one model, one level ---- */

typedef struct interfered {
    int level; /* of the aggressor */
    aggressor_work work;
    int32_t runs;               /* of each kind */
    double alone_ms, beside_ms; /* medians of a run */
    double slowdown;            /* of finished operators, by the proxy, at the end */
    int proxy_level;
    int64_t pieces;           /* operators that it saw */
    contention system;        /* closed: what there was */
    contention_counts counts; /* while the aggressor worked */
    double seconds;           /* that they cover */
} interfered;

/* Runs the model alone, then beside an aggressor, `seconds` each. Fails as aggressor_start,
 * spry_session_run, and with SPRY_CANCELLED. */
SPRY_MUST_USE spry_status interfered_measure(const spry_model *m, const spry_feed *feed,
                                             const spry_session_options *options, int level,
                                             double seconds, interfered *result, spry_error *error);

/* ---- versions ---- */

enum { INTERFERED_LEVELS = AGGRESSOR_LEVELS + 1, INTERFERED_NAME = 48 };

typedef struct interfered_version {
    char name[INTERFERED_NAME]; /* "2 threads" */
    int threads;
    bool as_written; /* operators run one by one, images between them lie in memory */
    double bytes;    /* that its operators read and write in one run */
    version_facts facts;
    bool is_kept;
    double ms[INTERFERED_LEVELS]; /* mean of a run, by level of the aggressor; kept ones only */
} interfered_version;

/* What came of choosing, at one level of the aggressor. */
typedef struct interfered_choice {
    double slowdown;              /* of the version that is fastest alone */
    int level;                    /* that stands for */
    double fixed_ms, adaptive_ms; /* mean of a run: the fastest alone, always; the chosen ones */
    int32_t last;                 /* version that ran at the end */
    int32_t runs[VERSIONS_KEPT];  /* of each kept version, while choosing */
} interfered_choice;

typedef struct interfered_versions {
    interfered_version all[VERSIONS_MOST];
    int32_t count;
    int32_t kept[VERSIONS_KEPT];
    int32_t kept_count;
    int32_t alone; /* fastest alone: an index into `kept` */
    double target_ms;
    double table[VERSIONS_KEPT][INTERFERENCE_LEVELS]; /* what is chosen by */
    interfered_choice at[INTERFERED_LEVELS];
} interfered_versions;

/* Makes versions of the model (numbers of threads up to the options', with and without fusion),
 * keeps the good ones, measures these for `seconds` at each level of the aggressor, and then lets
 * them be chosen, in turns with the one that is fastest alone. `target_ms` is what the model may
 * take: versions beyond 1.25 times that are dropped; 0: twice what the fastest takes. Fails as
 * above. */
SPRY_MUST_USE spry_status interfered_versions_measure(const spry_model *m, const spry_feed *feed,
                                                      const spry_session_options *options,
                                                      double target_ms, double seconds,
                                                      const spry_progress *progress,
                                                      interfered_versions *result,
                                                      spry_error *error);

#endif
