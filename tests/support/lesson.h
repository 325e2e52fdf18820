/* Small things to learn, for tests of training: pictures of classes that differ in their mean. */
#ifndef SUPPORT_LESSON_H
#define SUPPORT_LESSON_H

#include "spry/dataset.h"
#include "spry/model.h"
#include "spry/train.h"

enum { LESSON_SIDE = 16, LESSON_CLASSES = 4 };

/* Writes an .npz of `count` samples f32[1, 16, 16] with labels 0 to 3 into `folder`, drawn with
 * `seed`, and opens it. Classes are the same whatever the seed. */
spry_dataset *lesson_data(const char *folder, const char *name, int64_t count, uint64_t seed);

/* A fresh small network for such pictures: "mlp" and "vit-cifar" (no batch norms), "lenet" (with).
 */
spry_model *lesson_model(const char *architecture);

/* Trains it and gives back the result, failing the test when that fails. `facts` may be NULL. */
spry_model *lesson_learn(const spry_model *source, const spry_train_options *options,
                         spry_training **facts);

/* Do both models have the same initializers, bit for bit? Names the first that differs in a
 * message. `except` (NULL: none) is a pattern of names that may differ. */
bool lesson_same(const spry_model *a, const spry_model *b, const char *except);

/* Numbers of initializer `name`. */
const float *lesson_numbers(const spry_model *m, const char *name, int64_t *count);

#endif
