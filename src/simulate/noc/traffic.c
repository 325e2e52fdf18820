#include "simulate/noc/traffic.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "simulate/kernel/lanes.h"
#include "spry/random.h"

typedef struct meter {
    uint64_t from; /* packets made in [from, to) are measured */
    uint64_t to;
    uint64_t now;
    uint64_t packets;
    uint64_t latency;
    uint64_t network_latency;
    uint64_t hops;
    uint64_t flits; /* that arrived in [from, to) */
    uint64_t open;  /* measured packets under way */
    timeline *timeline;
    lanes *lanes; /* by source; NULL without a timeline */
} meter;

static const char *const names[TRAFFIC_PATTERNS] = {"uniform", "transpose"};

traffic_pattern traffic_pattern_find(const char *name)
{
    int found = 0;

    while (found < TRAFFIC_PATTERNS && strcmp(names[found], name) != 0) {
        found++;
    }
    return (traffic_pattern)found;
}

const char *traffic_pattern_name(traffic_pattern pattern)
{
    return pattern < TRAFFIC_PATTERNS ? names[pattern] : "?";
}

static void draw(meter *m, const mesh_arrival *a)
{
    char path[32];
    char name[32];

    (void)snprintf(path, sizeof path, "node %d", a->source);
    (void)snprintf(name, sizeof name, "to %d", a->destination);
    lanes_span(&m->lanes[a->source], m->timeline, path, a->injected * TRAFFIC_CYCLE,
               a->arrived * TRAFFIC_CYCLE, "packet", timeline_keep(m->timeline, name));
}

static void arrive(void *context, const mesh_arrival *a)
{
    meter *m = context;

    if (m->lanes != NULL) {
        draw(m, a);
    }
    if (a->arrived >= m->from && a->arrived < m->to) {
        m->flits += (uint64_t)a->flits;
    }
    if (a->created < m->from || a->created >= m->to) {
        return;
    }
    m->packets++;
    m->open--;
    m->latency += a->arrived - a->created;
    m->network_latency += a->arrived - a->injected;
    m->hops += (uint64_t)a->hops;
}

static int destination_of(const mesh_options *network, traffic_pattern pattern, int source,
                          spry_random *random)
{
    int width = network->width;

    return pattern == TRAFFIC_TRANSPOSE
               ? source % width * width + source / width
               : (int)spry_random_below(random, (uint64_t)(width * network->height));
}

/* One cycle's packets: a threshold on 32 random bits per node. */
static spry_status make_packets(mesh *net, const mesh_options *network,
                                const traffic_options *options, uint64_t threshold,
                                spry_random *random, meter *m, spry_error *error)
{
    spry_status status = SPRY_OK;
    bool measured = m->now >= m->from && m->now < m->to;

    for (int node = 0; node < network->width * network->height && status == SPRY_OK; node++) {
        if (spry_random_u32(random) >= threshold) {
            continue;
        }
        status = mesh_send(net, node, destination_of(network, options->pattern, node, random),
                           options->packet_flits, 0, error);
        m->open += measured;
    }
    return status;
}

static spry_status check(const mesh_options *network, const traffic_options *options,
                         spry_error *error)
{
    if (!(options->rate > 0.0 && options->rate <= 1.0) || options->packet_flits < 1 ||
        options->measured == 0) {
        return spry_fail(error, SPRY_USAGE, "traffic", "a rate above 0, at most 1",
                         "a load of %g flits per node and cycle in packets of %d cannot be",
                         options->rate, options->packet_flits);
    }
    if (options->pattern == TRAFFIC_TRANSPOSE && network->width != network->height) {
        return spry_fail(error, SPRY_USAGE, "traffic", "make the mesh square",
                         "a mesh of %d x %d cannot be transposed", network->width, network->height);
    }
    return SPRY_OK;
}

static spry_status load(mesh *net, const mesh_options *network, const traffic_options *options,
                        meter *m, spry_error *error)
{
    uint64_t threshold = (uint64_t)(options->rate / options->packet_flits * 4294967296.0 + 0.5);
    spry_random random = spry_random_stream(options->seed, 0x74726166);
    spry_status status = SPRY_OK;

    while (status == SPRY_OK &&
           (m->now < m->to || (m->open > 0 && m->now < m->to + options->drain))) {
        status = make_packets(net, network, options, threshold, &random, m, error);
        mesh_step(net);
        m->now++;
        if (status == SPRY_OK && mesh_stuck(net)) {
            status = mesh_deadlock(net, error);
        }
    }
    return status;
}

static void conclude(const mesh *net, const mesh_options *network, const traffic_options *options,
                     const meter *m, traffic_result *result)
{
    double packets = m->packets > 0 ? (double)m->packets : 1.0;

    result->latency = (double)m->latency / packets;
    result->network_latency = (double)m->network_latency / packets;
    result->hops = (double)m->hops / packets;
    result->accepted =
        (double)m->flits / (double)options->measured / (double)(network->width * network->height);
    result->packets = m->packets;
    result->drained = m->open == 0;
    result->cycles = m->now;
    result->flit_hops = mesh_count(net)->flit_hops;
    if (options->look != NULL) {
        options->look(options->context, net);
    }
}

spry_status traffic_run(const spry_allocator *allocator, const mesh_options *network,
                        const traffic_options *options, traffic_result *result, spry_error *error)
{
    spry_allocator own = alloc_resolve(allocator);
    size_t bytes = (size_t)network->width * (size_t)network->height * sizeof(lanes);
    meter m = {.from = options->warm_up,
               .to = options->warm_up + options->measured,
               .timeline = options->timeline};
    mesh *net = NULL;
    spry_status status = check(network, options, error);

    *result = (traffic_result){0};
    if (status == SPRY_OK) {
        status = mesh_create(allocator, network, arrive, &m, &net, error);
    }
    if (status == SPRY_OK && options->timeline != NULL) {
        m.lanes = alloc_zeroed(&own, bytes);
        status = m.lanes != NULL ? SPRY_OK : alloc_failed(error, bytes);
    }
    if (status == SPRY_OK) {
        status = load(net, network, options, &m, error);
    }
    if (status == SPRY_OK) {
        conclude(net, network, options, &m, result);
    }
    alloc_release(&own, m.lanes, bytes);
    mesh_destroy(net);
    return status;
}
