/* Scores against classes. */
#include "train/validate.h"

#include <math.h>

#include "base/alloc.h"
#include "tensor/value.h"
#include "train/forward.h"
#include "train/inputs.h"

typedef struct validator {
    int64_t classes;
    const uint8_t *mask; /* NULL: all count */
    int64_t counted;
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
        if (v->mask != NULL && v->mask[first + i] == 0) {
            continue;
        }
        v->counted++;
        v->loss +=
            validate_row((const float *)t->data + i * v->classes, v->classes, labels[i], &v->right);
    }
    return SPRY_OK;
}

spry_status validate(const spry_model *m, const spry_train_options *options, int64_t classes,
                     validation *result, spry_error *error)
{
    const spry_allocator allocator = alloc_resolve(options->allocator);
    validator v = {.classes = classes};
    arena memory;
    spry_status status;

    arena_init(&memory, &allocator, SIZE_MAX);
    status = input_mask(options->validation, options->validation_mask, &memory, &v.mask, error);
    if (status == SPRY_OK) {
        status = forward_all(m, options->validation, options, "validating", count_batch, &v, error);
    }
    arena_fini(&memory);
    *result = (validation){(double)v.right / (double)v.counted, v.loss / (double)v.counted};
    return status;
}
