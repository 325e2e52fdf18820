/* How a failure is told: one line and a remedy on stderr, or a JSON document on stdout. */
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "cli/command.h"

static void report_json(FILE *to, const spry_error *error)
{
    text body;
    json_writer writer;

    text_init(&body, NULL, LIMIT_JSON_BYTES);
    json_writer_init(&writer, &body, 2);
    json_write_object(&writer, NULL);
    json_write_i64(&writer, "schema", CLI_SCHEMA);
    json_write_object(&writer, "error");
    json_write_i64(&writer, "code", (int64_t)error->code);
    json_write_string(&writer, "name", spry_status_name(error->code));
    json_write_string(&writer, "where", error->where);
    json_write_string(&writer, "what", error->what);
    json_write_string(&writer, "remedy", error->remedy);
    json_write_end(&writer);
    json_write_end(&writer);
    (void)fputs(body.data, to);
    text_fini(&body);
}

/* Control characters of a file's content or name must not reach the terminal. */
static void print_safely(FILE *to, const char *string)
{
    for (const unsigned char *c = (const unsigned char *)string; *c != '\0'; c++) {
        (void)fputc(*c < 0x20 || *c == 0x7f ? '?' : *c, to);
    }
}

static void report_line(FILE *to, bool color, const spry_error *error)
{
    const char *plain = cli_style(color, CLI_LOOK_PLAIN);

    (void)fprintf(to, "spry: %serror:%s ", cli_style(color, CLI_LOOK_ERROR), plain);
    if (error->where[0] != '\0') {
        (void)fputs(cli_style(color, CLI_LOOK_BOLD), to);
        print_safely(to, error->where);
        (void)fprintf(to, "%s: ", plain);
    }
    print_safely(to, error->what);
    (void)fputc('\n', to);
    if (error->remedy[0] != '\0') {
        (void)fprintf(to, "spry: %shint:%s ", cli_style(color, CLI_LOOK_HINT), plain);
        print_safely(to, error->remedy);
        (void)fputc('\n', to);
    }
}

void cli_report_error(const cli_call *call, const spry_error *error)
{
    (void)fflush(stdout);
    if (cli_given(call, "json") && ferror(stdout) == 0) {
        report_json(stdout, error);
    } else {
        report_line(stderr, cli_color(call, stderr), error);
    }
}
