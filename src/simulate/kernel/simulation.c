#include "simulate/kernel/simulation.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash64.h"
#include "base/text.h"
#include "simulate/kernel/internal.h"

enum { MEMORY_BYTES = 1 << 30, DEADLOCK_NAMES = 8 };

spry_status simulation_create(const spry_allocator *allocator, const simulation_options *options,
                              simulation **made, spry_error *error)
{
    spry_allocator use = alloc_resolve(allocator);
    simulation *s = alloc_zeroed(&use, sizeof *s);

    *made = NULL;
    if (s == NULL) {
        return alloc_failed(error, sizeof *s);
    }
    s->allocator = use;
    arena_init(&s->memory, &use, MEMORY_BYTES);
    if (options != NULL) {
        s->seed = options->seed;
        s->team = options->team;
    }
    if (s->team == NULL) {
        s->team = threads_single();
    }
    *made = s;
    return SPRY_OK;
}

void simulation_destroy(simulation *s)
{
    spry_allocator allocator;

    if (s == NULL) {
        return;
    }
    allocator = s->allocator;
    agenda_fini(&s->wakes, &allocator);
    agenda_fini(&s->events, &allocator);
    alloc_release(&allocator, s->components, s->capacity * sizeof(component *));
    alloc_release(&allocator, s->due, s->due_capacity * sizeof(component *));
    arena_fini(&s->memory);
    alloc_release(&allocator, s, sizeof *s);
}

spry_status simulation_add_clock(simulation *s, const char *name, uint64_t period, uint64_t phase,
                                 int *clock, spry_error *error)
{
    const char *kept;

    if (period == 0) {
        return spry_fail(error, SPRY_USAGE, name, "give the clock a frequency",
                         "the clock's period is zero");
    }
    if (s->clock_count == SIMULATION_CLOCKS_MOST) {
        return spry_fail(error, SPRY_LIMIT, name, NULL, "there are more than %d clocks",
                         (int)SIMULATION_CLOCKS_MOST);
    }
    kept = arena_text(&s->memory, name, strlen(name));
    if (kept == NULL) {
        return alloc_failed(error, strlen(name) + 1);
    }
    s->clocks[s->clock_count] = (clock_domain){kept, period, phase};
    *clock = s->clock_count++;
    return SPRY_OK;
}

spry_status simulation_add(simulation *s, const char *path, const component_type *type, void *self,
                           int clock, component **made, spry_error *error)
{
    void *components = s->components;
    component *c;
    spry_status status;

    *made = NULL;
    if (clock < 0 || clock >= s->clock_count || s->begun) {
        return spry_fail(error, SPRY_USAGE, path, NULL,
                         "a component needs a clock and must be added before the first run");
    }
    status = alloc_grow(&s->allocator, &components, &s->capacity, s->count + 1,
                        sizeof *s->components, SIMULATION_COMPONENTS_MOST, error);
    s->components = components;
    if (status != SPRY_OK) {
        return status;
    }
    c = arena_zeroed(&s->memory, sizeof *c);
    if (c == NULL) {
        return alloc_failed(error, sizeof *c);
    }
    c->path = arena_text(&s->memory, path, strlen(path));
    if (c->path == NULL) {
        return alloc_failed(error, strlen(path) + 1);
    }
    c->type = type;
    c->self = self;
    c->clock = clock;
    c->wake = SIMULATION_FOREVER;
    s->components[s->count++] = c;
    *made = c;
    return SPRY_OK;
}

uint64_t simulation_cycle_from(const simulation *s, int clock, uint64_t time)
{
    const clock_domain *d = &s->clocks[clock];

    return time <= d->phase ? 0 : (time - d->phase + d->period - 1) / d->period;
}

uint64_t simulation_time_of(const simulation *s, int clock, uint64_t cycle)
{
    const clock_domain *d = &s->clocks[clock];

    if (cycle >= (SIMULATION_FOREVER - d->phase) / d->period) {
        return SIMULATION_FOREVER;
    }
    return d->phase + cycle * d->period;
}

/* Entries that no longer agree with their component's time are passed over when they come up. */
static void wake_at_edge(simulation *s, component *c, uint64_t time)
{
    agenda_entry entry = {.time = time, .rank = c->order, .argument = c};
    spry_status status;

    if (time >= c->wake) {
        return;
    }
    c->wake = time;
    status = agenda_add(&s->wakes, &s->allocator, &entry, NULL);
    if (status != SPRY_OK) {
        s->failure = status;
    }
}

void simulation_wake(simulation *s, component *c, uint64_t time)
{
    uint64_t least = s->committing ? s->now + 1 : s->now; /* not twice in an instant */
    uint64_t from = time > least ? time : least;

    if (time == SIMULATION_FOREVER) {
        return;
    }
    wake_at_edge(s, c, simulation_time_of(s, c->clock, simulation_cycle_from(s, c->clock, from)));
}

spry_status simulation_at(simulation *s, uint64_t time, int priority, simulation_event run,
                          void *argument, spry_error *error)
{
    agenda_entry entry = {.time = time,
                          .rank = priority,
                          .sequence = s->sequence++,
                          .run = (void (*)(void))run,
                          .argument = argument};

    if (time < s->now) {
        return spry_fail(error, SPRY_USAGE, "simulation", NULL, "an event is set in the past");
    }
    return agenda_add(&s->events, &s->allocator, &entry, error);
}

static int by_path(const void *a, const void *b)
{
    return strcmp((*(component *const *)a)->path, (*(component *const *)b)->path);
}

/* Orders the components by path and wakes each in its cycle 0. */
static spry_status begin(simulation *s, spry_error *error)
{
    if (s->begun) {
        return SPRY_OK;
    }
    if (s->count > 0) {
        qsort(s->components, s->count, sizeof *s->components, by_path);
    }
    for (size_t i = 1; i < s->count; i++) {
        if (strcmp(s->components[i - 1]->path, s->components[i]->path) == 0) {
            return spry_fail(error, SPRY_USAGE, s->components[i]->path, NULL,
                             "two components have the same path");
        }
    }
    s->due = alloc_array(&s->allocator, s->count, sizeof(component *));
    if (s->due == NULL) {
        return alloc_failed(error, s->count * sizeof(component *));
    }
    s->due_capacity = s->count;
    s->begun = true;
    for (size_t i = 0; i < s->count; i++) {
        s->components[i]->order = (uint32_t)i;
        simulation_wake(s, s->components[i], 0);
    }
    return SPRY_OK;
}

static const agenda_entry *first_wake(simulation *s)
{
    const agenda_entry *first = agenda_first(&s->wakes);

    while (first != NULL && ((const component *)first->argument)->wake != first->time) {
        (void)agenda_take(&s->wakes);
        first = agenda_first(&s->wakes);
    }
    return first;
}

static uint64_t next_instant(simulation *s)
{
    const agenda_entry *wake = first_wake(s);
    const agenda_entry *event = agenda_first(&s->events);
    uint64_t time = wake != NULL ? wake->time : SIMULATION_FOREVER;

    return event != NULL && event->time < time ? event->time : time;
}

static void run_events(simulation *s)
{
    const agenda_entry *first = agenda_first(&s->events);

    while (first != NULL && first->time == s->now) {
        agenda_entry entry = agenda_take(&s->events);

        ((simulation_event)entry.run)(s, entry.argument);
        first = agenda_first(&s->events);
    }
}

static edge edge_of(simulation *s, component *c)
{
    return (edge){s, c, s->now, simulation_cycle_from(s, c->clock, s->now)};
}

static void evaluate_due(void *context, int64_t begin_at, int64_t end, int worker)
{
    simulation *s = context;

    (void)worker;
    for (int64_t i = begin_at; i < end; i++) {
        component *c = s->due[i];
        edge at = edge_of(s, c);

        c->next = c->type->evaluate(c->self, &at);
    }
}

static void commit_due(simulation *s, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        component *c = s->due[i];
        edge at = edge_of(s, c);

        if (c->type->commit != NULL) {
            c->type->commit(c->self, &at);
        }
        for (port *p = c->outputs; p != NULL; p = p->next_output) {
            port_commit(s, p);
        }
        for (port *p = c->inputs; p != NULL; p = p->next_input) {
            port_commit(s, p);
        }
    }
    /* Only now is it known what is under way to those that want to sleep. */
    for (size_t i = 0; i < count; i++) {
        component *c = s->due[i];

        if (c->next != SIMULATION_FOREVER) {
            wake_at_edge(s, c, simulation_time_of(s, c->clock, c->next));
        }
        for (port *p = c->inputs; p != NULL; p = p->next_input) {
            uint64_t arrival = port_arrival(p);

            if (arrival > s->now) {
                simulation_wake(s, c, arrival);
            }
        }
    }
}

static void run_instant(simulation *s)
{
    const agenda_entry *wake;
    size_t count = 0;

    run_events(s);
    for (wake = first_wake(s); wake != NULL && wake->time == s->now; wake = first_wake(s)) {
        component *c = agenda_take(&s->wakes).argument;

        c->wake = SIMULATION_FOREVER;
        s->due[count++] = c;
    }
    threads_for(s->team, (int64_t)count, 1, evaluate_due, s);
    s->evaluations += count;
    s->committing = true;
    commit_due(s, count);
    s->committing = false;
}

static spry_status find_deadlock(const simulation *s, spry_error *error)
{
    char names[SPRY_ERROR_WHAT_SIZE / 2];
    text list;
    size_t waiting = 0;

    text_init_fixed(&list, names, sizeof names);
    for (size_t i = 0; i < s->count; i++) {
        const component *c = s->components[i];

        if (c->type->waiting == NULL || !c->type->waiting(c->self)) {
            continue;
        }
        if (waiting++ < DEADLOCK_NAMES) {
            text_append_format(&list, "%s%s", waiting > 1 ? ", " : "", c->path);
        }
    }
    if (waiting == 0) {
        return SPRY_OK;
    }
    return spry_fail(error, SPRY_NEGATIVE, "simulation",
                     "give the queues between them more room, or break the cycle",
                     "deadlock after %.3f ns: %zu components wait for each other: %s",
                     (double)s->now * 1e-6, waiting, names);
}

spry_status simulation_run(simulation *s, uint64_t until, spry_error *error)
{
    spry_status status = begin(s, error);
    uint64_t next;

    s->stopped = false;
    threads_engage(s->team);
    while (status == SPRY_OK && !s->stopped) {
        next = next_instant(s);
        if (next == SIMULATION_FOREVER) {
            status = find_deadlock(s, error);
            break;
        }
        if (next >= until) {
            break;
        }
        s->now = next;
        run_instant(s);
        if (s->failure != SPRY_OK) {
            status = spry_fail(error, s->failure, "simulation", NULL, "memory ran out");
        }
    }
    threads_rest(s->team);
    return status;
}

void simulation_stop(simulation *s)
{
    s->stopped = true;
}

uint64_t simulation_now(const simulation *s)
{
    return s->now;
}

uint64_t simulation_evaluations(const simulation *s)
{
    return s->evaluations;
}

spry_random simulation_random(const simulation *s, const char *path)
{
    return spry_random_stream(s->seed, hash64(path, strlen(path), 0));
}

const char *component_path(const component *c)
{
    return c->path;
}
