#include "simulate/noc/mesh.h"

#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "simulate/noc/mesh_state.h"

enum { PACKETS_MOST = 1 << 26 };

static bool options_hold(const mesh_options *o)
{
    return o->width >= 1 && o->width <= MESH_SIDE_MOST && o->height >= 1 &&
           o->height <= MESH_SIDE_MOST && o->channels >= 1 && o->channels <= MESH_CHANNELS_MOST &&
           o->depth >= 1 && o->depth <= MESH_DEPTH_MOST && o->routing_delay >= 0 &&
           o->routing_delay <= 8 && o->routing < MESH_ROUTINGS &&
           (o->channels >= 2 || o->routing == MESH_DOR);
}

/* Everything that a mesh allocates, so that making and freeing agree. */
typedef struct block {
    void **memory;
    size_t count;
    size_t size;
} block;

enum { BLOCKS_MOST = 8 + 4 * MESH_PIPE };

static int blocks_of(mesh *m, block blocks[BLOCKS_MOST])
{
    size_t nodes = (size_t)m->nodes;
    size_t ports = nodes * MESH_PORTS;
    size_t channels = ports * (size_t)m->channels;
    const block plain[] = {
        {(void **)&m->flits, channels * (size_t)m->options.depth, sizeof *m->flits},
        {(void **)&m->inputs, channels, sizeof *m->inputs},
        {(void **)&m->outputs, channels, sizeof *m->outputs},
        {(void **)&m->interfaces, nodes, sizeof *m->interfaces},
        {(void **)&m->routers, nodes, sizeof *m->routers},
        {(void **)&m->link_flits, ports, sizeof *m->link_flits},
        {(void **)&m->pending, nodes, sizeof *m->pending},
    };
    int count = (int)(sizeof plain / sizeof *plain);

    memcpy(blocks, plain, sizeof plain);
    for (int i = 0; i < MESH_PIPE; i++) {
        /* At most one flit a cycle passes each port; one credit comes back from each, and those of
         * nodes from another distance. */
        blocks[count++] = (block){(void **)&m->to_buffers.slots[i], 2 * ports, sizeof(delivery)};
        blocks[count++] = (block){(void **)&m->to_nodes.slots[i], nodes, sizeof(delivery)};
        blocks[count++] = (block){(void **)&m->to_outputs.slots[i], 2 * ports, sizeof(delivery)};
        blocks[count++] = (block){(void **)&m->to_injection.slots[i], nodes, sizeof(delivery)};
    }
    return count;
}

static void fill(mesh *m)
{
    const int steps[MESH_PORTS] = {1, -1, -m->options.width, m->options.width, 0};

    for (int c = 0; c < m->span; c++) {
        m->port_of[c] = (uint8_t)(c / m->channels);
    }
    for (int i = 0; i < m->nodes * m->span; i++) {
        m->outputs[i].credits = (uint16_t)m->options.depth;
    }
    for (int n = 0; n < m->nodes; n++) {
        m->routers[n].credited = (1ULL << m->span) - 1;
        memcpy(m->routers[n].steps, steps, sizeof steps);
        m->interfaces[n].first = PACKET_NONE;
        m->interfaces[n].last = PACKET_NONE;
        m->interfaces[n].channel = (uint8_t)(m->channels - 1);
        for (int c = 0; c < m->channels; c++) {
            m->interfaces[n].credits[c] = (uint16_t)m->options.depth;
        }
    }
}

spry_status mesh_create(const spry_allocator *allocator, const mesh_options *options,
                        mesh_receiver receive, void *context, mesh **made, spry_error *error)
{
    spry_allocator use = alloc_resolve(allocator);
    block blocks[BLOCKS_MOST];
    mesh *m;
    int count;

    *made = NULL;
    if (!options_hold(options)) {
        return spry_fail(error, SPRY_USAGE, "mesh",
                         "sides 1 to 64, channels 1 to 12 (2 unless routed dor), depth 1 to 256",
                         "a mesh of %d x %d, %d channels of %d flits, cannot be", options->width,
                         options->height, options->channels, options->depth);
    }
    m = alloc_zeroed(&use, sizeof *m);
    if (m == NULL) {
        return alloc_failed(error, sizeof *m);
    }
    m->allocator = use;
    m->options = *options;
    m->receive = receive;
    m->context = context;
    m->nodes = options->width * options->height;
    m->channels = options->channels;
    m->span = MESH_PORTS * options->channels;
    m->free_packet = PACKET_NONE;
    m->random = spry_random_stream(options->seed, 0x6e6f63);
    count = blocks_of(m, blocks);
    for (int i = 0; i < count; i++) {
        *blocks[i].memory = alloc_array(&use, blocks[i].count, blocks[i].size);
        if (*blocks[i].memory == NULL) {
            mesh_destroy(m);
            return alloc_failed(error, blocks[i].count * blocks[i].size);
        }
    }
    fill(m);
    *made = m;
    return SPRY_OK;
}

void mesh_destroy(mesh *m)
{
    spry_allocator allocator;
    block blocks[BLOCKS_MOST];
    int count;

    if (m == NULL) {
        return;
    }
    allocator = m->allocator;
    count = blocks_of(m, blocks);
    for (int i = 0; i < count; i++) {
        alloc_release(&allocator, *blocks[i].memory, blocks[i].count * blocks[i].size);
    }
    mesh_free_groups(m);
    alloc_release(&allocator, m->packets, m->packet_capacity * sizeof *m->packets);
    alloc_release(&allocator, m, sizeof *m);
}

static spry_status take_packet(mesh *m, uint32_t *taken, spry_error *error)
{
    void *packets = m->packets;
    spry_status status;

    if (m->free_packet != PACKET_NONE) {
        *taken = m->free_packet;
        m->free_packet = m->packets[*taken].next;
        return SPRY_OK;
    }
    status = alloc_grow(&m->allocator, &packets, &m->packet_capacity, (size_t)m->packet_count + 1,
                        sizeof *m->packets, PACKETS_MOST, error);
    m->packets = packets;
    if (status == SPRY_OK) {
        *taken = m->packet_count++;
    }
    return status;
}

/* A packet that is made joins the queue of its source. */
static void enqueue(mesh *m, uint32_t made)
{
    packet *p = &m->packets[made];
    node_interface *from = &m->interfaces[p->source];

    p->next = PACKET_NONE;
    p->created = m->cycle;
    routing_start(m, p);
    if (from->first == PACKET_NONE) {
        from->first = made;
        m->pending[m->pending_count++] = p->source;
    } else {
        m->packets[from->last].next = made;
    }
    from->last = made;
    m->underway++;
}

spry_status mesh_send(mesh *m, int source, int destination, int flits, uint64_t tag,
                      spry_error *error)
{
    uint32_t made = PACKET_NONE;
    spry_status status;

    if (source < 0 || source >= m->nodes || destination < 0 || destination >= m->nodes ||
        flits < 1 || flits > UINT16_MAX) {
        return spry_fail(error, SPRY_USAGE, "mesh", "nodes are numbered row by row from 0",
                         "a packet of %d flits from node %d to node %d of %d", flits, source,
                         destination, m->nodes);
    }
    status = take_packet(m, &made, error);
    if (status == SPRY_OK) {
        m->packets[made] = (packet){.source = (uint16_t)source,
                                    .destination = (uint16_t)destination,
                                    .flits = (uint16_t)flits,
                                    .group = MESH_GROUP_NONE,
                                    .left = 1,
                                    .tag = tag};
        enqueue(m, made);
    }
    return status;
}

spry_status mesh_send_group(mesh *m, int group, int flits, uint64_t tag, spry_error *error)
{
    const mesh_group *g = group >= 0 && group < m->group_count ? &m->groups[group] : NULL;
    uint32_t made = PACKET_NONE;
    spry_status status;

    if (g == NULL || flits < 1 || flits > m->options.depth) {
        return spry_fail(error, SPRY_USAGE, "mesh", "a packet that forks must fit into a buffer",
                         "a packet of %d flits to group %d of %d, with buffers of %d", flits, group,
                         m->group_count, m->options.depth);
    }
    status = take_packet(m, &made, error);
    if (status == SPRY_OK) {
        m->packets[made] = (packet){.source = (uint16_t)g->source,
                                    .destination = (uint16_t)g->source,
                                    .flits = (uint16_t)flits,
                                    .group = (uint16_t)group,
                                    .left = (uint16_t)g->count,
                                    .tag = tag};
        enqueue(m, made);
    }
    return status;
}

static void land_credits(mesh *m)
{
    uint32_t slot = (uint32_t)(m->cycle % MESH_PIPE);

    for (uint32_t i = 0; i < m->to_outputs.counts[slot]; i++) {
        delivery d = m->to_outputs.slots[slot][i];

        m->outputs[d.node * m->span + d.channel].credits++;
        m->routers[d.node].credited |= 1ULL << d.channel;
    }
    m->to_outputs.counts[slot] = 0;
    for (uint32_t i = 0; i < m->to_injection.counts[slot]; i++) {
        delivery d = m->to_injection.slots[slot][i];

        m->interfaces[d.node].credits[d.channel]++;
    }
    m->to_injection.counts[slot] = 0;
}

static void land_flits(mesh *m)
{
    uint32_t slot = (uint32_t)(m->cycle % MESH_PIPE);

    for (uint32_t i = 0; i < m->to_buffers.counts[slot]; i++) {
        delivery d = m->to_buffers.slots[slot][i];
        size_t q = (size_t)(d.node * m->span + d.channel);
        input_channel *in = &m->inputs[q];
        int at = in->first + in->count;

        at -= at >= m->options.depth ? m->options.depth : 0;
        m->flits[q * (size_t)m->options.depth + (size_t)at] = d.what;
        if (!in->open) {
            in->open = true;
            in->ready = m->cycle + (uint64_t)m->options.routing_delay;
            m->routers[d.node].routed |= 1ULL << d.channel;
        } else if (in->count == 0) {
            m->routers[d.node].active |= 1ULL << d.channel;
        }
        in->count++;
    }
    m->to_buffers.counts[slot] = 0;
}

static void land_arrivals(mesh *m)
{
    uint32_t slot = (uint32_t)(m->cycle % MESH_PIPE);

    for (uint32_t i = 0; i < m->to_nodes.counts[slot]; i++) {
        flit f = m->to_nodes.slots[slot][i].what;
        packet *p = &m->packets[f.packet];

        m->counts.ejected_flits++;
        if (!f.tail) {
            continue;
        }
        if (m->receive != NULL) {
            m->receive(m->context,
                       &(mesh_arrival){p->source, m->to_nodes.slots[slot][i].node, p->hops,
                                       p->flits, p->tag, p->created, p->injected, m->cycle});
        }
        if (--p->left > 0) {
            continue;
        }
        p->next = m->free_packet;
        m->free_packet = f.packet;
        m->underway--;
    }
    m->to_nodes.counts[slot] = 0;
}

/* The first channel after the last used that has room for a head; -1 for none. */
static int channel_for(const mesh *m, const node_interface *from)
{
    for (int i = 1; i <= m->channels; i++) {
        int channel = (from->channel + i) % m->channels;

        if (from->credits[channel] > 0) {
            return channel;
        }
    }
    return -1;
}

/* A node sends the next flit of its first packet, if there is room; true when packets are left. */
static bool inject(mesh *m, int node)
{
    node_interface *from = &m->interfaces[node];
    packet *p = &m->packets[from->first];
    flit f = {from->first, from->sent == 0, from->sent + 1 == p->flits};

    if (f.head) {
        int channel = channel_for(m, from);

        if (channel < 0) {
            return true;
        }
        from->channel = (uint8_t)channel;
        p->injected = m->cycle;
    } else if (from->credits[from->channel] == 0) {
        return true;
    }
    from->credits[from->channel]--;
    pipe_put(&m->to_buffers, m->cycle + MESH_INJECTION_CYCLES,
             (delivery){.node = (uint16_t)node,
                        .channel = (uint16_t)(MESH_LOCAL * m->channels + from->channel),
                        .what = f});
    m->counts.injected_flits++;
    m->moved = m->cycle;
    from->sent++;
    if (f.tail) {
        from->sent = 0;
        from->first = p->next;
    }
    return from->first != PACKET_NONE;
}

void mesh_step(mesh *m)
{
    uint32_t left = 0;

    land_credits(m);
    land_arrivals(m);
    land_flits(m);
    for (int node = 0; node < m->nodes; node++) {
        router_step(m, node);
    }
    for (uint32_t i = 0; i < m->pending_count; i++) {
        if (inject(m, (int)m->pending[i])) {
            m->pending[left++] = m->pending[i];
        }
    }
    m->pending_count = left;
    m->cycle++;
    m->counts.cycles++;
}

uint64_t mesh_cycle(const mesh *m)
{
    return m->cycle;
}

uint64_t mesh_underway(const mesh *m)
{
    return m->underway;
}

bool mesh_stuck(const mesh *m)
{
    return m->underway > 0 && m->cycle - m->moved > MESH_STILL_MOST;
}

spry_status mesh_deadlock(const mesh *m, spry_error *error)
{
    enum { NAMED = 4 };
    char names[128] = "";
    int waiting = 0;
    text t;

    text_init_fixed(&t, names, sizeof names);
    for (int node = 0; node < m->nodes; node++) {
        int flits = 0;

        for (int i = 0; i < m->span; i++) {
            flits += m->inputs[node * m->span + i].count;
        }
        if (flits > 0 && waiting++ < NAMED) {
            text_append_format(&t, "%s%d (%d flits)", waiting > 1 ? ", " : "", node, flits);
        }
    }
    return spry_fail(error, SPRY_NEGATIVE, "mesh", NULL,
                     "deadlock in cycle %llu: flits wait in %d routers: %s%s",
                     (unsigned long long)m->cycle, waiting, names, waiting > NAMED ? ", ..." : "");
}

const mesh_counts *mesh_count(const mesh *m)
{
    return &m->counts;
}

uint64_t mesh_link_flits(const mesh *m, int node, int port)
{
    return m->link_flits[node * MESH_PORTS + port];
}
