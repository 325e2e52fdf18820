/* What spry quantize tells at its end: layers, sizes, speed and accuracy before and after. */
#ifndef CLI_QUANTIZE_REPORT_H
#define CLI_QUANTIZE_REPORT_H

#include <stdbool.h>

#include "cli/command.h"
#include "spry/mixed.h"
#include "spry/quantize.h"
#include "spry/sensitivity.h"

/* One side of the comparison. */
typedef struct quantize_side {
    int64_t bytes;    /* of the file */
    double median_ms; /* of one run; 0 when not measured */
    double top1;      /* -1 when not measured */
} quantize_side;

typedef struct quantize_result {
    const char *source; /* paths */
    const char *output;
    const spry_quantize_options *options;
    const spry_quantization *facts;
    const spry_mixed *mixed;             /* NULL: bits were not searched for */
    const spry_sensitivity *sensitivity; /* NULL: not measured */
    quantize_side before, after;
    double speed_up; /* median of the ratios of neighbouring turns; 0 when not measured */
    double seconds;  /* of quantizing itself */
    bool is_slower, is_worse;
} quantize_result;

SPRY_MUST_USE spry_status quantize_report_text(const cli_call *call, const quantize_result *r,
                                               spry_error *error);
SPRY_MUST_USE spry_status quantize_report_json(const cli_call *call, const quantize_result *r,
                                               spry_error *error);
/* The same as a page. Fails with SPRY_IO, SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status quantize_report_html(const quantize_result *r, const char *path,
                                               spry_error *error);
/* The JSON document into a file. */
SPRY_MUST_USE spry_status quantize_report_file(const cli_call *call, const quantize_result *r,
                                               const char *path, spry_error *error);

#endif
