/* What `spry predict` has to know of the machine that it runs on, measured. */
#ifndef MEASURE_CALIBRATE_H
#define MEASURE_CALIBRATE_H

#include "measure/peak.h"
#include "spry/progress.h"
#include "tune/fusion/fusion_cpu.h"

enum { CALIBRATION_LAYER_POINTS = 11, CALIBRATION_POINTS = 128 };

/* A layer at squares of its output. */
typedef struct calibration_point {
    latency_conv conv;
    latency_squares squares;    /* the density is that of the pixels that were drawn */
    double measured, predicted; /* seconds */
} calibration_point;

typedef struct calibration {
    peak peak;
    latency_cpu cpu;                     /* of one thread */
    int probes;                          /* convolutions that were timed */
    double deviation[LATENCY_CPU_KINDS]; /* largest |measured / (scale x foretold) - 1| of a kind */
    /* Predicted against measured, for layers that were not among the probes. */
    int checked;
    double error; /* mean of |predicted / measured - 1| */
    double rank_correlation;
    /* The same for squares of layers, which were not among the probes either. */
    int point_count;
    calibration_point points[CALIBRATION_POINTS];
    double listed_error;
    double listed_rank_correlation;
    fusion_cpu fusion; /* threads by layer, for blocks */
} calibration;

/* Takes some 40 seconds, the first 10 on one thread. The shortest of several turns counts. Fails as
 * spry_session_create, and with SPRY_CANCELLED. `progress` may be NULL. */
SPRY_MUST_USE spry_status calibrate_machine(const spry_progress *progress, calibration *c,
                                            spry_error *error);

/* Writes it as the description of a machine (targets/README.md) called `name`, replacing the file
 * and making its folder. Fails with SPRY_IO, SPRY_LIMIT. */
SPRY_MUST_USE spry_status calibration_save(const calibration *c, const char *name, const char *path,
                                           spry_error *error);

#endif
