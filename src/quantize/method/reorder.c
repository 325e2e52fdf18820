/* Sorting, evolution and swaps over orders of channels.
 *
 * A candidate is a pair of orders with the price of each block. A child differs from its parent in
 * one of the two orders alone, so the parent's largest numbers over the blocks of the other one
 * hold for the child too: its changed blocks are priced without a look at the weights. */
#include "quantize/method/reorder.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "spry/random.h"

enum {
    ELITE = 8,
    POPULATION = 32,
    GENERATIONS = 200,
    IDLE_GENERATIONS = 40, /* without GAIN */
    TOURNAMENT = 3,
    MOST_SWAPS = 4,
    STEPS = 20, /* of REORDER_MSE */
    PHASE = 256 /* tries of one axis in a row */
};

static const double GAIN = 0.001;
static const double CROSSOVER = 0.3;

/* One of the two orders. */
typedef enum axis { OUTPUTS, INPUTS } axis;

typedef struct candidate {
    int32_t *order[2]; /* [channels]: by axis */
    double *prices;    /* [row blocks][column blocks] */
    double total;
} candidate;

/* Largest numbers over the blocks of one order, per channel of the other. */
typedef struct maxima {
    float *by[2]; /* by[INPUTS]: [column blocks][outputs]; by[OUTPUTS]: [row blocks][inputs] */
} maxima;

typedef struct reorder {
    const reorder_weights *w;
    reorder_objective objective;
    int64_t channels[2], block[2], blocks[2];
    float *largest[2]; /* [OUTPUTS]: [outputs][inputs], over taps; [INPUTS]: the same, transposed */
    spry_random random;
    candidate elite[ELITE], children[POPULATION - ELITE];
    maxima maxima[ELITE];
    int elites;
    int32_t *marks; /* [most channels] */
} reorder;

/* ---- prices ---- */

static int64_t places_in(const reorder *o, axis a, int64_t block)
{
    int64_t left = o->channels[a] - block * o->block[a];

    return left < o->block[a] ? left : o->block[a];
}

static double range_price(const reorder *o, float largest, int64_t weights)
{
    double step = (double)largest / ((double)(1 << (o->w->bits - 1)) - 0.5);

    return step * step / 12.0 * (double)weights;
}

static double error_with_step(const reorder *o, const candidate *c, int64_t row, int64_t column,
                              float step)
{
    const reorder_weights *w = o->w;
    float high = (float)((1 << (w->bits - 1)) - 1);
    double sum = 0.0;

    for (int64_t i = 0; i < places_in(o, OUTPUTS, row); i++) {
        int64_t output = c->order[OUTPUTS][row * o->block[OUTPUTS] + i];

        for (int64_t j = 0; j < places_in(o, INPUTS, column); j++) {
            int64_t input = c->order[INPUTS][column * o->block[INPUTS] + j];
            const float *x = w->dense + (output * w->inputs + input) * w->taps;

            for (int64_t tap = 0; tap < w->taps; tap++) {
                float code = rintf(x[tap] / step);
                double d;

                code = code < -high - 1.0f ? -high - 1.0f : code > high ? high : code;
                d = (double)(code * step) - (double)x[tap];
                sum += d * d;
            }
        }
    }
    return sum;
}

/* From the step that reaches the largest weight down to half of it. */
static double error_price(const reorder *o, const candidate *c, int64_t row, int64_t column,
                          float largest)
{
    double step = (double)largest / ((double)(1 << (o->w->bits - 1)) - 0.5);
    double best = INFINITY;

    if (!(step > 1e-30)) {
        return 0.0;
    }
    for (int i = 0; i < STEPS; i++) {
        double factor = 1.0 - 0.5 * i / (STEPS - 1);

        best = fmin(best, error_with_step(o, c, row, column, (float)(step * factor)));
    }
    return best;
}

/* Price of a block whose largest number is taken over the places of `a`, from the maxima over the
 * blocks of the other axis. */
static double price_block(const reorder *o, const candidate *c, const maxima *m, axis a,
                          int64_t block, int64_t other)
{
    const float *by = m->by[1 - a] + other * o->channels[a];
    const int32_t *order = c->order[a] + block * o->block[a];
    int64_t places = places_in(o, a, block);
    int64_t row = a == OUTPUTS ? block : other;
    int64_t column = a == OUTPUTS ? other : block;
    float largest = 0.0f;

    for (int64_t i = 0; i < places; i++) {
        largest = by[order[i]] > largest ? by[order[i]] : largest;
    }
    return o->objective == REORDER_RANGE
               ? range_price(o, largest, places * places_in(o, (axis)(1 - a), other) * o->w->taps)
               : error_price(o, c, row, column, largest);
}

static double *price_at(const reorder *o, const candidate *c, axis a, int64_t block, int64_t other)
{
    return c->prices +
           (a == OUTPUTS ? block * o->blocks[INPUTS] + other : other * o->blocks[INPUTS] + block);
}

/* Prices again what lies in one block of `a`. */
static void price_line(const reorder *o, candidate *c, const maxima *m, axis a, int64_t block)
{
    for (int64_t other = 0; other < o->blocks[1 - a]; other++) {
        double *price = price_at(o, c, a, block, other);
        double now = price_block(o, c, m, a, block, other);

        c->total += now - *price;
        *price = now;
    }
}

static void price_all(const reorder *o, candidate *c, const maxima *m, axis a)
{
    for (int64_t block = 0; block < o->blocks[a]; block++) {
        price_line(o, c, m, a, block);
    }
    c->total = 0.0;
    for (int64_t i = 0; i < o->blocks[0] * o->blocks[1]; i++) {
        c->total += c->prices[i];
    }
}

static void find_maxima(const reorder *o, const candidate *c, maxima *m, axis a)
{
    int64_t others = o->channels[1 - a];

    for (int64_t block = 0; block < o->blocks[a]; block++) {
        float *to = m->by[a] + block * others;

        memset(to, 0, (size_t)others * sizeof *to);
        for (int64_t i = 0; i < places_in(o, a, block); i++) {
            const float *from = o->largest[a] + c->order[a][block * o->block[a] + i] * others;

            for (int64_t k = 0; k < others; k++) {
                to[k] = from[k] > to[k] ? from[k] : to[k];
            }
        }
    }
}

/* ---- sorted orders ---- */

typedef struct channel_size {
    float largest, high, low; /* of |x|, x, x */
    int cluster;
    int32_t channel;
} channel_size;

static channel_size size_of(const reorder_weights *w, axis a, int32_t channel)
{
    channel_size s = {.channel = channel, .high = -INFINITY, .low = INFINITY};
    int64_t others = a == OUTPUTS ? w->inputs : w->outputs;

    for (int64_t k = 0; k < others; k++) {
        const float *x =
            w->dense + (a == OUTPUTS ? channel * w->inputs + k : k * w->inputs + channel) * w->taps;

        for (int64_t tap = 0; tap < w->taps; tap++) {
            s.high = x[tap] > s.high ? x[tap] : s.high;
            s.low = x[tap] < s.low ? x[tap] : s.low;
        }
    }
    s.largest = fmaxf(fabsf(s.high), fabsf(s.low));
    return s;
}

/* Two means of (high, low), which start at the channels of least and largest size. */
static void cluster(channel_size *s, int64_t count)
{
    enum { ROUNDS = 16 };
    double mean[2][2];
    int64_t least = 0;
    int64_t most = 0;

    for (int64_t i = 0; i < count; i++) {
        least = s[i].largest < s[least].largest ? i : least;
        most = s[i].largest > s[most].largest ? i : most;
    }
    for (int k = 0; k < 2; k++) {
        mean[k][0] = (double)s[k == 0 ? least : most].high;
        mean[k][1] = (double)s[k == 0 ? least : most].low;
    }
    for (int round = 0; round < ROUNDS; round++) {
        double sum[2][3] = {{0.0}};

        for (int64_t i = 0; i < count; i++) {
            double d[2];

            for (int k = 0; k < 2; k++) {
                d[k] = hypot((double)s[i].high - mean[k][0], (double)s[i].low - mean[k][1]);
            }
            s[i].cluster = d[1] < d[0];
            sum[s[i].cluster][0] += (double)s[i].high;
            sum[s[i].cluster][1] += (double)s[i].low;
            sum[s[i].cluster][2] += 1.0;
        }
        for (int k = 0; k < 2; k++) {
            for (int part = 0; sum[k][2] > 0.0 && part < 2; part++) {
                mean[k][part] = sum[k][part] / sum[k][2];
            }
        }
    }
}

static bool comes_first(const channel_size *a, const channel_size *b)
{
    if (a->cluster != b->cluster) {
        return a->cluster < b->cluster;
    }
    return a->largest != b->largest ? a->largest < b->largest : a->channel < b->channel;
}

/* Merge sort: `room` has as many entries. */
static void sort_channels(channel_size *s, int64_t count, channel_size *room)
{
    int64_t half = count / 2;
    int64_t i = 0;
    int64_t j = half;

    if (count < 2) {
        return;
    }
    sort_channels(s, half, room);
    sort_channels(s + half, count - half, room);
    for (int64_t k = 0; k < count; k++) {
        bool left = j >= count || (i < half && !comes_first(&s[j], &s[i]));

        room[k] = left ? s[i++] : s[j++];
    }
    memcpy(s, room, (size_t)count * sizeof *s);
}

static void fill_order(const reorder *o, axis a, bool sorted, bool clustered, channel_size *s,
                       int32_t *order)
{
    int64_t count = o->channels[a];

    for (int64_t i = 0; i < count; i++) {
        order[i] = (int32_t)i;
    }
    if (!sorted) {
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        s[i] = size_of(o->w, a, (int32_t)i);
    }
    if (clustered) {
        cluster(s, count);
    }
    sort_channels(s, count, s + count);
    for (int64_t i = 0; i < count; i++) {
        order[i] = s[i].channel;
    }
}

/* ---- the population ---- */

static void copy_candidate(const reorder *o, const candidate *from, candidate *to)
{
    for (int a = 0; a < 2; a++) {
        memcpy(to->order[a], from->order[a], (size_t)o->channels[a] * sizeof *to->order[a]);
    }
    memcpy(to->prices, from->prices, (size_t)(o->blocks[0] * o->blocks[1]) * sizeof *to->prices);
    to->total = from->total;
}

/* Swaps of places in one block change nothing, and with blocks of one channel, or one block, nor
 * do others. */
static bool can_move(const reorder *o, axis a)
{
    return o->block[a] > 1 && o->blocks[a] > 1;
}

static int64_t below(reorder *o, int64_t bound)
{
    return (int64_t)spry_random_below(&o->random, (uint64_t)bound);
}

/* Two places in different blocks. */
static void draw_places(reorder *o, axis a, int64_t *first, int64_t *second)
{
    *first = below(o, o->channels[a]);
    do {
        *second = below(o, o->channels[a]);
    } while (*second / o->block[a] == *first / o->block[a]);
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
    int64_t count = o->channels[a];
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
        price_all(o, child, m, a);
    }
    for (int64_t swaps = 1 + below(o, MOST_SWAPS); swaps > 0; swaps--) {
        int64_t first;
        int64_t second;

        draw_places(o, a, &first, &second);
        swap(child->order[a], first, second);
        price_line(o, child, m, a, first / o->block[a]);
        price_line(o, child, m, a, second / o->block[a]);
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
    find_maxima(o, &c, &m, OUTPUTS);
    find_maxima(o, &c, &m, INPUTS);
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

    for (int64_t other = 0; other < o->blocks[1 - a]; other++) {
        sum += *price_at(o, c, a, block, other);
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
    before =
        line_total(o, c, a, place[0] / o->block[a]) + line_total(o, c, a, place[1] / o->block[a]);
    swap(c->order[a], place[0], place[1]);
    for (int i = 0; i < 2; i++) {
        for (int64_t other = 0; other < o->blocks[1 - a]; other++) {
            after += price_block(o, c, m, a, place[i] / o->block[a], other);
        }
    }
    if (!(after < before * (1.0 - 1e-12))) {
        swap(c->order[a], place[0], place[1]);
        return false;
    }
    price_line(o, c, m, a, place[0] / o->block[a]);
    price_line(o, c, m, a, place[1] / o->block[a]);
    return true;
}

/* Until as many swaps in a row were in vain as two blocks have pairs of places, five times over. */
static void climb(reorder *o, candidate *c, maxima *m)
{
    int64_t patience = 5 * o->block[OUTPUTS] * o->block[INPUTS];
    int64_t most = 64 * (o->channels[OUTPUTS] + o->channels[INPUTS]) + 16 * patience;
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
            find_maxima(o, c, m, a);
        }
        if (can_move(o, OUTPUTS) && can_move(o, INPUTS)) {
            a = (axis)(1 - a);
        }
    }
}

/* ---- the whole ---- */

static bool make_candidate(const reorder *o, arena *room, candidate *c)
{
    for (int a = 0; a < 2; a++) {
        c->order[a] = arena_array(room, (size_t)o->channels[a], sizeof *c->order[a]);
    }
    c->prices = arena_array(room, (size_t)(o->blocks[0] * o->blocks[1]), sizeof *c->prices);
    return c->order[0] != NULL && c->order[1] != NULL && c->prices != NULL;
}

static bool make_maxima(const reorder *o, arena *room, maxima *m)
{
    for (int a = 0; a < 2; a++) {
        m->by[a] = arena_array(room, (size_t)(o->blocks[a] * o->channels[1 - a]), sizeof *m->by[a]);
    }
    return m->by[0] != NULL && m->by[1] != NULL;
}

static void fill_largest(reorder *o)
{
    const reorder_weights *w = o->w;
    const float *x = w->dense;

    for (int64_t m = 0; m < w->outputs; m++) {
        for (int64_t n = 0; n < w->inputs; n++) {
            float largest = 0.0f;

            for (int64_t tap = 0; tap < w->taps; tap++, x++) {
                largest = fabsf(*x) > largest ? fabsf(*x) : largest;
            }
            o->largest[OUTPUTS][m * w->inputs + n] = largest;
            o->largest[INPUTS][n * w->outputs + m] = largest;
        }
    }
}

static spry_status begin(const reorder_weights *w, reorder_objective objective, uint64_t seed,
                         int candidates, arena *room, reorder *o, spry_error *error)
{
    size_t kernels = (size_t)(w->outputs * w->inputs);
    bool fits = true;

    *o = (reorder){.w = w,
                   .objective = objective,
                   .channels = {w->outputs, w->inputs},
                   .block = {w->row_block, w->column_block},
                   .random = spry_random_stream(seed, 0)};
    for (int a = 0; a < 2; a++) {
        o->blocks[a] = (o->channels[a] + o->block[a] - 1) / o->block[a];
        o->largest[a] = arena_array(room, kernels, sizeof *o->largest[a]);
        fits = fits && o->largest[a] != NULL;
    }
    o->marks = arena_array(room, (size_t)(w->outputs + w->inputs), sizeof *o->marks);
    for (int i = 0; i < candidates && i < ELITE; i++) {
        fits = fits && make_candidate(o, room, &o->elite[i]) && make_maxima(o, room, &o->maxima[i]);
    }
    for (int i = 0; i < candidates && i < POPULATION - ELITE; i++) {
        fits = fits && make_candidate(o, room, &o->children[i]);
    }
    if (!fits || o->marks == NULL) {
        return alloc_failed(error, kernels * sizeof *o->largest[0]);
    }
    fill_largest(o);
    return SPRY_OK;
}

static void price_from_scratch(reorder *o, candidate *c, maxima *m)
{
    find_maxima(o, c, m, INPUTS);
    price_all(o, c, m, OUTPUTS);
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
    int64_t most = o->channels[0] > o->channels[1] ? o->channels[0] : o->channels[1];
    channel_size *sizes = arena_array(room, 2 * (size_t)most, sizeof *sizes);
    candidate *c = &o->children[0];
    maxima m;

    if (sizes == NULL || !make_maxima(o, room, &m)) {
        return alloc_failed(error, 2 * (size_t)most * sizeof *sizes);
    }
    for (int start = 0; start < 7; start++) {
        int axes = start == 0 ? 0 : (start - 1) % 3 + 1; /* bit a: that axis is sorted */

        for (int a = 0; a < 2; a++) {
            fill_order(o, (axis)a, (axes >> a & 1) != 0 && can_move(o, (axis)a), start > 3, sizes,
                       c->order[a]);
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
