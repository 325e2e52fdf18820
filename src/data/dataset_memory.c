/* Rows of a tensor as samples. */
#include "data/dataset_memory.h"

#include <string.h>

#include "base/alloc.h"

static spry_status read_row(spry_dataset *d, const spry_allocator *allocator, int64_t index,
                            tensor *sample, spry_error *error)
{
    const tensor *rows = d->state;
    spry_status status =
        tensor_init_owned(sample, allocator, rows->dtype, rows->rank - 1, rows->shape + 1, error);

    if (status == SPRY_OK) {
        memcpy(sample->data, (const uint8_t *)rows->data + (size_t)index * sample->bytes,
               sample->bytes);
    }
    return status;
}

static void close_rows(spry_dataset *d)
{
    if (d->state != NULL) {
        tensor_fini(d->state);
    }
}

static const dataset_kind dataset_memory = {
    .name = "memory", .read = read_row, .close = close_rows};

spry_status dataset_of_rows(const spry_dataset *like, tensor *rows, spry_dataset **made,
                            spry_error *error)
{
    spry_dataset *d = alloc_zeroed(&like->allocator, sizeof *d);
    tensor *kept = NULL;

    *made = NULL;
    if (d != NULL) {
        d->allocator = like->allocator;
        d->kind = &dataset_memory;
        arena_init(&d->memory, &d->allocator, DATASET_MEMORY_BYTES);
        kept = dataset_array(d, 1, sizeof *kept);
    }
    if (kept == NULL) {
        spry_dataset_close(d);
        tensor_fini(rows);
        return alloc_failed(error, sizeof *d);
    }
    *kept = *rows;
    d->state = kept;
    d->path = like->path;
    d->count = like->count;
    d->labels = like->labels;
    d->class_names = like->class_names;
    d->class_count = like->class_count;
    *made = d;
    return SPRY_OK;
}

/* ---- several arrays ---- */

typedef struct arrays {
    tensor first; /* what samples are read from: the state of a set of rows */
    dataset_named *items;
    int32_t count;
} arrays;

static void close_arrays(spry_dataset *d)
{
    arrays *a = d->state;

    for (int32_t i = 0; a != NULL && i < a->count; i++) {
        tensor_fini(&a->items[i].rows);
    }
}

static const dataset_kind dataset_arrays = {
    .name = "memory", .read = read_row, .close = close_arrays};

static spry_status keep_arrays(spry_dataset *d, const char *path, const dataset_named *items,
                               int32_t count, const int32_t *labels, spry_error *error)
{
    arrays *a = dataset_array(d, 1, sizeof *a);

    d->path = arena_text(&d->memory, path, strlen(path));
    d->count = items[0].rows.shape[0];
    d->labels = dataset_array(d, (size_t)d->count + 1, sizeof *d->labels);
    if (a != NULL) {
        a->items = dataset_array(d, (size_t)count, sizeof *a->items);
    }
    if (a == NULL || a->items == NULL || d->path == NULL || d->labels == NULL) {
        return alloc_failed(error, (size_t)d->count * sizeof *d->labels);
    }
    memcpy(a->items, items, (size_t)count * sizeof *items);
    a->count = count;
    a->first = items[0].rows;
    d->state = a;
    if (d->count < 1) {
        return spry_fail(error, SPRY_BAD_INPUT, path, NULL, "the data set has no samples");
    }
    memcpy(d->labels, labels, (size_t)d->count * sizeof *labels);
    for (int64_t i = 0; i < d->count; i++) {
        d->class_count = labels[i] >= d->class_count ? labels[i] + 1 : d->class_count;
    }
    return SPRY_OK;
}

spry_status dataset_of_arrays(const spry_allocator *allocator, const char *path,
                              dataset_named *items, int32_t array_count, const int32_t *labels,
                              spry_dataset **made, spry_error *error)
{
    spry_allocator resolved = alloc_resolve(allocator);
    spry_dataset *d = alloc_zeroed(&resolved, sizeof *d);
    spry_status status = SPRY_LIMIT;

    *made = NULL;
    if (d != NULL) {
        d->allocator = resolved;
        d->kind = &dataset_arrays;
        arena_init(&d->memory, &resolved, DATASET_MEMORY_BYTES);
        status = keep_arrays(d, path, items, array_count, labels, error);
    } else {
        status = alloc_failed(error, sizeof *d);
    }
    if (status == SPRY_OK) {
        *made = d;
        return SPRY_OK;
    }
    if (d == NULL || d->state == NULL) {
        for (int32_t i = 0; i < array_count; i++) {
            tensor_fini(&items[i].rows);
        }
    }
    spry_dataset_close(d);
    return status;
}

bool dataset_is_of_arrays(const spry_dataset *d)
{
    return d->kind == &dataset_arrays;
}

spry_status dataset_other_array(const spry_dataset *d, const char *name, spry_dataset **made,
                                spry_error *error)
{
    const arrays *a = d->state;

    *made = NULL;
    for (int32_t i = 0; i < a->count; i++) {
        if (strcmp(a->items[i].name, name) == 0) {
            const tensor *t = &a->items[i].rows;
            tensor rows;
            spry_status status = tensor_init(&rows, t->dtype, t->rank, t->shape, t->data, error);

            return status == SPRY_OK ? dataset_of_rows(d, &rows, made, error) : status;
        }
    }
    return spry_fail(error, SPRY_BAD_INPUT, d->path, NULL, "the data has nothing for an input '%s'",
                     name);
}
