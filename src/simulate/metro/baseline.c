#include "simulate/metro/baseline.h"

#include "base/alloc.h"

enum { NOWHERE = -1 };
#define MEMORY_MOST ((size_t)1 << 28)

/* A reduction with sums on the way: packets move from one meeting to the next. */
typedef struct summing {
    int *next;       /* by node: where its sums go; NOWHERE outside of the tree */
    int *inputs;     /* by node: packets that make one sum, its own counted */
    uint8_t *counts; /* by node's place, then number of a packet: those that are there */
    int *places;     /* by node */
} summing;

/* A sum that is complete: `number` of `flow` leaves `node` after this cycle. */
typedef struct sum_ready {
    int flow, node;
    int64_t number;
} sum_ready;

typedef struct sending {
    mesh *m;
    const metro_flows *flows;
    const metro_options *options;
    const int *groups; /* by flow, of those that are trees; NULL: none is */
    summing *sums;     /* by flow; NULL: all is added at the end */
    sum_ready *ready;
    size_t ready_count, ready_capacity;
    bool failed;
    uint64_t last;
} sending;

static int64_t packets_of(const sending *s, const metro_flow *flow)
{
    return (metro_payload(s->options, flow) + METRO_PAYLOAD - 1) / METRO_PAYLOAD;
}

static bool is_tree(const metro_flow *flow)
{
    return !flow->is_reduce && flow->count > 1;
}

static bool adds_on_the_way(const sending *s, const metro_flow *flow)
{
    return s->sums != NULL && flow->is_reduce && flow->count > 1;
}

/* ---- sums ---- */

/* One more packet `number` has come to `node`: when all are there, the sum goes on. */
static void count_sum(sending *s, int index, int node, int64_t number)
{
    const metro_flow *flow = &s->flows->items[index];
    const summing *sum = &s->sums[index];
    uint8_t *count = &sum->counts[sum->places[node] * packets_of(s, flow) + number];
    spry_allocator own = alloc_resolve(NULL);

    if (++*count < sum->inputs[node] || node == flow->one) {
        return;
    }
    if (alloc_grow(&own, (void **)&s->ready, &s->ready_capacity, s->ready_count + 1,
                   sizeof *s->ready, METRO_CHUNKS_MOST, NULL) != SPRY_OK) {
        s->failed = true;
        return;
    }
    s->ready[s->ready_count++] = (sum_ready){index, node, number};
}

/* Tags of packets of sums; others have 0. */
static uint64_t tag_of(int flow, int64_t number)
{
    return ((uint64_t)flow + 1) << 40 | (uint64_t)number;
}

static void arrive(void *context, const mesh_arrival *arrival)
{
    sending *s = context;

    s->last = arrival->arrived > s->last ? arrival->arrived : s->last;
    if (arrival->tag != 0) {
        count_sum(s, (int)(arrival->tag >> 40) - 1, arrival->destination,
                  (int64_t)(arrival->tag & ((UINT64_C(1) << 40) - 1)));
    }
}

static int toward(const metro_flows *f, int from, int to)
{
    int dx = to % f->width - from % f->width;
    int dy = to / f->width - from / f->width;

    return dx != 0 ? from + (dx > 0 ? 1 : -1) : from + (dy > 0 ? f->width : -f->width);
}

/* The ways of packets to one node make a tree. Sums are made where a source lies or where ways
 * meet; `inputs` counts ways into a node until the meetings are known. */
static spry_status plan_sum(sending *s, int index, arena *memory, spry_error *error)
{
    const metro_flow *flow = &s->flows->items[index];
    size_t nodes = (size_t)s->flows->width * (size_t)s->flows->height;
    size_t packets = (size_t)packets_of(s, flow);
    summing *sum = &s->sums[index];
    bool *on_way = arena_array(memory, nodes, sizeof *on_way);
    bool *is_source = arena_array(memory, nodes, sizeof *is_source);
    int *ways = arena_array(memory, nodes, sizeof *ways);
    int place = 0;

    sum->next = arena_array(memory, nodes, sizeof *sum->next);
    sum->inputs = arena_array(memory, nodes, sizeof *sum->inputs);
    sum->places = arena_array(memory, nodes, sizeof *sum->places);
    sum->counts = arena_array(memory, nodes, packets);
    if (on_way == NULL || is_source == NULL || ways == NULL || sum->next == NULL ||
        sum->inputs == NULL || sum->places == NULL || sum->counts == NULL) {
        return alloc_failed(error, nodes * packets);
    }
    for (int i = 0; i < flow->count; i++) {
        is_source[flow->many[i]] = true;
        for (int at = flow->many[i]; at != flow->one && !on_way[at];) {
            on_way[at] = true;
            at = toward(s->flows, at, flow->one);
            ways[at]++;
        }
    }
    for (int node = 0; node < (int)nodes; node++) {
        int at = node;

        sum->next[node] = NOWHERE;
        sum->places[node] = place++;
        if (!on_way[node] || (!is_source[node] && ways[node] < 2)) {
            continue;
        }
        do {
            at = toward(s->flows, at, flow->one);
        } while (at != flow->one && !is_source[at] && ways[at] < 2);
        sum->next[node] = at;
        sum->inputs[at]++;
        sum->inputs[node] += is_source[node];
    }
    return SPRY_OK;
}

static int flits_of(const sending *s, const metro_flow *flow, int64_t number)
{
    int64_t left = metro_payload(s->options, flow) - number * METRO_PAYLOAD;

    return 1 + (int)(left < METRO_PAYLOAD ? left : METRO_PAYLOAD);
}

/* What became ready in the last cycle. */
static spry_status send_sums(sending *s, spry_error *error)
{
    spry_status status =
        s->failed ? spry_fail(error, SPRY_LIMIT, "baseline", NULL, "too many sums at once")
                  : SPRY_OK;

    for (size_t i = 0; i < s->ready_count && status == SPRY_OK; i++) {
        const sum_ready *r = &s->ready[i];

        status = mesh_send(s->m, r->node, s->sums[r->flow].next[r->node],
                           flits_of(s, &s->flows->items[r->flow], r->number),
                           tag_of(r->flow, r->number), error);
    }
    s->ready_count = 0;
    return status;
}

/* ---- packets ---- */

/* Packet number `number` of a flow to or from each of its many ends. */
static spry_status send_packet(sending *s, int index, int64_t number, spry_error *error)
{
    const metro_flow *flow = &s->flows->items[index];
    int flits = flits_of(s, flow, number);
    spry_status status = SPRY_OK;

    if (s->groups != NULL && is_tree(flow)) {
        return mesh_send_group(s->m, s->groups[index], flits, 0, error);
    }
    for (int i = 0; i < flow->count && status == SPRY_OK; i++) {
        if (adds_on_the_way(s, flow)) {
            count_sum(s, index, flow->many[i], number);
        } else {
            status = mesh_send(s->m, flow->is_reduce ? flow->many[i] : flow->one,
                               flow->is_reduce ? flow->one : flow->many[i], flits, 0, error);
        }
    }
    return status == SPRY_OK ? send_sums(s, error) : status;
}

/* Flows take turns, packet by packet, in the queue of a node. */
static spry_status send_all(sending *s, spry_error *error)
{
    spry_status status = SPRY_OK;
    bool is_more = true;

    for (int64_t number = 0; is_more && status == SPRY_OK; number++) {
        is_more = false;
        for (int i = 0; i < s->flows->count && status == SPRY_OK; i++) {
            if (number < packets_of(s, &s->flows->items[i])) {
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

static spry_status plan_sums(sending *s, arena *memory, spry_error *error)
{
    spry_status status = SPRY_OK;

    s->sums = arena_array(memory, (size_t)s->flows->count, sizeof *s->sums);
    if (s->sums == NULL) {
        return alloc_failed(error, (size_t)s->flows->count * sizeof *s->sums);
    }
    for (int i = 0; i < s->flows->count && status == SPRY_OK; i++) {
        if (adds_on_the_way(s, &s->flows->items[i])) {
            status = plan_sum(s, i, memory, error);
        }
    }
    return status;
}

static spry_status drive(sending *s, spry_error *error)
{
    spry_status status = send_all(s, error);

    while (status == SPRY_OK && mesh_underway(s->m) > 0) {
        mesh_step(s->m);
        status = send_sums(s, error);
        if (status == SPRY_OK && mesh_stuck(s->m)) {
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
                          const mesh_options *network, metro_collective how, metro_baseline *result,
                          spry_error *error)
{
    sending s = {.flows = flows, .options = options};
    spry_allocator own = alloc_resolve(NULL);
    mesh_options used = *network;
    arena memory;
    int *groups;
    spry_status status = check(flows, network, error);

    *result = (metro_baseline){0};
    if (status != SPRY_OK) {
        return status;
    }
    used.depth = how != METRO_EACH && used.depth < METRO_TREE_DEPTH ? METRO_TREE_DEPTH : used.depth;
    arena_init(&memory, NULL, MEMORY_MOST);
    groups = arena_array(&memory, (size_t)flows->count, sizeof *groups);
    status = groups == NULL ? spry_fail(error, SPRY_LIMIT, "baseline", NULL, "no memory")
                            : mesh_create(NULL, &used, arrive, &s, &s.m, error);
    if (status == SPRY_OK && how != METRO_EACH) {
        status = make_groups(&s, groups, error);
    }
    if (status == SPRY_OK && how == METRO_TREES_SUMS) {
        status = plan_sums(&s, &memory, error);
    }
    if (status == SPRY_OK) {
        status = drive(&s, error);
    }
    if (status == SPRY_OK) {
        result->makespan = s.last;
        result->counts = *mesh_count(s.m);
        result->flit_hops = result->counts.flit_hops;
    }
    mesh_destroy(s.m);
    alloc_release(&own, s.ready, s.ready_capacity * sizeof *s.ready);
    arena_fini(&memory);
    return status;
}
