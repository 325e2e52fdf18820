/* Finding an entry of a table by its name. */
#ifndef QUANTIZE_CHOICE_H
#define QUANTIZE_CHOICE_H

#include "spry/quantize.h"

/* Index of `name` in a table whose entries `at` hands out, NULL behind the last. Fails with
 * SPRY_USAGE, naming all of them; `what` says what they are ("method"). */
SPRY_MUST_USE spry_status choice_find(const char *what, const char *name,
                                      const spry_quantize_choice *(*at)(int32_t index),
                                      int32_t *found, spry_error *error);

#endif
