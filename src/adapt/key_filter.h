/* Attention whose keys are filtered: written into a model as calls of ai.spry.KeyFilter
 * (ops/key_filter.h) between scores and softmax. */
#ifndef ADAPT_KEY_FILTER_H
#define ADAPT_KEY_FILTER_H

#include "model/model.h"
#include "ops/key_filter.h"

/* What a head filters by. */
typedef struct key_filter_head {
    float scale;                     /* of the codes of its keys, above 0 */
    double alpha[KEY_FILTER_ROUNDS]; /* in [-1, 1); -1: the round keeps all */
} key_filter_head;

/* The attention that computes the value `name` when the model runs. */
typedef struct key_filter_layer {
    const char *name;
    int64_t heads;
    const key_filter_head *filters; /* [heads] */
} key_filter_layer;

/* Does the main graph filter keys already? Fails with SPRY_UNSUPPORTED then. */
SPRY_MUST_USE spry_status key_filter_check(const model *m, spry_error *error);

/* Changes the main graph of `m`, a copy (model_copy): every layer one of whose heads drops keys
 * gets a call. Fails with SPRY_UNSUPPORTED (the model is of an operator set below 13, filters
 * already, or no softmax over a product by image and head is found), SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status key_filter_write(model *m, const key_filter_layer *layers, int32_t count,
                                           spry_error *error);

#endif
