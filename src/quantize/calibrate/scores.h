/* How far a model's answers on calibration samples are from those of the float model. */
#ifndef QUANTIZE_SCORES_H
#define QUANTIZE_SCORES_H

#include "model/model.h"
#include "spry/quantize.h"

/* KL(p || q) in nats of two rows of `count` >= 1 scores. Rows that are probabilities already (not
 * negative, sum 1) are taken as such, others go through softmax. Never negative; infinite where q
 * excludes what p has, or is not finite. */
double scores_divergence(const float *p, const float *q, int64_t count);

/* Index of the largest of `count` >= 1 scores, the first of equals. */
int64_t scores_best(const float *scores, int64_t count);

/* The float model's first output on the samples, and what the last comparison found. */
typedef struct scores {
    spry_allocator allocator;
    spry_quantize_options options; /* where samples come from */
    int64_t class_offset;          /* of labels */
    int64_t samples;
    int64_t width;    /* elements of the output per sample; 0 before the first run */
    float *reference; /* [samples][width] */
    double *errors;   /* [samples], of the last model: the squared error of each sample's output; of
                         scores without what all classes share, which changes no answer */
    bool has_scores;  /* of classes */
    /* Of the last model: samples seen, those with the float model's best class, and with the
     * label's; the sums of divergences, of squares, and of squared differences. */
    int64_t seen, same, right;
    double divergence, signal, noise;
} scores;

/* Runs the float model `m` on the samples of `options`, `most` of them at most (0: all). Fails with
 * SPRY_UNSUPPORTED (a first output that is no f32 tensor with a part per sample) and as
 * samples_visit. Release with scores_release, also after a failure. */
SPRY_MUST_USE spry_status scores_open(scores *s, const model *m,
                                      const spry_quantize_options *options, int64_t most,
                                      int64_t class_offset, spry_error *error);
void scores_release(scores *s);

/* Runs another model on the same samples. Fails as samples_visit. */
SPRY_MUST_USE spry_status scores_compare(scores *s, const model *m, spry_error *error);

/* What that one loses: the mean divergence of its scores or, where there are none, the square of
 * the differences over that of the float model's output. */
double scores_loss(const scores *s);

#endif
