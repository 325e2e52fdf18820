/* Data sets: the table of kinds, and what is the same for all. */
#include "data/dataset.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "data/image.h"
#include "data/preprocess.h"

static const dataset_kind *const kinds[] = {
    &dataset_cifar10, &dataset_idx,         &dataset_folder, &dataset_labels,
    &dataset_npz,     &dataset_safetensors, &dataset_csv,
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

void *dataset_array(spry_dataset *d, size_t count, size_t size)
{
    return arena_array(&d->memory, count, size);
}

char *dataset_join(spry_dataset *d, const char *folder, const char *name)
{
    size_t folder_length = strlen(folder);
    size_t length = strlen(name);
    char *path = arena_bytes(&d->memory, folder_length + length + 2);

    if (path != NULL) {
        memcpy(path, folder, folder_length);
        path[folder_length] = '/';
        memcpy(path + folder_length + 1, name, length + 1);
    }
    return path;
}

spry_status dataset_read_file(spry_dataset *d, const spry_allocator *allocator, int64_t index,
                              tensor *sample, spry_error *error)
{
    return image_load(allocator, d->files[index], sample, error);
}

/* The kind whose name stands before the colon. */
static const dataset_kind *find_kind(const char *description, const char **path)
{
    for (size_t i = 0; i < KINDS; i++) {
        size_t length = strlen(kinds[i]->name);

        if (strncmp(description, kinds[i]->name, length) == 0 && description[length] == ':') {
            *path = description + length + 1;
            return kinds[i];
        }
    }
    return NULL;
}

static spry_status check_labels(spry_dataset *d, spry_error *error)
{
    if (d->count < 1) {
        return spry_fail(error, SPRY_BAD_INPUT, d->path, "check the path",
                         "the data set has no samples");
    }
    for (int64_t i = 0; i < d->count; i++) {
        if (d->labels[i] < 0 || d->labels[i] > DATASET_MAX_CLASS) {
            return spry_fail(error, SPRY_BAD_INPUT, d->path, "number the classes from 0",
                             "sample %lld has the class %d", (long long)i, (int)d->labels[i]);
        }
        if (d->class_names == NULL && d->labels[i] >= d->class_count) {
            d->class_count = d->labels[i] + 1;
        }
    }
    return SPRY_OK;
}

spry_status spry_dataset_open(const spry_allocator *allocator, const char *description,
                              spry_dataset **result, spry_error *error)
{
    spry_allocator resolved = alloc_resolve(allocator);
    const char *path = NULL;
    const dataset_kind *kind = find_kind(description, &path);
    spry_dataset *d;
    spry_status status;

    *result = NULL;
    if (kind == NULL || *path == '\0') {
        return spry_fail(
            error, SPRY_USAGE, description,
            "write KIND:PATH with kind cifar10, idx, folder, labels, npz, safetensors or "
            "csv",
            "does not name a data set");
    }
    d = alloc_zeroed(&resolved, sizeof *d);
    if (d == NULL) {
        return alloc_failed(error, sizeof *d);
    }
    d->allocator = resolved;
    d->kind = kind;
    arena_init(&d->memory, &resolved, DATASET_MEMORY_BYTES);
    d->path = arena_text(&d->memory, path, strlen(path));
    status = d->path != NULL ? kind->open(d, error) : alloc_failed(error, strlen(path));
    if (status == SPRY_OK) {
        status = check_labels(d, error);
    }
    if (status != SPRY_OK) {
        spry_dataset_close(d);
        return status;
    }
    *result = d;
    return SPRY_OK;
}

void spry_dataset_close(spry_dataset *d)
{
    spry_allocator allocator;

    if (d == NULL) {
        return;
    }
    if (d->kind->close != NULL) {
        d->kind->close(d);
    }
    allocator = d->allocator;
    arena_fini(&d->memory);
    alloc_release(&allocator, d, sizeof *d);
}

int64_t spry_dataset_count(const spry_dataset *d)
{
    return d->count;
}

int64_t spry_dataset_class_count(const spry_dataset *d)
{
    return d->class_count;
}

const char *spry_dataset_class_name(const spry_dataset *d, int64_t label)
{
    return d->class_names != NULL && label >= 0 && label < d->class_count ? d->class_names[label]
                                                                          : NULL;
}

int64_t spry_dataset_label(const spry_dataset *d, int64_t index)
{
    return index >= 0 && index < d->count ? d->labels[index] : -1;
}

const char *spry_dataset_kind(int32_t index)
{
    return index >= 0 && index < KINDS ? kinds[index]->name : NULL;
}

spry_status dataset_read(spry_dataset *d, const spry_allocator *allocator, int64_t index,
                         tensor *sample, spry_error *error)
{
    *sample = (tensor){0};
    if (index < 0 || index >= d->count) {
        return spry_fail(error, SPRY_USAGE, d->path, NULL,
                         "there is no sample %lld; %lld are there", (long long)index,
                         (long long)d->count);
    }
    return d->kind->read(d, allocator, index, sample, error);
}

spry_status spry_dataset_sample(spry_dataset *d, int64_t index, spry_tensor **result,
                                spry_error *error)
{
    tensor sample;
    spry_status status = dataset_read(d, &d->allocator, index, &sample, error);

    *result = NULL;
    return status == SPRY_OK ? tensor_publish(&d->allocator, &sample, result, error) : status;
}

void dataset_where(const spry_dataset *d, int64_t index, char *where, size_t size)
{
    if (d->files != NULL) {
        (void)snprintf(where, size, "%s", d->files[index]);
    } else {
        (void)snprintf(where, size, "%s: sample %lld", d->path, (long long)index);
    }
}

/* One sample into its place in the batch. */
static spry_status add_sample(spry_dataset *d, preprocess_plan *plan, tensor *batch, int64_t index,
                              int64_t place, spry_error *error)
{
    char where[SPRY_ERROR_WHERE_SIZE];
    tensor sample;
    spry_status status = dataset_read(d, &d->allocator, index, &sample, error);

    if (status != SPRY_OK) {
        return status;
    }
    dataset_where(d, index, where, sizeof where);
    status =
        preprocess_apply(plan, &d->allocator, &sample, d->pictures, where, batch, place, error);
    tensor_fini(&sample);
    return status;
}

static spry_status plan_batch(spry_dataset *d, int64_t first, const spry_preprocess *recipe,
                              spry_dtype dtype, int rank, const int64_t *shape,
                              preprocess_plan *plan, spry_error *error)
{
    char where[SPRY_ERROR_WHERE_SIZE];
    tensor sample;
    spry_status status = dataset_read(d, &d->allocator, first, &sample, error);

    if (status != SPRY_OK) {
        return status;
    }
    dataset_where(d, first, where, sizeof where);
    status =
        preprocess_plan_init(plan, recipe, &sample, d->pictures, dtype, rank, shape, where, error);
    tensor_fini(&sample);
    return status;
}

spry_status spry_dataset_batch(spry_dataset *d, int64_t first, int64_t count,
                               const spry_preprocess *recipe, spry_dtype dtype, int rank,
                               const int64_t *shape, spry_tensor **result, int64_t *labels,
                               spry_error *error)
{
    preprocess_plan plan;
    tensor batch;
    spry_status status;

    *result = NULL;
    if (first < 0 || count < 1 || count > d->count - first) {
        return spry_fail(error, SPRY_USAGE, d->path, NULL, "samples %lld to %lld are not all there",
                         (long long)first,
                         (long long)(first < 0 || count < 1 ? first : first + count - 1));
    }
    status = plan_batch(d, first, recipe, dtype, rank, shape, &plan, error);
    if (status == SPRY_OK) {
        status = preprocess_plan_batch(&plan, &d->allocator, count, &batch, error);
    }
    if (status != SPRY_OK) {
        return status;
    }
    for (int64_t i = 0; i < count && status == SPRY_OK; i++) {
        status = add_sample(d, &plan, &batch, first + i, i, error);
        if (labels != NULL) {
            labels[i] = d->labels[first + i];
        }
    }
    if (status != SPRY_OK) {
        tensor_fini(&batch);
        return status;
    }
    return tensor_publish(&d->allocator, &batch, result, error);
}
