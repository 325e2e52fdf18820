/* How a report (simulate/report/report.h) is told, the same for every model. */
#ifndef CLI_SIMULATE_TELL_H
#define CLI_SIMULATE_TELL_H

#include "cli/command.h"
#include "cli/output.h"
#include "simulate/report/report.h"
#include "tune/target.h"

extern const char simulate_page_css[]; /* web/simulate/page.css, embedded by the build */

/* A report of what the call simulates, with a timeline where --trace or --html asks for one. To be
 * given to report_fini in any case. */
void simulate_report(report *r, const cli_call *call, const char *title);

/* Writes the files that were asked for (--csv, --html, --trace), then prints the report: as text,
 * or with --json as a document with the resolved target (NULL: there is none) and `record`. Fails
 * with SPRY_USAGE (--csv without a table), SPRY_IO, SPRY_LIMIT. */
SPRY_MUST_USE spry_status simulate_tell(const cli_call *call, const report *r, const target *t,
                                        const output_record *record, spry_error *error);

/* Seconds that this process has computed: how fast a simulation is, whatever else runs. */
double simulate_seconds(void);

/* The page (page.c). Fails with SPRY_IO, SPRY_LIMIT. */
SPRY_MUST_USE spry_status simulate_page(const cli_call *call, const report *r, const target *t,
                                        const char *path, spry_error *error);

/* ---- its pictures (page_draw.c) ---- */

void simulate_draw_chart(text *to, const report_chart *chart);
void simulate_draw_heat(text *to, const report_heat_map *map);
/* Rows of the busiest tracks, time from left to right. Fails with SPRY_LIMIT. */
SPRY_MUST_USE spry_status simulate_draw_timeline(text *to, const timeline *t, spry_error *error);

#endif
