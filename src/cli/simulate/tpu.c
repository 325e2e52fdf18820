/* spry simulate tpu: a network's layers on systolic arrays. */
#include <string.h>

#include "base/alloc.h"
#include "cli/simulate/models.h"
#include "cli/simulate/tell.h"
#include "simulate/array/lowering_target.h"
#include "spry/model.h"

static const char *const taken[] = {"level", "batch", "compare", NULL};

static const cli_option own[] = {
    {.name = "lowering",
     .kind = CLI_CHOICE,
     .value = "HOW",
     .fallback = "channel-first",
     .choices = lowering_way_names,
     .help = "how convolutions become products"},
    {.name = "multi-tile",
     .kind = CLI_CHOICE,
     .value = "TAPS",
     .fallback = "row",
     .choices = lowering_multi_names,
     .help = "taps that may share a pass: one, those of a kernel row, any"},
    {0},
};

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

static void tell_layers(const job *j, report *r)
{
    static const report_column columns[] = {
        {"name", "layer", -1, REPORT_PLAIN},
        {"taps_together", "taps", 0, REPORT_PLAIN},
        {"passes", "passes", 0, REPORT_PLAIN},
        {"cycles", "cycles", 0, REPORT_BAR},
        {"array_cycles", "array", 0, REPORT_BAR},
        {"memory_cycles", "memory", 0, REPORT_BAR},
        {"patch_cycles", "patches", 0, REPORT_PLAIN},
        {"late_weight_cycles", "late", 0, REPORT_PLAIN},
        {"used", "used %", 1, REPORT_BAR},
        {"macs", "MACs", 0, REPORT_PLAIN},
        {"macs_per_loaded_element", "per load", 1, REPORT_PLAIN},
        {"read_bytes", "read B", 0, REPORT_PLAIN},
        {"written_bytes", "written B", 0, REPORT_PLAIN},
        {"bound", "bound", -1, REPORT_PLAIN},
        {NULL, NULL, 0, REPORT_PLAIN}};

    report_table_begin(r, "layers", "Layers", columns);
    for (int32_t i = 0; i < j->layers.count; i++) {
        const lowering_cost *c = &j->costs[i];

        report_cell_word(r, j->layers.items[i].name);
        report_cell(r, (double)c->taps_together);
        report_cell(r, (double)c->passes);
        report_cell(r, (double)c->cycles);
        report_cell(r, (double)c->compute);
        report_cell(r, (double)c->memory);
        report_cell(r, (double)c->fetch);
        report_cell(r, (double)c->late_weights);
        report_cell(r, 100.0 * c->utilisation);
        report_cell(r, c->macs);
        report_cell(r, c->macs_per_loaded);
        report_cell(r, (double)c->read_bytes);
        report_cell(r, (double)c->written_bytes);
        report_cell_word(r, bound_of(c));
    }
}

/* Layer after layer: what is computed, and what is moved for it meanwhile. */
static void tell_times(const job *j, report *r)
{
    int layers = timeline_track(r->timeline, "layers");
    int array = timeline_track(r->timeline, "array");
    int memory = timeline_track(r->timeline, "memory");
    uint64_t at = 0;

    for (int32_t i = 0; i < j->layers.count; i++) {
        const lowering_cost *c = &j->costs[i];
        const char *name = timeline_keep(r->timeline, j->layers.items[i].name);

        timeline_span(r->timeline, layers, at, at + c->cycles * j->machine.period, "layer", name);
        timeline_span(r->timeline, array, at, at + c->compute * j->machine.period, "array", name);
        timeline_span(r->timeline, memory, at, at + c->memory * j->machine.period, "memory", name);
        at += c->cycles * j->machine.period;
    }
}

static void tell_ways(const job *j, const total sums[LOWERING_WAYS], report *r)
{
    static const report_column columns[] = {{"way", "way", -1, REPORT_PLAIN},
                                            {"cycles", "cycles", 0, REPORT_BAR},
                                            {"milliseconds", "ms", 3, REPORT_PLAIN},
                                            {"used", "used %", 1, REPORT_PLAIN},
                                            {"megabytes", "MB moved", 1, REPORT_BAR},
                                            {"millijoules", "mJ", 2, REPORT_BAR},
                                            {NULL, NULL, 0, REPORT_PLAIN}};

    report_table_begin(r, "ways", "Ways of lowering", columns);
    for (int way = 0; way < LOWERING_WAYS; way++) {
        const total *sum = &sums[way];

        report_cell_word(r, lowering_way_names[way]);
        report_cell(r, (double)sum->cycles);
        report_cell(r, milliseconds(j, sum->cycles));
        report_cell(r, 100.0 * share(j, sum->macs, sum->cycles));
        report_cell(r, sum->bytes * 1e-6);
        report_cell(r, sum->joules * 1e3);
    }
}

static void tell_energy(const job *j, report *r)
{
    const lowering_prices *p = &j->prices;
    double macs = 0.0;
    double scratch = 0.0;
    double memory = 0.0;

    for (int32_t i = 0; i < j->layers.count; i++) {
        const lowering_cost *c = &j->costs[i];

        macs += c->macs;
        scratch += lowering_scratch_bits(&j->machine, c);
        memory += 8.0 * (double)(c->read_bytes + c->written_bytes);
    }
    if (p->are_known) {
        report_energy(r, "array", "multiply-add", macs, p->mac * 1e12, p->source);
        report_energy(r, "scratch pad", "bit", scratch, p->scratch_bit * 1e12, p->source);
        report_energy(r, "memory", "bit", memory, p->memory_bit * 1e12, p->source);
    }
}

static spry_status tell(const job *j, const total sums[LOWERING_WAYS], report *r, spry_error *error)
{
    const output_record record = {.model = j->call->arguments[1]};
    const total *sum = &sums[j->way];

    simulate_report(r, j->call, "Layers on systolic arrays");
    tell_layers(j, r);
    if (cli_given(j->call, "compare")) {
        tell_ways(j, sums, r);
    }
    report_word(r, "level", "level", j->is_cycle ? "cycle" : "fast");
    report_word(r, "lowering", "lowering", lowering_way_names[j->way]);
    report_word(r, "multi_tile", "taps together", lowering_multi_names[j->multi]);
    report_number(r, "cycles", "cycles", (double)sum->cycles, 0, "");
    report_number(r, "milliseconds", "time", milliseconds(j, sum->cycles), 3, "ms");
    report_number(r, "used", "array used", 100.0 * share(j, sum->macs, sum->cycles), 1, "%");
    report_number(r, "macs", "multiply-adds", sum->macs, 0, "");
    report_number(r, "bytes", "moved", sum->bytes, 0, "B");
    tell_energy(j, r);
    tell_times(j, r);
    if (j->layers.left_out > 0) {
        output_detail(j->call, "%d nodes are no products and were left out", j->layers.left_out);
    }
    return simulate_tell(j->call, r, j->t, &record, error);
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

static spry_status run(const cli_call *call, spry_error *error)
{
    job j = {.call = call,
             .way = (lowering_way)choice_of(cli_text(call, "lowering"), lowering_way_names),
             .multi = (lowering_multi)choice_of(cli_text(call, "multi-tile"), lowering_multi_names),
             .is_cycle = strcmp(cli_text(call, "level"), "cycle") == 0};
    total sums[LOWERING_WAYS];
    report r = {0};
    spry_status status = read_machine(&j, error);

    if (status == SPRY_OK) {
        status = read_layers(&j, error);
    }
    if (status == SPRY_OK) {
        double begin = simulate_seconds();

        status = simulate_ways(&j, sums, error);
        output_detail(call, "%d layers in %.6f s", (int)j.layers.count, simulate_seconds() - begin);
    }
    if (status == SPRY_OK) {
        status = tell(&j, sums, &r, error);
    }
    report_fini(&r);
    simulate_layers_fini(&j.layers);
    target_destroy(j.t);
    return status;
}

const simulate_model simulate_tpu = {
    .name = "tpu",
    .part = {.title = "tpu MODEL.onnx",
             .about = "The convolutions and products of a network through systolic arrays beside a "
                      "memory: passes, cycles, use of the array and energy per layer.",
             .options = own},
    .options = taken,
    .arguments = 1,
    .run = run};
