/* The body as a table of nodes, from which it is made and by which it is recognised. */
#include "model/key_filter_function.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "model/function_body.h"
#include "model/insert.h"
#include "ops/key_filter.h"

enum {
    MOST_INPUTS = 3,
    REDUCE_AXES_SINCE = 18, /* ReduceMax and ReduceMin take axes as an input */
    F32 = 1,
    F64 = 11,
    NAME_SIZE = 32
};

static const char *const ports[KEY_FILTER_PORTS] = {"scores", "queries", "keys", "scale", "alpha"};

/* A node of the body; its result has the name `result`, or with a digit behind it in a round. An
 * input that ends with '#' is the round's own. */
typedef struct body_node {
    const char *type, *result;
    const char *inputs[MOST_INPUTS]; /* NULL from the end on */
    int to;                          /* of Cast */
} body_node;

static const struct {
    const char *name;
    float number;
} numbers[] = {{"hidden", -5000.0f}, {"few_keys", 16.0f},       {"zero", 0.0f},
               {"one", 1.0f},        {"seven", 7.0f},           {"half_step", 2048.0f},
               {"step", 4096.0f},    {"step_2", 16384.0f},      {"most_code", 32767.0f},
               {"tiny", 1e-37f},     {"least_code", -32767.0f}, {"fill", KEY_FILTER_FILL},
               {"beyond", 1e30f},    {"slack", 0x1p-40f}};

static const body_node before[] = {
    {"Cast", "zero_d", {"zero"}, F64},
    {"Cast", "one_d", {"one"}, F64},
    {"Cast", "slack_d", {"slack"}, F64},
    {"GreaterOrEqual", "kept0", {"scores", "hidden"}, 0},
    {"Cast", "kept0_f", {"kept0"}, F32},
    {"ReduceSum", "seen", {"kept0_f", "last"}, 0},
    {"Less", "is_few", {"seen", "few_keys"}, 0},
    /* Codes of queries. */
    {"Abs", "q_size", {"queries"}, 0},
    {"ReduceMax", "q_most", {"q_size"}, 0},
    {"Div", "q_unit", {"q_most", "most_code"}, 0},
    {"Max", "q_scale", {"q_unit", "tiny"}, 0},
    {"Div", "q_steps", {"queries", "q_scale"}, 0},
    {"Round", "q_round", {"q_steps"}, 0},
    {"Max", "q_above", {"q_round", "least_code"}, 0},
    {"Min", "q_code", {"q_above", "most_code"}, 0},
    {"Add", "q_moved", {"q_code", "half_step"}, 0},
    {"Div", "q_part", {"q_moved", "step"}, 0},
    {"Floor", "q_floor", {"q_part"}, 0},
    {"Min", "q4", {"q_floor", "seven"}, 0},
    /* Codes of keys. */
    {"Div", "k_steps", {"keys", "scale"}, 0},
    {"Round", "k_round", {"k_steps"}, 0},
    {"Max", "k_above", {"k_round", "least_code"}, 0},
    {"Min", "k_code", {"k_above", "most_code"}, 0},
    {"Div", "k_part1", {"k_code", "step_2"}, 0},
    {"Floor", "codes1", {"k_part1"}, 0},
    {"Div", "k_part2", {"k_code", "step"}, 0},
    {"Floor", "codes2", {"k_part2"}, 0},
};

/* kept@ are the candidates of the round: the survivors of the one before. */
static const body_node each[] = {
    {"MatMul", "s#", {"q4", "codes#"}, 0},
    {"Cast", "s_d#", {"s#"}, F64},
    {"Cast", "is_in#", {"kept@"}, F64},
    {"ReduceSum", "in#", {"is_in#", "last"}, 0},
    {"Max", "count#", {"in#", "one_d"}, 0},
    {"Where", "s_in#", {"kept@", "s_d#", "zero_d"}, 0},
    {"ReduceSum", "sum#", {"s_in#", "last"}, 0},
    {"Div", "mean#", {"sum#", "count#"}, 0},
    {"Where", "s_low#", {"kept@", "s#", "fill"}, 0},
    {"ReduceMax", "most#", {"s_low#"}, 0},
    {"Where", "s_high#", {"kept@", "s#", "beyond"}, 0},
    {"ReduceMin", "least#", {"s_high#"}, 0},
    {"Gather", "alpha#", {"alpha", "round#"}, 0},
    {"GreaterOrEqual", "is_up#", {"alpha#", "zero_d"}, 0},
    {"Where", "end#", {"is_up#", "most#", "least#"}, 0},
    {"Cast", "end_d#", {"end#"}, F64},
    {"Sub", "way#", {"end_d#", "mean#"}, 0},
    {"Abs", "share#", {"alpha#"}, 0},
    {"Mul", "part#", {"share#", "way#"}, 0},
    {"Add", "bar#", {"mean#", "part#"}, 0},
    {"Abs", "length#", {"way#"}, 0},
    {"Mul", "margin#", {"length#", "slack_d"}, 0},
    {"Sub", "threshold#", {"bar#", "margin#"}, 0},
    {"GreaterOrEqual", "reach#", {"s_d#", "threshold#"}, 0},
    {"And", "kept#", {"kept@", "reach#"}, 0},
};

static const body_node after[] = {
    {"Or", "kept_few", {"kept2", "is_few"}, 0},
    {"Not", "is_hidden", {"kept0"}, 0},
    {"Or", "stays", {"kept_few", "is_hidden"}, 0},
    {"Where", "y", {"stays", "scores", "fill"}, 0},
};

typedef struct writer {
    graph *body;
    int32_t opset;
    spry_status status;
    spry_error *error;
} writer;

/* '#' is the round, '@' the one before. */
static const char *name_in(const char *name, int round, char *buffer)
{
    size_t n = strlen(name);

    (void)snprintf(buffer, NAME_SIZE, "%s", name);
    if (n > 0 && n < NAME_SIZE && (name[n - 1] == '#' || name[n - 1] == '@')) {
        buffer[n - 1] = (char)('0' + round - (name[n - 1] == '@'));
    }
    return buffer;
}

static int32_t add(writer *w, const char *type, const char *result, int32_t count,
                   const int32_t *inputs)
{
    insert_node_of what = {
        .type = type, .opset = w->opset, .base = "filter", .suffix = result, .input_count = count};
    int32_t node = 0;
    int32_t made;

    for (int32_t i = 0; i < count; i++) {
        what.inputs[i] = inputs[i];
    }
    if (w->status == SPRY_OK) {
        w->status = insert_node(w->body, &what, &node, &made, w->error);
    }
    return node;
}

static int32_t find(const writer *w, const char *name)
{
    char made[NAME_SIZE + sizeof "filter_"];
    int32_t id = graph_find_value(w->body, name);

    (void)snprintf(made, sizeof made, "filter_%s", name);
    return id != GRAPH_NONE ? id : graph_find_value(w->body, made);
}

static void set_int(writer *w, int32_t node, const char *name, int64_t number, bool is_list)
{
    if (w->status == SPRY_OK) {
        w->status = is_list ? graph_set_ints(w->body, node, name, 1, &number, w->error)
                            : graph_set_int(w->body, node, name, number, w->error);
    }
}

static void add_node(writer *w, const body_node *b, int round)
{
    int32_t inputs[MOST_INPUTS];
    int32_t count = 0;
    char name[NAME_SIZE];
    bool reduces = strcmp(b->type, "ReduceMax") == 0 || strcmp(b->type, "ReduceMin") == 0;
    int32_t node;

    for (; w->status == SPRY_OK && count < MOST_INPUTS && b->inputs[count] != NULL; count++) {
        inputs[count] = find(w, name_in(b->inputs[count], round, name));
    }
    if (reduces && w->opset >= REDUCE_AXES_SINCE) {
        inputs[count++] = find(w, "last");
    }
    node = add(w, b->type, name_in(b->result, round, name), count, inputs);
    if (reduces && w->opset < REDUCE_AXES_SINCE) {
        set_int(w, node, "axes", -1, true);
    }
    if (b->to != 0) {
        set_int(w, node, "to", b->to, false);
    }
}

static void add_constants(writer *w)
{
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        int32_t node = add(w, "Constant", numbers[i].name, 0, NULL);

        if (w->status == SPRY_OK) {
            w->status = graph_set_float(w->body, node, "value_float", numbers[i].number, w->error);
        }
    }
    set_int(w, add(w, "Constant", "last", 0, NULL), "value_ints", -1, true);
    set_int(w, add(w, "Constant", "round1", 0, NULL), "value_int", 0, false);
    set_int(w, add(w, "Constant", "round2", 0, NULL), "value_int", 1, false);
}

static void add_body(writer *w)
{
    add_constants(w);
    for (size_t i = 0; i < sizeof before / sizeof before[0]; i++) {
        add_node(w, &before[i], 0);
    }
    for (int round = 1; round <= KEY_FILTER_ROUNDS; round++) {
        for (size_t i = 0; i < sizeof each / sizeof each[0]; i++) {
            add_node(w, &each[i], round);
        }
    }
    for (size_t i = 0; i < sizeof after / sizeof after[0]; i++) {
        add_node(w, &after[i], 0);
    }
}

static spry_status write_body(arena *memory, int64_t opset, graph **body, spry_error *error)
{
    int32_t *ends = arena_array(memory, KEY_FILTER_PORTS + 1, sizeof *ends);
    writer w = {.opset = (int32_t)opset, .error = error};

    w.status = graph_create(memory, NULL, &w.body, error);
    if (w.status == SPRY_OK && ends == NULL) {
        w.status = alloc_failed(error, KEY_FILTER_PORTS * sizeof *ends);
    }
    for (int32_t i = 0; i < KEY_FILTER_PORTS && w.status == SPRY_OK; i++) {
        w.status = graph_add_value(w.body, ports[i], &ends[i], error);
    }
    if (w.status == SPRY_OK) {
        add_body(&w);
    }
    if (w.status != SPRY_OK) {
        return w.status;
    }
    ends[KEY_FILTER_PORTS] = find(&w, "y");
    w.body->inputs = ends;
    w.body->input_count = KEY_FILTER_PORTS;
    w.body->outputs = ends + KEY_FILTER_PORTS;
    w.body->output_count = 1;
    *body = w.body;
    return SPRY_OK;
}

spry_status key_filter_function_add(model *m, int64_t opset, spry_error *error)
{
    const model_function *present = model_find_function(m, KEY_FILTER_DOMAIN, KEY_FILTER_OP, "");
    model_opset *imports = arena_array(&m->memory, 1, sizeof *imports);
    model_function f = {.domain = KEY_FILTER_DOMAIN,
                        .name = KEY_FILTER_OP,
                        .overload = "",
                        .doc = "Scores of the keys that products of few bits find to matter",
                        .opsets = imports,
                        .opset_count = 1};
    spry_status status;

    if (present != NULL) {
        return key_filter_function_is(present)
                   ? SPRY_OK
                   : spry_fail(error, SPRY_USAGE, m->path, "rename it",
                               "the model has another function " KEY_FILTER_DOMAIN
                               "." KEY_FILTER_OP);
    }
    if (imports == NULL) {
        return alloc_failed(error, sizeof *imports);
    }
    *imports = (model_opset){"", opset};
    status = write_body(&m->memory, opset, &f.body, error);
    return status == SPRY_OK ? model_add_function(m, &f, error) : status;
}

bool key_filter_function_is(const model_function *f)
{
    arena memory;
    graph *body = NULL;
    bool same;

    if (strcmp(f->domain, KEY_FILTER_DOMAIN) != 0 || strcmp(f->name, KEY_FILTER_OP) != 0 ||
        f->overload[0] != '\0' || f->opset_count != 1 || f->opsets[0].domain[0] != '\0' ||
        f->opsets[0].version < KEY_FILTER_FUNCTION_OPSET || f->attribute_count != 0 ||
        f->default_count != 0) {
        return false;
    }
    arena_init(&memory, &f->body->memory->allocator, SIZE_MAX);
    same = write_body(&memory, f->opsets[0].version, &body, NULL) == SPRY_OK &&
           function_body_same(body, f->body, &memory);
    arena_fini(&memory);
    return same;
}
