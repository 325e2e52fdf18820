/* What training makes small, as ordinary nodes behind the scores of a model.
 *
 *     CROSS_ENTROPY  classes [N] (i64):  mean over the examples of log sum exp z - z[class], with
 *                    class weights w divided by the sum of the weights of the targets; smoothing s
 *                    makes the target (1 - s) one-hot + s / C
 *     BINARY         targets [N, C] in [0, 1]: mean of max(z, 0) - z t + log(1 + exp(-|z|)), the
 *                    positive part times `positive`
 *     SQUARED        targets as the scores: mean of (z - t)^2
 *     HUBER          mean of d^2 / 2 where |d| = |z - t| <= delta, else delta (|d| - delta / 2)
 *     DISTILLATION   scores of a teacher: T^2 sum over classes of p log(p / q), p and q softmax at
 *                    temperature T of teacher and model, mean over the examples (Hinton and others,
 *                    arXiv 1503.02531)
 *     RELATIVE       targets as the scores: sum of (z - t)^2 over sum of t^2 */
#ifndef TRAIN_LOSS_H
#define TRAIN_LOSS_H

#include "train/emit.h"

typedef enum loss_kind {
    LOSS_CROSS_ENTROPY,
    LOSS_BINARY,
    LOSS_SQUARED,
    LOSS_HUBER,
    LOSS_DISTILLATION,
    LOSS_RELATIVE
} loss_kind;

typedef struct loss_options {
    loss_kind kind;
    double smoothing;            /* CROSS_ENTROPY: in [0, 1) */
    const double *class_weights; /* CROSS_ENTROPY: [class_count]; NULL: all 1 */
    int64_t class_count;
    bool ignores; /* CROSS_ENTROPY: examples of class `ignored` do not count */
    int64_t ignored;
    double positive;    /* BINARY; 0 stands for 1 */
    double delta;       /* HUBER; 0 stands for 1 */
    double temperature; /* DISTILLATION; 0 stands for 1 */
} loss_options;

/* The loss of `scores` [N, C, ...], whose type is known, against `targets`: a value of one element.
 * GRAPH_NONE once something has failed. */
int32_t loss_emit(emitter *e, const loss_options *o, int32_t scores, int32_t targets);

#endif
