/* Manual pages in man(7) form, from the tables. No date: equal programs print equal pages. */
#include <ctype.h>
#include <string.h>

#include "cli/command.h"

typedef struct meaning {
    const char *name;
    const char *text;
} meaning;

static const meaning exit_codes[] = {
    {"0", "done"},
    {"1", "done, and the answer is no: a comparison failed, a threshold was missed"},
    {"2", "wrong usage"},
    {"3", "an input file is malformed"},
    {"4", "well-formed, but not supported"},
    {"5", "a limit was reached, or memory ran out"},
    {"6", "the operating system or the network refused"},
    {"7", "a verification failed"},
    {"8", "a defect in spry"},
    {"128+n", "ended by signal n"},
};

static const meaning variables[] = {
    {"SPRY_ISA", "instruction-set level that kernels may use: generic, avx2, avx512, avx512vnni, "
                 "amx or neon; the machine's best when not set"},
    {"NO_COLOR", "no colour when set and not empty"},
    {"COLUMNS", "width of help texts"},
};

/* Prints text so that roff takes nothing in it for a request or an escape. */
static void print_escaped(FILE *to, const char *string)
{
    bool at_start = true;

    for (const char *c = string; *c != '\0'; c++) {
        if (at_start && (*c == '.' || *c == '\'')) {
            (void)fputs("\\&", to);
        }
        at_start = *c == '\n';
        switch (*c) {
        case '\\': (void)fputs("\\e", to); break;
        case '-': (void)fputs("\\-", to); break;
        case '\'': (void)fputs("\\(aq", to); break;
        case '`': (void)fputs("\\(ga", to); break;
        case '^': (void)fputs("\\(ha", to); break;
        case '~': (void)fputs("\\(ti", to); break;
        default: (void)fputc(*c, to); break;
        }
    }
}

static void print_line(FILE *to, const char *string)
{
    print_escaped(to, string);
    (void)fputc('\n', to);
}

/* Paragraphs separated by empty lines. */
static void print_paragraphs(FILE *to, const char *string)
{
    const char *end;

    while ((end = strstr(string, "\n\n")) != NULL) {
        char paragraph[2048];

        (void)snprintf(paragraph, sizeof paragraph, "%.*s", (int)(end - string), string);
        print_line(to, paragraph);
        (void)fputs(".PP\n", to);
        string = end + 2;
    }
    print_line(to, string);
}

static void print_title(FILE *to, const char *name)
{
    (void)fputs(".TH \"SPRY", to);
    if (name != NULL) {
        (void)fputs("\\-", to);
        for (const char *c = name; *c != '\0'; c++) {
            (void)fputc(toupper((unsigned char)*c), to);
        }
    }
    (void)fprintf(to, "\" \"1\" \"\" \"spry %s\" \"Spry\"\n.nh\n", SPRY_VERSION_TEXT);
}

static void print_option(FILE *to, const cli_option *option)
{
    char body[1024];

    (void)fputs(".TP\n\\fB", to);
    if (option->letter != 0) {
        (void)fprintf(to, "\\-%c\\fR, \\fB", option->letter);
    }
    (void)fputs("\\-\\-", to);
    print_escaped(to, option->name);
    (void)fputs("\\fR", to);
    if (option->value != NULL) {
        (void)fputs(" \\fI", to);
        print_escaped(to, option->value);
        (void)fputs("\\fR", to);
    }
    (void)fputc('\n', to);
    cli_option_describe(option, body, sizeof body);
    print_line(to, body);
}

static void print_meanings(FILE *to, const char *title, const meaning *meanings, size_t count)
{
    (void)fprintf(to, ".SH \"%s\"\n", title);
    for (size_t i = 0; i < count; i++) {
        (void)fprintf(to, ".TP\n\\fB%s\\fR\n", meanings[i].name);
        print_line(to, meanings[i].text);
    }
}

static void print_common(FILE *to)
{
    print_meanings(to, "EXIT STATUS", exit_codes, sizeof exit_codes / sizeof *exit_codes);
    print_meanings(to, "ENVIRONMENT", variables, sizeof variables / sizeof *variables);
    (void)fputs(".SH \"SEE ALSO\"\n", to);
}

static void print_program(FILE *to)
{
    print_title(to, NULL);
    (void)fputs(".SH NAME\nspry \\- run and shrink trained neural networks\n"
                ".SH SYNOPSIS\n\\fBspry\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR] "
                "[\\fIARGUMENTS\\fR]\n.SH DESCRIPTION\n"
                "Results go to standard output, everything else to standard error.\n"
                "Files are replaced as a whole, and existing ones only with \\fB\\-\\-force\\fR.\n"
                "\\fB\\-\\-\\fR ends the options.\n.SH COMMANDS\n",
                to);
    for (const cli_command *const *c = cli_commands; *c != NULL; c++) {
        (void)fprintf(to, ".TP\n\\fBspry\\-%s\\fR(1)\n", (*c)->name);
        print_line(to, (*c)->summary);
    }
    (void)fputs(".SH \"OPTIONS OF EVERY COMMAND\"\n", to);
    for (const cli_option *o = cli_common_options; o->name != NULL; o++) {
        print_option(to, o);
    }
    print_common(to);
    for (const cli_command *const *c = cli_commands; *c != NULL; c++) {
        (void)fprintf(to, "\\fBspry\\-%s\\fR(1)%s\n", (*c)->name, c[1] != NULL ? "," : "");
    }
}

void cli_print_manual(const cli_command *command, FILE *to)
{
    if (command == NULL) {
        print_program(to);
        return;
    }
    print_title(to, command->name);
    (void)fprintf(to, ".SH NAME\nspry\\-%s \\- ", command->name);
    print_line(to, command->summary);
    (void)fprintf(to, ".SH SYNOPSIS\n\\fBspry %s\\fR [\\fIOPTIONS\\fR]", command->name);
    if (command->arguments[0] != '\0') {
        (void)fputs(" \\fI", to);
        print_escaped(to, command->arguments);
        (void)fputs("\\fR", to);
    }
    (void)fputs("\n.SH DESCRIPTION\n", to);
    print_paragraphs(to, command->description);
    for (int i = 0; command->part != NULL && command->part(i) != NULL; i++) {
        (void)fputs(".TP\n\\fB", to);
        print_escaped(to, command->part(i)->title);
        (void)fputs("\\fR\n", to);
        print_paragraphs(to, command->part(i)->about != NULL ? command->part(i)->about : "");
    }
    (void)fputs(".SH EXAMPLES\n.nf\n", to);
    for (int i = 0; command->examples[i] != NULL; i++) {
        print_line(to, command->examples[i]);
    }
    (void)fputs(".fi\n.SH OPTIONS\n", to);
    for (int i = 0; cli_option_at(command, i) != NULL; i++) {
        print_option(to, cli_option_at(command, i));
    }
    print_common(to);
    (void)fputs("\\fBspry\\fR(1)\n", to);
}
