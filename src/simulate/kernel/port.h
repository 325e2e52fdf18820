/* A port carries messages of one size from one component to another, in order.
 *
 * It belongs to one sender and one receiver: only the sender pushes, only the receiver looks and
 * pops. Room that the receiver makes in a cycle can be filled in the next. */
#ifndef SIMULATE_KERNEL_PORT_H
#define SIMULATE_KERNEL_PORT_H

#include "simulate/kernel/simulation.h"

typedef struct port port;

typedef struct port_options {
    component *from;
    component *to;
    uint32_t message_bytes; /* 1 to 4096 */
    uint32_t latency;       /* cycles of the sender's clock, at least 1 */
    uint32_t capacity;      /* messages under way or waiting, at least 1 */
} port_options;

/* Fails with SPRY_USAGE (an option is out of its range), SPRY_LIMIT. */
SPRY_MUST_USE spry_status simulation_add_port(simulation *s, const port_options *options,
                                              port **made, spry_error *error);

/* The sender's side, within its evaluation: is there room for one more, and putting one in. */
bool port_has_room(const port *p);
/* Copies message_bytes from `message`; there must be room. */
void port_push(port *p, const void *message, const edge *at);

/* The receiver's side: the oldest message that has arrived, or NULL; and taking it away, after
 * which the pointer is stale when the evaluation ends. */
const void *port_front(const port *p, const edge *at);
void port_pop(port *p);

/* Over all time: the difference is under way. */
uint64_t port_pushed(const port *p);
uint64_t port_popped(const port *p);

#endif
