/* The state of a mesh, flat: what mesh.c, router.c and routing.c share.
 *
 * The channels of a router, input and output alike, are numbered port * channels + channel; those
 * of node n begin at n * span, span = 5 channels. Packets live in a pool and are named by index. */
#ifndef SIMULATE_NOC_MESH_STATE_H
#define SIMULATE_NOC_MESH_STATE_H

#include "simulate/noc/mesh.h"
#include "spry/random.h"

enum mesh_port { MESH_EAST, MESH_WEST, MESH_NORTH, MESH_SOUTH, MESH_LOCAL, MESH_PORTS };

enum {
    MESH_LINK_CYCLES = 3,      /* from the switch's grant to the next buffer: switch, link */
    MESH_CREDIT_CYCLES = 3,    /* from a grant to the credit's use upstream */
    MESH_INJECTION_CYCLES = 2, /* from a node to its router's buffer */
    MESH_PIPE = 8,             /* slots of the delay lines, a power of two above all delays */
    MESH_STILL_MOST = 1000     /* cycles without any movement that mean deadlock */
};

/* A flit is its packet and what it is within it. */
typedef struct flit {
    uint32_t packet;
    bool head;
    bool tail;
} flit;

typedef struct packet {
    uint32_t next; /* in its source's queue or among the free */
    uint16_t source;
    uint16_t destination;
    uint16_t middle; /* for routings by way of one */
    uint16_t flits;
    uint16_t hops;
    bool second; /* the second leg, or north-south first */
    uint64_t tag;
    uint64_t created;
    uint64_t injected;
} packet;

typedef struct input_channel {
    uint64_t ready; /* the cycle from which it may ask for its next stage */
    uint16_t first; /* of the ring of flits */
    uint16_t count;
    uint8_t output; /* that it has */
    uint8_t turn;   /* round robin over outputs */
    bool open;      /* within a packet */
} input_channel;

typedef struct output_channel {
    uint16_t credits;
    uint8_t turn; /* round robin over inputs */
} output_channel;

/* Of the channels of one router, numbered port * channels + channel, a bit each. */
typedef struct router {
    uint64_t routed;                 /* inputs whose front is a head that wants an output channel */
    uint64_t active;                 /* inputs that have one, and flits */
    uint64_t taken;                  /* outputs */
    uint64_t credited;               /* outputs behind which there is room */
    uint8_t grant_turns[MESH_PORTS]; /* outputs, round robin over input ports */
    uint8_t port_turns[MESH_PORTS];  /* inputs, round robin over output ports */
    uint8_t channel_turns[MESH_PORTS]; /* inputs, round robin over channels */
    int steps[MESH_PORTS];             /* to the neighbours */
} router;

typedef struct node_interface {
    uint32_t first; /* of the queue of packets; PACKET_NONE when empty */
    uint32_t last;
    uint16_t sent;   /* flits of the first that have left */
    uint8_t channel; /* the one it uses, or used last */
    uint16_t credits[MESH_CHANNELS_MOST];
} node_interface;

#define PACKET_NONE UINT32_MAX

/* What reaches a channel of a node in some cycle: flits, or credits without one. */
typedef struct delivery {
    uint16_t node;
    uint16_t channel;
    flit what;
} delivery;

typedef struct pipe {
    delivery *slots[MESH_PIPE];
    uint32_t counts[MESH_PIPE];
} pipe;

static inline void pipe_put(pipe *p, uint64_t cycle, delivery d)
{
    uint32_t slot = (uint32_t)(cycle % MESH_PIPE);

    p->slots[slot][p->counts[slot]++] = d;
}

struct mesh {
    spry_allocator allocator;
    mesh_options options;
    mesh_receiver receive;
    void *context;
    int nodes;
    int channels;
    int span; /* channels of a router */
    uint64_t cycle;
    uint64_t moved; /* the cycle of the last movement */
    uint64_t underway;
    mesh_counts counts;
    spry_random random;
    packet *packets;
    size_t packet_capacity;
    uint32_t packet_count;
    uint32_t free_packet;
    flit *flits; /* nodes x 5 x channels x depth */
    input_channel *inputs;
    output_channel *outputs;
    node_interface *interfaces;
    router *routers;
    uint64_t *link_flits; /* nodes x 5 */
    uint32_t *pending;    /* nodes that have packets to inject */
    uint32_t pending_count;
    pipe to_buffers;
    pipe to_nodes;       /* flits that leave the mesh */
    pipe to_outputs;     /* credits of routers */
    pipe to_injection;   /* credits of nodes */
    uint8_t port_of[64]; /* of a router's channels */
};

/* Which output channels a packet may ask for, a bit each. `spare` are those that are asked for only
 * when none of the others is free. */
typedef struct route {
    uint64_t wanted;
    uint64_t spare;
} route;

/* Draws what the routing needs at a packet's start. */
void routing_start(mesh *m, packet *p);
/* Where `p`, which came in by the channel `input`, may go from `node`. */
route routing_next(const mesh *m, packet *p, int node, int input);

/* One cycle of the router of `node`: channels, then the switch. */
void router_step(mesh *m, int node);

#endif
