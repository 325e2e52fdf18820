#include "simulate/metro/baseline.h"

typedef struct sending {
    mesh *m;
    const metro_flows *flows;
    const metro_options *options;
    uint64_t last;
} sending;

static void arrive(void *context, const mesh_arrival *arrival)
{
    sending *s = context;

    s->last = arrival->arrived + 1 > s->last ? arrival->arrived + 1 : s->last;
}

/* Packet number `number` of a flow to or from each of its many ends. */
static spry_status send_packet(sending *s, const metro_flow *flow, int64_t number,
                               spry_error *error)
{
    int64_t left = metro_flits(s->options, flow) - number * METRO_PAYLOAD;
    int flits = 1 + (int)(left < METRO_PAYLOAD ? left : METRO_PAYLOAD);
    spry_status status = SPRY_OK;

    for (int i = 0; i < flow->count && status == SPRY_OK; i++) {
        status = mesh_send(s->m, flow->is_reduce ? flow->many[i] : flow->one,
                           flow->is_reduce ? flow->one : flow->many[i], flits, 0, error);
    }
    return status;
}

/* Flows take turns, packet by packet, in the queue of a node. */
static spry_status send_all(sending *s, spry_error *error)
{
    spry_status status = SPRY_OK;
    bool is_more = true;

    for (int64_t number = 0; is_more && status == SPRY_OK; number++) {
        is_more = false;
        for (int i = 0; i < s->flows->count && status == SPRY_OK; i++) {
            const metro_flow *flow = &s->flows->items[i];

            if (number * METRO_PAYLOAD < metro_flits(s->options, flow)) {
                is_more = true;
                status = send_packet(s, flow, number, error);
            }
        }
    }
    return status;
}

spry_status metro_unicast(const metro_flows *flows, const metro_options *options,
                          const mesh_options *network, metro_baseline *result, spry_error *error)
{
    sending s = {.flows = flows, .options = options};
    spry_status status;

    *result = (metro_baseline){0};
    for (int i = 0; i < flows->count; i++) {
        if (flows->items[i].release > 0) {
            return spry_fail(error, SPRY_UNSUPPORTED, "baseline", NULL,
                             "flows with a release are not compared");
        }
    }
    if (network->width != flows->width || network->height != flows->height) {
        return spry_fail(error, SPRY_USAGE, "baseline", NULL, "the flows are of another mesh");
    }
    status = mesh_create(NULL, network, arrive, &s, &s.m, error);
    if (status == SPRY_OK) {
        status = send_all(&s, error);
    }
    while (status == SPRY_OK && mesh_underway(s.m) > 0) {
        mesh_step(s.m);
        if (mesh_stuck(s.m)) {
            status = spry_fail(error, SPRY_NEGATIVE, "baseline", NULL, "the network is in deadlock");
        }
    }
    if (status == SPRY_OK) {
        result->makespan = s.last;
        result->flit_hops = mesh_count(s.m)->flit_hops;
    }
    mesh_destroy(s.m);
    return status;
}
