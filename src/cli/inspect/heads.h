/* spry inspect --heads. */
#ifndef CLI_INSPECT_HEADS_H
#define CLI_INSPECT_HEADS_H

#include "base/text.h"
#include "cli/command.h"
#include "spry/heads.h"

/* Options of the command that only this part reads; their names, for checks. */
#define INSPECT_HEADS_OPTIONS                                                                  \
    {.name = "heads",                                                                          \
     .kind = CLI_FLAG,                                                                         \
     .help = "what attention heads look at, from running the model over --text"},              \
        {.name = "text", .kind = CLI_PATH, .value = "FILE", .help = "heads: a text in UTF-8"}, \
        {.name = "vocab",                                                                      \
         .kind = CLI_PATH,                                                                     \
         .value = "FILE",                                                                      \
         .help = "heads: the model's vocab.txt, tokenizer.json or tokenizer.bin"},             \
        {.name = "window",                                                                     \
         .kind = CLI_INTEGER,                                                                  \
         .value = "N",                                                                         \
         .fallback = "0",                                                                      \
         .lowest = 0,                                                                          \
         .highest = 1048576,                                                                   \
         .help = "heads: tokens of a sequence, 0 for 128, or what the model fixes"},           \
        {.name = "limit",                                                                      \
         .kind = CLI_INTEGER,                                                                  \
         .value = "N",                                                                         \
         .fallback = "64",                                                                     \
         .lowest = 1,                                                                          \
         .highest = 10000,                                                                     \
         .help = "heads: most sequences"},                                                     \
        {.name = "clusters",                                                                   \
         .kind = CLI_INTEGER,                                                                  \
         .value = "N",                                                                         \
         .fallback = "0",                                                                      \
         .lowest = 0,                                                                          \
         .highest = 10,                                                                        \
         .help = "heads: so many clusters, 0 chooses"},                                        \
        {.name = "special-rows",                                                               \
         .kind = CLI_FLAG,                                                                     \
         .help = "heads: what tokens that the tokenizer adds look at counts too"},             \
        {.name = "ablate",                                                                     \
         .kind = CLI_FLAG,                                                                     \
         .help = "heads: say what clusters do, by taking their heads away"},                   \
        {.name = "svg",                                                                        \
         .kind = CLI_PATH,                                                                     \
         .value = "FILE",                                                                      \
         .help = "heads: write the map of clusters and their mean maps as a picture"},         \
        {.name = "threads",                                                                    \
         .letter = 't',                                                                        \
         .kind = CLI_INTEGER,                                                                  \
         .value = "N",                                                                         \
         .fallback = "0",                                                                      \
         .lowest = 0,                                                                          \
         .highest = 1024,                                                                      \
         .help = "heads: threads, 0 for all that this process may use"},                       \
    {                                                                                          \
        .name = "seed", .kind = CLI_INTEGER, .value = "N", .fallback = "0", .lowest = 0,       \
        .highest = 9007199254740992.0, .help = "heads: seed of clusters"                       \
    }

/* Does the call ask for it? Fails with SPRY_USAGE where options do not go together. */
SPRY_MUST_USE spry_status inspect_heads_check(const cli_call *call, spry_error *error);

/* The whole of spry inspect MODEL --heads. */
SPRY_MUST_USE spry_status inspect_heads(const cli_call *call, spry_error *error);

/* The page (heads_page.c). Fails with SPRY_IO, SPRY_LIMIT. */
SPRY_MUST_USE spry_status inspect_heads_page(const cli_call *call, const spry_heads *heads,
                                             const char *path, spry_error *error);

/* A cluster's letter. */
char inspect_heads_letter(int32_t cluster);

#endif
