/* Objectives: the teacher's way into a graph. */
#include "train/objective.h"

#include "base/alloc.h"
#include "model/pass.h"
#include "train/training_form.h"

static const char *const domain = "ai.spry.train"; /* of the call, which is inlined at once */

void spry_train_objective_destroy(spry_train_objective *o)
{
    if (o != NULL) {
        o->destroy(o);
    }
}

/* The teacher as a body: inputs without a default, and what is learnt of it. */
static spry_status make_body(spry_model *held, int32_t count, bool features, spry_error *error)
{
    graph *g = held->main;
    int32_t *inputs = arena_array(&held->memory, (size_t)g->input_count + 1, sizeof *inputs);
    int32_t found = 0;
    int32_t taught[OBJECTIVE_TAUGHT];
    spry_status status;

    if (inputs == NULL) {
        return alloc_failed(error, (size_t)g->input_count * sizeof *inputs);
    }
    for (int32_t i = 0; i < g->input_count; i++) {
        if (model_input_is_required(held, i)) {
            inputs[found++] = g->inputs[i];
        }
    }
    if (found != count || g->output_count == 0) {
        return spry_fail(error, SPRY_USAGE, held->path, "use one with the model's inputs",
                         "the teacher takes %d inputs and gives %d outputs", (int)found,
                         (int)g->output_count);
    }
    status = training_set_inputs(g, inputs, found, error);
    taught[OBJECTIVE_SCORES] = training_logits(g);
    taught[OBJECTIVE_FEATURES] = training_features(g);
    if (features && taught[OBJECTIVE_FEATURES] == GRAPH_NONE) {
        return spry_fail(error, SPRY_USAGE, held->path, "let the features count nothing",
                         "the teacher does not make its scores of features by one product");
    }
    return status == SPRY_OK ? training_set_outputs(g, taught, features ? 2 : 1, error) : status;
}

static spry_status call_body(model *m, const spry_model *held, const int32_t *inputs, int32_t count,
                             int32_t *taught, spry_error *error)
{
    graph *g = m->main;
    const model_function f = {.domain = domain,
                              .name = "Teacher",
                              .overload = "",
                              .doc = "",
                              .opsets = held->opsets,
                              .opset_count = held->opset_count,
                              .body = held->main};
    pass_context context = {.m = m, .inline_all = true};
    int32_t outputs = held->main->output_count;
    int32_t node;
    spry_status status;

    m->functions = held->functions; /* those of `m` itself are inlined already */
    m->function_count = held->function_count;
    status = model_add_function(m, &f, error);
    if (status == SPRY_OK) {
        status = graph_add_node(g, f.name, domain, 1, count, outputs, &node, error);
    }
    for (int32_t i = 0; i < outputs && status == SPRY_OK; i++) {
        status = graph_add_value(g, "teacher", &taught[i], error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    for (int32_t i = 0; i < count; i++) {
        graph_set_input(g, node, i, inputs[i]);
    }
    for (int32_t i = 0; i < outputs; i++) {
        graph_set_output(g, node, i, taught[i]);
    }
    g->nodes[node].name = "teacher";
    return pass_inline(g, &context, error);
}

spry_status objective_add_teacher(model *m, const spry_model *teacher, const int32_t *inputs,
                                  int32_t count, bool features, spry_model **held, int32_t *taught,
                                  spry_error *error)
{
    spry_status status = model_copy(teacher, held, error);

    if (status == SPRY_OK) {
        status = make_body(*held, count, features, error);
    }
    return status == SPRY_OK ? call_body(m, *held, inputs, count, taught, error) : status;
}
