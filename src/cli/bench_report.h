/* What `spry bench` prints: figures for people, tables, or JSON. */
#ifndef CLI_BENCH_REPORT_H
#define CLI_BENCH_REPORT_H

#include "cli/subject.h"
#include "measure/peak.h"
#include "spry/bench.h"

typedef struct bench_report {
    const cli_call *call;
    subject s;
    spry_bench_result result;
    const spry_profile_row *rows; /* of the session */
    int32_t row_count;
    double total_ms;      /* of all rows */
    double profiled_runs; /* that the rows sum up */
    peak machine;         /* what a core can do at most */
    size_t arena_bytes;   /* of the measured session */
    size_t packed_bytes;
} bench_report;

/* Text, Markdown or CSV, as the options say. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status bench_report_text(const bench_report *b, spry_error *error);
/* Fails with SPRY_LIMIT (memory), SPRY_IO (the model cannot be read again). */
SPRY_MUST_USE spry_status bench_report_json(const bench_report *b, spry_error *error);

#endif
