/* Samples through a model, batch by batch: what values are, and how much each element of results
 * matters to the answer (fisher.h). */
#ifndef QUANTIZE_IMPORTANCE_H
#define QUANTIZE_IMPORTANCE_H

#include "quantize/calibrate/fisher.h"
#include "quantize/calibrate/samples.h"
#include "quantize/job.h"
#include "spry/session.h"

typedef struct importance_request {
    const int32_t *values; /* f32 values of job->m to be seen */
    int32_t value_count;
    const int32_t *results; /* f32 values whose importance is wanted */
    int32_t result_count;
    fisher_metric metric;
    int64_t most_images; /* of an even choice of batches; 0: all samples */
} importance_request;

typedef struct importance_probe {
    const quantize_job *job;
    samples s;
    int64_t runs;         /* batches, numbered from 0 */
    fisher_metric metric; /* FISHER_NONE where the model has no gradients */
    const char *remark;   /* why it has none; or NULL. Of the job's memory. */
    /* Inside. */
    const importance_request *request;
    model *m;
    spry_session *session;
    int32_t *value_output, *result_output, *gradient_output; /* numbers of outputs */
    int32_t output_count;
    spry_value **outputs;
    spry_value *input, *target, *nudge; /* of the session */
    int64_t classes;
    float *scores;          /* [batch][classes] */
    int64_t *labels;        /* [batch] */
    float *weights;         /* [batch]: of images' losses */
    int64_t *sizes;         /* [results]: elements of a batch */
    float **sums;           /* [results][sizes]: importance; NULL where there is none */
    float *nudges;          /* [results]: how far FISHER_PERTURB moves each */
    float **before;         /* [results]: room for one gradient */
    double *signal, *noise; /* [results]: of the gradients of moved results */
} importance_probe;

/* `request` must outlive *p. Close with importance_close, also after a failure. Fails as
 * samples_open, and as making a session does. */
SPRY_MUST_USE spry_status importance_open(const quantize_job *job,
                                          const importance_request *request, importance_probe *p,
                                          spry_error *error);
void importance_close(importance_probe *p);

/* Runs batch `run`. What the functions below return lives until the next. Fails as running the
 * model does, and with SPRY_CANCELLED. */
SPRY_MUST_USE spry_status importance_run(importance_probe *p, int64_t run, spry_error *error);

/* The first sample of batch `run`. */
int64_t importance_first(const importance_probe *p, int64_t run);

/* request->values[index] on the batch. */
const tensor *importance_value(const importance_probe *p, int32_t index);

/* The importance of each element of request->results[index]; NULL: all alike, or none. */
const float *importance_of(const importance_probe *p, int32_t index);

/* How many batches a visit takes: those with gradients go image by image where they can. */
int64_t importance_batches(const samples *s, fisher_metric metric);

/* Opens, runs all batches, shows each to the visitor (tensors are the values), and closes. Metrics
 * without gradients go the way of samples_visit; p->metric is then FISHER_NONE. */
SPRY_MUST_USE spry_status importance_visit(const quantize_job *job,
                                           const importance_request *request, importance_probe *p,
                                           const char *what, samples_visitor visitor, void *context,
                                           spry_error *error);

#endif
