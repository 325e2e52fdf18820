/* Means of both models, layer by layer. */
#include "quantize/bias_correction.h"

#include <string.h>

#include "base/alloc.h"
#include "model/pass.h"
#include "quantize/bias.h"
#include "quantize/qdq.h"
#include "quantize/samples.h"

/* An operator with integer weights, in the order of the graph. */
typedef struct layer {
    int32_t node;
    int32_t value;   /* its outputs, bias included */
    int32_t weights; /* of job->weights */
    int64_t channels;
    bool channels_last;
    double *means; /* [channels], of the float model */
} layer;

typedef struct corrector {
    quantize_job *job;
    arena memory;
    graph_uses uses;
    layer *layers;
    int32_t count;
    tensor *rounded; /* [job->weight_count]: what the codes stand for */
} corrector;

/* ---- means ---- */

/* Sums per channel over batches. */
typedef struct summer {
    const layer *layers;
    double **sums;       /* [layer][channels] */
    int64_t count;       /* of layers */
    double *per_channel; /* [layer]: numbers per channel */
} summer;

static void add_up(const spry_tensor *t, const layer *l, double *sums)
{
    const float *x = t->data;
    int64_t count = tensor_count(t);
    int64_t inner = l->channels_last ? 1 : tensor_span(t, 2, t->rank);

    for (int64_t i = 0; i < count; i += inner) {
        double sum = 0.0;

        for (int64_t k = 0; k < inner; k++) {
            sum += (double)x[i + k];
        }
        sums[i / inner % l->channels] += sum;
    }
}

static spry_status watch(void *context, const samples_view *view, spry_error *error)
{
    summer *s = context;

    (void)error;
    for (int64_t i = 0; i < s->count; i++) {
        add_up(view->tensors[i], &s->layers[i], s->sums[i]);
        s->per_channel[i] += (double)tensor_count(view->tensors[i]) / (double)s->layers[i].channels;
    }
    return SPRY_OK;
}

/* Fills means[layer][channels] by running `m`. */
static spry_status find_means(corrector *c, const model *m, const layer *layers, int32_t count,
                              double **means, spry_error *error)
{
    size_t room = (size_t)count + 1;
    int32_t *values = arena_array(&c->memory, room, sizeof *values);
    double *per_channel = arena_array(&c->memory, room, sizeof *per_channel);
    summer s = {.layers = layers, .sums = means, .count = count, .per_channel = per_channel};
    spry_status status;

    if (values == NULL || per_channel == NULL) {
        return alloc_failed(error, room * sizeof *per_channel);
    }
    for (int32_t i = 0; i < count; i++) {
        values[i] = layers[i].value;
        memset(means[i], 0, (size_t)layers[i].channels * sizeof *means[i]);
    }
    status =
        samples_visit(m, c->job->options, values, count, "correcting biases", watch, &s, error);
    for (int32_t i = 0; status == SPRY_OK && i < count; i++) {
        for (int64_t k = 0; k < layers[i].channels; k++) {
            means[i][k] /= per_channel[i];
        }
    }
    return status;
}

/* ---- layers ---- */

static int32_t find_weights(const quantize_job *job, int32_t node)
{
    const char *reason;
    weight w;

    for (int32_t i = 0; weight_of_node(job->m->main, node, &w, &reason) && i < job->weight_count;
         i++) {
        if (job->weights[i].w.value == w.value && job->weights[i].w.output_axis == w.output_axis) {
            return i;
        }
    }
    return GRAPH_NONE;
}

static spry_status find_layers(corrector *c, spry_error *error)
{
    quantize_job *job = c->job;
    const graph *g = job->m->main;
    spry_status status = graph_find_uses(g, &c->memory, &c->uses, error);

    c->layers = arena_array(&c->memory, (size_t)job->node_count + 1, sizeof *c->layers);
    if (status == SPRY_OK && c->layers == NULL) {
        status = alloc_failed(error, (size_t)job->node_count * sizeof *c->layers);
    }
    for (int32_t i = 0; status == SPRY_OK && i < job->node_count; i++) {
        const graph_node *n = &g->nodes[i];
        int32_t index = job->is_integer[i] ? find_weights(job, i) : GRAPH_NONE;

        if (index == GRAPH_NONE ||
            (strcmp(n->type, "ConvTranspose") == 0 && graph_attribute_int(n, "group", 1) != 1)) {
            continue;
        }
        int64_t channels = job->weights[index].w.outputs;
        layer *l = &c->layers[c->count];

        *l =
            (layer){.node = i,
                    .value = bias_result(g, &c->uses, i, channels),
                    .weights = index,
                    .channels = channels,
                    .channels_last = strcmp(n->type, "Gemm") == 0 || strcmp(n->type, "MatMul") == 0,
                    .means = arena_array(&c->memory, (size_t)channels, sizeof(double))};
        if (l->means == NULL) {
            return alloc_failed(error, (size_t)channels * sizeof(double));
        }
        c->count++;
    }
    return status;
}

/* ---- the rounded model ---- */

static spry_status dequantise(corrector *c, spry_error *error)
{
    const quantize_job *job = c->job;
    spry_status status = SPRY_OK;

    c->rounded = arena_array(&c->memory, (size_t)job->weight_count, sizeof *c->rounded);
    if (c->rounded == NULL) {
        return alloc_failed(error, (size_t)job->weight_count * sizeof *c->rounded);
    }
    for (int32_t i = 0; status == SPRY_OK && i < job->weight_count; i++) {
        const weight_record *r = &job->weights[i];
        const weight *w = &r->w;
        const int8_t *code = r->codes;
        float *to = arena_bytes(&c->memory, (size_t)weight_count(w) * sizeof *to);

        status = tensor_init(&c->rounded[i], SPRY_DTYPE_F32, w->source->rank, w->source->shape,
                             NULL, error);
        if (to == NULL) {
            return alloc_failed(error, (size_t)weight_count(w) * sizeof *to);
        }
        c->rounded[i].data = to;
        for (int64_t m = 0; m < w->outputs; m++) {
            for (int64_t n = 0; n < w->inputs; n++) {
                float *at = to + m * w->output_stride + n * w->input_stride;
                int64_t block = record_block(r, m, n);

                for (int64_t tap = 0; tap < w->taps; tap++) {
                    at[tap] = record_value(r, block, *code++);
                }
            }
        }
    }
    return status;
}

/* What nothing but the layer's outputs needs is left out. */
static spry_status keep_only(graph *g, int32_t value, spry_error *error)
{
    pass_context context = {.for_file = true};
    int32_t *outputs = arena_array(g->memory, 1, sizeof *outputs);
    spry_status status;

    if (outputs == NULL) {
        return alloc_failed(error, sizeof *outputs);
    }
    for (int32_t i = 0; i < g->output_count; i++) {
        g->values[g->outputs[i]].is_output = false;
    }
    outputs[0] = value;
    g->values[value].is_output = true;
    g->outputs = outputs;
    g->output_count = 1;
    status = graph_sort(g, error);
    return status == SPRY_OK ? pass_dead(g, &context, error) : status;
}

static spry_status make_rounded(const corrector *c, int32_t value, model **made, spry_error *error)
{
    const quantize_job *job = c->job;
    spry_status status = model_copy(job->m, made, error);
    graph *g = status == SPRY_OK ? (*made)->main : NULL;

    for (int32_t i = 0; status == SPRY_OK && i < c->count; i++) {
        const layer *l = &c->layers[i];
        int32_t id;

        status = graph_add_constant(g, g->values[job->weights[l->weights].w.value].name,
                                    &c->rounded[l->weights], &id, error);
        if (status == SPRY_OK) {
            graph_set_input(g, l->node, WEIGHTS_PORT, id);
        }
    }
    for (int32_t i = 0; status == SPRY_OK && i < job->activation_count; i++) {
        const activation_record *a = &job->activations[i];

        status = qdq_replace_activation(g, a->value, &a->grid, job->opset, error);
    }
    return status == SPRY_OK ? keep_only(g, value, error) : status;
}

static spry_status correct_layer(corrector *c, const layer *l, spry_error *error)
{
    double *means = arena_array(&c->memory, (size_t)l->channels, sizeof *means);
    model *rounded = NULL;
    spry_status status =
        means != NULL ? SPRY_OK : alloc_failed(error, (size_t)l->channels * sizeof *means);

    if (status == SPRY_OK) {
        status = make_rounded(c, l->value, &rounded, error);
    }
    if (status == SPRY_OK) {
        status = find_means(c, rounded, l, 1, &means, error);
    }
    spry_model_destroy(rounded);
    for (int64_t k = 0; status == SPRY_OK && k < l->channels; k++) {
        means[k] = l->means[k] - means[k];
    }
    return status == SPRY_OK
               ? bias_add(c->job->m->main, &c->uses, l->node, l->channels, means, error)
               : status;
}

static spry_status correct_layers(corrector *c, spry_error *error)
{
    double **means = arena_array(&c->memory, (size_t)c->count + 1, sizeof *means);
    spry_status status;

    if (means == NULL) {
        return alloc_failed(error, (size_t)c->count * sizeof *means);
    }
    for (int32_t i = 0; i < c->count; i++) {
        means[i] = c->layers[i].means;
    }
    status = find_means(c, c->job->m, c->layers, c->count, means, error);
    if (status == SPRY_OK) {
        status = dequantise(c, error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < c->count; i++) {
        status = correct_layer(c, &c->layers[i], error);
    }
    return status;
}

spry_status correct_biases(quantize_job *job, spry_error *error)
{
    corrector c = {.job = job};
    spry_status status;

    if (!job->options->bias_correction) {
        return SPRY_OK;
    }
    arena_init(&c.memory, &job->m->allocator, SIZE_MAX);
    status = find_layers(&c, error);
    if (status == SPRY_OK) {
        status = correct_layers(&c, error);
    }
    arena_fini(&c.memory);
    return status;
}
