/* Batches through a session that gives out every chosen activation. */
#include "quantize/calibrate.h"

#include "base/alloc.h"
#include "base/progress.h"
#include "spry/session.h"

enum { BATCH = 16 };

typedef struct calibrator {
    const spry_quantize_options *options;
    const activations *chosen;
    observer *observers;
    model *m; /* a copy with the activations as outputs */
    spry_session *session;
    spry_port input;
    spry_preprocess recipe;
    int64_t samples;
    int64_t batch;
    int64_t *labels;      /* [batch], not used */
    spry_value **outputs; /* per chosen activation; NULL for model inputs */
    int32_t *output_of;   /* per chosen activation, or GRAPH_NONE: it is the model's input */
    int32_t output_count;
} calibrator;

/* Output number of value `id`, made an output where it is none. */
static int32_t output_number(graph *g, int32_t *outputs, int32_t *count, int32_t id)
{
    for (int32_t i = 0; g->values[id].is_output && i < *count; i++) {
        if (outputs[i] == id) {
            return i;
        }
    }
    g->values[id].is_output = true;
    outputs[*count] = id;
    return (*count)++;
}

static spry_status expose(calibrator *c, spry_error *error)
{
    graph *g = c->m->main;
    size_t most = (size_t)g->output_count + (size_t)c->chosen->count;
    int32_t *outputs = arena_array(&c->m->memory, most, sizeof *outputs);

    c->output_of = arena_array(&c->m->memory, most, sizeof *c->output_of);
    c->outputs = arena_array(&c->m->memory, most, sizeof(spry_value *));
    c->labels = arena_array(&c->m->memory, (size_t)c->batch, sizeof *c->labels);
    if (outputs == NULL || c->output_of == NULL || c->outputs == NULL || c->labels == NULL) {
        return alloc_failed(error, most * sizeof *outputs);
    }
    for (c->output_count = 0; c->output_count < g->output_count; c->output_count++) {
        outputs[c->output_count] = g->outputs[c->output_count];
    }
    for (int32_t i = 0; i < c->chosen->count; i++) {
        int32_t id = c->chosen->values[i];

        c->output_of[i] =
            g->values[id].is_input ? GRAPH_NONE : output_number(g, outputs, &c->output_count, id);
    }
    g->outputs = outputs;
    g->output_count = c->output_count;
    return SPRY_OK;
}

static spry_status find_input(calibrator *c, const model *m, spry_error *error)
{
    int64_t available = spry_dataset_count(c->options->calibration);
    spry_status status;

    if (spry_model_input_count(m) != 1) {
        return spry_fail(error, SPRY_USAGE, m->path, NULL,
                         "calibration feeds one input; the model has %d",
                         (int)spry_model_input_count(m));
    }
    status = spry_model_input(m, 0, &c->input, error);
    if (status == SPRY_OK && (c->input.dtype != SPRY_DTYPE_F32 || c->input.rank < 1)) {
        status = spry_fail(error, SPRY_UNSUPPORTED, c->input.name, NULL,
                           "calibration feeds inputs of f32 whose rank is stated");
    }
    if (status != SPRY_OK) {
        return status;
    }
    c->samples = c->options->samples > 0 && c->options->samples < available ? c->options->samples
                                                                            : available;
    c->batch = c->samples < BATCH ? c->samples : BATCH;
    if (c->input.shape[0] >= 0) {
        c->batch = c->input.shape[0];
    }
    if (c->batch < 1 || c->batch > c->samples) {
        return spry_fail(error, SPRY_USAGE, c->input.name, "give more samples",
                         "the model takes batches of %lld; there are %lld samples",
                         (long long)c->input.shape[0], (long long)c->samples);
    }
    return SPRY_OK;
}

static void watch(calibrator *c, const spry_value *input)
{
    for (int32_t i = 0; i < c->chosen->count; i++) {
        const spry_value *v = c->output_of[i] != GRAPH_NONE ? c->outputs[c->output_of[i]] : input;
        const spry_tensor *t = spry_value_tensor(v);

        observe(&c->observers[i], t->data, tensor_count(t));
    }
}

static spry_status run_batch(calibrator *c, int64_t first, spry_error *error)
{
    const char *const names[] = {c->input.name};
    spry_tensor *samples = NULL;
    spry_value *input = NULL;
    spry_status status =
        spry_dataset_batch(c->options->calibration, first, c->batch, &c->recipe, c->input.dtype,
                           c->input.rank, c->input.shape, &samples, c->labels, error);

    if (status == SPRY_OK) {
        status = spry_value_from_tensor(&c->m->allocator, samples, &input, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    const spry_value *const inputs[] = {input};
    status = spry_session_run(c->session, 1, names, inputs, c->output_count, c->outputs, error);
    if (status == SPRY_OK) {
        watch(c, input);
    }
    for (int32_t i = 0; i < c->output_count; i++) {
        spry_value_destroy(c->outputs[i]);
        c->outputs[i] = NULL;
    }
    spry_value_destroy(input);
    return status;
}

static spry_status run_all(calibrator *c, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int64_t done = 0; status == SPRY_OK && done < c->samples; done += c->batch) {
        /* The last batch is filled up with samples seen before: ranges do not mind. */
        int64_t first = done + c->batch <= c->samples ? done : c->samples - c->batch;

        status = run_batch(c, first, error);
        if (status == SPRY_OK) {
            status = progress_report(c->options->progress, "calibrating", (double)done,
                                     (double)c->samples, error);
        }
    }
    return status;
}

spry_status calibrate(const model *m, const spry_quantize_options *options,
                      const activations *chosen, observer *observers, spry_error *error)
{
    calibrator c = {.options = options, .chosen = chosen, .observers = observers};
    spry_session_options session = spry_session_options_default();
    spry_status status = find_input(&c, m, error);

    c.recipe = options->recipe != NULL ? *options->recipe : spry_preprocess_default();
    session.threads = options->threads;
    if (status == SPRY_OK) {
        status = model_copy(m, &c.m, error);
    }
    if (status == SPRY_OK) {
        status = expose(&c, error);
    }
    if (status == SPRY_OK) {
        status = spry_session_create(c.m, &session, &c.session, error);
    }
    if (status == SPRY_OK) {
        status = run_all(&c, error);
    }
    spry_session_destroy(c.session);
    spry_model_destroy(c.m);
    return status;
}
