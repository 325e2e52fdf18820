#include "simulate/kernel/port.h"

#include <string.h>

#include "simulate/kernel/internal.h"

enum { MESSAGE_BYTES_MOST = 4096, CAPACITY_MOST = 1 << 20, LATENCY_MOST = 1 << 20 };

spry_status simulation_add_port(simulation *s, const port_options *options, port **made,
                                spry_error *error)
{
    port *p;

    if (options->message_bytes < 1 || options->message_bytes > MESSAGE_BYTES_MOST ||
        options->latency < 1 || options->latency > LATENCY_MOST || options->capacity < 1 ||
        options->capacity > CAPACITY_MOST || s->begun) {
        return spry_fail(error, SPRY_USAGE, component_path(options->from), NULL,
                         "a port to %s has no bytes, latency or capacity, or too much, or comes "
                         "after the first run",
                         component_path(options->to));
    }
    if (s->port_count >= SIMULATION_PORTS_MOST) {
        return spry_fail(error, SPRY_LIMIT, component_path(options->from), NULL,
                         "there are more than %d ports", (int)SIMULATION_PORTS_MOST);
    }
    p = arena_zeroed(&s->memory, sizeof *p);
    if (p == NULL) {
        return spry_fail(error, SPRY_LIMIT, "simulation", NULL, "memory ran out");
    }
    p->from = options->from;
    p->to = options->to;
    p->message_bytes = options->message_bytes;
    p->stride = (uint32_t)sizeof(uint64_t) + (options->message_bytes + 7) / 8 * 8;
    p->capacity = options->capacity;
    p->delay = options->latency * s->clocks[p->from->clock].period;
    p->ring = arena_array(&s->memory, p->capacity, p->stride);
    if (p->ring == NULL) {
        return spry_fail(error, SPRY_LIMIT, "simulation", NULL, "memory ran out");
    }
    p->next_input = p->to->inputs;
    p->to->inputs = p;
    p->next_output = p->from->outputs;
    p->from->outputs = p;
    s->port_count++;
    *made = p;
    return SPRY_OK;
}

static uint8_t *slot(const port *p, uint64_t index)
{
    return p->ring + (index % p->capacity) * p->stride;
}

bool port_has_room(const port *p)
{
    return p->pushed - p->taken < p->capacity;
}

void port_push(port *p, const void *message, const edge *at)
{
    uint8_t *to = slot(p, p->pushed);
    uint64_t seen = at->now + p->delay;

    memcpy(to, &seen, sizeof seen);
    memcpy(to + sizeof seen, message, p->message_bytes);
    p->pushed++;
}

uint64_t port_arrival(const port *p)
{
    uint64_t seen;

    if (p->popped == p->sent) {
        return SIMULATION_FOREVER;
    }
    memcpy(&seen, slot(p, p->popped), sizeof seen);
    return seen;
}

const void *port_front(const port *p, const edge *at)
{
    return port_arrival(p) <= at->now ? slot(p, p->popped) + sizeof(uint64_t) : NULL;
}

void port_pop(port *p)
{
    p->popped++;
}

void port_commit(simulation *s, port *p)
{
    if (p->sent != p->pushed) {
        p->sent = p->pushed;
        simulation_wake(s, p->to, s->now + p->delay);
    }
    if (p->taken != p->popped) {
        p->taken = p->popped;
        simulation_wake(s, p->from, s->now + 1);
    }
}

uint64_t port_pushed(const port *p)
{
    return p->pushed;
}

uint64_t port_popped(const port *p)
{
    return p->popped;
}
