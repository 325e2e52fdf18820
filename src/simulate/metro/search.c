#include "simulate/metro/search.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "simulate/metro/bound.h"
#include "spry/random.h"

enum {
    RULES = 8, /* candidates by rules of thumb: routes x orders */
    TOURNAMENT = 4,
    ELITE = 4,
    POPULATION_MOST = 1024,
    COARSE_CHUNKS = 8, /* of a flow, at least, while candidates are judged */
    PATIENCE = 12
};

metro_search_options metro_search_options_default(void)
{
    return (metro_search_options){
        .population = 48, .generations = 60, .patience = PATIENCE, .seed = 1};
}

/* ---- a bound ---- */

static int apart(const metro_flows *f, int a, int b)
{
    return abs(a % f->width - b % f->width) + abs(a / f->width - b / f->width) + 1;
}

/* What of a flow enters or leaves `node` there; false when nothing does. */
static bool passes(const metro_flows *f, const metro_options *options, int index, int node,
                   bool enters, metro_passing *at)
{
    const metro_flow *flow = &f->items[index];
    bool is_one = flow->one == node && enters == flow->is_reduce;
    int far = 0;
    int own = 0;

    for (int k = 0; k < flow->count; k++) {
        int hops = apart(f, flow->one, flow->many[k]);

        far = hops > far ? hops : far;
        own = flow->many[k] == node && enters != flow->is_reduce ? hops : own;
    }
    *at = (metro_passing){flow->release, metro_flits(options, flow), 0};
    if (enters) {
        at->head += (int64_t)METRO_HOP * (is_one ? far : own);
    } else {
        at->tail = (int64_t)METRO_HOP * (is_one ? far : own);
    }
    return at->flits > 0 && ((is_one && far > 0) || own > 0);
}

int64_t metro_floor(const metro_flows *flows, const metro_options *options, arena *memory)
{
    metro_passing *items = arena_array(memory, (size_t)flows->count, sizeof *items);
    int64_t floor = 0;

    for (int end = 0; items != NULL && end < 2 * flows->width * flows->height; end++) {
        int64_t bound;
        int count = 0;

        for (int i = 0; i < flows->count; i++) {
            count += passes(flows, options, i, end / 2, end % 2 == 1, &items[count]);
        }
        bound = metro_bound_of(items, count);
        floor = bound > floor ? bound : floor;
    }
    return floor;
}

/* ---- candidates ---- */

typedef struct candidate {
    uint8_t *ways; /* by flow: which of its routes */
    int64_t *keys; /* by flow: smaller goes first */
    bool by_slack; /* in place of the keys */
    int64_t makespan, flit_links;
    int64_t number; /* decides among equals */
} candidate;

typedef struct search {
    const metro_flows *flows;
    const metro_options *options; /* as asked for, and with coarse chunks */
    metro_options coarse;
    metro_search_options settings;
    arena *memory;
    metro_route (*routes)[METRO_ROUTES_MOST]; /* by flow */
    int *route_counts;
    metro_tree **trees; /* by flow, then by route */
    candidate *pool;    /* population, then the next generation's */
    spry_error *errors; /* by worker */
    spry_status *statuses;
    metro_schedule *schedules; /* by worker */
    const metro_tree ***chosen;
} search;

static bool make_candidate(search *s, candidate *c)
{
    size_t count = (size_t)s->flows->count;

    *c = (candidate){.ways = arena_array(s->memory, count, sizeof *c->ways),
                     .keys = arena_array(s->memory, count, sizeof *c->keys)};
    return c->ways != NULL && c->keys != NULL;
}

static void copy_candidate(const search *s, candidate *to, const candidate *from)
{
    size_t count = (size_t)s->flows->count;

    memcpy(to->ways, from->ways, count * sizeof *to->ways);
    memcpy(to->keys, from->keys, count * sizeof *to->keys);
    to->by_slack = from->by_slack;
    to->makespan = from->makespan;
    to->flit_links = from->flit_links;
}

static bool is_better(const candidate *a, const candidate *b)
{
    return a->makespan != b->makespan ? a->makespan < b->makespan : a->flit_links < b->flit_links;
}

static spry_status make_trees(search *s, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int i = 0; i < s->flows->count && status == SPRY_OK; i++) {
        const metro_flow *flow = &s->flows->items[i];

        s->route_counts[i] = metro_routes(s->flows, flow, s->routes[i]);
        s->trees[i] = arena_array(s->memory, (size_t)s->route_counts[i], sizeof *s->trees[i]);
        if (s->trees[i] == NULL) {
            return alloc_failed(error, sizeof *s->trees[i]);
        }
        for (int r = 0; r < s->route_counts[i] && status == SPRY_OK; r++) {
            status = metro_tree_make(s->flows, flow, &s->routes[i][r], s->memory, &s->trees[i][r],
                                     error);
        }
    }
    return status;
}

/* ---- judging ---- */

typedef struct batch {
    search *s;
    candidate *items;
} batch;

static void judge(search *s, candidate *c, int worker)
{
    metro_schedule *made = &s->schedules[worker];

    for (int i = 0; i < s->flows->count; i++) {
        s->chosen[worker][i] = &s->trees[i][c->ways[i]];
    }
    if (s->statuses[worker] == SPRY_OK) {
        s->statuses[worker] = metro_schedule_again(
            made, s->chosen[worker], c->by_slack ? NULL : c->keys, &s->errors[worker]);
    }
    c->makespan = made->makespan;
    c->flit_links = made->flit_links;
}

static void judge_some(void *context, int64_t begin, int64_t end, int worker)
{
    batch *b = context;

    for (int64_t i = begin; i < end; i++) {
        judge(b->s, &b->items[i], worker);
        b->items[i].number = i;
    }
}

static spry_status judge_all(search *s, candidate *items, int count, spry_error *error)
{
    batch b = {s, items};

    threads_for(s->settings.team, count, 1, judge_some, &b);
    for (int i = 0; i < threads_count(s->settings.team); i++) {
        if (s->statuses[i] != SPRY_OK) {
            *error = s->errors[i];
            return s->statuses[i];
        }
    }
    return SPRY_OK;
}

/* ---- rules of thumb ---- */

/* Each flow, the longest first, takes the route whose fullest link is least full. */
static spry_status spread(search *s, uint8_t *ways, const int *by_length, spry_error *error)
{
    size_t links = (size_t)(s->flows->width * s->flows->height * METRO_LINKS);
    int64_t *loads = arena_array(s->memory, links, sizeof *loads);

    if (loads == NULL) {
        return alloc_failed(error, links * sizeof *loads);
    }
    for (int n = 0; n < s->flows->count; n++) {
        int i = by_length[n];
        int64_t flits = metro_flits(s->options, &s->flows->items[i]);
        int64_t best_most = INT64_MAX;
        int64_t best_sum = INT64_MAX;

        for (int r = 0; r < s->route_counts[i]; r++) {
            const metro_tree *tree = &s->trees[i][r];
            int64_t most = 0;
            int64_t sum = 0;

            for (int k = 0; k < tree->count; k++) {
                int64_t load = loads[tree->steps[k].link] + flits;

                most = load > most ? load : most;
                sum += load;
            }
            if (most < best_most || (most == best_most && sum < best_sum)) {
                best_most = most;
                best_sum = sum;
                ways[i] = (uint8_t)r;
            }
        }
        for (int k = 0; k < s->trees[i][ways[i]].count; k++) {
            loads[s->trees[i][ways[i]].steps[k].link] += flits;
        }
    }
    return SPRY_OK;
}

typedef struct ranked {
    int64_t length;
    int flow;
} ranked;

static int longer_first(const void *a, const void *b)
{
    const ranked *x = a;
    const ranked *y = b;

    return x->length != y->length ? (x->length > y->length ? -1 : 1)
                                  : (x->flow > y->flow) - (x->flow < y->flow);
}

static int *flows_by_length(search *s)
{
    size_t count = (size_t)s->flows->count;
    ranked *all = arena_array(s->memory, count, sizeof *all);
    int *order = arena_array(s->memory, count, sizeof *order);

    if (all == NULL || order == NULL) {
        return NULL;
    }
    for (int i = 0; i < s->flows->count; i++) {
        all[i] = (ranked){metro_flits(s->options, &s->flows->items[i]), i};
    }
    qsort(all, count, sizeof *all, longer_first);
    for (size_t i = 0; i < count; i++) {
        order[i] = all[i].flow;
    }
    return order;
}

/* Four choices of routes, each least slack first and the longest way first. */
static spry_status plant(search *s, spry_error *error)
{
    int *by_length = flows_by_length(s);
    spry_status status = SPRY_OK;

    if (by_length == NULL) {
        return alloc_failed(error, (size_t)s->flows->count * sizeof *by_length);
    }
    for (int rule = 0; rule < RULES && rule < s->settings.population; rule++) {
        candidate *c = &s->pool[rule];

        c->by_slack = rule < RULES / 2;
        for (int i = 0; i < s->flows->count; i++) {
            int way = rule % 4 == 0 ? 0 : rule % 4 == 1 ? 1 : i % 2;

            c->ways[i] = (uint8_t)way;
        }
        if (rule % 4 == 3) {
            status = spread(s, c->ways, by_length, error);
        }
        for (int i = 0; i < s->flows->count; i++) {
            const metro_tree *tree = &s->trees[i][c->ways[i]];

            c->keys[i] =
                -(int64_t)tree->depth * METRO_HOP - metro_flits(s->options, &s->flows->items[i]);
        }
    }
    return status;
}

/* ---- evolution ---- */

static const candidate *win(const search *s, spry_random *random)
{
    const candidate *best = NULL;

    for (int i = 0; i < TOURNAMENT; i++) {
        const candidate *c = &s->pool[spry_random_below(random, (uint64_t)s->settings.population)];

        best = best == NULL || is_better(c, best) ? c : best;
    }
    return best;
}

/* A key that lies between those there are. */
static int64_t draw_key(const candidate *c, int count, spry_random *random)
{
    return c->keys[spry_random_below(random, (uint64_t)count)] +
           (int64_t)spry_random_below(random, 3) - 1;
}

/* Two changes of either kind are expected. */
static void mutate(const search *s, candidate *c, spry_random *random)
{
    int count = s->flows->count;

    for (int i = 0; i < count; i++) {
        if (spry_random_below(random, (uint64_t)count) < 2) {
            c->ways[i] = (uint8_t)spry_random_below(random, (uint64_t)s->route_counts[i]);
        }
        if (spry_random_below(random, (uint64_t)count) < 2) {
            c->keys[i] = draw_key(c, count, random);
        }
    }
}

static void breed(const search *s, candidate *child, spry_random *random)
{
    const candidate *mother = win(s, random);
    const candidate *father = win(s, random);

    copy_candidate(s, child, mother);
    if (spry_random_below(random, 10) < 9) {
        for (int i = 0; i < s->flows->count; i++) {
            if ((spry_random_u32(random) & 1) != 0) {
                child->ways[i] = father->ways[i];
                child->keys[i] = father->keys[i];
            }
        }
    }
    child->by_slack = mother->by_slack && spry_random_below(random, 4) != 0;
    mutate(s, child, random);
}

static int compare_candidates(const void *a, const void *b)
{
    const candidate *x = a;
    const candidate *y = b;

    return is_better(x, y)   ? -1
           : is_better(y, x) ? 1
                             : (x->number > y->number) - (x->number < y->number);
}

/* Generation by generation, until nothing better comes or nothing better can be. */
static spry_status evolve(search *s, metro_found *found, spry_error *error)
{
    spry_random random = spry_random_stream(s->settings.seed, 0x6d6574726f);
    int size = s->settings.population;
    candidate *next = s->pool + size;
    int without = 0;
    spry_status status = SPRY_OK;

    for (int i = RULES; i < size; i++) {
        copy_candidate(s, &s->pool[i], &s->pool[i % RULES]);
        mutate(s, &s->pool[i], &random);
    }
    status = judge_all(s, s->pool, size, error);
    qsort(s->pool, (size_t)size, sizeof *s->pool, compare_candidates);
    while (status == SPRY_OK && found->generations < s->settings.generations &&
           without < s->settings.patience && s->pool[0].makespan > found->floor) {
        int64_t before = s->pool[0].makespan;

        for (int i = 0; i < size; i++) {
            if (i < ELITE) {
                copy_candidate(s, &next[i], &s->pool[i]);
            } else {
                breed(s, &next[i], &random);
            }
        }
        status = judge_all(s, next + ELITE, size - ELITE, error);
        for (int i = 0; i < size; i++) {
            candidate was = s->pool[i];

            s->pool[i] = next[i];
            next[i] = was;
        }
        qsort(s->pool, (size_t)size, sizeof *s->pool, compare_candidates);
        without = s->pool[0].makespan < before ? 0 : without + 1;
        found->generations++;
    }
    return status;
}

static spry_status open_search(search *s, spry_error *error)
{
    size_t flows = (size_t)s->flows->count;
    size_t pool = 2 * (size_t)s->settings.population;
    size_t crew = (size_t)threads_count(s->settings.team);
    spry_status status = SPRY_OK;

    s->routes = arena_array(s->memory, flows, sizeof *s->routes);
    s->route_counts = arena_array(s->memory, flows, sizeof *s->route_counts);
    s->trees = arena_array(s->memory, flows, sizeof *s->trees);
    s->pool = arena_array(s->memory, pool, sizeof *s->pool);
    s->errors = arena_array(s->memory, crew, sizeof *s->errors);
    s->statuses = arena_array(s->memory, crew, sizeof *s->statuses);
    s->schedules = arena_array(s->memory, crew, sizeof *s->schedules);
    s->chosen = arena_array(s->memory, crew, sizeof *s->chosen);
    if (s->routes == NULL || s->route_counts == NULL || s->trees == NULL || s->pool == NULL ||
        s->errors == NULL || s->statuses == NULL || s->schedules == NULL || s->chosen == NULL) {
        return alloc_failed(error, flows * sizeof *s->routes);
    }
    for (size_t i = 0; i < pool; i++) {
        if (!make_candidate(s, &s->pool[i])) {
            return alloc_failed(error, flows * sizeof *s->pool[i].keys);
        }
    }
    for (size_t i = 0; i < crew && status == SPRY_OK; i++) {
        s->chosen[i] = arena_array(s->memory, flows, sizeof **s->chosen);
        status = s->chosen[i] == NULL
                     ? alloc_failed(error, flows * sizeof **s->chosen)
                     : metro_schedule_init(s->flows, &s->coarse, &s->schedules[i], error);
    }
    return status == SPRY_OK ? make_trees(s, error) : status;
}

static void close_search(search *s)
{
    for (int i = 0; s->schedules != NULL && i < threads_count(s->settings.team); i++) {
        metro_schedule_fini(&s->schedules[i]);
    }
}

/* The best with the chunks that were asked for: those of the pool and the rules of thumb that were
 * best with coarse ones may change places. */
static spry_status settle(search *s, metro_found *found, spry_error *error)
{
    enum { FINALISTS = 6 };
    metro_schedule last = {0};
    int best = -1;
    spry_status status = metro_schedule_init(s->flows, s->options, &last, error);

    for (int n = 0; n < FINALISTS && n < s->settings.population && status == SPRY_OK; n++) {
        const candidate *c = &s->pool[n];

        for (int i = 0; i < s->flows->count; i++) {
            s->chosen[0][i] = &s->trees[i][c->ways[i]];
        }
        status = metro_schedule_again(&last, s->chosen[0], c->by_slack ? NULL : c->keys, error);
        if (status == SPRY_OK && (best < 0 || last.makespan < found->makespan)) {
            found->makespan = last.makespan;
            best = n;
        }
    }
    metro_schedule_fini(&last);
    for (int i = 0; i < s->flows->count && status == SPRY_OK; i++) {
        found->routes[i] = s->routes[i][s->pool[best].ways[i]];
        found->order[i] = s->pool[best].keys[i];
    }
    if (status == SPRY_OK && s->pool[best].by_slack) {
        found->order = NULL;
    }
    return status;
}

/* Candidates are judged with chunks that are as large as may be without losing much. */
static metro_options coarse_of(const metro_flows *flows, const metro_options *options)
{
    metro_options coarse = *options;
    int64_t longest = 0;

    for (int i = 0; i < flows->count; i++) {
        int64_t flits = metro_flits(options, &flows->items[i]);

        longest = flits > longest ? flits : longest;
    }
    if (longest / COARSE_CHUNKS > coarse.chunk_flits && longest / COARSE_CHUNKS < INT32_MAX) {
        coarse.chunk_flits = (int)(longest / COARSE_CHUNKS);
    }
    return coarse;
}

spry_status metro_search(const metro_flows *flows, const metro_options *options,
                         const metro_search_options *settings, arena *memory, metro_found *found,
                         spry_error *error)
{
    search s = {.flows = flows,
                .options = options,
                .coarse = coarse_of(flows, options),
                .settings = *settings,
                .memory = memory};
    size_t count = (size_t)flows->count;
    spry_status status;

    if (settings->team == NULL) {
        s.settings.team = threads_single();
    }
    *found = (metro_found){.routes = arena_array(memory, count, sizeof *found->routes),
                           .order = arena_array(memory, count, sizeof *found->order),
                           .floor = metro_floor(flows, options, memory)};
    if (settings->population < RULES || settings->population > POPULATION_MOST) {
        return spry_fail(error, SPRY_USAGE, "metro", NULL, "a population is of %d to %d", RULES,
                         POPULATION_MOST);
    }
    if (found->routes == NULL || found->order == NULL) {
        return alloc_failed(error, count * sizeof *found->routes);
    }
    status = open_search(&s, error);
    if (status == SPRY_OK) {
        status = plant(&s, error);
    }
    if (status == SPRY_OK) {
        status = judge_all(&s, s.pool, RULES, error);
        found->first = s.pool[0].makespan;
        for (int i = 1; i < RULES; i++) {
            found->first = s.pool[i].makespan < found->first ? s.pool[i].makespan : found->first;
        }
    }
    if (status == SPRY_OK) {
        status = evolve(&s, found, error);
    }
    if (status == SPRY_OK) {
        status = settle(&s, found, error);
    }
    close_search(&s);
    return status;
}
