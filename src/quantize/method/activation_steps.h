/* Steps of activations by what they do to the outputs of the layers that read them (PTQ-SL, arXiv
 * 2110.07809): the grid of each is tried at several sizes, with weights on their own grids, and the
 * one is kept with which
 *
 *     sum over layers of |W X - W' Q|^2 / |W X|^2        Q: X on the grid
 *
 * is least. Where a metric has gradients, each element of an output counts by its importance. */
#ifndef QUANTIZE_ACTIVATION_STEPS_H
#define QUANTIZE_ACTIVATION_STEPS_H

#include "quantize/calibrate/fisher.h"
#include "quantize/job.h"

/* Grids of job->activations that layers with integer weights read change, and those of records that
 * are like them; weights must have their codes. *changed: any of them did. The result does not
 * depend on the team. Fails as samples_visit and with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status activation_steps(quantize_job *job, fisher_metric metric, bool *changed,
                                           spry_error *error);

#endif
