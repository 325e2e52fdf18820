/* How much each element of a layer's output matters to the answer: squared gradients of a loss by
 * it, which approximate the diagonal of the Hessian (PTQ4ViT, arXiv 2111.12293).
 *
 * The loss is cross-entropy with labels from the model's own answer, since the divergence from that
 * answer has gradient 0 where it is taken. For up to FISHER_CLASSES classes all of them count, by
 * their probabilities; for more, FISHER_DRAWS labels are drawn. This is the diagonal of the Fisher
 * information, and that of the Gauss-Newton matrix J^T (diag(p) - p p^T) J. */
#ifndef QUANTIZE_FISHER_H
#define QUANTIZE_FISHER_H

#include "model/model.h"
#include "spry/status.h"

enum { FISHER_CLASSES = 10, FISHER_DRAWS = 4, FISHER_TEMPERATURE = 20 };

typedef enum fisher_metric {
    FISHER_MODEL,  /* labels of the model's answer */
    FISHER_LABEL,  /* given labels */
    FISHER_NONE,   /* all elements alike: squared error */
    FISHER_COSINE, /* 1 - cosine of the angle between rows */
    FISHER_PERTURB /* how much gradients change when the result is moved (APHQ-ViT, arXiv
                      2504.02508), mean over images */
} fisher_metric;

/* The metric of that name: fisher, label, l2, cosine or perturb. Fails with SPRY_USAGE. */
SPRY_MUST_USE spry_status fisher_find(const char *name, fisher_metric *metric, spry_error *error);

static inline bool fisher_has_gradients(fisher_metric metric)
{
    return metric == FISHER_MODEL || metric == FISHER_LABEL || metric == FISHER_PERTURB;
}

/* Name of the input that fisher_extend adds. */
#define FISHER_TARGET "spry_target"
/* Name of the input that fisher_nudge adds. */
#define FISHER_NUDGE "spry_nudge"

/* Lets all users of of[i] read of[i] + FISHER_NUDGE[i], a new input [count]; of[i] becomes that
 * sum. Types must be inferred before and again. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status fisher_nudge(model *m, int32_t *of, int32_t count, spry_error *error);

/* Adds the gradients of cross-entropy by the values `of` to the main graph of `m`, which is of
 * static types and whose first output is scores [images][classes]. The new input FISHER_TARGET, of
 * the scores' type, is the probability of each class that the loss is taken for; losses of images
 * are added. gradients[i] is GRAPH_NONE where the scores do not depend on of[i]. Types must be
 * inferred again. Fails with SPRY_UNSUPPORTED (no such scores, an operator without gradient),
 * SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status fisher_extend(model *m, fisher_metric metric, const int32_t *of,
                                        int32_t count, int32_t *gradients, spry_error *error);

/* softmax(scores / FISHER_TEMPERATURE), image by image: the target of FISHER_PERTURB. */
void fisher_soften(const float *scores, int64_t images, int64_t classes, float *target);

/* The runs that importance is summed over, for one image or batch. */
typedef struct fisher_plan {
    fisher_metric metric;
    int64_t images, classes;
    int64_t runs;
} fisher_plan;
fisher_plan fisher_plan_of(fisher_metric metric, int64_t images, int64_t classes);

/* The target of run `run`: target[images][classes]; the weight of each image's squared gradients
 * goes to weights[images]. `scores` are the model's, `labels` the given ones (read by FISHER_LABEL
 * alone; those outside of the classes count nothing), `first` the number of the first image, which
 * draws depend on. */
void fisher_target(const fisher_plan *p, int64_t run, const float *scores, const int64_t *labels,
                   int64_t first, float *target, float *weights);

#endif
