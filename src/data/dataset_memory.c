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
