/* spry simulate: machines that do not stand on the desk. */
#include <string.h>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/simulate/models.h"

#define SIMULATE_ADDRESS(name) &simulate_##name,
static const simulate_model *const models[] = {SIMULATE_MODELS(SIMULATE_ADDRESS)};
#undef SIMULATE_ADDRESS

enum { MODELS = sizeof models / sizeof *models };

static const char *const levels[] = {"fast", "cycle", NULL};
static const char *const patterns[] = {"uniform", "transpose", "sequential",
                                       "random",  "mixed",     NULL};

/* The first ALWAYS options every model takes, the others those that list them. */
enum { ALWAYS = 6 };

static const cli_option options[] = {
    {.name = "target",
     .kind = CLI_PATH,
     .value = "NAME|FILE",
     .help = "the machine, built in (targets/) or described in a file"},
    {.name = "set",
     .kind = CLI_TEXT,
     .value = "KEY=VALUE",
     .repeats = true,
     .help = "change the machine: interconnect.width=4"},
    {.name = "csv", .kind = CLI_PATH, .value = "FILE", .help = "write the first table as rows"},
    {.name = "html",
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "write everything as one page that opens without a network"},
    {.name = "trace",
     .kind = CLI_PATH,
     .value = "FILE",
     .help = "write what happened when, for ui.perfetto.dev"},
    {.name = "force", .letter = 'f', .kind = CLI_FLAG, .help = "replace existing files"},
    {.name = "traffic",
     .kind = CLI_CHOICE,
     .value = "WHICH",
     .choices = patterns,
     .help = "noc: uniform (unless given) or transpose; dram: sequential (unless given), random, "
             "or mixed (random, a quarter of them writes)"},
    {.name = "level",
     .kind = CLI_CHOICE,
     .value = "LEVEL",
     .fallback = "fast",
     .choices = levels,
     .help = "the memory by its bandwidth, or command by command"},
    {.name = "batch",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "1",
     .lowest = 1,
     .highest = 65536,
     .help = "inputs at a time"},
    {.name = "compare",
     .kind = CLI_FLAG,
     .help = "with what else there is; tpu: all ways of lowering; metro: packets on routers"},
    {.name = "threads",
     .letter = 't',
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "0",
     .lowest = 0,
     .highest = 1024,
     .help = "threads to use, 0 for as many as the process may use; results are the same"},
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
    spry_status status =
        name == NULL && fallback[0] == '{'
            ? target_parse(NULL, fallback, strlen(fallback), call->arguments[0], t, error)
            : target_load(NULL, name != NULL ? name : fallback, t, error);

    for (int i = 0; status == SPRY_OK && (word = cli_value(call, "set", i)) != NULL; i++) {
        status = target_set(*t, word, error);
    }
    return status;
}

static bool is_in(const cli_option *table, const cli_option *option)
{
    for (const cli_option *o = table; o != NULL && o->name != NULL; o++) {
        if (o == option) {
            return true;
        }
    }
    return false;
}

static bool is_taken(const simulate_model *model, const cli_option *option)
{
    for (const char *const *o = model->options; o != NULL && *o != NULL; o++) {
        if (strcmp(*o, option->name) == 0) {
            return true;
        }
    }
    for (int i = 0; i < ALWAYS; i++) {
        if (option == &options[i]) {
            return true;
        }
    }
    return is_in(model->part.options, option) || is_in(cli_common_options, option);
}

/* An option that the model would ignore is a mistake. */
static spry_status check_options(const cli_call *call, const simulate_model *model,
                                 spry_error *error)
{
    int given = call->argument_count - 1;

    for (int i = 0; i < call->value_count; i++) {
        const cli_option *o = cli_option_at(call->command, call->value_options[i]);

        if (!is_taken(model, o)) {
            return spry_fail(error, SPRY_USAGE, o->name, "see spry help simulate",
                             "spry simulate %s does not take --%s", model->name, o->name);
        }
    }
    return given >= model->arguments && given <= model->arguments + model->optional_arguments
               ? SPRY_OK
               : spry_fail(error, SPRY_USAGE, model->name, "see spry help simulate",
                           "write spry simulate %s", model->part.title);
}

/* Before hours of work: may its files be written? */
static spry_status check_files(const cli_call *call, spry_error *error)
{
    static const char *const files[] = {"csv", "html", "trace"};
    spry_status status = SPRY_OK;

    for (size_t i = 0; i < sizeof files / sizeof *files && status == SPRY_OK; i++) {
        const char *path = cli_text(call, files[i]);

        status = path != NULL ? output_check_free(call, path, error) : SPRY_OK;
    }
    return status;
}

static spry_status run(const cli_call *call, spry_error *error)
{
    for (int i = 0; i < MODELS; i++) {
        if (strcmp(models[i]->name, call->arguments[0]) == 0) {
            spry_status status = check_options(call, models[i], error);

            if (status == SPRY_OK) {
                status = check_files(call, error);
            }
            return status == SPRY_OK ? models[i]->run(call, error) : status;
        }
    }
    return spry_fail(error, SPRY_USAGE, "simulate", "see spry help simulate",
                     "'%.40s' is nothing that can be simulated", call->arguments[0]);
}

static const cli_part *part_at(int index)
{
    return index < MODELS ? &models[index]->part : NULL;
}

const cli_command cmd_simulate = {
    .name = "simulate",
    .summary = "networks on a chip, memories and arrays, cycle by cycle",
    .arguments = "WHAT [INPUT]",
    .least_arguments = 1,
    .most_arguments = 2,
    .examples = {"spry simulate noc --sweep 0.02:0.4:0.02 --csv latency.csv",
                 "spry simulate dram --target hbm2 --traffic random",
                 "spry simulate tpu resnet50.onnx --compare --html resnet50.html", NULL},
    .description = "Simulates a part of a machine that is described by data. WHAT is one of those "
                   "below, each with options of its own.",
    .options = options,
    .part = part_at,
    .run = run,
};
