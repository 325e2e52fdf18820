/* The simulation kernel: integer time, clocks, and components that talk through ports.
 *
 *     simulation_create(NULL, &(simulation_options){.seed = 7}, &s, error)
 *     simulation_add_clock(s, "core", 1000000, 0, &clock, error)          1 GHz
 *     simulation_add(s, "npu.dma", &dma_type, &dma, clock, &component, error)
 *     simulation_add_port(s, &(port_options){...}, &port, error)          kernel/port.h
 *     simulation_run(s, SIMULATION_FOREVER, error)
 *
 * Time is in femtoseconds. At one instant, events run first, in the order of their priority; then
 * every component that is awake and whose clock has an edge is evaluated: it sees what its ports
 * held before the instant; then all of them are committed. What is pushed during cycle n into a
 * port of latency L is seen in cycle n + L, L at least 1, so the order of evaluation cannot matter,
 * and components of one instant may run on several threads.
 *
 * Components sleep whenever they can, and time jumps to the next one that wakes: hence dense parts
 * (a mesh of routers, a whole array) are one component with arrays of state, not thousands. */
#ifndef SIMULATE_KERNEL_SIMULATION_H
#define SIMULATE_KERNEL_SIMULATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/threads.h"
#include "spry/allocator.h"
#include "spry/random.h"
#include "spry/status.h"

#define SIMULATION_FOREVER UINT64_MAX /* as a time or as a cycle: never */

enum {
    SIMULATION_COMPONENTS_MOST = 65536, /* more are better kept as one with arrays */
    SIMULATION_PORTS_MOST = 262144,
    SIMULATION_CLOCKS_MOST = 64
};

typedef struct simulation simulation;
typedef struct component component;

/* The edge on which a component is called. */
typedef struct edge {
    simulation *simulation;
    component *component;
    uint64_t now;   /* fs */
    uint64_t cycle; /* of the component's clock, from 0 at its phase */
} edge;

typedef struct component_type {
    /* One cycle. Reads and writes nothing but its own state and its own ends of ports. Returns the
     * cycle in which it is to be called next, at least edge->cycle + 1, or SIMULATION_FOREVER: it
     * then sleeps until a message reaches it or one that it pushed is taken. */
    uint64_t (*evaluate)(void *self, const edge *at);
    /* After all evaluations of the instant, one component at a time: for state that others read
     * directly. May be NULL. */
    void (*commit)(void *self, const edge *at);
    /* Is work waiting that only others can set going? When nothing is left to run, such components
     * are in deadlock. NULL: never. */
    bool (*waiting)(const void *self);
} component_type;

typedef struct simulation_options {
    uint64_t seed;
    threads *team; /* NULL: the calling thread alone */
} simulation_options;

/* Fails with SPRY_LIMIT (memory). `options` may be NULL. */
SPRY_MUST_USE spry_status simulation_create(const spry_allocator *allocator,
                                            const simulation_options *options, simulation **made,
                                            spry_error *error);
/* NULL is allowed. Components' own states stay with their owners. */
void simulation_destroy(simulation *s);

/* A clock whose cycle n is at phase + n period (fs); returns its number in `*clock`.
 * Fails with SPRY_USAGE (period 0), SPRY_LIMIT. */
SPRY_MUST_USE spry_status simulation_add_clock(simulation *s, const char *name, uint64_t period,
                                               uint64_t phase, int *clock, spry_error *error);

/* A component; `path` names it in results ("npu.core3.dma"), and ties are decided by the order of
 * paths. It is called in cycle 0 first. `type` and `self` must outlive the simulation. Fails with
 * SPRY_USAGE (no such clock, a path that is taken or after the first run), SPRY_LIMIT. */
SPRY_MUST_USE spry_status simulation_add(simulation *s, const char *path,
                                         const component_type *type, void *self, int clock,
                                         component **made, spry_error *error);

/* Calls `run(argument)` at `time`, not before now; at equal times lower priorities first, then in
 * the order of these calls. From events, commits and between runs; not from an evaluation.
 * Fails with SPRY_USAGE (time is past), SPRY_LIMIT. */
typedef void (*simulation_event)(simulation *s, void *argument);
SPRY_MUST_USE spry_status simulation_at(simulation *s, uint64_t time, int priority,
                                        simulation_event run, void *argument, spry_error *error);

/* Wakes a component at its first edge not before `time`. From where simulation_at may be called. */
void simulation_wake(simulation *s, component *c, uint64_t time);

/* Runs until time `until` (not included), until nothing is left to do, or until simulation_stop.
 * May be called again to go on.
 * Fails with SPRY_NEGATIVE (deadlock: nothing can run and components, which are named, wait),
 * SPRY_LIMIT. */
SPRY_MUST_USE spry_status simulation_run(simulation *s, uint64_t until, spry_error *error);

/* Ends the run after this instant. From any component or event. */
void simulation_stop(simulation *s);

/* The present instant in fs; between runs, the last one at which something happened. */
uint64_t simulation_now(const simulation *s);
/* Evaluations so far: what the kernel itself had to do. */
uint64_t simulation_evaluations(const simulation *s);

/* A stream of random numbers for the part at `path`: depends on the seed and the path alone. */
spry_random simulation_random(const simulation *s, const char *path);

const char *component_path(const component *c);

/* The first edge of a clock not before `time`, as a cycle; and the time of a cycle. */
uint64_t simulation_cycle_from(const simulation *s, int clock, uint64_t time);
uint64_t simulation_time_of(const simulation *s, int clock, uint64_t cycle);

#endif
