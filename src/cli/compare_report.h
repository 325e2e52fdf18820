/* How spry compare tells what it found. */
#ifndef CLI_COMPARE_REPORT_H
#define CLI_COMPARE_REPORT_H

#include "base/arena.h"
#include "cli/command.h"
#include "spry/compare.h"
#include "spry/session.h"

typedef struct compare_told {
    const cli_call *call;
    arena *memory;
    const char *path; /* of the first model */
    const spry_session_options *options;
    const spry_model *layers; /* A, with --layers */
    int64_t runs;
} compare_told;

/* Rows as spry_comparison_rows gives them; the last `results` are outputs, those before layers.
 * Fail with SPRY_LIMIT (memory), SPRY_IO. */
SPRY_MUST_USE spry_status compare_print_text(const compare_told *c, const spry_difference *rows,
                                             int32_t count, spry_error *error);
SPRY_MUST_USE spry_status compare_print_json(const compare_told *c, const spry_difference *rows,
                                             int32_t count, int32_t results, spry_error *error);

#endif
