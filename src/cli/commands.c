/* The list of commands, and the options they all share. */
#include <string.h>

#include "cli/command.h"
#include "cli/commands.h"

/* One line each, so that a new one touches no other. */
/* clang-format off */
const cli_command *const cli_commands[] = {
    &cmd_run,
    &cmd_inspect,
    &cmd_evaluate,
    &cmd_compare,
    &cmd_bench,
    &cmd_tune,
    &cmd_report,
    &cmd_quantize,
    &cmd_adapt,
    &cmd_sparsify,
    &cmd_new,
    &cmd_train,
    &cmd_dp,
    &cmd_predict,
    &cmd_simulate,
    &cmd_chart,
    &cmd_ask,
    &cmd_tokenize,
    &cmd_doctor,
    &cmd_help,
    &cmd_version,
    NULL,
};
/* clang-format on */

static const char *const color_choices[] = {"auto", "always", "never", NULL};

const cli_option cli_common_options[] = {
    {.name = "json", .kind = CLI_FLAG, .help = "print the result as one JSON document"},
    {.name = "quiet", .letter = 'q', .kind = CLI_FLAG, .help = "no progress and no remarks"},
    {.name = "verbose", .letter = 'v', .kind = CLI_FLAG, .help = "say what is being done"},
    {.name = "color",
     .kind = CLI_CHOICE,
     .value = "WHEN",
     .fallback = "auto",
     .choices = color_choices,
     .help = "use colour"},
    {.name = "help", .letter = 'h', .kind = CLI_FLAG, .help = "print this help"},
    {0},
};

const cli_command *cli_find_command(const char *name)
{
    for (const cli_command *const *c = cli_commands; *c != NULL; c++) {
        if (strcmp((*c)->name, name) == 0) {
            return *c;
        }
    }
    return NULL;
}
