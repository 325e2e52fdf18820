/* The bodies of functions, and which blocks share one. */
#include "adapt/spatial_function.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "model/insert.h"

enum { MOST_INPUTS = 4 + 2 * SPATIAL_CONVS, NAME_SIZE = 64, MOST_FUNCTIONS = 1000 };

static const char *const domain = "ai.spry";

spatial_cell spatial_cell_of(const spatial_block *b, int64_t granularity)
{
    if (granularity >= b->height && granularity >= b->width) {
        return (spatial_cell){SPATIAL_WHOLE, false};
    }
    return (spatial_cell){granularity * b->stride,
                          b->from_height % (granularity * b->stride) != 0 ||
                              b->from_width % (granularity * b->stride) != 0};
}

/* ---- the body ---- */

typedef struct writer {
    graph *body;
    const graph *s;
    const spatial_block *b;
    const spatial_cell *cell;
    int32_t opset;
    int32_t inputs[MOST_INPUTS];
    int32_t input_count;
    spry_status status;
    spry_error *error;
} writer;

static int32_t add_input(writer *w, const char *name)
{
    int32_t id = GRAPH_NONE;

    if (w->status == SPRY_OK) {
        w->status = graph_add_value(w->body, name, &id, w->error);
        w->inputs[w->input_count++] = id;
    }
    return id;
}

static int32_t add_node(writer *w, const char *type, const char *base, const char *suffix,
                        int32_t count, const int32_t *inputs)
{
    insert_node_of what = {
        .type = type, .opset = w->opset, .base = base, .suffix = suffix, .input_count = count};
    int32_t node;
    int32_t result = GRAPH_NONE;

    for (int32_t i = 0; i < count; i++) {
        what.inputs[i] = inputs[i];
    }
    if (w->status == SPRY_OK) {
        w->status = insert_node(w->body, &what, &node, &result, w->error);
    }
    return w->status == SPRY_OK ? result : GRAPH_NONE;
}

static void set_ints(writer *w, int32_t id, const char *name, int64_t count, const int64_t *ints)
{
    if (w->status == SPRY_OK) {
        w->status =
            graph_set_ints(w->body, w->body->values[id].producer, name, count, ints, w->error);
    }
}

static void set_int(writer *w, int32_t id, const char *name, int64_t number)
{
    if (w->status == SPRY_OK) {
        w->status = graph_set_int(w->body, w->body->values[id].producer, name, number, w->error);
    }
}

static void set_text(writer *w, int32_t id, const char *name, const char *text)
{
    if (w->status == SPRY_OK) {
        w->status = graph_set_string(w->body, w->body->values[id].producer, name, text, w->error);
    }
}

static int32_t add_pool(writer *w, int32_t x)
{
    int64_t side[] = {w->cell->side, w->cell->side};
    int32_t pooled;

    if (w->cell->side == SPATIAL_WHOLE) {
        return add_node(w, "GlobalAveragePool", "mask", "pool", 1, &x);
    }
    if (w->cell->side == 1) {
        return x;
    }
    pooled = add_node(w, "AveragePool", "mask", "pool", 1, &x);
    set_ints(w, pooled, "kernel_shape", 2, side);
    set_ints(w, pooled, "strides", 2, side);
    if (w->cell->is_ragged) {
        set_int(w, pooled, "ceil_mode", 1);
    }
    return pooled;
}

/* The logits to keep and to skip. */
static void split_logits(writer *w, int32_t logits, int32_t *keep, int32_t *skip)
{
    enum { PARTS_SINCE = 18 };
    int32_t node;

    *keep = add_node(w, "Split", "mask", "keep", 1, &logits);
    if (w->status != SPRY_OK) {
        return;
    }
    node = w->body->values[*keep].producer;
    w->status = graph_add_value(w->body, "mask_skip", skip, w->error);
    if (w->status == SPRY_OK) {
        int32_t *outputs = arena_array(w->body->memory, 2, sizeof *outputs);

        if (outputs == NULL) {
            w->status = alloc_failed(w->error, 2 * sizeof *outputs);
            return;
        }
        outputs[0] = *keep;
        outputs[1] = GRAPH_NONE;
        w->body->nodes[node].outputs = outputs;
        w->body->nodes[node].output_count = 2;
        graph_set_output(w->body, node, 1, *skip);
    }
    set_int(w, *keep, "axis", 1);
    if (w->opset >= PARTS_SINCE) {
        set_int(w, *keep, "num_outputs", 2);
    }
}

/* Two elements of the shape of `of`: first and second, or third and fourth. */
static int32_t add_sizes(writer *w, int32_t of, const char *what, int64_t first)
{
    char name[NAME_SIZE];
    int32_t inputs[2];

    (void)snprintf(name, sizeof name, "%s_shape", what);
    inputs[0] = add_node(w, "Shape", "mask", name, 1, &of);
    (void)snprintf(name, sizeof name, "%s_taken", what);
    inputs[1] = add_node(w, "Constant", "mask", name, 0, NULL);
    set_ints(w, inputs[1], "value_ints", 2, (int64_t[]){first, first + 1});
    return add_node(w, "Gather", "mask", what, 2, inputs);
}

/* The mask over the map of `branch`. */
static int32_t add_mask(writer *w, int32_t x, int32_t weight, int32_t bias, int32_t branch)
{
    int32_t pooled = add_pool(w, x);
    int32_t logits = add_node(w, "Conv", "mask", "logits", 3, (int32_t[]){pooled, weight, bias});
    int32_t keep = GRAPH_NONE;
    int32_t skip = GRAPH_NONE;
    int32_t cells;
    int32_t sizes;
    int32_t mask;

    split_logits(w, logits, &keep, &skip);
    keep = add_node(w, "GreaterOrEqual", "mask", "choice", 2, (int32_t[]){keep, skip});
    cells = add_node(w, "Cast", "mask", "cells", 1, &keep);
    set_int(w, cells, "to", SPRY_DTYPE_F32);
    sizes = add_node(
        w, "Concat", "mask", "sizes", 2,
        (int32_t[]){add_sizes(w, cells, "cell_sizes", 0), add_sizes(w, branch, "map_sizes", 2)});
    set_int(w, sizes, "axis", 0);
    mask =
        add_node(w, "Resize", "mask", "map", 4, (int32_t[]){cells, GRAPH_NONE, GRAPH_NONE, sizes});
    set_text(w, mask, "mode", "nearest");
    set_text(w, mask, "coordinate_transformation_mode", "asymmetric");
    set_text(w, mask, "nearest_mode", "floor");
    return mask;
}

static int32_t add_branch(writer *w, int32_t x)
{
    for (int i = 0; i < w->b->conv_count; i++) {
        const graph_node *n = spatial_conv(w->s, w->b->convs[i]);
        bool has_bias = n->input_count > 2 && n->inputs[2] != GRAPH_NONE;
        char name[NAME_SIZE];
        int32_t inputs[3] = {x, GRAPH_NONE, GRAPH_NONE};

        (void)snprintf(name, sizeof name, "conv%d_weight", i + 1);
        inputs[1] = add_input(w, name);
        if (has_bias) {
            (void)snprintf(name, sizeof name, "conv%d_bias", i + 1);
            inputs[2] = add_input(w, name);
        }
        (void)snprintf(name, sizeof name, "conv%d", i + 1);
        x = add_node(w, "Conv", "branch", name, has_bias ? 3 : 2, inputs);
        if (w->status == SPRY_OK) {
            graph_node *made = &w->body->nodes[w->body->values[x].producer];

            made->attribute_count = n->attribute_count;
            w->status = graph_copy_attributes(w->body, n->attributes, n->attribute_count,
                                              &made->attributes, w->error);
        }
        if (i + 1 < w->b->conv_count) {
            (void)snprintf(name, sizeof name, "relu%d", i + 1);
            x = add_node(w, "Relu", "branch", name, 1, &x);
        }
    }
    return x;
}

static spry_status close_body(writer *w, int32_t y)
{
    size_t count = (size_t)w->input_count + 1;
    int32_t *ports = arena_array(w->body->memory, count, sizeof *ports);

    if (w->status != SPRY_OK) {
        return w->status;
    }
    if (ports == NULL) {
        return alloc_failed(w->error, count * sizeof *ports);
    }
    memcpy(ports, w->inputs, (size_t)w->input_count * sizeof *ports);
    ports[w->input_count] = y;
    w->body->inputs = ports;
    w->body->input_count = w->input_count;
    w->body->outputs = ports + w->input_count;
    w->body->output_count = 1;
    return SPRY_OK;
}

static spry_status write_body(writer *w, arena *memory)
{
    int32_t x;
    int32_t shortcut;
    int32_t weight;
    int32_t bias;
    int32_t branch;
    int32_t mask;
    int32_t kept;
    int32_t sum;

    w->status = graph_create(memory, NULL, &w->body, w->error);
    x = add_input(w, "x");
    shortcut = add_input(w, "shortcut");
    weight = add_input(w, "masker_weight");
    bias = add_input(w, "masker_bias");
    branch = add_branch(w, x);
    mask = add_mask(w, x, weight, bias, branch);
    kept = add_node(w, "Mul", "block", "kept", 2, (int32_t[]){branch, mask});
    sum = add_node(w, "Add", "block", "sum", 2, (int32_t[]){kept, shortcut});
    return close_body(w, add_node(w, "Relu", "block", "y", 1, &sum));
}

/* ---- which function ---- */

static bool same_attribute(const graph_attribute *a, const graph_attribute *b)
{
    if (b == NULL || a->kind != b->kind || a->count != b->count) {
        return false;
    }
    switch (a->kind) {
    case GRAPH_ATTRIBUTE_INT:
    case GRAPH_ATTRIBUTE_INTS:
        return a->count == 0 ||
               memcmp(a->as.ints, b->as.ints, (size_t)a->count * sizeof *a->as.ints) == 0;
    case GRAPH_ATTRIBUTE_STRING:
        return a->as.strings[0].size == b->as.strings[0].size &&
               memcmp(a->as.strings[0].data, b->as.strings[0].data, a->as.strings[0].size) == 0;
    default: return false;
    }
}

static bool same_node(const graph_node *a, const graph_node *b)
{
    if (strcmp(a->type, b->type) != 0 || a->input_count != b->input_count ||
        a->attribute_count != b->attribute_count) {
        return false;
    }
    for (int32_t i = 0; i < a->attribute_count; i++) {
        if (!same_attribute(&a->attributes[i], graph_attribute_find(b, a->attributes[i].name))) {
            return false;
        }
    }
    return true;
}

/* Bodies are written by the same rules: they are the same when their nodes are, in order. */
static bool same_body(const graph *a, const graph *b)
{
    bool same = a->node_count == b->node_count && a->input_count == b->input_count &&
                a->value_count == b->value_count;

    for (int32_t i = 0; same && i < a->node_count; i++) {
        same = same_node(&a->nodes[i], &b->nodes[i]);
    }
    return same;
}

spry_status spatial_function_add(model *m, const graph *s, const spatial_block *b,
                                 const spatial_cell *cell, const char **name, spry_error *error)
{
    const char *kind = b->conv_count == 2 ? "SpatialBasicBlock" : "SpatialBottleneck";
    writer w = {
        .s = s, .b = b, .cell = cell, .opset = (int32_t)model_opset_version(m, ""), .error = error};
    model_opset *imports = arena_array(&m->memory, 1, sizeof *imports);
    spry_status status =
        imports != NULL ? write_body(&w, &m->memory) : alloc_failed(error, sizeof *imports);

    for (int i = 1; status == SPRY_OK && i < MOST_FUNCTIONS; i++) {
        char text[NAME_SIZE];
        const model_function *present;

        (void)snprintf(text, sizeof text, i > 1 ? "%s%d" : "%s", kind, i);
        present = model_find_function(m, domain, text, "");
        if (present != NULL && same_body(present->body, w.body)) {
            *name = present->name;
            return SPRY_OK;
        }
        if (present == NULL) {
            model_function f = {.domain = domain,
                                .overload = "",
                                .doc = "A residual block that computes where its mask says "
                                       "(arXiv 2210.06223)",
                                .opsets = imports,
                                .opset_count = 1,
                                .body = w.body};

            f.name = *name = graph_text(m->main, text);
            *imports = (model_opset){"", w.opset};
            return f.name != NULL ? model_add_function(m, &f, error)
                                  : alloc_failed(error, sizeof text);
        }
    }
    return status == SPRY_OK
               ? spry_fail(error, SPRY_LIMIT, m->path, NULL,
                           "the blocks have more than %d structures", (int)MOST_FUNCTIONS)
               : status;
}
