/* A layer on an array beside a memory: two components, and the messages "part i is there" and "part
 * i is computed" between them. */
#include "simulate/array/lowering.h"
#include "simulate/kernel/port.h"

enum { ALLOWED_AHEAD = 2 }; /* one half of the scratch pad is filled while the other is used */

typedef struct memory_side {
    dram *d;
    lowering_parts parts;
    int64_t width;    /* requests offered a cycle */
    uint64_t stores;  /* where results begin */
    int64_t loading;  /* part whose requests are being made */
    int64_t asked;    /* bytes of it */
    int64_t arrived;  /* bytes of all parts */
    int64_t told;     /* parts that the array knows of */
    int64_t computed; /* parts */
    int64_t stored;   /* bytes accepted */
    uint64_t last;    /* instant of the last one, fs */
    port *to_array, *from_array;
    spry_status status;
    spry_error error;
} memory_side;

typedef struct array_side {
    uint64_t compute; /* cycles of the layer */
    int64_t parts;
    int64_t begun, ended;
    uint64_t busy_until; /* cycle */
    port *to_memory, *from_memory;
} array_side;

static void take_done(void *context, uint64_t tag, bool is_write, uint64_t cycle)
{
    memory_side *m = context;

    (void)tag;
    (void)cycle;
    m->arrived += is_write ? 0 : DRAM_REQUEST_BYTES;
}

static int64_t whole_requests(int64_t bytes)
{
    return (bytes + DRAM_REQUEST_BYTES - 1) / DRAM_REQUEST_BYTES * DRAM_REQUEST_BYTES;
}

static int64_t load_bytes(const memory_side *m, int64_t part)
{
    return whole_requests(part == 0 ? m->parts.first_load : m->parts.later_load);
}

/* Bytes that must have arrived before part `part` can be computed. */
static int64_t needed(const memory_side *m, int64_t part)
{
    return load_bytes(m, 0) + part * load_bytes(m, 1);
}

static bool may_load(const memory_side *m)
{
    return m->loading < m->parts.count && m->loading < m->computed + ALLOWED_AHEAD;
}

static bool may_store(const memory_side *m)
{
    return m->stored < m->computed * whole_requests(m->parts.store);
}

/* One request to the memory; false when there is none to make, or no room for it. */
static bool ask(memory_side *m, uint64_t now)
{
    bool is_load = may_load(m);
    uint64_t address;

    if (!is_load && !may_store(m)) {
        return false;
    }
    if (is_load) {
        int64_t before = m->loading == 0 ? 0 : needed(m, m->loading - 1);

        address = (uint64_t)(before + m->asked);
    } else {
        address = m->stores + (uint64_t)m->stored;
    }
    if (!dram_accepts(m->d, address, !is_load)) {
        return false;
    }
    m->status = dram_request(m->d, address, !is_load, 0, &m->error);
    m->last = now;
    if (!is_load) {
        m->stored += DRAM_REQUEST_BYTES;
        return m->status == SPRY_OK;
    }
    m->asked += DRAM_REQUEST_BYTES;
    if (m->asked >= load_bytes(m, m->loading)) {
        m->loading++;
        m->asked = 0;
    }
    return m->status == SPRY_OK;
}

static void catch_up(dram *d, uint64_t cycle)
{
    while (dram_cycle(d) < cycle) {
        if (dram_skip(d, cycle - dram_cycle(d)) == 0) {
            dram_tick(d);
        }
    }
}

static uint64_t evaluate_memory(void *self, const edge *at)
{
    memory_side *m = self;

    while (port_front(m->from_array, at) != NULL) {
        port_pop(m->from_array);
        m->computed++;
    }
    catch_up(m->d, at->cycle);
    for (int64_t i = 0; i < m->width && ask(m, at->now); i++) {
    }
    dram_tick(m->d);
    while (m->told < m->parts.count && m->arrived >= needed(m, m->told) &&
           port_has_room(m->to_array)) {
        port_push(m->to_array, &m->told, at);
        m->told++;
        m->last = at->now;
    }
    if (m->status != SPRY_OK) {
        simulation_stop(at->simulation);
    }
    return may_load(m) || may_store(m) || dram_underway(m->d) > 0 ? at->cycle + 1
                                                                  : SIMULATION_FOREVER;
}

static bool memory_waits(const void *self)
{
    const memory_side *m = self;

    return m->stored < m->parts.count * whole_requests(m->parts.store);
}

static uint64_t evaluate_array(void *self, const edge *at)
{
    array_side *a = self;

    if (a->begun > a->ended && at->cycle >= a->busy_until) {
        port_push(a->to_memory, &a->ended, at);
        a->ended++;
    }
    if (a->begun == a->ended && port_front(a->from_memory, at) != NULL) {
        uint64_t part = (uint64_t)a->begun++;
        uint64_t parts = (uint64_t)a->parts;

        port_pop(a->from_memory);
        a->busy_until = at->cycle + a->compute * (part + 1) / parts - a->compute * part / parts;
    }
    return a->begun > a->ended && a->busy_until > at->cycle ? a->busy_until
           : a->begun > a->ended                            ? at->cycle + 1
                                                            : SIMULATION_FOREVER;
}

static spry_status connect(simulation *s, const lowering_machine *machine, memory_side *m,
                           array_side *a, spry_error *error)
{
    static const component_type memory_type = {.evaluate = evaluate_memory,
                                               .waiting = memory_waits};
    static const component_type array_type = {.evaluate = evaluate_array};
    component *memory = NULL;
    component *array = NULL;
    int clocks[2];
    port_options o = {
        .message_bytes = sizeof(int64_t), .latency = 1, .capacity = (uint32_t)m->parts.count};
    spry_status status =
        simulation_add_clock(s, "memory", machine->dram.period, 0, &clocks[0], error);

    if (status == SPRY_OK) {
        status = simulation_add_clock(s, "array", machine->period, 0, &clocks[1], error);
    }
    if (status == SPRY_OK) {
        status = simulation_add(s, "memory", &memory_type, m, clocks[0], &memory, error);
    }
    if (status == SPRY_OK) {
        status = simulation_add(s, "array", &array_type, a, clocks[1], &array, error);
    }
    if (status == SPRY_OK) {
        o.from = memory;
        o.to = array;
        status = simulation_add_port(s, &o, &m->to_array, error);
        a->from_memory = m->to_array;
    }
    if (status == SPRY_OK) {
        o.from = array;
        o.to = memory;
        status = simulation_add_port(s, &o, &a->to_memory, error);
        m->from_array = a->to_memory;
    }
    return status;
}

spry_status lowering_simulate(const spry_allocator *allocator, const lowering_machine *machine,
                              const simulate_layer *l, lowering_way way, lowering_multi multi,
                              lowering_cost *cost, spry_error *error)
{
    simulation *s = NULL;
    memory_side m = {.width = machine->dram.channels};
    array_side a = {0};
    dram_events events = {.done = take_done, .context = &m};
    spry_status status = simulation_create(allocator, NULL, &s, error);

    lowering_estimate(machine, l, way, multi, cost);
    m.parts = lowering_cut(machine, l, cost);
    m.stores = (uint64_t)needed(&m, m.parts.count);
    a.parts = m.parts.count;
    a.compute = cost->compute;
    if (status == SPRY_OK) {
        status = dram_create(allocator, &machine->dram, &events, &m.d, error);
    }
    if (status == SPRY_OK) {
        status = connect(s, machine, &m, &a, error);
    }
    if (status == SPRY_OK) {
        status = simulation_run(s, SIMULATION_FOREVER, error);
    }
    if (status == SPRY_OK && m.status != SPRY_OK) {
        *error = m.error;
        status = m.status;
    }
    if (status == SPRY_OK) {
        double elements =
            (double)machine->shape.rows * (double)machine->shape.columns * (double)machine->arrays;
        const dram_counts *counts = dram_count(m.d);

        cost->cycles = (m.last + machine->period) / machine->period;
        cost->memory = counts->busy_cycles / (uint64_t)machine->dram.channels *
                       machine->dram.period / machine->period;
        cost->utilisation = cost->macs / (elements * (double)cost->cycles);
        for (int i = 0; i < DRAM_COMMANDS; i++) {
            cost->commands[i] = counts->commands[i];
        }
    }
    dram_destroy(m.d);
    simulation_destroy(s);
    return status;
}
