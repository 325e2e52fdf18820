/* What is asked for, checked before any work. */
#ifndef QUANTIZE_OPTIONS_H
#define QUANTIZE_OPTIONS_H

#include "quantize/job.h"

/* Checks job->options and finds method, format and stages. Fails with SPRY_USAGE. */
SPRY_MUST_USE spry_status options_read(quantize_job *job, spry_error *error);

#endif
