/* The body of TwinQuantize as a table, from which it is made and by which it is recognised. */
#include "model/twin_function.h"

#include <string.h>

#include "base/alloc.h"
#include "ops/twin.h"

enum { MOST_INPUTS = 3, F32 = 1, U8 = 2 };

/* A node of the body. Its result has the name `result`. */
typedef struct body_node {
    const char *type;
    const char *inputs[MOST_INPUTS]; /* NULL from the end on */
    const char *result;
    const char *attribute; /* or NULL */
    const char *ref;       /* the function's attribute that it stands for; NULL: `number` */
    int number;
} body_node;

static const body_node nodes[] = {
    {.type = "Constant", .result = "bits_i", .attribute = "value_int", .ref = TWIN_BITS},
    {.type = "Constant", .result = "kind_i", .attribute = "value_int", .ref = TWIN_KIND},
    {.type = "Constant", .result = "d1", .attribute = "value_float", .ref = TWIN_D1},
    {.type = "Constant", .result = "d2", .attribute = "value_float", .ref = TWIN_D2},
    {.type = "Constant", .result = "zero", .attribute = "value_float", .number = 0},
    {.type = "Constant", .result = "one", .attribute = "value_float", .number = 1},
    {.type = "Constant", .result = "two", .attribute = "value_float", .number = 2},
    {.type = "Cast", .inputs = {"zero"}, .result = "zero_u8", .attribute = "to", .number = U8},
    {.type = "Cast", .inputs = {"bits_i"}, .result = "bits_f", .attribute = "to", .number = F32},
    {.type = "Cast", .inputs = {"kind_i"}, .result = "kind_f", .attribute = "to", .number = F32},
    {.type = "Sub", .inputs = {"bits_f", "one"}, .result = "magnitude_bits"},
    {.type = "Pow", .inputs = {"two", "magnitude_bits"}, .result = "levels"},
    {.type = "Sub", .inputs = {"levels", "one"}, .result = "top"},
    {.type = "Mul", .inputs = {"kind_f", "two"}, .result = "twice"},
    {.type = "Sub", .inputs = {"one", "twice"}, .result = "sign"},
    {.type = "Mul", .inputs = {"top", "d1"}, .result = "high1"},
    {.type = "Mul", .inputs = {"top", "d2"}, .result = "high2"},
    {.type = "Mul", .inputs = {"x", "sign"}, .result = "turned"},
    {.type = "Clip", .inputs = {"turned", "zero", "high1"}, .result = "c1"},
    {.type = "QuantizeLinear", .inputs = {"c1", "d1", "zero_u8"}, .result = "q1"},
    {.type = "DequantizeLinear", .inputs = {"q1", "d1", "zero_u8"}, .result = "u1"},
    {.type = "Mul", .inputs = {"u1", "sign"}, .result = "v1"},
    {.type = "Clip", .inputs = {"x", "zero", "high2"}, .result = "c2"},
    {.type = "QuantizeLinear", .inputs = {"c2", "d2", "zero_u8"}, .result = "q2"},
    {.type = "DequantizeLinear", .inputs = {"q2", "d2", "zero_u8"}, .result = "v2"},
    {.type = "Sub", .inputs = {"x", "v1"}, .result = "d_first"},
    {.type = "Sub", .inputs = {"x", "v2"}, .result = "d_second"},
    {.type = "Abs", .inputs = {"d_first"}, .result = "e1"},
    {.type = "Abs", .inputs = {"d_second"}, .result = "e2"},
    {.type = "LessOrEqual", .inputs = {"e1", "e2"}, .result = "is_first"},
    {.type = "Where", .inputs = {"is_first", "v1", "v2"}, .result = "y"},
};
enum { NODES = sizeof nodes / sizeof nodes[0] };

static const char *const attributes[] = {TWIN_KIND, TWIN_BITS, TWIN_D1, TWIN_D2};
enum { ATTRIBUTES = sizeof attributes / sizeof attributes[0] };

static int input_count(const body_node *b)
{
    int count = 0;

    while (count < MOST_INPUTS && b->inputs[count] != NULL) {
        count++;
    }
    return count;
}

static graph_attribute_kind kind_of(const body_node *b)
{
    return strcmp(b->attribute, "value_float") == 0 ? GRAPH_ATTRIBUTE_FLOAT : GRAPH_ATTRIBUTE_INT;
}

/* ---- recognising ---- */

/* The value that the body calls `name`, by where it comes from: `made` are those of the nodes. */
static int32_t value_called(const graph *body, const char *name, const int32_t *made)
{
    if (strcmp(name, "x") == 0) {
        return body->inputs[0];
    }
    for (int i = 0; i < NODES; i++) {
        if (strcmp(nodes[i].result, name) == 0) {
            return made[i];
        }
    }
    return GRAPH_NONE;
}

static bool has_attribute(const graph_node *n, const body_node *b)
{
    const graph_attribute *a;

    if (b->attribute == NULL) {
        return n->attribute_count == 0;
    }
    a = n->attribute_count == 1 ? graph_attribute_find(n, b->attribute) : NULL;
    if (a == NULL || a->kind != kind_of(b) || (a->ref_name != NULL) != (b->ref != NULL)) {
        return false;
    }
    if (b->ref != NULL) {
        return strcmp(a->ref_name, b->ref) == 0;
    }
    return a->kind == GRAPH_ATTRIBUTE_FLOAT ? a->as.floats[0] == (float)b->number
                                            : a->as.ints[0] == b->number;
}

static bool is_node(const graph *body, const graph_node *n, const body_node *b, const int32_t *made)
{
    bool same = n->domain[0] == '\0' && strcmp(n->type, b->type) == 0 &&
                n->input_count == input_count(b) && n->output_count == 1 && has_attribute(n, b);

    for (int i = 0; same && i < n->input_count; i++) {
        int32_t wanted = value_called(body, b->inputs[i], made);

        same = wanted != GRAPH_NONE && n->inputs[i] == wanted;
    }
    return same;
}

bool twin_function_is(const model_function *f)
{
    const graph *body = f->body;
    int32_t made[NODES];

    if (strcmp(f->domain, TWIN_DOMAIN) != 0 || strcmp(f->name, TWIN_OP) != 0 ||
        f->overload[0] != '\0' || f->attribute_count != ATTRIBUTES || f->default_count != 0 ||
        body->node_count != NODES || body->input_count != 1 || body->output_count != 1) {
        return false;
    }
    for (int i = 0; i < NODES; i++) {
        made[i] = GRAPH_NONE;
    }
    for (int i = 0; i < NODES; i++) {
        if (!is_node(body, &body->nodes[i], &nodes[i], made)) {
            return false;
        }
        made[i] = body->nodes[i].outputs[0];
    }
    return body->outputs[0] == made[NODES - 1];
}

/* ---- making ---- */

static spry_status set_attribute(graph *body, int32_t node, const body_node *b, spry_error *error)
{
    float *numbers = arena_array(body->memory, 1, sizeof *numbers);
    int64_t *integers = arena_array(body->memory, 1, sizeof *integers);
    graph_attribute a = {
        .name = b->attribute, .kind = kind_of(b), .count = 1, .ref_name = b->ref, .doc = ""};

    if (numbers == NULL || integers == NULL) {
        return alloc_failed(error, sizeof *integers);
    }
    *numbers = (float)b->number;
    *integers = b->number;
    if (a.kind == GRAPH_ATTRIBUTE_FLOAT) {
        a.as.floats = numbers;
    } else {
        a.as.ints = integers;
    }
    return graph_set_attribute(body, node, &a, error);
}

static spry_status add_body_node(graph *body, const body_node *b, int32_t opset, spry_error *error)
{
    int count = input_count(b);
    int32_t node;
    int32_t result;
    spry_status status = graph_add_node(body, b->type, "", opset, count, 1, &node, error);

    if (status == SPRY_OK) {
        status = graph_add_value(body, b->result, &result, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    for (int i = 0; i < count; i++) {
        graph_set_input(body, node, i, graph_find_value(body, b->inputs[i]));
    }
    graph_set_output(body, node, 0, result);
    return b->attribute != NULL ? set_attribute(body, node, b, error) : SPRY_OK;
}

static spry_status make_body(arena *memory, int32_t opset, graph **body, spry_error *error)
{
    int32_t *ports = arena_array(memory, 2, sizeof *ports);
    spry_status status = graph_create(memory, NULL, body, error);

    if (status == SPRY_OK && ports == NULL) {
        status = alloc_failed(error, 2 * sizeof *ports);
    }
    if (status == SPRY_OK) {
        status = graph_add_value(*body, "x", &ports[0], error);
    }
    for (int i = 0; status == SPRY_OK && i < NODES; i++) {
        status = add_body_node(*body, &nodes[i], opset, error);
    }
    if (status == SPRY_OK) {
        ports[1] = graph_find_value(*body, "y");
        (*body)->inputs = &ports[0];
        (*body)->input_count = 1;
        (*body)->outputs = &ports[1];
        (*body)->output_count = 1;
    }
    return status;
}

spry_status twin_function_add(model *m, int64_t opset, spry_error *error)
{
    const model_function *present = model_find_function(m, TWIN_DOMAIN, TWIN_OP, "");
    model_opset *imports = arena_array(&m->memory, 1, sizeof *imports);
    model_function f = {.domain = TWIN_DOMAIN,
                        .name = TWIN_OP,
                        .overload = "",
                        .doc = "Twin uniform quantization (arXiv 2111.12293)",
                        .opsets = imports,
                        .opset_count = 1,
                        .attributes = attributes,
                        .attribute_count = ATTRIBUTES};
    spry_status status;

    if (present != NULL) {
        return twin_function_is(present)
                   ? SPRY_OK
                   : spry_fail(error, SPRY_USAGE, m->path, "rename it",
                               "the model has another function " TWIN_DOMAIN "." TWIN_OP);
    }
    if (imports == NULL) {
        return alloc_failed(error, sizeof *imports);
    }
    *imports = (model_opset){"", opset};
    status = make_body(&m->memory, (int32_t)opset, &f.body, error);
    return status == SPRY_OK ? model_add_function(m, &f, error) : status;
}
