/* spry evaluate on text: questions of SQuAD, and the perplexity of language models. */
#ifndef CLI_EVALUATE_TEXT_H
#define CLI_EVALUATE_TEXT_H

#include "cli/command.h"

/* Rows for the table of options. */
#define EVALUATE_TEXT_OPTIONS                                                                    \
    {.name = "vocab",                                                                            \
     .kind = CLI_PATH,                                                                           \
     .value = "FILE",                                                                            \
     .help = "squad, text: the model's vocab.txt, tokenizer.json or tokenizer.bin"},             \
        {.name = "window",                                                                       \
         .kind = CLI_INTEGER,                                                                    \
         .value = "N",                                                                           \
         .fallback = "0",                                                                        \
         .lowest = 0,                                                                            \
         .highest = 1048576,                                                                     \
         .help = "squad, text: most tokens at once, 0 for what the model fixes, else 384, 512"}, \
        {.name = "stride",                                                                       \
         .kind = CLI_INTEGER,                                                                    \
         .value = "N",                                                                           \
         .fallback = "0",                                                                        \
         .lowest = 0,                                                                            \
         .highest = 1048576,                                                                     \
         .help = "squad, text: tokens from one window to the next, 0 for 128 and the window "    \
                 "less one"},                                                                    \
    {                                                                                            \
        .name = "none-threshold", .kind = CLI_NUMBER, .value = "X", .fallback = "0",             \
        .lowest = -1000000, .highest = 1000000,                                                  \
        .help = "squad: by how much no answer must score better than the best one"               \
    }

/* Is --data of a kind that is evaluated here? */
bool evaluate_text_is(const char *data);
/* The whole command, for such data. */
spry_status evaluate_text(const cli_call *call, spry_error *error);

#endif
