#include "simulate/metro/baseline.h"

typedef struct sending {
    mesh *m;
    const metro_flows *flows;
    const metro_options *options;
    const int *groups; /* by flow, of those that are trees; NULL: none is */
    uint64_t last;
} sending;

static void arrive(void *context, const mesh_arrival *arrival)
{
    sending *s = context;

    s->last = arrival->arrived > s->last ? arrival->arrived : s->last;
}

static bool is_tree(const metro_flow *flow)
{
    return !flow->is_reduce && flow->count > 1;
}

/* Packet number `number` of a flow to or from each of its many ends. */
static spry_status send_packet(sending *s, int index, int64_t number, spry_error *error)
{
    const metro_flow *flow = &s->flows->items[index];
    int64_t left = metro_flits(s->options, flow) - number * METRO_PAYLOAD;
    int flits = 1 + (int)(left < METRO_PAYLOAD ? left : METRO_PAYLOAD);
    spry_status status = SPRY_OK;

    if (s->groups != NULL && is_tree(flow)) {
        return mesh_send_group(s->m, s->groups[index], flits, 0, error);
    }
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
                status = send_packet(s, i, number, error);
            }
        }
    }
    return status;
}

static spry_status make_groups(sending *s, int *groups, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int i = 0; i < s->flows->count && status == SPRY_OK; i++) {
        const metro_flow *flow = &s->flows->items[i];

        if (is_tree(flow)) {
            status = mesh_add_group(s->m, flow->one, flow->many, flow->count, &groups[i], error);
        }
    }
    s->groups = groups;
    return status;
}

static spry_status drive(sending *s, spry_error *error)
{
    spry_status status = send_all(s, error);

    while (status == SPRY_OK && mesh_underway(s->m) > 0) {
        mesh_step(s->m);
        if (mesh_stuck(s->m)) {
            status = mesh_deadlock(s->m, error);
        }
    }
    return status;
}

static spry_status check(const metro_flows *flows, const mesh_options *network, spry_error *error)
{
    for (int i = 0; i < flows->count; i++) {
        if (flows->items[i].release > 0) {
            return spry_fail(error, SPRY_UNSUPPORTED, "baseline", NULL,
                             "flows with a release are not compared");
        }
    }
    return network->width == flows->width && network->height == flows->height
               ? SPRY_OK
               : spry_fail(error, SPRY_USAGE, "baseline", NULL, "the flows are of another mesh");
}

spry_status metro_packets(const metro_flows *flows, const metro_options *options,
                          const mesh_options *network, bool trees, metro_baseline *result,
                          spry_error *error)
{
    sending s = {.flows = flows, .options = options};
    mesh_options used = *network;
    arena memory;
    int *groups;
    spry_status status = check(flows, network, error);

    *result = (metro_baseline){0};
    if (status != SPRY_OK) {
        return status;
    }
    used.depth = trees && used.depth < METRO_TREE_DEPTH ? METRO_TREE_DEPTH : used.depth;
    arena_init(&memory, NULL, (size_t)1 << 20);
    groups = arena_array(&memory, (size_t)flows->count, sizeof *groups);
    status = groups == NULL ? spry_fail(error, SPRY_LIMIT, "baseline", NULL, "no memory")
                            : mesh_create(NULL, &used, arrive, &s, &s.m, error);
    if (status == SPRY_OK && trees) {
        status = make_groups(&s, groups, error);
    }
    if (status == SPRY_OK) {
        status = drive(&s, error);
    }
    if (status == SPRY_OK) {
        result->makespan = s.last;
        result->flit_hops = mesh_count(s.m)->flit_hops;
    }
    mesh_destroy(s.m);
    arena_fini(&memory);
    return status;
}
