/* What a model with several inputs learns from: one array of the data per input, by its name.
 *
 * All are read in the order of the first one: loaders with the same options draw the same samples
 * (data/loader.h). A model with one input takes the samples as they are, whatever they are
 * called. */
#ifndef TRAIN_INPUTS_H
#define TRAIN_INPUTS_H

#include "base/arena.h"
#include "data/loader.h"
#include "spry/model.h"

enum { INPUTS_MOST = 16 };

/* The arrays of a data set that go to the inputs of a model. */
typedef struct input_arrays {
    int32_t count;
    spry_port ports[INPUTS_MOST];
    spry_dataset *data[INPUTS_MOST]; /* [0] is the set itself where there is one input */
    bool opened;                     /* all of them are ours */
    spry_preprocess none;            /* the recipe of numbers */
} input_arrays;

/* Fails with SPRY_UNSUPPORTED (no inputs, or too many; several and another kind of data),
 * SPRY_BAD_INPUT (the data lacks an array), and as opening data does. */
SPRY_MUST_USE spry_status input_arrays_open(const spry_model *m, spry_dataset *data,
                                            input_arrays *a, spry_error *error);
void input_arrays_close(input_arrays *a);

/* The recipe of array `i`: the given one, or that of nothing to do for one of several arrays that
 * holds numbers. Lives as long as both. */
const spry_preprocess *input_arrays_recipe(const input_arrays *a, int32_t i,
                                           const spry_preprocess *recipe);

/* Which samples count, by array `name` of the data, of one number per sample: [count], 1 where it
 * is not 0. NULL for the name NULL. In `memory`. Fails with SPRY_USAGE (none counts), and as
 * above. */
SPRY_MUST_USE spry_status input_mask(const spry_dataset *data, const char *name, arena *memory,
                                     const uint8_t **mask, spry_error *error);

#endif
