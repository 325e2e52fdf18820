/* spry simulate: machines that do not stand on the desk. */
#include <string.h>

#include "cli/commands.h"
#include "cli/simulate/models.h"
#include "cli/subject.h"
#include "simulate/array/lowering.h"

static const simulate_model *const models[] = {&simulate_noc,
                                               &simulate_dram,
                                               &simulate_systolic,
                                               &simulate_metro,
                                               &simulate_tpu,
                                               &simulate_dual_side,
                                               NULL};

static const char *const levels[] = {"fast", "cycle", NULL};
static const char *const dataflows[] = {"weights", "outputs", NULL};

static const char *const patterns[] = {"uniform", "transpose", "sequential",
                                       "random",  "mixed",     NULL};

static const cli_option options[] = {
    {.name = "target",
     .kind = CLI_PATH,
     .value = "NAME|FILE",
     .help = "the machine: mesh-8x8 for noc, ddr4-2400, ddr4-3200 or hbm2 for dram, "
             "tpuv2, tpuv3 or edge32 for tpu and systolic, v100-dual-side for dual-side, or a "
             "description of one"},
    {.name = "set",
     .kind = CLI_TEXT,
     .value = "KEY=VALUE",
     .repeats = true,
     .help = "change the machine: interconnect.width=4"},
    {.name = "routing",
     .kind = CLI_TEXT,
     .value = "NAME",
     .help = "noc: dor, xy_yx, romm, valiant, min_adapt or adaptive, in place of the target's"},
    {.name = "traffic",
     .kind = CLI_CHOICE,
     .value = "WHICH",
     .choices = patterns,
     .help = "noc: uniform (unless given) or transpose; dram: sequential (unless given), random, "
             "or mixed (random, a quarter of them writes)"},
    {.name = "rate",
     .kind = CLI_NUMBER,
     .value = "R",
     .fallback = "0.1",
     .lowest = 1e-6,
     .highest = 1,
     .help = "noc: flits per node and cycle"},
    {.name = "packet",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "1",
     .lowest = 1,
     .highest = 65535,
     .help = "noc: flits of a packet"},
    {.name = "cycles",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "20000",
     .lowest = 1,
     .highest = 1e9,
     .help = "noc: cycles that are measured, after half as many"},
    {.name = "sweep", .kind = CLI_TEXT, .value = "FROM:TO:STEP", .help = "noc: one row per rate"},
    {.name = "csv",
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "noc, tpu, dual-side: where rows go"},
    {.name = "force", .letter = 'f', .kind = CLI_FLAG, .help = "replace the file of --csv"},
    {.name = "trace",
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "dram: requests, one \"0xADDRESS READ|WRITE CYCLE\" per line"},
    {.name = "requests",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "10000",
     .lowest = 1,
     .highest = 16777216,
     .help = "dram: of --traffic"},
    {.name = "flit",
     .kind = CLI_INTEGER,
     .value = "BITS",
     .fallback = "256",
     .lowest = 8,
     .highest = 65536,
     .help = "metro: width of a link"},
    {.name = "chunk",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "64",
     .lowest = 1,
     .highest = 1e9,
     .help = "metro: flits that are scheduled together"},
    {.name = "dataflow",
     .kind = CLI_CHOICE,
     .value = "WHICH",
     .fallback = "weights",
     .choices = dataflows,
     .help = "systolic: what stays in the array"},
    {.name = "lowering",
     .kind = CLI_CHOICE,
     .value = "HOW",
     .fallback = "channel-first",
     .choices = lowering_way_names,
     .help = "tpu: how convolutions become products"},
    {.name = "multi-tile",
     .kind = CLI_CHOICE,
     .value = "TAPS",
     .fallback = "row",
     .choices = lowering_multi_names,
     .help = "tpu: taps that may share a pass: one, those of a kernel row, any"},
    {.name = "level",
     .kind = CLI_CHOICE,
     .value = "LEVEL",
     .fallback = "fast",
     .choices = levels,
     .help =
         "tpu: the memory by its bandwidth, or command by command; dual-side: count, or compute "
         "all products"},
    {.name = "batch",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "1",
     .lowest = 1,
     .highest = 65536,
     .help = "tpu, dual-side: inputs at a time"},
    {.name = "density",
     .kind = CLI_TEXT,
     .value = "A:B",
     .fallback = "0.5:0.25",
     .help = "dual-side, of MxNxK: shares of the two matrices that are not zero"},
    SUBJECT_FILE_OPTIONS,
    {.name = "threads",
     .letter = 't',
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "0",
     .lowest = 0,
     .highest = 1024,
     .help = "dual-side: threads to use, 0 for as many as the process may use"},
    {.name = "generations",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "60",
     .lowest = 0,
     .highest = 1000000,
     .help = "metro: of the search for routes and orders, at most; 0: rules of thumb alone"},
    {.name = "compare",
     .kind = CLI_FLAG,
     .help = "tpu: all ways of lowering; metro: packets on routers; dual-side: other cores"},
    {.name = "seed",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "1",
     .lowest = 0,
     .highest = 4294967295,
     .help = "of what is drawn"},
    {0},
};

spry_status simulate_target(const cli_call *call, const char *fallback, target **t,
                            spry_error *error)
{
    const char *name = cli_text(call, "target");
    const char *word;
    spry_status status = target_load(NULL, name != NULL ? name : fallback, t, error);

    for (int i = 0; status == SPRY_OK && (word = cli_value(call, "set", i)) != NULL; i++) {
        status = target_set(*t, word, error);
    }
    return status;
}

static bool is_taken(const simulate_model *model, const char *option)
{
    for (const char *const *o = model->options; *o != NULL; o++) {
        if (strcmp(*o, option) == 0) {
            return true;
        }
    }
    return false;
}

/* An option that the model would ignore is a mistake. */
static spry_status check_options(const cli_call *call, const simulate_model *model,
                                 spry_error *error)
{
    for (const cli_option *o = options; o->name != NULL; o++) {
        if (cli_given(call, o->name) && !is_taken(model, o->name)) {
            return spry_fail(error, SPRY_USAGE, o->name, "see spry help simulate",
                             "spry simulate %s does not take --%s", model->name, o->name);
        }
    }
    return call->argument_count == 1 + model->arguments
               ? SPRY_OK
               : spry_fail(error, SPRY_USAGE, model->name, "see spry help simulate",
                           "it takes %d arguments", model->arguments);
}

static spry_status run(const cli_call *call, spry_error *error)
{
    for (const simulate_model *const *m = models; *m != NULL; m++) {
        if (strcmp((*m)->name, call->arguments[0]) == 0) {
            spry_status status = check_options(call, *m, error);

            return status == SPRY_OK ? (*m)->run(call, error) : status;
        }
    }
    return spry_fail(error, SPRY_USAGE, "simulate", "see spry help simulate",
                     "'%.40s' is nothing that can be simulated", call->arguments[0]);
}

const cli_command cmd_simulate = {
    .name = "simulate",
    .summary = "networks on a chip, memories and arrays, cycle by cycle",
    .arguments = "noc|dram|systolic|metro|tpu|dual-side [MxNxK|FLOWS|MODEL]",
    .least_arguments = 1,
    .most_arguments = 2,
    .examples = {"spry simulate noc --sweep 0.02:0.4:0.02 --csv latency.csv",
                 "spry simulate dram --target hbm2 --traffic random",
                 "spry simulate tpu resnet50.onnx --compare", NULL},
    .description =
        "Simulates a part of a machine that is described by data.\n\n"
        "noc is a mesh of routers with virtual channels under synthetic traffic: latency from a "
        "packet's making, and from its leaving, flits that arrive, routers on the way.\n\n"
        "dram is a memory at the level of commands, under a trace or a pattern of requests of 64 "
        "bytes, offered as fast as the queues take them but at most one a cycle.\n\n"
        "systolic is an array of multipliers, register by register, on random matrices of M x K "
        "and K x N: the cycles that it takes are counted, and its result is compared.\n\n"
        "metro schedules known traffic over a mesh so that no two flits want one link, lets a "
        "replay confirm it, and says how far it is from the bound of its routes. FLOWS is a CSV "
        "of id,type,src,dst list,bytes,release,due,group; of an ONNX file, every layer's weights, "
        "inputs and results are moved between memory and tiles.\n\n"
        "tpu runs the convolutions and products of an ONNX file through systolic arrays beside a "
        "memory: passes, cycles, use of the array and energy per layer.\n\n"
        "dual-side runs them, with the weights and inputs of a real run, on tensor cores that skip "
        "zeros of both, or a product of random matrices: instructions, cycles, and how much faster "
        "than cores that skip nothing.",
    .options = options,
    .run = run,
};
