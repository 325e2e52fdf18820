/* --help and the overview, from the tables. */
#include <string.h>

#include "base/text.h"
#include "cli/command.h"

enum { OPTION_COLUMN = 28 };

/* Columns that a UTF-8 word takes (no wide characters occur in the tables). */
static int columns_of(const char *word, size_t length)
{
    int columns = 0;

    for (size_t i = 0; i < length; i++) {
        columns += ((unsigned char)word[i] & 0xc0) != 0x80;
    }
    return columns;
}

/* Prints words from column `at` on, breaking lines before `width` and starting them at `indent`. An
 * empty line in the text stays one. */
static void print_wrapped(FILE *to, const char *string, int at, int indent, int width)
{
    bool first = true;

    while (*string != '\0') {
        size_t length = strcspn(string, " \n");
        int columns = columns_of(string, length);

        if (!first && at + 1 + columns > width) {
            (void)fprintf(to, "\n%*s", indent, "");
            at = indent;
            first = true;
        }
        (void)fprintf(to, "%s%.*s", first ? "" : " ", (int)length, string);
        at += columns + !first;
        first = false;
        string += length;
        if (strncmp(string, "\n\n", 2) == 0) {
            (void)fprintf(to, "\n\n%*s", indent, "");
            at = indent;
            first = true;
        }
        string += strspn(string, " \n");
    }
    (void)fputc('\n', to);
}

/* Appends "low to high", or "at least low" where nobody comes near the upper bound. */
static void append_range(text *t, const cli_option *option)
{
    if (option->highest >= 1e9) {
        text_append_format(t, "at least %.10g", option->lowest);
    } else {
        text_append_format(t, "%.10g to %.10g", option->lowest, option->highest);
    }
}

static void append_note(text *t, bool *open, const char *separator)
{
    text_append_string(t, *open ? separator : " (");
    *open = true;
}

void cli_option_describe(const cli_option *option, char *buffer, size_t size)
{
    text t;
    bool open = false;

    text_init_fixed(&t, buffer, size);
    text_append_string(&t, option->help);
    if (option->kind == CLI_INTEGER || option->kind == CLI_NUMBER) {
        append_note(&t, &open, "; ");
        append_range(&t, option);
    }
    if (option->kind == CLI_CHOICE) {
        append_note(&t, &open, "; ");
        for (int i = 0; option->choices[i] != NULL; i++) {
            text_append_format(&t, "%s%s", i > 0 ? ", " : "", option->choices[i]);
        }
    }
    if (option->fallback != NULL) {
        append_note(&t, &open, "; ");
        text_append_format(&t, "default %s", option->fallback);
    }
    if (option->repeats) {
        append_note(&t, &open, "; ");
        text_append_string(&t, "may be repeated");
    }
    if (open) {
        text_append_char(&t, ')');
    }
}

static void print_option(const cli_option *option, FILE *to, int width)
{
    char head[128];
    char body[1024];
    char letter[8] = "    ";
    int length;

    if (option->letter != 0) {
        (void)snprintf(letter, sizeof letter, "-%c, ", option->letter);
    }
    length = snprintf(head, sizeof head, "  %s--%s%s%s", letter, option->name,
                      option->value != NULL ? " " : "", option->value != NULL ? option->value : "");
    (void)fputs(head, to);
    if (length + 2 > OPTION_COLUMN) {
        (void)fprintf(to, "\n%*s", OPTION_COLUMN, "");
    } else {
        (void)fprintf(to, "%*s", OPTION_COLUMN - length, "");
    }
    cli_option_describe(option, body, sizeof body);
    print_wrapped(to, body, OPTION_COLUMN, OPTION_COLUMN, width);
}

static void print_options(const char *title, const cli_option *options, FILE *to, int width)
{
    (void)fprintf(to, "\n%s:\n", title);
    for (const cli_option *o = options; o->name != NULL; o++) {
        print_option(o, to, width);
    }
}

static void print_part(const cli_part *part, FILE *to, int width)
{
    (void)fprintf(to, "\n%s:\n", part->title);
    if (part->about != NULL) {
        (void)fputs("  ", to);
        print_wrapped(to, part->about, 2, 2, width);
    }
    for (const cli_option *o = part->options; o != NULL && o->name != NULL; o++) {
        print_option(o, to, width);
    }
}

void cli_print_help(const cli_command *command, FILE *to)
{
    int width = cli_width(to);

    (void)fprintf(to, "Examples:\n");
    for (int i = 0; command->examples[i] != NULL; i++) {
        (void)fprintf(to, "  %s\n", command->examples[i]);
    }
    (void)fprintf(to, "\nUsage: spry %s [OPTIONS]%s%s\n\n", command->name,
                  command->arguments[0] != '\0' ? " " : "", command->arguments);
    print_wrapped(to, command->description, 0, 0, width);
    if (command->options != NULL) {
        print_options("Options", command->options, to, width);
    }
    if (command->shared != NULL) {
        print_options(command->shared_title, command->shared, to, width);
    }
    for (int i = 0; command->part != NULL && command->part(i) != NULL; i++) {
        print_part(command->part(i), to, width);
    }
    print_options("Options of every command", cli_common_options, to, width);
}

void cli_print_overview(FILE *to)
{
    int width = cli_width(to);

    (void)fprintf(to, "Examples:\n"
                      "  spry run model.onnx -i image=cat.jpg --preprocess imagenet -o out\n"
                      "  spry bench model.onnx --threads 1\n"
                      "\n"
                      "Usage: spry COMMAND [OPTIONS] [ARGUMENTS]\n"
                      "\n"
                      "Runs and shrinks trained neural networks.\n"
                      "\n"
                      "Commands:\n");
    for (const cli_command *const *c = cli_commands; *c != NULL; c++) {
        (void)fprintf(to, "  %-12s", (*c)->name);
        print_wrapped(to, (*c)->summary, 14, 14, width);
    }
    (void)fprintf(to, "\nspry help COMMAND explains one command.\n");
}
