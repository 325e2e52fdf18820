/* Packets that go to many nodes: at each router they fork towards the ports of their tree, and
 * every branch goes on by itself. A branch takes an output channel only when there is room for the
 * whole packet behind it, so that no branch ever holds what another waits for. */
#include <string.h>

#include "base/alloc.h"
#include "simulate/noc/mesh_state.h"

enum { GROUPS_MOST = 4096 };

static fork_state *fork_of(const mesh *m, int node, int input)
{
    return &m->forks[node * m->span + input];
}

uint64_t fork_wanted(mesh *m, int node, int input)
{
    fork_state *f = fork_of(m, node, input);
    const packet *p = mesh_front(m, node, input);
    const output_channel *outputs = &m->outputs[node * m->span];
    uint64_t wanted = 0;

    if (!f->open) {
        uint8_t ports = m->groups[p->group].ports[node];

        *f = (fork_state){.open = true, .wanted = ports, .branches = ports};
    }
    for (unsigned left = f->wanted; left != 0; left &= left - 1) {
        int first = __builtin_ctz(left) * m->channels;

        for (int c = first; c < first + m->channels; c++) {
            bool is_free = (m->routers[node].taken >> c & 1) == 0;

            wanted |= (uint64_t)(is_free && outputs[c].credits >= p->flits) << c;
        }
    }
    return wanted;
}

void fork_take(mesh *m, int node, int input, int output)
{
    fork_state *f = fork_of(m, node, input);
    int port = m->port_of[output];

    f->outputs[port] = (uint8_t)output;
    f->ready[port] = m->cycle + 1;
    f->wanted &= (uint8_t) ~(1U << port);
    if (f->wanted == 0) {
        m->routers[node].routed &= ~(1ULL << input);
    }
}

unsigned fork_ready(const mesh *m, int node, int input)
{
    const fork_state *f = fork_of(m, node, input);
    const packet *p = mesh_front(m, node, input);
    const input_channel *in = &m->inputs[node * m->span + input];
    unsigned ready = 0;

    if (!f->open) {
        return 0;
    }
    for (unsigned left = f->branches & ~(unsigned)f->wanted; left != 0; left &= left - 1) {
        int port = __builtin_ctz(left);
        bool has_flit = f->sent[port] < p->flits && f->sent[port] - f->freed < in->count;

        if (has_flit && f->ready[port] <= m->cycle &&
            m->outputs[node * m->span + f->outputs[port]].credits > 0) {
            ready |= 1U << port;
        }
    }
    return ready;
}

/* Flits that every branch has sent make room. */
static void free_flits(mesh *m, int node, int input, uint16_t flits)
{
    fork_state *f = fork_of(m, node, input);
    input_channel *in = &m->inputs[node * m->span + input];
    uint16_t least = flits;

    for (unsigned left = f->branches; left != 0; left &= left - 1) {
        uint16_t sent = f->sent[__builtin_ctz(left)];

        least = sent < least ? sent : least;
    }
    while (f->freed < least) {
        in->first = (uint16_t)(in->first + 1 == m->options.depth ? 0 : in->first + 1);
        in->count--;
        f->freed++;
        router_return_credit(m, node, input);
    }
    if (f->freed == flits) {
        f->open = false;
        router_close(m, node, input);
    } else if (in->count == 0) {
        m->routers[node].active &= ~(1ULL << input);
    }
}

void fork_cross(mesh *m, int node, int input, int port)
{
    fork_state *f = fork_of(m, node, input);
    const input_channel *in = &m->inputs[node * m->span + input];
    uint16_t flits = mesh_front(m, node, input)->flits;
    size_t q = (size_t)(node * m->span + input);
    int at = in->first + f->sent[port] - f->freed;

    at -= at >= m->options.depth ? m->options.depth : 0;
    f->sent[port]++;
    router_send_flit(m, node, f->outputs[port],
                     m->flits[q * (size_t)m->options.depth + (size_t)at]);
    free_flits(m, node, input, flits);
}

/* ---- groups ---- */

/* Along the row first, then along the column, as packets to one node go. */
static void add_way(const mesh *m, mesh_group *g, int destination)
{
    int width = m->options.width;
    int at = g->source;

    while (at != destination) {
        int dx = destination % width - at % width;
        int dy = destination / width - at / width;
        int port = dx > 0 ? MESH_EAST : dx < 0 ? MESH_WEST : dy > 0 ? MESH_SOUTH : MESH_NORTH;

        g->ports[at] |= (uint8_t)(1U << port);
        at += m->routers[at].steps[port];
    }
    g->ports[at] |= 1U << MESH_LOCAL;
}

spry_status mesh_add_group(mesh *m, int source, const int *destinations, int count, int *group,
                           spry_error *error)
{
    size_t nodes = (size_t)m->nodes;
    void *groups = m->groups;
    mesh_group *made;
    spry_status status;

    if (m->options.routing != MESH_DOR || source < 0 || source >= m->nodes || count < 1) {
        return spry_fail(error, SPRY_USAGE, "mesh", NULL,
                         "packets to many go along rows first, from a node of the mesh");
    }
    status = alloc_grow(&m->allocator, &groups, &m->group_capacity, (size_t)m->group_count + 1,
                        sizeof *m->groups, GROUPS_MOST, error);
    m->groups = groups;
    if (status == SPRY_OK && m->forks == NULL) {
        m->forks = alloc_array(&m->allocator, nodes * (size_t)m->span, sizeof *m->forks);
    }
    if (status != SPRY_OK || m->forks == NULL) {
        return status != SPRY_OK ? status
                                 : alloc_failed(error, nodes * (size_t)m->span * sizeof *m->forks);
    }
    made = &m->groups[m->group_count];
    *made = (mesh_group){.source = source, .ports = alloc_array(&m->allocator, nodes, 1)};
    if (made->ports == NULL) {
        return alloc_failed(error, nodes);
    }
    m->group_count++;
    for (int i = 0; i < count; i++) {
        if (destinations[i] < 0 || destinations[i] >= m->nodes) {
            return spry_fail(error, SPRY_USAGE, "mesh", NULL, "there is no node %d",
                             destinations[i]);
        }
        add_way(m, made, destinations[i]);
    }
    for (size_t i = 0; i < nodes; i++) {
        made->count += (made->ports[i] >> MESH_LOCAL & 1) != 0;
    }
    *group = m->group_count - 1;
    return SPRY_OK;
}

void mesh_free_groups(mesh *m)
{
    for (int i = 0; i < m->group_count; i++) {
        alloc_release(&m->allocator, m->groups[i].ports, (size_t)m->nodes);
    }
    alloc_release(&m->allocator, m->groups, m->group_capacity * sizeof *m->groups);
    alloc_release(&m->allocator, m->forks, (size_t)m->nodes * (size_t)m->span * sizeof *m->forks);
}
