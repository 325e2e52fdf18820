#include "simulate/metro/flows.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/files.h"
#include "base/parse.h"
#include "data/csv.h"

enum { COLUMNS = 8, NODES_MOST = METRO_SIDE_MOST * METRO_SIDE_MOST, PLACE_SIZE = 512 };

#define MEMORY_MOST ((size_t)1 << 28)
#define FILE_MOST ((uint64_t)1 << 26)

void metro_flows_init(metro_flows *f, int width, int height)
{
    *f = (metro_flows){.width = width, .height = height};
    arena_init(&f->memory, NULL, MEMORY_MOST);
}

void metro_flows_fini(metro_flows *f)
{
    spry_allocator own = alloc_resolve(NULL);

    alloc_release(&own, f->items, f->capacity * sizeof *f->items);
    arena_fini(&f->memory);
    *f = (metro_flows){0};
}

static bool is_on_mesh(const metro_flows *f, int node)
{
    return node >= 0 && node < f->width * f->height;
}

static bool holds(const int *nodes, int count, int node)
{
    for (int i = 0; i < count; i++) {
        if (nodes[i] == node) {
            return true;
        }
    }
    return false;
}

spry_status metro_flows_add(metro_flows *f, const metro_flow *flow, spry_error *error)
{
    spry_allocator own = alloc_resolve(NULL);
    metro_flow copy = *flow;
    spry_status status;

    if (flow->bytes < 0 || flow->bytes > METRO_BYTES_MOST || flow->release < 0) {
        return spry_fail(error, SPRY_USAGE, "flow", NULL, "sizes and times are not below 0");
    }
    copy.count = 0;
    copy.many = arena_array(&f->memory, (size_t)flow->count + 1, sizeof *copy.many);
    if (copy.many == NULL) {
        return alloc_failed(error, (size_t)flow->count * sizeof *copy.many);
    }
    for (int i = 0; i < flow->count; i++) {
        int node = flow->many[i];

        if (!is_on_mesh(f, node) || !is_on_mesh(f, flow->one)) {
            return spry_fail(error, SPRY_USAGE, "flow", NULL,
                             "there is no node %d or %d in a mesh of %d x %d", node, flow->one,
                             f->width, f->height);
        }
        if (node != flow->one && !holds(copy.many, copy.count, node)) {
            copy.many[copy.count++] = node;
        }
    }
    status = alloc_grow(&own, (void **)&f->items, &f->capacity, (size_t)f->count + 1,
                        sizeof *f->items, METRO_FLOWS_MOST, error);
    if (status == SPRY_OK) {
        f->items[f->count++] = copy;
    }
    return status;
}

/* ---- reading ---- */

/* Nodes of a list; -1 when it is none. Writes zeros into `cell`. */
static int parse_nodes(const metro_flows *f, char *cell, int *nodes)
{
    int count = 0;
    char *rest = cell + strspn(cell, " ");

    while (*rest != '\0') {
        size_t length = strcspn(rest, " ");
        bool more = rest[length] != '\0';
        int64_t node;

        rest[length] = '\0';
        if (count == NODES_MOST || !parse_i64(rest, 0, f->width * f->height - 1, &node)) {
            return -1;
        }
        nodes[count++] = (int)node;
        rest += length + more;
        rest += strspn(rest, " ");
    }
    return count > 0 ? count : -1;
}

typedef enum flow_type { UNICAST, MULTICAST, REDUCE, GATHER, SCATTER, TYPES } flow_type;

typedef struct flow_line {
    char cells[COLUMNS][CSV_CELL_BYTES];
    int sources[NODES_MOST];
    int destinations[NODES_MOST];
    int source_count;
    int destination_count;
    flow_type type;
} flow_line;

/* What is wrong with a line, or NULL. */
static const char *parse_line(const metro_flows *f, flow_line *l, metro_flow *flow)
{
    static const char *const types[TYPES] = {"unicast", "multicast", "reduce", "gather", "scatter"};
    bool many_to_one;

    for (l->type = UNICAST; l->type < TYPES && strcmp(types[l->type], l->cells[1]) != 0;) {
        l->type = (flow_type)(l->type + 1);
    }
    if (l->type == TYPES) {
        return "the type is none of unicast, multicast, reduce, gather, scatter";
    }
    l->source_count = parse_nodes(f, l->cells[2], l->sources);
    l->destination_count = parse_nodes(f, l->cells[3], l->destinations);
    many_to_one = l->type == REDUCE || l->type == GATHER;
    if (l->source_count < 0 || l->destination_count < 0) {
        return "a list holds something that is no node of the mesh";
    }
    if ((many_to_one ? l->destination_count : l->source_count) != 1 ||
        (l->type == UNICAST && l->destination_count != 1)) {
        return "there are more ends than the type has";
    }
    *flow = (metro_flow){.due = METRO_CYCLE_MOST};
    if (!parse_i64(l->cells[0], 0, INT64_MAX, &flow->id) ||
        !parse_i64(l->cells[4], 0, METRO_BYTES_MOST, &flow->bytes) ||
        !parse_i64(l->cells[5], 0, METRO_CYCLE_MOST, &flow->release) ||
        (l->cells[6][0] != '\0' && !parse_i64(l->cells[6], 0, METRO_CYCLE_MOST, &flow->due)) ||
        (l->cells[7][0] != '\0' && !parse_i64(l->cells[7], 0, INT64_MAX, &flow->group))) {
        return "id, bytes, release, due or group is no number that it may be";
    }
    return NULL;
}

static spry_status add_line(metro_flows *f, flow_line *l, metro_flow *flow, spry_error *error)
{
    bool many_to_one = l->type == REDUCE || l->type == GATHER;
    int *many = many_to_one ? l->sources : l->destinations;
    int count = many_to_one ? l->source_count : l->destination_count;
    spry_status status = SPRY_OK;

    flow->one = many_to_one ? l->destinations[0] : l->sources[0];
    flow->is_reduce = l->type == REDUCE;
    if (l->type != GATHER && l->type != SCATTER) {
        flow->many = many;
        flow->count = count;
        return metro_flows_add(f, flow, error);
    }
    for (int i = 0; i < count && status == SPRY_OK; i++) {
        int end = l->destinations[0];
        metro_flow part = *flow;

        part.one = l->type == GATHER ? many[i] : flow->one;
        part.many = l->type == GATHER ? &end : &many[i];
        part.count = 1;
        status = metro_flows_add(f, &part, error);
    }
    return status;
}

static spry_status take_line(metro_flows *f, csv_rest *line, flow_line *l, bool is_first,
                             const char *place, spry_error *error)
{
    int count = 0;
    csv_result result = CSV_CELL;
    const char *problem = "there are not the eight columns of a flow";
    metro_flow flow;

    for (; count < COLUMNS && result == CSV_CELL; count++) {
        result = csv_cell(line, ',', l->cells[count]);
    }
    if (count == COLUMNS && result == CSV_CELL && !line->open) {
        if (is_first && strcmp(l->cells[0], "id") == 0) {
            return SPRY_OK;
        }
        problem = parse_line(f, l, &flow);
    }
    return problem == NULL
               ? add_line(f, l, &flow, error)
               : spry_fail(error, SPRY_BAD_INPUT, place,
                           "write id,type,src,dst list,bytes,release,due,group", "%s", problem);
}

spry_status metro_flows_read(metro_flows *f, const char *path, spry_error *error)
{
    file_map map = {0};
    spry_status status = file_map_open(path, FILE_MOST, &map, error);
    flow_line *l;
    csv_rest text;
    csv_rest line;

    if (status != SPRY_OK) {
        return status;
    }
    l = arena_zeroed(&f->memory, sizeof *l);
    if (l == NULL) {
        status = alloc_failed(error, sizeof *l);
    }
    text = csv_begin((const char *)map.data, map.size);
    for (size_t number = 1; status == SPRY_OK && csv_line(&text, &line); number++) {
        char place[PLACE_SIZE];

        (void)snprintf(place, sizeof place, "%s:%zu", path, number);
        if (line.open) {
            status = take_line(f, &line, l, number == 1, place, error);
        }
    }
    file_map_close(&map);
    return status;
}
