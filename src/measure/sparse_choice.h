/* The choice of a level of zeros for every layer: least damage with enough zeros and little enough
 * time. */
#ifndef MEASURE_SPARSE_CHOICE_H
#define MEASURE_SPARSE_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

enum { SPARSE_LEVELS = 7 }; /* the first is dense */

/* A layer at one level. */
typedef struct sparse_point {
    double damage; /* >= 0 */
    double ms;
    double zeros;
} sparse_point;

typedef struct sparse_wish {
    double ms;    /* of all layers, at most */
    double zeros; /* at least */
} sparse_wish;

/* Fills levels[layers]. By prices: each layer takes the level whose damage, with its time and its
 * missing zeros at a price each, is least; the prices are the lowest that do (so what lies above
 * the convex hull of a layer's levels is not found). False when no price does; levels are then
 * those of the fastest choice. */
bool sparse_choose(const sparse_point (*points)[SPARSE_LEVELS], int32_t layers,
                   const sparse_wish *wish, int *levels);

/* What a choice comes to. */
sparse_point sparse_sum(const sparse_point (*points)[SPARSE_LEVELS], int32_t layers,
                        const int *levels);

#endif
