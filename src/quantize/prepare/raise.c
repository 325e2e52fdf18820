/* What changed between operator sets, as a table; the sets' change logs say no more of operators
 * that are not in it than that types were added. */
#include "quantize/prepare/raise.h"

#include <string.h>

#include "base/alloc.h"
#include "model/graph_walk.h"
#include "model/insert.h"
#include "ops/op.h"

enum {
    OLDEST = 7, /* before, operators did not broadcast by themselves */
    IR_OF_21 = 10,
    IR_OF_13 = 7
};

/* A change of an operator's meaning or form. */
typedef struct change {
    const char *type;
    int32_t since;
    bool (*fits)(const graph *g, const graph_node *n); /* NULL: always */
    spry_status (*apply)(graph *g, int32_t node, spry_error *error);
} change;

/* ---- attributes that became inputs ---- */

static bool has_input(const graph_node *n, int32_t port)
{
    return port < n->input_count && n->inputs[port] != GRAPH_NONE;
}

/* Unlike a node's own name, never empty, and no outer graph's. */
static const char *result_name(const graph *g, int32_t node)
{
    return g->values[g->nodes[node].outputs[0]].name;
}

static spry_status ints_to_input(graph *g, int32_t node, const char *name, int32_t port,
                                 spry_error *error)
{
    int64_t count;
    const int64_t *ints = graph_attribute_ints(&g->nodes[node], name, &count);
    int32_t made;
    spry_status status;

    if (ints == NULL) {
        return SPRY_OK;
    }
    status = insert_constant(g, result_name(g, node), name, SPRY_DTYPE_I64, 1, &count, ints, &made,
                             error);
    if (status == SPRY_OK) {
        status = insert_input(g, node, port, made, error);
    }
    insert_drop_attribute(g, node, name);
    return status;
}

static spry_status float_to_input(graph *g, int32_t node, const char *name, int32_t port,
                                  spry_error *error)
{
    const graph_attribute *a = graph_attribute_find(&g->nodes[node], name);
    int32_t made;
    spry_status status;

    if (a == NULL || a->kind != GRAPH_ATTRIBUTE_FLOAT) {
        return SPRY_OK;
    }
    status = insert_constant(g, result_name(g, node), name, SPRY_DTYPE_F32, 0, NULL, a->as.floats,
                             &made, error);
    if (status == SPRY_OK) {
        status = insert_input(g, node, port, made, error);
    }
    insert_drop_attribute(g, node, name);
    return status;
}

static spry_status move_axes(graph *g, int32_t node, spry_error *error)
{
    return ints_to_input(g, node, "axes", 1, error);
}

static spry_status move_split(graph *g, int32_t node, spry_error *error)
{
    return ints_to_input(g, node, "split", 1, error);
}

static bool is_f32(const graph *g, const graph_node *n)
{
    return n->inputs[0] != GRAPH_NONE && g->values[n->inputs[0]].type.dtype == SPRY_DTYPE_F32;
}

static spry_status move_limits(graph *g, int32_t node, spry_error *error)
{
    spry_status status = float_to_input(g, node, "min", 1, error);

    return status == SPRY_OK ? float_to_input(g, node, "max", 2, error) : status;
}

static spry_status move_pads(graph *g, int32_t node, spry_error *error)
{
    spry_status status = ints_to_input(g, node, "pads", 1, error);

    return status == SPRY_OK ? float_to_input(g, node, "value", 2, error) : status;
}

/* ---- defaults and semantics ---- */

/* An axis from which on everything was one, and which is the last. */
static bool softens_last_axis(const graph *g, const graph_node *n)
{
    enum { OLD_DEFAULT = 1 };
    int64_t axis = graph_attribute_int(n, "axis", OLD_DEFAULT);
    const graph_type *x = n->inputs[0] != GRAPH_NONE ? &g->values[n->inputs[0]].type : NULL;

    return axis == -1 ||
           (x != NULL && x->kind == GRAPH_TYPE_TENSOR && x->has_rank && axis == x->rank - 1);
}

static spry_status soften_last_axis(graph *g, int32_t node, spry_error *error)
{
    return graph_set_int(g, node, "axis", -1, error);
}

static spry_status count_parts(graph *g, int32_t node, spry_error *error)
{
    return has_input(&g->nodes[node], 1)
               ? SPRY_OK
               : graph_set_int(g, node, "num_outputs", g->nodes[node].output_count, error);
}

static bool gives_one(const graph *g, const graph_node *n)
{
    (void)g;
    return n->output_count == 1;
}

static spry_status drop_ratio(graph *g, int32_t node, spry_error *error)
{
    (void)error;
    insert_drop_attribute(g, node, "ratio");
    return SPRY_OK;
}

static spry_status keep(graph *g, int32_t node, spry_error *error)
{
    (void)g;
    (void)node;
    (void)error;
    return SPRY_OK;
}

static bool is_spatial(const graph *g, const graph_node *n)
{
    (void)g;
    return graph_attribute_int(n, "spatial", 1) == 1;
}

static spry_status drop_spatial(graph *g, int32_t node, spry_error *error)
{
    (void)error;
    insert_drop_attribute(g, node, "spatial");
    return SPRY_OK;
}

static bool never(const graph *g, const graph_node *n)
{
    (void)g;
    (void)n;
    return false;
}

static bool has_kept_mode(const graph *g, const graph_node *n)
{
    (void)g;
    return strcmp(graph_attribute_string(n, "coordinate_transformation_mode", ""),
                  "tf_half_pixel_for_nn") != 0;
}

static spry_status say_old_pixels(graph *g, int32_t node, spry_error *error)
{
    static const char name[] = "coordinate_transformation_mode";

    return graph_attribute_find(&g->nodes[node], name) != NULL
               ? SPRY_OK
               : graph_set_string(g, node, name, "output_half_pixel", error);
}

static spry_status rename_mode(graph *g, int32_t node, spry_error *error)
{
    const char *mode = graph_attribute_string(&g->nodes[node], "mode", "bilinear");

    if (strcmp(mode, "bilinear") == 0) {
        return graph_set_string(g, node, "mode", "linear", error);
    }
    return strcmp(mode, "bicubic") == 0 ? graph_set_string(g, node, "mode", "cubic", error)
                                        : SPRY_OK;
}

/* In the order in which they apply. */
static const change changes[] = {
    {"BatchNormalization", 9, is_spatial, drop_spatial},
    {"Scan", 9, never, keep},
    {"Upsample", 9, never, keep},
    {"Slice", 10, never, keep},
    {"TopK", 10, never, keep},
    {"Upsample", 10, never, keep},
    {"Clip", 11, is_f32, move_limits},
    {"Pad", 11, is_f32, move_pads},
    {"Resize", 11, never, keep},
    {"Scatter", 11, never, keep},
    {"Dropout", 12, gives_one, drop_ratio},
    {"Hardmax", 13, softens_last_axis, soften_last_axis},
    {"LogSoftmax", 13, softens_last_axis, soften_last_axis},
    {"ReduceSum", 13, NULL, move_axes},
    {"Resize", 13, has_kept_mode, keep},
    {"Softmax", 13, softens_last_axis, soften_last_axis},
    {"Split", 13, NULL, move_split},
    {"Squeeze", 13, NULL, move_axes},
    {"Unsqueeze", 13, NULL, move_axes},
    {"BatchNormalization", 14, gives_one, keep},
    {"RoiAlign", 16, NULL, say_old_pixels},
    {"ReduceL1", 18, NULL, move_axes},
    {"ReduceL2", 18, NULL, move_axes},
    {"ReduceLogSum", 18, NULL, move_axes},
    {"ReduceLogSumExp", 18, NULL, move_axes},
    {"ReduceMax", 18, NULL, move_axes},
    {"ReduceMean", 18, NULL, move_axes},
    {"ReduceMin", 18, NULL, move_axes},
    {"ReduceProd", 18, NULL, move_axes},
    {"ReduceSumSquare", 18, NULL, move_axes},
    {"Split", 18, NULL, count_parts},
    {"DFT", 20, never, keep},
    {"GridSample", 20, NULL, rename_mode},
    {"GroupNormalization", 21, never, keep},
};

enum { CHANGES = sizeof changes / sizeof changes[0] };

/* ---- walking ---- */

/* Calls on every live node of `g` and its bodies; ends at the first failure. */
typedef spry_status (*visit_node)(graph *g, int32_t node, int32_t to, spry_error *error);

static spry_status visit_all(graph *g, visit_node visit, int32_t to, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < g->node_count; i++) {
        if (g->nodes[i].removed) {
            continue;
        }
        for (int32_t k = 0; status == SPRY_OK && k < g->nodes[i].attribute_count; k++) {
            int64_t count;
            graph *const *bodies = graph_attribute_subgraphs(&g->nodes[i].attributes[k], &count);

            for (int64_t b = 0; status == SPRY_OK && b < count; b++) {
                status = visit_all(bodies[b], visit, to, error);
            }
        }
        if (status == SPRY_OK) {
            status = visit(g, i, to, error);
        }
    }
    return status;
}

static bool applies(const change *c, const graph_node *n, int32_t to)
{
    return n->domain[0] == '\0' && n->opset < c->since && c->since <= to &&
           strcmp(n->type, c->type) == 0;
}

static spry_status check_node(graph *g, int32_t node, int32_t to, spry_error *error)
{
    const graph_node *n = &g->nodes[node];
    char label[256];
    bool fits = n->domain[0] != '\0' || n->opset >= OLDEST || n->opset >= to;

    for (int i = 0; i < CHANGES; i++) {
        fits = fits &&
               (!applies(&changes[i], n, to) || changes[i].fits == NULL || changes[i].fits(g, n));
    }
    return fits ? SPRY_OK
                : spry_fail(error, SPRY_UNSUPPORTED, graph_node_label(g, n, label, sizeof label),
                            "export the model again with a newer operator set",
                            "its meaning changes between operator sets %d and %d, which quantized "
                            "weights need",
                            n->opset, to);
}

static spry_status raise_node(graph *g, int32_t node, int32_t to, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int i = 0; status == SPRY_OK && i < CHANGES; i++) {
        if (applies(&changes[i], &g->nodes[node], to)) {
            status = changes[i].apply(g, node, error);
        }
    }
    if (g->nodes[node].domain[0] == '\0') {
        g->nodes[node].opset = to;
        g->nodes[node].op = op_find("", g->nodes[node].type, to);
    }
    return status;
}

/* ---- the model ---- */

bool raise_fits(const model *m, int32_t to)
{
    return model_opset_version(m, "") >= to ||
           (m->function_count == 0 && visit_all(m->main, check_node, to, NULL) == SPRY_OK);
}

static spry_status set_version(model *m, int32_t to, spry_error *error)
{
    model_opset *opsets = arena_array(&m->memory, (size_t)m->opset_count, sizeof *opsets);
    int64_t ir = to > 13 ? IR_OF_21 : IR_OF_13;

    if (opsets == NULL) {
        return alloc_failed(error, (size_t)m->opset_count * sizeof *opsets);
    }
    for (int32_t i = 0; i < m->opset_count; i++) {
        opsets[i] = m->opsets[i];
        if (opsets[i].domain[0] == '\0') {
            opsets[i].version = to;
        }
    }
    m->opsets = opsets;
    m->ir_version = m->ir_version < ir ? ir : m->ir_version;
    return SPRY_OK;
}

spry_status raise_opset(model *m, int32_t to, spry_error *error)
{
    spry_status status;

    if (model_opset_version(m, "") >= to) {
        return SPRY_OK;
    }
    if (m->function_count != 0) {
        return spry_fail(error, SPRY_UNSUPPORTED, m->path,
                         "export the model again with a newer operator set",
                         "its functions are written for operator set %d and need %d",
                         (int)model_opset_version(m, ""), to);
    }
    status = visit_all(m->main, check_node, to, error);
    if (status == SPRY_OK) {
        status = visit_all(m->main, raise_node, to, error);
    }
    return status == SPRY_OK ? set_version(m, to, error) : status;
}
