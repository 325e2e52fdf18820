/* Formats: what quantized tensors look like in a file. One file each, one line in format.c. */
#ifndef QUANTIZE_FORMAT_H
#define QUANTIZE_FORMAT_H

#include "quantize/job.h"

struct format {
    spry_quantize_choice facts;
    /* The operator set in which the format says it best; NULL: the oldest that can say it at all.
     * The model is raised to it if no operator changes its meaning on the way. */
    int32_t (*best_opset)(const quantize_job *job);
    /* Why the job's options make no sense in this format, in words that follow "the format"; NULL
     * when they do, or for every job. */
    const char *(*forbids)(const quantize_job *job);
    /* NULL when the format can say this record; else why not, in words that follow "the format". */
    const char *(*refuses)(const quantize_job *job, const weight_record *r);
    /* Writes all records of the job into job->m's graph, which must be sorted afterwards. Fails
     * with SPRY_LIMIT (memory). */
    spry_status (*write)(quantize_job *job, spry_error *error);
};

extern const format format_qdq;
extern const format format_matmulnbits;
extern const format format_qoperator;

/* The format of that name. Fails with SPRY_USAGE, naming all. */
SPRY_MUST_USE spry_status format_find(const char *name, const format **found, spry_error *error);

#endif
