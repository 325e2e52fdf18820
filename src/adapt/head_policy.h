/* Heads of attention that look at a window and at sinks: written into a model as calls of
 * ai.spry.HeadPolicy (ops/head_policy.h) between scores and softmax. */
#ifndef ADAPT_HEAD_POLICY_H
#define ADAPT_HEAD_POLICY_H

#include "kernels/attention/attention_heads.h"
#include "model/model.h"

/* The attention that computes the value `name` when the model runs. */
typedef struct head_policy_layer {
    const char *name;
    int64_t heads;
    const attention_policy *policies; /* [heads] */
} head_policy_layer;

/* Changes the main graph of `m`, a copy (model_copy): every layer one of whose heads is not dense
 * gets a call. Fails with SPRY_UNSUPPORTED (the model is of an operator set below 13, has policies
 * already, or no softmax over scores by image and head is found), SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status head_policy_write(model *m, const head_policy_layer *layers,
                                            int32_t count, spry_error *error);

#endif
