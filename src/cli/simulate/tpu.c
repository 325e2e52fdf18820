/* spry simulate tpu: a network's layers on systolic arrays. */
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/files.h"
#include "cli/output.h"
#include "cli/simulate/models.h"
#include "cli/table.h"
#include "simulate/array/lowering_target.h"
#include "spry/model.h"

static const char *const taken[] = {"target", "set",     "lowering", "multi-tile", "level",
                                    "batch",  "compare", "csv",      "force",      NULL};

typedef struct job {
    const cli_call *call;
    target *t;
    lowering_machine machine;
    lowering_prices prices;
    simulate_layers layers;
    lowering_way way;
    lowering_multi multi;
    bool is_cycle;        /* the memory is simulated command by command */
    lowering_cost *costs; /* one per layer */
} job;

/* Everything over all layers. */
typedef struct total {
    uint64_t cycles, compute, memory;
    double macs, joules;
    double bytes;
} total;

static int choice_of(const char *word, const char *const *names)
{
    int i = 0;

    while (names[i] != NULL && strcmp(names[i], word) != 0) {
        i++;
    }
    return i;
}

static spry_status simulate_layer_at(job *j, lowering_way way, int32_t i, spry_error *error)
{
    const simulate_layer *l = &j->layers.items[i];

    for (int32_t before = 0; before < i; before++) {
        if (simulate_layers_are_alike(&j->layers.items[before], l)) {
            j->costs[i] = j->costs[before];
            return SPRY_OK;
        }
    }
    if (j->is_cycle) {
        return lowering_simulate(NULL, &j->machine, l, way, j->multi, &j->costs[i], error);
    }
    lowering_estimate(&j->machine, l, way, j->multi, &j->costs[i]);
    return SPRY_OK;
}

static spry_status simulate_all(job *j, lowering_way way, total *sum, spry_error *error)
{
    spry_status status = SPRY_OK;

    *sum = (total){0};
    for (int32_t i = 0; i < j->layers.count && status == SPRY_OK; i++) {
        const lowering_cost *c = &j->costs[i];

        status = simulate_layer_at(j, way, i, error);
        sum->cycles += c->cycles;
        sum->compute += c->compute;
        sum->memory += c->memory;
        sum->macs += c->macs;
        sum->bytes += (double)(c->read_bytes + c->written_bytes);
        sum->joules += lowering_energy(&j->machine, &j->prices, c);
    }
    return status;
}

static double share(const job *j, double macs, uint64_t cycles)
{
    double elements = (double)j->machine.shape.rows * (double)j->machine.shape.columns *
                      (double)j->machine.arrays;

    return cycles > 0 ? macs / (elements * (double)cycles) : 0.0;
}

static double milliseconds(const job *j, uint64_t cycles)
{
    return (double)cycles * (double)j->machine.period * 1e-12;
}

/* What holds a layer up most. */
static const char *bound_of(const lowering_cost *c)
{
    return c->memory > c->compute              ? "memory"
           : c->fetch > 0                      ? "patches"
           : c->late_weights > c->streamed / 4 ? "weights"
                                               : "array";
}

static spry_status print_layers(const job *j, spry_error *error)
{
    static const table_column columns[] = {{"layer", false}, {"taps", true},   {"passes", true},
                                           {"cycles", true}, {"array", true},  {"memory", true},
                                           {"used %", true}, {"bound", false}, {NULL, false}};
    spry_status status;
    table t;

    table_init(&t, columns);
    for (int32_t i = 0; i < j->layers.count; i++) {
        const lowering_cost *c = &j->costs[i];

        table_cell(&t, "%s", j->layers.items[i].name);
        table_cell(&t, "%" PRId64, c->taps_together);
        table_cell(&t, "%" PRId64, c->passes);
        table_cell(&t, "%" PRIu64, c->cycles);
        table_cell(&t, "%" PRIu64, c->compute);
        table_cell(&t, "%" PRIu64, c->memory);
        table_cell(&t, "%.1f", 100.0 * c->utilisation);
        table_cell(&t, "%s", bound_of(c));
    }
    status = table_print(&t, TABLE_PLAIN, j->call->out, error);
    table_fini(&t);
    return status;
}

static void print_total(const job *j, const char *name, const total *sum)
{
    FILE *out = j->call->out;

    (void)fprintf(out,
                  "%-13s  %" PRIu64 " cycles, %.3f ms, %.1f %% of the array used, %.1f MB moved",
                  name, sum->cycles, milliseconds(j, sum->cycles),
                  100.0 * share(j, sum->macs, sum->cycles), sum->bytes * 1e-6);
    if (j->prices.are_known) {
        (void)fprintf(out, ", %.2f mJ", sum->joules * 1e3);
    }
    (void)fprintf(out, "\n");
}

static void write_total(json_writer *json, const job *j, const total *sum)
{
    json_write_u64(json, "cycles", sum->cycles);
    json_write_f64(json, "milliseconds", milliseconds(j, sum->cycles));
    json_write_f64(json, "utilisation", share(j, sum->macs, sum->cycles));
    json_write_f64(json, "macs", sum->macs);
    json_write_f64(json, "bytes", sum->bytes);
    if (j->prices.are_known) {
        json_write_f64(json, "joules", sum->joules);
    }
}

static void write_layer(json_writer *json, const job *j, int32_t i)
{
    const lowering_cost *c = &j->costs[i];

    json_write_object(json, NULL);
    json_write_string(json, "name", j->layers.items[i].name);
    json_write_i64(json, "taps_together", c->taps_together);
    json_write_i64(json, "passes", c->passes);
    json_write_u64(json, "cycles", c->cycles);
    json_write_u64(json, "array_cycles", c->compute);
    json_write_u64(json, "memory_cycles", c->memory);
    json_write_u64(json, "patch_cycles", c->fetch);
    json_write_u64(json, "late_weight_cycles", c->late_weights);
    json_write_f64(json, "utilisation", c->utilisation);
    json_write_f64(json, "macs", c->macs);
    json_write_f64(json, "macs_per_loaded_element", c->macs_per_loaded);
    json_write_i64(json, "read_bytes", c->read_bytes);
    json_write_i64(json, "written_bytes", c->written_bytes);
    json_write_string(json, "bound", bound_of(c));
    json_write_end(json);
}

static spry_status print_json(const job *j, const total sums[LOWERING_WAYS], spry_error *error)
{
    const output_record record = {.model = j->call->arguments[1]};
    output_document document;
    spry_status status;

    output_begin(&document, j->call);
    json_write_string(&document.json, "model", "tpu");
    target_write_resolved(j->t, &document.json, "target");
    json_write_string(&document.json, "level", j->is_cycle ? "cycle" : "fast");
    json_write_string(&document.json, "lowering", lowering_way_names[j->way]);
    json_write_string(&document.json, "multi_tile", lowering_multi_names[j->multi]);
    write_total(&document.json, j, &sums[j->way]);
    for (int way = 0; way < LOWERING_WAYS && cli_given(j->call, "compare"); way++) {
        json_write_object(&document.json, lowering_way_names[way]);
        write_total(&document.json, j, &sums[way]);
        json_write_end(&document.json);
    }
    json_write_array(&document.json, "layers");
    for (int32_t i = 0; i < j->layers.count; i++) {
        write_layer(&document.json, j, i);
    }
    json_write_end(&document.json);
    status = output_write_record(&document.json, &record, error);
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
    text_append_string(&t, "layer,taps_together,passes,cycles,array_cycles,memory_cycles,"
                           "utilisation,read_bytes,written_bytes,bound\n");
    for (int32_t i = 0; i < j->layers.count; i++) {
        const lowering_cost *c = &j->costs[i];

        text_append_format(&t,
                           "\"%s\",%" PRId64 ",%" PRId64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
                           ",%.6f,%" PRId64 ",%" PRId64 ",%s\n",
                           j->layers.items[i].name, c->taps_together, c->passes, c->cycles,
                           c->compute, c->memory, c->utilisation, c->read_bytes, c->written_bytes,
                           bound_of(c));
    }
    status = text_status(&t, path, error);
    if (status == SPRY_OK) {
        status = file_replace(path, t.data, t.length, error);
    }
    text_fini(&t);
    return status;
}

static spry_status read_machine(job *j, spry_error *error)
{
    spry_status status = simulate_target(j->call, "tpuv2", &j->t, error);

    if (status == SPRY_OK) {
        status = lowering_machine_read(j->t, &j->machine, error);
    }
    if (status == SPRY_OK) {
        status = lowering_prices_read(j->t, &j->prices, error);
    }
    if (status == SPRY_OK) {
        status = target_finish(j->t, error);
    }
    if (status == SPRY_OK && j->is_cycle && !j->machine.has_dram) {
        return target_refuse(j->t, "memory.dram.timing", "is needed for --level cycle", error);
    }
    return status;
}

static spry_status read_layers(job *j, spry_error *error)
{
    spry_model *model = NULL;
    spry_status status = spry_model_load(NULL, j->call->arguments[1], &model, error);

    if (status == SPRY_OK) {
        status = simulate_layers_of_model(&j->layers, model, error);
    }
    spry_model_destroy(model);
    if (status == SPRY_OK) {
        simulate_layers_batch(&j->layers, cli_integer(j->call, "batch"));
    }
    if (status == SPRY_OK) {
        j->costs = arena_array(&j->layers.memory, (size_t)j->layers.count, sizeof *j->costs);
        if (j->costs == NULL) {
            status = alloc_failed(error, (size_t)j->layers.count * sizeof *j->costs);
        }
    }
    return status;
}

/* --compare shows every way; what is told of layers is of the one that was asked for, so that one
 * comes last. */
static spry_status simulate_ways(job *j, total sums[LOWERING_WAYS], spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int way = 0; way < LOWERING_WAYS && cli_given(j->call, "compare"); way++) {
        if (status == SPRY_OK && way != (int)j->way) {
            status = simulate_all(j, (lowering_way)way, &sums[way], error);
        }
    }
    return status == SPRY_OK ? simulate_all(j, j->way, &sums[j->way], error) : status;
}

static spry_status tell(const job *j, const total sums[LOWERING_WAYS], spry_error *error)
{
    const char *csv = cli_text(j->call, "csv");
    spry_status status = csv != NULL ? write_csv(j, csv, error) : SPRY_OK;

    if (status != SPRY_OK || cli_given(j->call, "json")) {
        return status == SPRY_OK ? print_json(j, sums, error) : status;
    }
    status = print_layers(j, error);
    (void)fprintf(j->call->out, "\n");
    for (int way = 0; way < LOWERING_WAYS && status == SPRY_OK; way++) {
        if (way == (int)j->way || cli_given(j->call, "compare")) {
            print_total(j, lowering_way_names[way], &sums[way]);
        }
    }
    if (j->layers.left_out > 0) {
        output_detail(j->call, "%d nodes are no products and were left out", j->layers.left_out);
    }
    return status;
}

static spry_status run(const cli_call *call, spry_error *error)
{
    job j = {.call = call,
             .way = (lowering_way)choice_of(cli_text(call, "lowering"), lowering_way_names),
             .multi = (lowering_multi)choice_of(cli_text(call, "multi-tile"), lowering_multi_names),
             .is_cycle = strcmp(cli_text(call, "level"), "cycle") == 0};
    total sums[LOWERING_WAYS];
    const char *csv = cli_text(call, "csv");
    spry_status status = csv != NULL ? output_check_free(call, csv, error) : SPRY_OK;

    if (status == SPRY_OK) {
        status = read_machine(&j, error);
    }
    if (status == SPRY_OK) {
        status = read_layers(&j, error);
    }
    if (status == SPRY_OK) {
        status = simulate_ways(&j, sums, error);
    }
    if (status == SPRY_OK) {
        status = tell(&j, sums, error);
    }
    simulate_layers_fini(&j.layers);
    target_destroy(j.t);
    return status;
}

const simulate_model simulate_tpu = {.name = "tpu", .options = taken, .arguments = 1, .run = run};
