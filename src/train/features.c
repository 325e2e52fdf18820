/* Finding the split, running the beginning, cutting the rest off. */
#include "train/features.h"

#include <string.h>

#include "base/alloc.h"
#include "data/dataset_memory.h"
#include "model/pass.h"
#include "ops/op.h"
#include "tensor/value.h"
#include "train/forward.h"
#include "train/training_form.h"

static const size_t most_bytes = (size_t)1 << 30;

typedef struct splitter {
    const spry_model *source;
    const graph *g;
    const spry_train_options *options;
    parameters weights;
    bool *trained; /* per value: depends on a weight that is trained */
    bool *sampled; /* per value: depends on the samples */
    int32_t split; /* the value between both parts; GRAPH_NONE: none */
    int64_t saved; /* products before it */
} splitter;

/* ---- the split ---- */

static bool reads_any(const graph_node *n, const bool *marked)
{
    for (int32_t i = 0; i < n->input_count; i++) {
        if (n->inputs[i] != GRAPH_NONE && marked[n->inputs[i]]) {
            return true;
        }
    }
    return false;
}

/* Does the node give the same for a sample each time, and by itself? */
static bool is_steady(const splitter *s, const graph_node *n)
{
    const op *o = op_find(n->domain, n->type, n->opset);

    return o != NULL && (o->flags & (OP_RANDOM | OP_SUBGRAPHS)) == 0 &&
           !graph_node_is(n, "Dropout") &&
           (s->options->freeze_statistics || !graph_node_is(n, "BatchNormalization"));
}

/* Marks values; false where the beginning is not steady. */
static bool mark_values(splitter *s)
{
    for (int32_t i = 0; i < s->weights.count; i++) {
        s->trained[s->weights.items[i].value] = true;
    }
    for (int32_t i = 0; i < s->g->input_count; i++) {
        s->sampled[s->g->inputs[i]] = model_input_is_required(s->source, i);
    }
    for (int32_t i = 0; i < s->g->node_count; i++) {
        const graph_node *n = &s->g->nodes[i];
        bool trained = reads_any(n, s->trained);
        bool sampled = reads_any(n, s->sampled);

        if (n->removed) {
            continue;
        }
        if (sampled && !trained && !is_steady(s, n)) {
            return false;
        }
        s->saved +=
            sampled && !trained &&
            (graph_node_is(n, "Conv") || graph_node_is(n, "MatMul") || graph_node_is(n, "Gemm"));
        for (int32_t k = 0; k < n->output_count; k++) {
            if (n->outputs[k] != GRAPH_NONE) {
                s->trained[n->outputs[k]] = trained;
                s->sampled[n->outputs[k]] = sampled;
            }
        }
    }
    return true;
}

/* The only value that depends on samples alone and is read by what depends on weights. */
static void find_split(splitter *s)
{
    int32_t found = GRAPH_NONE;

    s->split = GRAPH_NONE;
    for (int32_t i = 0; i < s->g->node_count; i++) {
        const graph_node *n = &s->g->nodes[i];

        if (n->removed || !reads_any(n, s->trained)) {
            continue;
        }
        for (int32_t k = 0; k < n->input_count; k++) {
            int32_t id = n->inputs[k];

            if (id == GRAPH_NONE || s->trained[id] || !s->sampled[id] || id == found) {
                continue;
            }
            if (found != GRAPH_NONE) {
                return; /* a second one */
            }
            found = id;
        }
    }
    if (found != GRAPH_NONE && s->g->values[found].producer != GRAPH_NONE && s->saved > 0) {
        s->split = found;
    }
}

/* ---- the beginning ---- */

/* The rows so far. */
typedef struct gatherer {
    spry_allocator allocator;
    int64_t total;
    tensor *rows;
} gatherer;

static spry_status take_rows(void *context, const spry_value *found, const int64_t *labels,
                             int64_t first, int64_t count, spry_error *error)
{
    const gatherer *to = context;
    tensor *rows = to->rows;
    const tensor *t = &found->tensor;
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    spry_status status = SPRY_OK;

    (void)labels;
    if (found->kind != SPRY_VALUE_TENSOR || t->dtype != SPRY_DTYPE_F32 || t->rank < 2 ||
        t->shape[0] != count) {
        return SPRY_NEGATIVE; /* no row per sample */
    }
    if (rows->data == NULL) {
        memcpy(shape, t->shape, sizeof shape);
        shape[0] = to->total;
        if ((size_t)to->total * (t->bytes / (size_t)count) > most_bytes) {
            return SPRY_NEGATIVE;
        }
        status = tensor_init_owned(rows, &to->allocator, SPRY_DTYPE_F32, t->rank, shape, error);
    }
    if (status == SPRY_OK) {
        memcpy((uint8_t *)rows->data + (size_t)first * (rows->bytes / (size_t)to->total), t->data,
               t->bytes);
    }
    return status;
}

/* The features of all samples; SPRY_NEGATIVE where they do not lend themselves. */
static spry_status compute(const splitter *s, tensor *rows, spry_error *error)
{
    pass_context context = {.for_file = true};
    gatherer to = {alloc_resolve(s->options->allocator), spry_dataset_count(s->options->data),
                   rows};
    spry_model *beginning = NULL;
    spry_status status = model_copy(s->source, &beginning, error);

    if (status == SPRY_OK) {
        status = training_set_outputs(beginning->main, &s->split, 1, error);
    }
    if (status == SPRY_OK) {
        status = pass_dead(beginning->main, &context, error);
    }
    if (status == SPRY_OK) {
        status = forward_all(beginning, s->options->data, s->options, "computing features",
                             take_rows, &to, error);
    }
    spry_model_destroy(beginning);
    return status;
}

/* ---- the rest ---- */

static spry_status cut(const splitter *s, const tensor *rows, spry_model **rest, spry_error *error)
{
    pass_context context = {.for_file = true};
    spry_status status = model_copy(s->source, rest, error);
    graph *g = status == SPRY_OK ? (*rest)->main : NULL;

    if (status != SPRY_OK) {
        return status;
    }
    for (int32_t i = 0; i < g->node_count; i++) {
        for (int32_t k = 0; k < g->nodes[i].output_count; k++) {
            if (g->nodes[i].outputs[k] == s->split) {
                graph_set_output(g, i, k, GRAPH_NONE);
            }
        }
    }
    g->values[s->split].type = graph_type_tensor(SPRY_DTYPE_F32, rows->rank, rows->shape);
    g->values[s->split].type.dims[0] = g->values[g->inputs[0]].type.dims[0];
    status = training_set_inputs(g, &s->split, 1, error);
    return status == SPRY_OK ? pass_dead(g, &context, error) : status;
}

/* Patterns may fit nothing in the rest, so weights are named one by one. */
static spry_status name_weights(const splitter *s, arena *memory, features *f, spry_error *error)
{
    f->rules = arena_array(memory, (size_t)s->weights.count + 1, sizeof *f->rules);
    if (f->rules == NULL) {
        return alloc_failed(error, (size_t)s->weights.count * sizeof *f->rules);
    }
    f->rules[f->rule_count++] = (spry_train_rule){"*", true, -1, -1};
    for (int32_t i = 0; i < s->weights.count; i++) {
        const parameter *p = &s->weights.items[i];

        f->rules[f->rule_count++] = (spry_train_rule){p->name, false, p->rate, p->decay};
    }
    return SPRY_OK;
}

/* ---- the whole ---- */

static spry_status split(splitter *s, arena *memory, features *f, spry_error *error)
{
    tensor rows = {0};
    spry_status status = compute(s, &rows, error);

    if (status == SPRY_OK) {
        status = cut(s, &rows, &f->rest, error);
    }
    if (status == SPRY_OK) {
        status = name_weights(s, memory, f, error);
    }
    if (status != SPRY_OK) {
        if (rows.data != NULL) {
            tensor_fini(&rows);
        }
        features_close(f);
        return status == SPRY_NEGATIVE ? SPRY_OK : status;
    }
    return dataset_of_rows(s->options->data, &rows, &f->rows, error);
}

spry_status features_open(const spry_model *source, const spry_train_options *options,
                          arena *memory, features *f, spry_error *error)
{
    splitter s = {.source = source, .g = source->main, .options = options};
    size_t values = (size_t)source->main->value_count + 1;
    spry_status status;

    *f = (features){.rest = NULL};
    if (options->rule_count == 0 || (options->augment != NULL && options->augment[0] != '\0')) {
        return SPRY_OK;
    }
    s.trained = arena_array(memory, values, sizeof *s.trained);
    s.sampled = arena_array(memory, values, sizeof *s.sampled);
    if (s.trained == NULL || s.sampled == NULL) {
        return alloc_failed(error, values * sizeof *s.trained);
    }
    status =
        parameters_choose(source, options->rules, options->rule_count, memory, &s.weights, error);
    if (status != SPRY_OK || !mark_values(&s)) {
        return status;
    }
    find_split(&s);
    return s.split != GRAPH_NONE ? split(&s, memory, f, error) : SPRY_OK;
}

void features_close(features *f)
{
    spry_model_destroy(f->rest);
    spry_dataset_close(f->rows);
    f->rest = NULL;
    f->rows = NULL;
}
