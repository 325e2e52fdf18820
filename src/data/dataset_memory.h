/* Samples that lie in memory already. */
#ifndef DATA_DATASET_MEMORY_H
#define DATA_DATASET_MEMORY_H

#include "data/dataset.h"

/* A set of the rows of `rows` (dense [count, ...], taken over also on failure) with the classes of
 * `like`, which has as many samples and must outlive it. Closed by spry_dataset_close. Fails with
 * SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status dataset_of_rows(const spry_dataset *like, tensor *rows,
                                          spry_dataset **made, spry_error *error);

#endif
