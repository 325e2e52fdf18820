/* Names of patterns by fixed rules. */
#ifndef INSPECT_HEADS_NAME_H
#define INSPECT_HEADS_NAME_H

#include <stdbool.h>

/* The pattern of features (spry/heads.h), by the first rule that fits. */
const char *heads_pattern(const double *features);

/* Only the part of a name that its head shares with others of its kind: "diagonal (previous)" and
 * "diagonal (self)" are of one kind. */
bool heads_same_kind(const char *a, const char *b);

#endif
