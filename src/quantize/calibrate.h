/* Calibration: running samples through the float model and watching its activations. */
#ifndef QUANTIZE_CALIBRATE_H
#define QUANTIZE_CALIBRATE_H

#include "model/model.h"
#include "quantize/activations.h"
#include "quantize/observe.h"
#include "spry/quantize.h"

/* Runs the samples that `options` names through `m`, which takes one input, and fills
 * observers[chosen->count]. Memory does not depend on the number of samples.
 * Fails with SPRY_USAGE (several inputs, a fixed batch larger than the set), SPRY_CANCELLED, and as
 * spry_dataset_batch and spry_session_run. */
SPRY_MUST_USE spry_status calibrate(const model *m, const spry_quantize_options *options,
                                    const activations *chosen, observer *observers,
                                    spry_error *error);

#endif
