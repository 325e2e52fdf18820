/* Long contexts in windows: the tokens of a question with a part of those of the context, put
 * together in the tokenizer's form for two texts, and the search for answers in what a model gives
 * for them. */
#ifndef TEXT_WINDOW_H
#define TEXT_WINDOW_H

#include "spry/answer.h"
#include "text/tokenizer.h"

/* Tokens [first, first + count) of the context. */
typedef struct text_window {
    int64_t first;
    int64_t count;
} text_window;

/* Tokens that the form for two texts adds; -1: there is no such form. */
int64_t window_added(const spry_tokenizer *t);

/* Windows with room for `room` >= 1 tokens of a context of `tokens` >= 1, each `stride` >= 1 behind
 * the one before, the last ending with the context. Returns how many; stores the first `most`. */
int64_t window_cut(int64_t tokens, int64_t room, int64_t stride, int64_t most,
                   text_window *windows);

/* What a model is given: three rows of `length` >= all tokens, padded. Returns where the window's
 * context begins. */
int64_t window_write(const spry_tokenizer *t, const token_list *question, const token_list *context,
                     text_window window, int64_t length, int64_t *ids, int64_t *mask,
                     int64_t *segments);

/* Does token `token` of the context have more context in windows[which] than in all others, or as
 * much and an earlier window has not? */
bool window_is_best(const text_window *windows, int64_t count, int64_t which, int64_t token);

/* Logits of one window: rows of `length`; tokens of the context begin at `offset`. */
typedef struct span_logits {
    const float *start;
    const float *end;
    int64_t offset;
} span_logits;

typedef struct span {
    int64_t first, last; /* tokens of the context, inclusive */
    double score;
    int32_t window;
} span;

enum { SPAN_MOST_CANDIDATES = 256 };

/* Spans of windows[which] from the best `candidates` beginnings and ends, best first; `found` holds
 * up to candidates x candidates. NaN and -infinity are never chosen. Returns how many. */
int64_t span_search(const text_window *windows, int64_t count, int64_t which,
                    const span_logits *logits, int32_t candidates, int32_t longest, span *found);

#endif
