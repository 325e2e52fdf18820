/* Documents, records and remarks shared by the commands. */
#include "cli/output.h"

#include <ctype.h>
#include <stdarg.h>
#include <string.h>

#include "base/cgroup.h"
#include "base/cpu.h"
#include "base/files.h"
#include "base/limits.h"
#include "base/sha256.h"
#include "base/threads.h"
#include "kernels/isa.h"

/* ---- remarks ---- */

static void remark(const cli_call *call, cli_look look, const char *kind, const char *format,
                   va_list arguments)
{
    bool color = cli_color(call, stderr);

    (void)fprintf(stderr, "spry: %s%s%s%s", cli_style(color, look), kind,
                  cli_style(color, CLI_LOOK_PLAIN), kind[0] != '\0' ? " " : "");
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
}

void output_note(const cli_call *call, const char *format, ...)
{
    va_list arguments;

    if (cli_given(call, "quiet")) {
        return;
    }
    va_start(arguments, format);
    remark(call, CLI_LOOK_HINT, "note:", format, arguments);
    va_end(arguments);
}

void output_warn(const cli_call *call, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    remark(call, CLI_LOOK_WARNING, "warning:", format, arguments);
    va_end(arguments);
}

void output_detail(const cli_call *call, const char *format, ...)
{
    va_list arguments;

    if (!cli_given(call, "verbose")) {
        return;
    }
    va_start(arguments, format);
    remark(call, CLI_LOOK_DIM, "", format, arguments);
    va_end(arguments);
}

/* ---- documents ---- */

void output_begin(output_document *document, const cli_call *call)
{
    /* Graphs with a row per node reach some megabytes. */
    text_init(&document->body, NULL, (size_t)LIMIT_JSON_BYTES * 16);
    json_writer_init(&document->json, &document->body, 2);
    json_write_object(&document->json, NULL);
    json_write_i64(&document->json, "schema", CLI_SCHEMA);
    json_write_string(&document->json, "command", call->command->name);
}

spry_status output_end(output_document *document, const cli_call *call, spry_error *error)
{
    spry_status status;

    json_write_end(&document->json);
    status = text_status(&document->body, "the JSON document", error);
    if (status == SPRY_OK) {
        (void)fwrite(document->body.data, 1, document->body.length, call->out);
    }
    text_fini(&document->body);
    return status;
}

spry_status output_save(output_document *document, const char *path, spry_error *error)
{
    spry_status status;

    json_write_end(&document->json);
    status = text_status(&document->body, "the JSON document", error);
    if (status == SPRY_OK) {
        status = file_replace(path, document->body.data, document->body.length, error);
    }
    text_fini(&document->body);
    return status;
}

void output_drop(output_document *document)
{
    text_fini(&document->body);
}

output_record output_record_of(const char *model, const spry_session_options *options)
{
    return (output_record){model, options->threads, true, options->seed};
}

spry_status output_write_record(json_writer *json, const output_record *record, spry_error *error)
{
    char hash[SHA256_TEXT_SIZE];

    json_write_object(json, "made_by");
    json_write_string(json, "spry", SPRY_VERSION_TEXT);
    json_write_string(json, "cpu", cpu_brand());
    json_write_string(json, "isa", isa_name(isa_current()));
    json_write_i64(json, "threads", record->threads > 0 ? record->threads : threads_available());
    json_write_i64(json, "cgroup_cpus", cgroup_cpus());
    json_write_u64(json, "cgroup_memory_bytes", cgroup_memory());
    if (record->is_seeded) {
        json_write_u64(json, "seed", record->seed);
    }
    if (record->model != NULL) {
        spry_status status = sha256_file(record->model, hash, error);

        if (status != SPRY_OK) {
            return status;
        }
        json_write_string(json, "model", record->model);
        json_write_string(json, "model_sha256", hash);
    }
    json_write_end(json);
    return SPRY_OK;
}

void output_describe_machine(char *buffer, size_t size, int asked)
{
    int count = asked > 0 ? asked : threads_available();

    (void)snprintf(buffer, size, "spry %s, %s, %s, %d thread%s", SPRY_VERSION_TEXT, cpu_brand(),
                   isa_name(isa_current()), count, count == 1 ? "" : "s");
}

/* ---- files ---- */

spry_status output_check_free(const cli_call *call, const char *path, spry_error *error)
{
    if (cli_given(call, "force") || !file_exists(path)) {
        return SPRY_OK;
    }
    return spry_fail(error, SPRY_USAGE, path, "--force replaces existing files",
                     "exists and would be overwritten");
}

spry_status output_path(char *buffer, size_t size, const char *folder, const char *name,
                        const char *ending, spry_error *error)
{
    size_t start = strlen(folder) + 1;
    int length = snprintf(buffer, size, "%s/%s%s", folder, name, ending);

    if (length < 0 || (size_t)length >= size) {
        return spry_fail(error, SPRY_LIMIT, folder, "choose a shorter folder name",
                         "a path in it would be longer than %zu bytes", size - 1);
    }
    for (size_t i = start; i < start + strlen(name); i++) {
        unsigned char c = (unsigned char)buffer[i];
        bool is_safe = c < 0x80 && (isalnum(c) != 0 || c == '-' || c == '_' || c == '.');

        if (!is_safe || (i == start && c == '.')) {
            buffer[i] = '_';
        }
    }
    return SPRY_OK;
}
