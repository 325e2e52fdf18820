/* Decisions that learn: gates of 0 and 1 that a network draws while it trains and takes from its
 * logits when it runs.
 *
 * A model that runs decides by standard operators, and is written so:
 *
 *     keep, skip -> GreaterOrEqual -> Cast (to f32) -> gate        1 where keep >= skip
 *
 * and a comparison has no slope. In training form (program_options.gates, a pattern of the names of
 * such GreaterOrEqual nodes) the same gate is drawn, and has one:
 *
 *     keep, skip -> Sub -> GumbelGate <- temperature, noise        ops/gumbel.c
 *
 *     gate = 1 where keep - skip + noise G >= 0, G logistic: with the chance sigmoid(keep - skip)
 *            at a noise of 1, whatever the temperature; without noise as the model decides
 *     d gate / d keep = -d gate / d skip = y (1 - y) / temperature,
 *            y = sigmoid((keep - skip + noise G) / temperature)    straight through
 *
 * G is a function of (seed of the run, node, element). Who trains sets program.cooling before each
 * program_run:
 *
 *     program_options options = {.gates = "*masker*", ...};
 *     schedule cooling = gumbel_schedule(SCHEDULE_EXPONENTIAL, 5.0, 0.1, steps);
 *     ...
 *     p->cooling[GUMBEL_TEMPERATURE] = (float)schedule_at(&cooling, step);
 *     program_run(p, inputs, targets, seed_of(step), error);
 *
 * spry_train does so by its options gates, temperature, gate_noise and what goes with these.
 * Code that builds graphs itself adds a gate by gumbel_emit. */
#ifndef TRAIN_GUMBEL_H
#define TRAIN_GUMBEL_H

#include "model/model.h"
#include "train/emit.h"
#include "train/schedule.h"

enum { GUMBEL_TEMPERATURE, GUMBEL_NOISE, GUMBEL_COOLING };

/* The gate of `difference` (keep - skip; f32 or f64, any shape) at `cooling`: a temperature above
 * 0, or that and the strength of the noise, 0 or more. Type and shape are those of `difference`. */
int32_t gumbel_emit(emitter *e, int32_t difference, int32_t cooling);

/* Makes gates that learn of the comparisons in the main graph whose name fits `pattern` and whose
 * result is cast to a floating-point type. *cooling becomes a new value f32[2] that they read,
 * to be made an input of the graph; a comparison that is cast several times is drawn once.
 * Fails with SPRY_USAGE (the pattern fits no such comparison), SPRY_LIMIT. */
SPRY_MUST_USE spry_status gumbel_form(model *m, const char *pattern, int32_t *cooling,
                                      spry_error *error);

/* From `start` to `end` over `total` steps: EXPONENTIAL, start (end / start)^(t / total);
 * POLYNOMIAL, a line; COSINE, half a cosine; or CONSTANT. */
schedule gumbel_schedule(schedule_kind kind, double start, double end, int64_t total);

#endif
