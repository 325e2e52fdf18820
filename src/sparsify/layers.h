/* The weights of a model that can be pruned, and how much of each is to go. */
#ifndef SPARSIFY_LAYERS_H
#define SPARSIFY_LAYERS_H

#include "base/arena.h"
#include "model/model.h"
#include "sparsify/method.h"

typedef struct sparsify_layer {
    const char *name;   /* of the initializer */
    const char *node;   /* label of the first operator that reads it */
    const char *called; /* that operator's name */
    int32_t value;      /* the initializer */
    const float *data;  /* as the model has it */
    sparsify_view view;
    int64_t count;      /* numbers */
    sparsify_unit unit; /* n:m: one number */
    int64_t units;
    bool stays;   /* excluded, or an end */
    double ratio; /* zeros wanted / count */
} sparsify_layer;

typedef struct sparsify_layers {
    sparsify_layer *list;
    int32_t count;
    int64_t numbers;    /* of all */
    int64_t most_units; /* of a layer */
    int64_t most_numbers;
    const sparsify_method *method;
    int keep, of; /* n:m */
} sparsify_layers;

/* A unit on its way to be chosen. */
typedef struct sparsify_score {
    double score;
    int32_t layer;
    int32_t unit;
} sparsify_score;

/* Weights that constants give to Conv, Gemm and MatMul, each once, in the order of the graph, with
 * names that live as long as the model or `memory`. What options exclude stays. Fails with
 * SPRY_UNSUPPORTED (there are none), SPRY_BAD_INPUT (not finite), SPRY_USAGE (options), SPRY_LIMIT
 * (memory). */
SPRY_MUST_USE spry_status sparsify_layers_find(const model *m, const spry_sparsify_options *options,
                                               arena *memory, sparsify_layers *found,
                                               spry_error *error);

/* Sets every layer's ratio. Fails with SPRY_USAGE (it cannot be reached; a share names nothing),
 * SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status sparsify_spread(sparsify_layers *l, const spry_sparsify_options *options,
                                          spry_error *error);

/* Where the numbers of units are that rank them: places[position] is that of the number that counts
 * as the one at `position` of the weight's layout. Returns `places`, which has room for all numbers
 * of the layer; NULL where units do not rank. */
const int32_t *sparsify_rank(const sparsify_layer *l, const float *numbers, int32_t *places);

/* Of unit u of `numbers`, in the weight's layout: the sum of squares, and how many numbers it has.
 * `places` from sparsify_rank. */
double sparsify_unit_energy(const sparsify_layer *l, const float *numbers, const int32_t *places,
                            int32_t unit, int64_t *count);

/* Ascending; equal ones by layer and unit. */
void sparsify_sort(sparsify_score *scores, int64_t count);

/* Room to choose in, for the largest layer. */
typedef struct sparsify_room {
    sparsify_score *scores;
    int32_t *places;
} sparsify_room;

/* Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status sparsify_room_make(const sparsify_layers *l, arena *memory,
                                             sparsify_room *room, spry_error *error);

/* Sets mask[i] to 0 where number i is to become zero, when that part (0 to 1) of the layer's ratio
 * is asked for, else to 1. */
void sparsify_mask(const sparsify_layers *all, const sparsify_layer *l, const float *numbers,
                   double part, const sparsify_room *room, uint8_t *mask);

/* Zeros where the mask says so. */
void sparsify_apply(const uint8_t *mask, int64_t count, float *numbers);

#endif
