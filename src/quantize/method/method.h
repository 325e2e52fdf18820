/* Methods: how weights, and the grids of activations, are chosen. One file each, one line in
 * method.c. */
#ifndef QUANTIZE_METHOD_H
#define QUANTIZE_METHOD_H

#include "quantize/job.h"

/* One weight tensor on its way. */
typedef struct method_call {
    const float *dense;    /* [outputs][inputs][taps] */
    weight_record *record; /* cut into blocks; steps, zero points and codes are to be filled */
    const quantize_job *job;
    squant_report *report;
} method_call;

struct method {
    spry_quantize_choice facts;
    bool needs_data;    /* samples, even when activations stay f32 */
    const char *metric; /* of a search, where none is asked for */
    int rounds;         /* likewise */
    /* Why the job's options make no sense for this method, in words that follow "the method"; NULL
     * when they do, or for every job. */
    const char *(*forbids)(const quantize_job *job);
    /* Looks at the whole model before any weight is rounded: cuts job->weights into blocks and may
     * change job->activations. NULL: method_cut, activations as calibrated. Fails
     * as running the model does. */
    spry_status (*search)(quantize_job *job, spry_error *error);
    /* Fills steps, zero points and codes of one weight. Fails with SPRY_LIMIT (memory). */
    spry_status (*round)(const method_call *call, spry_error *error);
};

extern const method method_adaround;
extern const method method_nearest;
extern const method method_ptq4vit;
extern const method method_squant;
extern const method method_ptq_sl;
extern const method method_hqq;
extern const method method_gptq;

/* Cuts a weight as the options have it: a block per output channel, of matrices per group of
 * inputs. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status method_cut_weight(quantize_job *job, weight_record *r, spry_error *error);

/* Rounds per output channel, or per group of inputs of one, SQuant's stages one after the other:
 * what most methods end with. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status method_round(const method_call *call, squant_stages stages,
                                       spry_error *error);

/* All weights so: what `search` does that has nothing better. */
SPRY_MUST_USE spry_status method_cut(quantize_job *job, spry_error *error);

/* The method of that name. Fails with SPRY_USAGE, naming all. */
SPRY_MUST_USE spry_status method_find(const char *name, const method **found, spry_error *error);

#endif
