/* Topological order, compaction and use lists: everything that walks the edges of a whole graph. */
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "model/graph.h"
#include "model/graph_walk.h"

/* ---- walking what a node reads ---- */

graph *const *graph_attribute_subgraphs(const graph_attribute *attribute, int64_t *count)
{
    bool holds =
        attribute->kind == GRAPH_ATTRIBUTE_GRAPH || attribute->kind == GRAPH_ATTRIBUTE_GRAPHS;

    *count = holds && attribute->ref_name == NULL ? attribute->count : 0;
    return *count > 0 ? attribute->as.graphs : NULL;
}

/* Visits the values of `holder`'s graph that its subgraph `inner` captures. */
static void visit_captures(const graph *inner, graph_visit_value visit, void *context)
{
    for (int32_t i = 0; i < inner->value_count; i++) {
        if (inner->values[i].outer != GRAPH_NONE) {
            visit(context, inner->values[i].outer);
        }
    }
}

void graph_visit_reads(const graph_node *node, graph_visit_value visit, void *context)
{
    for (int32_t i = 0; i < node->input_count; i++) {
        if (node->inputs[i] != GRAPH_NONE) {
            visit(context, node->inputs[i]);
        }
    }
    for (int32_t i = 0; i < node->attribute_count; i++) {
        int64_t count;
        graph *const *graphs = graph_attribute_subgraphs(&node->attributes[i], &count);

        for (int64_t k = 0; k < count; k++) {
            visit_captures(graphs[k], visit, context);
        }
    }
}

/* ---- compaction ---- */

/* Gives node `from` the place `to`. */
static void place_node(graph *g, const graph_node *node, int32_t to)
{
    for (int32_t i = 0; i < node->output_count; i++) {
        if (node->outputs[i] != GRAPH_NONE) {
            g->values[node->outputs[i]].producer = to;
        }
    }
    if (&g->nodes[to] != node) {
        g->nodes[to] = *node;
    }
}

void graph_compact(graph *g)
{
    int32_t kept = 0;

    for (int32_t i = 0; i < g->node_count; i++) {
        if (!g->nodes[i].removed) {
            place_node(g, &g->nodes[i], kept++);
        }
    }
    g->node_count = kept;
}

/* ---- sorting ---- */

enum { SORT_NEW, SORT_OPEN, SORT_DONE };

/* Depth-first search without recursion: `stack` holds the nodes on the path, and per node the list
 * of nodes it reads from lies in `edges[offsets[n]..offsets[n + 1])`. */
typedef struct sorter {
    const graph *g;
    int32_t *offsets;
    int32_t *edges;
    int32_t *next; /* per node: the next edge to follow */
    int32_t *stack;
    int32_t *order; /* finished nodes */
    int32_t ordered;
    uint8_t *state;
    int32_t node; /* being visited while edges are counted or stored */
    int32_t edge_count;
} sorter;

static void count_edge(void *context, int32_t id)
{
    sorter *s = context;

    s->edge_count += s->g->values[id].producer != GRAPH_NONE;
}

static void store_edge(void *context, int32_t id)
{
    sorter *s = context;

    if (s->g->values[id].producer != GRAPH_NONE) {
        s->edges[s->edge_count++] = s->g->values[id].producer;
    }
}

/* Lists for every node the nodes it reads from. */
static spry_status list_edges(sorter *s, arena *memory, spry_error *error)
{
    const graph *g = s->g;

    for (int32_t i = 0; i < g->node_count; i++) {
        graph_visit_reads(&g->nodes[i], count_edge, s);
    }
    s->edges = arena_array(memory, (size_t)s->edge_count, sizeof *s->edges);
    if (s->edges == NULL) {
        return alloc_failed(error, (size_t)s->edge_count * sizeof *s->edges);
    }
    s->edge_count = 0;
    for (int32_t i = 0; i < g->node_count; i++) {
        s->offsets[i] = s->edge_count;
        s->next[i] = s->edge_count;
        graph_visit_reads(&g->nodes[i], store_edge, s);
    }
    s->offsets[g->node_count] = s->edge_count;
    return SPRY_OK;
}

/* Appends `root` and what it needs to the order. */
static spry_status visit_root(sorter *s, int32_t root, spry_error *error)
{
    int32_t depth = 0;

    s->stack[depth] = root;
    s->state[root] = SORT_OPEN;
    while (depth >= 0) {
        int32_t n = s->stack[depth];

        if (s->next[n] == s->offsets[n + 1]) {
            s->state[n] = SORT_DONE;
            s->order[s->ordered++] = n;
            depth--;
            continue;
        }
        n = s->edges[s->next[n]++];
        if (s->state[n] == SORT_OPEN) {
            char label[SPRY_ERROR_WHERE_SIZE];

            return spry_fail(error, SPRY_BAD_INPUT,
                             graph_node_label(s->g, &s->g->nodes[n], label, sizeof label), NULL,
                             "the node needs its own result: the graph has a cycle");
        }
        if (s->state[n] == SORT_NEW) {
            s->state[n] = SORT_OPEN;
            s->stack[++depth] = n;
        }
    }
    return SPRY_OK;
}

static spry_status find_order(sorter *s, arena *memory, spry_error *error)
{
    size_t count = (size_t)s->g->node_count + 1;
    spry_status status;

    s->offsets = arena_array(memory, count, sizeof *s->offsets);
    s->next = arena_array(memory, count, sizeof *s->next);
    s->stack = arena_array(memory, count, sizeof *s->stack);
    s->order = arena_array(memory, count, sizeof *s->order);
    s->state = arena_array(memory, count, sizeof *s->state);
    if (s->offsets == NULL || s->next == NULL || s->stack == NULL || s->order == NULL ||
        s->state == NULL) {
        return alloc_failed(error, count * sizeof *s->order);
    }
    status = list_edges(s, memory, error);
    for (int32_t i = 0; status == SPRY_OK && i < s->g->node_count; i++) {
        if (s->state[i] == SORT_NEW) {
            status = visit_root(s, i, error);
        }
    }
    return status;
}

static spry_status apply_order(graph *g, const int32_t *order, arena *memory, spry_error *error)
{
    size_t bytes = (size_t)g->node_count * sizeof *g->nodes;
    graph_node *old = arena_bytes(memory, bytes);

    if (old == NULL) {
        return alloc_failed(error, bytes);
    }
    memcpy(old, g->nodes, bytes);
    for (int32_t i = 0; i < g->node_count; i++) {
        place_node(g, &old[order[i]], i);
    }
    return SPRY_OK;
}

static bool is_ascending(const int32_t *order, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        if (order[i] != i) {
            return false;
        }
    }
    return true;
}

spry_status graph_sort(graph *g, spry_error *error)
{
    arena memory;
    sorter s = {.g = g};
    spry_status status;

    graph_compact(g);
    arena_init(&memory, &g->memory->allocator, g->memory->ceiling - g->memory->used_bytes);
    status = find_order(&s, &memory, error);
    if (status == SPRY_OK && !is_ascending(s.order, g->node_count)) {
        status = apply_order(g, s.order, &memory, error);
    }
    arena_fini(&memory);
    return status;
}

/* ---- uses ---- */

typedef struct use_lister {
    int32_t *offsets;
    int32_t *users;
    int32_t *last; /* per value: the last node counted, so that a node is listed once */
    int32_t node;
} use_lister;

static void count_use(void *context, int32_t id)
{
    use_lister *u = context;

    if (u->last[id] != u->node + 1) {
        u->last[id] = u->node + 1;
        u->offsets[id + 1]++;
    }
}

static void store_use(void *context, int32_t id)
{
    use_lister *u = context;

    if (u->last[id] != u->node + 1) {
        u->last[id] = u->node + 1;
        u->users[u->offsets[id]++] = u->node;
    }
}

static void visit_all(const graph *g, use_lister *u, graph_visit_value visit)
{
    memset(u->last, 0, (size_t)g->value_count * sizeof *u->last);
    for (u->node = 0; u->node < g->node_count; u->node++) {
        if (!g->nodes[u->node].removed) {
            graph_visit_reads(&g->nodes[u->node], visit, u);
        }
    }
}

spry_status graph_find_uses(const graph *g, arena *memory, graph_uses *uses, spry_error *error)
{
    size_t count = (size_t)g->value_count + 1;
    use_lister u = {.offsets = arena_array(memory, count, sizeof(int32_t)),
                    .last = arena_array(memory, count, sizeof(int32_t))};

    if (u.offsets == NULL || u.last == NULL) {
        return alloc_failed(error, count * sizeof(int32_t));
    }
    visit_all(g, &u, count_use);
    for (size_t i = 1; i < count; i++) {
        u.offsets[i] += u.offsets[i - 1];
    }
    u.users = arena_array(memory, (size_t)u.offsets[count - 1], sizeof(int32_t));
    if (u.users == NULL) {
        return alloc_failed(error, (size_t)u.offsets[count - 1] * sizeof(int32_t));
    }
    visit_all(g, &u, store_use);
    /* Storing moved every offset to the end of its list, which is the start of the next. */
    memmove(u.offsets + 1, u.offsets, (count - 1) * sizeof(int32_t));
    u.offsets[0] = 0;
    *uses = (graph_uses){u.offsets, u.users};
    return SPRY_OK;
}
