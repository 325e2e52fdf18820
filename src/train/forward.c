/* A session over batches. */
#include "train/forward.h"

#include "base/alloc.h"
#include "base/progress.h"
#include "train/inputs.h"

enum { BATCH = 64, MOST_OUTPUTS = 64 };

typedef struct runner {
    spry_dataset *data;
    const spry_train_options *options;
    spry_session *session;
    input_arrays parts;
    int32_t output_count;
    int64_t *labels; /* of one batch */
    forward_visit visit;
    void *context;
} runner;

/* Samples of every input. */
static spry_status load_batch(runner *r, int64_t first, int64_t count, const char **names,
                              spry_value **inputs, spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int32_t i = 0; i < r->parts.count && status == SPRY_OK; i++) {
        const spry_port *port = &r->parts.ports[i];
        spry_tensor *samples = NULL;

        names[i] = port->name;
        status = spry_dataset_batch(
            r->parts.data[i], first, count, input_arrays_recipe(&r->parts, i, r->options->recipe),
            port->dtype, port->rank, port->shape, &samples, i == 0 ? r->labels : NULL, error);
        if (status == SPRY_OK) {
            status = spry_value_from_tensor(r->options->allocator, samples, &inputs[i], error);
        }
    }
    return status;
}

static spry_status run_batch(runner *r, int64_t first, int64_t count, spry_error *error)
{
    const char *names[INPUTS_MOST];
    spry_value *inputs[INPUTS_MOST] = {NULL};
    spry_value *outputs[MOST_OUTPUTS] = {NULL};
    spry_status status = load_batch(r, first, count, names, inputs, error);

    if (status == SPRY_OK) {
        status =
            spry_session_run(r->session, r->parts.count, names, (const spry_value *const *)inputs,
                             r->output_count, outputs, error);
    }
    if (status == SPRY_OK) {
        status = r->visit(r->context, outputs[0], r->labels, first, count, error);
    }
    for (int32_t i = 0; i < r->output_count; i++) {
        spry_value_destroy(outputs[i]);
    }
    for (int32_t i = 0; i < r->parts.count; i++) {
        spry_value_destroy(inputs[i]);
    }
    return status;
}

static int64_t batch_of(const runner *r)
{
    const spry_port *first = &r->parts.ports[0];

    return r->options->whole                        ? spry_dataset_count(r->data)
           : first->rank > 0 && first->shape[0] > 0 ? first->shape[0]
                                                    : BATCH;
}

static spry_status run_all(runner *r, const char *task, spry_error *error)
{
    const spry_allocator allocator = alloc_resolve(r->options->allocator);
    int64_t total = spry_dataset_count(r->data);
    int64_t batch = batch_of(r);
    spry_status status = SPRY_OK;

    r->labels = alloc_array(&allocator, (size_t)batch, sizeof *r->labels);
    if (r->labels == NULL) {
        return alloc_failed(error, (size_t)batch * sizeof *r->labels);
    }
    for (int64_t first = 0; first < total && status == SPRY_OK; first += batch) {
        int64_t count = total - first < batch ? total - first : batch;

        status = run_batch(r, first, count, error);
        if (status == SPRY_OK) {
            status = progress_report(r->options->progress, task, (double)(first + count),
                                     (double)total, error);
        }
    }
    alloc_release(&allocator, r->labels, (size_t)batch * sizeof *r->labels);
    return status;
}

spry_status forward_all(const spry_model *m, spry_dataset *data, const spry_train_options *options,
                        const char *task, forward_visit visit, void *context, spry_error *error)
{
    spry_session_options session = spry_session_options_default();
    runner r = {.data = data, .options = options, .visit = visit, .context = context};
    spry_status status;

    session.threads = options->threads;
    session.allocator = options->allocator;
    r.output_count = spry_model_output_count(m);
    if (r.output_count > MOST_OUTPUTS) {
        return spry_fail(error, SPRY_UNSUPPORTED, task, NULL, "the model has more than %d outputs",
                         MOST_OUTPUTS);
    }
    status = input_arrays_open(m, data, &r.parts, error);
    if (status == SPRY_OK) {
        status = spry_session_create(m, &session, &r.session, error);
    }
    if (status == SPRY_OK) {
        status = run_all(&r, task, error);
    }
    spry_session_destroy(r.session);
    input_arrays_close(&r.parts);
    return status;
}
