/* Deltas from memory, for what is not a file. */
#ifndef ADAPT_DELTA_H
#define ADAPT_DELTA_H

#include <stddef.h>
#include <stdint.h>

#include "spry/adapt.h"

/* As spry_adapt_apply_delta, from `size` bytes that `where` stands for in errors. */
SPRY_MUST_USE spry_status delta_apply(const spry_model *base, const uint8_t *bytes, size_t size,
                                      const char *where, spry_model **adapted,
                                      spry_adaptation **facts, spry_error *error);

#endif
