/* Where a model with masks looks: how much of each block's map it computes, and pictures of it. */
#ifndef CLI_MASK_REPORT_H
#define CLI_MASK_REPORT_H

#include "base/json.h"
#include "cli/command.h"
#include "spry/evaluate.h"
#include "spry/model.h"

typedef struct mask_report {
    spry_model *revealed; /* with masks as outputs behind those of the model */
    int32_t first;        /* output with the first mask */
    int32_t count;        /* masks */
    double *sums;         /* of densities of samples, by block */
    int64_t samples;
    const char *folder; /* of pictures; NULL: none are wanted */
    int64_t pictures;   /* that are wanted */
} mask_report;

/* Makes report->revealed of `m`, which must outlive it, and the folder where one is named. Undo
 * with mask_report_close. Fails with SPRY_USAGE (no masks), SPRY_IO, SPRY_LIMIT. */
SPRY_MUST_USE spry_status mask_report_open(mask_report *report, const spry_model *m,
                                           const char *folder, spry_error *error);
void mask_report_close(mask_report *report);

/* Counts the samples of a batch and writes their pictures: spry_evaluate_options.visit, with the
 * report as context. Every picture is the sample, then what each block computes of it, the
 * rest dark. Fails with SPRY_IO, SPRY_LIMIT. */
SPRY_MUST_USE spry_status mask_report_take(void *report, const spry_evaluate_batch *batch,
                                           spry_error *error);

/* The block that mask `k` belongs to: the name of its output without the last part. Fails with
 * SPRY_LIMIT. */
SPRY_MUST_USE spry_status mask_report_block(const mask_report *report, int32_t k, char *name,
                                            size_t size, spry_error *error);

/* A line per block; or members of an array "masks". */
SPRY_MUST_USE spry_status mask_report_print(const mask_report *report, const cli_call *call,
                                            spry_error *error);
SPRY_MUST_USE spry_status mask_report_json(const mask_report *report, json_writer *json,
                                           spry_error *error);

#endif
