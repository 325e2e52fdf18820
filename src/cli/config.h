/* Options from a JSON file: an object whose keys are the names of a command's options.
 *
 *     {"epochs": 30, "lr": 0.1, "schedule": "cosine", "nesterov": true, "freeze": ["stem.*"]} */
#ifndef CLI_CONFIG_H
#define CLI_CONFIG_H

#include "base/arena.h"
#include "cli/command.h"

/* Adds to `call` what the file says and the command line does not: there options win. Words live in
 * `memory`. Values are checked as those of the command line are.
 * Fails with SPRY_BAD_INPUT (not such a file; an unknown key), SPRY_USAGE (a value), SPRY_IO,
 * SPRY_LIMIT. */
SPRY_MUST_USE spry_status config_read(const char *path, cli_call *call, arena *memory,
                                      spry_error *error);

#endif
