/* The order in which layers go down in precision: the greedy solution of a multiple-choice
 * knapsack. */
#ifndef MEASURE_MIXED_MOVES_H
#define MEASURE_MIXED_MOVES_H

#include "spry/mixed.h"

/* What a layer is at one level, compared with f32. */
typedef struct mixed_point {
    bool is_allowed;
    double gain;   /* of time and bytes; more is better */
    double damage; /* >= 0 */
} mixed_point;

typedef struct mixed_move {
    int32_t layer;
    int level;     /* that the layer gets; it gained less before */
    int32_t index; /* before sorting: a layer's steps stay in their order */
    double ratio;  /* damage per gain of this step, >= 0 */
} mixed_move;

/* Fills `moves` (room for layers x (SPRY_MIXED_LEVELS - 1)): per layer the steps along the lower
 * convex hull of its points, starting at level 0, which is always allowed; all of them sorted by
 * ratio. Levels that gain nothing are not visited. Returns how many. */
int32_t mixed_list_moves(const mixed_point (*points)[SPRY_MIXED_LEVELS], int32_t layers,
                         mixed_move *moves);

#endif
