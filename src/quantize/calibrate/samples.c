/* Batches through a session that gives out every value asked for. */
#include "quantize/calibrate/samples.h"

#include "base/alloc.h"
#include "base/progress.h"
#include "quantize/calibrate/synthetic.h"
#include "spry/session.h"

enum { BATCH = 16, BATCH_ELEMENTS = 1 << 18 };

/* Of large samples fewer at a time: what is looked at in between is larger still. */
static int64_t batch_for(const spry_port *input)
{
    int64_t size = 1;

    for (int i = 1; i < input->rank; i++) {
        size = input->shape[i] > 0 && size < BATCH_ELEMENTS ? size * input->shape[i] : size;
    }
    size = BATCH_ELEMENTS / size;
    return size < 1 ? 1 : size < BATCH ? size : BATCH;
}

spry_status samples_open(const model *m, const spry_quantize_options *options, samples *s,
                         spry_error *error)
{
    int64_t available =
        options->calibration != NULL ? spry_dataset_count(options->calibration) : SYNTHETIC_SAMPLES;
    spry_status status;

    *s = (samples){.options = options};
    s->recipe = options->recipe != NULL ? *options->recipe : spry_preprocess_default();
    if (spry_model_input_count(m) != 1) {
        return spry_fail(error, SPRY_USAGE, m->path, NULL,
                         "calibration feeds one input; the model has %d",
                         (int)spry_model_input_count(m));
    }
    status = spry_model_input(m, 0, &s->input, error);
    if (status == SPRY_OK && (s->input.dtype != SPRY_DTYPE_F32 || s->input.rank < 1)) {
        status = spry_fail(error, SPRY_UNSUPPORTED, s->input.name, NULL,
                           "calibration feeds inputs of f32 whose rank is stated");
    }
    if (status != SPRY_OK) {
        return status;
    }
    s->count = options->samples > 0 && options->samples < available ? options->samples : available;
    s->batch = batch_for(&s->input);
    s->batch = s->count < s->batch ? s->count : s->batch;
    if (s->input.shape[0] >= 0) {
        s->batch = s->input.shape[0];
    }
    if (s->batch < 1 || s->batch > s->count) {
        return spry_fail(error, SPRY_USAGE, s->input.name, "give more samples",
                         "the model takes batches of %lld; there are %lld samples",
                         (long long)s->input.shape[0], (long long)s->count);
    }
    return SPRY_OK;
}

/* The last batch is filled up with samples seen before: statistics hardly mind. */
int64_t samples_first(const samples *s, int64_t index)
{
    int64_t first = index * s->batch;

    return first + s->batch <= s->count ? first : s->count - s->batch;
}

spry_status samples_batch(const samples *s, const spry_allocator *allocator, int64_t index,
                          spry_value **input, spry_error *error)
{
    return samples_labelled(s, allocator, index, NULL, input, error);
}

spry_status samples_labelled(const samples *s, const spry_allocator *allocator, int64_t index,
                             int64_t *labels, spry_value **input, spry_error *error)
{
    spry_dataset *data = s->options->calibration;
    int64_t first = samples_first(s, index);
    spry_tensor *tensors = NULL;
    spry_status status =
        data == NULL
            ? synthetic_batch(allocator, &s->input, &s->recipe, first, s->batch, &tensors, error)
            : spry_dataset_batch(data, first, s->batch, &s->recipe, s->input.dtype, s->input.rank,
                                 s->input.shape, &tensors, labels, error);

    return status == SPRY_OK ? spry_value_from_tensor(allocator, tensors, input, error) : status;
}

/* ---- visits ---- */

typedef struct visit {
    samples s;
    const int32_t *values;
    int32_t value_count;
    model *m; /* a copy with the values as outputs */
    spry_session *session;
    spry_value **outputs;
    const spry_tensor **tensors; /* [value_count] */
    int32_t *output_of;          /* [value_count], or GRAPH_NONE: it is the model's input */
    int32_t output_count;
} visit;

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

spry_status samples_expose(model *m, const int32_t *values, int32_t value_count, int32_t *output_of,
                           spry_error *error)
{
    graph *g = m->main;
    size_t most = (size_t)g->output_count + (size_t)value_count;
    int32_t *outputs = arena_array(&m->memory, most, sizeof *outputs);
    int32_t count;

    if (outputs == NULL) {
        return alloc_failed(error, most * sizeof *outputs);
    }
    for (count = 0; count < g->output_count; count++) {
        outputs[count] = g->outputs[count];
    }
    for (int32_t i = 0; i < value_count; i++) {
        output_of[i] = g->values[values[i]].is_input ? GRAPH_NONE
                                                     : output_number(g, outputs, &count, values[i]);
    }
    g->outputs = outputs;
    g->output_count = count;
    return SPRY_OK;
}

static spry_status expose(visit *v, spry_error *error)
{
    size_t most = (size_t)v->m->main->output_count + (size_t)v->value_count;
    spry_status status;

    v->output_of = arena_array(&v->m->memory, most, sizeof *v->output_of);
    v->outputs = arena_array(&v->m->memory, most, sizeof(spry_value *));
    v->tensors = arena_array(&v->m->memory, most, sizeof(spry_tensor *));
    if (v->output_of == NULL || v->outputs == NULL || v->tensors == NULL) {
        return alloc_failed(error, most * sizeof *v->output_of);
    }
    status = samples_expose(v->m, v->values, v->value_count, v->output_of, error);
    v->output_count = v->m->main->output_count;
    return status;
}

static spry_status visit_batch(visit *v, int64_t index, samples_visitor visitor, void *context,
                               spry_error *error)
{
    const char *const names[] = {v->s.input.name};
    samples_view view = {samples_first(&v->s, index), v->s.batch, v->tensors};
    spry_value *input = NULL;
    spry_status status = samples_batch(&v->s, &v->m->allocator, index, &input, error);

    if (status != SPRY_OK) {
        return status;
    }
    const spry_value *const inputs[] = {input};
    status = spry_session_run(v->session, 1, names, inputs, v->output_count, v->outputs, error);
    if (status == SPRY_OK) {
        for (int32_t i = 0; i < v->value_count; i++) {
            v->tensors[i] = spry_value_tensor(
                v->output_of[i] != GRAPH_NONE ? v->outputs[v->output_of[i]] : input);
        }
        status = visitor(context, &view, error);
    }
    for (int32_t i = 0; i < v->output_count; i++) {
        spry_value_destroy(v->outputs[i]);
        v->outputs[i] = NULL;
    }
    spry_value_destroy(input);
    return status;
}

static spry_status visit_all(visit *v, const char *what, samples_visitor visitor, void *context,
                             spry_error *error)
{
    spry_status status = SPRY_OK;
    int64_t batches = samples_batches(&v->s);

    for (int64_t i = 0; status == SPRY_OK && i < batches; i++) {
        status = visit_batch(v, i, visitor, context, error);
        if (status == SPRY_OK) {
            status =
                progress_report(v->s.options->progress, what, (double)i, (double)batches, error);
        }
    }
    return status;
}

spry_status samples_visit(const model *m, const spry_quantize_options *options,
                          const int32_t *values, int32_t value_count, const char *what,
                          samples_visitor visitor, void *context, spry_error *error)
{
    visit v = {.values = values, .value_count = value_count};
    spry_session_options session = spry_session_options_default();
    spry_status status = samples_open(m, options, &v.s, error);

    session.threads = options->threads;
    if (status == SPRY_OK) {
        status = model_copy(m, &v.m, error);
    }
    if (status == SPRY_OK) {
        status = expose(&v, error);
    }
    if (status == SPRY_OK) {
        status = spry_session_create(v.m, &session, &v.session, error);
    }
    if (status == SPRY_OK) {
        status = visit_all(&v, what, visitor, context, error);
    }
    spry_session_destroy(v.session);
    spry_model_destroy(v.m);
    return status;
}
