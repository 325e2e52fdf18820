/* spry simulate mlu: blocks of layers on an accelerator of many cores. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/files.h"
#include "cli/output.h"
#include "cli/simulate/models.h"
#include "cli/table.h"
#include "simulate/mlu/mlu.h"
#include "simulate/mlu/mlu_layers.h"

static const char *const taken[] = {"target", "set", "compare", "csv", "force", NULL};

enum { LONGEST = 12, MILLI = 1000 };

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

/* "fusion.launch = 20 us (assumed)", one to a line: a reader must see what is a guess. */
static void print_machine(const job *j)
{
    static const char *const keys[] = {
        "compute.units",      "memory.dram.bandwidth", "fusion.core_peak", "fusion.element",
        "fusion.efficiency",  "fusion.on_chip",        "fusion.launch",    "fusion.synchronize",
        "fusion.critical",    "fusion.split",          "fusion.grain",     "fusion.fixed_team",
        "fusion.fixed_length"};

    (void)fprintf(j->call->out, "%s\n", target_name(j->t));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *value = NULL;
        int64_t count = 0;
        const char *note = mlu_is_assumed(j->t, keys[i]) ? "  (assumed)" : "";

        if (target_text(j->t, keys[i], &value, NULL) == SPRY_OK) {
            (void)fprintf(j->call->out, "  %-22s %s%s\n", keys[i], value, note);
        } else if (target_count(j->t, keys[i], 0, INT64_MAX, &count, NULL) == SPRY_OK) {
            (void)fprintf(j->call->out, "  %-22s %" PRId64 "%s\n", keys[i], count, note);
        }
    }
    (void)fprintf(j->call->out,
                  "log2(cores) = %.3f log10(channels) + %.3f log10(operations) %+.3f: R2 %.2f, "
                  "right for %.0f %% of %d layers%s\n\n",
                  j->cores.alpha, j->cores.beta, j->cores.gamma, j->cores.r_squared,
                  100 * j->cores.accuracy, j->cores.point_count,
                  j->cores.by_neighbour ? ", so the nearest layer decides" : "");
}

/* ---- results ---- */

static double speed(const job *j, int strategy)
{
    return j->results[PARTITION_S1].seconds / j->results[strategy].seconds;
}

static spry_status print_strategies(const job *j, spry_error *error)
{
    static const table_column columns[] = {{"strategy", false}, {"what", false}, {"blocks", true},
                                           {"ms", true},        {"speed", true}, {NULL, false}};
    spry_status status;
    table t;

    table_init(&t, columns);
    for (int s = 0; s < PARTITION_STRATEGIES; s++) {
        table_cell(&t, "%s", partition_strategy_names[s]);
        table_cell(&t, "%s", partition_strategy_texts[s]);
        table_cell(&t, "%d", j->results[s].count);
        table_cell(&t, "%.4f", MILLI * j->results[s].seconds);
        table_cell(&t, "%.2fx", speed(j, s));
    }
    status = table_print(&t, TABLE_PLAIN, j->call->out, error);
    table_fini(&t);
    (void)fprintf(j->call->out, "\n");
    return status;
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

static spry_status print_blocks(const job *j, const partition *p, spry_error *error)
{
    static const table_column columns[] = {
        {"from", false},   {"to", false}, {"layers", true}, {"cores", true},  {"GFLOP", true},
        {"twice %", true}, {"MB", true},  {"ms", true},     {"bound", false}, {NULL, false}};
    spry_status status;
    table t;

    table_init(&t, columns);
    for (int32_t i = 0; i < p->count; i++) {
        const partition_block *b = &p->blocks[i];
        double useful = useful_operations(j, b);
        mlu_cost c;

        mlu_block_cost(&j->context, b->first, b->last, b->team, &c);
        table_cell(&t, "%s", j->layers.items[b->first].name);
        table_cell(&t, "%s", j->layers.items[b->last].name);
        table_cell(&t, "%d", b->last - b->first + 1);
        table_cell(&t, "%d", b->team);
        table_cell(&t, "%.3f", useful * 1e-9);
        table_cell(&t, "%.1f", useful > 0 ? 100 * (c.operations / useful - 1) : 0.0);
        table_cell(&t, "%.2f", c.moved * 1e-6);
        table_cell(&t, "%.4f", MILLI * c.total);
        table_cell(&t, "%s", bound_of(&c));
    }
    status = table_print(&t, TABLE_PLAIN, j->call->out, error);
    table_fini(&t);
    return status;
}

/* How much of the gain is cores and how much is fusion. */
static void print_verdict(const job *j)
{
    double cores = speed(j, PARTITION_S3);
    double both = speed(j, PARTITION_S6);

    (void)fprintf(j->call->out,
                  "\nDLFusion %.2fx over one core without fusion: %.2fx come from the number of "
                  "cores alone, %.2fx from fusion; %.1f %% of the best partition of blocks of up "
                  "to %d layers\n",
                  both, cores, both / cores,
                  100 * j->results[PARTITION_S7].seconds / j->results[PARTITION_S6].seconds,
                  (int)LONGEST);
}

static spry_status print_text(const job *j, spry_error *error)
{
    spry_status status = SPRY_OK;

    print_machine(j);
    if (cli_given(j->call, "compare")) {
        status = print_strategies(j, error);
    }
    if (status == SPRY_OK) {
        status = print_blocks(j, &j->results[PARTITION_S6], error);
    }
    print_verdict(j);
    return status;
}

static void write_partition(json_writer *json, const job *j, int strategy)
{
    const partition *p = &j->results[strategy];

    json_write_object(json, partition_strategy_names[strategy]);
    json_write_string(json, "what", partition_strategy_texts[strategy]);
    json_write_f64(json, "milliseconds", MILLI * p->seconds);
    json_write_f64(json, "speed", speed(j, strategy));
    json_write_array(json, "blocks");
    for (int32_t i = 0; i < p->count; i++) {
        const partition_block *b = &p->blocks[i];
        mlu_cost c;

        mlu_block_cost(&j->context, b->first, b->last, b->team, &c);
        json_write_object(json, NULL);
        json_write_array(json, "layers");
        for (int32_t k = b->first; k <= b->last; k++) {
            json_write_string(json, NULL, j->layers.items[k].name);
        }
        json_write_end(json);
        json_write_i64(json, "cores", b->team);
        json_write_f64(json, "operations", useful_operations(j, b));
        json_write_f64(json, "computed", c.operations);
        json_write_f64(json, "bytes", c.moved);
        json_write_f64(json, "milliseconds", MILLI * c.total);
        json_write_string(json, "bound", bound_of(&c));
        json_write_end(json);
    }
    json_write_end(json);
    json_write_end(json);
}

static spry_status print_json(const job *j, spry_error *error)
{
    const output_record record = {.model = j->call->arguments[1]};
    output_document document;
    json_writer *json = &document.json;
    spry_status status;

    output_begin(&document, j->call);
    json_write_string(json, "model", "mlu");
    target_write_resolved(j->t, json, "target");
    json_write_i64(json, "layers", j->layers.count);
    json_write_object(json, "cores_by_layer");
    json_write_f64(json, "alpha", j->cores.alpha);
    json_write_f64(json, "beta", j->cores.beta);
    json_write_f64(json, "gamma", j->cores.gamma);
    json_write_f64(json, "r_squared", j->cores.r_squared);
    json_write_f64(json, "accuracy", j->cores.accuracy);
    json_write_bool(json, "by_neighbour", j->cores.by_neighbour);
    json_write_end(json);
    json_write_object(json, "strategies");
    for (int s = 0; s < PARTITION_STRATEGIES; s++) {
        if (cli_given(j->call, "compare") || s == PARTITION_S6) {
            write_partition(json, j, s);
        }
    }
    json_write_end(json);
    status = output_write_record(json, &record, error);
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return output_end(&document, j->call, error);
}

static spry_status write_csv(const job *j, const char *path, spry_error *error)
{
    text t;
    spry_status status;

    text_init(&t, NULL, (size_t)1 << 26);
    text_append_string(&t, "strategy,first,last,layers,cores,operations,computed,bytes,"
                           "milliseconds,bound\n");
    for (int s = 0; s < PARTITION_STRATEGIES; s++) {
        for (int32_t i = 0; i < j->results[s].count; i++) {
            const partition_block *b = &j->results[s].blocks[i];
            mlu_cost c;

            mlu_block_cost(&j->context, b->first, b->last, b->team, &c);
            text_append_format(&t, "%s,\"%s\",\"%s\",%d,%d,%.0f,%.0f,%.0f,%.6f,%s\n",
                               partition_strategy_names[s], j->layers.items[b->first].name,
                               j->layers.items[b->last].name, b->last - b->first + 1, b->team,
                               useful_operations(j, b), c.operations, c.moved, MILLI * c.total,
                               bound_of(&c));
        }
    }
    status = text_status(&t, path, error);
    if (status == SPRY_OK) {
        status = file_replace(path, t.data, t.length, error);
    }
    text_fini(&t);
    return status;
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
    const char *csv = cli_text(call, "csv");
    spry_status status = csv != NULL ? output_check_free(call, csv, error) : SPRY_OK;

    if (status == SPRY_OK) {
        status = read_machine(&j, error);
    }
    if (status == SPRY_OK) {
        status = read_layers(&j, error);
    }
    if (status == SPRY_OK) {
        status = partition_all(&j, error);
    }
    if (status == SPRY_OK && csv != NULL) {
        status = write_csv(&j, csv, error);
    }
    if (status == SPRY_OK) {
        status = cli_given(call, "json") ? print_json(&j, error) : print_text(&j, error);
    }
    mlu_layers_fini(&j.layers);
    target_destroy(j.t);
    return status;
}

const simulate_model simulate_mlu = {.name = "mlu", .options = taken, .arguments = 1, .run = run};
