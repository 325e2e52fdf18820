/* spry simulate dram: what a memory does with a trace. */
#include <stdio.h>
#include <string.h>

#include "cli/simulate/models.h"
#include "cli/simulate/tell.h"
#include "simulate/dram/dram_target.h"
#include "simulate/dram/dram_trace.h"
#include "simulate/prices.h"

static const char *const taken[] = {"traffic", "seed", NULL};

static const cli_option own[] = {
    {.name = "requests",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "10000",
     .lowest = 1,
     .highest = 16777216,
     .help = "of --traffic"},
    {0},
};

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
    const char *source;
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

    *p = (prices){.known = target_has(t, "energy.dram"), .source = prices_source(t)};
    for (size_t i = 0; p->known && i < sizeof keys / sizeof *keys && status == SPRY_OK; i++) {
        status = prices_read(t, keys[i].key, UNIT_JOULES, &p->joules[keys[i].command], error);
    }
    return status;
}

static spry_status load_trace(const cli_call *call, dram_trace *trace, spry_error *error)
{
    const char *word = cli_text(call, "traffic");
    const char *path = call->argument_count > 1 ? call->arguments[1] : NULL;
    int pattern = 0;

    if (path != NULL && (word != NULL || cli_given(call, "requests"))) {
        return spry_fail(error, SPRY_USAGE, path, "give one of them",
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

/* ---- what is seen of the commands ---- */

/* What a page shows of one run: which banks work, and when. */
typedef struct sight {
    report *r;
    const dram_options *o;
    arena memory;
    int banks;                      /* of a channel */
    int *bank_tracks;               /* -1: not made yet */
    int *bus_tracks;                /* by channel */
    int *rank_tracks;               /* by channel and rank: refreshes */
    uint64_t *opened;               /* by bank: the cycle, UINT64_MAX while closed */
    double *accesses, *activations; /* by bank */
    uint64_t last;
} sight;

static spry_status open_sight(sight *s, report *r, const dram_options *o, spry_error *error)
{
    size_t banks = (size_t)(o->channels * o->ranks * o->groups * o->banks);
    size_t ranks = (size_t)(o->channels * o->ranks);

    *s = (sight){.r = r, .o = o, .banks = o->ranks * o->groups * o->banks};
    arena_init(&s->memory, NULL, (size_t)1 << 28);
    s->bank_tracks = arena_array(&s->memory, banks, sizeof *s->bank_tracks);
    s->bus_tracks = arena_array(&s->memory, (size_t)o->channels, sizeof *s->bus_tracks);
    s->rank_tracks = arena_array(&s->memory, ranks, sizeof *s->rank_tracks);
    s->opened = arena_array(&s->memory, banks, sizeof *s->opened);
    s->accesses = arena_array(&s->memory, banks, sizeof *s->accesses);
    s->activations = arena_array(&s->memory, banks, sizeof *s->activations);
    if (s->bank_tracks == NULL || s->bus_tracks == NULL || s->rank_tracks == NULL ||
        s->opened == NULL || s->accesses == NULL || s->activations == NULL) {
        return spry_fail(error, SPRY_LIMIT, "dram", NULL, "no memory for %zu banks", banks);
    }
    for (size_t i = 0; i < banks; i++) {
        s->bank_tracks[i] = -1;
        s->opened[i] = UINT64_MAX;
    }
    for (int c = 0; c < o->channels; c++) {
        char name[48];

        (void)snprintf(name, sizeof name, "channel %d data", c);
        s->bus_tracks[c] = timeline_track(r->timeline, name);
        for (int k = 0; k < o->ranks; k++) {
            (void)snprintf(name, sizeof name, "channel %d rank %d refresh", c, k);
            s->rank_tracks[c * o->ranks + k] = timeline_track(r->timeline, name);
        }
    }
    return SPRY_OK;
}

static int bank_of(const sight *s, const dram_issue *i)
{
    return i->channel * s->banks + (i->rank * s->o->groups + i->group) * s->o->banks + i->bank;
}

/* The row that a bank holds until `cycle`. */
static void close_row(sight *s, int bank, uint64_t cycle)
{
    char name[64];

    if (s->opened[bank] == UINT64_MAX) {
        return;
    }
    if (s->bank_tracks[bank] < 0) {
        int in = bank % s->banks;

        (void)snprintf(name, sizeof name, "channel %d rank %d group %d bank %d", bank / s->banks,
                       in / (s->o->groups * s->o->banks), in / s->o->banks % s->o->groups,
                       in % s->o->banks);
        s->bank_tracks[bank] = timeline_track(s->r->timeline, name);
    }
    timeline_span(s->r->timeline, s->bank_tracks[bank], s->opened[bank] * s->o->period,
                  cycle * s->o->period, "open row", "open");
    s->opened[bank] = UINT64_MAX;
}

static void see(void *context, const dram_issue *i)
{
    sight *s = context;
    const dram_options *o = s->o;
    int bank = bank_of(s, i);
    uint64_t data = i->cycle + (uint64_t)(i->command == DRAM_READ ? o->AL + o->CL : o->AL + o->CWL);

    s->last = i->cycle;
    switch (i->command) {
    case DRAM_ACTIVATE:
        s->activations[bank]++;
        s->opened[bank] = i->cycle;
        break;
    case DRAM_PRECHARGE: close_row(s, bank, i->cycle); break;
    case DRAM_READ:
    case DRAM_WRITE:
        s->accesses[bank]++;
        timeline_span(s->r->timeline, s->bus_tracks[i->channel], data * o->period,
                      (data + (uint64_t)o->burst) * o->period,
                      i->command == DRAM_READ ? "read" : "write", command_names[i->command]);
        break;
    case DRAM_REFRESH:
        timeline_span(s->r->timeline, s->rank_tracks[i->channel * o->ranks + i->rank],
                      i->cycle * o->period, (i->cycle + (uint64_t)o->tRFC) * o->period, "refresh",
                      "refresh");
        break;
    default: break;
    }
}

static void tell_banks(sight *s)
{
    report_heat_map map = {.key = "bank_accesses",
                           .title = "Reads and writes: a column per bank, a row per channel",
                           .unit = "accesses",
                           .width = s->banks,
                           .height = s->o->channels,
                           .cells = s->accesses};

    for (int i = 0; i < s->banks * s->o->channels; i++) {
        close_row(s, i, s->last + 1);
    }
    report_heat(s->r, &map);
    map.key = "bank_activations";
    map.title = "Rows opened: a column per bank, a row per channel";
    map.unit = "activations";
    map.cells = s->activations;
    report_heat(s->r, &map);
}

/* ---- what is told ---- */

static void tell(report *r, const dram_run *run, double peak, const prices *p)
{
    static const report_column columns[] = {{"command", "command", -1, REPORT_PLAIN},
                                            {"count", "count", 0, REPORT_BAR},
                                            {NULL, NULL, 0, REPORT_PLAIN}};
    const dram_counts *c = &run->counts;

    report_number(r, "reads", "reads", (double)c->reads, 0, "");
    report_number(r, "writes", "writes", (double)c->writes, 0, "");
    report_number(r, "cycles", "cycles", (double)run->cycles, 0, "");
    report_number(r, "gigabytes_per_second", "bandwidth", run->bandwidth * 1e-9, 2, "GB/s");
    report_number(r, "peak_gigabytes_per_second", "of at most", peak * 1e-9, 2, "GB/s");
    report_number(r, "read_latency", "read latency", run->read_latency, 2, "cycles");
    report_table_begin(r, "commands", "Commands", columns);
    for (int i = 0; i < DRAM_COMMANDS; i++) {
        report_cell_word(r, command_names[i]);
        report_cell(r, (double)c->commands[i]);
        if (p->known && p->joules[i] > 0) {
            report_energy(r, "memory", command_names[i], (double)c->commands[i],
                          p->joules[i] * 1e12, p->source);
        }
    }
}

static spry_status run_trace(const cli_call *call, report *r, const dram_options *o,
                             const dram_trace *trace, dram_run *result, spry_error *error)
{
    bool is_seen = r->timeline != NULL || cli_given(call, "json");
    sight s = {0};
    spry_status status = is_seen ? open_sight(&s, r, o, error) : SPRY_OK;

    if (status == SPRY_OK) {
        double begin = simulate_seconds();

        status = dram_trace_watch(NULL, o, trace, is_seen ? see : NULL, &s, result, error);
        output_detail(call, "at %.2f M channel-cycles/s",
                      (double)o->channels * (double)result->cycles /
                          ((simulate_seconds() - begin) * 1e6 + 1e-3));
    }
    if (status == SPRY_OK && is_seen) {
        tell_banks(&s);
    }
    arena_fini(&s.memory);
    return status;
}

static spry_status run(const cli_call *call, spry_error *error)
{
    const output_record record = {.is_seeded = call->argument_count == 1,
                                  .seed = (uint64_t)cli_integer(call, "seed")};
    dram_options o;
    dram_trace trace = {0};
    dram_run result;
    report r = {0};
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
        simulate_report(&r, call, "Memory under requests");
        status = run_trace(call, &r, &o, &trace, &result, error);
    }
    if (status == SPRY_OK) {
        tell(&r, &result, dram_peak_bandwidth(&o), &p);
        status = simulate_tell(call, &r, t, &record, error);
    }
    report_fini(&r);
    dram_trace_fini(&trace, NULL);
    target_destroy(t);
    return status;
}

const simulate_model simulate_dram = {
    .name = "dram",
    .part = {.title = "dram [REQUESTS.txt]",
             .about = "A memory at the level of commands, under requests of 64 bytes, offered as "
                      "fast as the queues take them but at most one a cycle: a pattern, or lines "
                      "of \"0xADDRESS READ|WRITE CYCLE\".",
             .options = own},
    .options = taken,
    .optional_arguments = 1,
    .run = run};
