/* What the planner of blocks has to know of this machine: how fast layers of all sizes are with
 * each number of threads, and what a parallel region costs. */
#ifndef MEASURE_CALIBRATE_FUSION_H
#define MEASURE_CALIBRATE_FUSION_H

#include "spry/progress.h"
#include "tune/fusion/fusion_cpu.h"

/* Times the synthetic layers with all numbers of threads that the process may use; in *f, the
 * processor itself is as it was. Takes some 20 seconds. Fails as spry_session_create, and with
 * SPRY_CANCELLED. */
SPRY_MUST_USE spry_status calibrate_fusion(const spry_progress *progress, fusion_cpu *f,
                                           spry_error *error);

#endif
