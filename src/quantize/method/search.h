/* The search for steps of one layer: those of its first and second operand take turns, each chosen
 * among multiples of the step that covers the operand's range (PTQ4ViT, arXiv 2111.12293, section
 * 4; coarse first, then finer around the best). */
#ifndef QUANTIZE_SEARCH_H
#define QUANTIZE_SEARCH_H

#include "quantize/method/trial.h"

enum {
    SEARCH_COARSE = 20,
    SEARCH_FINE = 6,
    SEARCH_FINE_STAGES = 2,
    SEARCH_POSITIVE_M = 20, /* exponents of a softmax, from 0 */
    SEARCH_SIGNED_M = 16
};

/* Grids that the first operand may have. */
typedef enum search_form {
    SEARCH_SYMMETRIC, /* signed codes, zero point 0 */
    SEARCH_AFFINE,    /* unsigned codes with a zero point */
    SEARCH_TWIN,      /* two ranges, their ratio a power of two */
    SEARCH_TWIN_FREE  /* any ratio, where one range is not fixed by [0, 1] */
} search_form;

const char *search_form_name(search_form form);

typedef struct search_problem {
    trial *t;
    twin_kind twin;              /* of SEARCH_TWIN */
    float low;                   /* the least number, positive: of TWIN_SIGNED */
    const float *a_low, *a_high; /* [a_units] */
    const float *b_base;         /* steps that cover the range: [n], or [heads] */
    int64_t b_count;
    double from; /* the least multiple of a step that is tried */
    int rounds;
    bool a_is_fixed; /* to the grids that `result` comes with */
} search_problem;

/* What was found. The caller owns the arrays. */
typedef struct search_result {
    search_form form;
    trial_grid *grids; /* [a_units] */
    float *steps;      /* [b_count] */
    int m;             /* of SEARCH_TWIN: d2 = 2^m d1 */
    double before;     /* error of the ranges themselves */
    double after;
} search_result;

/* Fills the result for one form. Memory is `scratch`'s. Fails with SPRY_LIMIT (memory). */
SPRY_MUST_USE spry_status search_run(const search_problem *p, search_form form, arena *scratch,
                                     search_result *result, spry_error *error);

#endif
