/* What the commands that run a model share: the options that choose its inputs and how it runs, and
 * the model, session and feed made from them. */
#ifndef CLI_SUBJECT_H
#define CLI_SUBJECT_H

#include "cli/command.h"
#include "spry/feed.h"
#include "spry/session.h"
#include "spry/tune.h"

extern const char *const subject_precisions[];

/* Rows for a command's table of options. */
#define SUBJECT_PREPROCESS_OPTION                                                                \
    {                                                                                            \
        .name = "preprocess", .kind = CLI_TEXT, .value = "RECIPE", .fallback = "raw",            \
        .help = "how pictures become inputs: raw, unit, imagenet, cifar, tf, tf128, or a .json " \
                "file"                                                                           \
    }

#define SUBJECT_DATA_OPTIONS                                                                    \
    {.name = "data",                                                                            \
     .letter = 'd',                                                                             \
     .kind = CLI_TEXT,                                                                          \
     .value = "KIND:PATH",                                                                      \
     .help = "labelled samples to evaluate on: cifar10, idx, folder, labels, npz, safetensors " \
             "or csv, and where they lie"},                                                     \
        SUBJECT_PREPROCESS_OPTION,                                                              \
        {.name = "limit",                                                                       \
         .kind = CLI_INTEGER,                                                                   \
         .value = "N",                                                                          \
         .fallback = "0",                                                                       \
         .lowest = 0,                                                                           \
         .highest = 9007199254740992.0,                                                         \
         .help = "only the first N samples of --data, 0 for all"},                              \
    {                                                                                           \
        .name = "class-offset", .kind = CLI_INTEGER, .value = "N", .fallback = "0",             \
        .lowest = -1000000, .highest = 1000000,                                                 \
        .help = "class c of --data is score c + N: 1 for models with a background class"        \
    }

#define SUBJECT_FILE_OPTIONS                                                                      \
    {.name = "input",                                                                             \
     .letter = 'i',                                                                               \
     .kind = CLI_PATH,                                                                            \
     .value = "[NAME=]FILE",                                                                      \
     .repeats = true,                                                                             \
     .help = "feed an input: .npy, .npz, .safetensors, .raw, or a JPEG, PNG or WebP picture; an " \
             "archive without NAME feeds all inputs that it has entries for"},                    \
        SUBJECT_PREPROCESS_OPTION

#define SUBJECT_INPUT_OPTIONS                                                                   \
    SUBJECT_FILE_OPTIONS,                                                                       \
        {.name = "set",                                                                         \
         .kind = CLI_TEXT,                                                                      \
         .value = "NAME=N",                                                                     \
         .repeats = true,                                                                       \
         .help = "size of an open dimension: batch=8, or INPUT.AXIS=8 for one without a name"}, \
    {                                                                                           \
        .name = "seed", .kind = CLI_INTEGER, .value = "N", .fallback = "0", .lowest = 0,        \
        .highest = 9007199254740992.0, .help = "seed of random inputs and random operators"     \
    }

#define SUBJECT_SESSION_OPTIONS                                                            \
    {.name = "threads",                                                                    \
     .letter = 't',                                                                        \
     .kind = CLI_INTEGER,                                                                  \
     .value = "N",                                                                         \
     .fallback = "0",                                                                      \
     .lowest = 0,                                                                          \
     .highest = 1024,                                                                      \
     .help = "threads to use, 0 for as many as the process may use"},                      \
        {.name = "precision",                                                              \
         .kind = CLI_CHOICE,                                                               \
         .value = "TYPE",                                                                  \
         .fallback = "f32",                                                                \
         .choices = subject_precisions,                                                    \
         .help = "arithmetic of models that hold f32"},                                    \
        {.name = "plan",                                                                   \
         .kind = CLI_PATH,                                                                 \
         .value = "PLAN",                                                                  \
         .help = "run layers together as this plan of spry tune says"},                    \
    {                                                                                      \
        .name = "plan-cache", .kind = CLI_PATH, .value = "DIR",                            \
        .help = "keep packed weights here, and start with those that are there: a folder " \
                "of yours"                                                                 \
    }

typedef struct subject {
    const char *path;
    spry_session_options options;
    spry_model *model;
    spry_session *session; /* NULL until subject_open_session */
    spry_feed *feed;
    spry_tuning *tuning; /* of --plan; NULL: none */
    double load_ms;      /* model and session */
} subject;

/* Reads the model that the first argument names, the options of a session, and a plan.
 * Undo with subject_close, also after a failure. Fails as spry_model_load, spry_tuning_load and
 * spry_tuning_check, and with SPRY_USAGE (options that the plan was not made for). */
SPRY_MUST_USE spry_status subject_open(subject *s, const cli_call *call, spry_error *error);
/* The same of another file. */
SPRY_MUST_USE spry_status subject_open_path(subject *s, const cli_call *call, const char *path,
                                            spry_error *error);
/* By the name of one of subject_precisions. */
spry_precision subject_precision_of(const char *name);
/* Makes the session, replacing the one there is. Fails as spry_session_create. */
SPRY_MUST_USE spry_status subject_open_session(subject *s, spry_error *error);
/* Makes the feed: dimensions, files, random numbers for the rest; says on stderr what was assumed.
 * Fails as the functions of spry/feed.h. */
SPRY_MUST_USE spry_status subject_gather(subject *s, const cli_call *call, spry_error *error);
void subject_close(subject *s);
/* What --input gives a feed, and random numbers for the rest; says what was assumed. */
SPRY_MUST_USE spry_status subject_fill(spry_feed *feed, const cli_call *call, uint64_t seed,
                                       spry_error *error);
/* With -v: what became of --plan-cache, once the session has run. */
void subject_tell_cache(const subject *s, const cli_call *call);

#endif
