#include "simulate/metro/exact.h"

#include <string.h>

#include "base/alloc.h"
#include "simulate/metro/search.h"

typedef struct branch {
    const metro_flows *flows;
    metro_schedule s; /* its links hold what is placed */
    metro_route (*routes)[METRO_ROUTES_MOST];
    metro_tree *trees[METRO_EXACT_FLOWS]; /* by flow, then by route */
    int route_counts[METRO_EXACT_FLOWS];
    int64_t flits[METRO_EXACT_FLOWS];
    int64_t reach[METRO_EXACT_FLOWS]; /* least cycles from a flow's start to its last flit's end */
    int64_t *starts[METRO_EXACT_FLOWS]; /* of the chunks, while a flow is placed */
    int ways[METRO_EXACT_FLOWS];
    int sequence[METRO_EXACT_FLOWS];
    int placed;
    bool is_placed[METRO_EXACT_FLOWS];
    int64_t floor, best, most;
    metro_exact *found;
} branch;

static int64_t chunk_of(const branch *b, int64_t left)
{
    int64_t chunk = metro_chunk(&b->s.options);

    return left < chunk ? left : chunk;
}

/* ---- placing ---- */

/* The end of a flow that is placed chunk after chunk; the starts are kept. */
static int64_t finish_of(const branch *b, int flow, const metro_tree *tree)
{
    int64_t left = b->flits[flow];
    int64_t from = b->flows->items[flow].release;
    int64_t finish = from;

    for (int i = 0; left > 0 && tree->count > 0; i++) {
        int64_t flits = chunk_of(b, left);
        int64_t start = metro_earliest(&b->s, tree, from, flits);

        b->starts[flow][i] = start;
        from = start + flits;
        finish = from + (int64_t)METRO_HOP * tree->depth;
        left -= flits;
    }
    return finish;
}

/* Takes or gives back what finish_of found. */
static spry_status change(branch *b, int flow, const metro_tree *tree, bool takes,
                          spry_error *error)
{
    int64_t left = tree->count > 0 ? b->flits[flow] : 0;
    spry_status status = SPRY_OK;

    for (int i = 0; left > 0; i++) {
        int64_t flits = chunk_of(b, left);

        for (int k = 0; k < tree->count && status == SPRY_OK; k++) {
            metro_reservations *r = &b->s.links[tree->steps[k].link];
            int64_t start = b->starts[flow][i] + (int64_t)METRO_HOP * tree->steps[k].depth;

            status = takes ? metro_reserve(r, start, start + flits, error)
                           : metro_release(r, start, start + flits, error);
        }
        left -= flits;
    }
    return status;
}

/* ---- bounds ---- */

/* When `flits` cycles of the link from `head` on have been free. */
static int64_t free_until(const metro_reservations *r, int64_t head, int64_t flits)
{
    int64_t at = head;

    for (size_t i = 0; i < r->count && flits > 0; i++) {
        if (r->items[i].end <= at) {
            continue;
        }
        if (r->items[i].start - at >= flits) {
            break;
        }
        flits -= r->items[i].start > at ? r->items[i].start - at : 0;
        at = r->items[i].end;
    }
    return at + flits;
}

/* The node at the one end of each flow has a link that all of them share, whatever their routes:
 * what is left must pass it, and go on from it. */
static int64_t bound_of_ends(const branch *b)
{
    int64_t bound = 0;

    for (int i = 0; i < b->flows->count; i++) {
        const metro_flow *at = &b->flows->items[i];
        int link = at->one * METRO_LINKS + (at->is_reduce ? METRO_EJECT : METRO_INJECT);
        int64_t head = INT64_MAX;
        int64_t tail = INT64_MAX;
        int64_t flits = 0;

        for (int k = 0; k < b->flows->count; k++) {
            const metro_flow *flow = &b->flows->items[k];
            bool is_same = flow->one == at->one && flow->is_reduce == at->is_reduce;
            int64_t before = flow->release + (flow->is_reduce ? b->reach[k] : 0);
            int64_t behind = flow->is_reduce ? 0 : b->reach[k];

            if (is_same && !b->is_placed[k] && b->flits[k] > 0 && flow->count > 0) {
                head = before < head ? before : head;
                tail = behind < tail ? behind : tail;
                flits += b->flits[k];
            }
        }
        if (flits > 0) {
            int64_t end = free_until(&b->s.links[link], head, flits) + tail;

            bound = end > bound ? end : bound;
        }
    }
    return bound;
}

/* The same for the node at the other end of flows that have one such: where packets arrive. */
static int64_t bound_of_arrivals(const branch *b)
{
    int64_t bound = 0;

    for (int i = 0; i < b->flows->count; i++) {
        const metro_flow *at = &b->flows->items[i];
        int64_t head = INT64_MAX;
        int64_t flits = 0;

        for (int k = 0; k < b->flows->count && at->count == 1 && !at->is_reduce; k++) {
            const metro_flow *flow = &b->flows->items[k];

            if (!flow->is_reduce && flow->count == 1 && flow->many[0] == at->many[0] &&
                !b->is_placed[k] && b->flits[k] > 0) {
                int64_t before = flow->release + b->reach[k];

                head = before < head ? before : head;
                flits += b->flits[k];
            }
        }
        if (flits > 0) {
            int64_t end =
                free_until(&b->s.links[at->many[0] * METRO_LINKS + METRO_EJECT], head, flits);

            bound = end > bound ? end : bound;
        }
    }
    return bound;
}

/* ---- branches ---- */

static bool share_a_link(const metro_tree *a, const metro_tree *b)
{
    for (int i = 0; i < a->count; i++) {
        for (int k = 0; k < b->count; k++) {
            if (a->steps[i].link == b->steps[k].link) {
                return true;
            }
        }
    }
    return false;
}

/* Two flows in a row that share no link end alike in either order: one of them will do. */
static bool is_mirrored(const branch *b, int flow, const metro_tree *tree)
{
    int before = b->placed > 0 ? b->sequence[b->placed - 1] : -1;

    return before > flow && !share_a_link(tree, &b->trees[before][b->ways[before]]);
}

static void keep(branch *b, int64_t makespan)
{
    b->best = makespan;
    b->found->makespan = makespan;
    for (int i = 0; i < b->flows->count; i++) {
        int flow = b->sequence[i];

        b->found->order[flow] = i;
        b->found->routes[flow] = b->routes[flow][b->ways[flow]];
    }
}

/* No flow that is not placed ends before its best way now: others only take more. */
static int64_t bound_of_flows(const branch *b, int64_t bound)
{
    for (int i = 0; i < b->flows->count && bound < b->best; i++) {
        int64_t least = INT64_MAX;

        for (int way = 0; way < b->route_counts[i] && !b->is_placed[i] && least > bound; way++) {
            int64_t finish = finish_of(b, i, &b->trees[i][way]);

            least = finish < least ? finish : least;
        }
        bound = !b->is_placed[i] && least > bound ? least : bound;
    }
    return bound;
}

static spry_status descend(branch *b, int64_t makespan, spry_error *error)
{
    spry_status status = SPRY_OK;
    int64_t bound = makespan;
    int64_t other;

    if (b->found->visited++ >= b->most) {
        b->found->is_proven = false;
        return SPRY_OK;
    }
    if (b->placed == b->flows->count) {
        keep(b, makespan);
        return SPRY_OK;
    }
    other = bound_of_ends(b);
    bound = other > bound ? other : bound;
    other = bound_of_arrivals(b);
    bound = other > bound ? other : bound;
    if (bound >= b->best || bound_of_flows(b, bound) >= b->best) {
        return SPRY_OK;
    }
    for (int i = 0; i < b->flows->count && status == SPRY_OK; i++) {
        for (int way = 0; way < b->route_counts[i] && !b->is_placed[i] && status == SPRY_OK;
             way++) {
            const metro_tree *tree = &b->trees[i][way];
            int64_t finish = finish_of(b, i, tree);

            if (finish >= b->best || is_mirrored(b, i, tree)) {
                continue;
            }
            status = change(b, i, tree, true, error);
            b->ways[i] = way;
            b->sequence[b->placed++] = i;
            b->is_placed[i] = true;
            if (status == SPRY_OK) {
                status = descend(b, finish > makespan ? finish : makespan, error);
            }
            /* Those below have used the room of others only; this flow's starts still stand. */
            b->is_placed[i] = false;
            b->placed--;
            if (status == SPRY_OK) {
                status = change(b, i, tree, false, error);
            }
            b->found->is_proven &= b->best <= b->floor || b->found->visited < b->most;
            if (b->best <= b->floor || !b->found->is_proven) {
                return status;
            }
        }
    }
    return status;
}

static bool is_twin(const metro_tree *a, const metro_tree *b)
{
    return a->count == b->count &&
           memcmp(a->steps, b->steps, (size_t)a->count * sizeof *a->steps) == 0;
}

/* Every route of every flow; those that give the same tree once. */
static spry_status make_trees(branch *b, arena *memory, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int i = 0; i < b->flows->count && status == SPRY_OK; i++) {
        const metro_flow *flow = &b->flows->items[i];
        int all = metro_routes(b->flows, flow, b->routes[i]);
        int64_t chunks = metro_payload(&b->s.options, flow) / b->s.options.chunk_flits + 2;

        b->flits[i] = metro_flits(&b->s.options, flow);
        b->reach[i] = INT64_MAX;
        b->trees[i] = arena_array(memory, (size_t)all, sizeof *b->trees[i]);
        b->starts[i] = arena_array(memory, (size_t)chunks, sizeof *b->starts[i]);
        if (b->trees[i] == NULL || b->starts[i] == NULL) {
            return alloc_failed(error, (size_t)chunks * sizeof *b->starts[i]);
        }
        for (int k = 0; k < all && status == SPRY_OK; k++) {
            metro_tree *made = &b->trees[i][b->route_counts[i]];
            bool is_new = true;

            status = metro_tree_make(b->flows, flow, &b->routes[i][k], memory, made, error);
            for (int old = 0; old < b->route_counts[i] && status == SPRY_OK; old++) {
                is_new &= !is_twin(&b->trees[i][old], made);
            }
            if (status == SPRY_OK && is_new) {
                int64_t reach = (int64_t)METRO_HOP * made->depth;

                b->reach[i] = reach < b->reach[i] ? reach : b->reach[i];
                b->routes[i][b->route_counts[i]++] = b->routes[i][k];
            }
        }
    }
    return status;
}

spry_status metro_exact_find(const metro_flows *flows, const metro_options *options, int64_t known,
                             int64_t most, arena *memory, metro_exact *found, spry_error *error)
{
    size_t count = (size_t)flows->count;
    branch b = {.flows = flows, .best = known, .most = most, .found = found};
    spry_status status;

    *found = (metro_exact){.routes = arena_array(memory, count, sizeof *found->routes),
                           .order = arena_array(memory, count, sizeof *found->order),
                           .makespan = INT64_MAX,
                           .is_proven = true};
    b.routes = arena_array(memory, count, sizeof *b.routes);
    if (flows->count > METRO_EXACT_FLOWS) {
        return spry_fail(error, SPRY_USAGE, "metro", "take fewer flows",
                         "the exact search is for %d flows, not %d", METRO_EXACT_FLOWS,
                         flows->count);
    }
    if (found->routes == NULL || found->order == NULL || b.routes == NULL) {
        return alloc_failed(error, count * sizeof *b.routes);
    }
    b.floor = metro_floor(flows, options, memory);
    status = metro_schedule_init(flows, options, &b.s, error);
    if (status == SPRY_OK) {
        status = make_trees(&b, memory, error);
    }
    if (status == SPRY_OK && known > b.floor) {
        status = descend(&b, 0, error);
    }
    metro_schedule_fini(&b.s);
    return status;
}
