/* A router's cycle: output channels are given to packets, then the switch to flits. Either sees
 * what was so when the cycle began: whoever gets a channel may ask for the switch a cycle later,
 * and the channel that a tail leaves is free a cycle later. */
#include <string.h>

#include "simulate/noc/mesh_state.h"

/* The first set bit at or after `from`, going round; there must be one. */
static int first_from(uint64_t bits, int from)
{
    uint64_t after = bits >> from << from;

    return __builtin_ctzll(after != 0 ? after : bits);
}

static int after(int place, int places)
{
    return place + 1 == places ? 0 : place + 1;
}

static const flit *front(const mesh *m, int node, int input)
{
    size_t q = (size_t)(node * m->span + input);

    return &m->flits[q * (size_t)m->options.depth + m->inputs[q].first];
}

/* Every packet that waits asks for one free output channel; every output channel that is asked for
 * takes one of those that ask. */
static void give_channels(mesh *m, int node)
{
    router *r = &m->routers[node];
    input_channel *inputs = &m->inputs[node * m->span];
    output_channel *outputs = &m->outputs[node * m->span];
    uint64_t askers[MESH_PORTS * MESH_CHANNELS_MOST];
    uint64_t asked = 0;

    for (uint64_t left = r->routed; left != 0; left &= left - 1) {
        int input = __builtin_ctzll(left);
        uint64_t bits;
        int output;

        if (inputs[input].ready > m->cycle) {
            continue;
        }
        if (mesh_is_forked(m, node, input)) {
            bits = fork_wanted(m, node, input);
        } else {
            route way = routing_next(m, &m->packets[front(m, node, input)->packet], node, input);

            bits = way.wanted & ~r->taken;
            bits = bits != 0 ? bits : way.spare & ~r->taken;
        }
        if (bits == 0) {
            continue;
        }
        output = first_from(bits, inputs[input].turn);
        askers[output] = (asked >> output & 1) != 0 ? askers[output] : 0;
        askers[output] |= 1ULL << input;
        asked |= 1ULL << output;
    }
    for (; asked != 0; asked &= asked - 1) {
        int output = __builtin_ctzll(asked);
        int input = first_from(askers[output], outputs[output].turn);
        input_channel *in = &inputs[input];

        outputs[output].turn = (uint8_t)after(input, m->span);
        in->turn = (uint8_t)after(output, m->span);
        r->taken |= 1ULL << output;
        r->active |= 1ULL << input;
        if (mesh_is_forked(m, node, input)) {
            fork_take(m, node, input, output);
            continue;
        }
        in->output = (uint8_t)output;
        in->ready = m->cycle + 1;
        r->routed &= ~(1ULL << input);
    }
}

void router_return_credit(mesh *m, int node, int input)
{
    static const uint8_t opposite[] = {MESH_WEST, MESH_EAST, MESH_SOUTH, MESH_NORTH};
    int port = m->port_of[input];
    int channel = input - port * m->channels;

    if (port == MESH_LOCAL) {
        pipe_put(&m->to_injection, m->cycle + MESH_INJECTION_CYCLES,
                 (delivery){.node = (uint16_t)node, .channel = (uint16_t)channel});
    } else {
        pipe_put(&m->to_outputs, m->cycle + MESH_CREDIT_CYCLES,
                 (delivery){.node = (uint16_t)(node + m->routers[node].steps[port]),
                            .channel = (uint16_t)(opposite[port] * m->channels + channel)});
    }
}

void router_send_flit(mesh *m, int node, int output, flit f)
{
    static const uint8_t opposite[] = {MESH_WEST, MESH_EAST, MESH_SOUTH, MESH_NORTH};
    router *r = &m->routers[node];
    output_channel *out = &m->outputs[node * m->span + output];
    int port = m->port_of[output];
    delivery d = {.node = (uint16_t)node, .channel = (uint16_t)output, .what = f};

    if (port == MESH_LOCAL) {
        /* The node takes every flit at once; its credit comes back from there. */
        pipe_put(&m->to_nodes, m->cycle + MESH_LINK_CYCLES, d);
        pipe_put(&m->to_outputs, m->cycle + MESH_LINK_CYCLES + MESH_CREDIT_CYCLES, d);
    } else {
        d.node = (uint16_t)(node + r->steps[port]);
        d.channel = (uint16_t)(output + (opposite[port] - port) * m->channels);
        pipe_put(&m->to_buffers, m->cycle + MESH_LINK_CYCLES, d);
    }
    if (--out->credits == 0) {
        r->credited &= ~(1ULL << output);
    }
    if (f.tail) {
        r->taken &= ~(1ULL << output);
    }
    m->counts.flit_hops++;
    m->counts.packet_hops += f.head;
    m->link_flits[node * MESH_PORTS + port]++;
}

void router_close(mesh *m, int node, int input)
{
    router *r = &m->routers[node];
    input_channel *in = &m->inputs[node * m->span + input];

    in->open = in->count > 0;
    in->ready = m->cycle + 1 + (uint64_t)m->options.routing_delay;
    r->routed |= (uint64_t)in->open << input;
    r->active &= ~(1ULL << input);
}

/* The flit at the front of an input channel crosses the switch. */
static void cross(mesh *m, int node, int input)
{
    input_channel *in = &m->inputs[node * m->span + input];
    flit f = *front(m, node, input);

    in->first = (uint16_t)after(in->first, m->options.depth);
    in->count--;
    router_return_credit(m, node, input);
    router_send_flit(m, node, in->output, f);
    m->packets[f.packet].hops += f.head;
    if (f.tail) {
        router_close(m, node, input);
    } else if (in->count == 0) {
        m->routers[node].active &= ~(1ULL << input);
    }
}

/* Output ports that an input channel could send to now, a bit each. */
static unsigned outputs_ready(const mesh *m, int node, int input)
{
    const input_channel *in = &m->inputs[node * m->span + input];
    bool is_ready;

    if (mesh_is_forked(m, node, input)) {
        return fork_ready(m, node, input);
    }
    is_ready = in->ready <= m->cycle && (m->routers[node].credited >> in->output & 1) != 0;
    return is_ready ? 1U << m->port_of[in->output] : 0;
}

/* Of every input port, the channel that may send through each output port; and which output ports
 * each asks for. Returns the input ports that ask, a bit each. */
static unsigned ask_for_switch(const mesh *m, int node, uint8_t chosen[MESH_PORTS][MESH_PORTS],
                               unsigned wanted[MESH_PORTS])
{
    const router *r = &m->routers[node];
    unsigned asking = 0;

    for (uint64_t left = r->active; left != 0; left &= left - 1) {
        int input = __builtin_ctzll(left);
        int port = m->port_of[input];
        int first = port * m->channels + r->channel_turns[port];

        for (unsigned outs = outputs_ready(m, node, input); outs != 0; outs &= outs - 1) {
            int out = __builtin_ctz(outs);

            /* Channels come in rising order: the first at or after the turn, else the first of
             * all. */
            if ((asking >> port & 1) == 0) {
                wanted[port] = 0;
                asking |= 1U << port;
            }
            if ((wanted[port] >> out & 1) == 0 || (input >= first && chosen[port][out] < first)) {
                chosen[port][out] = (uint8_t)input;
            }
            wanted[port] |= 1U << out;
        }
    }
    return asking;
}

/* Every input port asks for one output port, or, where a packet forks, for all that its branches
 * want; every output port takes one input port. */
static void give_switch(mesh *m, int node)
{
    router *r = &m->routers[node];
    uint8_t chosen[MESH_PORTS][MESH_PORTS];
    int sender[MESH_PORTS]; /* of an input port: the channel */
    unsigned wanted[MESH_PORTS];
    unsigned askers[MESH_PORTS] = {0};
    unsigned asking = ask_for_switch(m, node, chosen, wanted);
    unsigned asked = 0;

    for (; asking != 0; asking &= asking - 1) {
        int port = __builtin_ctz(asking);
        int out = first_from(wanted[port], r->port_turns[port]);
        unsigned outs = 1U << out;

        sender[port] = chosen[port][out];
        if (mesh_is_forked(m, node, sender[port])) {
            outs = fork_ready(m, node, sender[port]);
        }
        for (asked |= outs; outs != 0; outs &= outs - 1) {
            askers[__builtin_ctz(outs)] |= 1U << port;
        }
    }
    for (; asked != 0; asked &= asked - 1) {
        int out = __builtin_ctz(asked);
        int port = first_from(askers[out], r->grant_turns[out]);
        int input = sender[port];

        r->grant_turns[out] = (uint8_t)after(port, MESH_PORTS);
        r->port_turns[port] = (uint8_t)after(out, MESH_PORTS);
        r->channel_turns[port] = (uint8_t)after(input - port * m->channels, m->channels);
        if (mesh_is_forked(m, node, input)) {
            fork_cross(m, node, input, out);
        } else {
            cross(m, node, input);
        }
        m->moved = m->cycle;
    }
}

void router_step(mesh *m, int node)
{
    if (m->routers[node].routed != 0) {
        give_channels(m, node);
    }
    if (m->routers[node].active != 0) {
        give_switch(m, node);
    }
}
