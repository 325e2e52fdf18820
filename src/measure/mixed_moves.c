/* Steps along convex hulls, sorted. */
#include "measure/mixed_moves.h"

#include <math.h>
#include <stdlib.h>

/* The step from level `from` that costs least per gain; false when none gains. */
static bool find_step(const mixed_point *points, int from, mixed_move *move)
{
    double best_gain = 0.0;

    move->ratio = INFINITY;
    for (int level = 1; level < SPRY_MIXED_LEVELS; level++) {
        double gain = points[level].gain - points[from].gain;
        double damage = points[level].damage - points[from].damage;
        double ratio = damage > 0.0 ? damage / gain : 0.0;

        if (!points[level].is_allowed || !(gain > 0.0) || !isfinite(ratio)) {
            continue;
        }
        if (ratio < move->ratio || (ratio == move->ratio && gain > best_gain)) {
            move->level = level;
            move->ratio = ratio;
            best_gain = gain;
        }
    }
    return best_gain > 0.0;
}

static int compare_moves(const void *a, const void *b)
{
    const mixed_move *x = a;
    const mixed_move *y = b;

    if (x->ratio != y->ratio) {
        return x->ratio < y->ratio ? -1 : 1;
    }
    return (x->index > y->index) - (x->index < y->index);
}

int32_t mixed_list_moves(const mixed_point (*points)[SPRY_MIXED_LEVELS], int32_t layers,
                         mixed_move *moves)
{
    int32_t count = 0;

    for (int32_t i = 0; i < layers; i++) {
        mixed_move move = {.layer = i};
        int level = 0;

        while (find_step(points[i], level, &move)) {
            move.index = count;
            moves[count++] = move;
            level = move.level;
        }
    }
    qsort(moves, (size_t)count, sizeof *moves, compare_moves);
    return count;
}
