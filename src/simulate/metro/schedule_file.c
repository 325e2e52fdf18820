#include "simulate/metro/schedule_file.h"

#include <string.h>

#include "base/alloc.h"

const char *const metro_headers_names[] = {"none", "chunk", "packet", NULL};

enum { ENTRIES_MOST = 1 << 24 };

/* ---- writing ---- */

static void write_flow(const metro_schedule *s, int index, json_writer *json)
{
    const metro_flow *flow = &s->flows->items[index];
    const metro_tree *tree = s->trees[index];

    json_write_object(json, NULL);
    json_write_i64(json, "id", flow->id);
    json_write_string(json, "type", flow->is_reduce ? "reduce" : "move");
    json_write_i64(json, "one", flow->one);
    json_write_array(json, "many");
    for (int i = 0; i < flow->count; i++) {
        json_write_i64(json, NULL, flow->many[i]);
    }
    json_write_end(json);
    json_write_i64(json, "bytes", flow->bytes);
    json_write_i64(json, "release", flow->release);
    json_write_i64(json, "due", flow->due);
    json_write_array(json, "links");
    for (int i = 0; i < tree->count; i++) {
        json_write_array(json, NULL);
        json_write_i64(json, NULL, tree->steps[i].link);
        json_write_i64(json, NULL, tree->steps[i].depth);
        json_write_end(json);
    }
    json_write_end(json);
    json_write_end(json);
}

static void write_row(json_writer *json, const int64_t *numbers, int count)
{
    json_write_array(json, NULL);
    for (int i = 0; i < count; i++) {
        json_write_i64(json, NULL, numbers[i]);
    }
    json_write_end(json);
}

void metro_schedule_write(const metro_schedule *s, const metro_program *p, json_writer *json)
{
    json_write_i64(json, "width", s->flows->width);
    json_write_i64(json, "height", s->flows->height);
    json_write_i64(json, "flit_bits", s->options.flit_bits);
    json_write_i64(json, "chunk_flits", s->options.chunk_flits);
    json_write_string(json, "headers", metro_headers_names[s->options.headers]);
    json_write_i64(json, "hop_cycles", METRO_HOP);
    json_write_i64(json, "makespan", s->makespan);
    json_write_array(json, "flows");
    for (int i = 0; i < s->flows->count; i++) {
        write_flow(s, i, json);
    }
    json_write_end(json);
    json_write_array(json, "injections");
    for (size_t i = 0; i < s->count; i++) {
        const metro_injection *c = &s->items[i];

        write_row(json, (int64_t[]){c->flow, c->start, c->flits}, 3);
    }
    json_write_end(json);
    json_write_array(json, "tables");
    for (size_t i = 0; i < p->count; i++) {
        const metro_entry *e = &p->entries[i];

        write_row(json, (int64_t[]){e->start, e->end, e->output, e->inputs}, 4);
    }
    json_write_end(json);
}

/* ---- reading ---- */

/* An array of `count` whole numbers of 0 to `most`. */
static spry_status read_row(const json_node *row, int count, int64_t most, int64_t *numbers,
                            spry_error *error)
{
    spry_status status = json_as_array(row, error);

    if (status == SPRY_OK && json_length(row) != (size_t)count) {
        return json_refuse(row, "does not hold as many numbers as it should", error);
    }
    for (int i = 0; i < count && status == SPRY_OK; i++) {
        json_node item;

        json_item(row, (size_t)i, &item);
        status = json_as_i64(&item, 0, most, &numbers[i], error);
    }
    return status;
}

static spry_status read_ends(const json_node *from, metro_flows *flows, metro_flow *flow,
                             spry_error *error)
{
    json_node many;
    spry_status status = json_get_array(from, "many", &many, error);
    int64_t node;

    if (status != SPRY_OK) {
        return status;
    }
    flow->count = (int)json_length(&many);
    flow->many = arena_array(&flows->memory, (size_t)flow->count, sizeof *flow->many);
    if (flow->many == NULL) {
        return alloc_failed(error, (size_t)flow->count * sizeof *flow->many);
    }
    for (int i = 0; i < flow->count && status == SPRY_OK; i++) {
        json_node item;

        json_item(&many, (size_t)i, &item);
        status = json_as_i64(&item, 0, (int64_t)flows->width * flows->height - 1, &node, error);
        flow->many[i] = (int)node;
    }
    return status;
}

static spry_status read_flow(const json_node *from, metro_flows *flows, spry_error *error)
{
    const char *type = NULL;
    metro_flow flow = {0};
    int64_t one = 0;
    spry_status status = json_get_i64(from, "id", 0, INT64_MAX, &flow.id, error);

    if (status == SPRY_OK) {
        status = json_get_string(from, "type", &type, error);
    }
    if (status == SPRY_OK) {
        status =
            json_get_i64(from, "one", 0, (int64_t)flows->width * flows->height - 1, &one, error);
    }
    if (status == SPRY_OK) {
        status = json_get_i64(from, "bytes", 0, METRO_BYTES_MOST, &flow.bytes, error);
    }
    if (status == SPRY_OK) {
        status = json_get_i64(from, "release", 0, METRO_CYCLE_MOST, &flow.release, error);
    }
    if (status == SPRY_OK) {
        status = json_get_i64(from, "due", 0, METRO_CYCLE_MOST, &flow.due, error);
    }
    if (status == SPRY_OK) {
        status = read_ends(from, flows, &flow, error);
    }
    if (status == SPRY_OK) {
        flow.one = (int)one;
        flow.is_reduce = strcmp(type, "reduce") == 0;
        status = flow.is_reduce || strcmp(type, "move") == 0
                     ? metro_flows_add(flows, &flow, error)
                     : json_refuse(from, "has a type that is neither move nor reduce", error);
    }
    return status;
}

/* ---- is it a tree? ---- */

static int64_t depth_of(const metro_flow *flow, const metro_tree *tree, int step)
{
    return flow->is_reduce ? tree->depth - tree->steps[step].depth : tree->steps[step].depth;
}

/* Where a link begins and ends, seen from the flow's one end; -1 beyond a node. */
static void ends_of(const metro_flows *f, const metro_flow *flow, int link, int *from, int *to)
{
    const int steps[METRO_LINKS] = {1, -1, -f->width, f->width, 0, 0};
    int node = link / METRO_LINKS;
    int direction = link % METRO_LINKS;
    int other = node + steps[direction];
    bool is_off = (direction == METRO_EAST && node % f->width == f->width - 1) ||
                  (direction == METRO_WEST && node % f->width == 0) || other < 0 ||
                  other >= f->width * f->height;

    *from = direction == METRO_INJECT ? -1 : node;
    *to = direction == METRO_EJECT || is_off ? -1 : other;
    if (flow->is_reduce) {
        int swap = *from;

        *from = *to;
        *to = swap;
    }
}

/* Every node is entered once, one link deeper than the one before, beginning at the flow's one end;
 * every other end is left once. `depths` by node: 0 outside of the tree. */
static bool is_tree(const metro_flows *f, const metro_flow *flow, const metro_tree *tree,
                    int64_t *depths)
{
    int nodes = f->width * f->height;
    int reached = 0;
    bool grows = true;

    memset(depths, 0, (size_t)nodes * sizeof *depths);
    for (int i = 0; i < tree->count; i++) {
        int from;
        int to;

        ends_of(f, flow, tree->steps[i].link, &from, &to);
        if (to >= 0 && depths[to] != 0) {
            return false;
        }
        if (to >= 0) {
            depths[to] = depth_of(flow, tree, i) + 1;
        }
        grows &= from >= 0 || to == flow->one;
    }
    for (int i = 0; i < tree->count && grows; i++) {
        int from;
        int to;

        ends_of(f, flow, tree->steps[i].link, &from, &to);
        grows = from < 0 ? depth_of(flow, tree, i) == 0 : depths[from] == depth_of(flow, tree, i);
    }
    for (int i = 0; i < flow->count && grows; i++) {
        int found = 0;

        for (int k = 0; k < tree->count; k++) {
            int link = tree->steps[k].link;

            found += link ==
                     flow->many[i] * METRO_LINKS + (flow->is_reduce ? METRO_INJECT : METRO_EJECT);
        }
        reached += found == 1;
    }
    return grows && reached == flow->count;
}

static spry_status read_tree(const json_node *from, metro_schedule *s, int index, spry_error *error)
{
    const metro_flow *flow = &s->flows->items[index];
    size_t nodes = (size_t)s->link_count / METRO_LINKS;
    int64_t *depths = arena_array(&s->memory, nodes, sizeof *depths);
    metro_tree *tree = arena_zeroed(&s->memory, sizeof *tree);
    json_node links;
    spry_status status = json_get_array(from, "links", &links, error);

    if (status == SPRY_OK && (depths == NULL || tree == NULL)) {
        status = alloc_failed(error, nodes * sizeof *depths);
    }
    if (status == SPRY_OK && json_length(&links) > (size_t)s->link_count) {
        status = json_refuse(&links, "has more links than the mesh", error);
    }
    if (status == SPRY_OK) {
        tree->steps = arena_array(&s->memory, json_length(&links), sizeof *tree->steps);
        status = tree->steps == NULL ? alloc_failed(error, json_length(&links)) : SPRY_OK;
    }
    for (size_t i = 0; status == SPRY_OK && i < json_length(&links); i++) {
        int64_t row[2] = {0};
        json_node item;

        json_item(&links, i, &item);
        status = read_row(&item, 2, s->link_count - 1, row, error);
        tree->steps[tree->count++] = (metro_step){(int)row[0], (int)row[1]};
        tree->depth = row[1] > tree->depth ? (int)row[1] : tree->depth;
    }
    s->trees[index] = tree;
    return status != SPRY_OK || is_tree(s->flows, flow, tree, depths)
               ? status
               : json_refuse(&links, "is no tree from the flow's one end to all others", error);
}

static spry_status read_injections(const json_node *from, metro_schedule *s, spry_error *error)
{
    spry_allocator own = alloc_resolve(NULL);
    size_t flows = (size_t)s->flows->count;
    int64_t *sums = arena_array(&s->memory, flows, sizeof *sums);
    json_node list;
    spry_status status = json_get_array(from, "injections", &list, error);

    if (status == SPRY_OK && sums == NULL) {
        status = alloc_failed(error, flows * sizeof *sums);
    }
    for (size_t i = 0; status == SPRY_OK && i < json_length(&list); i++) {
        int64_t row[3] = {0};
        json_node item;

        json_item(&list, i, &item);
        status = read_row(&item, 3, METRO_CYCLE_MOST, row, error);
        if (status == SPRY_OK && row[0] >= s->flows->count) {
            status = json_refuse(&item, "is of no flow", error);
        }
        if (status == SPRY_OK) {
            status = alloc_grow(&own, (void **)&s->items, &s->capacity, s->count + 1,
                                sizeof *s->items, METRO_CHUNKS_MOST, error);
        }
        if (status == SPRY_OK) {
            s->items[s->count++] = (metro_injection){(int)row[0], row[1], row[2]};
            sums[row[0]] += row[2];
        }
    }
    for (size_t i = 0; status == SPRY_OK && i < flows; i++) {
        bool moves = s->trees[i]->count > 0;

        if (sums[i] != (moves ? metro_flits(&s->options, &s->flows->items[i]) : 0)) {
            status = json_refuse(&list, "does not move every flow as a whole", error);
        }
    }
    return status;
}

static spry_status read_tables(const json_node *from, const metro_schedule *s, metro_program *p,
                               spry_error *error)
{
    spry_allocator own = alloc_resolve(NULL);
    json_node list;
    spry_status status = json_get_array(from, "tables", &list, error);

    for (size_t i = 0; status == SPRY_OK && i < json_length(&list); i++) {
        int64_t row[4] = {0};
        json_node item;

        json_item(&list, i, &item);
        status = read_row(&item, 4, METRO_CYCLE_MOST, row, error);
        if (status == SPRY_OK && (row[2] >= s->link_count || row[3] >= 1 << METRO_EJECT)) {
            status = json_refuse(&item, "has an output or inputs that no router has", error);
        }
        if (status == SPRY_OK && i > 0 && row[0] < p->entries[i - 1].start) {
            status = json_refuse(&item, "starts before the one in front of it", error);
        }
        if (status == SPRY_OK) {
            status = alloc_grow(&own, (void **)&p->entries, &p->capacity, p->count + 1,
                                sizeof *p->entries, ENTRIES_MOST, error);
        }
        if (status == SPRY_OK) {
            p->entries[p->count++] = (metro_entry){row[0], row[1], (int)row[2], (unsigned)row[3]};
        }
    }
    return status;
}

static spry_status read_options(const json_node *from, metro_options *o, int *width, int *height,
                                spry_error *error)
{
    const char *headers = NULL;
    int64_t numbers[5] = {0};
    static const struct {
        const char *key;
        int64_t least, most;
    } keys[5] = {{"width", 1, METRO_SIDE_MOST},
                 {"height", 1, METRO_SIDE_MOST},
                 {"flit_bits", 8, 65536},
                 {"chunk_flits", 1, INT32_MAX},
                 {"hop_cycles", METRO_HOP, METRO_HOP}};
    spry_status status = json_get_string(from, "headers", &headers, error);

    for (int i = 0; i < 5 && status == SPRY_OK; i++) {
        status = json_get_i64(from, keys[i].key, keys[i].least, keys[i].most, &numbers[i], error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    *width = (int)numbers[0];
    *height = (int)numbers[1];
    *o = (metro_options){.flit_bits = (int)numbers[2], .chunk_flits = (int)numbers[3]};
    while (o->headers < METRO_HEADERS_COUNT &&
           strcmp(metro_headers_names[o->headers], headers) != 0) {
        o->headers++;
    }
    return o->headers < METRO_HEADERS_COUNT
               ? SPRY_OK
               : json_refuse(from, "has headers of a kind that there is not", error);
}

spry_status metro_schedule_read(const json_node *from, metro_flows *flows, metro_schedule *s,
                                metro_program *p, spry_error *error)
{
    static const char *const keys[] = {"name",        "width",      "height",     "flit_bits",
                                       "chunk_flits", "headers",    "hop_cycles", "makespan",
                                       "flows",       "injections", "tables"};
    metro_options o = {0};
    int width = 1;
    int height = 1;
    json_node list;
    json_node item;
    spry_status status = json_check_keys(from, keys, sizeof keys / sizeof *keys, error);

    *s = (metro_schedule){0};
    *p = (metro_program){0};
    if (status == SPRY_OK) {
        status = read_options(from, &o, &width, &height, error);
    }
    metro_flows_init(flows, width, height);
    if (status == SPRY_OK) {
        status = json_get_array(from, "flows", &list, error);
    }
    for (size_t i = 0; status == SPRY_OK && i < json_length(&list); i++) {
        json_item(&list, i, &item);
        status = read_flow(&item, flows, error);
    }
    if (status == SPRY_OK) {
        status = metro_schedule_init(flows, &o, s, error);
    }
    for (int i = 0; status == SPRY_OK && i < flows->count; i++) {
        json_item(&list, (size_t)i, &item);
        status = read_tree(&item, s, i, error);
    }
    if (status == SPRY_OK) {
        status = json_get_i64(from, "makespan", 0, METRO_CYCLE_MOST, &s->makespan, error);
    }
    if (status == SPRY_OK) {
        status = read_injections(from, s, error);
    }
    return status == SPRY_OK ? read_tables(from, s, p, error) : status;
}
