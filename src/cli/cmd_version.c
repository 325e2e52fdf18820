/* spry version: which program this is. */
#include "cli/commands.h"

static spry_status run(const cli_call *call, spry_error *error)
{
    (void)error;
    if (cli_given(call, "json")) {
        (void)fprintf(call->out, "{\"schema\": 1, \"version\": \"%s\"}\n", SPRY_VERSION_TEXT);
    } else {
        (void)fprintf(call->out, "spry %s\n", SPRY_VERSION_TEXT);
    }
    return SPRY_OK;
}

const cli_command cmd_version = {
    .name = "version",
    .summary = "print the version",
    .arguments = "",
    .examples = {"spry version", "spry version --json"},
    .description = "Prints the version of the program and its library.",
    .run = run,
};
