/* Tokens that are found in a text before anything else is: "[MASK]", "<|endoftext|>". */
#ifndef TEXT_ADDED_H
#define TEXT_ADDED_H

#include "base/arena.h"
#include "text/chars.h"
#include "text/normalize.h"

typedef struct added_token {
    code_points content;
    int64_t id;
    bool special;     /* left out when text is made from ids */
    bool normalized;  /* looked for in the normalised text */
    bool single_word; /* not inside a word */
    bool left, right; /* takes white space on that side with it */
} added_token;

typedef struct added_tokens {
    added_token *at; /* sorted by content once added_sort was called */
    size_t count;
} added_tokens;

typedef struct added_match {
    const added_token *token; /* NULL: none is left */
    size_t begin, end;        /* characters */
} added_match;

void added_sort(added_tokens *tokens);
/* The next one that begins at or behind `from`, the longest of several; only those with
 * `normalized` as given. */
added_match added_find(const added_tokens *tokens, bool normalized, const char_at *c, size_t count,
                       size_t from);

/* Code points of UTF-8 in arena memory; `at` NULL when the bytes are not UTF-8 or memory ran
 * out. */
code_points code_points_read(arena *memory, const char *bytes, size_t length);

#endif
