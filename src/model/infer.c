/* Asks every operator for the types of its outputs, in topological order. */
#include "model/infer.h"

#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "model/graph_walk.h"
#include "ops/op.h"

typedef struct inferrer {
    arena scratch; /* the arrays of one node */
    spry_error *error;
} inferrer;

/* ---- joining types ---- */

static bool merge_dim(graph_dim *dim, graph_dim other)
{
    if (dim->size >= 0 && other.size >= 0) {
        return dim->size == other.size;
    }
    if (other.size >= 0 || (dim->size < 0 && dim->symbol == NULL)) {
        *dim = other;
    }
    return true;
}

static bool merge_tensor(graph_type *type, const graph_type *other)
{
    if (type->dtype == SPRY_DTYPE_NONE) {
        type->dtype = other->dtype;
    }
    if (other->dtype != SPRY_DTYPE_NONE && other->dtype != type->dtype) {
        return false;
    }
    if (!other->has_rank) {
        return true;
    }
    if (!type->has_rank) {
        type->has_rank = true;
        type->rank = other->rank;
        memcpy(type->dims, other->dims, sizeof type->dims);
        return true;
    }
    if (type->rank != other->rank) {
        return false;
    }
    for (int i = 0; i < type->rank; i++) {
        if (!merge_dim(&type->dims[i], other->dims[i])) {
            return false;
        }
    }
    return true;
}

/* Is one of the elements a tensor of another type than the other? Shapes inside sequences differ
 * from item to item and are not compared. */
static bool elements_agree(const graph_type *a, const graph_type *b)
{
    while (a != NULL && b != NULL && a->kind == b->kind && a->kind != GRAPH_TYPE_TENSOR) {
        a = a->element;
        b = b->element;
    }
    if (a == NULL || b == NULL || a->kind == GRAPH_TYPE_UNKNOWN || b->kind == GRAPH_TYPE_UNKNOWN) {
        return true;
    }
    return a->kind == b->kind &&
           (a->dtype == b->dtype || a->dtype == SPRY_DTYPE_NONE || b->dtype == SPRY_DTYPE_NONE);
}

bool infer_merge(graph_type *type, const graph_type *other)
{
    graph_type merged = *type;

    if (other->kind == GRAPH_TYPE_UNKNOWN) {
        return true;
    }
    if (merged.kind == GRAPH_TYPE_UNKNOWN) {
        *type = *other;
        return true;
    }
    if (merged.kind != other->kind) {
        /* An optional that holds something is represented by what it holds. */
        return merged.kind == GRAPH_TYPE_OPTIONAL || other->kind == GRAPH_TYPE_OPTIONAL;
    }
    if (merged.kind != GRAPH_TYPE_TENSOR) {
        return elements_agree(&merged, other);
    }
    if (!merge_tensor(&merged, other)) {
        return false;
    }
    *type = merged;
    return true;
}

/* ---- bodies of If, Loop and Scan ---- */

static const graph_type *input_type(const graph *g, const graph_node *n, int32_t port)
{
    return port < n->input_count && n->inputs[port] != GRAPH_NONE ? &g->values[n->inputs[port]].type
                                                                  : NULL;
}

/* Types of a Loop's body: iteration, condition, then carried values, whose shapes may change from
 * one iteration to the next. */
static void bind_loop(const graph *g, const graph_node *n, graph *body)
{
    const graph_type iteration = graph_type_tensor(SPRY_DTYPE_I64, 0, NULL);
    const graph_type condition = graph_type_tensor(SPRY_DTYPE_BOOL, 0, NULL);

    for (int32_t i = 0; i < body->input_count; i++) {
        const graph_type *outer = i < 2 ? (i == 0 ? &iteration : &condition) : input_type(g, n, i);
        graph_type carried;

        if (outer == NULL) {
            continue;
        }
        carried = *outer;
        if (carried.kind == GRAPH_TYPE_TENSOR) {
            carried.has_rank = false;
        }
        (void)infer_merge(&body->values[body->inputs[i]].type, &carried);
    }
}

/* `type` without dimension `axis`. */
static graph_type without_axis(const graph_type *type, int64_t axis)
{
    graph_type slice = *type;
    int normal;

    if (!slice.has_rank || !op_normalize_axis(axis, slice.rank, &normal)) {
        slice.has_rank = false;
        return slice;
    }
    slice.rank--;
    memmove(&slice.dims[normal], &slice.dims[normal + 1],
            (size_t)(slice.rank - normal) * sizeof *slice.dims);
    return slice;
}

/* Types of a Scan's body: states as they are, then slices of the scanned inputs. */
static void bind_scan(const graph *g, const graph_node *n, graph *body)
{
    int64_t scans = graph_attribute_int(n, "num_scan_inputs", 0);
    int64_t axis_count;
    const int64_t *axes = graph_attribute_ints(n, "scan_input_axes", &axis_count);
    bool has_batch = n->opset < 9; /* the first version scanned batches of sequences */

    for (int32_t i = 0; i < body->input_count; i++) {
        const graph_type *outer = input_type(g, n, i + has_batch);
        int64_t scan = i - (body->input_count - scans);
        graph_type inner;

        if (outer == NULL || outer->kind != GRAPH_TYPE_TENSOR) {
            continue;
        }
        inner = *outer;
        if (has_batch) {
            inner.has_rank = false;
        } else if (scan >= 0) {
            inner = without_axis(outer, scan < axis_count ? axes[scan] : 0);
        }
        (void)infer_merge(&body->values[body->inputs[i]].type, &inner);
    }
}

static spry_status infer_nodes(inferrer *x, graph *g);

static spry_status infer_body(inferrer *x, const graph *g, const graph_node *n, graph *body)
{
    for (int32_t i = 0; i < body->value_count; i++) {
        graph_value *v = &body->values[i];

        if (v->outer != GRAPH_NONE) {
            v->type = g->values[v->outer].type;
            v->content = g->values[v->outer].content;
            v->content_count = g->values[v->outer].content_count;
        }
    }
    if (strcmp(n->type, "Loop") == 0) {
        bind_loop(g, n, body);
    } else if (strcmp(n->type, "Scan") == 0) {
        bind_scan(g, n, body);
    }
    return infer_nodes(x, body);
}

static spry_status infer_bodies(inferrer *x, const graph *g, const graph_node *n)
{
    for (int32_t i = 0; i < n->attribute_count; i++) {
        int64_t count;
        graph *const *bodies = graph_attribute_subgraphs(&n->attributes[i], &count);

        for (int64_t k = 0; k < count; k++) {
            spry_status status = infer_body(x, g, n, bodies[k]);

            if (status != SPRY_OK) {
                return status;
            }
        }
    }
    return SPRY_OK;
}

/* ---- nodes ---- */

/* The arrays that an op_shapes points to. */
typedef struct node_shapes {
    const graph_type **inputs;
    const tensor **constants;
    const graph_dim **contents;
    int32_t *content_counts;
    op_shapes s;
} node_shapes;

static bool allocate(inferrer *x, node_shapes *a, size_t inputs, size_t outputs)
{
    arena *memory = &x->scratch;

    arena_reset(memory);
    a->inputs = arena_array(memory, inputs, sizeof *a->inputs);
    a->constants = arena_array(memory, inputs, sizeof *a->constants);
    a->contents = arena_array(memory, inputs, sizeof *a->contents);
    a->content_counts = arena_array(memory, inputs, sizeof *a->content_counts);
    a->s.outputs = arena_array(memory, outputs, sizeof *a->s.outputs);
    a->s.output_contents = arena_array(memory, outputs, sizeof *a->s.output_contents);
    a->s.output_content_counts = arena_array(memory, outputs, sizeof(int32_t));
    return a->inputs != NULL && a->constants != NULL && a->contents != NULL &&
           a->content_counts != NULL && a->s.outputs != NULL && a->s.output_contents != NULL &&
           a->s.output_content_counts != NULL;
}

static spry_status describe_inputs(inferrer *x, graph *g, const graph_node *n, node_shapes *a)
{
    if (!allocate(x, a, (size_t)n->input_count, (size_t)n->output_count)) {
        return alloc_failed(x->error, (size_t)n->output_count * sizeof(graph_type));
    }
    for (int32_t i = 0; i < n->input_count; i++) {
        if (n->inputs[i] != GRAPH_NONE) {
            const graph_value *v = &g->values[n->inputs[i]];

            a->inputs[i] = &v->type;
            a->constants[i] = graph_constant(g, n->inputs[i]);
            a->contents[i] = v->content;
            a->content_counts[i] = v->content_count;
        }
    }
    a->s.g = g;
    a->s.node = n;
    a->s.inputs = a->inputs;
    a->s.constants = a->constants;
    a->s.contents = a->contents;
    a->s.content_counts = a->content_counts;
    a->s.input_count = n->input_count;
    a->s.output_count = n->output_count;
    a->s.error = x->error;
    return SPRY_OK;
}

static spry_status merge_output(inferrer *x, const graph *g, const graph_node *n, graph_value *v,
                                const graph_type *type)
{
    if (!infer_merge(&v->type, type)) {
        char label[SPRY_ERROR_WHERE_SIZE];
        char declared[128];
        char inferred[128];

        return spry_fail(x->error, SPRY_BAD_INPUT, graph_node_label(g, n, label, sizeof label),
                         "check the input shapes and the exporter",
                         "output '%.200s' is declared as %s but comes out as %s", v->name,
                         graph_type_describe(&v->type, declared, sizeof declared),
                         graph_type_describe(type, inferred, sizeof inferred));
    }
    return SPRY_OK;
}

static spry_status infer_node(inferrer *x, graph *g, const graph_node *n)
{
    node_shapes a = {.inputs = NULL};
    spry_status status = infer_bodies(x, g, n);

    if (status != SPRY_OK || n->op == NULL || n->op->infer == NULL) {
        return status;
    }
    status = describe_inputs(x, g, n, &a);
    if (status == SPRY_OK) {
        status = n->op->infer(&a.s);
    }
    for (int32_t i = 0; status == SPRY_OK && i < n->output_count; i++) {
        if (n->outputs[i] != GRAPH_NONE) {
            graph_value *v = &g->values[n->outputs[i]];

            status = merge_output(x, g, n, v, &a.s.outputs[i]);
            v->content = a.s.output_contents[i];
            v->content_count = a.s.output_content_counts[i];
        }
    }
    return status;
}

static spry_status infer_nodes(inferrer *x, graph *g)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; status == SPRY_OK && i < g->node_count; i++) {
        if (!g->nodes[i].removed) {
            status = infer_node(x, g, &g->nodes[i]);
        }
    }
    return status;
}

spry_status infer_graph(graph *g, spry_error *error)
{
    inferrer x = {.error = error};
    spry_status status;

    arena_init(&x.scratch, &g->memory->allocator, SIZE_MAX);
    status = infer_nodes(&x, g);
    arena_fini(&x.scratch);
    return status;
}

/* ---- bindings ---- */

/* Number of dimensions of inputs that became `size`. */
static int substitute(graph *g, const char *symbol, int64_t size)
{
    int changed = 0;

    for (int32_t i = 0; i < g->input_count; i++) {
        graph_type *type = &g->values[g->inputs[i]].type;

        for (int k = 0; type->kind == GRAPH_TYPE_TENSOR && type->has_rank && k < type->rank; k++) {
            if (type->dims[k].symbol != NULL && strcmp(type->dims[k].symbol, symbol) == 0) {
                type->dims[k] = (graph_dim){.size = size};
                changed++;
            }
        }
    }
    return changed;
}

spry_status infer_bind_symbol(graph *g, const char *symbol, int64_t size, spry_error *error)
{
    if (size < 0 || size > LIMIT_TENSOR_DIMENSION) {
        return spry_fail(error, SPRY_USAGE, symbol, NULL, "a dimension cannot be %lld",
                         (long long)size);
    }
    if (substitute(g, symbol, size) == 0) {
        return spry_fail(error, SPRY_USAGE, symbol, "see the model's inputs for their dimensions",
                         "no input has a dimension of that name");
    }
    return SPRY_OK;
}

spry_status infer_bind_input(graph *g, const char *name, const graph_type *type, spry_error *error)
{
    int32_t id = graph_find_value(g, name);
    graph_value *v;
    char declared[128];
    char given[128];

    if (id == GRAPH_NONE || !g->values[id].is_input) {
        return spry_fail(error, SPRY_USAGE, name, "see the model's inputs", "no such input");
    }
    v = &g->values[id];
    for (int i = 0;
         type->has_rank && v->type.has_rank && v->type.rank == type->rank && i < type->rank; i++) {
        const graph_dim *dim = &v->type.dims[i];

        if (dim->symbol != NULL && type->dims[i].size >= 0) {
            (void)substitute(g, dim->symbol, type->dims[i].size);
        }
    }
    if (!infer_merge(&v->type, type)) {
        return spry_fail(error, SPRY_USAGE, name, "give a tensor of the declared type",
                         "the input is %s, not %s",
                         graph_type_describe(&v->type, declared, sizeof declared),
                         graph_type_describe(type, given, sizeof given));
    }
    return SPRY_OK;
}
