/* Schedules as JSON: what a compiler hands to the hardware, and what a checker reads back.
 *
 *     {"width": 8, "height": 8, "flit_bits": 256, "chunk_flits": 64, "headers": "none",
 *      "hop_cycles": 2, "makespan": 16,
 *      "flows": [{"id", "type": "move" | "reduce", "one", "many": [..], "bytes", "release", "due",
 *                 "links": [[link, depth], ..]}],
 *      "injections": [[flow, start, flits], ..],
 *      "tables": [[start, end, output, inputs], ..]}
 *
 * Links are numbered as in tree.h, flows by their place; a table's line is one of metro_entry. */
#ifndef SIMULATE_METRO_SCHEDULE_FILE_H
#define SIMULATE_METRO_SCHEDULE_FILE_H

#include "base/json.h"
#include "simulate/metro/replay.h"

extern const char *const metro_headers_names[]; /* "none", "chunk", "packet", NULL */

/* Members of the current object. */
void metro_schedule_write(const metro_schedule *s, const metro_program *p, json_writer *json);

/* What was written. All three are to be given back in any case: metro_flows_fini (after the
 * schedule), metro_schedule_fini, metro_program_fini. Checks that links of a flow are a tree to all
 * its ends and that chunks make up their flows; metro_replay then checks the rest. Fails with
 * SPRY_BAD_INPUT (naming file and member), SPRY_LIMIT. */
SPRY_MUST_USE spry_status metro_schedule_read(const json_node *from, metro_flows *flows,
                                              metro_schedule *s, metro_program *p,
                                              spry_error *error);

#endif
