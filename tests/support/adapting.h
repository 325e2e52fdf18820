/* Small models to adapt, and what they compute. Anything that fails fails the running test. */
#ifndef SUPPORT_ADAPTING_H
#define SUPPORT_ADAPTING_H

#include "spry/adapt.h"
#include "spry/architecture.h"

/* A vision transformer of `depth` blocks on images of 8x8 in patches of 4, width 8, 5 classes. */
spry_model *adapting_vit(int64_t depth);

/* The same model through a file: saved, and loaded again. */
spry_model *adapting_reload(const spry_model *m);

/* spry_adapt, which must work. */
spry_model *adapting_make(const spry_model *base, const spry_adapt_options *o,
                          spry_adaptation **facts);

/* Options of that method with rank 3 and 4 prompts. */
spry_adapt_options adapting_options(const char *method);

/* The first output for a seeded batch of two, to be released by the test's end (free). */
float *adapting_run(const spry_model *m, uint64_t seed, int64_t *count);

/* Asserts that both compute the same bits. */
void adapting_assert_same(const spry_model *a, const spry_model *b);
/* The largest difference of what they compute, over the largest number. */
double adapting_difference(const spry_model *a, const spry_model *b);

/* Elements of the initializer `name`, to be changed in place. */
float *adapting_tensor(spry_model *m, const char *name, int64_t *count);
/* Draws all trained tensors anew, as if they had been trained. */
void adapting_train(spry_model *m, const spry_adaptation *facts);

#endif
