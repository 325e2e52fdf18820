/* Losses whose gradients tell what matters. */
#include "quantize/calibrate/fisher.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "model/infer.h"
#include "model/insert.h"
#include "quantize/choice.h"
#include "spry/random.h"
#include "train/gradient/gradient.h"

enum { SEED = 4, OPSET = 13 };

static const spry_quantize_choice metrics[] = {
    [FISHER_MODEL] = {"fisher", "squared error weighted by squared gradients of the answer"},
    [FISHER_LABEL] = {"label", "the same of the samples' labels"},
    [FISHER_NONE] = {"l2", "squared error"},
    [FISHER_COSINE] = {"cosine", "angle between rows"},
    [FISHER_PERTURB] = {"perturb", "squared error weighted by how gradients change"}};

enum { METRICS = sizeof metrics / sizeof metrics[0] };

static const spry_quantize_choice *metric_at(int32_t index)
{
    return index >= 0 && index < METRICS ? &metrics[index] : NULL;
}

spry_status fisher_find(const char *name, fisher_metric *metric, spry_error *error)
{
    int32_t index = 0;
    spry_status status = choice_find("metric", name, metric_at, &index, error);

    *metric = (fisher_metric)index;
    return status;
}

/* ---- gradients ---- */

static spry_status add_input(model *m, const char *name, const graph_type *type, int32_t *added,
                             spry_error *error)
{
    graph *g = m->main;
    int32_t *inputs = arena_array(&m->memory, (size_t)g->input_count + 1, sizeof *inputs);
    spry_status status;

    if (inputs == NULL) {
        return alloc_failed(error, sizeof *inputs);
    }
    status = graph_add_value(g, name, added, error);
    if (status != SPRY_OK) {
        return status;
    }
    memcpy(inputs, g->inputs, (size_t)g->input_count * sizeof *inputs);
    inputs[g->input_count++] = *added;
    g->inputs = inputs;
    g->values[*added].type = *type;
    g->values[*added].is_input = true;
    g->values[*added].is_declared = true;
    return SPRY_OK;
}

static spry_status add_node(graph *g, const char *type, int32_t a, int32_t b, int32_t *node,
                            int32_t *result, spry_error *error)
{
    spry_status status =
        graph_add_node(g, type, "", OPSET, b == GRAPH_NONE ? 1 : 2, 1, node, error);

    if (status == SPRY_OK) {
        status = graph_add_value(g, NULL, result, error);
    }
    if (status == SPRY_OK) {
        graph_set_input(g, *node, 0, a);
        if (b != GRAPH_NONE) {
            graph_set_input(g, *node, 1, b);
        }
        graph_set_output(g, *node, 0, *result);
    }
    return status;
}

/* value[i] of a vector, with another value added. */
static spry_status add_element(graph *g, int32_t vector, int32_t index, int32_t to, int32_t *sum,
                               spry_error *error)
{
    int64_t place = index;
    int32_t at = GRAPH_NONE;
    int32_t element = GRAPH_NONE;
    int32_t node;
    spry_status status =
        insert_constant(g, FISHER_NUDGE, "at", SPRY_DTYPE_I64, 0, NULL, &place, &at, error);

    if (status == SPRY_OK) {
        status = add_node(g, "Gather", vector, at, &node, &element, error);
    }
    return status == SPRY_OK ? add_node(g, "Add", to, element, &node, sum, error) : status;
}

/* Users of `from` among the first `count` nodes, and the scores, become `to`. */
static void redirect(graph *g, int32_t from, int32_t to, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        for (int32_t port = 0; port < g->nodes[i].input_count; port++) {
            if (g->nodes[i].inputs[port] == from) {
                graph_set_input(g, i, port, to);
            }
        }
    }
    if (g->outputs[0] == from) {
        g->outputs[0] = to;
        g->values[to].is_output = true;
    }
}

spry_status fisher_nudge(model *m, int32_t *of, int32_t count, spry_error *error)
{
    graph *g = m->main;
    graph_type type = graph_type_tensor(SPRY_DTYPE_F32, 1, (int64_t[]){count});
    int32_t nodes = g->node_count;
    int32_t nudge;
    spry_status status = add_input(m, FISHER_NUDGE, &type, &nudge, error);

    for (int32_t i = 0; status == SPRY_OK && i < count; i++) {
        int32_t sum = GRAPH_NONE;

        status = add_element(g, nudge, i, of[i], &sum, error);
        if (status == SPRY_OK) {
            redirect(g, of[i], sum, nodes);
            of[i] = sum;
        }
    }
    if (status == SPRY_OK) {
        status = graph_sort(g, error);
    }
    return status == SPRY_OK ? infer_graph(g, error) : status;
}

/* The scores that the answer is made of. */
static spry_status soften(graph *g, fisher_metric metric, int32_t *scores, spry_error *error)
{
    float share = 1.0f / FISHER_TEMPERATURE;
    int32_t factor = GRAPH_NONE;
    int32_t node;
    spry_status status;

    if (metric != FISHER_PERTURB) {
        return SPRY_OK;
    }
    status =
        insert_constant(g, FISHER_TARGET, "share", SPRY_DTYPE_F32, 0, NULL, &share, &factor, error);
    return status == SPRY_OK ? add_node(g, "Mul", *scores, factor, &node, scores, error) : status;
}

spry_status fisher_extend(model *m, fisher_metric metric, const int32_t *of, int32_t count,
                          int32_t *gradients, spry_error *error)
{
    graph *g = m->main;
    int32_t scores = g->output_count > 0 ? g->outputs[0] : GRAPH_NONE;
    const graph_type *type = scores != GRAPH_NONE ? &g->values[scores].type : NULL;
    gradient_request request = {.value = scores, .of = of, .count = count};
    int32_t target;
    int32_t node;
    int32_t p;
    spry_status status;

    if (type == NULL || !graph_type_is_static(type) || type->dtype != SPRY_DTYPE_F32 ||
        type->rank != 2 || type->dims[1].size < 2) {
        return spry_fail(error, SPRY_UNSUPPORTED, m->path, NULL,
                         "the first output is no f32 scores of classes, [images][classes]");
    }
    status = add_input(m, FISHER_TARGET, type, &target, error);
    if (status == SPRY_OK) {
        status = soften(g, metric, &scores, error);
    }
    request.value = scores;
    if (status == SPRY_OK) {
        status = add_node(g, "Softmax", scores, GRAPH_NONE, &node, &p, error);
    }
    if (status == SPRY_OK) {
        status = graph_set_int(g, node, "axis", -1, error);
    }
    /* d(cross-entropy)/d(scores) = softmax(scores) - target */
    if (status == SPRY_OK) {
        status = add_node(g, "Sub", p, target, &node, &request.seed, error);
    }
    if (status == SPRY_OK) {
        status = infer_graph(g, error);
    }
    return status == SPRY_OK ? gradient_build(g, &request, gradients, error) : status;
}

/* ---- targets ---- */

fisher_plan fisher_plan_of(fisher_metric metric, int64_t images, int64_t classes)
{
    fisher_plan p = {metric, images, classes, 1};

    if (metric == FISHER_MODEL) {
        p.runs = classes <= FISHER_CLASSES ? classes : FISHER_DRAWS;
    }
    return p;
}

void fisher_soften(const float *scores, int64_t images, int64_t classes, float *target)
{
    for (int64_t i = 0; i < images * classes; i += classes) {
        double total = 0.0;
        float most = scores[i];

        for (int64_t c = 1; c < classes; c++) {
            most = scores[i + c] > most ? scores[i + c] : most;
        }
        for (int64_t c = 0; c < classes; c++) {
            total += exp(((double)scores[i + c] - (double)most) / FISHER_TEMPERATURE);
        }
        for (int64_t c = 0; c < classes; c++) {
            double part = exp(((double)scores[i + c] - (double)most) / FISHER_TEMPERATURE);

            target[i + c] = (float)(part / total);
        }
    }
}

/* exp(score - most): in proportion to probabilities. */
static double total_of(const float *scores, int64_t classes, float *most)
{
    double total = 0.0;

    *most = scores[0];
    for (int64_t c = 1; c < classes; c++) {
        *most = scores[c] > *most ? scores[c] : *most;
    }
    for (int64_t c = 0; c < classes; c++) {
        total += exp((double)scores[c] - (double)*most);
    }
    return total;
}

static int64_t draw_class(const float *scores, int64_t classes, uint64_t image, int64_t run)
{
    spry_random r = spry_random_stream(SEED, image * FISHER_DRAWS + (uint64_t)run);
    float most;
    double total = total_of(scores, classes, &most);
    double left = spry_random_f64(&r) * total;

    for (int64_t c = 0; c < classes; c++) {
        left -= exp((double)scores[c] - (double)most);
        if (left < 0.0) {
            return c;
        }
    }
    return classes - 1;
}

void fisher_target(const fisher_plan *p, int64_t run, const float *scores, const int64_t *labels,
                   int64_t first, float *target, float *weights)
{
    memset(target, 0, (size_t)(p->images * p->classes) * sizeof *target);
    for (int64_t i = 0; i < p->images; i++) {
        const float *s = scores + i * p->classes;
        int64_t class = run;

        weights[i] = 1.0f;
        if (p->metric == FISHER_LABEL) {
            class = labels[i];
        } else if (p->classes <= FISHER_CLASSES) {
            float most;
            double total = total_of(s, p->classes, &most);

            weights[i] = (float)(exp((double)s[class] - (double)most) / total);
        } else {
            class = draw_class(s, p->classes, (uint64_t)(first + i), run);
            weights[i] = 1.0f / FISHER_DRAWS;
        }
        if (class >= 0 && class < p->classes) {
            target[i * p->classes + class] = 1.0f;
        } else {
            weights[i] = 0.0f;
        }
    }
}
