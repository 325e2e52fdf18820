/* Completion for bash, zsh and fish, from the tables. */
#include <string.h>

#include "cli/command.h"

/* Prints `string`, which stands between single quotes, with a backslash before each character of
 * `special`. */
static void print_guarded(FILE *to, const char *string, const char *special)
{
    for (const char *c = string; *c != '\0'; c++) {
        if (strchr(special, *c) != NULL) {
            (void)fputc('\\', to);
        }
        (void)fputc(*c, to);
    }
}

static void print_choices(FILE *to, const cli_option *option)
{
    for (int i = 0; option->choices[i] != NULL; i++) {
        (void)fprintf(to, "%s%s", i > 0 ? " " : "", option->choices[i]);
    }
}

static void print_command_names(FILE *to)
{
    for (const cli_command *const *c = cli_commands; *c != NULL; c++) {
        (void)fprintf(to, "%s%s", c != cli_commands ? " " : "", (*c)->name);
    }
}

/* ---- bash ---- */

/* A pattern for the word before the one being completed. */
static void bash_pattern(FILE *to, const cli_command *command, const cli_option *option)
{
    (void)fprintf(to, "    %s:--%s", command->name, option->name);
    if (option->letter != 0) {
        (void)fprintf(to, " | %s:-%c", command->name, option->letter);
    }
    (void)fputs(")\n", to);
}

static void bash_values(FILE *to, const cli_command *command)
{
    for (int i = 0; cli_option_at(command, i) != NULL; i++) {
        const cli_option *option = cli_option_at(command, i);

        if (option->kind == CLI_FLAG || option->kind == CLI_PATH) {
            continue; /* file names are what the end of the function offers */
        }
        bash_pattern(to, command, option);
        if (option->kind == CLI_CHOICE) {
            (void)fputs("        mapfile -t COMPREPLY < <(compgen -W \"", to);
            print_choices(to, option);
            (void)fputs("\" -- \"$word\")\n", to);
        }
        (void)fputs("        return\n        ;;\n", to);
    }
}

static void print_bash(FILE *to)
{
    (void)fputs("# bash completion for spry\n"
                "_spry()\n"
                "{\n"
                "    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}\n"
                "    local command=${COMP_WORDS[1]} options=\"\" commands=\"",
                to);
    print_command_names(to);
    (void)fputs("\"\n"
                "    COMPREPLY=()\n"
                "    if [ \"$COMP_CWORD\" -eq 1 ] || [[ $command == help && $word != -* ]]; then\n"
                "        mapfile -t COMPREPLY < <(compgen -W \"$commands\" -- \"$word\")\n"
                "        return\n"
                "    fi\n"
                "    case $command:$previous in\n",
                to);
    for (const cli_command *const *c = cli_commands; *c != NULL; c++) {
        bash_values(to, *c);
    }
    (void)fputs("    esac\n    case $command in\n", to);
    for (const cli_command *const *c = cli_commands; *c != NULL; c++) {
        (void)fprintf(to, "    %s) options=\"", (*c)->name);
        for (int i = 0; cli_option_at(*c, i) != NULL; i++) {
            (void)fprintf(to, "%s--%s", i > 0 ? " " : "", cli_option_at(*c, i)->name);
        }
        (void)fputs("\" ;;\n", to);
    }
    (void)fputs("    esac\n"
                "    if [[ $word == -* ]]; then\n"
                "        mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$word\")\n"
                "    else\n"
                "        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
                "    fi\n"
                "}\n"
                "complete -o filenames -F _spry spry\n",
                to);
}

/* ---- zsh ---- */

/* Within single quotes zsh knows no escapes, so an apostrophe ends and restarts them; _arguments
 * and _describe then read backslashes. */
static void zsh_text(FILE *to, const char *string)
{
    for (; *string != '\0'; string++) {
        char c[2] = {*string, '\0'};

        if (*string == '\'') {
            (void)fputs("'\\''", to);
        } else {
            print_guarded(to, c, "[]:\\");
        }
    }
}

static void zsh_option(FILE *to, const cli_option *option)
{
    const char *repeats = option->repeats ? "*" : "";

    if (option->letter != 0 && option->repeats) {
        (void)fprintf(to, " \\\n        '*'{-%c,--%s}'[", option->letter, option->name);
    } else if (option->letter != 0) {
        (void)fprintf(to, " \\\n        '(-%c --%s)'{-%c,--%s}'[", option->letter, option->name,
                      option->letter, option->name);
    } else {
        (void)fprintf(to, " \\\n        '%s--%s[", repeats, option->name);
    }
    zsh_text(to, option->help);
    (void)fputc(']', to);
    if (option->kind != CLI_FLAG) {
        (void)fputc(':', to);
        zsh_text(to, option->value);
        (void)fputc(':', to);
    }
    if (option->kind == CLI_CHOICE) {
        (void)fputc('(', to);
        print_choices(to, option);
        (void)fputc(')', to);
    } else if (option->kind == CLI_PATH) {
        (void)fputs("_files", to);
    }
    (void)fputc('\'', to);
}

static void print_zsh(FILE *to)
{
    (void)fputs("#compdef spry\n"
                "_spry()\n"
                "{\n"
                "    local -a commands\n"
                "    commands=(\n",
                to);
    for (const cli_command *const *c = cli_commands; *c != NULL; c++) {
        (void)fprintf(to, "        '%s:", (*c)->name);
        zsh_text(to, (*c)->summary);
        (void)fputs("'\n", to);
    }
    (void)fputs("    )\n"
                "    if (( CURRENT == 2 )); then\n"
                "        _describe command commands\n"
                "        return\n"
                "    fi\n"
                "    local command=$words[2]\n"
                "    shift words\n"
                "    (( CURRENT-- ))\n"
                "    case $command in\n",
                to);
    for (const cli_command *const *c = cli_commands; *c != NULL; c++) {
        (void)fprintf(to, "    %s)\n        _arguments -s", (*c)->name);
        for (int i = 0; cli_option_at(*c, i) != NULL; i++) {
            zsh_option(to, cli_option_at(*c, i));
        }
        (void)fputs(" \\\n        '*:file:_files'\n        ;;\n", to);
    }
    (void)fputs("    esac\n}\n_spry \"$@\"\n", to);
}

/* ---- fish ---- */

static void fish_option(FILE *to, const cli_command *command, const cli_option *option)
{
    (void)fprintf(to, "complete -c spry -n '__fish_seen_subcommand_from %s' -l %s", command->name,
                  option->name);
    if (option->letter != 0) {
        (void)fprintf(to, " -s %c", option->letter);
    }
    if (option->kind == CLI_CHOICE) {
        (void)fputs(" -x -a '", to);
        print_choices(to, option);
        (void)fputc('\'', to);
    } else if (option->kind == CLI_PATH) {
        (void)fputs(" -r -F", to);
    } else if (option->kind != CLI_FLAG) {
        (void)fputs(" -x", to);
    }
    (void)fputs(" -d '", to);
    print_guarded(to, option->help, "'\\");
    (void)fputs("'\n", to);
}

static void print_fish(FILE *to)
{
    (void)fputs("# fish completion for spry\n", to);
    for (const cli_command *const *c = cli_commands; *c != NULL; c++) {
        (void)fprintf(to, "complete -c spry -n __fish_use_subcommand -f -a %s -d '", (*c)->name);
        print_guarded(to, (*c)->summary, "'\\");
        (void)fputs("'\n", to);
    }
    for (const cli_command *const *c = cli_commands; *c != NULL; c++) {
        for (int i = 0; cli_option_at(*c, i) != NULL; i++) {
            fish_option(to, *c, cli_option_at(*c, i));
        }
    }
}

bool cli_print_completion(const char *shell, FILE *to)
{
    static const struct {
        const char *name;
        void (*print)(FILE *to);
    } shells[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};

    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++) {
        if (strcmp(shells[i].name, shell) == 0) {
            shells[i].print(to);
            return true;
        }
    }
    return false;
}
