/* The links that a flow takes, and when, counted from its start. */
#ifndef SIMULATE_METRO_TREE_H
#define SIMULATE_METRO_TREE_H

#include "simulate/metro/flows.h"

/* Link node * METRO_LINKS + direction leaves the node, but for METRO_INJECT, which enters its
 * router from the node itself. */
enum metro_direction {
    METRO_EAST,
    METRO_WEST,
    METRO_NORTH, /* to the row above: y - 1 */
    METRO_SOUTH,
    METRO_INJECT,
    METRO_EJECT,
    METRO_LINKS
};

enum { METRO_HOP = 2, METRO_ROUTES_MOST = 2 * METRO_SIDE_MOST };

/* By way of `hub`: the first leg to it, then a tree from it; each goes along rows first, or along
 * columns. */
typedef struct metro_route {
    int hub;
    bool first_columns;
    bool second_columns;
} metro_route;

typedef struct metro_step {
    int link;
    int depth; /* links after the start: cycles / METRO_HOP */
} metro_step;

typedef struct metro_tree {
    metro_step *steps;
    int count;
    int depth; /* the greatest */
} metro_tree;

/* The routes worth trying, at least two; the first goes along rows, the second along columns.
 * Returns their number. */
int metro_routes(const metro_flows *f, const metro_flow *flow,
                 metro_route routes[METRO_ROUTES_MOST]);

/* The tree of a route, in `memory`: each link once, every other end reached once. A reduction's is
 * that of a multicast run backwards, so that operands meet. No steps where nothing moves. Fails
 * with SPRY_LIMIT. */
SPRY_MUST_USE spry_status metro_tree_make(const metro_flows *f, const metro_flow *flow,
                                          const metro_route *route, arena *memory, metro_tree *tree,
                                          spry_error *error);

#endif
