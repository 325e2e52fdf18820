/* Pareto sets, and a choice with hysteresis. */
#include "tune/tenants/versions.h"

#include <math.h>

enum { LEAST_WAIT = 8, MOST_WAIT = 256 };

static const double worth_it = 0.95; /* a switch is worth from 5 % on */

/* ---- which to keep ---- */

static bool beats(const version_facts *a, const version_facts *b)
{
    bool as_good =
        a->footprint <= b->footprint && a->alone_ms <= b->alone_ms && a->chunks >= b->chunks;

    return as_good &&
           (a->footprint < b->footprint || a->alone_ms < b->alone_ms || a->chunks > b->chunks);
}

static bool equals(const version_facts *a, const version_facts *b)
{
    return !(a->footprint < b->footprint || a->footprint > b->footprint ||
             a->alone_ms < b->alone_ms || a->alone_ms > b->alone_ms || a->chunks != b->chunks);
}

static bool is_kept(const version_facts *all, int32_t count, int32_t i)
{
    for (int32_t k = 0; k < count; k++) {
        if (k != i && (beats(&all[k], &all[i]) || (k < i && equals(&all[k], &all[i])))) {
            return false;
        }
    }
    return true;
}

static int32_t fastest(const version_facts *all, const int32_t *list, int32_t count)
{
    int32_t best = 0;

    for (int32_t i = 1; i < count; i++) {
        best = all[list[i]].alone_ms < all[list[best]].alone_ms ? i : best;
    }
    return best;
}

int32_t versions_keep(const version_facts *all, int32_t count, double most_ms, int32_t most,
                      int32_t *kept)
{
    int32_t list[VERSIONS_MOST];
    int32_t found = 0;
    int32_t must;

    for (int32_t i = 0; i < count; i++) {
        int32_t at = found;

        if (all[i].alone_ms > most_ms || !is_kept(all, count, i)) {
            continue;
        }
        while (at > 0 && all[list[at - 1]].footprint > all[i].footprint) {
            list[at] = list[at - 1];
            at--;
        }
        list[at] = i;
        found++;
    }
    if (found == 0) {
        return 0;
    }
    must = fastest(all, list, found);
    if (found > most) {
        int32_t nearest = 0;

        for (int32_t i = 0; i < most; i++) {
            int32_t from = most > 1 ? (int32_t)lround((double)i * (found - 1) / (most - 1)) : must;

            kept[i] = list[from];
            nearest = from <= must ? i : nearest;
        }
        kept[nearest] = list[must];
        return most;
    }
    for (int32_t i = 0; i < found; i++) {
        kept[i] = list[i];
    }
    return found;
}

/* ---- which to run ---- */

void version_choice_start(version_choice *c, int32_t count, double ms[][INTERFERENCE_LEVELS])
{
    *c = (version_choice){.count = count, .level = -1, .wait = LEAST_WAIT};
    for (int32_t v = 0; v < count; v++) {
        for (int level = 0; level < INTERFERENCE_LEVELS; level++) {
            c->ms[v][level] = ms[v][level];
        }
        c->alone = ms[v][0] < ms[c->alone][0] ? v : c->alone;
    }
    c->current = c->alone;
}

int32_t version_choice_next(version_choice *c)
{
    if (c->current == c->alone) {
        return c->current;
    }
    if (c->left > 0) {
        c->left--;
        return c->current;
    }
    c->left = c->wait;
    return c->alone;
}

void version_choice_read(version_choice *c, int level)
{
    bool is_stable = level == c->level;
    int32_t best = 0;

    c->level = level;
    for (int32_t v = 1; v < c->count; v++) {
        best = c->ms[v][level] < c->ms[best][level] ? v : best;
    }
    if (!is_stable) {
        c->wait = LEAST_WAIT;
        c->left = 0; /* the second reading follows at once */
        return;
    }
    if (c->ms[best][level] <= worth_it * c->ms[c->current][level]) {
        c->current = best;
        c->wait = LEAST_WAIT;
        c->left = c->wait;
    } else if (c->wait < MOST_WAIT) {
        c->wait *= 2;
    }
}
