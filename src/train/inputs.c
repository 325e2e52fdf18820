/* Arrays by the names of inputs. */
#include "train/inputs.h"

#include "base/alloc.h"
#include "data/dataset.h"
#include "spry/session.h"
#include "tensor/convert.h"

spry_status input_arrays_open(const spry_model *m, spry_dataset *data, input_arrays *a,
                              spry_error *error)
{
    spry_status status = SPRY_OK;
    int32_t count = spry_model_input_count(m);

    *a = (input_arrays){.none = spry_preprocess_default()};
    if (count < 1 || count > INPUTS_MOST) {
        return spry_fail(error, SPRY_UNSUPPORTED, "model", NULL,
                         "training takes models with 1 to %d inputs; this one has %d", INPUTS_MOST,
                         count);
    }
    a->opened = count > 1;
    for (int32_t i = 0; i < count && status == SPRY_OK; i++) {
        status = spry_model_input(m, i, &a->ports[i], error);
        if (status == SPRY_OK && a->opened) {
            status = dataset_open_array(data, a->ports[i].name, &a->data[i], error);
        } else {
            a->data[i] = data;
        }
        if (status == SPRY_OK) {
            a->count++;
        }
    }
    return status;
}

void input_arrays_close(input_arrays *a)
{
    for (int32_t i = 0; i < a->count && a->opened; i++) {
        spry_dataset_close(a->data[i]);
    }
    a->count = 0;
}

const spry_preprocess *input_arrays_recipe(const input_arrays *a, int32_t i,
                                           const spry_preprocess *recipe)
{
    return a->opened && !a->data[i]->pictures ? &a->none : recipe;
}

/* Whether every sample counts; the number of those that do. */
static spry_status read_mask(spry_dataset *d, const char *name, uint8_t *mask, int64_t *counted,
                             spry_error *error)
{
    spry_status status = SPRY_OK;

    for (int64_t i = 0; i < d->count && status == SPRY_OK; i++) {
        tensor sample;

        status = dataset_read(d, &d->allocator, i, &sample, error);
        if (status == SPRY_OK && tensor_count(&sample) != 1) {
            status =
                spry_fail(error, SPRY_BAD_INPUT, name, "save one number per sample",
                          "the mask has %lld numbers per sample", (long long)tensor_count(&sample));
        } else if (status == SPRY_OK) {
            mask[i] = convert_get_f64(&sample, 0) != 0.0;
            *counted += mask[i];
        }
        tensor_fini(&sample);
    }
    return status;
}

spry_status input_mask(const spry_dataset *data, const char *name, arena *memory,
                       const uint8_t **mask, spry_error *error)
{
    spry_dataset *d = NULL;
    uint8_t *made = NULL;
    int64_t counted = 0;
    spry_status status;

    *mask = NULL;
    if (name == NULL) {
        return SPRY_OK;
    }
    status = dataset_open_array(data, name, &d, error);
    if (status == SPRY_OK) {
        made = arena_array(memory, (size_t)d->count, 1);
        status = made != NULL ? read_mask(d, name, made, &counted, error)
                              : alloc_failed(error, (size_t)d->count);
    }
    if (status == SPRY_OK && counted == 0) {
        status = spry_fail(error, SPRY_USAGE, name, NULL, "the mask lets no sample count");
    }
    spry_dataset_close(d);
    *mask = made;
    return status;
}
