/* Means of both models, layer by layer. */
#include "quantize/prepare/bias_correction.h"

#include <string.h>

#include "base/alloc.h"
#include "model/pass.h"
#include "quantize/calibrate/channel_summary.h"
#include "quantize/format/qdq.h"
#include "quantize/prepare/bias.h"

/* An operator with integer weights, in the order of the graph. */
typedef struct layer {
    int32_t node;
    int32_t weights; /* of job->weights */
} layer;

typedef struct corrector {
    quantize_job *job;
    arena memory;
    graph_uses uses;
    layer *layers;
    channel_summary *means; /* of the outputs of each, bias included, in the float model */
    int32_t count;
    tensor *rounded; /* [job->weight_count]: what the codes stand for */
} corrector;

/* ---- layers ---- */

static spry_status find_layers(corrector *c, spry_error *error)
{
    quantize_job *job = c->job;
    const graph *g = job->m->main;
    spry_status status = graph_find_uses(g, &c->memory, &c->uses, error);

    c->layers = arena_array(&c->memory, (size_t)job->node_count + 1, sizeof *c->layers);
    c->means = arena_array(&c->memory, (size_t)job->node_count + 1, sizeof *c->means);
    if (status == SPRY_OK && (c->layers == NULL || c->means == NULL)) {
        status = alloc_failed(error, (size_t)job->node_count * sizeof *c->layers);
    }
    for (int32_t i = 0; status == SPRY_OK && i < job->node_count; i++) {
        const graph_node *n = &g->nodes[i];
        const weight_record *r = job->record_of[i];

        if (r == NULL ||
            (strcmp(n->type, "ConvTranspose") == 0 && graph_attribute_int(n, "group", 1) != 1)) {
            continue;
        }
        int64_t channels = r->w.outputs;
        channel_summary *means = &c->means[c->count];

        c->layers[c->count] = (layer){i, (int32_t)(r - job->weights)};
        *means =
            (channel_summary){.value = bias_result(g, &c->uses, i, channels),
                              .channels = channels,
                              .channels_last = channel_summary_last(n),
                              .means = arena_array(&c->memory, (size_t)channels, sizeof(double))};
        if (means->means == NULL) {
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

static spry_status correct_layer(corrector *c, int32_t index, spry_error *error)
{
    const channel_summary *exact = &c->means[index];
    channel_summary found = *exact;
    model *rounded = NULL;
    spry_status status;

    found.means = arena_array(&c->memory, (size_t)found.channels, sizeof *found.means);
    if (found.means == NULL) {
        return alloc_failed(error, (size_t)found.channels * sizeof *found.means);
    }
    status = make_rounded(c, found.value, &rounded, error);
    if (status == SPRY_OK) {
        status =
            channel_summary_find(rounded, c->job->options, &found, 1, "correcting biases", error);
    }
    spry_model_destroy(rounded);
    for (int64_t k = 0; status == SPRY_OK && k < found.channels; k++) {
        found.means[k] = exact->means[k] - found.means[k];
    }
    return status == SPRY_OK ? bias_add(c->job->m->main, &c->uses, c->layers[index].node,
                                        found.channels, found.means, error)
                             : status;
}

static spry_status correct_layers(corrector *c, spry_error *error)
{
    spry_status status = channel_summary_find(c->job->m, c->job->options, c->means, c->count,
                                              "correcting biases", error);

    if (status == SPRY_OK) {
        status = dequantise(c, error);
    }
    for (int32_t i = 0; status == SPRY_OK && i < c->count; i++) {
        status = correct_layer(c, i, error);
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
