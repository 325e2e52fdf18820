/* Follows weights forward through the graph. */
#include "train/gradient/weight_readers.h"

#include <string.h>

#include "base/alloc.h"

typedef struct finder {
    graph *g;
    const int32_t *of;
    int32_t count;
    int32_t *source; /* per value: the weight that it is, or is moved from; GRAPH_NONE */
    int32_t *parts;  /* per value: the first of its windows; GRAPH_NONE */
    weight_window *windows;
    int32_t window_count;
    int32_t window_capacity;
    weight_reader *readers;
    int32_t reader_count;
    spry_error *error;
} finder;

spry_status weight_readers_refuse(const graph *g, int32_t node, const char *why, spry_error *error)
{
    char label[SPRY_ERROR_WHERE_SIZE];

    return spry_fail(error, SPRY_UNSUPPORTED,
                     graph_node_label(g, &g->nodes[node], label, sizeof label),
                     "freeze its weights", "gradients cannot be clipped per example: %s", why);
}

static spry_status refuse(const finder *b, int32_t node, const char *why)
{
    return weight_readers_refuse(b->g, node, why, b->error);
}

/* ---- who reads what ---- */

/* The weight's numbers, in another order or shape. */
static bool moves(const graph_node *n)
{
    static const char *const types[] = {"Identity",  "Transpose", "Reshape",
                                        "Unsqueeze", "Squeeze",   "Flatten"};

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (graph_node_is(n, types[i])) {
            return true;
        }
    }
    return false;
}

/* The reader of `node`, which is the last or a new one. */
static weight_reader *reader_of(finder *b, int32_t node)
{
    weight_reader *r = b->reader_count > 0 ? &b->readers[b->reader_count - 1] : NULL;

    if (r == NULL || r->node != node) {
        r = &b->readers[b->reader_count++];
        *r = (weight_reader){.node = node,
                             .output = b->g->nodes[node].outputs[0],
                             .dy = GRAPH_NONE,
                             .weight = {GRAPH_NONE, GRAPH_NONE, GRAPH_NONE},
                             .parts = GRAPH_NONE};
    }
    return r;
}

static spry_status mark_read(finder *b, int32_t node, int32_t weight, bool *is_read)
{
    if (is_read[weight]) {
        return refuse(b, node, "another node reads the same weight");
    }
    is_read[weight] = true;
    return SPRY_OK;
}

/* What port `port` of the node holds of weights. */
static spry_status add_reader(finder *b, int32_t node, int port, bool *is_read)
{
    int32_t id = b->g->nodes[node].inputs[port];
    spry_status status = SPRY_OK;

    if (port >= WEIGHT_PORTS || (b->parts[id] != GRAPH_NONE && port != 1)) {
        return refuse(b, node, "it holds a weight where none is expected");
    }
    if (b->source[id] != GRAPH_NONE) {
        status = mark_read(b, node, b->source[id], is_read);
        reader_of(b, node)->weight[port] = b->source[id];
        return status;
    }
    for (int32_t w = b->parts[id]; w != GRAPH_NONE && status == SPRY_OK; w = b->windows[w].next) {
        status = mark_read(b, node, b->windows[w].weight, is_read);
    }
    reader_of(b, node)->parts = b->parts[id];
    return status;
}

/* ---- matrices made of weights ---- */

static spry_status add_window(finder *b, int32_t to, weight_window w)
{
    if (b->window_count == b->window_capacity) {
        int32_t capacity = 2 * b->window_capacity + 16;
        weight_window *grown = arena_array(b->g->memory, (size_t)capacity, sizeof *grown);

        if (grown == NULL) {
            return alloc_failed(b->error, (size_t)capacity * sizeof *grown);
        }
        for (int32_t i = 0; i < b->window_count; i++) {
            grown[i] = b->windows[i];
        }
        b->windows = grown;
        b->window_capacity = capacity;
    }
    w.next = b->parts[to];
    b->parts[to] = b->window_count;
    b->windows[b->window_count++] = w;
    return SPRY_OK;
}

/* The windows of `from` as they lie in `to`, from (row, column) on. */
static spry_status move_windows(finder *b, int32_t from, int32_t to, int64_t row, int64_t column)
{
    const graph_type *type = &b->g->values[from].type;
    spry_status status = SPRY_OK;

    if (b->source[from] != GRAPH_NONE) {
        return add_window(b, to,
                          (weight_window){.weight = b->source[from],
                                          .value = from,
                                          .row = row,
                                          .column = column,
                                          .rows = type->dims[0].size,
                                          .columns = type->dims[1].size});
    }
    for (int32_t i = b->parts[from]; i != GRAPH_NONE && status == SPRY_OK;) {
        weight_window w = b->windows[i];

        i = w.next;
        w.row += row;
        w.column += column;
        status = add_window(b, to, w);
    }
    return status;
}

static bool is_of_weights(const finder *b, int32_t id)
{
    return id != GRAPH_NONE && (b->source[id] != GRAPH_NONE || b->parts[id] != GRAPH_NONE);
}

/* The zeros before a matrix, where nothing but zeros is put around it. */
static bool read_pads(const finder *b, const graph_node *n, int64_t *before)
{
    const tensor *given = n->input_count > 1 ? b->g->values[n->inputs[1]].constant : NULL;
    int64_t count = 0;
    const int64_t *pads = graph_attribute_ints(n, "pads", &count);

    if (given != NULL && given->dtype == SPRY_DTYPE_I64) {
        pads = given->data;
        count = tensor_count(given);
    }
    if (pads == NULL || count != 4 || n->input_count > 2 ||
        strcmp(graph_attribute_string(n, "mode", "constant"), "constant") != 0 ||
        graph_attribute_float(n, "value", 0.0f) != 0.0f || pads[0] < 0 || pads[1] < 0 ||
        pads[2] < 0 || pads[3] < 0) {
        return false;
    }
    memcpy(before, pads, 2 * sizeof *before);
    return true;
}

/* True, with the windows of the result, when the node joins or pads matrices of weights. */
static spry_status place_parts(finder *b, const graph_node *n, bool *placed)
{
    int32_t to = n->outputs[0];
    bool joins = graph_node_is(n, "Concat");
    int64_t axis = graph_attribute_int(n, "axis", 0);
    int64_t at[2] = {0, 0};
    spry_status status = SPRY_OK;

    *placed = b->g->values[to].type.rank == 2 &&
              (joins ||
               (graph_node_is(n, "Pad") && is_of_weights(b, n->inputs[0]) && read_pads(b, n, at)));
    for (int k = 0; joins && k < n->input_count; k++) {
        *placed = *placed && n->inputs[k] != GRAPH_NONE &&
                  (is_of_weights(b, n->inputs[k]) || b->g->values[n->inputs[k]].constant != NULL);
    }
    for (int k = 0; *placed && k < (joins ? n->input_count : 1) && status == SPRY_OK; k++) {
        status = move_windows(b, n->inputs[k], to, at[0], at[1]);
        if (joins) {
            at[axis < 0 ? axis + 2 : axis] +=
                b->g->values[n->inputs[k]].type.dims[axis < 0 ? axis + 2 : axis].size;
        }
    }
    return status;
}

/* Follows the weights to the nodes that read them. */
static spry_status visit_node(finder *b, int32_t node, bool *is_read)
{
    const graph_node *n = &b->g->nodes[node];
    bool placed = false;
    spry_status status;

    if (moves(n) && n->inputs[0] != GRAPH_NONE && b->source[n->inputs[0]] != GRAPH_NONE) {
        b->source[n->outputs[0]] = b->source[n->inputs[0]];
        return SPRY_OK;
    }
    status = place_parts(b, n, &placed);
    for (int k = 0; k < n->input_count && !placed && status == SPRY_OK; k++) {
        if (is_of_weights(b, n->inputs[k])) {
            status = add_reader(b, node, k, is_read);
        }
    }
    return status;
}

static spry_status find(finder *b)
{
    arena *memory = b->g->memory;
    bool *is_read = arena_array(memory, (size_t)b->count + 1, sizeof *is_read);
    spry_status status = SPRY_OK;

    b->source = arena_array(memory, (size_t)b->g->value_count + 1, sizeof *b->source);
    b->parts = arena_array(memory, (size_t)b->g->value_count + 1, sizeof *b->parts);
    b->readers = arena_array(memory, (size_t)b->count + 1, sizeof *b->readers);
    if (is_read == NULL || b->source == NULL || b->parts == NULL || b->readers == NULL) {
        return alloc_failed(b->error, (size_t)b->g->value_count * sizeof *b->source);
    }
    for (int32_t i = 0; i < b->g->value_count; i++) {
        b->source[i] = GRAPH_NONE;
        b->parts[i] = GRAPH_NONE;
    }
    for (int32_t i = 0; i < b->count; i++) {
        b->source[b->of[i]] = i;
    }
    for (int32_t i = 0; i < b->g->node_count && status == SPRY_OK; i++) {
        if (!b->g->nodes[i].removed) {
            status = visit_node(b, i, is_read);
        }
    }
    return status;
}

spry_status weight_readers_find(graph *g, const int32_t *of, int32_t count, weight_readers *found,
                                spry_error *error)
{
    finder b = {.g = g, .of = of, .count = count, .error = error};
    spry_status status = find(&b);

    *found = (weight_readers){b.readers, b.reader_count, b.windows};
    return status;
}

int32_t weight_readers_list(const weight_readers *all, const weight_reader *r, int32_t *list)
{
    int32_t count = 0;

    for (int k = 0; k < WEIGHT_PORTS; k++) {
        if (r->weight[k] != GRAPH_NONE) {
            list[count++] = r->weight[k];
        }
    }
    for (int32_t i = r->parts; i != GRAPH_NONE; i = all->windows[i].next) {
        list[count++] = all->windows[i].weight;
    }
    return count;
}
