#include "simulate/metro/schedule.h"

#include <string.h>

#include "base/alloc.h"
#include "simulate/metro/bound.h"

#define MEMORY_MOST ((size_t)1 << 30)

struct metro_progress {
    int64_t left; /* flits */
    int64_t from; /* the next chunk's earliest start */
    int64_t slack;
};

int64_t metro_payload(const metro_options *options, const metro_flow *flow)
{
    return (flow->bytes * 8 + options->flit_bits - 1) / options->flit_bits;
}

static int64_t with_headers(const metro_options *options, int64_t flits)
{
    int64_t each = options->headers == METRO_HEADERS_PACKET ? METRO_PAYLOAD : options->chunk_flits;

    return options->headers == METRO_HEADERS_NONE ? flits : flits + (flits + each - 1) / each;
}

int64_t metro_flits(const metro_options *options, const metro_flow *flow)
{
    return with_headers(options, metro_payload(options, flow));
}

int64_t metro_chunk(const metro_options *options)
{
    return with_headers(options, options->chunk_flits);
}

/* The first interval that ends after `cycle`. */
static size_t find_after(const metro_reservations *r, int64_t cycle)
{
    size_t low = 0;
    size_t high = r->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (r->items[middle].end > cycle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

int64_t metro_earliest(const metro_schedule *s, const metro_tree *tree, int64_t t, int64_t flits)
{
    bool moved = true;

    while (moved) {
        moved = false;
        for (int i = 0; i < tree->count; i++) {
            const metro_reservations *r = &s->links[tree->steps[i].link];
            int64_t lag = (int64_t)METRO_HOP * tree->steps[i].depth;
            size_t at = find_after(r, t + lag);

            if (at < r->count && r->items[at].start < t + lag + flits) {
                t = r->items[at].end - lag;
                moved = true;
            }
        }
    }
    return t;
}

spry_status metro_reserve(metro_reservations *r, int64_t start, int64_t end, spry_error *error)
{
    spry_allocator own = alloc_resolve(NULL);
    size_t at = find_after(r, start);
    bool joins_left = at > 0 && r->items[at - 1].end == start;
    bool joins_right = at < r->count && r->items[at].start == end;
    spry_status status;

    if (joins_left) {
        r->items[at - 1].end = joins_right ? r->items[at].end : end;
        if (joins_right) {
            r->count--;
            memmove(&r->items[at], &r->items[at + 1], (r->count - at) * sizeof *r->items);
        }
        return SPRY_OK;
    }
    if (joins_right) {
        r->items[at].start = start;
        return SPRY_OK;
    }
    status = alloc_grow(&own, (void **)&r->items, &r->capacity, r->count + 1, sizeof *r->items,
                        METRO_CHUNKS_MOST, error);
    if (status == SPRY_OK) {
        memmove(&r->items[at + 1], &r->items[at], (r->count - at) * sizeof *r->items);
        r->items[at] = (metro_interval){start, end};
        r->count++;
    }
    return status;
}

spry_status metro_release(metro_reservations *r, int64_t start, int64_t end, spry_error *error)
{
    spry_allocator own = alloc_resolve(NULL);
    size_t at = find_after(r, start);
    metro_interval was = r->items[at];
    spry_status status = SPRY_OK;

    if (was.start == start && was.end == end) {
        r->count--;
        memmove(&r->items[at], &r->items[at + 1], (r->count - at) * sizeof *r->items);
    } else if (was.start == start) {
        r->items[at].start = end;
    } else if (was.end == end) {
        r->items[at].end = start;
    } else {
        status = alloc_grow(&own, (void **)&r->items, &r->capacity, r->count + 1, sizeof *r->items,
                            METRO_CHUNKS_MOST, error);
        if (status == SPRY_OK) {
            memmove(&r->items[at + 1], &r->items[at], (r->count - at) * sizeof *r->items);
            r->items[at].end = start;
            r->items[at + 1].start = end;
            r->count++;
        }
    }
    return status;
}

static spry_status place(metro_schedule *s, int flow, metro_progress *p, spry_error *error)
{
    spry_allocator own = alloc_resolve(NULL);
    const metro_tree *tree = s->trees[flow];
    int64_t chunk = metro_chunk(&s->options);
    int64_t flits = p->left < chunk ? p->left : chunk;
    int64_t start = metro_earliest(s, tree, p->from, flits);
    int64_t finish = start + (int64_t)METRO_HOP * tree->depth + flits;
    spry_status status = alloc_grow(&own, (void **)&s->items, &s->capacity, s->count + 1,
                                    sizeof *s->items, METRO_CHUNKS_MOST, error);

    for (int i = 0; i < tree->count && status == SPRY_OK; i++) {
        int64_t begin = start + (int64_t)METRO_HOP * tree->steps[i].depth;

        status = metro_reserve(&s->links[tree->steps[i].link], begin, begin + flits, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    s->items[s->count++] = (metro_injection){flow, start, flits};
    s->flit_links += flits * tree->count;
    p->left -= flits;
    p->from = start + flits;
    p->slack = s->flows->items[flow].due - finish - p->left;
    if (p->left == 0 && finish > s->flows->items[flow].due) {
        s->tardiness += finish - s->flows->items[flow].due;
    }
    s->makespan = finish > s->makespan ? finish : s->makespan;
    return SPRY_OK;
}

/* Is `a` more urgent than `b`? Numbers of flows decide at last. */
static bool is_before(const metro_progress *p, const int64_t *order, int a, int b)
{
    if (order != NULL) {
        return order[a] != order[b] ? order[a] < order[b] : a < b;
    }
    if (p[a].slack != p[b].slack) {
        return p[a].slack < p[b].slack;
    }
    return p[a].left != p[b].left ? p[a].left > p[b].left : a < b;
}

/* Link by link: what passes it, and when at the soonest. */
static spry_status bound_below(metro_schedule *s, spry_error *error)
{
    size_t links = (size_t)s->link_count;
    int *counts = arena_array(&s->memory, links + 1, sizeof *counts);
    size_t steps = 0;
    metro_passing *all;

    for (int i = 0; i < s->flows->count; i++) {
        steps += (size_t)s->trees[i]->count;
    }
    all = arena_array(&s->memory, steps, sizeof *all);
    if (counts == NULL || all == NULL) {
        return alloc_failed(error, steps * sizeof *all);
    }
    for (int i = 0; i < s->flows->count; i++) {
        for (int k = 0; k < s->trees[i]->count; k++) {
            counts[s->trees[i]->steps[k].link + 1]++;
        }
    }
    for (size_t i = 0; i < links; i++) { /* now where those of link i begin */
        counts[i + 1] += counts[i];
    }
    s->bound = 0;
    for (int i = 0; i < s->flows->count; i++) {
        const metro_flow *flow = &s->flows->items[i];
        const metro_tree *tree = s->trees[i];

        for (int k = 0; k < tree->count; k++) {
            all[counts[tree->steps[k].link]++] =
                (metro_passing){flow->release + (int64_t)METRO_HOP * tree->steps[k].depth,
                                metro_flits(&s->options, flow),
                                (int64_t)METRO_HOP * (tree->depth - tree->steps[k].depth)};
        }
        s->bound = flow->release > s->bound ? flow->release : s->bound;
    }
    for (size_t i = 0; i < links; i++) { /* and now where they end */
        int from = i > 0 ? counts[i - 1] : 0;
        int64_t bound = metro_bound_of(all + from, counts[i] - from);

        s->bound = bound > s->bound ? bound : s->bound;
    }
    return SPRY_OK;
}

/* Nothing is placed yet. */
static void clear(metro_schedule *s)
{
    for (int i = 0; i < s->link_count; i++) {
        s->links[i].count = 0;
    }
    s->count = 0;
    s->makespan = 0;
    s->tardiness = 0;
    s->flit_links = 0;
    for (int i = 0; i < s->flows->count; i++) {
        const metro_flow *flow = &s->flows->items[i];
        metro_progress *p = &s->progress[i];

        p->from = flow->release;
        p->left = s->trees[i]->count > 0 ? metro_flits(&s->options, flow) : 0;
        p->slack = flow->due - flow->release - (int64_t)METRO_HOP * s->trees[i]->depth - p->left;
        if (p->left == 0) {
            s->makespan = flow->release > s->makespan ? flow->release : s->makespan;
            s->tardiness += flow->release > flow->due ? flow->release - flow->due : 0;
        }
    }
}

spry_status metro_schedule_init(const metro_flows *flows, const metro_options *options,
                                metro_schedule *s, spry_error *error)
{
    size_t count = (size_t)flows->count;

    *s = (metro_schedule){.flows = flows, .options = *options};
    arena_init(&s->memory, NULL, MEMORY_MOST);
    if (options->flit_bits < 8 || options->flit_bits > 65536 || options->chunk_flits < 1) {
        return spry_fail(error, SPRY_USAGE, "metro", NULL,
                         "flits of %d bits in chunks of %d cannot be", options->flit_bits,
                         options->chunk_flits);
    }
    s->link_count = flows->width * flows->height * METRO_LINKS;
    s->trees = arena_array(&s->memory, count, sizeof *s->trees);
    s->links = arena_array(&s->memory, (size_t)s->link_count, sizeof *s->links);
    s->progress = arena_array(&s->memory, count, sizeof *s->progress);
    return s->trees == NULL || s->links == NULL || s->progress == NULL
               ? alloc_failed(error, count * sizeof *s->progress)
               : SPRY_OK;
}

spry_status metro_schedule_again(metro_schedule *s, const metro_tree *const *trees,
                                 const int64_t *order, spry_error *error)
{
    metro_progress *p = s->progress;
    spry_status status = SPRY_OK;

    for (int i = 0; i < s->flows->count; i++) {
        s->trees[i] = trees[i];
    }
    clear(s);
    while (status == SPRY_OK) {
        int best = -1;

        for (int i = 0; i < s->flows->count; i++) {
            if (p[i].left > 0 && (best < 0 || is_before(p, order, i, best))) {
                best = i;
            }
        }
        if (best < 0) {
            break;
        }
        status = place(s, best, &p[best], error);
    }
    return status;
}

spry_status metro_schedule_make(const metro_flows *flows, const metro_options *options,
                                const metro_route *routes, const int64_t *order, metro_schedule *s,
                                spry_error *error)
{
    spry_status status = metro_schedule_init(flows, options, s, error);
    const metro_tree **trees = NULL;
    metro_tree *made = NULL;

    if (status == SPRY_OK) {
        made = arena_array(&s->memory, (size_t)flows->count, sizeof *made);
        trees = arena_array(&s->memory, (size_t)flows->count, sizeof *trees);
        status = made == NULL || trees == NULL
                     ? alloc_failed(error, (size_t)flows->count * sizeof *made)
                     : SPRY_OK;
    }
    for (int i = 0; i < flows->count && status == SPRY_OK; i++) {
        trees[i] = &made[i];
        status = metro_tree_make(flows, &flows->items[i], &routes[i], &s->memory, &made[i], error);
    }
    if (status == SPRY_OK) {
        status = metro_schedule_again(s, trees, order, error);
    }
    return status == SPRY_OK ? bound_below(s, error) : status;
}

void metro_schedule_fini(metro_schedule *s)
{
    spry_allocator own = alloc_resolve(NULL);

    for (int i = 0; s->links != NULL && i < s->link_count; i++) {
        alloc_release(&own, s->links[i].items, s->links[i].capacity * sizeof *s->links[i].items);
    }
    alloc_release(&own, s->items, s->capacity * sizeof *s->items);
    arena_fini(&s->memory);
    *s = (metro_schedule){0};
}
