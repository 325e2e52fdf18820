/* CIFAR-10's binary form: records of a label and 32 x 32 red, green and blue bytes. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/files.h"
#include "base/limits.h"
#include "data/dataset.h"

enum { SIDE = 32, PLANE = SIDE * SIDE, RECORD = 1 + 3 * PLANE, CLASSES = 10 };

static const char *const class_names[CLASSES] = {
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};

static spry_status open_set(spry_dataset *d, spry_error *error)
{
    char *inside = dataset_join(d, d->path, "test_batch.bin");
    file_map *map = dataset_array(d, 1, sizeof *map);
    spry_status status;

    if (inside == NULL || map == NULL) {
        return alloc_failed(error, sizeof *map);
    }
    status = file_map_open(file_exists(inside) ? inside : d->path, LIMIT_MODEL_BYTES, map, error);
    if (status != SPRY_OK) {
        return status;
    }
    d->state = map;
    if (map->size == 0 || map->size % RECORD != 0) {
        return spry_fail(error, SPRY_BAD_INPUT, d->path, "give a file such as test_batch.bin",
                         "has %zu bytes, which is no whole number of CIFAR-10 records of %d",
                         map->size, RECORD);
    }
    d->count = (int64_t)(map->size / RECORD);
    d->pictures = true;
    d->class_names = class_names;
    d->class_count = CLASSES;
    d->labels = dataset_array(d, (size_t)d->count, sizeof *d->labels);
    if (d->labels == NULL) {
        return alloc_failed(error, (size_t)d->count * sizeof *d->labels);
    }
    for (int64_t i = 0; i < d->count; i++) {
        d->labels[i] = map->data[i * RECORD];
        if (d->labels[i] >= CLASSES) {
            return spry_fail(error, SPRY_BAD_INPUT, d->path, "give a CIFAR-10 binary file",
                             "record %lld has the class %d; CIFAR-10 has 0 to 9", (long long)i,
                             (int)d->labels[i]);
        }
    }
    return SPRY_OK;
}

static spry_status read_record(spry_dataset *d, const spry_allocator *allocator, int64_t index,
                               tensor *sample, spry_error *error)
{
    const file_map *map = d->state;
    const uint8_t *planes = map->data + index * RECORD + 1;
    const int64_t shape[] = {SIDE, SIDE, 3};
    spry_status status = tensor_init_owned(sample, allocator, SPRY_DTYPE_U8, 3, shape, error);
    uint8_t *pixels = sample->data;

    for (int i = 0; status == SPRY_OK && i < PLANE; i++) {
        for (int c = 0; c < 3; c++) {
            pixels[3 * i + c] = planes[c * PLANE + i];
        }
    }
    return status;
}

static void close_set(spry_dataset *d)
{
    if (d->state != NULL) {
        file_map_close(d->state);
    }
}

const dataset_kind dataset_cifar10 = {"cifar10", open_set, read_record, close_set};
