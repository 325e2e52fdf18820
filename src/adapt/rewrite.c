/* Two copies of a graph: one to rewrite, one to look at. */
#include "adapt/rewrite.h"

#include <string.h>

#include "adapt/method.h"
#include "base/alloc.h"
#include "base/limits.h"
#include "model/graph_walk.h"
#include "model/infer.h"
#include "model/insert.h"
#include "model/pass.h"

/* ---- the copy to look at ---- */

/* Sizes for what a model leaves open: a batch of one; elsewhere something that convolutions and
 * poolings survive. */
static spry_status bind_sizes(graph *s, spry_error *error)
{
    enum { OPEN_IMAGE = 224, OPEN_LENGTH = 16, IMAGE_RANK = 4 };

    for (int32_t i = 0; i < s->input_count; i++) {
        const graph_value *v = &s->values[s->inputs[i]];
        graph_type type = v->type;
        spry_status status;

        if (type.kind != GRAPH_TYPE_TENSOR || !type.has_rank) {
            continue;
        }
        for (int axis = 0; axis < type.rank; axis++) {
            if (type.dims[axis].size < 0) {
                int64_t size = axis == 0 ? 1 : type.rank == IMAGE_RANK ? OPEN_IMAGE : OPEN_LENGTH;

                type.dims[axis] = (graph_dim){size, NULL};
            }
        }
        status = infer_bind_input(s, v->name, &type, error);
        if (status != SPRY_OK) {
            return status;
        }
    }
    return SPRY_OK;
}

spry_status rewrite_settle(graph *s, const model *m, spry_error *error)
{
    enum { MOST_ROUNDS = 4 };
    pass_context context = {.m = m, .for_file = true};
    int64_t before = -1;
    spry_status status = SPRY_OK;

    s->source = m;
    for (int i = 0; status == SPRY_OK && i < MOST_ROUNDS && context.changes != before; i++) {
        before = context.changes;
        status = infer_graph(s, error);
        if (status == SPRY_OK) {
            status = pass_fold(s, &context, error);
        }
    }
    return status;
}

spry_status rewrite_look(const model *m, arena *memory, graph **s, spry_error *error)
{
    spry_status status = graph_copy(m->main, memory, NULL, s, error);

    if (status == SPRY_OK) {
        status = bind_sizes(*s, error);
    }
    return status == SPRY_OK ? rewrite_settle(*s, m, error) : status;
}

static spry_status make_looking_glass(rewrite *job, spry_error *error)
{
    spry_status status = rewrite_look(job->m, &job->memory, &job->s, error);

    if (status == SPRY_OK) {
        status = graph_find_uses(job->s, &job->memory, &job->uses, error);
    }
    if (status == SPRY_OK) {
        status = graph_find_uses(job->g, &job->memory, &job->file_uses, error);
    }
    return status;
}

static spry_status fold_norms(rewrite *job, spry_error *error)
{
    const adapt_method *method = adapt_method_find(job->options.method);
    pass_context context = {.m = job->m, .for_file = true};

    if (method == NULL || !method->folds_norms) {
        return SPRY_OK;
    }
    job->g->source = job->m;
    return pass_batchnorm(job->g, &context, error);
}

spry_status rewrite_open(rewrite *job, const spry_model *source, const spry_adapt_options *options,
                         spry_error *error)
{
    spry_status status;

    *job = (rewrite){.found = {.head = GRAPH_NONE}};
    arena_init(&job->memory, &source->allocator, SIZE_MAX);
    if (options != NULL) {
        job->options = *options;
    }
    if (source->function_count != 0) {
        return spry_fail(error, SPRY_UNSUPPORTED, source->path,
                         "export the model again without functions",
                         "it calls functions of its own, which are not looked into");
    }
    status = model_copy(source, &job->m, error);
    if (status != SPRY_OK) {
        return status;
    }
    job->g = job->m->main;
    job->opset = (int32_t)model_opset_version(job->m, "");
    status = graph_sort(job->g, error);
    if (status == SPRY_OK) {
        status = fold_norms(job, error);
    }
    if (status == SPRY_OK) {
        status = make_looking_glass(job, error);
    }
    return status == SPRY_OK ? structure_find(job->s, &job->uses, &job->memory, &job->found, error)
                             : status;
}

void rewrite_close(rewrite *job)
{
    const spry_allocator *allocator = &job->memory.allocator;

    alloc_release(allocator, job->trainable, job->trainable_capacity * sizeof *job->trainable);
    alloc_release(allocator, job->labels, job->label_capacity * sizeof *job->labels);
    alloc_release(allocator, job->sites, job->site_capacity * sizeof *job->sites);
    spry_model_destroy(job->m);
    arena_fini(&job->memory);
}

/* ---- parameters ---- */

graph_node *rewrite_node(const rewrite *job, int32_t id, int32_t *index)
{
    *index = job->g->values[id].producer;
    return *index != GRAPH_NONE ? &job->g->nodes[*index] : NULL;
}

const tensor *rewrite_known(const rewrite *job, int32_t id)
{
    return id < job->s->value_count ? job->s->values[id].constant : graph_constant(job->g, id);
}

/* Nodes that only reshape or transpose a weight, as exporters leave them. */
static bool only_moves(const graph_node *n)
{
    return graph_node_is(n, "Transpose") || graph_node_is(n, "Identity") ||
           graph_node_is(n, "Reshape") || graph_node_is(n, "Squeeze") ||
           graph_node_is(n, "Unsqueeze");
}

static int32_t use_count(const rewrite *job, int32_t id)
{
    return job->file_uses.offsets[id + 1] - job->file_uses.offsets[id];
}

/* An initializer of its own for that port. */
static spry_status copy_parameter(rewrite *job, int32_t node, int32_t port, const tensor *t,
                                  int32_t *parameter, spry_error *error)
{
    int32_t id = job->g->nodes[node].inputs[port];
    spry_status status = insert_constant(job->g, job->g->values[id].name, "own", t->dtype, t->rank,
                                         t->shape, t->data, parameter, error);

    if (status == SPRY_OK) {
        graph_set_input(job->g, node, port, *parameter);
    }
    return status;
}

spry_status rewrite_parameter(rewrite *job, int32_t id, int32_t port, int32_t *parameter,
                              spry_error *error)
{
    graph *g = job->g;
    int32_t node = g->values[id].producer;
    char label[256];
    bool is_shared = false;

    for (int32_t steps = 0; steps < g->node_count; steps++) {
        int32_t from = g->nodes[node].inputs[port];
        const graph_value *v = &g->values[from];
        const graph_node *maker = v->producer != GRAPH_NONE ? &g->nodes[v->producer] : NULL;
        const tensor *held = rewrite_known(job, from);

        is_shared = is_shared || (from < job->s->value_count && use_count(job, from) > 1);
        if (maker == NULL && graph_constant(g, from) != NULL) {
            *parameter = from;
            return is_shared
                       ? copy_parameter(job, node, port, graph_constant(g, from), parameter, error)
                       : SPRY_OK;
        }
        if (maker != NULL && only_moves(maker) && !is_shared) {
            node = v->producer;
            port = 0;
            continue;
        }
        if (maker != NULL && held != NULL) {
            return copy_parameter(job, node, port, held, parameter, error);
        }
        break;
    }
    return spry_fail(error, SPRY_UNSUPPORTED,
                     graph_node_label(g, &g->nodes[node], label, sizeof label),
                     "export the model with its weights as initializers",
                     "what is to be trained is an input of the model, or computed");
}

/* ---- lists ---- */

spry_status rewrite_train(rewrite *job, int32_t parameter, spry_error *error)
{
    void *list = job->trainable;
    spry_status status;

    for (int32_t i = 0; i < job->trainable_count; i++) {
        if (job->trainable[i] == parameter) {
            return SPRY_OK;
        }
    }
    status = alloc_grow(&job->memory.allocator, &list, &job->trainable_capacity,
                        (size_t)job->trainable_count + 1, sizeof *job->trainable,
                        LIMIT_GRAPH_INITIALIZERS, error);
    job->trainable = list;
    if (status == SPRY_OK) {
        job->trainable[job->trainable_count++] = parameter;
    }
    return status;
}

spry_status rewrite_mention(rewrite *job, int32_t id, spry_error *error)
{
    void *list = job->labels;
    char label[256];
    int32_t node = job->g->values[id].producer;
    spry_status status =
        alloc_grow(&job->memory.allocator, &list, &job->label_capacity,
                   (size_t)job->label_count + 1, sizeof *job->labels, LIMIT_GRAPH_NODES, error);
    const char *text;

    job->labels = list;
    if (status != SPRY_OK || node == GRAPH_NONE) {
        return status;
    }
    (void)graph_node_label(job->g, &job->g->nodes[node], label, sizeof label);
    for (int32_t i = 0; i < job->label_count; i++) {
        if (strcmp(job->labels[i], label) == 0) {
            return SPRY_OK;
        }
    }
    text = arena_text(&job->memory, label, strlen(label));
    if (text == NULL) {
        return alloc_failed(error, sizeof label);
    }
    job->labels[job->label_count++] = text;
    return SPRY_OK;
}

spry_status rewrite_add_site(rewrite *job, const adapt_site *site, spry_error *error)
{
    void *list = job->sites;
    spry_status status =
        alloc_grow(&job->memory.allocator, &list, &job->site_capacity, (size_t)job->site_count + 1,
                   sizeof *job->sites, LIMIT_GRAPH_NODES, error);

    job->sites = list;
    if (status == SPRY_OK) {
        job->sites[job->site_count++] = *site;
    }
    return status;
}

/* ---- the end ---- */

/* What is known of values may no longer be so. */
static void forget_types(graph *g)
{
    for (int32_t i = 0; i < g->value_count; i++) {
        graph_value *v = &g->values[i];

        if (!v->is_input && v->constant == NULL && v->type.kind == GRAPH_TYPE_TENSOR &&
            v->producer != GRAPH_NONE) {
            v->type.has_rank = false;
            v->content = NULL;
            v->content_count = 0;
        }
    }
}

/* Infers anew, keeping of what outputs were said to be (names of dimensions) what still fits. */
static spry_status infer_anew(graph *g, spry_error *error)
{
    size_t count = (size_t)g->output_count;
    graph_type *said = arena_array(g->memory, count + 1, sizeof *said);
    spry_status status;

    if (said == NULL) {
        return alloc_failed(error, count * sizeof *said);
    }
    for (size_t i = 0; i < count; i++) {
        said[i] = g->values[g->outputs[i]].type;
    }
    forget_types(g);
    status = infer_graph(g, error);
    for (size_t i = 0; status == SPRY_OK && i < count; i++) {
        (void)infer_merge(&g->values[g->outputs[i]].type, &said[i]);
    }
    return status;
}

spry_status rewrite_finish(rewrite *job, spry_error *error)
{
    pass_context context = {.m = job->m, .for_file = true};
    spry_status status = graph_sort(job->g, error);

    if (status == SPRY_OK) {
        status = pass_dead(job->g, &context, error);
    }
    return status == SPRY_OK ? infer_anew(job->g, error) : status;
}
