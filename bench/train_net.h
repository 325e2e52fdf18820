/* Networks with their backward pass, as training runs them: weights are inputs, the gradients of a
 * cross-entropy are outputs. */
#ifndef BENCH_TRAIN_NET_H
#define BENCH_TRAIN_NET_H

#include "model/model.h"
#include "tensor/value.h"

typedef enum train_net_mode {
    TRAIN_NET_INFERENCE, /* scores; weights are constants, statistics are fixed */
    TRAIN_NET_FORWARD,   /* the loss; weights are inputs, as for a step */
    TRAIN_NET_STEP,      /* the loss and the gradients of all weights */
    TRAIN_NET_BIASES, /* the loss and the gradients of biases and scales; weights are constants */
    TRAIN_NET_MODES
} train_net_mode;

/* The mode of that name ("inference", "forward", "step", "biases"), or TRAIN_NET_MODES. */
train_net_mode train_net_parse_mode(const char *text);

typedef struct train_net {
    spry_model *source, *copy; /* of a file */
    spry_model own;            /* of a network built here */
    spry_model *m;
    arena memory;
    graph *g;
    value *inputs; /* one per input of the graph, filled with seeded numbers */
    int32_t scores;
    int32_t trained; /* weights that have a gradient */
} train_net;

/* Builds `name`: "resnet20" (32 x 32 x 3, ten classes), "lenet" (28 x 28), or the path of an ONNX
 * file whose first input is images. False, with the error, when that fails. */
bool train_net_build(train_net *t, const char *name, int64_t batch, train_net_mode mode,
                     spry_error *error);
void train_net_release(train_net *t);

#endif
