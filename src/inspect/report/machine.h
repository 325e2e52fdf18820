/* What this machine can do at most with so many threads: the roofs that layers stand under. */
#ifndef INSPECT_REPORT_MACHINE_H
#define INSPECT_REPORT_MACHINE_H

#include <stdbool.h>

#include "measure/bandwidth.h"
#include "measure/peak.h"

typedef enum machine_level {
    MACHINE_L1,
    MACHINE_L2,
    MACHINE_L3,
    MACHINE_DRAM,
    MACHINE_LEVELS
} machine_level;

/* "L1 cache" ... "memory" */
extern const char *const machine_level_names[MACHINE_LEVELS];

typedef struct machine {
    int threads;
    peak core;                        /* of one core */
    double sizes[MACHINE_LEVELS - 1]; /* bytes of all caches that the threads have */
    double rates[MACHINE_LEVELS];     /* bytes per second of all threads together */
    bool is_calibrated;               /* what `spry doctor --calibrate` has kept counts too */
} machine;

/* Takes some tenths of a second. Where this machine has been calibrated, the better figure of both
 * counts: somebody may have disturbed one. Fails with SPRY_LIMIT. */
SPRY_MUST_USE spry_status machine_measure(int threads, machine *m, spry_error *error);

/* GFLOP/s of so many threads with numbers of a type; PEAK_TYPES counts as f32. */
double machine_peak(const machine *m, peak_type type, int threads);

/* The nearest level that holds so many bytes. */
machine_level machine_level_of(const machine *m, double bytes);

#endif
