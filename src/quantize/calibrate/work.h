/* How much of a model's arithmetic runs in integers. */
#ifndef QUANTIZE_WORK_H
#define QUANTIZE_WORK_H

#include "quantize/job.h"

/* Fills the MACs of one sample in job->facts, whose rows are those of job->weights: a free first
 * dimension of an input counts as 1. Operators whose shapes remain unknown count as nothing. Fails
 * with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status work_count(quantize_job *job, spry_error *error);

#endif
