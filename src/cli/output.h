/* What results look like: one JSON document with the record needed to repeat them, or text; and
 * what is said beside them. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include "base/json.h"
#include "cli/command.h"
#include "spry/session.h"

/* ---- remarks, on stderr ---- */

/* "spry: note: ...", unless --quiet: what the user should know to understand the result. */
void output_note(const cli_call *call, const char *format, ...) SPRY_PRINTF(2, 3);
/* "spry: warning: ...", always: why the result may be wrong or misleading. */
void output_warn(const cli_call *call, const char *format, ...) SPRY_PRINTF(2, 3);
/* "spry: ...", with --verbose only. */
void output_detail(const cli_call *call, const char *format, ...) SPRY_PRINTF(2, 3);

/* ---- a JSON document ---- */

typedef struct output_document {
    text body;
    json_writer json;
} output_document;

/* Starts {"schema": 1, "command": NAME, ... */
void output_begin(output_document *document, const cli_call *call);
/* Ends the document and prints it, so that nothing is printed where something fails before.
 * Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status output_end(output_document *document, const cli_call *call,
                                     spry_error *error);
/* Ends the document and writes it to a file, as a whole or not at all. Fails with SPRY_IO,
 * SPRY_LIMIT. */
SPRY_MUST_USE spry_status output_save(output_document *document, const char *path,
                                      spry_error *error);
/* Instead of both, where something failed. */
void output_drop(output_document *document);

/* What is needed to repeat a result. */
typedef struct output_record {
    const char *model; /* path; NULL where there is none */
    int threads;       /* as asked for; 0: all that the process may use */
    bool is_seeded;
    uint64_t seed;
} output_record;

/* What repeats a run of a model with these options. */
output_record output_record_of(const char *model, const spry_session_options *options);

/* The member "made_by": versions, processor, instruction set, threads and limits, the model's hash,
 * the seed. Fails with SPRY_IO (the model cannot be read again). */
SPRY_MUST_USE spry_status output_write_record(json_writer *json, const output_record *record,
                                              spry_error *error);

/* The same in one line, for text: "spry 0.1.0, AMD EPYC 9655, avx512vnni, 2 threads". `asked` as
 * output_record.threads. */
void output_describe_machine(char *buffer, size_t size, int asked);

/* ---- files ---- */

/* Fails with SPRY_USAGE when `path` exists and --force was not given. The command must have the
 * option. */
SPRY_MUST_USE spry_status output_check_free(const cli_call *call, const char *path,
                                            spry_error *error);
/* folder/name.ending with everything in `name` but letters, digits, '-', '_', '.' replaced by '_',
 * so that no name leads out of the folder. Fails with SPRY_LIMIT (too long). */
SPRY_MUST_USE spry_status output_path(char *buffer, size_t size, const char *folder,
                                      const char *name, const char *ending, spry_error *error);

#endif
