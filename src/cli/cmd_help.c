/* spry help: the overview, a command's help, manual pages and shell completion. */
#include "cli/commands.h"

static const char *const shells[] = {"bash", "zsh", "fish", NULL};

static const cli_option options[] = {
    {.name = "man", .kind = CLI_FLAG, .help = "print the manual page, for man -l -"},
    {.name = "completion",
     .kind = CLI_CHOICE,
     .value = "SHELL",
     .choices = shells,
     .help = "print the completion script of a shell"},
    {0},
};

static spry_status run(const cli_call *call, spry_error *error)
{
    const cli_command *command = NULL;

    if (call->argument_count == 1) {
        command = cli_find_command(call->arguments[0]);
        if (command == NULL) {
            return cli_unknown_command(call->arguments[0], error);
        }
    }
    if (cli_given(call, "completion")) {
        (void)cli_print_completion(cli_text(call, "completion"), call->out);
    } else if (cli_given(call, "man")) {
        cli_print_manual(command, call->out);
    } else if (command != NULL) {
        cli_print_help(command, call->out);
    } else {
        cli_print_overview(call->out);
    }
    return SPRY_OK;
}

const cli_command cmd_help = {
    .name = "help",
    .summary = "explain a command; print manual pages and shell completion",
    .arguments = "[COMMAND]",
    .most_arguments = 1,
    .examples = {"spry help run", "spry help --man run | man -l -",
                 "spry help --completion bash > ~/.local/share/bash-completion/completions/spry"},
    .description = "Without a command, lists all commands.",
    .options = options,
    .run = run,
};
