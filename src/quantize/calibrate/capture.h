/* What the layers of a model read, and how much their results matter, on calibration samples.
 *
 * Ranges are those of all samples. For the search itself a few rows per sample are drawn, once, and
 * kept in a temporary file, so that memory depends neither on the number of samples nor on the
 * number of layers. */
#ifndef QUANTIZE_CAPTURE_H
#define QUANTIZE_CAPTURE_H

#include "base/spill.h"
#include "quantize/calibrate/fisher.h"
#include "quantize/layers.h"

enum {
    CAPTURE_IMAGES = 32,         /* that rows are drawn from, at most */
    CAPTURE_PRODUCT_IMAGES = 16, /* for products of two activations, which keep all of `b` */
    CAPTURE_ROWS = 1024          /* per layer; of products of two activations: per head */
};

/* Of one layer. Rows are [groups][rows][k]; a group is a product with a `b` of its own. */
typedef struct capture_layer {
    int64_t groups; /* weights: 1; two activations: images x heads, head fastest */
    int64_t rows, k, n;
    int64_t images;     /* that it was drawn from */
    int64_t inner;      /* groups per image; 0 for weights */
    int64_t image_rows; /* rows per image of a group, of which `drawn` are drawn */
    int64_t drawn;
    uint64_t a_at, b_at, g_at; /* in the file */
    float *a_low, *a_high;     /* [heads]: range over all samples */
    float *b_low, *b_high;     /* the same of `b`; two activations only */
    double gradient;           /* mean of the importance over elements; 0: none */
} capture_layer;

typedef struct capture {
    const quantize_job *job;
    const layers *found;
    spill file;
    capture_layer *list; /* [found->count] */
    fisher_metric metric;
    const char *remark; /* why there are no gradients; or NULL */
} capture;

/* Runs the samples. Fails with SPRY_BAD_INPUT (an operand that is infinite or not a number: the
 * error names its product), SPRY_IO, and as running the model does. Release with
 * capture_release, also after a failure. */
SPRY_MUST_USE spry_status capture_run(quantize_job *job, const layers *found, fisher_metric metric,
                                      capture *c, spry_error *error);
void capture_release(capture *c);

/* Rows and, for two activations, the second operands of layer `index`, and the importance of every
 * element of the product [groups][rows][n] where there is one. */
SPRY_MUST_USE spry_status capture_load(const capture *c, int32_t index, float *a, float *b,
                                       float *importance, spry_error *error);

#endif
