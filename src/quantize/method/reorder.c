/* Sorting, evolution and swaps over orders of channels.
 *
 * A candidate is a pair of orders with the price of each block. A child differs from its parent in
 * one of the two orders alone, so the parent's largest numbers over the blocks of the other one
 * hold for the child too: its changed blocks are priced without a look at the weights. */
#include "quantize/method/reorder.h"

#include <string.h>

#include "base/alloc.h"
#include "quantize/method/reorder_price.h"
#include "quantize/method/reorder_sort.h"
#include "spry/random.h"

enum {
    ELITE = 8,
    POPULATION = 32,
    GENERATIONS = 200,
    IDLE_GENERATIONS = 40, /* without GAIN */
    TOURNAMENT = 3,
    MOST_SWAPS = 4,
    PHASE = 256 /* tries of one axis in a row */
};

static const double GAIN = 0.001;
static const double CROSSOVER = 0.3;

typedef struct reorder {
    reorder_layout l;
    spry_random random;
    candidate elite[ELITE], children[POPULATION - ELITE];
    maxima maxima[ELITE];
    int elites;
    int32_t *marks; /* [most channels] */
} reorder;

/* ---- the population ---- */

static void copy_candidate(const reorder *o, const candidate *from, candidate *to)
{
    for (int a = 0; a < 2; a++) {
        memcpy(to->order[a], from->order[a], (size_t)o->l.channels[a] * sizeof *to->order[a]);
    }
    memcpy(to->prices, from->prices,
           (size_t)(o->l.blocks[0] * o->l.blocks[1]) * sizeof *to->prices);
    to->total = from->total;
}

/* Swaps of places in one block change nothing, and with blocks of one channel, or one block, nor
 * do others. */
static bool can_move(const reorder *o, axis a)
{
    return o->l.block[a] > 1 && o->l.blocks[a] > 1;
}

static int64_t below(reorder *o, int64_t bound)
{
    return (int64_t)spry_random_below(&o->random, (uint64_t)bound);
}

/* Two places in different blocks. */
static void draw_places(reorder *o, axis a, int64_t *first, int64_t *second)
{
    *first = below(o, o->l.channels[a]);
    do {
        *second = below(o, o->l.channels[a]);
    } while (*second / o->l.block[a] == *first / o->l.block[a]);
}

static void swap(int32_t *order, int64_t first, int64_t second)
{
    int32_t t = order[first];

    order[first] = order[second];
    order[second] = t;
}

/* Order crossover: a stretch of `mother`, the rest in the order of `father`. */
static void cross(reorder *o, axis a, const int32_t *mother, const int32_t *father, int32_t *child)
{
    int64_t count = o->l.channels[a];
    int64_t begin = below(o, count);
    int64_t end = begin + 1 + below(o, count - begin);
    int64_t place = 0;

    memset(o->marks, 0, (size_t)count * sizeof *o->marks);
    for (int64_t i = begin; i < end; i++) {
        child[i] = mother[i];
        o->marks[mother[i]] = 1;
    }
    for (int64_t i = 0; i < count; i++) {
        if (o->marks[father[i]] == 0) {
            place = place == begin ? end : place;
            child[place++] = father[i];
        }
    }
}

/* The best of a few: elites are in order. */
static int draw_parent(reorder *o)
{
    int best = ELITE;

    for (int i = 0; i < TOURNAMENT; i++) {
        int drawn = (int)below(o, o->elites);

        best = drawn < best ? drawn : best;
    }
    return best;
}

static void make_child(reorder *o, candidate *child)
{
    int mother = draw_parent(o);
    axis a = can_move(o, OUTPUTS) && (!can_move(o, INPUTS) || below(o, 2) == 0) ? OUTPUTS : INPUTS;
    const maxima *m = &o->maxima[mother];

    copy_candidate(o, &o->elite[mother], child);
    if (spry_random_f64(&o->random) < CROSSOVER) {
        cross(o, a, o->elite[mother].order[a], o->elite[draw_parent(o)].order[a], child->order[a]);
        price_all(&o->l, child, m, a);
    }
    for (int64_t swaps = 1 + below(o, MOST_SWAPS); swaps > 0; swaps--) {
        int64_t first;
        int64_t second;

        draw_places(o, a, &first, &second);
        swap(child->order[a], first, second);
        price_line(&o->l, child, m, a, first / o->l.block[a]);
        price_line(&o->l, child, m, a, second / o->l.block[a]);
    }
}

/* Puts a child that is better than the worst elite in its place among them. */
static void admit(reorder *o, const candidate *child)
{
    int place;
    candidate c;
    maxima m;

    for (int i = 0; i < o->elites; i++) {
        if (o->elite[i].total == child->total) {
            return; /* known */
        }
    }
    if (o->elites == ELITE && !(child->total < o->elite[ELITE - 1].total)) {
        return;
    }
    o->elites += o->elites < ELITE;
    place = o->elites - 1;
    c = o->elite[place];
    m = o->maxima[place];
    copy_candidate(o, child, &c);
    maxima_find(&o->l, &c, &m, OUTPUTS);
    maxima_find(&o->l, &c, &m, INPUTS);
    for (; place > 0 && c.total < o->elite[place - 1].total; place--) {
        o->elite[place] = o->elite[place - 1];
        o->maxima[place] = o->maxima[place - 1];
    }
    o->elite[place] = c;
    o->maxima[place] = m;
}

static void evolve(reorder *o)
{
    double mark = o->elite[0].total;
    int idle = 0;

    for (int generation = 0; generation < GENERATIONS && idle < IDLE_GENERATIONS; generation++) {
        for (int i = 0; i < POPULATION - ELITE; i++) {
            make_child(o, &o->children[i]);
        }
        for (int i = 0; i < POPULATION - ELITE; i++) {
            admit(o, &o->children[i]);
        }
        idle++;
        if (o->elite[0].total < mark * (1.0 - GAIN)) {
            mark = o->elite[0].total;
            idle = 0;
        }
    }
}

/* ---- swaps ---- */

static double line_total(const reorder *o, const candidate *c, axis a, int64_t block)
{
    double sum = 0.0;

    for (int64_t other = 0; other < o->l.blocks[1 - a]; other++) {
        sum += *price_at(&o->l, c, a, block, other);
    }
    return sum;
}

/* True when the swap helped; else nothing has changed. */
static bool try_swap(reorder *o, candidate *c, const maxima *m, axis a)
{
    int64_t place[2];
    double before;
    double after = 0.0;

    draw_places(o, a, &place[0], &place[1]);
    before = line_total(o, c, a, place[0] / o->l.block[a]) +
             line_total(o, c, a, place[1] / o->l.block[a]);
    swap(c->order[a], place[0], place[1]);
    for (int i = 0; i < 2; i++) {
        for (int64_t other = 0; other < o->l.blocks[1 - a]; other++) {
            after += price_block(&o->l, c, m, a, place[i] / o->l.block[a], other);
        }
    }
    if (!(after < before * (1.0 - 1e-12))) {
        swap(c->order[a], place[0], place[1]);
        return false;
    }
    price_line(&o->l, c, m, a, place[0] / o->l.block[a]);
    price_line(&o->l, c, m, a, place[1] / o->l.block[a]);
    return true;
}

/* Until as many swaps in a row were in vain as two blocks have pairs of places, five times over. */
static void climb(reorder *o, candidate *c, maxima *m)
{
    int64_t patience = 5 * o->l.block[OUTPUTS] * o->l.block[INPUTS];
    int64_t most = 64 * (o->l.channels[OUTPUTS] + o->l.channels[INPUTS]) + 16 * patience;
    int64_t rejected = 0;
    axis a = can_move(o, OUTPUTS) ? OUTPUTS : INPUTS;

    for (int64_t tries = 0; rejected < patience && tries < most;) {
        bool any = false;

        for (int i = 0; i < PHASE && rejected < patience; i++, tries++) {
            bool helped = try_swap(o, c, m, a);

            rejected = helped ? 0 : rejected + 1;
            any = any || helped;
        }
        if (any) {
            maxima_find(&o->l, c, m, a);
        }
        if (can_move(o, OUTPUTS) && can_move(o, INPUTS)) {
            a = (axis)(1 - a);
        }
    }
}

/* ---- the whole ---- */

static spry_status begin(const reorder_weights *w, reorder_objective objective, uint64_t seed,
                         int candidates, arena *room, reorder *o, spry_error *error)
{
    bool fits;

    *o = (reorder){.random = spry_random_stream(seed, 0)};
    fits = layout_make(w, objective, room, &o->l);
    o->marks = arena_array(room, (size_t)(w->outputs + w->inputs), sizeof *o->marks);
    for (int i = 0; fits && i < candidates && i < ELITE; i++) {
        fits = candidate_make(&o->l, room, &o->elite[i]) && maxima_make(&o->l, room, &o->maxima[i]);
    }
    for (int i = 0; fits && i < candidates && i < POPULATION - ELITE; i++) {
        fits = candidate_make(&o->l, room, &o->children[i]);
    }
    return fits && o->marks != NULL
               ? SPRY_OK
               : alloc_failed(error, (size_t)(w->outputs * w->inputs) * sizeof(float));
}

static void price_from_scratch(reorder *o, candidate *c, maxima *m)
{
    maxima_find(&o->l, c, m, INPUTS);
    price_all(&o->l, c, m, OUTPUTS);
}

spry_status reorder_price(const reorder_weights *w, reorder_objective objective,
                          const int32_t *output_order, const int32_t *input_order,
                          const spry_allocator *allocator, double *price, spry_error *error)
{
    arena room;
    reorder o;
    spry_status status;

    arena_init(&room, allocator, SIZE_MAX);
    status = begin(w, objective, 0, 1, &room, &o, error);
    if (status == SPRY_OK) {
        memcpy(o.elite[0].order[OUTPUTS], output_order, (size_t)w->outputs * sizeof *output_order);
        memcpy(o.elite[0].order[INPUTS], input_order, (size_t)w->inputs * sizeof *input_order);
        price_from_scratch(&o, &o.elite[0], &o.maxima[0]);
        *price = o.elite[0].total;
    }
    arena_fini(&room);
    return status;
}

/* As they are; then each axis sorted or not, within clusters or not. */
static spry_status add_sorted(reorder *o, arena *room, reorder_report *report, spry_error *error)
{
    int64_t most = o->l.channels[0] > o->l.channels[1] ? o->l.channels[0] : o->l.channels[1];
    channel_size *sizes = arena_array(room, 2 * (size_t)most, sizeof *sizes);
    candidate *c = &o->children[0];
    maxima m;

    if (sizes == NULL || !maxima_make(&o->l, room, &m)) {
        return alloc_failed(error, 2 * (size_t)most * sizeof *sizes);
    }
    for (int start = 0; start < 7; start++) {
        int axes = start == 0 ? 0 : (start - 1) % 3 + 1; /* bit a: that axis is sorted */

        for (int a = 0; a < 2; a++) {
            for (int64_t i = 0; i < o->l.channels[a]; i++) {
                c->order[a][i] = (int32_t)i;
            }
            if ((axes >> a & 1) != 0 && can_move(o, (axis)a)) {
                reorder_by_size(o->l.w, a == INPUTS, start > 3, sizes, c->order[a]);
            }
        }
        price_from_scratch(o, c, &m);
        if (start == 0) {
            report->identity = c->total;
        }
        admit(o, c);
    }
    report->sorted = o->elite[0].total;
    return SPRY_OK;
}

spry_status reorder_channels(const reorder_weights *w, const reorder_options *options,
                             const spry_allocator *allocator, int32_t *output_order,
                             int32_t *input_order, reorder_report *report, spry_error *error)
{
    bool searches = options->effort == REORDER_SEARCH;
    arena room;
    reorder o;
    spry_status status;

    arena_init(&room, allocator, SIZE_MAX);
    status = begin(w, options->objective, options->seed, POPULATION, &room, &o, error);
    if (status == SPRY_OK) {
        status = add_sorted(&o, &room, report, error);
    }
    if (status == SPRY_OK && searches && (can_move(&o, OUTPUTS) || can_move(&o, INPUTS))) {
        evolve(&o);
        climb(&o, &o.elite[0], &o.maxima[0]);
    }
    if (status == SPRY_OK) {
        report->searched = o.elite[0].total;
        memcpy(output_order, o.elite[0].order[OUTPUTS], (size_t)w->outputs * sizeof *output_order);
        memcpy(input_order, o.elite[0].order[INPUTS], (size_t)w->inputs * sizeof *input_order);
    }
    arena_fini(&room);
    return status;
}
