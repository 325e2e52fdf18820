/* Names of classes from a text file, one per line. */
#ifndef CLI_LABELS_H
#define CLI_LABELS_H

#include <stdint.h>

#include "base/arena.h"
#include "spry/status.h"

typedef struct labels {
    arena memory;
    const char **names;
    int64_t count;
} labels;

/* `path` NULL: no labels. Undo with labels_close, also after a failure.
 * Fails with SPRY_IO, SPRY_BAD_INPUT (not UTF-8), SPRY_LIMIT. */
SPRY_MUST_USE spry_status labels_open(labels *l, const char *path, spry_error *error);
void labels_close(labels *l);

/* The name of class `index`, or NULL. */
const char *labels_at(const labels *l, int64_t index);

#endif
