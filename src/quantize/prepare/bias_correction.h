/* Bias correction (arXiv 1906.04721, 4.2): rounding moves the mean of each output channel; the bias
 * moves it back. Layer by layer, with all layers before already rounded and corrected:
 *
 *     bias += E[y of the float model] - E[y of the rounded model]
 *
 * over the calibration samples, so that errors of means do not add up from layer to layer. */
#ifndef QUANTIZE_BIAS_CORRECTION_H
#define QUANTIZE_BIAS_CORRECTION_H

#include "quantize/job.h"

/* Nothing unless options->bias_correction; else changes the biases of job->m, whose weights have
 * their codes. Layers without a bias get one. Fails as samples_visit and with SPRY_LIMIT
 * (memory). */
SPRY_MUST_USE spry_status correct_biases(quantize_job *job, spry_error *error);

#endif
