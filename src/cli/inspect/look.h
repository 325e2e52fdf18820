/* Where a model with masks looks, as pictures for the page of spry inspect. */
#ifndef CLI_INSPECT_LOOK_H
#define CLI_INSPECT_LOOK_H

#include "base/arena.h"
#include "cli/command.h"
#include "spry/inspect.h"

#define INSPECT_LOOK_OPTIONS                                                                  \
    {.name = "input",                                                                         \
     .letter = 'i',                                                                           \
     .kind = CLI_PATH,                                                                        \
     .value = "FILE",                                                                         \
     .help = "with --html: show where a model of spry adapt -m lasnet looks on this, as for " \
             "spry run"},                                                                     \
        {.name = "data",                                                                      \
         .letter = 'd',                                                                       \
         .kind = CLI_TEXT,                                                                    \
         .value = "KIND:PATH",                                                                \
         .help = "with --html: the same on samples, as for spry evaluate"},                   \
        SUBJECT_PREPROCESS_OPTION,                                                            \
    {                                                                                         \
        .name = "samples", .kind = CLI_INTEGER, .value = "N", .fallback = "4", .lowest = 1,   \
        .highest = 64, .help = "samples of --data or --input that are shown"                  \
    }

typedef struct inspect_look {
    arena memory; /* of names and of the list */
    spry_inspect_picture *pictures;
    int32_t count, room;
} inspect_look;

/* Runs the model on what --input or --data names, and draws each sample and what every block
 * computes of it; nothing where neither is given. Undo with inspect_look_close, also after a
 * failure. Fails with SPRY_USAGE (no masks; the input is no picture), and as running does. */
SPRY_MUST_USE spry_status inspect_look_open(inspect_look *look, const cli_call *call,
                                            const spry_model *m, spry_error *error);
void inspect_look_close(inspect_look *look);

#endif
