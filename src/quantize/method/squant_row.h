/* One output channel of squant.c: rounding, flips in units, flips in the channel. */
#ifndef QUANTIZE_SQUANT_ROW_H
#define QUANTIZE_SQUANT_ROW_H

#include "kernels/quantize/round_f32.h"
#include "quantize/method/squant.h"

/* What all channels of a tensor share. */
typedef struct squant_layout {
    const round_f32_kernel *kernel;
    squant_stages stages;
    grid_codes limits;
    int64_t taps, size; /* weights of a kernel, of a channel */
    int64_t blocks;     /* groups of inputs that have a step of their own */
    int64_t *spans;     /* [blocks + 1]: input with which a group begins, in the order worked in */
    int32_t *order;     /* [inputs]: input at each place of that order; NULL: their own */
    int64_t units;      /* kernels; of products with several groups: groups */
    bool by_unit;       /* stage K is done */
    const float *means; /* [inputs], in the order worked in; NULL: all 1 */
} squant_layout;

/* A candidate of stage C where flips weigh differently. */
typedef struct squant_candidate {
    uint64_t key; /* larger: flipped earlier */
    int32_t index;
    double change; /* of the sum */
} squant_candidate;

/* Room for a channel on its way. */
typedef struct squant_room {
    float *errors; /* [size]: of what stage C may flip: of units, or of weights */
    int32_t *keys; /* [size] */
    double *before, *after;
    int32_t *flips, *next_element; /* [units] */
    float *unit_steps;
    int32_t *unit_zeros;
    int32_t *scratch;             /* of round_f32_units */
    squant_candidate *candidates; /* [size] */
} squant_room;

/* A channel in the order worked in. */
typedef struct squant_row {
    const squant_layout *layout;
    const squant_room *room;
    const float *weights; /* [size] */
    int8_t *codes;        /* [size] */
    const float *steps;   /* [blocks] */
    const int32_t *zeros; /* [blocks] */
} squant_row;

/* Fills the codes. */
void squant_round_row(const squant_row *row, squant_report *report);

#endif
