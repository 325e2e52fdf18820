/* Scores against classes. */
#include "train/validate.h"

#include <math.h>

#include "tensor/value.h"
#include "train/forward.h"

typedef struct validator {
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

static spry_status count_batch(void *context, const value *scores, const int64_t *labels,
                               int64_t first, int64_t count, spry_error *error)
{
    validator *v = context;
    const tensor *t = &scores->tensor;

    (void)first;
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

spry_status validate(const spry_model *m, const spry_train_options *options, int64_t classes,
                     validation *result, spry_error *error)
{
    double total = (double)spry_dataset_count(options->validation);
    validator v = {.classes = classes};
    spry_status status =
        forward_all(m, options->validation, options, "validating", count_batch, &v, error);

    *result = (validation){(double)v.right / total, v.loss / total};
    return status;
}
