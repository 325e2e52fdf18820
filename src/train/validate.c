/* A session over batches of the validation data. */
#include "train/validate.h"

#include <math.h>

#include "base/progress.h"
#include "tensor/convert.h"
#include "tensor/value.h"

enum { BATCH = 64, MOST_OUTPUTS = 64 };

typedef struct validator {
    const spry_train_options *options;
    spry_session *session;
    spry_port input;
    int32_t output_count;
    int64_t classes;
    int64_t right;
    double loss;
} validator;

int64_t validate_best(const float *scores, int64_t classes)
{
    int64_t best = 0;

    for (int64_t i = 1; i < classes; i++) {
        best = scores[i] > scores[best] ? i : best;
    }
    return best;
}

double validate_row(const float *scores, int64_t classes, int64_t label, int64_t *right)
{
    int64_t best = validate_best(scores, classes);
    double sum = 0;

    for (int64_t i = 0; i < classes; i++) {
        sum += exp((double)scores[i] - (double)scores[best]);
    }
    *right += best == label;
    return (double)scores[best] + log(sum) - (double)scores[label];
}

static spry_status count_batch(validator *v, const value *scores, const int64_t *labels,
                               int64_t count, spry_error *error)
{
    const tensor *t = &scores->tensor;

    if (scores->kind != SPRY_VALUE_TENSOR || t->dtype != SPRY_DTYPE_F32 ||
        tensor_count(t) != count * v->classes) {
        return spry_fail(error, SPRY_USAGE, "validation", NULL,
                         "the first output is not [batch, classes] of type f32");
    }
    for (int64_t i = 0; i < count; i++) {
        if (labels[i] < 0 || labels[i] >= v->classes) {
            return spry_fail(error, SPRY_USAGE, "validation",
                             "train and validate with the same classes",
                             "class %lld is not among the model's %lld", (long long)labels[i],
                             (long long)v->classes);
        }
        v->loss +=
            validate_row((const float *)t->data + i * v->classes, v->classes, labels[i], &v->right);
    }
    return SPRY_OK;
}

static spry_status run_batch(validator *v, int64_t first, int64_t count, spry_error *error)
{
    const char *const names[] = {v->input.name};
    int64_t labels[BATCH];
    spry_value *outputs[MOST_OUTPUTS] = {NULL};
    spry_tensor *samples = NULL;
    spry_value *input = NULL;
    spry_status status =
        spry_dataset_batch(v->options->validation, first, count, v->options->recipe, v->input.dtype,
                           v->input.rank, v->input.shape, &samples, labels, error);

    if (status == SPRY_OK) {
        status = spry_value_from_tensor(v->options->allocator, samples, &input, error);
    }
    if (status == SPRY_OK) {
        const spry_value *const inputs[] = {input};

        status = spry_session_run(v->session, 1, names, inputs, v->output_count, outputs, error);
    }
    if (status == SPRY_OK) {
        status = count_batch(v, outputs[0], labels, count, error);
    }
    for (int32_t i = 0; i < v->output_count; i++) {
        spry_value_destroy(outputs[i]);
    }
    spry_value_destroy(input);
    return status;
}

static spry_status run_all(validator *v, spry_error *error)
{
    int64_t total = spry_dataset_count(v->options->validation);
    int64_t batch = v->input.shape[0] > 0 && v->input.shape[0] < BATCH ? v->input.shape[0] : BATCH;
    spry_status status = SPRY_OK;

    for (int64_t first = 0; first < total && status == SPRY_OK; first += batch) {
        int64_t count = total - first < batch ? total - first : batch;

        status = run_batch(v, first, count, error);
        if (status == SPRY_OK) {
            status = progress_report(v->options->progress, "validating", (double)(first + count),
                                     (double)total, error);
        }
    }
    return status;
}

spry_status validate(const spry_model *m, const spry_train_options *options, int64_t classes,
                     validation *result, spry_error *error)
{
    spry_session_options session = spry_session_options_default();
    double total = (double)spry_dataset_count(options->validation);
    validator v = {.options = options, .classes = classes};
    spry_status status;

    session.threads = options->threads;
    session.allocator = options->allocator;
    v.output_count = spry_model_output_count(m);
    if (v.output_count > MOST_OUTPUTS) {
        return spry_fail(error, SPRY_UNSUPPORTED, "validation", NULL,
                         "the model has more than %d outputs", MOST_OUTPUTS);
    }
    status = spry_model_input(m, 0, &v.input, error);
    if (status == SPRY_OK) {
        status = spry_session_create(m, &session, &v.session, error);
    }
    if (status == SPRY_OK) {
        status = run_all(&v, error);
    }
    spry_session_destroy(v.session);
    *result = (validation){(double)v.right / total, v.loss / total};
    return status;
}
