/* What a head looks at, as numbers that do not depend on the length of the text: from the survey of
 * one sequence (kernels/attention/attention_heads.h). Distance-based features after arXiv
 * 2011.00943, which names them without formulas; those are in docs/methods/attention-heads.md. */
#ifndef INSPECT_HEADS_FEATURES_H
#define INSPECT_HEADS_FEATURES_H

#include "kernels/attention/attention_heads.h"
#include "spry/heads.h"

/* One head of one sequence. All arrays are of the T tokens unless said otherwise. */
typedef struct heads_view {
    int64_t tokens;
    bool is_causal;
    const int8_t *classes;   /* of queries: a segment, or -1: does not count */
    int class_count;         /* segments */
    const int8_t *segments;  /* of keys */
    const bool *special;     /* keys that the tokenizer added; NULL: none */
    const bool *punctuation; /* NULL: none */
    const double *distance, *offset, *variance, *entropy;
    const double *columns; /* [class_count][keys] */
    const double *profile; /* offset o at [o + rows - 1] */
    const float *samples;  /* [sample_count][keys] */
    int64_t rows, keys;    /* strides of the above: at least T */
    int64_t sample_stride, sample_count;
} heads_view;

/* The view of head `head` of image 0 in a survey of `p`; what is of the text is left to callers. */
heads_view heads_view_of(const attention_problem *p, const attention_survey *s, int64_t head);

/* Features of the sequence, in the order of spry_head_feature; SPRY_HEAD_CHANGE is 0. `offsets` has
 * room for 2 T - 1 numbers: it receives the mean weight by offset over the queries where there is
 * such a key. False: fewer than two queries count. */
bool heads_features(const heads_view *v, double *features, double *offsets);

/* Jensen-Shannon divergence of two distributions, in nats: 0 to ln 2. */
double heads_divergence(const double *p, const double *q, int64_t count);

#endif
