/* What `spry simulate` can simulate: a line of simulate_models each. */
#ifndef CLI_SIMULATE_MODELS_H
#define CLI_SIMULATE_MODELS_H

#include "cli/command.h"
#include "tune/target.h"

typedef struct simulate_model {
    const char *name;
    const char *const *options; /* those of the command that it takes, ended by NULL */
    int arguments;              /* behind its name */
    spry_status (*run)(const cli_call *call, spry_error *error);
} simulate_model;

extern const simulate_model simulate_noc;
extern const simulate_model simulate_dram;
extern const simulate_model simulate_systolic;
extern const simulate_model simulate_metro;
extern const simulate_model simulate_tpu;
extern const simulate_model simulate_dual_side;

/* The target that --target names, or `fallback`, with what --set changes. */
SPRY_MUST_USE spry_status simulate_target(const cli_call *call, const char *fallback, target **t,
                                          spry_error *error);

/* What simulate_metro does with an ONNX file. */
SPRY_MUST_USE spry_status simulate_metro_model(const cli_call *call, spry_error *error);

#endif
