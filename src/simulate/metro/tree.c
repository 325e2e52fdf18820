#include "simulate/metro/tree.h"

#include "base/alloc.h"

enum { NOBODY = -1 };

/* ---- routes ---- */

static int clamp(int value, int least, int most)
{
    return value < least ? least : value > most ? most : value;
}

static int add(metro_route *routes, int count, int hub, bool first, bool second)
{
    if (count < METRO_ROUTES_MOST) {
        routes[count++] = (metro_route){hub, first, second};
    }
    return count;
}

/* Minimal ways with two turns, by each column and row between the ends. */
static int add_turns(const metro_flows *f, const metro_flow *flow, metro_route *routes, int count)
{
    int w = f->width;
    int x = flow->one % w;
    int y = flow->one / w;
    int to_x = flow->many[0] % w;
    int to_y = flow->many[0] / w;
    int step_x = to_x > x ? 1 : -1;
    int step_y = to_y > y ? 1 : -1;

    if (x == to_x || y == to_y) {
        return count;
    }
    for (int turn = x + step_x; turn != to_x; turn += step_x) {
        count = add(routes, count, y * w + turn, false, true);
    }
    for (int turn = y + step_y; turn != to_y; turn += step_y) {
        count = add(routes, count, turn * w + x, true, false);
    }
    return count;
}

/* By the nearest corner and the centre of the rectangle around the other ends. */
static int add_hubs(const metro_flows *f, const metro_flow *flow, metro_route *routes, int count)
{
    int w = f->width;
    int x = flow->one % w;
    int y = flow->one / w;
    int left = w;
    int right = 0;
    int top = f->height;
    int bottom = 0;
    int hubs[2];

    for (int i = 0; i < flow->count; i++) {
        int to_x = flow->many[i] % w;
        int to_y = flow->many[i] / w;

        left = to_x < left ? to_x : left;
        right = to_x > right ? to_x : right;
        top = to_y < top ? to_y : top;
        bottom = to_y > bottom ? to_y : bottom;
    }
    hubs[0] = (2 * clamp(y, top, bottom) <= top + bottom ? top : bottom) * w +
              (2 * clamp(x, left, right) <= left + right ? left : right);
    hubs[1] = (top + bottom) / 2 * w + (left + right) / 2;
    for (int i = 0; i < 8; i++) {
        count = add(routes, count, hubs[i / 4], i % 2 == 1, i / 2 % 2 == 1);
    }
    return count;
}

int metro_routes(const metro_flows *f, const metro_flow *flow,
                 metro_route routes[METRO_ROUTES_MOST])
{
    int count = add(routes, 0, flow->one, false, false);

    count = add(routes, count, flow->one, true, true);
    if (flow->count == 1) {
        return add_turns(f, flow, routes, count);
    }
    return flow->count > 1 ? add_hubs(f, flow, routes, count) : count;
}

/* ---- trees ---- */

typedef struct growth {
    int width;
    int *parents; /* by node; NOBODY outside of the tree */
    int *depths;  /* routers from the root, itself included; negative until needed */
} growth;

static int toward(int width, int from, int to, bool columns)
{
    int dx = to % width - from % width;
    int dy = to / width - from / width;
    bool vertical = dy != 0 && (columns || dx == 0);

    return vertical ? from + (dy > 0 ? width : -width) : from + (dx > 0 ? 1 : -1);
}

/* Nodes that the tree has already are reached their old way, so it stays a tree. */
static void grow_path(growth *g, int from, int to, bool columns)
{
    while (from != to) {
        int next = toward(g->width, from, to, columns);

        if (g->parents[next] == NOBODY) {
            g->parents[next] = from;
        }
        from = next;
    }
}

static int direction(int width, int from, int to)
{
    int step = to - from;

    if (step == width || step == -width) {
        return step > 0 ? METRO_SOUTH : METRO_NORTH;
    }
    return step > 0 ? METRO_EAST : METRO_WEST;
}

/* Links from the root down to `node` that are not yet in the tree; returns its depth. */
static int reach(growth *g, const metro_flow *flow, int node, metro_tree *tree)
{
    int parent = g->parents[node];
    int from;
    int to;

    if (node == flow->one || g->depths[node] > 0) {
        return node == flow->one ? 1 : g->depths[node];
    }
    g->depths[node] = reach(g, flow, parent, tree) + 1;
    from = flow->is_reduce ? node : parent;
    to = flow->is_reduce ? parent : node;
    tree->steps[tree->count++] =
        (metro_step){from * METRO_LINKS + direction(g->width, from, to), g->depths[node] - 1};
    return g->depths[node];
}

spry_status metro_tree_make(const metro_flows *f, const metro_flow *flow, const metro_route *route,
                            arena *memory, metro_tree *tree, spry_error *error)
{
    size_t nodes = (size_t)f->width * (size_t)f->height;
    growth g = {f->width, arena_array(memory, nodes, sizeof(int)),
                arena_array(memory, nodes, sizeof(int))};

    *tree = (metro_tree){
        .steps = arena_array(memory, nodes + (size_t)flow->count + 1, sizeof *tree->steps)};
    if (g.parents == NULL || g.depths == NULL || tree->steps == NULL) {
        return alloc_failed(error, nodes * sizeof(int));
    }
    if (flow->count == 0) {
        return SPRY_OK;
    }
    for (size_t i = 0; i < nodes; i++) {
        g.parents[i] = NOBODY;
    }
    g.parents[flow->one] = flow->one;
    grow_path(&g, flow->one, route->hub, route->first_columns);
    for (int i = 0; i < flow->count; i++) {
        grow_path(&g, route->hub, flow->many[i], route->second_columns);
    }
    tree->steps[tree->count++] =
        (metro_step){flow->one * METRO_LINKS + (flow->is_reduce ? METRO_EJECT : METRO_INJECT), 0};
    for (int i = 0; i < flow->count; i++) {
        int depth = reach(&g, flow, flow->many[i], tree);

        tree->steps[tree->count++] = (metro_step){
            flow->many[i] * METRO_LINKS + (flow->is_reduce ? METRO_INJECT : METRO_EJECT), depth};
        tree->depth = depth > tree->depth ? depth : tree->depth;
    }
    for (int i = 0; flow->is_reduce && i < tree->count; i++) {
        tree->steps[i].depth = tree->depth - tree->steps[i].depth;
    }
    return SPRY_OK;
}
