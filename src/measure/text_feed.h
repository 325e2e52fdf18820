/* Models that take tokens: which input is what, and one run. */
#ifndef MEASURE_TEXT_FEED_H
#define MEASURE_TEXT_FEED_H

#include <stdbool.h>

#include "spry/model.h"
#include "spry/session.h"

typedef enum text_role { TEXT_IDS, TEXT_MASK, TEXT_SEGMENTS, TEXT_POSITIONS, TEXT_ROLES } text_role;

enum { TEXT_MOST_OUTPUTS = 64 };

typedef struct text_feed {
    spry_allocator allocator;
    const spry_model *model;
    spry_session *session;
    int32_t input_count;
    const char *names[TEXT_ROLES]; /* of the model's inputs, in its order */
    spry_dtype dtypes[TEXT_ROLES];
    text_role roles[TEXT_ROLES];
    int64_t length; /* tokens that the model fixes; 0: any number */
    bool has_mask;
    int32_t output_count;
    spry_value *outputs[TEXT_MOST_OUTPUTS]; /* of the last run */
    double run_seconds;
} text_feed;

/* Recognises the inputs by their names. Nothing to undo after a failure.
 * Fails with SPRY_USAGE (an input that is none of these, no ids, a batch that is fixed to more than
 * one), SPRY_UNSUPPORTED (element types). */
SPRY_MUST_USE spry_status text_feed_open(text_feed *f, const spry_model *model,
                                         spry_session *session, const spry_allocator *allocator,
                                         spry_error *error);
void text_feed_close(text_feed *f);

/* Runs a batch of one with `count` tokens, outputs into f->outputs; `mask` and `segments` may be
 * NULL where the model has no such input or ones and zeros will do.
 * Fails with SPRY_LIMIT, and as spry_session_run. */
SPRY_MUST_USE spry_status text_feed_run(text_feed *f, int64_t count, const int64_t *ids,
                                        const int64_t *mask, const int64_t *segments,
                                        spry_error *error);
/* Index of the output of that name; -1: there is none. */
int32_t text_feed_output(const text_feed *f, const char *name);

#endif
