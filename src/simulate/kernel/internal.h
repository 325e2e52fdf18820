/* What simulation.c and port.c share. */
#ifndef SIMULATE_KERNEL_INTERNAL_H
#define SIMULATE_KERNEL_INTERNAL_H

#include "base/arena.h"
#include "simulate/kernel/agenda.h"
#include "simulate/kernel/port.h"

typedef struct clock_domain {
    const char *name;
    uint64_t period;
    uint64_t phase;
} clock_domain;

struct component {
    const char *path;
    const component_type *type;
    void *self;
    int clock;
    uint32_t order; /* among the paths */
    uint64_t wake;  /* fs; SIMULATION_FOREVER while asleep */
    uint64_t next;  /* the cycle that the last evaluation asked for */
    port *inputs;   /* linked by next_input */
    port *outputs;  /* linked by next_output */
};

struct port {
    component *from;
    component *to;
    port *next_input;
    port *next_output;
    uint32_t message_bytes;
    uint32_t stride; /* of the ring: a time, then the message */
    uint32_t capacity;
    uint64_t delay; /* fs from push to sight */
    uint8_t *ring;
    /* Sender's. */
    uint64_t pushed;
    /* Receiver's. */
    uint64_t popped;
    /* As of the last commit: the sender reads taken, the receiver reads sent. */
    uint64_t sent;
    uint64_t taken;
};

struct simulation {
    spry_allocator allocator;
    arena memory;
    uint64_t seed;
    threads *team;
    clock_domain clocks[SIMULATION_CLOCKS_MOST];
    int clock_count;
    component **components;
    size_t count;
    size_t capacity;
    size_t port_count;
    component **due; /* those of the instant */
    size_t due_capacity;
    agenda wakes;
    agenda events;
    uint64_t now;
    uint64_t evaluations;
    uint64_t sequence;
    spry_status failure; /* memory ran out while waking */
    bool begun;
    bool committing;
    _Atomic(bool) stopped;
};

/* Publishes what was pushed and popped since the last commit, and wakes the other ends. */
void port_commit(simulation *s, port *p);
/* When the oldest message that nobody took can be seen: fs, or SIMULATION_FOREVER. */
uint64_t port_arrival(const port *p);

#endif
