/* Attention head by head: what each head looks at (a survey), and heads that look at some keys only
 * (a policy).
 *
 * A survey is gathered while attention is computed, without holding more than a strip of weights:
 * four numbers per query, and sums of weights by key and by distance. All else that describes a
 * head follows from these (inspect/heads_features.h). A piece with a survey keeps keys and values
 * packed for all blocks, so that a strip's weights are final before the next strip begins: memory
 * is O(keys). */
#ifndef KERNELS_ATTENTION_ATTENTION_HEADS_H
#define KERNELS_ATTENTION_ATTENTION_HEADS_H

#include "kernels/attention/attention_f32.h"

enum {
    ATTENTION_SURVEY_BLOCK = 352, /* keys per block of a survey: leaves margins between rows */
    ATTENTION_MARGIN = 28,        /* of zeros behind a row; rows of a strip less one, before it */
    ATTENTION_MOST_CLASSES = 4,
    ATTENTION_MOST_SINKS = 16
};

/* Where the numbers go. Offsets are key - (row + past). */
struct attention_survey {
    /* [batch][rows]: queries of one class (0 to class_count - 1) have sums by key of their own;
     * -1: the query counts in no sum by key or offset. NULL: all are of class 0. */
    const int8_t *classes;
    int class_count;
    /* [batch][heads][rows]: means over the weights of a query, of |offset| and offset; the variance
     * of the offset; the entropy in nats. Zeros for a query that sees no key. */
    double *distance, *offset, *variance, *entropy;
    double *columns; /* [batch][heads][class_count][keys]: added to in order of rows */
    double *profile; /* [batch][heads][rows + keys - 1]: the same by key - row + rows - 1 */
    /* [batch][heads][samples][keys]: weights of the queries 0, stride, 2 stride... as far as there
     * are; NULL: none. */
    float *samples;
    int64_t sample_stride, sample_count;
};

/* The keys that a head looks at: those from `before` in front of a query to `after` behind it, and
 * the sinks, for every query. Both may be negative: before = 1, after = -1 is the previous key
 * alone. A window that lies outside of the sequence is moved to its nearest key. */
struct attention_policy {
    bool is_dense;         /* all keys; window and sinks do not matter */
    bool is_flat;          /* all that are looked at have the same weight */
    bool is_off;           /* the results are zeros */
    int64_t before, after; /* before + after < 0: there is no window */
    int64_t sink_count;    /* at most ATTENTION_MOST_SINKS, ascending; those beyond do not count */
    int64_t sinks[ATTENTION_MOST_SINKS];
};

/* The window [*first, *last] of a row; empty where *first > *last. `keys`: those of the image. */
void attention_policy_window(const attention_policy *policy, int64_t row, int64_t keys,
                             int64_t *first, int64_t *last);

/* Does the head look at that key? Masks and causality come on top. */
bool attention_policy_sees(const attention_policy *policy, int64_t row, int64_t key, int64_t keys);

#endif
