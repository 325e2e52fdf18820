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
    uint16_t group; /* MESH_GROUP_NONE: to the destination alone */
    uint16_t left;  /* destinations that its tail has not reached */
    bool second;    /* the second leg, or north-south first */
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

/* Packets of a group: the output ports that they take at each node, a bit each. */
typedef struct mesh_group {
    int source;
    int count;      /* destinations */
    uint8_t *ports; /* by node */
} mesh_group;

#define MESH_GROUP_NONE UINT16_MAX

/* The front packet of an input channel, when it leaves by several ports: each branch sends on its
 * own, and a flit's room is free when all have sent it. */
typedef struct fork_state {
    bool open;
    uint8_t wanted;   /* ports that have no output channel yet, a bit each */
    uint8_t branches; /* all its ports */
    uint16_t freed;   /* flits that all branches have sent */
    uint16_t sent[MESH_PORTS];
    uint8_t outputs[MESH_PORTS];
    uint64_t ready[MESH_PORTS]; /* as input_channel's, for the switch */
} fork_state;

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
    mesh_group *groups;
    size_t group_capacity;
    int group_count;
    fork_state *forks; /* by input channel; NULL until there is a group */
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

/* The packet at the front of an input channel of `node`. */
static inline const packet *mesh_front(const mesh *m, int node, int input)
{
    size_t q = (size_t)(node * m->span + input);

    return &m->packets[m->flits[q * (size_t)m->options.depth + m->inputs[q].first].packet];
}

static inline bool mesh_is_forked(const mesh *m, int node, int input)
{
    return m->forks != NULL && mesh_front(m, node, input)->group != MESH_GROUP_NONE;
}

/* Branches of the packet at the front, in fork.c: the output channels that it may ask for; having
 * been given one; output ports that it could send to now, a bit each; sending a flit to one. */
uint64_t fork_wanted(mesh *m, int node, int input);
void fork_take(mesh *m, int node, int input, int output);
unsigned fork_ready(const mesh *m, int node, int input);
void fork_cross(mesh *m, int node, int input, int port);

/* Of router.c: a credit goes back to where the flits of an input channel come from; a flit goes
 * out through an output channel, whose credit it takes. */
void router_return_credit(mesh *m, int node, int input);
void router_send_flit(mesh *m, int node, int output, flit f);
/* The front packet of an input channel is gone, with its tail: what is behind it is routed next. */
void router_close(mesh *m, int node, int input);

/* Gives back what groups took. */
void mesh_free_groups(mesh *m);

/* One cycle of the router of `node`: channels, then the switch. */
void router_step(mesh *m, int node);

#endif
