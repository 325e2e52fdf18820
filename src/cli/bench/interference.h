/* spry bench --aggressor and --versions: a model beside somebody else's work. */
#ifndef CLI_BENCH_INTERFERENCE_H
#define CLI_BENCH_INTERFERENCE_H

#include "cli/subject.h"

#define BENCH_INTERFERENCE_OPTIONS                                                              \
    {.name = "aggressor",                                                                       \
     .kind = CLI_INTEGER,                                                                       \
     .value = "LEVEL",                                                                          \
     .fallback = "0",                                                                           \
     .lowest = 0,                                                                               \
     .highest = 5,                                                                              \
     .help = "instead: how much slower beside a thread that takes bandwidth and cache, for "    \
             "LEVEL fifths of its time"},                                                       \
        {.name = "versions",                                                                    \
         .kind = CLI_FLAG,                                                                      \
         .help = "instead: versions of the model at all levels of the aggressor, and what "     \
                 "choosing among them gains"},                                                  \
    {                                                                                           \
        .name = "target", .kind = CLI_NUMBER, .value = "MS", .fallback = "0", .lowest = 0,      \
        .highest = 1e9, .help = "--versions: latency that is promised, 0 for twice the fastest" \
    }

/* Was one of them asked for? */
bool bench_interference_wanted(const cli_call *call);
/* Measures, for a subject with a feed, and prints. Fails as interfered_measure. */
SPRY_MUST_USE spry_status bench_interference(const cli_call *call, const subject *s,
                                             spry_error *error);

#endif
