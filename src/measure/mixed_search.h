/* What the parts of the search for bits per operator share. */
#ifndef MEASURE_MIXED_SEARCH_H
#define MEASURE_MIXED_SEARCH_H

#include "base/arena.h"
#include "measure/mixed_moves.h"
#include "model/model.h"
#include "spry/mixed.h"

enum { F32, EIGHT, FEWEST }; /* levels */

struct spry_mixed {
    spry_allocator allocator;
    arena memory;
    spry_mixed_row *rows;
    int32_t row_count;
    spry_mixed_trial *trials;
    int32_t trial_count;
    spry_quantize_assignment *assignments;
    int32_t assignment_count;
    bool is_met;
};

typedef struct mixed_search {
    spry_mixed *result;
    const spry_model *source;
    model *named; /* a copy of the source whose nodes all have names */
    spry_quantize_options quantize;
    const spry_mixed_options *options;
    bool in_integers; /* activations too: operators may gain time */
    bool has_low;     /* a third level */
    mixed_point (*points)[SPRY_MIXED_LEVELS];
    mixed_move *moves;
    int32_t move_count;
    int *levels; /* of the trial under way */
    int *best;   /* of the best so far */
    double float_top1;
    double float_ms;
} mixed_search;

/* Makes s->result->rows with what each layer costs when quantized alone, at every level. Fails as
 * spry_sensitivity_measure. */
SPRY_MUST_USE spry_status mixed_find_costs(mixed_search *s, spry_error *error);

/* Fills latencies and bytes of all rows, level by level, and s->float_ms. Fails as
 * spry_quantize and mixed_time_operators. */
SPRY_MUST_USE spry_status mixed_find_latencies(mixed_search *s, spry_error *error);

/* The whole model with these levels[rows]. Fails as spry_quantize. */
SPRY_MUST_USE spry_status mixed_make(mixed_search *s, const int *levels, spry_model **made,
                                     spry_error *error);

#endif
