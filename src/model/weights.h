/* Large weights that lie misaligned in a model's file.
 *
 * An exporter puts tensors where they fall, so three of four lie at addresses that kernels cannot
 * read. They are copied to aligned places when somebody needs them, and the copies are given back
 * once everybody has only packed forms of them: a model that runs does not keep each weight twice.
 *
 * Reading a weight that nobody holds ends the process. Who needs to know: model_weights_settle,
 * called when a model has been read, holds for good what is not the weights of a convolution or
 * product; a session holds the others while it packs (plan.c) or folds; whoever else reads weights
 * calls model_weights_hold_all first. */
#ifndef MODEL_WEIGHTS_H
#define MODEL_WEIGHTS_H

#include "model/model.h"

/* Of a weight that is treated so; smaller ones are copied for good. */
enum { MODEL_WEIGHTS_LEAST = 64 << 10 };

/* Makes `t` a weight whose elements are at `raw`, which stays as it is while the model lives; its
 * t->data is a place that is empty until it is held. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status model_weights_add(model *m, tensor *t, const void *raw,
                                            spry_error *error);
/* Holds what is not only weights of convolutions and products of the main graph. Fails as below. */
SPRY_MUST_USE spry_status model_weights_settle(model *m, spry_error *error);
void model_weights_destroy(model *m);

/* Between the two `t` may be read; for other tensors than such weights, and where m is NULL, there
 * is nothing to do. Any thread may call. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status model_weights_hold(const model *m, const tensor *t, spry_error *error);
void model_weights_drop(const model *m, const tensor *t);
/* Holds all weights as long as the model lives. Fails as above. */
SPRY_MUST_USE spry_status model_weights_hold_all(const model *m, spry_error *error);

#endif
