/* spry adapt --method energon. */
#ifndef CLI_ADAPT_ENERGON_H
#define CLI_ADAPT_ENERGON_H

#include "cli/command.h"

/* Options of the command that only this method reads. */
#define ADAPT_ENERGON_OPTIONS                                                                 \
    {                                                                                         \
        .name = "target-keep", .kind = CLI_NUMBER, .value = "X", .fallback = "0.2",           \
        .lowest = 0.001, .highest = 0.999,                                                    \
        .help = "energon: share of the keys that heads shall read on average, by --calibrate" \
    }

/* The whole command for that method. */
SPRY_MUST_USE spry_status adapt_energon(const cli_call *call, spry_error *error);

#endif
