/* Samples that lie in memory already. */
#ifndef DATA_DATASET_MEMORY_H
#define DATA_DATASET_MEMORY_H

#include "data/dataset.h"

/* A set of the rows of `rows` (dense [count, ...], taken over also on failure) with the classes of
 * `like`, which has as many samples and must outlive it. Closed by spry_dataset_close. Fails with
 * SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status dataset_of_rows(const spry_dataset *like, tensor *rows,
                                          spry_dataset **made, spry_error *error);

enum { DATASET_MOST_ARRAYS = 8 };

/* Arrays by names, as of an archive: dataset_open_array finds them. Rows are dense [count, ...];
 * several names may see the same memory. */
typedef struct dataset_named {
    const char *name;
    tensor rows; /* taken over, also on failure */
} dataset_named;

/* A set of the first of `array_count` such arrays, with classes 0 or more of the same count, which
 * are copied. `path` is said in errors. What dataset_open_array makes of it must be closed before
 * it. Fails with SPRY_BAD_INPUT (no samples), SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status dataset_of_arrays(const spry_allocator *allocator, const char *path,
                                            dataset_named *arrays, int32_t array_count,
                                            const int32_t *labels, spry_dataset **made,
                                            spry_error *error);
/* Is it such a set? */
bool dataset_is_of_arrays(const spry_dataset *d);
/* Another array of such a set. Fails with SPRY_BAD_INPUT (no such array), SPRY_LIMIT. */
SPRY_MUST_USE spry_status dataset_other_array(const spry_dataset *d, const char *name,
                                              spry_dataset **made, spry_error *error);

#endif
