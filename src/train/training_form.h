/* A model as it is while it learns: what exporters have set to inference set back. */
#ifndef TRAIN_TRAINING_FORM_H
#define TRAIN_TRAINING_FORM_H

#include "model/model.h"
#include "train/parameters.h"

/* A copy (model_copy) of `source` whose main graph has functions inlined. Its values have the ids
 * that they have in `source`. Fails with SPRY_LIMIT. */
SPRY_MUST_USE spry_status training_model(const model *source, model **copy, spry_error *error);

/* Changes the main graph of `m`, a copy (model_copy). The first output stays and becomes the only
 * one: the scores. A Softmax or LogSoftmax over classes that computes it is left out, since losses
 * take logits. Dropout drops again. With `statistics` (not NULL) batch norms use those of the
 * batch; the outputs behind the scores are then their running statistics after the batch, in the
 * order of `statistics`, which parameters_of_norms gave for this graph.
 * Fails with SPRY_USAGE (no output), SPRY_LIMIT. */
SPRY_MUST_USE spry_status training_form(model *m, const parameters *statistics, spry_error *error);

/* The first output, or the logits that a Softmax or LogSoftmax makes it of. */
int32_t training_logits(const graph *g);

/* What those are made of: the value before the last product with weights and the pooling in front
 * of it, such as the last map of a convolutional network; GRAPH_NONE where there is no product. */
int32_t training_features(const graph *g);

/* Makes `outputs` the outputs of the graph, and nothing else. Fails with SPRY_LIMIT. */
SPRY_MUST_USE spry_status training_set_outputs(graph *g, const int32_t *outputs, int32_t count,
                                               spry_error *error);
/* The same for its inputs, which are computed by nothing and no constants from then on. */
SPRY_MUST_USE spry_status training_set_inputs(graph *g, const int32_t *inputs, int32_t count,
                                              spry_error *error);

#endif
