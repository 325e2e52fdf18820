/* spry simulate mlu: blocks of layers on an accelerator of many cores. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/simulate/models.h"
#include "cli/simulate/tell.h"
#include "simulate/mlu/mlu.h"
#include "simulate/mlu/mlu_layers.h"

static const char *const taken[] = {"compare", NULL};

enum { LONGEST = 12, MILLI = 1000 };

#define FEMTO 1e15 /* a second */

typedef struct job {
    const cli_call *call;
    target *t;
    mlu_machine machine;
    mlu_layers layers;
    scaling cores;
    mlu_context context;
    partition_problem problem;
    partition results[PARTITION_STRATEGIES];
} job;

/* ---- what the machine is ---- */

/* A line per figure: a reader must see what is a guess. */
static void tell_machine(const job *j, report *r)
{
    static const char *const keys[] = {
        "compute.units",      "memory.dram.bandwidth", "fusion.core_peak", "fusion.element",
        "fusion.efficiency",  "fusion.on_chip",        "fusion.launch",    "fusion.synchronize",
        "fusion.critical",    "fusion.split",          "fusion.grain",     "fusion.fixed_team",
        "fusion.fixed_length"};
    static const report_column columns[] = {{"key", "machine", -1, REPORT_PLAIN},
                                            {"figure", "figure", -1, REPORT_PLAIN},
                                            {"note", "", -1, REPORT_PLAIN},
                                            {NULL, NULL, 0, REPORT_PLAIN}};

    report_table_begin(r, "machine", "The machine", columns);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *figure = NULL;
        int64_t count = 0;
        char number[32];

        if (target_text(j->t, keys[i], &figure, NULL) != SPRY_OK) {
            if (target_count(j->t, keys[i], 0, INT64_MAX, &count, NULL) != SPRY_OK) {
                continue;
            }
            (void)snprintf(number, sizeof number, "%" PRId64, count);
            figure = number;
        }
        report_cell_word(r, keys[i]);
        report_cell_word(r, figure);
        report_cell_word(r, mlu_is_assumed(j->t, keys[i]) ? "assumed" : "");
    }
}

/* ---- results ---- */

static double speed(const job *j, int strategy)
{
    return j->results[PARTITION_S1].seconds / j->results[strategy].seconds;
}

static const char *bound_of(const mlu_cost *c)
{
    double fixed = c->launch + c->synchronize;

    return fixed > fmax(c->compute, c->traffic) ? "launch"
           : c->traffic > c->compute            ? "memory"
                                                : "cores";
}

static double useful_operations(const job *j, const partition_block *b)
{
    double sum = 0;

    for (int32_t i = b->first; i <= b->last; i++) {
        sum += fusion_layer_operations(&j->layers.items[i]);
    }
    return sum;
}

static void tell_strategies(const job *j, report *r)
{
    static const report_column columns[] = {
        {"strategy", "strategy", -1, REPORT_PLAIN}, {"what", "what", -1, REPORT_PLAIN},
        {"blocks", "blocks", 0, REPORT_PLAIN},      {"milliseconds", "ms", 4, REPORT_BAR},
        {"speed", "speed", 2, REPORT_BAR},          {NULL, NULL, 0, REPORT_PLAIN}};

    report_table_begin(r, "strategies", "Strategies", columns);
    for (int s = 0; s < PARTITION_STRATEGIES; s++) {
        report_cell_word(r, partition_strategy_names[s]);
        report_cell_word(r, partition_strategy_texts[s]);
        report_cell(r, j->results[s].count);
        report_cell(r, MILLI * j->results[s].seconds);
        report_cell(r, speed(j, s));
    }
}

static void tell_blocks(const job *j, report *r)
{
    static const report_column columns[] = {
        {"strategy", "by", -1, REPORT_PLAIN},  {"first", "from", -1, REPORT_PLAIN},
        {"last", "to", -1, REPORT_PLAIN},      {"layers", "layers", 0, REPORT_PLAIN},
        {"cores", "cores", 0, REPORT_BAR},     {"operations", "GFLOP", 3, REPORT_PLAIN},
        {"twice", "twice %", 1, REPORT_PLAIN}, {"megabytes", "MB", 2, REPORT_BAR},
        {"milliseconds", "ms", 4, REPORT_BAR}, {"bound", "bound", -1, REPORT_PLAIN},
        {NULL, NULL, 0, REPORT_PLAIN}};
    int track = timeline_track(r->timeline, "blocks");
    uint64_t at = 0;

    report_table_begin(r, "blocks", "Blocks", columns);
    for (int s = 0; s < PARTITION_STRATEGIES; s++) {
        for (int32_t i = 0; i < j->results[s].count; i++) {
            const partition_block *b = &j->results[s].blocks[i];
            double useful = useful_operations(j, b);
            const char *last = j->layers.items[b->last].name;
            uint64_t end;
            mlu_cost c;

            if (s != PARTITION_S6 && !cli_given(j->call, "compare")) {
                continue;
            }
            mlu_block_cost(&j->context, b->first, b->last, b->team, &c);
            report_cell_word(r, partition_strategy_names[s]);
            report_cell_word(r, j->layers.items[b->first].name);
            report_cell_word(r, last);
            report_cell(r, b->last - b->first + 1);
            report_cell(r, b->team);
            report_cell(r, useful * 1e-9);
            report_cell(r, useful > 0 ? 100 * (c.operations / useful - 1) : 0.0);
            report_cell(r, c.moved * 1e-6);
            report_cell(r, MILLI * c.total);
            report_cell_word(r, bound_of(&c));
            end = at + (uint64_t)(c.total * FEMTO);
            if (s == PARTITION_S6) {
                timeline_span(r->timeline, track, at, end, "block",
                              timeline_keep(r->timeline, last));
                at = end;
            }
        }
    }
}

/* How much of the gain is cores and how much is fusion. */
static void tell_verdict(const job *j, report *r)
{
    double cores = speed(j, PARTITION_S3);
    double both = speed(j, PARTITION_S6);

    report_number(r, "layers", "layers", j->layers.count, 0, "");
    report_number(r, "milliseconds", "time", MILLI * j->results[PARTITION_S6].seconds, 4, "ms");
    report_number(r, "speed", "over one core without fusion", both, 2, "times");
    report_number(r, "speed_of_cores", "from the number of cores alone", cores, 2, "times");
    report_number(r, "speed_of_fusion", "from fusion", both / cores, 2, "times");
    report_number(r, "of_best", "of the best partition",
                  100 * j->results[PARTITION_S7].seconds / j->results[PARTITION_S6].seconds, 1,
                  "%");
    report_number(r, "alpha", "cores by channels", j->cores.alpha, 3, "");
    report_number(r, "beta", "cores by operations", j->cores.beta, 3, "");
    report_number(r, "gamma", "cores at one of each", j->cores.gamma, 3, "");
    report_number(r, "r_squared", "fit", j->cores.r_squared, 2, "R2");
    report_number(r, "accuracy", "layers foretold", 100 * j->cores.accuracy, 0, "%");
    report_word(r, "decided_by", "cores decided by",
                j->cores.by_neighbour ? "the nearest layer" : "the fit");
}

static spry_status tell(const job *j, report *r, spry_error *error)
{
    const output_record record = {.model = j->call->arguments[1]};

    simulate_report(r, j->call, "Blocks of layers on many cores");
    tell_blocks(j, r);
    if (cli_given(j->call, "compare")) {
        tell_strategies(j, r);
    }
    tell_machine(j, r);
    tell_verdict(j, r);
    return simulate_tell(j->call, r, j->t, &record, error);
}

/* ---- the work ---- */

static spry_status read_machine(job *j, spry_error *error)
{
    spry_status status = simulate_target(j->call, "mlu100", &j->t, error);

    if (status == SPRY_OK) {
        status = mlu_machine_read(j->t, &j->machine, error);
    }
    return status == SPRY_OK ? target_finish(j->t, error) : status;
}

static spry_status read_layers(job *j, spry_error *error)
{
    spry_model *model = NULL;
    spry_status status = spry_model_load(NULL, j->call->arguments[1], &model, error);

    if (status == SPRY_OK) {
        status = mlu_layers_of_model(&j->layers, model, j->machine.element_bytes, error);
    }
    spry_model_destroy(model);
    return status;
}

static spry_status partition_all(job *j, spry_error *error)
{
    size_t count = (size_t)j->layers.count;
    int32_t *wanted = arena_array(&j->layers.memory, count, sizeof *wanted);
    spry_status status = mlu_fit(&j->machine, &j->cores, error);

    j->context = (mlu_context){&j->machine, {j->layers.items, j->layers.count, true}, NULL};
    j->context.rows = arena_array(&j->layers.memory, count, sizeof *j->context.rows);
    if (wanted == NULL || j->context.rows == NULL) {
        return alloc_failed(error, count * sizeof *j->context.rows);
    }
    for (int32_t i = 0; i < j->layers.count; i++) {
        const spry_layer *l = &j->layers.items[i];

        wanted[i] = scaling_team(&j->cores, fusion_layer_operations(l), (double)l->out[0]);
    }
    j->problem = (partition_problem){.network = j->context.network,
                                     .team_count = j->machine.team_count,
                                     .longest = LONGEST,
                                     .cost = mlu_block_seconds,
                                     .fits = mlu_block_fits,
                                     .context = &j->context,
                                     .wanted = wanted,
                                     .critical = j->machine.critical,
                                     .fixed_team = j->machine.fixed_team,
                                     .fixed_length = j->machine.fixed_length};
    memcpy(j->problem.teams, j->machine.teams, sizeof j->problem.teams);
    for (int s = 0; s < PARTITION_STRATEGIES && status == SPRY_OK; s++) {
        status = partition_by(&j->problem, (partition_strategy)s, &j->layers.memory, &j->results[s],
                              error);
    }
    return status;
}

static spry_status run(const cli_call *call, spry_error *error)
{
    job j = {.call = call};
    report r = {0};
    spry_status status = read_machine(&j, error);

    if (status == SPRY_OK) {
        status = read_layers(&j, error);
    }
    if (status == SPRY_OK) {
        status = partition_all(&j, error);
    }
    if (status == SPRY_OK) {
        status = tell(&j, &r, error);
    }
    report_fini(&r);
    mlu_layers_fini(&j.layers);
    target_destroy(j.t);
    return status;
}

const simulate_model simulate_mlu = {
    .name = "mlu",
    .part = {.title = "mlu MODEL.onnx",
             .about = "An accelerator of many cores that runs several layers as one: DLFusion cuts "
                      "the layers into blocks and gives each a number of cores; --compare has "
                      "other strategies beside it, the best one too."},
    .options = taken,
    .arguments = 1,
    .run = run};
