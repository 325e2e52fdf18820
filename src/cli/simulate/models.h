/* What `spry simulate` can simulate. A model is one file here, src/cli/simulate/NAME.c, that
 * defines simulate_NAME, and one line below: docs/howto/add-an-accelerator.md. */
#ifndef CLI_SIMULATE_MODELS_H
#define CLI_SIMULATE_MODELS_H

#include "cli/command.h"
#include "tune/target.h"

/* In the order of help. */
/* clang-format off */
#define SIMULATE_MODELS(ONE) \
    ONE(noc)                 \
    ONE(dram)                \
    ONE(systolic)            \
    ONE(metro)               \
    ONE(tpu)                 \
    ONE(mlu)                 \
    ONE(dual_side)           \
    ONE(energon)             \
    ONE(toy)
/* clang-format on */

typedef struct simulate_model {
    const char *name;
    /* Help: the title is the name and what stands behind it ("metro FLOWS.csv|MODEL"); options are
     * those of this model alone. */
    cli_part part;
    const char *const *options; /* those that models share (cmd_simulate.c) and that it takes, ended
                                   by NULL; every model takes --target, --set and those of files */
    int arguments;              /* behind its name, at least */
    int optional_arguments;     /* and so many more */
    spry_status (*run)(const cli_call *call, spry_error *error);
} simulate_model;

#define SIMULATE_DECLARE(name) extern const simulate_model simulate_##name;
SIMULATE_MODELS(SIMULATE_DECLARE)
#undef SIMULATE_DECLARE

/* The target that --target names, or else `fallback`, with what --set changes: the name of a
 * target, or a description itself, which begins with a brace. */
SPRY_MUST_USE spry_status simulate_target(const cli_call *call, const char *fallback, target **t,
                                          spry_error *error);

#endif
