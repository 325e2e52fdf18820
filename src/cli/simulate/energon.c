/* spry simulate energon: attention on a co-processor that filters keys. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/parse.h"
#include "cli/simulate/models.h"
#include "cli/simulate/tell.h"
#include "cli/subject.h"
#include "simulate/energon/study.h"

static const char *const taken[] = {"compare", "threads", "seed", NULL};

static const cli_option own[] = {
    {.name = "alpha",
     .kind = CLI_TEXT,
     .value = "A[,A...]",
     .fallback = "0,0",
     .help = "of a model: how strict each round is, from -1 to 1; 0 keeps what reaches the mean"},
    {.name = "keep",
     .kind = CLI_NUMBER,
     .value = "P",
     .fallback = "0.25",
     .lowest = 0,
     .highest = 1,
     .help = "of HxQxKxD: the share of keys that survives"},
    {.name = "locality",
     .kind = CLI_NUMBER,
     .value = "L",
     .fallback = "0.5",
     .lowest = 0,
     .highest = 1,
     .help = "of HxQxKxD: the share of choices that are those of the query before"},
    SUBJECT_FILE_OPTIONS,
    {0},
};

enum { EXTENTS = 4, EXTENT_MOST = 65536 };

static const char *const way_names[ENERGON_WAYS] = {"energon", "dense", "a3-like", "spatten-like"};

typedef struct job {
    const cli_call *call;
    target *t;
    energon_machine machine;
    energon_study study;
} job;

/* ---- what is simulated ---- */

/* HxQxKxD? */
static bool is_sizes(const char *word, int64_t sizes[EXTENTS])
{
    const char *rest = word;

    for (int i = 0; i < EXTENTS; i++) {
        size_t length = strcspn(rest, "x");
        char number[16] = "";

        if (length < sizeof number) {
            memcpy(number, rest, length);
        }
        if (!parse_i64(number, 1, EXTENT_MOST, &sizes[i]) ||
            (rest[length] == 'x') != (i < EXTENTS - 1)) {
            return false;
        }
        rest += length + 1;
    }
    return sizes[3] <= FILTER_MOST_SIZE;
}

static bool is_trace(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot != NULL && (strcmp(dot, ".npz") == 0 || strcmp(dot, ".safetensors") == 0);
}

/* "0,0.1": one number per round. */
static spry_status read_alpha(const cli_call *call, filter_rule *rule, spry_error *error)
{
    const char *word = cli_text(call, "alpha");
    const char *rest = word;

    *rule = (filter_rule){0};
    for (;;) {
        size_t length = strcspn(rest, ",");
        char number[32] = "";

        if (length < sizeof number) {
            memcpy(number, rest, length);
        }
        if (rule->rounds == FILTER_ROUNDS ||
            !parse_f64(number, -0.999999, 0.999999, &rule->alpha[rule->rounds])) {
            return spry_fail(error, SPRY_USAGE, "--alpha", "write --alpha 0,0.1",
                             "'%.40s' is not one to %d numbers between -1 and 1", word,
                             (int)FILTER_ROUNDS);
        }
        rule->rounds++;
        if (rest[length] == '\0') {
            return SPRY_OK;
        }
        rest += length + 1;
    }
}

static spry_status run_model(job *j, spry_error *error)
{
    energon_study_options options = energon_study_options_default(&j->machine);
    spry_session_options session = spry_session_options_default();
    spry_model *model = NULL;
    spry_feed *feed = NULL;
    spry_status status = read_alpha(j->call, &options.rule, error);

    session.threads = (int)cli_integer(j->call, "threads");
    if (status == SPRY_OK) {
        status = spry_model_load(NULL, j->call->arguments[1], &model, error);
    }
    if (status == SPRY_OK) {
        status = spry_feed_create(NULL, model, &feed, error);
    }
    if (status == SPRY_OK) {
        status = subject_fill(feed, j->call, (uint64_t)cli_integer(j->call, "seed"), error);
    }
    if (status == SPRY_OK) {
        status = energon_study_run(&j->study, &options, model, feed, &session, error);
    }
    spry_feed_destroy(feed);
    spry_model_destroy(model);
    return status;
}

/* Survivors alone: what was asked of them is not known. */
static spry_status run_trace(job *j, const int64_t *sizes, spry_error *error)
{
    energon_study *s = &j->study;
    spry_status status;

    energon_trace_init(&s->trace);
    status = sizes == NULL
                 ? energon_trace_load(&s->trace, j->call->arguments[1], error)
                 : energon_trace_draw(&s->trace, sizes[0], sizes[1], sizes[2], sizes[3],
                                      cli_number(j->call, "keep"), cli_number(j->call, "locality"),
                                      (uint64_t)cli_integer(j->call, "seed"), error);
    if (status == SPRY_OK) {
        status = energon_run(&j->machine, &s->trace, false, &s->costs[ENERGON_OWN], error);
    }
    return status == SPRY_OK
               ? energon_run(&j->machine, &s->trace, true, &s->costs[ENERGON_DENSE], error)
               : status;
}

/* ---- what is said ---- */

static double share(double part, double whole)
{
    return whole > 0.0 ? 100.0 * part / whole : 0.0;
}

static double joules(const job *j, int way)
{
    energon_energy e = energon_energy_of(&j->machine, &j->study.costs[way]);

    return e.choosing + e.attending + e.buffers + e.memory;
}

static bool is_known(const job *j, int way)
{
    return way == ENERGON_OWN ||
           (cli_given(j->call, "compare") && (way == ENERGON_DENSE || j->study.has_rivals));
}

static void tell_ways(const job *j, report *r)
{
    static const report_column columns[] = {
        {"machine", "machine", -1, REPORT_PLAIN},  {"cycles", "cycles", 0, REPORT_BAR},
        {"speed", "over dense", 2, REPORT_BAR},    {"kept", "kept %", 1, REPORT_BAR},
        {"mass", "mass %", 1, REPORT_PLAIN},       {"cosine", "cosine", 4, REPORT_PLAIN},
        {"choosing", "choosing %", 1, REPORT_BAR}, {"attending", "attending %", 1, REPORT_BAR},
        {"memory", "memory %", 1, REPORT_BAR},     {"megabytes", "MB", 2, REPORT_BAR},
        {"millijoules", "mJ", 4, REPORT_BAR},      {NULL, NULL, 0, REPORT_PLAIN}};
    const energon_cost *dense = &j->study.costs[ENERGON_DENSE];
    bool is_judged = j->study.quality[ENERGON_OWN].queries > 0;
    report_column shown[sizeof columns / sizeof *columns];
    int count = 0;

    /* Survivors alone do not say what was lost. */
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        bool is_quality = columns[i].key != NULL && (strcmp(columns[i].key, "mass") == 0 ||
                                                     strcmp(columns[i].key, "cosine") == 0);

        if (is_judged || !is_quality) {
            shown[count++] = columns[i];
        }
    }
    report_table_begin(r, "machines", "Machines", shown);
    for (int way = 0; way < ENERGON_WAYS; way++) {
        const energon_cost *c = &j->study.costs[way];
        const energon_quality *q = &j->study.quality[way];
        double cycles = (double)c->cycles;

        if (!is_known(j, way)) {
            continue;
        }
        report_cell_word(r, way_names[way]);
        report_cell(r, cycles);
        report_cell(r, cycles > 0.0 ? (double)dense->cycles / cycles : 0.0);
        report_cell(r, share((double)c->kept, (double)c->visible));
        if (is_judged) {
            report_cell(r, way == ENERGON_DENSE ? 100.0 : 100.0 * q->mass / (double)q->queries);
            report_cell(r, way == ENERGON_DENSE ? 1.0 : q->cosine / (double)q->queries);
        }
        report_cell(r, share((double)c->choosing, cycles));
        report_cell(r, share((double)c->attending, cycles));
        report_cell(r, share(c->memory, cycles));
        report_cell(r, c->bytes * 1e-6);
        report_cell(r, joules(j, way) * 1e3);
    }
}

static void tell_energy(const job *j, report *r)
{
    const energon_machine *m = &j->machine;
    const energon_cost *c = &j->study.costs[ENERGON_OWN];

    if (!m->has_prices) {
        return;
    }
    report_energy(r, "filter", "product of 4 by 2 bits", (double)c->low_products,
                  m->low_energy * 1e12, m->source);
    report_energy(r, "attention", "product of 16 bits", (double)c->products, m->mac_energy * 1e12,
                  m->source);
    report_energy(r, "buffers", "bit", energon_buffer_bits(c), m->buffer_energy * 1e12, m->source);
    report_energy(r, "memory", "bit", 8.0 * c->bytes, m->memory_energy * 1e12, m->source);
}

static void tell_own(const job *j, report *r)
{
    const energon_cost *c = &j->study.costs[ENERGON_OWN];
    const energon_cost *dense = &j->study.costs[ENERGON_DENSE];
    double cycles = (double)c->cycles;

    report_number(r, "heads", "heads", (double)j->study.trace.count, 0, "");
    report_number(r, "queries", "queries", (double)c->queries, 0, "");
    report_number(r, "cycles", "cycles", cycles, 0, "");
    report_number(r, "milliseconds", "time", cycles / j->machine.clock * 1e3, 4, "ms");
    report_number(r, "speed", "over dense attention",
                  cycles > 0.0 ? (double)dense->cycles / cycles : 0.0, 2, "times");
    report_number(r, "kept", "kept", share((double)c->kept, (double)c->visible), 1, "%");
    report_number(r, "waits_for_keys", "attending waits for keys", (double)c->waits_for_keys, 0,
                  "cycles");
    report_number(r, "waits_for_rows", "attending waits for rows", (double)c->waits_for_rows, 0,
                  "cycles");
    report_number(r, "waits_for_room", "choosing waits for room", (double)c->waits_for_room, 0,
                  "cycles");
    report_number(r, "low_products", "products of codes", (double)c->low_products, 0, "");
    report_number(r, "products", "exact products", (double)c->products, 0, "");
    report_number(r, "key_rows", "rows of keys fetched", (double)c->key_rows, 0, "");
    report_number(r, "value_rows", "rows of values fetched", (double)c->value_rows, 0, "");
    report_number(r, "bytes", "moved", c->bytes, 0, "B");
}

static spry_status tell(const job *j, report *r, bool is_model, spry_error *error)
{
    const output_record record = {.model = is_model ? j->call->arguments[1] : NULL,
                                  .threads = (int)cli_integer(j->call, "threads"),
                                  .is_seeded = true,
                                  .seed = (uint64_t)cli_integer(j->call, "seed")};

    simulate_report(r, j->call, "Attention on a co-processor that filters keys");
    tell_ways(j, r);
    tell_own(j, r);
    tell_energy(j, r);
    return simulate_tell(j->call, r, j->t, &record, error);
}

static spry_status run(const cli_call *call, spry_error *error)
{
    const char *what = call->arguments[1];
    job j = {.call = call};
    int64_t sizes[EXTENTS];
    bool is_drawn = is_sizes(what, sizes);
    report r = {0};
    spry_status status = simulate_target(call, "energon", &j.t, error);

    energon_trace_init(&j.study.trace);
    if (status == SPRY_OK) {
        status = energon_machine_read(j.t, &j.machine, error);
    }
    if (status == SPRY_OK) {
        status = target_finish(j.t, error);
    }
    if (status == SPRY_OK) {
        status = is_drawn || is_trace(what) ? run_trace(&j, is_drawn ? sizes : NULL, error)
                                            : run_model(&j, error);
    }
    if (status == SPRY_OK) {
        status = tell(&j, &r, !is_drawn && !is_trace(what), error);
    }
    report_fini(&r);
    energon_study_fini(&j.study);
    target_destroy(j.t);
    return status;
}

const simulate_model simulate_energon = {
    .name = "energon",
    .part = {.title = "energon MODEL.onnx|SURVIVORS.npz|HxQxKxD",
             .about = "Attention on a co-processor that chooses keys by products of few bits and "
                      "fetches the rows of those that survive: of a model that runs once, of the "
                      "survivors that spry run --survivors has written, or of heads x queries x "
                      "keys x elements that are drawn. --compare has dense attention beside it "
                      "and, of a model without filters, machines like A3 and SpAtten.",
             .options = own},
    .options = taken,
    .arguments = 1,
    .run = run};
