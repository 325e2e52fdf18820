/* The program: finds the command, parses, runs, and turns the status into the exit code. */
#include <signal.h>
#include <string.h>

#include "cli/command.h"

spry_status cli_unknown_command(const char *name, spry_error *error)
{
    const char *nearest = cli_nearest_command(name);
    char remedy[128] = "spry help lists the commands";

    if (nearest != NULL) {
        (void)snprintf(remedy, sizeof remedy, "did you mean spry %s?", nearest);
    }
    return spry_fail(error, SPRY_USAGE, name, remedy, "unknown command");
}

static spry_status run_command(const cli_command *command, int count, char **words, cli_call *call,
                               spry_error *error)
{
    spry_status status = cli_parse(command, count, words, call, error);

    if (status == SPRY_OK && cli_given(call, "help")) {
        cli_print_help(command, stdout);
        return SPRY_OK;
    }
    return status == SPRY_OK ? command->run(call, error) : status;
}

static spry_status run_words(int count, char **words, cli_call *call, spry_error *error)
{
    const char *name = count > 0 ? words[0] : "--help";
    const cli_command *command;

    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        cli_print_overview(count > 0 ? stdout : stderr);
        return count > 0 ? SPRY_OK
                         : spry_fail(error, SPRY_USAGE, NULL, NULL, "a command is missing");
    }
    name = strcmp(name, "--version") == 0 ? "version" : name;
    command = cli_find_command(name);
    if (command == NULL) {
        return cli_unknown_command(name, error);
    }
    return run_command(command, count - 1, words + 1, call, error);
}

int main(int argc, char **argv)
{
    static cli_call call; /* some KiB */
    spry_error error = {0};
    spry_status status;

    (void)signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is an error of that write */
    call = (cli_call){.out = stdout};
    status = run_words(argc - 1, argv + 1, &call, &error);
    if (status != SPRY_OK && status != SPRY_NEGATIVE) {
        cli_report_error(&call, &error);
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        status = spry_fail(&error, SPRY_IO, "standard output", "check the disk or the pipe",
                           "the result could not be written");
        cli_report_error(&call, &error);
    }
    return (int)status;
}
