/* The numbers of a model that training changes: its weights, and the running statistics of its
 * batch norms, each a list of named tensors that lie behind each other in one flat array.
 *
 *     items[0]         items[1]               items[2]
 *     |conv1.weight....|bn1.weight............|...       weights, gradients, moments: one array
 *     0                offset (times 16)                 each, with the same offsets
 *
 * So a step of an optimizer, clipping, averaging of many clients and saving are loops over arrays.
 */
#ifndef TRAIN_PARAMETERS_H
#define TRAIN_PARAMETERS_H

#include <stdbool.h>
#include <stdint.h>

#include "model/model.h"
#include "spry/train.h"

enum { PARAMETERS_ALIGNMENT = 16 }; /* floats between starts of tensors: one cache line */

typedef struct parameter {
    const char *name; /* of the initializer */
    int32_t value;    /* in the model's main graph */
    int rank;
    int64_t shape[SPRY_TENSOR_MAX_RANK];
    int64_t count;
    int64_t offset; /* in floats */
    double rate;    /* times the rate of all */
    double decay;   /* times the decay of all: 0 for biases, norms, positions */
} parameter;

typedef struct parameters {
    parameter *items;
    int32_t count;
    int64_t length; /* of the flat arrays, padding (zeros) included */
} parameters;

/* The weights of `m` in the order of their first use, in `memory`: f32 initializers of the main
 * graph that an operator multiplies or adds. Not among them: what only describes (shapes, scales of
 * Resize, bounds of Clip), single numbers beside an elementwise operator, running statistics, and
 * what a rule freezes. Decay is on for factors of products and rows of embeddings.
 * Fails with SPRY_USAGE (a pattern fits nothing; nothing is left), SPRY_BAD_INPUT (a number is not
 * finite: tensor and place are named), SPRY_LIMIT. */
SPRY_MUST_USE spry_status parameters_choose(const model *m, const spry_train_rule *rules,
                                            int32_t rule_count, arena *memory, parameters *weights,
                                            spry_error *error);

/* Running means and variances of its BatchNormalization nodes, mean and variance in turns. */
SPRY_MUST_USE spry_status parameters_of_norms(const model *m, arena *memory, parameters *statistics,
                                              spry_error *error);

/* Gives the tensors their places, after some were taken out. */
void parameters_place(parameters *set);

/* The tensor of that name, or NULL. */
const parameter *parameters_find(const parameters *set, const char *name);

/* Between the model's initializers and a flat array of set->length floats. The second makes `m` a
 * model with the numbers of `flat`; they are copied. Fails with SPRY_LIMIT. */
void parameters_read(const parameters *set, const model *m, float *flat);
SPRY_MUST_USE spry_status parameters_write(const parameters *set, const float *flat, model *m,
                                           spry_error *error);

/* The sum of all counts. */
int64_t parameters_total(const parameters *set);

#endif
