/* From words to a checked cli_call. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"

/* The one at `*index` of a table, or NULL with `*index` less those that it has. */
static const cli_option *option_in(const cli_option *table, int *index)
{
    for (const cli_option *o = table; o != NULL && o->name != NULL; o++) {
        if ((*index)-- == 0) {
            return o;
        }
    }
    return NULL;
}

const cli_option *cli_option_at(const cli_command *command, int index)
{
    const cli_option *found = NULL;

    if (command != NULL) {
        found = option_in(command->options, &index);
        found = found != NULL ? found : option_in(command->shared, &index);
        for (int i = 0; found == NULL && command->part != NULL && command->part(i) != NULL; i++) {
            found = option_in(command->part(i)->options, &index);
        }
    }
    return found != NULL ? found : option_in(cli_common_options, &index);
}

static spry_status unknown_option(const cli_command *command, const char *word, spry_error *error)
{
    char name[64] = "";
    const char *nearest;
    char remedy[128];

    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(word + strspn(word, "-"), "="),
                   word + strspn(word, "-"));
    nearest = cli_nearest_option(command, name);
    if (nearest != NULL) {
        (void)snprintf(remedy, sizeof remedy, "did you mean --%s?", nearest);
    } else {
        (void)snprintf(remedy, sizeof remedy, "see: spry %s --help", command->name);
    }
    return spry_fail(error, SPRY_USAGE, word, remedy, "unknown option");
}

/* ---- values ---- */

static bool parse_number(const char *text, bool whole, double *number)
{
    char *end = NULL;

    errno = 0;
    *number = whole ? (double)strtoll(text, &end, 10) : strtod(text, &end);
    return errno == 0 && end != text && *end == '\0';
}

static spry_status check_choice(const cli_option *option, const char *text, spry_error *error)
{
    char list[256] = "choose one of ";
    size_t used = strlen(list);

    for (int i = 0; option->choices[i] != NULL; i++) {
        int written;

        if (strcmp(option->choices[i], text) == 0) {
            return SPRY_OK;
        }
        written = snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "",
                           option->choices[i]);
        used = written > 0 && used + (size_t)written < sizeof list ? used + (size_t)written : used;
    }
    return spry_fail(error, SPRY_USAGE, NULL, list, "--%s cannot be '%s'", option->name, text);
}

static spry_status check_value(const cli_option *option, const char *text, spry_error *error)
{
    bool whole = option->kind == CLI_INTEGER;
    double number;

    if (option->kind == CLI_CHOICE) {
        return check_choice(option, text, error);
    }
    if (option->kind != CLI_INTEGER && option->kind != CLI_NUMBER) {
        return SPRY_OK;
    }
    /* The comparison is written so that NaN is refused. */
    if (!parse_number(text, whole, &number) ||
        !(number >= option->lowest && number <= option->highest)) {
        return spry_fail(error, SPRY_USAGE, NULL, NULL,
                         "--%s takes a %s from %.10g to %.10g, not '%s'", option->name,
                         whole ? "whole number" : "number", option->lowest, option->highest, text);
    }
    return SPRY_OK;
}

static spry_status add_value(cli_call *call, int index, const char *text, spry_error *error)
{
    const cli_option *option = cli_option_at(call->command, index);
    spry_status status = option->kind == CLI_FLAG ? SPRY_OK : check_value(option, text, error);

    if (status != SPRY_OK) {
        return status;
    }
    if (call->value_count == CLI_MOST_VALUES) {
        return spry_fail(error, SPRY_USAGE, option->name, NULL, "more than %d options",
                         CLI_MOST_VALUES);
    }
    call->values[call->value_count] = option->kind == CLI_FLAG ? "" : text;
    call->value_options[call->value_count++] = index;
    return SPRY_OK;
}

/* ---- the command line ---- */

/* getopt's tables for the command. Long options return their index + 256. Returns the number. */
static int fill_tables(const cli_command *command, struct option *longs, char *letters)
{
    int count = 0;
    size_t used = 0;

    letters[used++] = ':'; /* a missing value is told apart from an unknown option */
    for (; count < CLI_MOST_OPTIONS && cli_option_at(command, count) != NULL; count++) {
        const cli_option *option = cli_option_at(command, count);

        longs[count] = (struct option){option->name, option->kind != CLI_FLAG, NULL, 256 + count};
        if (option->letter != 0) {
            letters[used++] = option->letter;
            if (option->kind != CLI_FLAG) {
                letters[used++] = ':';
            }
        }
    }
    longs[count] = (struct option){NULL, 0, NULL, 0};
    letters[used] = '\0';
    return count;
}

static int index_of_letter(const cli_command *command, int letter)
{
    for (int i = 0; cli_option_at(command, i) != NULL; i++) {
        if (cli_option_at(command, i)->letter == letter) {
            return i;
        }
    }
    return -1;
}

static int index_of_name(const cli_call *call, const char *name)
{
    for (int i = 0; cli_option_at(call->command, i) != NULL; i++) {
        if (strcmp(cli_option_at(call->command, i)->name, name) == 0) {
            return i;
        }
    }
    return -1;
}

static spry_status check_arguments(const cli_call *call, spry_error *error)
{
    const cli_command *command = call->command;
    char remedy[128];

    (void)snprintf(remedy, sizeof remedy, "usage: spry %s [OPTIONS] %s", command->name,
                   command->arguments);
    if (cli_given(call, "help") || (call->argument_count >= command->least_arguments &&
                                    call->argument_count <= command->most_arguments)) {
        return SPRY_OK;
    }
    if (call->argument_count < command->least_arguments) {
        return spry_fail(error, SPRY_USAGE, command->name, remedy, "%s is missing",
                         command->arguments);
    }
    return spry_fail(error, SPRY_USAGE, call->arguments[command->most_arguments], remedy,
                     "one argument too many");
}

/* What getopt's complaint about an option means. */
static spry_status refuse_option(const cli_command *command, int found, const char *word,
                                 spry_error *error)
{
    char letter[3] = {'-', 0, 0};

    if (optopt > 0 && optopt < 256) {
        letter[1] = (char)optopt;
        word = letter; /* one of several letters behind one dash */
    }
    if (found == ':') {
        return spry_fail(error, SPRY_USAGE, word, NULL, "a value is missing after it");
    }
    if (optopt >= 256) {
        return spry_fail(error, SPRY_USAGE, word, NULL, "this option takes no value");
    }
    return unknown_option(command, word, error);
}

static spry_status parse_words(int count, char **words, cli_call *call, spry_error *error)
{
    struct option longs[CLI_MOST_OPTIONS + 1];
    char letters[2 * CLI_MOST_OPTIONS + 2];
    int found;

    (void)fill_tables(call->command, longs, letters);
    /* words[-1] is the command's name, which getopt takes for the program's. */
    optind = 0;
    opterr = 0;
    while ((found = getopt_long(count + 1, words - 1, letters, longs, NULL)) != -1) {
        const char *word = words[-1 + (optind > 1 ? optind - 1 : 1)];
        int index = found >= 256 ? found - 256 : index_of_letter(call->command, found);
        spry_status status;

        if (found == ':' || found == '?' || index < 0) {
            return refuse_option(call->command, found, word, error);
        }
        status = add_value(call, index, optarg, error);
        if (status != SPRY_OK) {
            return status;
        }
    }
    call->arguments = (const char *const *)(words - 1 + optind);
    call->argument_count = count + 1 - optind;
    return check_arguments(call, error);
}

/* A program that reads JSON wants the complaint about its options as JSON, too. */
static void look_for_json(int count, char **words, cli_call *call)
{
    for (int i = 0; i < count && strcmp(words[i], "--") != 0; i++) {
        if (strcmp(words[i], "--json") == 0 && call->value_count < CLI_MOST_VALUES) {
            call->values[call->value_count] = "";
            call->value_options[call->value_count++] = index_of_name(call, "json");
            return;
        }
    }
}

spry_status cli_parse(const cli_command *command, int count, char **words, cli_call *call,
                      spry_error *error)
{
    spry_status status;

    *call = (cli_call){.command = command, .out = stdout};
    status = parse_words(count, words, call, error);
    if (status != SPRY_OK) {
        look_for_json(count, words, call);
    }
    return status;
}

spry_status cli_add(cli_call *call, const char *name, const char *text, spry_error *error)
{
    return add_value(call, index_of_name(call, name), text, error);
}

/* ---- getters ---- */

bool cli_given(const cli_call *call, const char *name)
{
    return cli_value(call, name, 0) != NULL;
}

const char *cli_value(const cli_call *call, const char *name, int index)
{
    int option = index_of_name(call, name);

    for (int i = 0; i < call->value_count; i++) {
        if (call->value_options[i] == option && index-- == 0) {
            return call->values[i];
        }
    }
    return NULL;
}

const char *cli_text(const cli_call *call, const char *name)
{
    int option = index_of_name(call, name);

    for (int i = call->value_count - 1; i >= 0; i--) {
        if (call->value_options[i] == option) {
            return call->values[i];
        }
    }
    return option >= 0 ? cli_option_at(call->command, option)->fallback : NULL;
}

int64_t cli_integer(const cli_call *call, const char *name)
{
    const char *text = cli_text(call, name);

    return text != NULL ? strtoll(text, NULL, 10) : 0;
}

double cli_number(const cli_call *call, const char *name)
{
    const char *text = cli_text(call, name);

    return text != NULL ? strtod(text, NULL) : 0.0;
}
