/* Commands and options as data: parsing, --help, man pages and shell completion all come from these
 * tables. A command is one file, cmd_NAME.c, that defines a `cli_command`, and one line in
 * commands.c. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "spry/status.h"

typedef enum cli_kind {
    CLI_FLAG,    /* present or not */
    CLI_INTEGER, /* whole number within [lowest, highest] */
    CLI_NUMBER,  /* decimal number within [lowest, highest] */
    CLI_TEXT,    /* any text */
    CLI_PATH,    /* completed as a file name */
    CLI_CHOICE   /* one of `choices` */
} cli_kind;

typedef struct cli_option {
    const char *name; /* long form without dashes; NULL ends a table */
    char letter;      /* short form, or 0 */
    cli_kind kind;
    const char *value;          /* how the value is written in help: "N", "FILE"; NULL for flags */
    const char *fallback;       /* the default, as the user would write it; NULL: none */
    const char *help;           /* one clause without full stop */
    double lowest, highest;     /* of numbers */
    const char *const *choices; /* of CLI_CHOICE, ended by NULL */
    bool repeats;               /* may be given several times */
} cli_option;

typedef struct cli_call cli_call;

/* A part of a command that another file describes: paragraphs and options under a title. */
typedef struct cli_part {
    const char *title;
    const char *about;         /* NULL: nothing but the options */
    const cli_option *options; /* NULL: none; names differ from those of all other parts */
} cli_part;

typedef struct cli_command {
    const char *name;
    const char *summary;   /* one clause for the list of commands */
    const char *arguments; /* "MODEL" or "A B"; "" when there are none */
    int least_arguments;
    int most_arguments;
    const char *examples[4]; /* complete command lines, at least two; then NULL */
    const char *description; /* paragraphs separated by an empty line */
    const cli_option *options;
    const cli_option *shared;           /* further ones, that several commands have; NULL: none */
    const char *shared_title;           /* what help calls them */
    const cli_part *(*part)(int index); /* NULL beyond the last; itself NULL: there are none */
    /* Does the work. SPRY_OK and SPRY_NEGATIVE are results; any other status is reported with what
     * `error` says. The status is the exit code. */
    spry_status (*run)(const cli_call *call, spry_error *error);
} cli_command;

/* Every command, in the order of the overview; ended by NULL. */
extern const cli_command *const cli_commands[];
const cli_command *cli_find_command(const char *name);

/* Options that every command takes (--json, --quiet, --color, --help...). */
extern const cli_option cli_common_options[];

/* Option `index` of a command: its own, the shared, those of its parts, then the common ones; NULL
 * beyond the end. */
const cli_option *cli_option_at(const cli_command *command, int index);

/* ---- a parsed command line ---- */

enum { CLI_MOST_OPTIONS = 192, CLI_MOST_VALUES = 256 };

struct cli_call {
    const cli_command *command;
    const char *const *arguments; /* positional */
    int argument_count;
    /* Values in the order given, with the index of their option. */
    const char *values[CLI_MOST_VALUES];
    int value_options[CLI_MOST_VALUES];
    int value_count;
    FILE *out; /* results; everything else goes to stderr */
};

/* Parses `count` words after the command's name. Numbers and choices are checked here, so that the
 * getters below cannot fail. Fails with SPRY_USAGE, naming the word and the nearest valid
 * option. */
SPRY_MUST_USE spry_status cli_parse(const cli_command *command, int count, char **words,
                                    cli_call *call, spry_error *error);

/* Adds a value of an option, which must be in the table, as if it had been given: `text` lives as
 * long as the call. Fails with SPRY_USAGE as cli_parse does. */
SPRY_MUST_USE spry_status cli_add(cli_call *call, const char *name, const char *text,
                                  spry_error *error);

/* Was the option given? */
bool cli_given(const cli_call *call, const char *name);
/* The last value given, else the fallback, else NULL / 0. The name must be in the table. */
const char *cli_text(const cli_call *call, const char *name);
int64_t cli_integer(const cli_call *call, const char *name);
double cli_number(const cli_call *call, const char *name);
/* Value number `index` of a repeated option, or NULL beyond the last. */
const char *cli_value(const cli_call *call, const char *name, int index);

/* ---- what is generated from the tables (help.c, manual.c, completion.c) ---- */

void cli_print_overview(FILE *to);
/* Wraps at the width of the terminal behind `to`, at 80 columns elsewhere. */
void cli_print_help(const cli_command *command, FILE *to);
/* command NULL: the page of the program itself. */
void cli_print_manual(const cli_command *command, FILE *to);
/* shell: "bash", "zsh" or "fish". Returns false for another. */
bool cli_print_completion(const char *shell, FILE *to);

/* An option's help with range, choices, default: "number of runs (1 to 100; default 10)". */
void cli_option_describe(const cli_option *option, char *buffer, size_t size);

/* The option or command that `word` was probably meant to be, or NULL (suggest.c). */
const char *cli_nearest_option(const cli_command *command, const char *word);
const char *cli_nearest_command(const char *word);

/* Always SPRY_USAGE. */
spry_status cli_unknown_command(const char *name, spry_error *error);

/* ---- how things are told (report.c, color.c) ---- */

/* Version of the layout of every JSON document, its member "schema". It grows when a member
 * disappears or changes its meaning; new members do not change it. */
enum { CLI_SCHEMA = 1 };

/* Reports a failure on stderr, or as a JSON document on stdout when --json was given:
 * {"schema", "error": {"code", "name", "where", "what", "remedy"}}, code being the exit code. */
void cli_report_error(const cli_call *call, const spry_error *error);

/* Is colour wanted on this stream: --color, NO_COLOR, TERM and whether it is a terminal? */
bool cli_color(const cli_call *call, FILE *stream);

typedef enum cli_look {
    CLI_LOOK_PLAIN, /* ends the others */
    CLI_LOOK_BOLD,
    CLI_LOOK_DIM,
    CLI_LOOK_ERROR,
    CLI_LOOK_WARNING,
    CLI_LOOK_HINT
} cli_look;

/* The terminal's code for a look, or "" without colour. */
const char *cli_style(bool color, cli_look look);

/* Columns to write into: of the terminal, else 80; COLUMNS wins. Between 40 and 100. */
int cli_width(FILE *stream);

#endif
