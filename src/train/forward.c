/* A session over batches. */
#include "train/forward.h"

#include "base/alloc.h"
#include "base/progress.h"

enum { BATCH = 64, MOST_OUTPUTS = 64 };

typedef struct runner {
    spry_dataset *data;
    const spry_train_options *options;
    spry_session *session;
    spry_port input;
    int32_t output_count;
    int64_t *labels; /* of one batch */
    forward_visit visit;
    void *context;
} runner;

static spry_status run_batch(runner *r, int64_t first, int64_t count, spry_error *error)
{
    const char *const names[] = {r->input.name};
    spry_value *outputs[MOST_OUTPUTS] = {NULL};
    spry_tensor *samples = NULL;
    spry_value *input = NULL;
    spry_status status =
        spry_dataset_batch(r->data, first, count, r->options->recipe, r->input.dtype, r->input.rank,
                           r->input.shape, &samples, r->labels, error);

    if (status == SPRY_OK) {
        status = spry_value_from_tensor(r->options->allocator, samples, &input, error);
    }
    if (status == SPRY_OK) {
        const spry_value *const inputs[] = {input};

        status = spry_session_run(r->session, 1, names, inputs, r->output_count, outputs, error);
    }
    if (status == SPRY_OK) {
        status = r->visit(r->context, outputs[0], r->labels, first, count, error);
    }
    for (int32_t i = 0; i < r->output_count; i++) {
        spry_value_destroy(outputs[i]);
    }
    spry_value_destroy(input);
    return status;
}

static spry_status run_all(runner *r, const char *task, spry_error *error)
{
    const spry_allocator allocator = alloc_resolve(r->options->allocator);
    int64_t total = spry_dataset_count(r->data);
    int64_t batch = r->input.rank > 0 && r->input.shape[0] > 0 ? r->input.shape[0] : BATCH;
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
    status = spry_model_input(m, 0, &r.input, error);
    if (status == SPRY_OK) {
        status = spry_session_create(m, &session, &r.session, error);
    }
    if (status == SPRY_OK) {
        status = run_all(&r, task, error);
    }
    spry_session_destroy(r.session);
    return status;
}
