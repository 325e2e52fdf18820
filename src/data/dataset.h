/* The inside of spry_dataset: what all kinds share, and what each brings. */
#ifndef DATA_DATASET_H
#define DATA_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "spry/dataset.h"
#include "tensor/tensor.h"

typedef struct dataset_kind {
    const char *name;
    /* Fills count, labels, class names and state from d->path. On failure close is called. */
    spry_status (*open)(spry_dataset *d, spry_error *error);
    /* Makes *sample, dense and in memory of its own, which tensor_fini releases. The index is in
     * range. Several threads may be in here at once. */
    spry_status (*read)(spry_dataset *d, const spry_allocator *allocator, int64_t index,
                        tensor *sample, spry_error *error);
    void (*close)(spry_dataset *d); /* may be NULL */
} dataset_kind;

struct spry_dataset {
    spry_allocator allocator;
    const dataset_kind *kind;
    arena memory; /* everything below, and small state of the kinds */
    const char *path;
    int64_t count;
    bool pictures;
    int32_t *labels;                /* [count] */
    const char *const *files;       /* [count]: path of each sample's own file, or NULL */
    const char *const *class_names; /* [class_count] or NULL */
    int64_t class_count;
    void *state;
};

extern const dataset_kind dataset_cifar10;
extern const dataset_kind dataset_idx;
extern const dataset_kind dataset_folder;
extern const dataset_kind dataset_labels;
extern const dataset_kind dataset_npz;
extern const dataset_kind dataset_safetensors;
extern const dataset_kind dataset_csv;

enum { DATASET_MEMORY_BYTES = 1 << 30, DATASET_MAX_CLASS = 1000000 };

/* Room in d->memory; NULL when memory ran out. Zeroed. */
void *dataset_array(spry_dataset *d, size_t count, size_t size);
/* "folder/name" in d->memory; NULL when memory ran out. */
char *dataset_join(spry_dataset *d, const char *folder, const char *name);
/* Reads a sample that is a picture file of its own: the `read` of folder and labels. */
spry_status dataset_read_file(spry_dataset *d, const spry_allocator *allocator, int64_t index,
                              tensor *sample, spry_error *error);

/* The same samples by another array of their archive (npz, safetensors), as for a further input of
 * a model: that of this very name, with numbers, or u8 [M,C,H,W] and [M,H,W,C] pictures. Fails with
 * SPRY_UNSUPPORTED (another kind), SPRY_BAD_INPUT (no such array), and as spry_dataset_open. */
SPRY_MUST_USE spry_status dataset_open_array(const spry_dataset *d, const char *array,
                                             spry_dataset **made, spry_error *error);

/* Sample `index` with memory from `allocator`: a picture u8[H,W,C] or numbers, which tensor_fini
 * releases. May be called by several threads at once. Fails as spry_dataset_sample. */
SPRY_MUST_USE spry_status dataset_read(spry_dataset *d, const spry_allocator *allocator,
                                       int64_t index, tensor *sample, spry_error *error);
/* Names sample `index` for errors. */
void dataset_where(const spry_dataset *d, int64_t index, char *where, size_t size);

#endif
