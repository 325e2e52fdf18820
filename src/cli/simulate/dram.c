/* spry simulate dram: what a memory does with a trace. */
#include <inttypes.h>
#include <string.h>

#include "cli/output.h"
#include "cli/simulate/models.h"
#include "simulate/dram/dram_target.h"
#include "simulate/dram/dram_trace.h"

static const char *const taken[] = {"target", "set", "traffic", "trace", "requests", "seed", NULL};

static const char *const patterns[DRAM_PATTERNS] = {
    [DRAM_SEQUENTIAL] = "sequential", [DRAM_RANDOM] = "random", [DRAM_MIXED] = "mixed"};

static const char *const command_names[DRAM_COMMANDS] = {[DRAM_ACTIVATE] = "activate",
                                                         [DRAM_PRECHARGE] = "precharge",
                                                         [DRAM_READ] = "read",
                                                         [DRAM_WRITE] = "write",
                                                         [DRAM_REFRESH] = "refresh"};

typedef struct prices {
    bool known;
    double joules[DRAM_COMMANDS];
} prices;

static spry_status read_prices(target *t, prices *p, spry_error *error)
{
    static const struct {
        const char *key;
        dram_command command;
    } keys[] = {{"energy.dram.activate", DRAM_ACTIVATE},
                {"energy.dram.read", DRAM_READ},
                {"energy.dram.write", DRAM_WRITE},
                {"energy.dram.refresh", DRAM_REFRESH}};
    spry_status status = SPRY_OK;

    *p = (prices){.known = target_has(t, "energy.dram")};
    for (size_t i = 0; p->known && i < sizeof keys / sizeof *keys && status == SPRY_OK; i++) {
        status = target_quantity(t, keys[i].key, UNIT_JOULES, 0.0, 1.0, &p->joules[keys[i].command],
                                 error);
    }
    return status;
}

static double energy_of(const prices *p, const dram_counts *counts)
{
    double joules = 0.0;

    for (int c = 0; c < DRAM_COMMANDS; c++) {
        joules += p->joules[c] * (double)counts->commands[c];
    }
    return joules;
}

static spry_status load_trace(const cli_call *call, dram_trace *trace, spry_error *error)
{
    const char *word = cli_text(call, "traffic");
    const char *path = cli_text(call, "trace");
    int pattern = 0;

    if (path != NULL && (word != NULL || cli_given(call, "requests"))) {
        return spry_fail(error, SPRY_USAGE, "--trace", "give one of them",
                         "the requests come from a file or are made up, not both");
    }
    if (path != NULL) {
        return dram_trace_read(NULL, path, trace, error);
    }
    while (word != NULL && pattern < DRAM_PATTERNS && strcmp(word, patterns[pattern]) != 0) {
        pattern++;
    }
    return pattern < DRAM_PATTERNS
               ? dram_trace_make(NULL, (dram_pattern)pattern, (size_t)cli_integer(call, "requests"),
                                 (uint64_t)cli_integer(call, "seed"), trace, error)
               : spry_fail(error, SPRY_USAGE, "--traffic", "there are sequential, random and mixed",
                           "'%s' is nothing for a memory", word);
}

static void print_text(const cli_call *call, const dram_run *r, double peak, const prices *p)
{
    const dram_counts *c = &r->counts;

    (void)fprintf(call->out, "requests      %" PRIu64 " (%" PRIu64 " reads, %" PRIu64 " writes)\n",
                  c->reads + c->writes, c->reads, c->writes);
    (void)fprintf(call->out, "cycles        %" PRIu64 "\n", r->cycles);
    (void)fprintf(call->out, "bandwidth     %.2f GB/s of %.2f\n", r->bandwidth * 1e-9, peak * 1e-9);
    (void)fprintf(call->out, "read latency  %.2f cycles\n", r->read_latency);
    (void)fprintf(call->out, "commands     ");
    for (int i = 0; i < DRAM_COMMANDS; i++) {
        (void)fprintf(call->out, " %" PRIu64 " %s%s", c->commands[i], command_names[i],
                      i + 1 < DRAM_COMMANDS ? "," : "\n");
    }
    if (p->known) {
        (void)fprintf(call->out, "energy        %.4g uJ\n", energy_of(p, c) * 1e6);
    }
}

static spry_status print_json(const cli_call *call, const target *t, const dram_run *r, double peak,
                              const prices *p, spry_error *error)
{
    output_record record = {.is_seeded = !cli_given(call, "trace"),
                            .seed = (uint64_t)cli_integer(call, "seed")};
    output_document document;
    spry_status status;

    output_begin(&document, call);
    json_write_string(&document.json, "model", "dram");
    target_write_resolved(t, &document.json, "target");
    json_write_u64(&document.json, "reads", r->counts.reads);
    json_write_u64(&document.json, "writes", r->counts.writes);
    json_write_u64(&document.json, "cycles", r->cycles);
    json_write_f64(&document.json, "bytes_per_second", r->bandwidth);
    json_write_f64(&document.json, "peak_bytes_per_second", peak);
    json_write_f64(&document.json, "read_latency", r->read_latency);
    json_write_object(&document.json, "commands");
    for (int i = 0; i < DRAM_COMMANDS; i++) {
        json_write_u64(&document.json, command_names[i], r->counts.commands[i]);
    }
    json_write_end(&document.json);
    if (p->known) {
        json_write_f64(&document.json, "joules", energy_of(p, &r->counts));
    }
    status = output_write_record(&document.json, &record, error);
    if (status != SPRY_OK) {
        output_drop(&document);
        return status;
    }
    return output_end(&document, call, error);
}

static spry_status run(const cli_call *call, spry_error *error)
{
    dram_options o;
    dram_trace trace = {0};
    dram_run result;
    prices p;
    target *t = NULL;
    spry_status status = simulate_target(call, "ddr4-2400", &t, error);

    if (status == SPRY_OK) {
        status = dram_options_read(t, &o, error);
    }
    if (status == SPRY_OK) {
        status = read_prices(t, &p, error);
    }
    if (status == SPRY_OK) {
        status = target_finish(t, error);
    }
    if (status == SPRY_OK) {
        status = load_trace(call, &trace, error);
    }
    if (status == SPRY_OK) {
        status = dram_trace_run(NULL, &o, &trace, &result, error);
    }
    if (status == SPRY_OK && cli_given(call, "json")) {
        status = print_json(call, t, &result, dram_peak_bandwidth(&o), &p, error);
    } else if (status == SPRY_OK) {
        print_text(call, &result, dram_peak_bandwidth(&o), &p);
    }
    dram_trace_fini(&trace, NULL);
    target_destroy(t);
    return status;
}

const simulate_model simulate_dram = {.name = "dram", .options = taken, .run = run};
