/* spry adapt --method head-policy. */
#ifndef CLI_ADAPT_HEADS_H
#define CLI_ADAPT_HEADS_H

#include "cli/command.h"

/* Options of the command that only this method reads. */
#define ADAPT_HEADS_OPTIONS                                                                      \
    {.name = "epsilon",                                                                          \
     .kind = CLI_NUMBER,                                                                         \
     .value = "X",                                                                               \
     .fallback = "0.05",                                                                         \
     .lowest = 0.000001,                                                                         \
     .highest = 0.999,                                                                           \
     .help = "head-policy: share of its weights that a head may lose"},                          \
        {.name = "cosine",                                                                       \
         .kind = CLI_NUMBER,                                                                     \
         .value = "X",                                                                           \
         .fallback = "0.99",                                                                     \
         .lowest = 0,                                                                            \
         .highest = 1,                                                                           \
         .help = "head-policy: least cosine between results of a layer's attention and those "   \
                 "over all keys"},                                                               \
        {.name = "text",                                                                         \
         .kind = CLI_PATH,                                                                       \
         .value = "FILE",                                                                        \
         .help = "head-policy: a text in UTF-8 to choose and to check by"},                      \
        {.name = "vocab",                                                                        \
         .kind = CLI_PATH,                                                                       \
         .value = "FILE",                                                                        \
         .help = "head-policy: the model's vocab.txt, tokenizer.json or tokenizer.bin"},         \
        {.name = "window",                                                                       \
         .kind = CLI_INTEGER,                                                                    \
         .value = "N",                                                                           \
         .fallback = "256",                                                                      \
         .lowest = 8,                                                                            \
         .highest = 1048576,                                                                     \
         .help = "head-policy: tokens of a sequence: as long as those that the model will get"}, \
    {                                                                                            \
        .name = "limit", .kind = CLI_INTEGER, .value = "N", .fallback = "16", .lowest = 2,       \
        .highest = 10000, .help = "head-policy: most sequences"                                  \
    }

/* The whole command for that method. */
SPRY_MUST_USE spry_status adapt_heads(const cli_call *call, spry_error *error);

#endif
