/* What spry report says on the terminal, or as JSON. */
#ifndef CLI_REPORT_PRINT_H
#define CLI_REPORT_PRINT_H

#include "cli/report/page.h"
#include "cli/subject.h"

/* A few lines: what to know first. */
void report_print_text(const cli_call *call, const report_page *p);
/* Everything. Fails with SPRY_LIMIT (memory), SPRY_IO (the model cannot be read again). */
SPRY_MUST_USE spry_status report_print_json(const cli_call *call, const subject *s,
                                            const report_page *p, spry_error *error);

#endif
