/* The program: finds the command, parses, runs, and turns the status into the exit code. */
#include <string.h>

#include "cli/command.h"

static int unknown_command(const char *name)
{
    cli_call call = {.out = stdout};
    spry_error error;

    (void)spry_fail(&error, SPRY_USAGE, name, "spry help lists the commands", "unknown command");
    cli_report_error(&call, &error);
    return SPRY_USAGE;
}

static int run_command(const cli_command *command, int count, char **words)
{
    cli_call call;
    spry_error error = {0};
    spry_status status = cli_parse(command, count, words, &call, &error);

    if (status == SPRY_OK && cli_given(&call, "help")) {
        cli_print_help(command, stdout);
        return SPRY_OK;
    }
    if (status == SPRY_OK) {
        status = command->run(&call, &error);
    }
    if (status != SPRY_OK && status != SPRY_NEGATIVE) {
        cli_report_error(&call, &error);
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        (void)spry_fail(&error, SPRY_IO, "standard output", "check the disk or the pipe",
                        "the result could not be written");
        cli_report_error(&call, &error);
        return SPRY_IO;
    }
    return (int)status;
}

int main(int argc, char **argv)
{
    const cli_command *command;
    const char *name = argc > 1 ? argv[1] : "--help";

    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        cli_print_overview(argc > 1 ? stdout : stderr);
        return argc > 1 ? SPRY_OK : SPRY_USAGE;
    }
    name = strcmp(name, "--version") == 0 ? "version" : name;
    command = cli_find_command(name);
    if (command == NULL) {
        return unknown_command(name);
    }
    return run_command(command, argc - 2, argv + 2);
}
