/* spry simulate toy: the smallest accelerator that has everything, to copy from. A memory sends the
 * rows of a matrix, an engine multiplies each by a vector; docs/howto/add-an-accelerator.md goes
 * through this file. */
#include <math.h>
#include <stdio.h>

#include "base/alloc.h"
#include "cli/simulate/models.h"
#include "cli/simulate/tell.h"
#include "simulate/kernel/port.h"
#include "simulate/prices.h"
#include "spry/random.h"

/* ---- the machine ---- */

static const char built_in[] =
    "{\"about\": {\"name\": \"A toy\", \"source\": \"made up\"},"
    " \"compute\": {\"clock\": \"1 GHz\"},"
    " \"vector\": {\"lanes\": 16, \"queue\": 2},"
    " \"memory\": {\"dram\": {\"bandwidth\": \"32 GB/s\"}},"
    " \"energy\": {\"source\": \"Horowitz, ISSCC 2014, 45 nm\", \"mac\": \"4.6 pJ\","
    " \"memory\": \"30 pJ/b\"}}";

typedef struct machine {
    uint64_t period; /* of the clock, fs */
    int64_t lanes;   /* multiply-adds a cycle */
    int64_t queue;   /* rows that wait between memory and engine */
    double bytes;    /* from memory, a cycle */
    bool has_prices;
    double mac, memory_bit; /* joules */
    const char *source;
} machine;

static spry_status read_machine(target *t, machine *m, spry_error *error)
{
    double clock = 0.0;
    double bandwidth = 0.0;
    spry_status status = target_quantity(t, "compute.clock", UNIT_HERTZ, 1e6, 1e11, &clock, error);

    *m = (machine){.queue = 2, .has_prices = target_has(t, "energy"), .source = prices_source(t)};
    if (status == SPRY_OK) {
        status = target_count(t, "vector.lanes", 1, 65536, &m->lanes, error);
    }
    if (status == SPRY_OK) {
        status = target_count_or(t, "vector.queue", 1, 1024, &m->queue, error);
    }
    if (status == SPRY_OK) {
        status = target_quantity(t, "memory.dram.bandwidth", UNIT_BYTES_PER_SECOND, 1e6, 1e15,
                                 &bandwidth, error);
    }
    if (status == SPRY_OK && m->has_prices) {
        status = prices_read(t, "energy.mac", UNIT_JOULES, &m->mac, error);
    }
    if (status == SPRY_OK && m->has_prices) {
        status = prices_read(t, "energy.memory", UNIT_JOULES_PER_BIT, &m->memory_bit, error);
    }
    if (status == SPRY_OK) {
        m->period = (uint64_t)(1e15 / clock + 0.5);
        m->bytes = bandwidth / clock;
        status = target_finish(t, error); /* refuses mistyped keys */
    }
    return status;
}

/* ---- its parts ---- */

/* Both parts work on one thing at a time and are busy with it for some cycles. */
typedef struct part {
    const machine *m;
    port *link;
    const float *matrix, *vector; /* rows x columns, columns */
    float *result;                /* rows */
    int64_t rows, columns;
    int64_t next;         /* row */
    bool is_held;         /* of the memory: the row is being read, or waits for room */
    uint64_t free_from;   /* cycle */
    uint64_t busy_cycles; /* in all */
    timeline *times;
    int track;
} part;

/* Begins a piece of work; returns the cycle in which it is done. */
static uint64_t work(part *p, const edge *at, uint64_t cycles, const char *what)
{
    timeline_span(p->times, p->track, at->now, at->now + cycles * p->m->period, what, what);
    p->busy_cycles += cycles;
    p->free_from = at->cycle + cycles;
    return p->free_from;
}

static uint64_t memory_evaluate(void *self, const edge *at)
{
    part *p = self;
    double cycles = ceil((double)p->columns * sizeof(float) / p->m->bytes);

    if (at->cycle < p->free_from) {
        return p->free_from;
    }
    if (p->is_held && !port_has_room(p->link)) {
        return SIMULATION_FOREVER; /* room in the queue wakes it */
    }
    if (p->is_held) { /* it has been read by now */
        port_push(p->link, &p->next, at);
        p->next++;
    }
    p->is_held = p->next < p->rows;
    return p->is_held ? work(p, at, (uint64_t)cycles, "read") : SIMULATION_FOREVER;
}

static uint64_t engine_evaluate(void *self, const edge *at)
{
    part *p = self;
    const int64_t *row;

    if (at->cycle < p->free_from) {
        return p->free_from;
    }
    row = port_front(p->link, at);
    if (row == NULL) {
        return SIMULATION_FOREVER; /* the next message wakes it */
    }
    for (int64_t k = 0; k < p->columns; k++) { /* the real result, not only its time */
        p->result[*row] += p->matrix[*row * p->columns + k] * p->vector[k];
    }
    port_pop(p->link);
    p->next++;
    return work(p, at, (uint64_t)((p->columns + p->m->lanes - 1) / p->m->lanes), "multiply");
}

/* Has rows to go: if nothing can happen any more, the run ends as a deadlock and names the part. */
static bool is_waiting(const void *self)
{
    const part *p = self;

    return p->next < p->rows;
}

static const component_type memory_type = {.evaluate = memory_evaluate, .waiting = is_waiting};
static const component_type engine_type = {.evaluate = engine_evaluate, .waiting = is_waiting};

static spry_status simulate(part *memory, part *engine, uint64_t *cycles, spry_error *error)
{
    const machine *m = memory->m;
    simulation *s = NULL;
    component *from = NULL;
    component *to = NULL;
    port *link = NULL;
    int clock = 0;
    spry_status status = simulation_create(NULL, NULL, &s, error);

    if (status == SPRY_OK) {
        status = simulation_add_clock(s, "core", m->period, 0, &clock, error);
    }
    if (status == SPRY_OK) {
        status = simulation_add(s, "toy.memory", &memory_type, memory, clock, &from, error);
    }
    if (status == SPRY_OK) {
        status = simulation_add(s, "toy.engine", &engine_type, engine, clock, &to, error);
    }
    if (status == SPRY_OK) {
        const port_options o = {.from = from,
                                .to = to,
                                .message_bytes = sizeof(int64_t),
                                .latency = 1,
                                .capacity = (uint32_t)m->queue};

        status = simulation_add_port(s, &o, &link, error);
    }
    memory->link = link;
    engine->link = link;
    if (status == SPRY_OK) {
        status = simulation_run(s, SIMULATION_FOREVER, error);
    }
    *cycles = engine->free_from;
    simulation_destroy(s);
    return status;
}

/* ---- what is told ---- */

/* Largest difference from sums in f64, over the largest of them. */
static double difference_of(const part *p)
{
    double worst = 0.0;
    double largest = 0.0;

    for (int64_t i = 0; i < p->rows; i++) {
        double sum = 0.0;

        for (int64_t k = 0; k < p->columns; k++) {
            sum += (double)p->matrix[i * p->columns + k] * (double)p->vector[k];
        }
        largest = fmax(largest, fabs(sum));
        worst = fmax(worst, fabs(sum - (double)p->result[i]));
    }
    return largest > 0 ? worst / largest : 0.0;
}

static void tell(report *r, const part *memory, const part *engine, uint64_t cycles)
{
    static const report_column columns[] = {{"part", "part", -1, REPORT_PLAIN},
                                            {"busy", "busy cycles", 0, REPORT_BAR},
                                            {"share", "busy %", 1, REPORT_PLAIN},
                                            {NULL, NULL, 0, REPORT_PLAIN}};
    const part *parts[] = {memory, engine};
    const char *names[] = {"memory", "engine"};
    const machine *m = memory->m;
    double macs = (double)(engine->rows * engine->columns);

    report_table_begin(r, "parts", "Parts", columns);
    for (int i = 0; i < 2; i++) {
        report_cell_word(r, names[i]);
        report_cell(r, (double)parts[i]->busy_cycles);
        report_cell(r, 100.0 * (double)parts[i]->busy_cycles / (double)cycles);
    }
    report_number(r, "cycles", "cycles", (double)cycles, 0, "");
    report_number(r, "used", "used", 100.0 * macs / ((double)m->lanes * (double)cycles), 1,
                  "% of the lanes");
    report_number(r, "difference", "difference", difference_of(engine), -1,
                  "of the largest result, from sums in f64");
    if (m->has_prices) {
        report_energy(r, "engine", "multiply-add", macs, m->mac * 1e12, m->source);
        report_energy(r, "memory", "bit", 32.0 * macs, m->memory_bit * 1e12, m->source);
    }
}

/* ---- the command ---- */

static const char *const taken[] = {"seed", NULL};

static const cli_option own[] = {
    {.name = "rows",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "64",
     .lowest = 1,
     .highest = 4096,
     .help = "of the matrix"},
    {.name = "columns",
     .kind = CLI_INTEGER,
     .value = "N",
     .fallback = "256",
     .lowest = 1,
     .highest = 4096,
     .help = "of the matrix"},
    {0},
};

/* Random operands, then the run. */
static spry_status run_product(const cli_call *call, const machine *m, report *r, spry_error *error)
{
    spry_random random = {.seed = (uint64_t)cli_integer(call, "seed")};
    part engine = {.m = m,
                   .rows = cli_integer(call, "rows"),
                   .columns = cli_integer(call, "columns"),
                   .times = r->timeline};
    size_t operands = (size_t)((engine.rows + 1) * engine.columns);
    float *numbers = arena_array(&r->memory, operands, sizeof *numbers);
    uint64_t cycles = 0;
    spry_status status = SPRY_OK;
    part memory;

    engine.result = arena_array(&r->memory, (size_t)engine.rows, sizeof *engine.result);
    if (numbers == NULL || engine.result == NULL) {
        return alloc_failed(error, operands * sizeof *numbers);
    }
    for (size_t i = 0; i < operands; i++) {
        numbers[i] = (float)(spry_random_u32(&random) >> 8) * 0x1p-23F - 1.0F;
    }
    engine.matrix = numbers;
    engine.vector = numbers + engine.rows * engine.columns;
    memory = engine;
    memory.track = timeline_track(r->timeline, "memory");
    engine.track = timeline_track(r->timeline, "engine");
    status = simulate(&memory, &engine, &cycles, error);
    if (status == SPRY_OK) {
        tell(r, &memory, &engine, cycles);
    }
    return status;
}

static spry_status run(const cli_call *call, spry_error *error)
{
    const output_record record = {.is_seeded = true, .seed = (uint64_t)cli_integer(call, "seed")};
    machine m;
    report r = {0};
    target *t = NULL;
    spry_status status = simulate_target(call, built_in, &t, error);

    if (status == SPRY_OK) {
        status = read_machine(t, &m, error);
    }
    if (status == SPRY_OK) {
        simulate_report(&r, call, "A matrix by a vector on the toy");
        status = run_product(call, &m, &r, error);
    }
    if (status == SPRY_OK) {
        status = simulate_tell(call, &r, t, &record, error);
    }
    report_fini(&r);
    target_destroy(t);
    return status;
}

const simulate_model simulate_toy = {
    .name = "toy",
    .part = {.title = "toy",
             .about =
                 "A memory and a few multipliers, an example for those who add accelerators: a "
                 "random matrix by a vector.",
             .options = own},
    .options = taken,
    .run = run};
