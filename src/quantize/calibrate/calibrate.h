/* Calibration: grids of activations, from what they are on samples. */
#ifndef QUANTIZE_CALIBRATE_H
#define QUANTIZE_CALIBRATE_H

#include "quantize/job.h"

/* Fills the grids of job->activations; nothing to do when there are none. Fails as
 * samples_visit. */
SPRY_MUST_USE spry_status calibrate(quantize_job *job, spry_error *error);

#endif
