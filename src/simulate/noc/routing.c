/* Where a packet goes next. Packets that have two legs, or two orders, keep to the lower half of
 * the channels in the first and to the upper half in the second, which keeps the two from waiting
 * for each other; they enter and leave the mesh through any. */
#include <string.h>

#include "simulate/noc/mesh_state.h"

static const char *const names[MESH_ROUTINGS] = {
    [MESH_DOR] = "dor",         [MESH_XY_YX] = "xy_yx",         [MESH_ROMM] = "romm",
    [MESH_VALIANT] = "valiant", [MESH_MIN_ADAPT] = "min_adapt", [MESH_ADAPTIVE] = "adaptive",
};

mesh_routing mesh_routing_find(const char *name)
{
    int found = 0;

    while (found < MESH_ROUTINGS && strcmp(names[found], name) != 0) {
        found++;
    }
    return (mesh_routing)found;
}

const char *mesh_routing_name(mesh_routing routing)
{
    return routing < MESH_ROUTINGS ? names[routing] : "?";
}

static uint16_t all_channels(const mesh *m)
{
    return (uint16_t)((1U << m->channels) - 1);
}

static uint16_t half_channels(const mesh *m, bool upper)
{
    uint16_t lower = (uint16_t)((1U << (m->channels / 2)) - 1);

    return upper ? (uint16_t)(all_channels(m) & ~lower) : lower;
}

static int between(mesh *m, int a, int b)
{
    int low = a < b ? a : b;
    int high = a < b ? b : a;

    return low + (int)spry_random_below(&m->random, (uint64_t)(high - low + 1));
}

static bool by_way_of_middle(const mesh *m)
{
    return m->options.routing == MESH_ROMM || m->options.routing == MESH_VALIANT;
}

void routing_start(mesh *m, packet *p)
{
    int width = m->options.width;

    p->second = false;
    p->middle = p->destination;
    if (m->options.routing == MESH_XY_YX) {
        p->second = (spry_random_u32(&m->random) & 1) != 0;
    } else if (m->options.routing == MESH_VALIANT) {
        p->middle = (uint16_t)spry_random_below(&m->random, (uint64_t)m->nodes);
    } else if (m->options.routing == MESH_ROMM) {
        int x = between(m, p->source % width, p->destination % width);
        int y = between(m, p->source / width, p->destination / width);

        p->middle = (uint16_t)(y * width + x);
    }
}

static int port_across(const mesh *m, int node, int target)
{
    int from = node % m->options.width;
    int to = target % m->options.width;

    return from == to ? MESH_LOCAL : to > from ? MESH_EAST : MESH_WEST;
}

static int port_along(const mesh *m, int node, int target)
{
    int from = node / m->options.width;
    int to = target / m->options.width;

    return from == to ? MESH_LOCAL : to > from ? MESH_SOUTH : MESH_NORTH;
}

static int first_of(int port, int other)
{
    return port != MESH_LOCAL ? port : other;
}

static int port_in_order(const mesh *m, int node, int target)
{
    return first_of(port_across(m, node, target), port_along(m, node, target));
}

static uint64_t channels_of(const mesh *m, int port, uint16_t channels)
{
    return (uint64_t)channels << (port * m->channels);
}

/* The room in the buffers behind a port's channels. */
static int room_behind(const mesh *m, int node, int port)
{
    const output_channel *out = &m->outputs[node * m->span + port * m->channels];
    int room = 0;

    for (int channel = 1; channel < m->channels; channel++) {
        room += out[channel].credits;
    }
    return room;
}

/* Channel 0 in order, as the way out of deadlock; the others towards the first way that is not yet
 * done, or, where both are open, towards the one with more room. */
static route route_adaptively(const mesh *m, const packet *p, int node, int input)
{
    int across = port_across(m, node, p->destination);
    int along = port_along(m, node, p->destination);
    int port = first_of(across, along);
    route r = {.spare = channels_of(m, port, 1)};

    if (input % m->channels == 0 && m->port_of[input] != MESH_LOCAL) {
        return r; /* the way out is not left again */
    }
    if (m->options.routing == MESH_ADAPTIVE && across != MESH_LOCAL && along != MESH_LOCAL &&
        room_behind(m, node, along) > room_behind(m, node, across)) {
        port = along;
    }
    r.wanted = channels_of(m, port, (uint16_t)(all_channels(m) & ~1U));
    return r;
}

route routing_next(const mesh *m, packet *p, int node, int input)
{
    int target = p->destination;
    int port = MESH_LOCAL;
    uint16_t channels = all_channels(m);

    if (node == target && (p->second || p->middle == target || !by_way_of_middle(m))) {
        return (route){.wanted = channels_of(m, MESH_LOCAL, channels)};
    }
    switch (m->options.routing) {
    case MESH_MIN_ADAPT:
    case MESH_ADAPTIVE: return route_adaptively(m, p, node, input);
    case MESH_XY_YX:
        port = p->second ? first_of(port_along(m, node, target), port_across(m, node, target))
                         : port_in_order(m, node, target);
        channels = half_channels(m, p->second);
        break;
    case MESH_ROMM:
    case MESH_VALIANT:
        p->second = p->second || node == p->middle;
        port = port_in_order(m, node, p->second ? target : p->middle);
        channels = half_channels(m, p->second);
        break;
    default: port = port_in_order(m, node, target); break;
    }
    return (route){.wanted = channels_of(m, port, channels)};
}
