/* The body as a list of nodes, from which it is made and by which it is recognised. */
#include "model/head_policy_function.h"

#include <string.h>

#include "base/alloc.h"
#include "model/function_body.h"
#include "model/insert.h"
#include "ops/head_policy.h"

static const char *const ports[HEAD_POLICY_PORTS] = {"scores", "before", "after", "sinks"};

typedef struct writer {
    graph *body;
    int32_t opset;
    int32_t in[HEAD_POLICY_PORTS];
    spry_status status;
    spry_error *error;
} writer;

static int32_t add(writer *w, const char *type, const char *suffix, int32_t a, int32_t b, int32_t c)
{
    insert_node_of what = {.type = type,
                           .opset = w->opset,
                           .base = "policy",
                           .suffix = suffix,
                           .inputs = {a, b, c},
                           .input_count =
                               (a != GRAPH_NONE) + (b != GRAPH_NONE) + (c != GRAPH_NONE)};
    int32_t node;
    int32_t result = GRAPH_NONE;

    if (w->status == SPRY_OK) {
        w->status = insert_node(w->body, &what, &node, &result, w->error);
    }
    return w->status == SPRY_OK ? result : GRAPH_NONE;
}

static int32_t add_int(writer *w, const char *suffix, int64_t number, bool is_list)
{
    int32_t made = add(w, "Constant", suffix, GRAPH_NONE, GRAPH_NONE, GRAPH_NONE);
    int32_t node = w->status == SPRY_OK ? w->body->values[made].producer : 0;

    if (w->status == SPRY_OK) {
        w->status = is_list ? graph_set_ints(w->body, node, "value_ints", 1, &number, w->error)
                            : graph_set_int(w->body, node, "value_int", number, w->error);
    }
    return made;
}

static int32_t add_number(writer *w, const char *suffix, float number)
{
    int32_t made = add(w, "Constant", suffix, GRAPH_NONE, GRAPH_NONE, GRAPH_NONE);

    if (w->status == SPRY_OK) {
        w->status = graph_set_float(w->body, w->body->values[made].producer, "value_float", number,
                                    w->error);
    }
    return made;
}

static int32_t add_2(writer *w, const char *type, const char *suffix, int32_t a, int32_t b)
{
    return add(w, type, suffix, a, b, GRAPH_NONE);
}

/* Key less query: [T, K]. */
static int32_t add_offsets(writer *w, int32_t keys, int32_t rows, int32_t key, int32_t zero,
                           int32_t one)
{
    int32_t row = add(w, "Range", "row", zero, rows, one);

    row = add_2(w, "Add", "moved_row", row, add_2(w, "Sub", "past", keys, rows));
    row = add_2(w, "Unsqueeze", "row_column", row, add_int(w, "axis1", 1, true));
    return add_2(w, "Sub", "offset", key, row);
}

/* Is key j a sink of head h: [H, 1, K]. */
static int32_t add_sinks(writer *w, int32_t key)
{
    int32_t made = add_2(w, "Unsqueeze", "key_column", key, add_int(w, "key_axis", 1, true));

    made = add_2(w, "Equal", "is_one_sink", made, w->in[HEAD_POLICY_SINKS]);
    made = add(w, "Cast", "one_sink", made, GRAPH_NONE, GRAPH_NONE);
    if (w->status == SPRY_OK) {
        enum { F32 = 1 };

        w->status = graph_set_int(w->body, w->body->values[made].producer, "to", F32, w->error);
    }
    made = add_2(w, "ReduceSum", "sink_count", made, add_int(w, "sink_axis", -1, true));
    if (w->status == SPRY_OK) {
        w->status = graph_set_int(w->body, w->body->values[made].producer, "keepdims", 0, w->error);
    }
    return add_2(w, "Greater", "is_sink", made, add_number(w, "no_sink", 0.0f));
}

static int32_t add_body(writer *w)
{
    int32_t shape = add(w, "Shape", "shape", w->in[HEAD_POLICY_SCORES], GRAPH_NONE, GRAPH_NONE);
    int32_t rows = add_2(w, "Gather", "rows", shape, add_int(w, "row_axis", 2, false));
    int32_t keys = add_2(w, "Gather", "keys", shape, add_int(w, "last_axis", 3, false));
    int32_t zero = add_int(w, "zero", 0, false);
    int32_t one = add_int(w, "one", 1, false);
    int32_t key = add(w, "Range", "key", zero, keys, one);
    int32_t offset = add_offsets(w, keys, rows, key, zero, one);
    int32_t low = add(w, "Neg", "least", w->in[HEAD_POLICY_BEFORE], GRAPH_NONE, GRAPH_NONE);
    int32_t near = add_2(w, "GreaterOrEqual", "is_behind", offset, low);

    near = add_2(w, "And", "is_near", near,
                 add_2(w, "LessOrEqual", "is_before", offset, w->in[HEAD_POLICY_AFTER]));
    near = add_2(w, "Or", "stays", near, add_sinks(w, key));
    return add(w, "Where", "y", near, w->in[HEAD_POLICY_SCORES],
               add_number(w, "fill", HEAD_POLICY_FILL));
}

static spry_status write_body(arena *memory, int64_t opset, graph **body, spry_error *error)
{
    int32_t *ends = arena_array(memory, HEAD_POLICY_PORTS + 1, sizeof *ends);
    writer w = {.opset = (int32_t)opset, .error = error};

    w.status = graph_create(memory, NULL, &w.body, error);
    if (w.status == SPRY_OK && ends == NULL) {
        w.status = alloc_failed(error, HEAD_POLICY_PORTS * sizeof *ends);
    }
    for (int32_t i = 0; i < HEAD_POLICY_PORTS && w.status == SPRY_OK; i++) {
        w.status = graph_add_value(w.body, ports[i], &w.in[i], error);
        ends[i] = w.in[i];
    }
    if (w.status != SPRY_OK) {
        return w.status;
    }
    ends[HEAD_POLICY_PORTS] = add_body(&w);
    w.body->inputs = ends;
    w.body->input_count = HEAD_POLICY_PORTS;
    w.body->outputs = ends + HEAD_POLICY_PORTS;
    w.body->output_count = 1;
    *body = w.body;
    return w.status;
}

spry_status head_policy_function_add(model *m, int64_t opset, spry_error *error)
{
    const model_function *present = model_find_function(m, HEAD_POLICY_DOMAIN, HEAD_POLICY_OP, "");
    model_opset *imports = arena_array(&m->memory, 1, sizeof *imports);
    model_function f = {.domain = HEAD_POLICY_DOMAIN,
                        .name = HEAD_POLICY_OP,
                        .overload = "",
                        .doc = "Attention heads that look at a window and at sinks",
                        .opsets = imports,
                        .opset_count = 1};
    spry_status status;

    if (present != NULL) {
        return head_policy_function_is(present)
                   ? SPRY_OK
                   : spry_fail(error, SPRY_USAGE, m->path, "rename it",
                               "the model has another function " HEAD_POLICY_DOMAIN
                               "." HEAD_POLICY_OP);
    }
    if (imports == NULL) {
        return alloc_failed(error, sizeof *imports);
    }
    *imports = (model_opset){"", opset};
    status = write_body(&m->memory, opset, &f.body, error);
    return status == SPRY_OK ? model_add_function(m, &f, error) : status;
}

bool head_policy_function_is(const model_function *f)
{
    arena memory;
    graph *body = NULL;
    bool same;

    if (strcmp(f->domain, HEAD_POLICY_DOMAIN) != 0 || strcmp(f->name, HEAD_POLICY_OP) != 0 ||
        f->overload[0] != '\0' || f->opset_count != 1 || f->opsets[0].domain[0] != '\0' ||
        f->opsets[0].version < HEAD_POLICY_FUNCTION_OPSET || f->attribute_count != 0 ||
        f->default_count != 0) {
        return false;
    }
    arena_init(&memory, &f->body->memory->allocator, SIZE_MAX);
    same = write_body(&memory, f->opsets[0].version, &body, NULL) == SPRY_OK &&
           function_body_same(body, f->body, &memory);
    arena_fini(&memory);
    return same;
}
