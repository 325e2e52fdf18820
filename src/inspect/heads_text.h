/* A text as sequences for a model of tokens, and what each token is. */
#ifndef INSPECT_HEADS_TEXT_H
#define INSPECT_HEADS_TEXT_H

#include "base/arena.h"
#include "spry/tokenizer.h"
#include "text/token_model.h"

typedef struct heads_text {
    const spry_tokenizer *tokenizer;
    token_list tokens; /* of the whole text */
    bool has_pairs;    /* sequences are two halves, in the form for two texts */
    bool keeps_special_rows;
    int64_t window; /* tokens of a sequence, those that are added included */
    int64_t room;   /* tokens of the text in it */
    int64_t length; /* tokens that the model is given: window, or more where it fixes them */
    int64_t sequences;
    /* Of the sequence that was written last: [length]. */
    int64_t *ids, *mask, *segments;
    int8_t *classes, *key_segments;
    bool *special, *punctuation;
    int64_t used; /* tokens that are not padding */
} heads_text;

/* Cuts at most `limit` sequences of `window` tokens from a text; `fixed` > 0 is the model's length.
 * Undo with heads_text_close, also after a failure. Fails with SPRY_USAGE (fewer than 8 tokens, no
 * room), SPRY_BAD_INPUT (not UTF-8), SPRY_LIMIT. */
SPRY_MUST_USE spry_status heads_text_open(heads_text *t, const spry_tokenizer *tokenizer,
                                          const char *text, size_t size, bool has_segments,
                                          int64_t window, int64_t fixed, int64_t limit,
                                          arena *memory, spry_error *error);
void heads_text_close(heads_text *t);

/* Writes sequence `which`. The first query of a causal model looks at itself alone and does not
 * count. */
void heads_text_write(heads_text *t, int64_t which, bool is_causal);

#endif
