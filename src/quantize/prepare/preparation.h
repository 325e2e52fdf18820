/* Preparations: rewrites of the float model that leave what it computes unchanged, up to rounding,
 * and make its weights or activations easier to quantize. They run before anything is chosen, in
 * the order that is asked for. One file each, one line in preparation.c. */
#ifndef QUANTIZE_PREPARATION_H
#define QUANTIZE_PREPARATION_H

#include "quantize/job.h"

typedef struct preparation {
    spry_quantize_choice facts;
    bool needs_data;
    /* Changes job->m. Fails with SPRY_LIMIT (memory), and as running the model does. */
    spry_status (*run)(quantize_job *job, spry_error *error);
} preparation;

extern const preparation preparation_equalise;
extern const preparation preparation_repq;
extern const preparation preparation_smooth;

/* Checks options->prepare: names between commas. Fails with SPRY_USAGE (no such preparation, or no
 * samples where it looks at them). */
SPRY_MUST_USE spry_status preparation_check(const spry_quantize_options *options,
                                            spry_error *error);

/* Runs them. Fails as they do. */
SPRY_MUST_USE spry_status prepare(quantize_job *job, spry_error *error);

#endif
