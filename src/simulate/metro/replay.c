#include "simulate/metro/replay.h"

#include <stdlib.h>

#include "base/alloc.h"

#define MEMORY_MOST ((size_t)1 << 30)

enum { ENTRIES_MOST = 1 << 24 };

/* ---- tables ---- */

/* The router that a link comes from, and the one that it leads to. */
static int router_before(int link)
{
    return link / METRO_LINKS;
}

static int router_behind(const metro_flows *f, int link)
{
    const int steps[METRO_LINKS] = {1, -1, -f->width, f->width, 0, 0};

    return link / METRO_LINKS + steps[link % METRO_LINKS];
}

/* The links of the tree that feed the router before `output`, as bits of their directions. */
static unsigned inputs_of(const metro_flows *f, const metro_tree *tree, int output)
{
    unsigned inputs = 0;

    for (int i = 0; i < tree->count; i++) {
        int link = tree->steps[i].link;

        if (link % METRO_LINKS != METRO_EJECT && router_behind(f, link) == router_before(output)) {
            inputs |= 1U << link % METRO_LINKS;
        }
    }
    return inputs;
}

static int compare_entries(const void *a, const void *b)
{
    const metro_entry *x = a;
    const metro_entry *y = b;

    return x->start != y->start ? (x->start < y->start ? -1 : 1)
                                : (x->output > y->output) - (x->output < y->output);
}

/* The entries of one flow, link by link. */
static spry_status add_flow(const metro_schedule *s, int flow, metro_program *p, int *sizes,
                            spry_error *error)
{
    spry_allocator own = alloc_resolve(NULL);
    const metro_tree *tree = s->trees[flow];
    spry_status status = SPRY_OK;

    for (int i = 0; i < tree->count; i++) {
        int64_t lag = (int64_t)METRO_HOP * tree->steps[i].depth;
        unsigned inputs = inputs_of(s->flows, tree, tree->steps[i].link);
        metro_entry *last = NULL;

        if (tree->steps[i].link % METRO_LINKS == METRO_INJECT) {
            continue;
        }
        for (size_t k = 0; k < s->count && status == SPRY_OK; k++) {
            const metro_injection *c = &s->items[k];
            metro_entry e = {c->start + lag, c->start + lag + c->flits, tree->steps[i].link,
                             inputs};

            if (c->flow != flow) {
                continue;
            }
            if (last != NULL && last->end == e.start) {
                last->end = e.end;
                continue;
            }
            status = alloc_grow(&own, (void **)&p->entries, &p->capacity, p->count + 1,
                                sizeof *p->entries, ENTRIES_MOST, error);
            if (status == SPRY_OK) {
                int size = ++sizes[router_before(e.output)];

                last = &p->entries[p->count++];
                *last = e;
                if (size > p->most_entries) {
                    p->most_entries = size;
                    p->fullest = router_before(e.output);
                }
            }
        }
    }
    return status;
}

spry_status metro_program_make(const metro_schedule *s, metro_program *p, spry_error *error)
{
    size_t nodes = (size_t)s->link_count / METRO_LINKS;
    spry_status status = SPRY_OK;
    arena memory;
    int *sizes;

    *p = (metro_program){0};
    arena_init(&memory, NULL, MEMORY_MOST);
    sizes = arena_array(&memory, nodes, sizeof *sizes);
    if (sizes == NULL) {
        status = alloc_failed(error, nodes * sizeof *sizes);
    }
    for (int i = 0; i < s->flows->count && status == SPRY_OK; i++) {
        status = add_flow(s, i, p, sizes, error);
    }
    if (p->count > 1) {
        qsort(p->entries, p->count, sizeof *p->entries, compare_entries);
    }
    arena_fini(&memory);
    return status;
}

void metro_program_fini(metro_program *p)
{
    spry_allocator own = alloc_resolve(NULL);

    alloc_release(&own, p->entries, p->capacity * sizeof *p->entries);
    *p = (metro_program){0};
}

/* ---- cycles ---- */

/* What is on a link; `number` counts a flow's flits from 1, 0 is nothing. */
typedef struct token {
    int flow;
    int64_t number;
    bool taken;
} token;

typedef struct replay {
    const metro_schedule *s;
    const metro_program *p;
    token *pipes[METRO_HOP + 1]; /* by cycle, then link */
    int64_t *arrived;            /* by ejection's place in the trees, see `places` */
    int64_t *places;             /* by flow: where its ejections begin in `arrived` */
    int64_t *sent;               /* by flow */
    metro_injection *injections; /* by start */
    metro_replayed result;
} replay;

static spry_status broken(spry_error *error, int64_t cycle, int link, const char *what)
{
    return spry_fail(error, SPRY_INTERNAL, "replay", NULL, "cycle %lld, node %d, port %d: %s",
                     (long long)cycle, link / METRO_LINKS, link % METRO_LINKS, what);
}

static spry_status drive(replay *r, int64_t cycle, int link, token flit, spry_error *error)
{
    token *place = &r->pipes[cycle % (METRO_HOP + 1)][link];

    if (place->number != 0) {
        return broken(error, cycle, link, "two flits on a link");
    }
    *place = flit;
    r->result.flit_links++;
    return SPRY_OK;
}

/* A flit has left the mesh: the next of its flow there? */
static spry_status deliver(replay *r, int64_t cycle, int link, token flit, spry_error *error)
{
    const metro_tree *tree = r->s->trees[flit.flow];

    for (int i = 0; i < tree->count; i++) {
        if (tree->steps[i].link == link) {
            int64_t *count = &r->arrived[r->places[flit.flow] + i];

            r->result.finish = cycle + 1;
            return ++*count == flit.number ? SPRY_OK
                                           : broken(error, cycle, link, "a flit out of order");
        }
    }
    return broken(error, cycle, link, "a flit at a node that it is not for");
}

static spry_status obey(replay *r, int64_t cycle, const metro_entry *e, spry_error *error)
{
    const metro_flows *f = r->s->flows;
    const int behind[METRO_LINKS] = {-1, 1, f->width, -f->width, 0, 0};
    token *now = r->pipes[(cycle + 1) % (METRO_HOP + 1)];
    token flit = {0};
    spry_status status;

    for (int d = 0; d < METRO_EJECT; d++) {
        int link = (router_before(e->output) + behind[d]) * METRO_LINKS + d;

        if ((e->inputs >> d & 1U) == 0) {
            continue;
        }
        if (now[link].number == 0) {
            return broken(error, cycle, e->output, "an entry that finds no flit");
        }
        if (flit.number != 0 && (flit.flow != now[link].flow || flit.number != now[link].number)) {
            return broken(error, cycle, e->output, "operands that do not belong together");
        }
        now[link].taken = true;
        flit = (token){now[link].flow, now[link].number, false};
    }
    if (flit.number == 0) {
        return broken(error, cycle, e->output, "an entry without inputs");
    }
    status = drive(r, cycle, e->output, flit, error);
    return status == SPRY_OK && e->output % METRO_LINKS == METRO_EJECT
               ? deliver(r, cycle, e->output, flit, error)
               : status;
}

static spry_status inject(replay *r, int64_t cycle, const metro_injection *c, spry_error *error)
{
    const metro_tree *tree = r->s->trees[c->flow];
    spry_status status = SPRY_OK;

    for (int i = 0; i < tree->count && status == SPRY_OK; i++) {
        int64_t at = cycle - c->start - (int64_t)METRO_HOP * tree->steps[i].depth;

        if (tree->steps[i].link % METRO_LINKS == METRO_INJECT && at >= 0 && at < c->flits) {
            int64_t *sent = &r->sent[r->places[c->flow] + i];

            status = drive(r, cycle, tree->steps[i].link, (token){c->flow, ++*sent, false}, error);
        }
    }
    return status;
}

/* Every flit that reached a router must have been taken; then its place is free. */
static spry_status clear(replay *r, int64_t cycle, spry_error *error)
{
    token *now = r->pipes[(cycle + 1) % (METRO_HOP + 1)];

    for (int link = 0; link < r->s->link_count; link++) {
        if (now[link].number != 0 && !now[link].taken && link % METRO_LINKS != METRO_EJECT) {
            return broken(error, cycle, link, "a flit that no entry takes");
        }
        now[link] = (token){0};
    }
    return SPRY_OK;
}

static spry_status run(replay *r, spry_error *error)
{
    const metro_schedule *s = r->s;
    const metro_program *p = r->p;
    size_t first_chunk = 0;
    size_t first_entry = 0;
    spry_status status = SPRY_OK;

    for (int64_t cycle = 0; cycle <= s->makespan + METRO_HOP && status == SPRY_OK; cycle++) {
        for (size_t i = first_chunk;
             i < s->count && r->injections[i].start <= cycle && status == SPRY_OK; i++) {
            const metro_injection *c = &r->injections[i];
            int64_t end = c->start + c->flits + (int64_t)METRO_HOP * r->s->trees[c->flow]->depth;

            first_chunk += i == first_chunk && end <= cycle;
            status = inject(r, cycle, c, error);
        }
        for (size_t i = first_entry;
             i < p->count && p->entries[i].start <= cycle && status == SPRY_OK; i++) {
            first_entry += i == first_entry && p->entries[i].end <= cycle;
            if (p->entries[i].end > cycle) {
                status = obey(r, cycle, &p->entries[i], error);
            }
        }
        if (status == SPRY_OK) {
            status = clear(r, cycle, error);
        }
    }
    return status;
}

static spry_status check_all_arrived(const replay *r, spry_error *error)
{
    for (int i = 0; i < r->s->flows->count; i++) {
        const metro_tree *tree = r->s->trees[i];
        int64_t flits = metro_flits(&r->s->options, &r->s->flows->items[i]);

        for (int k = 0; k < tree->count; k++) {
            if (tree->steps[k].link % METRO_LINKS == METRO_EJECT &&
                r->arrived[r->places[i] + k] != flits) {
                return broken(error, r->result.finish, tree->steps[k].link, "flits are missing");
            }
        }
    }
    return SPRY_OK;
}

static int compare_injections(const void *a, const void *b)
{
    const metro_injection *x = a;
    const metro_injection *y = b;

    return x->start != y->start ? (x->start < y->start ? -1 : 1) : x->flow - y->flow;
}

spry_status metro_replay(const metro_schedule *s, const metro_program *p, metro_replayed *result,
                         spry_error *error)
{
    replay r = {.s = s, .p = p};
    size_t flows = (size_t)s->flows->count;
    int64_t steps = 0;
    bool failed = false;
    arena memory;
    spry_status status;

    arena_init(&memory, NULL, MEMORY_MOST);
    r.places = arena_array(&memory, flows, sizeof *r.places);
    for (size_t i = 0; i < flows && r.places != NULL; i++) {
        r.places[i] = steps;
        steps += s->trees[i]->count;
    }
    r.arrived = arena_array(&memory, (size_t)steps, sizeof *r.arrived);
    r.sent = arena_array(&memory, (size_t)steps, sizeof *r.sent);
    r.injections = arena_array(&memory, s->count, sizeof *r.injections);
    for (int i = 0; i <= METRO_HOP; i++) {
        r.pipes[i] = arena_array(&memory, (size_t)s->link_count, sizeof **r.pipes);
        failed |= r.pipes[i] == NULL;
    }
    if (failed || r.places == NULL || r.arrived == NULL || r.sent == NULL || r.injections == NULL) {
        arena_fini(&memory);
        return alloc_failed(error, s->count * sizeof *r.injections);
    }
    for (size_t i = 0; i < s->count; i++) {
        r.injections[i] = s->items[i];
    }
    if (s->count > 1) {
        qsort(r.injections, s->count, sizeof *r.injections, compare_injections);
    }
    status = run(&r, error);
    if (status == SPRY_OK) {
        status = check_all_arrived(&r, error);
    }
    *result = r.result;
    arena_fini(&memory);
    return status;
}
